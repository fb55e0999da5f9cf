"""Which items are clicked or bought in the same sessions: of each item a bounded list of others, with counts that fade.

In each session each item counts once, and each pair of items once, when the later of the two is first clicked or
bought (of the items that are still among the user's recent ones). With c_i the sessions with item i, and c_ij those
with both, the score of j beside i is the cosine of their vectors over sessions (Linden, Smith, York, IEEE Internet
Computing 2003), drawn towards 0 where few sessions speak for it (Bell, Koren, ICDM 2007):

    c_ij / sqrt(c_i c_j) x c_ij / (c_ij + damping)

where c_i and c_j count as c_ij at least: one that had to go for others begins anew, and it fades from earlier on.

All counts halve in `half_life_s`. The lists follow Space-Saving (Metwally, Agrawal, El Abbadi, ICDT 2005; under decay:
Cormode et al., ICDE 2009): where there is no room, a new one takes the place of the least count m and begins at m + 1
with error m. So with N places and W the faded sum of all that came beside i: count - error <= true count <= count, and
m <= W / N: every other item whose true count is above W / N is in the list. What is scored is count - error, so that
no score is more than what was seen.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, U64, Bool
from operators.compiled import Int, borrowing
from operators.entities import Table, find, in_larger, touch
from operators.fading import left, share_of

ARRAYS = ("others", "sums", "as_of_ms")


class CoVisits(NamedTuple):
    """The lists, by row of the item in its table.

    Attributes:
        others: keys of other items, 0 where a place is free; free ones come last, shape (rows, places).
        sums: sessions with the item; then counts of the others, then their errors, shape (rows, 1 + 2 places).
        as_of_ms: time of the newest of them, shape (rows,).
        news: whether the row changed since it was written, shape (rows,).
    """

    others: U64
    sums: F64
    as_of_ms: I64
    news: Bool


@borrowing
def _reset(lists: CoVisits, row: Int) -> None:
    for k in range(lists.others.shape[1]):
        lists.others[row, k] = 0
    for c in range(lists.sums.shape[1]):
        lists.sums[row, c] = 0.0
    lists.as_of_ms[row] = 0


@borrowing
def visit(table: Table, lists: CoVisits, item: np.uint64, time_ms: Int, stream_ms: Int, half_life_ms: float) -> Int:
    """Count an item once for a session; return its row."""
    row, fresh = touch(table, item, stream_ms)
    if fresh:
        _reset(lists, row)
    share = share_of(lists.as_of_ms, lists.sums, row, time_ms, half_life_ms)  # first: it changes the sums
    lists.sums[row, 0] += share
    lists.news[row] = True
    return row


@borrowing
def visit_beside(lists: CoVisits, row: Int, other: np.uint64, time_ms: Int, half_life_ms: float) -> None:
    """Count another item beside that of a row."""
    share = share_of(lists.as_of_ms, lists.sums, row, time_ms, half_life_ms)
    places, sums = lists.others.shape[1], lists.sums[row]
    at = np.int64(-1)
    for k in range(places):
        if lists.others[row, k] == other or lists.others[row, k] == 0:
            at = np.int64(k)
            break
    if at < 0:
        at = np.int64(0)
        for k in range(1, places):
            if sums[1 + k] < sums[1 + at]:
                at = np.int64(k)
        sums[1 + places + at] = sums[1 + at]
    lists.others[row, at] = other
    sums[1 + at] += share
    lists.news[row] = True


@borrowing
def score(lists: CoVisits, row: Int, at: Int, other: Int, damping: float, half_life_ms: float, now_ms: Int) -> float:
    """Return the score of the item at a place of a row's list; `other` is that item's own row, -1 where it has none."""
    if other < 0:
        return 0.0
    sums, places = lists.sums[row], lists.others.shape[1]
    mine = left(now_ms - lists.as_of_ms[row], half_life_ms)
    its = left(now_ms - lists.as_of_ms[other], half_life_ms)
    both = (sums[1 + at] - sums[1 + places + at]) * mine
    if not both > 0.0:
        return 0.0
    product = max(sums[0] * mine, both) * max(lists.sums[other, 0] * its, both)
    return float(both / np.sqrt(product) * both / (both + damping))


@borrowing
def score_beside(
    table: Table, lists: CoVisits, row: Int, item: np.uint64, damping: float, half_life_ms: float, now_ms: Int
) -> float:
    """Return the score of an item beside that of a row, 0 where they never met."""
    for k in range(lists.others.shape[1]):
        if lists.others[row, k] == item:
            return score(lists, row, np.int64(k), find(table, item), damping, half_life_ms, now_ms)
        if lists.others[row, k] == 0:
            break
    return 0.0


def empty(rows: int, places: int) -> CoVisits:
    """Return rows of which nothing is known."""
    return CoVisits(
        np.zeros((rows, places), np.uint64),
        np.zeros((rows, 1 + 2 * places)),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.bool_),
    )


def grown(lists: CoVisits, rows: int) -> CoVisits:
    """Return a copy with so many rows."""
    return in_larger(lists, empty(rows, lists.others.shape[1]))
