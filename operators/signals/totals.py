"""What is handed on of items: one partition's sums, which add up over partitions."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, U64, Bool
from operators.signals.items import ARRAYS, Items


class Sums(NamedTuple):
    """Rows of `operators.signals.items.Items`; arrays are copies.

    Attributes:
        pane: number of the newest pane of each window, shape (n, windows).
        sums: pane number p at p mod `PANES`, shape (n, windows, PANES, columns).
        decayed: as of `as_of_ms`, shape (n, columns).
        as_of_ms: time of the newest row, shape (n,).
        audience: of `period`, and of the one before, shape (n, 2, 6).
        period: number of the newest period with clicks or purchases, shape (n,).
    """

    pane: I64
    sums: F64
    decayed: F64
    as_of_ms: I64
    audience: F64
    period: I64


@dataclass(frozen=True, slots=True)
class ItemTotals:
    """What a partition knows of some items. It stands for all that it told of them before.

    Attributes:
        stream_ms: stream time of the partition; 0 before the first row.
        items: keys, shape (n,).
        sums: of these items.
        everything: of all items together, one row, without an audience.
    """

    stream_ms: int
    items: U64
    sums: Sums
    everything: Sums


SUMS = tuple(name for name in ARRAYS if name != "life")
"""Names of the arrays in `Sums`."""


def sums_of(items: Items, rows: I64) -> Sums:
    """Return a copy of some rows."""
    return Sums(**{name: np.take(getattr(items, name), rows, axis=0) for name in SUMS})


def in_turn(wanted: Bool, start: I64, most: int | None) -> I64:
    """Return the rows that are wanted, so many at the most, from where the call before stopped on and round the end.

    Args:
        wanted: shape (rows,).
        start: where to begin; set to where the next call is to, shape (1,).
        most: None for all.
    """
    rows = np.flatnonzero(wanted)
    rows = np.roll(rows, -int(np.searchsorted(rows, start[0])))[:most]
    start[0] = rows[-1] + 1 if len(rows) else 0
    return rows.astype(np.int64)
