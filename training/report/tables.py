"""Tables of the page. Names are those of the definition and its topics: escaped."""

from collections.abc import Sequence
from html import escape

from schemas.readout import Comparison, SampleRatio
from schemas.verdict import Verdict
from training.evaluate.markup import table
from training.report.about import About, harmful, leaning
from training.report.forest import NAMES
from training.report.words import (
    UNKNOWN,
    chance,
    count,
    difference,
    differences,
    evidence,
    lifts,
    mean,
    moment,
    percent,
    worse,
)

ROLES = {"primary": "decides", "secondary": "looked at", "guardrail": "guardrail", "risk": "risk"}
STATES = {"warming": "warming", "ready": "ready", "changing": "changing"}


def pill(text: str, css: str) -> str:
    """Return a word in a frame."""
    return f'<span class="pill {css}">{escape(text)}</span>'


def both(first: str, second: str) -> str:
    """Return two lines, the second one softer; one if nothing is known."""
    return first if first == UNKNOWN and second.endswith(UNKNOWN) else f"{first}<small>{second}</small>"


def metrics(about: About) -> str:
    """Return what is known of every metric in every variation."""
    rows = []
    before = ""
    for one in about.readout.comparisons:
        estimate = about.declared(one)
        known = estimate is not None and estimate.lift is not None
        css = leaning(one, estimate.always_lift) if estimate is not None and known else "soft"
        if one.state == "warming":
            css = "soft"
        always = lifts(estimate.always_lift, known=known) if estimate is not None else UNKNOWN
        fixed = lifts(estimate.fixed_lift, known=known) if estimate is not None else UNKNOWN
        running = lifts(estimate.running_lift, known=known) if estimate is not None else UNKNOWN
        if estimate is not None and one.state == "changing":
            running = "empty: the effect changes"
        lift = f'<b class="{css}">{percent(estimate.lift, sign=True)}</b>' if estimate and known else UNKNOWN
        apart = difference(estimate.difference if estimate is not None else None, one)
        rows.append(
            (
                "break" if before and before != one.role else "",
                [
                    both(
                        f"<b>{escape(one.metric)}</b> {pill(ROLES[one.role], one.role)}",
                        f"{escape(one.arm.variation)}, {one.better} is good, {STATES[one.state]}",
                    ),
                    both(mean(one.arm.mean, one), f"{escape(one.control.variation)} {mean(one.control.mean, one)}"),
                    both(lift, f"difference {apart}"),
                    both(always, f"fixed: {fixed}"),
                    running if one.deciding is None else both(running, f"decides: {differences(one.deciding, one)}"),
                    both(chance(estimate.p if estimate else None), f"fixed: {chance(_fixed_p(about, one))}"),
                ],
            )
        )
        before = one.role
    return table(["metric", "mean", "lift", "always-valid interval", "common to all looks", "anytime p"], rows)


def _fixed_p(about: About, one: Comparison) -> float | None:
    estimate = about.declared(one)
    return estimate.fixed_p if estimate is not None else None


def family(about: About) -> str:
    """Return p-values over the family: primary and secondary metrics, all variations."""
    rows = []
    for one in about.readout.comparisons:
        if one.role in ("guardrail", "risk"):
            continue
        estimate = about.declared(one)
        found = pill("discovery", "good") if one.e_bh else pill("no", "soft")
        rows.append(
            (
                "",
                [
                    f"{escape(one.metric)}<small>{escape(one.arm.variation)}</small>",
                    chance(one.bonferroni),
                    chance(one.holm),
                    evidence(estimate.log_e if estimate else None),
                    found,
                ],
            )
        )
    return table(["metric", "Bonferroni", "Holm", "e-value", "e-BH"], rows)


def guardrails(comparisons: Sequence[Comparison]) -> str:
    """Return the guardrails: what is borne, and what it may be at most."""
    rows = []
    for one in comparisons:
        harm = harmful(one)
        if harm:
            verdict = pill("harm shown", "bad")
        elif one.role == "risk":
            verdict = pill("no harm shown", "soft")
        elif one.held:
            verdict = pill("held", "good")
        else:
            verdict = pill("not shown yet", "soft")
        least = f"by at least {worse(one.bound_harm, one)}" if harm else ""
        rows.append(
            (
                "",
                [
                    f"{escape(one.metric)}<small>{escape(one.arm.variation)}</small>",
                    "no margin" if one.margin is None else f"{worse(one.margin, one)}<small>{_of(one)}</small>",
                    both(_most(one), least) if least else _most(one),
                    verdict,
                ],
            )
        )
    return table(["guardrail", "margin", "worse by at most", ""], rows)


def _of(one: Comparison) -> str:
    return "of the control" if one.margin_of == "relative" else "absolute"


def _most(one: Comparison) -> str:
    if one.bound is None:
        return UNKNOWN
    return worse(one.bound, one) if one.bound > 0.0 else f"0<small>better by at least {worse(-one.bound, one)}</small>"


def sample_ratio(about: About) -> str:
    """Return units by arm against what was expected, all of them first, then by stratum."""
    names = _arms(about)
    head = ["units", *(escape(name) for name in names), "anytime p", ""]
    return table(head, [("", _ratio(one, len(names))) for one in about.readout.sample_ratio])


def _arms(about: About) -> list[str]:
    if about.definition is not None and about.definition.version == about.readout.version:
        return list(about.definition.variations)
    first = about.readout.comparisons[:1]
    return [*(one.control.variation for one in first), *(one.arm.variation for one in about.primary)]


def _ratio(one: SampleRatio, arms: int) -> list[str]:
    cells = [
        f"{count(units)}<small>expected {count(expected)}</small>"
        for units, expected in zip(one.counts, one.expected, strict=False)
    ][:arms]
    cells += ["not counted"] * (arms - len(cells))
    stray = f"<small>{count(one.stray)} in arms of weight 0</small>" if one.stray else ""
    verdict = pill("alarm", "bad") if one.alarm else pill("quiet", "good")
    name = "all" if one.stratum == "all" else NAMES[one.stratum]
    fixed = "nothing to test" if one.chi_squared_p is None else chance(one.chi_squared_p)
    return [name, *cells, both(chance(one.p), f"fixed: {fixed}"), verdict + stray]


def covariate(comparisons: Sequence[Comparison]) -> str:
    """Return the lifts with and without what was before exposure."""
    rows = []
    for one in comparisons:
        sides = []
        for estimate in (one.unadjusted, one.adjusted):
            known = estimate is not None and estimate.lift is not None
            interval = lifts(estimate.always_lift, known=known) if estimate is not None else UNKNOWN
            sides.append(f"{percent(estimate.lift if estimate else None, sign=True)}<small>{interval}</small>")
        name = f"{escape(one.metric)}<small>{escape(one.arm.variation)}</small>"
        rows.append(("", [name, *sides, percent(one.variance_saved)]))
    return table(["metric", "lift without", "lift with", "variance saved"], rows)


def decisions(verdicts: Sequence[Verdict]) -> str:
    """Return the decisions so far, newest first."""
    rows = [
        (
            "",
            [
                f'<span class="when">{moment(one.timestamp)}</span>',
                pill(one.decision + (f" {one.variation}" if one.variation else ""), one.decision),
                "; ".join(escape(reason) for reason in one.reasons) or "no reason given",
            ],
        )
        for one in reversed(verdicts)
    ]
    return table(["stream time, UTC", "decision", "why"], rows, 2)


def preliminary(comparisons: Sequence[Comparison]) -> str:
    """Return means over all exposed units, as far as their windows went."""
    rows = []
    for one in comparisons:
        cells = [
            f"{mean(arm.preliminary_mean, one)}<small>{count(arm.units)} of {count(arm.exposed)} judged</small>"
            for arm in (one.control, one.arm)
        ]
        rows.append(("", [f"{escape(one.metric)}<small>{escape(one.arm.variation)}</small>", *cells]))
    return table(["metric", "control so far", "variation so far"], rows)


def offsets(about: About) -> str:
    """Return the next record of each topic that is not in here, by partition of `exposures`."""
    readout = about.readout
    partitions = sorted(
        {at for one in readout.offsets.values() for at in one} | set(map(str, readout.partitions)), key=_number
    )
    rows = [
        (
            "",
            [
                f"<code>{escape(topic)}</code>",
                *(f"{found[at]:,}" if at in found else "no record" for at in partitions),
            ],
        )
        for topic, found in sorted(readout.offsets.items())
    ]
    return table(["topic", *(f"partition {escape(at)}" for at in partitions)], rows)


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (1 << 62, text)
