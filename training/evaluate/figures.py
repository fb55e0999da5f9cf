"""The arithmetic of an evaluation: columns in, figures out. Ties are honoured everywhere.

Scores are higher for riskier events, labels are booleans, and no score is NaN: who calls has left out what is unknown.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, Bool

CURVE_POINTS = 240
"""Points kept of a curve that is drawn: more than there are pixels to tell them apart."""


class Curve(NamedTuple):
    """A curve to draw: x ascending."""

    x: F64
    y: F64


class Steps(NamedTuple):
    """Counts above each distinct score, from the highest score down.

    Attributes:
        score: the distinct scores, falling, shape (k,).
        risky: risky events with at least that score, shape (k,).
        legit: legitimate ones, shape (k,).
    """

    score: F64
    risky: I64
    legit: I64


def steps(score: F64, risky: Bool) -> Steps:
    """Count both classes above each distinct score.

    Raises:
        ValueError: no events.
    """
    if len(score) == 0:
        raise ValueError("expected scores, got none")
    order = np.argsort(-score, kind="stable")
    falling, truth = score[order], risky[order]
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    caught = np.cumsum(truth)[last]
    return Steps(falling[last], caught.astype(np.int64), (last + 1 - caught).astype(np.int64))


def roc_auc(score: F64, risky: Bool) -> float:
    """Return the area under the ROC curve: P(a risky event scores higher) + P(equal) / 2; NaN with one class only.

    The trapezoidal area, equal to the Mann-Whitney statistic (Hanley and McNeil, Radiology 1982).
    """
    found = steps(score, risky)
    positives, negatives = int(found.risky[-1]), int(found.legit[-1])
    if positives == 0 or negatives == 0:
        return float("nan")
    x, y = np.append(0, found.legit), np.append(0, found.risky)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0) / (positives * negatives))


def average_precision(score: F64, risky: Bool) -> float:
    """Return the mean precision at the thresholds, weighted by the recall gained at each; NaN without risky events.

    A step function, without interpolation, which would flatter (Davis and Goadrich, ICML 2006).
    """
    found = steps(score, risky)
    positives = int(found.risky[-1])
    if positives == 0:
        return float("nan")
    gained = np.diff(np.append(0, found.risky)) / positives
    return float(np.sum(gained * found.risky / (found.risky + found.legit)))


def roc_curve(score: F64, risky: Bool) -> Curve:
    """Return false positive rate against recall, thinned for drawing; both classes are needed."""
    found = steps(score, risky)
    x = np.append(0.0, found.legit / found.legit[-1])
    y = np.append(0.0, found.risky / found.risky[-1])
    return thinned(x, y)


def precision_recall_curve(score: F64, risky: Bool) -> Curve:
    """Return recall against precision, thinned for drawing; both classes are needed."""
    found = steps(score, risky)
    return thinned(found.risky / found.risky[-1], found.risky / (found.risky + found.legit))


def thinned(x: F64, y: F64) -> Curve:
    """Return a curve in at most `CURVE_POINTS` points, evenly along its own length, with both of its ends."""
    if len(x) <= CURVE_POINTS:
        return Curve(x, y)
    along = np.append(0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
    wanted = np.linspace(0.0, along[-1], CURVE_POINTS)
    at = np.unique(np.append(np.searchsorted(along, wanted).clip(0, len(x) - 1), len(x) - 1))
    return Curve(x[at], y[at])


def budget_threshold(score: F64, budget: float) -> float:
    """Return the lowest score such that no more than a share `budget` of the events reach it; infinite if none does.

    Known only in hindsight: it looks at all scores.
    """
    falling = np.sort(score)[::-1]
    most = int(budget * len(falling) + 1e-9)
    if most == 0:
        return float("inf")
    if most >= len(falling):
        return float(falling[-1])
    # With ties across the budget's edge none of them is let in.
    threshold = falling[most - 1]
    if falling[most] == threshold:
        above = falling[falling > threshold]
        return float(above[-1]) if len(above) else float("inf")
    return float(threshold)


class Caught(NamedTuple):
    """Alerts against labels.

    Attributes:
        alerts: events alerted.
        rate: share of all events alerted.
        precision: share of the alerts that are risky; NaN without alerts.
        recall: share of the risky events alerted; NaN without risky events.
    """

    alerts: int
    rate: float
    precision: float
    recall: float


def caught(alert: Bool, risky: Bool) -> Caught:
    """Compare alerts with labels, both of shape (n,)."""
    alerts, right, positives = int(alert.sum()), int((alert & risky).sum()), int(risky.sum())
    return Caught(alerts, _share(alerts, len(alert)), _share(right, alerts), _share(right, positives))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def stability_index(before: F64, after: F64, groups: int = 10) -> float:
    """Return the population stability index of two samples: sum of (q - p) ln(q / p); NaN if either is empty.

    Groups are the quantiles of `before`, fewer where values repeat; half an event is added to each count, so that an
    empty group does not make it infinite. Under 0.1 is usually read as stable, above 0.25 as shifted.
    """
    if len(before) == 0 or len(after) == 0:
        return float("nan")
    edges = np.unique(np.quantile(before, np.linspace(0.0, 1.0, groups + 1)[1:-1]))
    p, q = _shares(before, edges), _shares(after, edges)
    return float(np.sum((q - p) * np.log(q / p)))


def _shares(values: F64, edges: F64) -> F64:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5
    shares: F64 = counts / counts.sum()
    return shares


def reliability(tail: F64, levels: F64) -> F64:
    """Return the share of events whose tail probability is at most each level, shape (levels,).

    A calibrated tail is uniform under what is normal: the share equals the level.
    """
    ordered = np.sort(tail)
    shares: F64 = np.searchsorted(ordered, levels, side="right") / max(1, len(ordered))
    return shares


class Delay(NamedTuple):
    """How soon one attacked user was noticed.

    Attributes:
        user: his number.
        start: the row of his first risky event.
        events: his events up to the first alert, that one included; 0 if there was none.
        seconds: event time from the first risky event to the first alert; NaN if there was none.
    """

    user: int
    start: int
    events: int
    seconds: float


def delays(user: I64, time_ms: I64, risky: Bool, alert: Bool) -> list[Delay]:
    """Return, for each user with a risky event, how long it took from the first of them to the first alert after it.

    Args:
        user: number of each event's user, shape (n,), in the order of the stream.
        time_ms: event time, shape (n,).
        risky: shape (n,).
        alert: whether the decision on the event was an alert, shape (n,). Every event of the user from the first risky
            one on may raise it.
    """
    order = np.argsort(user, kind="stable")
    starts = np.flatnonzero(np.append(True, user[order][1:] != user[order][:-1]))
    found = []
    for rows in np.split(order, starts[1:]) if len(order) else []:
        attacked = np.flatnonzero(risky[rows])
        if not len(attacked):
            continue
        since = rows[attacked[0] :]
        alarms = np.flatnonzero(alert[since])
        first = since[0]
        if len(alarms):
            waited = max(0, int(time_ms[since[alarms[0]]] - time_ms[first])) / 1000.0
            found.append(Delay(int(user[first]), int(first), int(alarms[0]) + 1, waited))
        else:
            found.append(Delay(int(user[first]), int(first), 0, float("nan")))
    return found


def quantiles_over_time(values: F64, bins: int, levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Return quantiles of consecutive, equally large stretches of `values`, shape (bins, levels)."""
    return np.array([np.quantile(part, levels) for part in np.array_split(values, bins)])
