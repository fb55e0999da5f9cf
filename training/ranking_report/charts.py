"""Charts of the page: what changed with time, and how honest probabilities are."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby

from training.evaluate.charts import Axis, Plot, decades, round_values
from training.evaluate.markup import legend
from training.ranking_report.about import About, Summary
from training.report import over_time
from training.report.words import MINUS, count, evidence, moment, percent

COLOURS = ("ours", "evidence", "iso", "critical", "forest", "medium")
"""Of groups and steps, in their order; they repeat."""

EMPTY = '<p class="empty">{}</p>'
_LOWEST = -3
_HIGHEST = 12
Line = tuple[str, str, Callable[[Summary], float | None]]


def draw_ndcg(said: About) -> str:
    """Draw NDCG of the lists as shown and by popularity, and MRR."""
    lines = [
        ("as shown", "ours", lambda one: one.ndcg),
        ("by popularity", "legit", lambda one: one.ndcg_popularity),
        ("MRR", "evidence dash", lambda one: one.mrr),
    ]
    return _over_time(said, lines, "NDCG over time", "no list had a click.", (1080, 320), 8)


def draw_user_groups(said: About) -> str:
    """Draw NDCG by group of users."""
    lines = [(name, COLOURS[at % len(COLOURS)], _ndcg_of(name)) for at, name in enumerate(said.whole.user_groups)]
    return _over_time(said, lines, "NDCG by group of users", "no list of a group had a click.")


def draw_exposure(said: About) -> str:
    """Draw mean exposure by group of items."""
    lines = [(name, COLOURS[at % len(COLOURS)], _exposure_of(name)) for at, name in enumerate(said.whole.groups)]
    return _over_time(said, lines, "exposure by group", "no list was shown.")


def draw_costs(said: About) -> str:
    """Draw what each step costs."""
    lines = [(name, COLOURS[at % len(COLOURS)], _cost_of(name)) for at, name in enumerate(said.whole.steps)]
    return _over_time(said, lines, "cost of steps", "no step follows the ranker.")


def _ndcg_of(name: str) -> Callable[[Summary], float | None]:
    return lambda one: one.user_groups[name].ndcg if name in one.user_groups else None


def _exposure_of(name: str) -> Callable[[Summary], float | None]:
    return lambda one: one.groups[name].exposure if name in one.groups else None


def _cost_of(name: str) -> Callable[[Summary], float | None]:
    return lambda one: one.steps[name].cost if name in one.steps else None


def _over_time(
    said: About, lines: Sequence[Line], about: str, lacking: str, size: tuple[int, int] = (520, 290), ticks: int = 4
) -> str:
    """Draw figures at the ends of the stretches."""
    values = [value for _, _, of in lines for one in said.stretches if (value := of(one)) is not None]
    if not values:
        return EMPTY.format(f"Nothing to draw yet: {lacking}")
    plot = Plot(_times(said, ticks), _share_axis(min(values), max(values)), about, *size)
    if plot.y.low < 0.0:
        plot.line([plot.x.low, plot.x.high], [0.0, 0.0], "zero")
    for name, css, of in lines:
        known = [(one.until / 1000.0, value, one) for one in said.stretches if (value := of(one)) is not None]
        plot.line([x for x, *_ in known], [y for _, y, _ in known], f"{css} thick", name)
        for x, y, one in known:
            plot.dot(x, y, f"{css.split()[0]} seen", f"{name}, to {moment(one.until)}: {percent(y)}")
    named = [(css.replace("dash", "dashes"), name) for name, css, _ in lines]
    return f'<div class="scroll">{plot.svg()}</div>' + legend(named)


def _times(said: About, most: int) -> Axis:
    """Return the axis of time, a little longer than the time: else its last text would stand over the one before."""
    since, until = said.whole.since, said.whole.until
    return over_time.times(since, until + (until - since) // 40, most)


def _share_axis(low: float, high: float) -> Axis:
    """Return an axis of shares that shows the differences: it begins at 0 only if that is near."""
    low = 0.0 if 0.0 <= low < (high - low) * 1.5 else low
    values = round_values(low, high, 0.02)
    ticks = tuple((value, f"{MINUS if value < 0 else ''}{abs(100 * round(value, 9)):.4g} %") for value in values)
    return Axis("", values[0], values[-1], ticks)


def draw_reliability(said: About) -> str:
    """Draw the share that was clicked against the probability that was predicted, on square roots of both.

    Most probabilities of a click are small: on plain axes all of them would lie in one corner.
    """
    bins = said.whole.reliability
    if not bins:
        return EMPTY.format("Nothing to draw yet: no probability is known.")
    most = max(max(one.predicted, one.clicked) for one in bins)
    high = next(each for each in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if most <= each or each == 1.0)
    marks = [high * share for share in (0.0, 0.04, 0.16, 0.36, 0.64, 1.0)]
    ticks = tuple((math.sqrt(value), f"{100 * value:.3g} %") for value in marks)
    x = Axis("predicted probability of a click", 0.0, math.sqrt(high), ticks)
    plot = Plot(x, Axis("", 0.0, math.sqrt(high), ticks), "clicked against predicted", 520, 330)
    plot.line([0.0, x.high], [0.0, x.high], "soft dash", "as predicted")
    plot.line([math.sqrt(one.predicted) for one in bins], [math.sqrt(one.clicked) for one in bins], "ours")
    for one in bins:
        text = f"predicted {percent(one.predicted)}, clicked {percent(one.clicked)}, {count(one.n)} places"
        plot.dot(math.sqrt(one.predicted), math.sqrt(one.clicked), "ours seen", text)
    return plot.svg() + legend([("ours", "clicked, by bin"), ("soft dashes", "as predicted")])


def draw_evidence(said: About) -> str:
    """Draw the mean e-value of the partitions by group on a logarithmic axis, with the line at which it alarms."""
    if not said.evidence:
        return EMPTY.format("Nothing to draw: no group of items is named in the settings.")
    logs = [one.log_e / math.log(10.0) for each in said.evidence.values() for one in each]
    low = max(_LOWEST, min(-1, math.floor(min(logs))))
    high = min(_HIGHEST, max(math.ceil(max(logs)), math.ceil(-math.log10(said.alpha)) + 1))
    step = 1 if high - low <= 8 else 2
    axis = decades("", low, high)
    axis = Axis("", axis.low, axis.high, axis.ticks[::step], "log")
    plot = Plot(_times(said, 8), axis, "e-value of fair exposure", 1080, 300)
    for at, (name, points) in enumerate(said.evidence.items(), 1):  # 0 is that of all others
        css = COLOURS[at % len(COLOURS)]
        for since, run in groupby(points, lambda one: one.since_ms):  # a new line where a judge began anew
            those = list(run)
            xs = [one.time_ms / 1000.0 for one in those]
            ys = [10.0 ** min(_HIGHEST, one.log_e / math.log(10.0)) for one in those]
            start = since == points[0].since_ms  # with e-value 1; later on other partitions may have more
            plot.line([since / 1000.0, *xs] if start else xs, [1.0, *ys] if start else ys, f"{css} thick", name)
            for one, x, y in zip(those, xs, ys, strict=True):
                text = f"{name}, to {moment(one.time_ms)}: {evidence(one.log_e)} after {count(one.lists)} lists"
                plot.dot(x, y, f"{css} seen", text)
    plot.level(1.0 / said.alpha, "risky", f"alarm at {1.0 / said.alpha:.4g}", "start")
    named = [(COLOURS[at % len(COLOURS)], name) for at, name in enumerate(said.evidence, 1)]
    return f'<div class="scroll">{plot.svg()}</div>' + legend(named)
