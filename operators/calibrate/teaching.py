"""The loops of `operators.calibrate.probability`: give, remember, match labels, teach."""

import math
from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, U64, Bool
from operators.calibrate import maps, quality
from operators.calibrate.memory import (
    BOUND,
    COUNT,
    FRAUD,
    LEGIT,
    RIPE,
    UNSAID,
    UNTAUGHT,
    Ring,
    find,
    forget_oldest,
    remember,
    row_of,
)
from operators.compiled import Int, compiled

OUTCOMES = ("matched", "repeated", "corrected", "unsampled", "unmatched")
MATCHED, REPEATED, CORRECTED, UNSAMPLED, UNMATCHED = range(5)
"""What became of a label: the first of a remembered event; the same again; another than before; of an event that is not
remembered and by its hash not in the sample; of one that is not remembered although it is in the sample."""


class Taught(NamedTuple):
    """What was taught, for compiled loops.

    Attributes:
        counts: weights of legit and fraud by bin of -ln tail, shape (2, places).
        seen: numbers of labels, legit and fraud, shape (2,).
        sums: of the probabilities given, see `operators.calibrate.quality`, shape (bins, 4).
        block: number of the present block, shape (1,).
        news: 1 if something was taught since the map was fitted, shape (1,).
    """

    counts: F64
    seen: F64
    sums: F64
    block: I64
    news: I64


@compiled
def _sampled(id_hash: Int, below: float) -> bool:
    """Return whether an id is in the sample: by bits that its place in the index does not come from."""
    mixed = (id_hash ^ (id_hash >> np.uint64(29))) * np.uint64(0xD6E8FEB86659FD93)
    return float(mixed >> np.uint64(11)) < below


@compiled
def _add(taught: Taught, ring: Ring, row: Int, fraud: Int, amount: float, weight: float) -> None:
    """Count an event as fraud (1) or legit (0): `amount` of it, at its weight."""
    taught.seen[fraud] += amount
    taught.counts[fraud, ring.place[row]] += amount * weight
    given = float(ring.given[row])
    if not math.isnan(given):
        quality.judge(taught.sums, given, float(fraud), amount * weight)
    taught.news[0] = 1


@compiled
def _teach(taught: Taught, ring: Ring, row: Int, weight: float) -> None:
    """Teach what is known of an event: legit if nothing was said."""
    _add(taught, ring, row, 1 if ring.said[row] == FRAUD else 0, 1.0, weight)
    ring.taught[row] = taught.block[0]
    ring.news[row] = True


@compiled
def ripen(taught: Taught, ring: Ring, due_ms: int, weight: float) -> None:
    """Let the events up to a time teach, in order of arrival."""
    meta = ring.meta
    while meta[RIPE] < meta[COUNT]:
        row = row_of(ring, meta[RIPE])
        if ring.time_ms[row] > due_ms:
            break
        _teach(taught, ring, row, weight)
        meta[RIPE] += 1


@compiled
def _keep(
    taught: Taught, ring: Ring, id_hash: Int, time_ms: Int, place: Int, given: float, waits: int, weight: float
) -> None:
    if ring.meta[COUNT] == ring.meta[BOUND]:
        if waits == 1 and ring.meta[RIPE] == 0:
            _teach(taught, ring, row_of(ring, 0), weight)
        forget_oldest(ring)
    remember(ring, id_hash, time_ms, place, given)


@compiled
def give_and_remember(
    tail: F64,
    count: Bool,
    id_hash: U64,
    time_ms: I64,
    first: int,
    end: int,
    table: F64,
    budget: float,
    below: float,
    alerts: Ring,
    sample: Ring,
    weight: float,
    waits: int,
    taught: Taught,
    given: F64,
) -> None:
    """Give the events from `first` to `end` their probability, and remember those that are to be.

    Args:
        tail: shape (n,).
        count: whether an event counts, shape (n,).
        id_hash: shape (n,).
        time_ms: shape (n,).
        first: where to begin.
        end: where to stop.
        table: probability of each bin of -ln tail; NaN where there is none.
        budget: up to this tail, all are remembered.
        below: of 2^53, up to where a hash is in the sample.
        alerts: remembers those within the budget.
        sample: remembers the sample of the others.
        weight: of one of the sample.
        waits: 1 if events teach at an age.
        taught: where those teach that must go.
        given: output, shape (n,).
    """
    for i in range(first, end):
        if math.isnan(tail[i]):
            given[i] = math.nan
            continue
        place = maps.place_of(tail[i])
        given[i] = table[place]
        if not count[i]:
            continue
        if tail[i] <= budget:
            _keep(taught, alerts, id_hash[i], time_ms[i], place, given[i], waits, 1.0)
        elif _sampled(id_hash[i], below):
            _keep(taught, sample, id_hash[i], time_ms[i], place, given[i], waits, weight)


@compiled
def match(
    id_hash: U64,
    fraud: Bool,
    below: float,
    alerts: Ring,
    sample: Ring,
    weight: float,
    waits: int,
    decay: float,
    taught: Taught,
    outcomes: I64,
) -> None:
    """Apply labels, in their order, and count what became of them.

    Args:
        id_hash: shape (n,).
        fraud: shape (n,).
        below: of 2^53, up to where a hash is in the sample.
        alerts: the remembered events within the budget; looked through first.
        sample: the others.
        weight: of one of the sample.
        waits: 1 if events teach at an age.
        decay: of what was taught, per block.
        taught: what was taught.
        outcomes: counts, see `MATCHED`, shape (5,).
    """
    for i in range(len(id_hash)):
        ring, own = alerts, 1.0
        row = find(alerts, id_hash[i])
        if row < 0:
            ring, own = sample, weight
            row = find(sample, id_hash[i])
        if row < 0:
            outcomes[UNMATCHED if _sampled(id_hash[i], below) else UNSAMPLED] += 1
            continue
        now, before = FRAUD if fraud[i] else LEGIT, ring.said[row]
        outcomes[MATCHED if before == UNSAID else REPEATED if before == now else CORRECTED] += 1
        ring.said[row] = now
        ring.news[row] = True
        if ring.taught[row] == UNTAUGHT:
            if waits == 0:
                _teach(taught, ring, row, own)
            continue
        was, becomes = 1 if before == FRAUD else 0, 1 if now == FRAUD else 0
        if was != becomes:
            left = decay ** (taught.block[0] - ring.taught[row])
            _add(taught, ring, row, was, -left, own)
            _add(taught, ring, row, becomes, left, own)
