"""The loop over single events: look the score up, then count it. What a block of counts teaches is for the stage."""

import math

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, Bool
from operators.calibrate import psi, tail
from operators.compiled import compiled
from operators.sketch import bin_of

I32 = NDArray[np.int32]

EVENTS, HITS, BUSY_HITS, IN_WINDOW, NEWEST_MS = range(5)
"""Cells of `tally`: events of the present block; those within the level; of these the ones by busy users; events of the
present drift window; stream time."""

CAP_NATS = 10.0
"""Scores beyond it count as it in the block's mean, so that a few extreme ones are no drift of the mean."""


@compiled
def rank_then_count(
    score: F64,
    count: Bool,
    teach: Bool,
    time_ms: I64,
    first: int,
    table: F64,
    warm: int,
    level: float,
    block: int,
    window: int,
    pending: I32,
    newest: I32,
    tally: I64,
    total: F64,
    ranked: F64,
) -> int:
    """Give scores their tails and count them, until a block or a drift window is complete or the batch ends.

    Args:
        score: shape (n,); NaN is not counted and has no tail.
        count: which are counted, shape (n,).
        teach: which are by users who have not used up what they may teach, shape (n,).
        time_ms: event time, shape (n,).
        first: where to begin.
        table: tail of each bin.
        warm: 0 while there are no tails.
        level: what a hit is within.
        block: events per block.
        window: events per drift window.
        pending: counts of the block by bin, of busy users' hits in the second row and of all else in the first, shape
            (2, bins).
        newest: counts of the drift window, by wider bins.
        tally: see `EVENTS`.
        total: sum of the block's scores, shape (1,).
        ranked: output, the tails, shape (n,).

    Returns:
        Where to go on: n at the end of the batch.
    """
    for i in range(first, len(score)):
        ranked[i] = np.nan
        if math.isnan(score[i]):
            continue
        b = bin_of(score[i], float(tail.BINS_PER_NAT), tail.BINS)
        if warm == 1:
            ranked[i] = table[b]
        if not count[i]:
            continue
        busy_hit = 0
        if warm == 1 and table[b] <= level:
            tally[HITS] += 1
            if not teach[i]:
                busy_hit = 1
        tally[BUSY_HITS] += busy_hit
        pending[busy_hit, b] += 1
        newest[bin_of(score[i], float(psi.BINS_PER_NAT), psi.SCORE_BINS)] += 1
        total[0] += min(max(score[i], 0.0), CAP_NATS)
        tally[EVENTS] += 1
        tally[IN_WINDOW] += 1
        tally[NEWEST_MS] = max(tally[NEWEST_MS], time_ms[i])
        if tally[EVENTS] == block or tally[IN_WINDOW] == window:
            return i + 1
    return len(score)
