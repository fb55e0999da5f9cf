"""The decision: what the analysis that was declared says to do. A function of a definition and a readout alone.

In this order; the first that holds is the answer:

1. `broken`: the sample ratio alarms, of all units or of a stratum; or the primary metric's lift differs between the
   strata low and risky (anytime p at `check_alpha` over the variations): one number would hide what happens.
2. `stop`: harm is shown of a variation that is still shown to anybody: the deciding interval of the primary metric
   excludes 0 the wrong way, or the greatest bound of a guardrail's harm is above its margin, or that of risk above 0.
3. `ship`: of a variation that is still shown the deciding interval excludes 0 the right way, the minimum run is over,
   and every guardrail is inside its margin now. Of several the one whose interval ends higher at its lower end.
4. `continue`.

Errors. Deciding intervals and bounds hold at alpha over the number of variations, at all looks together. So a
variation without an effect is shipped with probability alpha at most, over all of them; likewise one that breaks the
margin of a given guardrail; each check of harm errs in alpha at most; and each of the three checks of what is broken
(sample ratio, that of strata, interaction) in `check_alpha`. Nothing is decided by an effect that changes: no one
effect is in all intervals.
"""

from collections.abc import Iterator
from typing import NamedTuple

from experiments.sample_ratio import astray
from schemas.definition import Definition
from schemas.part import RISK
from schemas.readout import Comparison, Interval, Readout, SampleRatio
from schemas.verdict import Answer

DAY_MS = 86_400_000


class Decided(NamedTuple):
    """What to do.

    Attributes:
        decision: see the module's text.
        variation: which one to ship; None if none.
        reasons: why, each a sentence with its figures.
    """

    decision: Answer
    variation: str | None
    reasons: tuple[str, ...]


def decide(definition: Definition, readout: Readout, check_alpha: float) -> Decided:
    """Return what the declared analysis says.

    Args:
        definition: of the readout.
        readout: newest.
        check_alpha: how often each check of what is broken may err.
    """
    if why := [*_mismatches(readout, check_alpha), *_interactions(definition, readout, check_alpha)]:
        return Decided("broken", None, tuple(why))
    shown = _shown(definition, readout.timestamp)
    of_shown = [each for each in readout.comparisons if each.arm.variation in shown]
    if why := [reason for each in of_shown for reason in _harm(each)]:
        return Decided("stop", None, tuple(why))
    candidates = [each for each in of_shown if each.role == "primary"]
    ready = [each for each in candidates if not list(_against(definition, readout, each))]
    if ready:
        best = max(ready, key=_worst_end)
        guarded = [each for each in of_shown if each.role == "guardrail" and each.arm.variation == best.arm.variation]
        return Decided("ship", best.arm.variation, (_shows(best), *map(_holds, guarded), _quiet(readout)))
    reasons = [reason for each in candidates for reason in _against(definition, readout, each)]
    return Decided("continue", None, tuple(dict.fromkeys(reasons)) or ("No variation is shown to anybody any more.",))


def _mismatches(readout: Readout, check_alpha: float) -> Iterator[str]:
    for each in readout.sample_ratio:
        if not each.alarm:
            continue
        if astray(each):
            yield f"{each.stray} units of {_whose(each)} came to variations of weight 0."
        limit = check_alpha if each.stratum == "all" else check_alpha / 3.0
        if each.p <= limit:
            counts = ", ".join(
                f"{count} for {expected:g}" for count, expected in zip(each.counts, each.expected, strict=True)
            )
            yield f"Sample ratio of {_whose(each)}: {counts} expected; anytime p {each.p:.3g}, limit {limit:.3g}."


def _whose(each: SampleRatio) -> str:
    return "all units" if each.stratum == "all" else f"the stratum {each.stratum}"


def _interactions(definition: Definition, readout: Readout, check_alpha: float) -> Iterator[str]:
    limit = check_alpha / (len(definition.variations) - 1)
    for each in readout.comparisons:
        if each.role == "primary" and each.interaction_p is not None and each.interaction_p <= limit:
            lifts = {stratum.name: stratum.estimate.lift for stratum in each.strata if stratum.estimate is not None}
            told = " and ".join(f"{_percent(lifts.get(name))} among {name}" for name in ("low", "risky"))
            yield (
                f"The lift of {each.metric} by {each.arm.variation} is {told} units: anytime p "
                f"{each.interaction_p:.3g} that they are the same, limit {limit:.3g}."
            )


def _shown(definition: Definition, at_ms: int) -> set[str]:
    """Return the variations that the phase of the time still gives to units."""
    begun = [phase for phase in definition.phases if phase.start <= at_ms] or [definition.phases[0]]
    return {name for name, weight in zip(definition.variations, begun[-1].weights, strict=True) if weight > 0.0}


def _harm(each: Comparison) -> Iterator[str]:
    _, upper = _toward_better(each, each.deciding)
    if each.role == "primary" and each.state == "ready" and upper is not None and upper < 0.0:
        yield f"Harm: {_interval_said(each)}, all on the wrong side of 0."
    limit = 0.0 if each.role == "risk" else each.margin
    if each.state == "changing" or each.bound_harm is None or limit is None or each.bound_harm <= limit:
        return
    if each.role == "risk":
        yield (
            f"Harm: {each.arm.variation} raises the share of risky units ({RISK}) by at least "
            f"{each.bound_harm:.4g} against {each.control.variation}."
        )
    elif each.role == "guardrail":
        yield (
            f"Harm: guardrail {each.metric} is worse in {each.arm.variation} by at least "
            f"{_bound_said(each, each.bound_harm)}, more than its margin of {_bound_said(each, limit)}."
        )


def _against(definition: Definition, readout: Readout, primary: Comparison) -> Iterator[str]:
    """Yield what speaks against shipping a variation now."""
    name = primary.arm.variation
    if primary.state == "warming":
        lacks = ", ".join(f"{amount:.4g} {what}" for what, amount in primary.missing.items())
        yield f"{primary.metric} of {name} is warming: missing {lacks}."
    elif primary.state == "changing":
        yield f"The effect of {name} on {primary.metric} changes with time: no one effect is in all intervals so far."
    else:
        lower, _ = _toward_better(primary, primary.deciding)
        if lower is None or lower <= 0.0:
            yield f"Not decided: {_interval_said(primary)}."
    run_ms = 0 if readout.first_exposure is None else readout.timestamp - readout.first_exposure
    if run_ms < 1_000 * definition.minimum_run_s:
        minimum = 1_000 * definition.minimum_run_s / DAY_MS
        yield f"The minimum run is not over: {run_ms / DAY_MS:.4g} of {minimum:.4g} days."
    for each in readout.comparisons:
        if each.role != "guardrail" or each.arm.variation != name or (each.held and each.state != "changing"):
            continue
        if each.state == "changing":
            yield f"The effect of {name} on guardrail {each.metric} changes with time."
        elif each.bound is None or each.margin is None:
            yield f"Guardrail {each.metric} of {name} is not known yet."
        else:
            yield (
                f"Guardrail {each.metric} is not held: {name} may be worse by {_bound_said(each, each.bound)}, "
                f"its margin is {_bound_said(each, each.margin)}."
            )


def _toward_better(each: Comparison, interval: Interval | None) -> tuple[float | None, float | None]:
    """Return both ends of an interval, turned so that more is better."""
    if interval is None:
        return None, None
    if each.better == "up":
        return interval.lower, interval.upper
    return (
        None if interval.upper is None else -interval.upper,
        None if interval.lower is None else -interval.lower,
    )


def _worst_end(each: Comparison) -> float:
    lower, _ = _toward_better(each, each.deciding)
    return float("-inf") if lower is None else lower


def _shows(best: Comparison) -> str:
    return f"{best.arm.variation} is better: {_interval_said(best)}."


def _interval_said(each: Comparison) -> str:
    of = each.deciding or Interval()
    ends = " to ".join("?" if end is None else f"{end:.4g}" for end in (of.lower, of.upper))
    return f"{each.metric} of {each.arm.variation} differs by {ends} from {each.control.variation} at all looks so far"


def _holds(each: Comparison) -> str:
    bound, margin = (_bound_said(each, value) for value in (each.bound, each.margin))
    return f"Guardrail {each.metric} is held: worse by {bound} at most, its margin is {margin}."


def _quiet(readout: Readout) -> str:
    return f"The sample ratio is quiet: anytime p {min(each.p for each in readout.sample_ratio):.3g}."


def _bound_said(each: Comparison, value: float | None) -> str:
    return _percent(value) if each.margin_of == "relative" or value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100.0 * value:.4g} %"
