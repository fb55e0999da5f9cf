"""What is kept of an item: sums over panes of windows, and sums that fade. Row 0 is of all items together.

A window of length W is six panes of W / 5, aligned to absolute event time, of which the newest is being filled. So what
it tells at time t covers (t - W, t] and nothing at or before t - 1.2 W, and panes of all partitions add up by number.

What fades is held as of the newest row of the item (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009), as
`ranking.decay.DecayedSums` does.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, Bool
from operators.compiled import Int, borrowing
from operators.entities import in_larger
from operators.fading import share_of
from operators.noticed import CLICK, IMPRESSION
from operators.signals.config import PANES

COLUMNS = (
    "impressions",
    "clicks",
    "purchases",
    "weighted_impressions",
    "weighted_clicks",
    "weighted_purchases",
    "debiased_clicks",
    "weighted_debiased_clicks",
    "risky_impressions",
    "risky_interactions",
)
"""Columns of all sums: counts by kind; again with each user's weight; clicks over their chance to be seen, without and
with weight; impressions to risky users, and their clicks and purchases."""

WEIGHTED, DEBIASED, WEIGHTED_DEBIASED, RISKY_IMPRESSIONS, RISKY_INTERACTIONS = 3, 6, 7, 8, 9

AUDIENCE = ("n", "distinct", "c_log_c", "weighted_n", "weighted_distinct", "weighted_c_log_c")
"""Columns of an audience: clicks and purchases, users, and the sum of c ln c over them; again with weights. A user's
weight in `weighted_distinct` is that of the first click or purchase in the period."""

ARRAYS = ("pane", "sums", "decayed", "as_of_ms", "audience", "period", "life")


class Items(NamedTuple):
    """The sums, by row of the item in its table, plus 1.

    Attributes:
        pane: number of the newest pane of each window, shape (rows, windows).
        sums: pane number p at p mod `PANES`, shape (rows, windows, PANES, columns).
        decayed: as of `as_of_ms`, shape (rows, columns).
        as_of_ms: time of the newest row, shape (rows,).
        audience: of `period`, and of the one before, shape (rows, 2, 6).
        period: number of the newest period with clicks or purchases, shape (rows,).
        life: which item in turn has this row, shape (rows,); one that comes again after it had gone is another.
        news: whether the row changed since it was written, shape (rows,).
        touched: whether it changed since it was asked for, shape (rows,).
    """

    pane: I64
    sums: F64
    decayed: F64
    as_of_ms: I64
    audience: F64
    period: I64
    life: I64
    news: Bool
    touched: Bool


@borrowing
def reset(items: Items, row: Int, life: Int) -> None:
    """Forget what a row's former item left."""
    windows, columns = items.pane.shape[1], items.decayed.shape[1]
    for w in range(windows):
        items.pane[row, w] = 0
        for p in range(PANES):
            for c in range(columns):
                items.sums[row, w, p, c] = 0.0
    for c in range(columns):
        items.decayed[row, c] = 0.0
    for k in range(2):
        for c in range(items.audience.shape[2]):
            items.audience[row, k, c] = 0.0
    items.as_of_ms[row] = items.period[row] = 0
    items.life[row] = life


@borrowing
def _add(cells: F64, kind: Int, weight: float, worth: float, risky: float, share: float) -> None:
    cells[kind] += share
    cells[WEIGHTED + kind] += share * weight
    if kind == CLICK:
        cells[DEBIASED] += share * worth
        cells[WEIGHTED_DEBIASED] += share * weight * worth
    if risky > 0.0:
        cells[RISKY_IMPRESSIONS if kind == IMPRESSION else RISKY_INTERACTIONS] += share


@borrowing
def count(
    items: Items,
    row: Int,
    panes_ms: I64,
    half_life_ms: float,
    kind: Int,
    time_ms: Int,
    weight: float,
    worth: float,
    risky: float,
) -> None:
    """Count an interaction.

    Args:
        items: of all items.
        row: of the item, or 0.
        panes_ms: length of each window's panes, shape (windows,).
        half_life_ms: of what fades.
        kind: as in `operators.signals.rows`.
        time_ms: when; older than a window's panes it does not enter them.
        weight: of the user.
        worth: what a click at its place counts.
        risky: 1 if the user is.
    """
    columns = items.decayed.shape[1]
    for w in range(len(panes_ms)):
        pane, newest = time_ms // panes_ms[w], items.pane[row, w]
        if pane > newest:
            for stale in range(max(newest + 1, pane - PANES + 1), pane + 1):
                for c in range(columns):
                    items.sums[row, w, stale % PANES, c] = 0.0
            items.pane[row, w] = pane
        elif pane <= newest - PANES:
            continue
        _add(items.sums[row, w, pane % PANES], kind, weight, worth, risky, 1.0)
    share = share_of(items.as_of_ms, items.decayed, row, time_ms, half_life_ms)
    _add(items.decayed[row], kind, weight, worth, risky, share)
    items.news[row] = True
    items.touched[row] = True


def empty(rows: int, windows: int) -> Items:
    """Return rows of which nothing is known."""
    return Items(
        np.zeros((rows, windows), np.int64),
        np.zeros((rows, windows, PANES, len(COLUMNS))),
        np.zeros((rows, len(COLUMNS))),
        np.zeros(rows, np.int64),
        np.zeros((rows, 2, len(AUDIENCE))),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.bool_),
        np.zeros(rows, np.bool_),
    )


def grown(items: Items, rows: int) -> Items:
    """Return a copy with so many rows."""
    return in_larger(items, empty(rows, items.pane.shape[1]))
