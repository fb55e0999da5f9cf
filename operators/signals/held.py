"""What is held of items where parts meet: the newest part of each partition, and what was written of each item."""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, Bool
from operators.compiled import Int, borrowing
from operators.entities import Table, promote, touch
from operators.signals.config import PANES
from operators.signals.items import AUDIENCE, COLUMNS
from operators.signals.parts import EVERYTHING, Parts


class Held(NamedTuple):
    """What is held of items, by row of the item in its table, for compiled loops.

    Attributes:
        pane: as in `Sums`, with the partition as second axis, as all up to `period`.
        sums: likewise.
        decayed: likewise.
        as_of_ms: likewise.
        audience: likewise.
        period: likewise.
        told: the signals as they were written last, NaN where not known, shape (rows, columns).
        told_ms: which version that was, -1: none, shape (rows,).
        since_ms: event time at which the item was first heard of, shape (rows,).
        unsaid: whether something else about it is to be written, whatever its signals, shape (rows,).
    """

    pane: I64
    sums: F64
    decayed: F64
    as_of_ms: I64
    audience: F64
    period: I64
    told: F64
    told_ms: I64
    since_ms: I64
    unsaid: Bool


def nothing(rows: int, partitions: int, windows: int, columns: int) -> Held:
    """Return rows of which nothing is known."""
    return Held(
        np.zeros((rows, partitions, windows), np.int64),
        np.zeros((rows, partitions, windows, PANES, len(COLUMNS))),
        np.zeros((rows, partitions, len(COLUMNS))),
        np.zeros((rows, partitions), np.int64),
        np.zeros((rows, partitions, 2, len(AUDIENCE))),
        np.zeros((rows, partitions), np.int64),
        np.full((rows, columns), np.nan),
        np.full(rows, -1, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.bool_),
    )


@borrowing
def _reset(held: Held, row: Int, since_ms: Int) -> None:
    for p in range(held.as_of_ms.shape[1]):
        _clear(held, row, p)
    for c in range(held.told.shape[1]):
        held.told[row, c] = np.nan
    held.told_ms[row], held.since_ms[row], held.unsaid[row] = -1, since_ms, False


@borrowing
def _clear(held: Held, row: Int, p: Int) -> None:
    held.as_of_ms[row, p] = held.period[row, p] = 0
    for w in range(held.pane.shape[2]):
        held.pane[row, p, w] = 0
        for k in range(held.sums.shape[3]):
            for c in range(held.sums.shape[4]):
                held.sums[row, p, w, k, c] = 0.0
    for c in range(held.decayed.shape[2]):
        held.decayed[row, p, c] = 0.0
    for k in range(held.audience.shape[2]):
        for c in range(held.audience.shape[3]):
            held.audience[row, p, k, c] = 0.0


@borrowing
def _put(held: Held, row: Int, parts: Parts, i: Int) -> None:
    """Put a part in the place of the one before it, of its partition."""
    p, sums = parts.partition[i], parts.sums
    held.as_of_ms[row, p], held.period[row, p] = sums.as_of_ms[i], sums.period[i]
    for w in range(held.pane.shape[2]):
        held.pane[row, p, w] = sums.pane[i, w]
        for k in range(held.sums.shape[3]):
            for c in range(held.sums.shape[4]):
                held.sums[row, p, w, k, c] = sums.sums[i, w, k, c]
    for c in range(held.decayed.shape[2]):
        held.decayed[row, p, c] = sums.decayed[i, c]
    for k in range(held.audience.shape[2]):
        for c in range(held.audience.shape[3]):
            held.audience[row, p, k, c] = sums.audience[i, k, c]


@borrowing
def take_all(
    table: Table,
    held: Held,
    everything: Held,
    parts: Parts,
    stream: I64,
    touched: Bool,
    news: Bool,
    rows: I64,
    fresh: Bool,
) -> None:
    """Take in parts in their order; write the row of each, -1 of all items together, and whether it is a new one."""
    for i in range(len(parts.items)):
        stream[0] = max(stream[0], parts.stream_ms[i])
        rows[i], fresh[i] = -1, False
        if parts.items[i] == EVERYTHING:
            _put(everything, 0, parts, i)
            continue
        row, new = touch(table, parts.items[i], stream[0])
        if new:
            _reset(held, row, parts.since_ms[i])
        held.since_ms[row] = min(held.since_ms[row], parts.since_ms[i])
        _put(held, row, parts, i)
        rows[i], fresh[i] = row, new
        touched[row] = news[row] = True


@borrowing
def describe(
    table: Table,
    held: Held,
    key: np.uint64,
    time_ms: Int,
    stream_ms: Int,
    touched: Bool,
    news: Bool,
    differs: bool,  # noqa: FBT001  a kernel takes scalars
) -> tuple[Int, bool]:
    """Note what is said of an item, and if anything differs that it is to be written; return its row, and if it is new.

    The item is no newcomer from then on: who describes items is no flood, and ids that anybody may make up in
    interactions must not push out what was described.
    """
    row, new = touch(table, key, stream_ms)
    promote(table, row)
    if new:
        _reset(held, row, time_ms)
    news[row] = True
    if differs or new or time_ms < held.since_ms[row]:
        held.since_ms[row] = min(held.since_ms[row], time_ms)
        held.unsaid[row] = touched[row] = True
    return row, new
