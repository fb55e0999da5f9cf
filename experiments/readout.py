"""The readout: totals, and what the looks so far left behind, become the figures that are published.

Writing one down changes nothing: looks are taken in by `Looks.look`. Numbers are of now, but `running`, `p`, the
deciding interval and `bound_harm`, which are of all looks taken.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.effects import Effect
from experiments.intervals import fixed_half_width, fixed_p
from experiments.looking import ADJUSTED, UNADJUSTED, Bool, Compared, Plan
from experiments.looks import Looks, Seen, lifts
from experiments.memory import Ends, Memory
from experiments.multiple import bonferroni, e_bh, holm
from experiments.sample_ratio import sample_ratio
from experiments.sums import F64
from experiments.totals import ALL, GROUPS, LOW, RISKY, UNKNOWN, WITHOUT_RISKY, Totals, metrics_of
from operators.encode import significant
from schemas.definition import Definition, Metric
from schemas.part import RISK
from schemas.readout import Arm, Comparison, Estimate, Interval, Look, Readout, Role, Stratum

_NOTHING = Interval()
_INTERVALS = ("fixed", "fixed_lift", "always", "always_lift", "running", "running_lift")
_RISK = Metric(name=RISK, kind="proportion", event=RISK, better="down")


def readout(
    definition: Definition, plan: Plan, totals: Totals, seen: Seen, looks: Looks, check_alpha: float
) -> Readout:
    """Return the newest statistics of an experiment.

    Args:
        definition: newest version.
        plan: of it.
        totals: newest.
        seen: of these totals.
        looks: so far.
        check_alpha: of the sample ratio's alarm, see `experiments.sample_ratio`.
    """
    compared = seen.compared
    figures = _figures(definition, plan, seen, looks.memory)
    exposed = int(totals.exposed[ALL].sum())
    return Readout(
        experiment=definition.id,
        version=definition.version,
        timestamp=totals.timestamp,
        alpha=definition.alpha,
        cuped=definition.cuped,
        offsets=totals.offsets,
        partitions=totals.partitions,
        first_exposure=totals.first_exposure,
        tiers=totals.tiers,
        comparisons=tuple(
            _comparison(definition, plan, totals, compared, figures, metric, pair)
            for metric in range(len(plan.kinds) - (not totals.risk))
            for pair in range(plan.pairs)
        ),
        sample_ratio=sample_ratio(totals, plan, looks.srm, check_alpha),
        several=float(f"{totals.several / exposed:.6g}") if exposed else 0.0,
        refused=totals.refused,
        looks=_history(looks.history),
    )


class _Figures(NamedTuple):
    """Rounded numbers as nested lists, None where one is not known.

    Attributes:
        estimates: of each analysis, group, metric and pair the numbers of an `Estimate`.
        saved: share of the variance, by metric and pair.
        families: Bonferroni's p, Holm's p, by metric and pair, of primary and secondary metrics.
        e_bh: likewise.
        bounds: bound, and greatest bound of harm, by metric and pair.
        interaction: p, by metric and pair.
        deciding: both ends, by pair.
        ready: by group, metric and pair.
        changing: by metric and pair.
    """

    estimates: list[Any]
    saved: list[Any]
    families: list[Any]
    e_bh: list[Any]
    bounds: list[Any]
    interaction: list[Any]
    deciding: list[Any]
    ready: list[Any]
    changing: list[Any]


def _figures(definition: Definition, plan: Plan, seen: Seen, memory: Memory) -> _Figures:
    (compared, found), ready = seen, seen.compared.ready
    looked = np.isfinite(memory.difference.lower)
    p = np.where(looked, memory.difference.p, np.nan)
    family = 1 + len(definition.secondary)
    of_family = np.where(ready[ALL, :family], p[plan.declared, ALL, :family], np.nan)
    log_e = np.where(ready[ALL, :family], found.log_e[plan.declared, ALL, :family], np.nan)
    adjusted = [each(of_family.ravel()).reshape(of_family.shape) for each in (bonferroni, holm)]
    with np.errstate(divide="ignore", invalid="ignore"):
        saved = 1.0 - compared.effect.variance[ADJUSTED, ALL] / compared.effect.variance[UNADJUSTED, ALL]
    bounds = np.stack([np.where(ready[ALL], found.bound, np.nan), memory.harm])
    discovered: Any = e_bh(log_e.ravel(), plan.alpha).reshape(log_e.shape)
    deciding = np.stack([memory.deciding.lower, memory.deciding.upper])
    return _Figures(
        _numbers(np.moveaxis(_estimates(plan, compared, found, memory, p), 0, -1)),
        _numbers(saved),
        _numbers(np.stack(adjusted)),
        discovered.tolist(),
        _numbers(bounds),
        _numbers(memory.interaction_p),
        _numbers(deciding.T),
        ready.tolist(),
        memory.difference.changing[plan.declared, ALL].tolist(),
    )


def _estimates(plan: Plan, compared: Compared, found: Ends, memory: Memory, p: F64) -> F64:
    """Return the numbers of an `Estimate`, in its order, shape (17, 2, groups, metrics, pairs)."""
    effect, lift = compared.effect, lifts(compared, plan)
    dof = np.broadcast_to(effect.dof, effect.variance.shape)
    both = effect._replace(
        estimate=np.stack([effect.estimate, lift.estimate]),
        variance=np.stack([effect.variance, lift.variance]),
        dof=np.stack([dof, dof]),
    )
    ready = np.broadcast_to(compared.ready, both.variance.shape)
    half, half_lift = _where(ready, both, lambda effect: fixed_half_width(effect, plan.alpha))
    p_fixed = _where(ready[0], effect._replace(dof=dof), fixed_p)
    rows = [
        effect.estimate,
        lift.estimate,
        *(effect.estimate - half, effect.estimate + half),
        *(lift.estimate - half_lift, lift.estimate + half_lift),
        *(found.lower, found.upper, found.lift_lower, found.lift_upper),
        *(memory.difference.lower, memory.difference.upper, memory.lift.lower, memory.lift.upper),
        p_fixed,
        found.log_e,
        p,
    ]
    return np.stack([np.broadcast_to(row, effect.variance.shape) for row in rows])


def _where(ready: Bool, effect: Effect, of: Callable[[Effect], F64]) -> F64:
    """Return a function of the effects that are ready, NaN elsewhere: Student's law is dear for few units."""
    answer = np.full(ready.shape, np.nan)
    answer[ready] = of(Effect(*(np.broadcast_to(field, ready.shape)[ready] for field in effect)))
    return answer


def _comparison(
    definition: Definition, plan: Plan, totals: Totals, compared: Compared, figures: _Figures, metric: int, pair: int
) -> Comparison:
    metrics = (*metrics_of(definition), _RISK)
    one, role = metrics[metric], _role(definition, metric)
    ready = figures.ready[ALL][metric][pair]
    covariate = bool(compared.theta[ADJUSTED, ALL, metric, pair] != 0.0)
    unadjusted, adjusted = (figures.estimates[analysis][ALL][metric][pair] for analysis in (UNADJUSTED, ADJUSTED))
    family = metric < 1 + len(definition.secondary)
    margin = float(plan.margins[metric])
    bound, harm = (figures.bounds[which][metric][pair] for which in (0, 1))
    watched = role in ("guardrail", "risk")
    missing = {
        name: float(lack[ALL, metric, pair]) for name, lack in compared.missing.items() if lack[ALL, metric, pair] > 0.0
    }
    deciding = figures.deciding[pair] if metric == 0 else [None, None]
    return Comparison(
        metric=one.name,
        role=role,
        kind=one.kind,
        better=one.better,
        control=_arm(definition, totals, compared, metric, 0, compared.a.mean[ALL, metric, pair]),
        arm=_arm(definition, totals, compared, metric, 1 + pair, compared.b.mean[ALL, metric, pair]),
        state="warming" if not ready else "changing" if figures.changing[metric][pair] else "ready",
        missing=missing,
        unadjusted=_estimate(unadjusted) if ready else None,
        adjusted=_estimate(adjusted) if ready and covariate else None,
        variance_saved=figures.saved[metric][pair] if ready and covariate else None,
        bonferroni=figures.families[0][metric][pair] if family else None,
        holm=figures.families[1][metric][pair] if family else None,
        e_bh=figures.e_bh[metric][pair] if family else False,
        margin=None if np.isnan(margin) else margin,
        margin_of=None if np.isnan(margin) else "relative" if plan.relative[metric] else "absolute",
        bound=bound if watched else None,
        bound_harm=harm if watched else None,
        held=bool(watched and bound is not None and not np.isnan(margin) and bound <= margin),
        strata=_strata(plan, compared, figures, metric, pair) if totals.tiers else (),
        interaction_p=figures.interaction[metric][pair] if totals.tiers else None,
        deciding=_interval(*deciding) if deciding[0] is not None else None,
    )


def _role(definition: Definition, metric: int) -> Role:
    secondary = len(definition.secondary)
    if metric == 0:
        return "primary"
    if metric <= secondary:
        return "secondary"
    return "guardrail" if metric <= secondary + len(definition.guardrails) else "risk"


def _arm(definition: Definition, totals: Totals, compared: Compared, metric: int, arm: int, mean: float) -> Arm:
    # y and d of units with windows over, of all phases, beside those of open windows.
    columns = totals.sums.high[ALL, metric, :, arm, 1:3].sum(axis=0) + totals.open[metric, arm, 1:3]
    preliminary = columns[0] / columns[1] if columns[1] > 0.0 else np.nan
    mean, preliminary = _numbers(np.array([mean, preliminary]))
    return Arm(
        variation=definition.variations[arm],
        units=int(compared.units[ALL, metric, arm]),
        mean=mean,
        exposed=int(totals.exposed[ALL, :, arm].sum()),
        preliminary_mean=preliminary,
    )


def _strata(plan: Plan, compared: Compared, figures: _Figures, metric: int, pair: int) -> tuple[Stratum, ...]:
    return tuple(
        Stratum(
            name=GROUPS[group],  # type: ignore[arg-type]
            control=int(compared.units[group, metric, 0]),
            units=int(compared.units[group, metric, 1 + pair]),
            estimate=_estimate(figures.estimates[plan.declared][group][metric][pair])
            if figures.ready[group][metric][pair]
            else None,
        )
        for group in (UNKNOWN, LOW, RISKY, WITHOUT_RISKY)
    )


def _estimate(numbers: Sequence[float | None]) -> Estimate:
    difference, lift, *between = numbers
    intervals = {name: _interval(between[2 * at], between[2 * at + 1]) for at, name in enumerate(_INTERVALS)}
    fixed, log_e, p = between[2 * len(_INTERVALS) :]
    return Estimate(difference=difference, lift=lift, fixed_p=fixed, log_e=log_e, p=p, **intervals)


def _interval(lower: float | None, upper: float | None) -> Interval:
    return _NOTHING if lower is None and upper is None else Interval(lower=lower, upper=upper)


def _history(rows: F64) -> tuple[Look, ...]:
    looks = []
    for time, units, srm_p, *each in _numbers(rows):
        lifts = [each[at : at + 5] for at in range(0, len(each), 5)]
        looks.append(
            Look(
                timestamp=int(time),
                units=int(units),
                lifts=tuple(lift for lift, *_ in lifts),
                always=tuple(_interval(lower, upper) for _, lower, upper, *_ in lifts),
                fixed=tuple(_interval(*rest) for _, _, _, *rest in lifts),
                srm_p=srm_p,
            )
        )
    return tuple(looks)


def _numbers(values: F64) -> Any:
    """Return numbers rounded, as nested lists, None where one is not finite: JSON has no word for it."""
    rounded: Any = significant(values)
    if not np.isfinite(rounded).all():
        rounded = np.where(np.isfinite(rounded), rounded, None)
    return rounded.tolist()
