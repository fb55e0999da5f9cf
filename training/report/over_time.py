"""Charts over stream time: the primary metric's lift with its intervals, and the sample ratio."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from schemas.readout import Interval
from training.evaluate.charts import Axis, Plot, decades, round_values
from training.evaluate.markup import legend
from training.report.about import About, ends
from training.report.words import MINUS, chance, count, lifts, moment, percent

COLOURS = ("ours", "evidence", "iso", "critical", "forest", "medium")
"""Of the variations, in their order; they repeat."""

_STEPS = (
    *((seconds, "%H:%M:%S") for seconds in (1, 5, 15, 30)),
    *((60 * minutes, "%d %b %H:%M") for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)),
    *((86_400 * days, "%d %b") for days in (1, 2, 3, 4, 5, 7, 14, 28, 56, 112, 224, 448, 896)),
)


class _Look(NamedTuple):
    time_s: float
    units: int
    lift: float | None
    always: Interval
    fixed: Interval


def times(first_ms: int, last_ms: int, most: int) -> Axis:
    """Return an axis of stream time with ticks at round times, one more than `most` at most."""
    first, last = first_ms / 1000.0, max(last_ms, first_ms + 1) / 1000.0
    step, form = next((one for one in _STEPS if (last - first) / one[0] <= most), _STEPS[-1])
    start = math.ceil(first / step)
    ticks = tuple(
        (float(at * step), datetime.fromtimestamp(at * step, UTC).strftime(form).lstrip("0"))
        for at in range(start, math.floor(last / step) + 1)
    )
    return Axis("stream time, UTC", first, last, ticks)


def lift_axis(title: str, low: float, high: float) -> Axis:
    """Return an axis of lifts in per cent, with 0 on it and round ticks."""
    low, high = min(low, 0.0), max(high, 0.0)
    values = round_values(low, high, 0.02)
    return Axis(title, values[0], values[-1], tuple((value, _tick(100.0 * value)) for value in values))


def _tick(value: float) -> str:
    value = round(value, 9)
    return f"{'' if value == 0.0 else '+' if value > 0.0 else MINUS}{abs(value):g} %"


def draw_lift(about: About, at: int) -> str:
    """Draw the lift of the primary metric in one variation: always-valid intervals, fixed ones beside them.

    Args:
        about: the experiment.
        at: which variation, from 0; the control does not count.
    """
    looks = _looks(about, at)
    known = [one for one in looks if one.lift is not None]
    variation = about.primary[at].arm.variation if at < len(about.primary) else ""
    if not known:
        return '<p class="empty">Nothing to draw yet: at no look was the lift known.</p>'
    mde = about.definition.mde if about.definition is not None else None
    low, high = _range(known, mde)
    first = about.readout.first_exposure
    begin = min(int(1000 * looks[0].time_s), first if first is not None else about.readout.timestamp)
    plot = Plot(
        times(begin, about.readout.timestamp, 8 if len(about.primary) < 2 else 4),
        lift_axis("", low, high),
        f"lift of {variation} over time, with always-valid and fixed intervals",
        *((1080, 320) if len(about.primary) < 2 else (520, 300)),
    )
    css = COLOURS[at % len(COLOURS)]
    for run in _runs(looks):
        xs = [one.time_s for one in run]
        if len(run) == 1:
            xs, run = [xs[0], xs[0] + 1e-3], [run[0], run[0]]  # noqa: PLW2901  a band needs two edges
        plot.band(xs, *_sides([one.always for one in run]), css)
        for side in _sides([one.fixed for one in run]):
            plot.line(xs, side, f"{css} thin dash")
        for side in _sides([one.always for one in run]):
            plot.line(xs, side, f"{css} thin")
        plot.line(xs, [one.lift or 0.0 for one in run], f"{css} thick")
    plot.line([plot.x.low, plot.x.high], [0.0, 0.0], "zero", "no effect")
    for number, phase in enumerate(about.definition.phases[1:] if about.definition is not None else (), 2):
        if plot.x.low < phase.start / 1000.0 < plot.x.high:
            x, y = phase.start / 1000.0, (plot.y.low, plot.y.high)
            plot.line([x, x], y, "soft thin dash", f"phase {number} begins").note(x, y[1], f"phase {number}")
    if mde is not None:
        plot.level(
            mde if about.primary[at].better == "up" else -mde, "soft", "smallest lift that was to be found", "start"
        )
    for one in known:
        plot.dot(one.time_s, one.lift or 0.0, css, _said(one))
    return f'<div class="scroll">{plot.svg()}</div>' + legend(
        ((f"{css} wash", "always valid: at all looks together"), (f"{css} dashes", "fixed: at one look"))
    )


def _looks(about: About, at: int) -> list[_Look]:
    found = [
        _Look(one.timestamp / 1000.0, one.units, one.lifts[at], one.always[at], one.fixed[at])
        for one in about.readout.looks
        if at < min(len(one.lifts), len(one.always), len(one.fixed))
    ]
    if at < len(about.primary):
        one = about.primary[at]
        now, estimate = about.readout.timestamp / 1000.0, about.declared(one)
        if one.state != "warming" and estimate is not None and not (found and found[-1].time_s >= now):
            units = one.control.units + sum(each.arm.units for each in about.primary)
            found.append(_Look(now, units, estimate.lift, estimate.always_lift, estimate.fixed_lift))
    return found


def _runs(looks: Sequence[_Look]) -> list[list[_Look]]:
    """Return the stretches in which the lift is known, so that a gap stays one."""
    runs: list[list[_Look]] = [[]]
    for one in looks:
        if one.lift is None:
            runs.append([])
        else:
            runs[-1].append(one)
    return [run for run in runs if run]


def _sides(intervals: Sequence[Interval]) -> tuple[list[float], list[float]]:
    both = [ends(one) for one in intervals]
    return [lower for lower, _ in both], [upper for _, upper in both]


def _range(looks: Sequence[_Look], mde: float | None) -> tuple[float, float]:
    """Return what the axis must show: the latter two thirds whole. The first are too wide for a scale."""
    late = looks[len(looks) // 3 :]
    values = [end for one in late for end in (*ends(one.always), *ends(one.fixed)) if math.isfinite(end)]
    values += [one.lift for one in looks if one.lift is not None]
    values += [mde, -mde] if mde is not None and mde <= 2.0 * max(map(abs, values)) else []
    return min(values), max(values)


def _said(one: _Look) -> str:
    return (
        f"{moment(int(1000 * one.time_s))}, {count(one.units)} units: {percent(one.lift, sign=True)}, "
        f"always valid {lifts(one.always)}, fixed {lifts(one.fixed)}"
    )


def draw_sample_ratio(about: About) -> str:
    """Draw the anytime p-value of the sample ratio on a logarithmic axis, with the limit below which it alarms."""
    readout = about.readout
    whole = next((one for one in readout.sample_ratio if one.stratum == "all"), None)
    points = [(one.timestamp / 1000.0, one.srm_p) for one in readout.looks]
    now = readout.timestamp / 1000.0
    if whole is not None and not (points and points[-1][0] >= now):
        points.append((now, whole.p))
    if not points:
        return '<p class="empty">Nothing to draw yet: no unit has come.</p>'
    lowest = max(1e-12, min(p for _, p in points))
    first = readout.first_exposure
    begin = min(int(1000 * points[0][0]), first if first is not None else readout.timestamp)
    plot = Plot(
        times(begin, readout.timestamp, 3),
        decades("", min(-3, math.floor(math.log10(lowest))), 0),
        "anytime p of the sample ratio over time",
        *(460, 300),
    )
    css = "risky" if lowest <= about.alarm or (whole is not None and whole.alarm) else "ours"
    xs, ys = [begin / 1000.0, *(x for x, _ in points)], [1.0, *(p for _, p in points)]
    plot.stairs(xs, ys, f"{css} thick", "anytime p of the sample ratio")
    for x, p in points:
        plot.dot(x, p, css, f"{moment(int(1000 * x))}: p {chance(p)}")
    plot.level(about.alarm, "risky", f"alarm at {about.alarm:g}")
    return plot.svg()
