"""Who clicked and bought an item: distinct users and entropy, by the rule of (n, sum of c ln c).

Each user is in one partition, so n, users and sums of c ln c add up over partitions (`ranking.rates.entropy_nats`),
without a sketch. Audiences are counted in periods of a stated length, aligned to event time, the running one and the
one before; what came at the same time in several partitions adds up by the period's number.

How often each user came is in a bounded table of pairs. One that had to go for others and comes again counts as another
user: then an audience seems larger than it is, never smaller. Newcomers go first, so a flood of users takes each
other's places.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, Bool
from operators.compiled import Int, borrowing
from operators.entities import Table, in_larger, touch
from operators.hashing import GOLDEN
from operators.signals.items import Items

_FIRST = np.uint64(0xFF51AFD7ED558CCD)  # of MurmurHash3's finalizer
_SECOND = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)

ARRAYS = ("counts", "period", "life")


class Pairs(NamedTuple):
    """How often a user came to an item, by row of the pair in its table.

    Attributes:
        counts: times, and the same weighted, in `period` and in the one before, shape (rows, 2, 2).
        period: number of the newest period in which the user came, shape (rows,).
        life: `Items.life` of the item, shape (rows,).
        news: whether the row changed since it was written, shape (rows,).
    """

    counts: F64
    period: I64
    life: I64
    news: Bool


@borrowing
def pair_key(item: np.uint64, user: np.uint64) -> np.uint64:
    """Return 64 bits of a pair."""
    key = (item * GOLDEN) ^ user
    key = (key ^ (key >> _SHIFT)) * _FIRST
    key = (key ^ (key >> _SHIFT)) * _SECOND
    return np.uint64(key ^ (key >> _SHIFT))


@borrowing
def c_log_c(count: float) -> float:
    """Return c ln c, 0 for 0."""
    return count * np.log(count) if count > 0.0 else 0.0


@borrowing
def _turn(counts: F64, periods: Int) -> None:
    """Go on by so many periods; counts have shape (2, columns)."""
    for c in range(counts.shape[1]):
        counts[1, c] = counts[0, c] if periods == 1 else 0.0
        counts[0, c] = 0.0


@borrowing
def count(
    items: Items, row: Int, table: Table, pairs: Pairs, key: np.uint64, period: Int, weight: float, stream_ms: Int
) -> None:
    """Count a click or purchase; what is older than the period before the newest does not count.

    Args:
        items: of all items.
        row: of the item.
        table: of pairs.
        pairs: the same.
        key: of the pair.
        period: number of the row's period.
        weight: of the user.
        stream_ms: stream time.
    """
    pair, fresh = touch(table, key, stream_ms)
    pairs.news[pair] = True
    if fresh or pairs.life[pair] != items.life[row]:
        pairs.life[pair] = items.life[row]
        pairs.period[pair] = 0
        for k in range(2):
            for c in range(2):
                pairs.counts[pair, k, c] = 0.0
    if period > pairs.period[pair]:
        _turn(pairs.counts[pair], period - pairs.period[pair])
        pairs.period[pair] = period
    if period > items.period[row]:
        _turn(items.audience[row], period - items.period[row])
        items.period[row] = period
    mine, its = pairs.period[pair] - period, items.period[row] - period
    if mine > 1 or its > 1:
        return
    times, weighted = pairs.counts[pair, mine, 0], pairs.counts[pair, mine, 1]
    audience = items.audience[row, its]
    audience[0] += 1.0
    audience[2] += c_log_c(times + 1.0) - c_log_c(times)
    audience[3] += weight
    audience[5] += c_log_c(weighted + weight) - c_log_c(weighted)
    if times == 0.0:
        audience[1] += 1.0
        audience[4] += weight
    pairs.counts[pair, mine, 0] = times + 1.0
    pairs.counts[pair, mine, 1] = weighted + weight


def empty(rows: int) -> Pairs:
    """Return rows of which nothing is known."""
    return Pairs(np.zeros((rows, 2, 2)), np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.bool_))


def grown(pairs: Pairs, rows: int) -> Pairs:
    """Return a copy with so many rows."""
    return in_larger(pairs, empty(rows))
