"""Open pairs by the time at which their windows close: a binary heap.

What comes first is decided by time, then by experiment and unit: so the order does not depend on how the heap lies, and
it need not be in a snapshot. An entry whose pair closed, went or got an earlier first exposure is passed over when its
turn comes; where many are, the heap is made anew.
"""

from typing import NamedTuple

import numpy as np

from operators.accumulate.pairs import OPEN, USED, Pairs
from operators.accumulate.plan import Plan
from operators.batches import I32, I64
from operators.compiled import Int, borrowing

FIRST_CAPACITY = 256


class Queue(NamedTuple):
    """The heap.

    Attributes:
        close_ms: when each entry's turn is, shape (capacity,).
        pair: row of its pair, shape (capacity,).
        meta: number of entries, shape (1,).
    """

    close_ms: I64
    pair: I32
    meta: I64


@borrowing
def closes_ms(plan: Plan, pairs: Pairs, row: Int) -> Int:
    """Return when a pair's window closes, the allowed lateness included."""
    return pairs.rows[row].first_ms + plan.experiments[pairs.rows[row].experiment].window_ms + plan.limits[0]


@borrowing
def _before(pairs: Pairs, a_ms: Int, a: Int, b_ms: Int, b: Int) -> bool:
    if a_ms != b_ms:
        return bool(a_ms < b_ms)
    one, other = pairs.rows[a], pairs.rows[b]
    if one.experiment != other.experiment:
        return bool(one.experiment < other.experiment)
    return bool(one.unit < other.unit)


@borrowing
def push(queue: Queue, pairs: Pairs, close_ms: Int, row: Int) -> None:
    """Add an entry, for which there is room."""
    at = queue.meta[0]
    queue.meta[0] += 1
    while at > 0:
        above = (at - 1) >> 1
        if not _before(pairs, close_ms, row, queue.close_ms[above], queue.pair[above]):
            break
        queue.close_ms[at] = queue.close_ms[above]
        queue.pair[at] = queue.pair[above]
        at = above
    queue.close_ms[at] = close_ms
    queue.pair[at] = row


@borrowing
def drop_first(queue: Queue, pairs: Pairs) -> None:
    """Remove the first entry."""
    queue.meta[0] -= 1
    n = queue.meta[0]
    if n > 0:
        sink(queue, pairs, 0, queue.close_ms[n], queue.pair[n])


@borrowing
def sink(queue: Queue, pairs: Pairs, at: Int, close_ms: Int, row: Int) -> None:
    """Put an entry where `at` is free, or below."""
    n = queue.meta[0]
    while True:
        child = 2 * at + 1
        if child >= n:
            break
        other = child + 1
        if other < n and _before(
            pairs, queue.close_ms[other], queue.pair[other], queue.close_ms[child], queue.pair[child]
        ):
            child = other
        if not _before(pairs, queue.close_ms[child], queue.pair[child], close_ms, row):
            break
        queue.close_ms[at] = queue.close_ms[child]
        queue.pair[at] = queue.pair[child]
        at = child
    queue.close_ms[at] = close_ms
    queue.pair[at] = row


@borrowing
def rebuild(queue: Queue, plan: Plan, pairs: Pairs) -> None:
    """Make the heap anew of the open pairs (Floyd 1964), for which there is room."""
    n = 0
    for row in range(pairs.meta[USED]):
        if pairs.rows[row].state == OPEN:
            queue.close_ms[n] = closes_ms(plan, pairs, row)
            queue.pair[n] = row
            n += 1
    queue.meta[0] = n
    for at in range(n // 2 - 1, -1, -1):
        sink(queue, pairs, at, queue.close_ms[at], queue.pair[at])


def fresh(capacity: int = FIRST_CAPACITY) -> Queue:
    """Return an empty heap."""
    return Queue(np.zeros(capacity, np.int64), np.zeros(capacity, np.int32), np.zeros(1, np.int64))


def grown(queue: Queue, more: int) -> Queue:
    """Return the heap with room for so many more entries: itself, or a copy."""
    used, capacity = int(queue.meta[0]), len(queue.pair)
    if used + more <= capacity:
        return queue
    while capacity < used + more:
        capacity *= 2
    larger = Queue(np.zeros(capacity, np.int64), np.zeros(capacity, np.int32), queue.meta)
    larger.close_ms[:used], larger.pair[:used] = queue.close_ms[:used], queue.pair[:used]
    return larger
