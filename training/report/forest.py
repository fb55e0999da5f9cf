"""Forest plots: one row for each effect, its always-valid interval as a bar, the fixed one thin on top of it."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from schemas.readout import Comparison, Estimate, Interval
from training.evaluate.charts import Axis
from training.report.about import About, ends, leaning
from training.report.over_time import lift_axis
from training.report.words import UNKNOWN, count, difference, lifts, percent

LEFT, RIGHT, WIDTH = 300, 250, 1080
ROW, HEAD, BOTTOM = 27, 34, 30
FARTHEST = 5.0
"""An interval that is so many times as far out as the median one does not set the scale; an arrow says it goes on."""

NAMES = {
    "low": "low risk",
    "risky": "risky",
    "unknown": "no tier",
    "without_risky": "all but risky",
}
"""Strata as a person calls them."""


class Row(NamedTuple):
    """One row.

    Attributes:
        name: of the effect.
        beside: what stands softer beside it.
        estimate: None: not known yet.
        css: `good`, `bad`, `open` or `soft`.
        instead: what is said where there is no lift.
    """

    name: str
    beside: str
    estimate: Estimate | None
    css: str
    instead: str = UNKNOWN


def draw_metrics(about: About) -> str:
    """Draw the lift of every metric in every variation."""
    several = len(about.primary) > 1
    groups: dict[str, list[Row]] = {}
    for one in about.readout.comparisons:
        name = one.arm.variation if several else one.metric
        row = _row(about, one, one.metric if several else one.arm.variation)
        groups.setdefault(name, []).append(row)
    if several:
        return _draw([(f"{name} against the control", rows) for name, rows in groups.items()], "lifts of all metrics")
    rows = [row._replace(name=name, beside=row.beside) for name, rows in groups.items() for row in rows]
    return _draw([("", rows)], "lifts of all metrics")


def _row(about: About, one: Comparison, name: str) -> Row:
    estimate = about.declared(one)
    if one.state == "warming":
        return Row(name, f"{one.role}, warming", None, "soft", "warming: no verdict yet")
    css = leaning(one, estimate.always_lift) if estimate is not None and estimate.lift is not None else "soft"
    return Row(name, one.role, estimate, css, _instead(one, estimate))


def _instead(one: Comparison, estimate: Estimate | None) -> str:
    if estimate is None or estimate.difference is None:
        return UNKNOWN
    return f"no lift; difference {difference(estimate.difference, one)}"


def draw_strata(comparisons: Sequence[Comparison], about: About) -> str:
    """Draw the effects by tier before exposure: the whole first, then its strata."""
    groups = []
    for one in comparisons:
        rows = [_row(about, one, "all units")._replace(beside=_units(one.control.units, one.arm.units))]
        for stratum in one.strata:
            known = stratum.estimate is not None and stratum.estimate.lift is not None
            css = leaning(one, stratum.estimate.always_lift) if known and stratum.estimate else "soft"
            instead = "too few units" if stratum.estimate is None else _instead(one, stratum.estimate)
            beside = _units(stratum.control, stratum.units)
            rows.append(Row(NAMES[stratum.name], beside, stratum.estimate, css, instead))
        groups.append((f"{one.metric}, {one.arm.variation}", rows))
    return _draw(groups, "effects by risk tier before exposure")


def _units(control: int, variation: int) -> str:
    return f"{count(control)} / {count(variation)}"


def _draw(groups: Sequence[tuple[str, Sequence[Row]]], about: str) -> str:
    if all(row.estimate is None or row.estimate.lift is None for _, rows in groups for row in rows):
        return '<p class="empty">Nothing to draw yet: no lift is known.</p>'
    axis = _axis([row.estimate for _, rows in groups for row in rows if row.estimate is not None])
    parts, y = [], 0
    for name, rows in groups:
        if name:
            parts.append(f'<text class="group" x="0" y="{y + 22}">{escape(name)}</text>')
            y += HEAD
        for row in rows:
            parts += _one(row, axis, y + ROW / 2)
            y += ROW
    ticks = [
        f'<line class="rule" x1="{_at(axis, value):.1f}" x2="{_at(axis, value):.1f}" y1="0" y2="{y}"/>'
        f'<text class="tick" text-anchor="middle" x="{_at(axis, value):.1f}" y="{y + 18}">{text}</text>'
        for value, text in axis.ticks
    ]
    zero = f'<line class="nothing" x1="{_at(axis, 0):.1f}" x2="{_at(axis, 0):.1f}" y1="0" y2="{y}"/>'
    return (
        f'<div class="scroll"><svg class="forest" viewBox="0 0 {WIDTH} {y + BOTTOM}" role="img" '
        f'aria-label="{escape(about)}">{"".join(ticks)}{zero}{"".join(parts)}</svg></div>'
    )


def _axis(estimates: Sequence[Estimate]) -> Axis:
    sides = [
        (lower, upper)
        for one in estimates
        if one.lift is not None
        for lower, upper in (ends(one.always_lift), ends(one.fixed_lift))
    ]
    finite = [end for both in sides for end in both if math.isfinite(end)]
    if not finite:
        return lift_axis("", -0.1, 0.1)
    reach = sorted(max(abs(lower), abs(upper)) for lower, upper in sides if math.isfinite(upper - lower))
    most = FARTHEST * reach[len(reach) // 2] if reach else max(map(abs, finite))
    return lift_axis("", max(min(finite), -most), min(max(finite), most))


def _at(axis: Axis, value: float) -> float:
    return LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)


def _one(row: Row, axis: Axis, y: float) -> list[str]:
    parts = [
        f'<text class="name" x="0" y="{y + 4:.1f}">{escape(_cut(row.name, row.beside))}</text>',
        f'<text class="beside" text-anchor="end" x="{LEFT - 16}" y="{y + 4:.1f}">{escape(row.beside)}</text>',
    ]
    estimate, end = row.estimate, WIDTH - RIGHT + 16
    if estimate is None or estimate.lift is None:
        return [*parts, f'<text class="beside" x="{end}" y="{y + 4:.1f}">{escape(row.instead)}</text>']
    always, fixed = lifts(estimate.always_lift), lifts(estimate.fixed_lift)
    said = f"{row.name}: {percent(estimate.lift, sign=True)}; always valid {always}; fixed {fixed}"
    shapes = _bar(axis, estimate.always_lift, y, 9.0, "always") + _bar(axis, estimate.fixed_lift, y, 2.0, "fixed")
    point = f'<circle cx="{_at(axis, estimate.lift):.1f}" cy="{y:.1f}" r="4.2"/>'
    lift = f'<tspan class="strong">{percent(estimate.lift, sign=True)}</tspan>'
    return [
        *parts,
        f'<g class="effect {row.css}"><title>{escape(said)}</title>{shapes}{point}</g>',
        f'<text class="value" x="{end}" y="{y + 4:.1f}">{lift}<tspan dx="9">{always}</tspan></text>',
    ]


def _bar(axis: Axis, interval: Interval, y: float, high: float, css: str) -> str:
    lower, upper = ends(interval)
    left, right = _at(axis, lower), _at(axis, upper)
    bar = (
        f'<rect class="{css}" x="{left:.1f}" y="{y - high / 2:.1f}" width="{max(1.0, right - left):.1f}" '
        f'height="{high}" rx="{high / 2:.1f}"/>'
    )
    if css != "always":
        return bar
    if lower < axis.low:
        bar += f'<path class="arrow" d="M{left - 7:.1f},{y:.1f}l6,-5v10z"/>'
    if upper > axis.high:
        bar += f'<path class="arrow" d="M{right + 7:.1f},{y:.1f}l-6,-5v10z"/>'
    return bar


def _cut(name: str, beside: str) -> str:
    """Cut a name that would run into what stands beside it; the table has it whole."""
    most = 44 - len(beside)
    return name if len(name) <= most else name[: most - 1] + "…"
