"""How even the gaps between a user's last events are, and how many of them went to somebody new.

Both look at those of the last 24 events with time > now - W, W the longest window, as `history` does, and are exact.

Variation is the coefficient of variation of the gaps between neighbours in time: sample standard deviation over mean. A
Poisson process has 1, a machine's clock 0, bursts more than 1 (Goh and Barabasi, Burstiness and memory in complex
systems, EPL 2008). Entropy is that of the gaps' octaves (floor of log2 of the milliseconds; a tie is an octave of its
own), divided by ln of the number of gaps, the most it could be. Fewer than five gaps tell nothing: both are 1, the
harmless side. Gaps that are all 0 have variation 0.
"""

import numpy as np

from operators.batches import F64, U8
from operators.compiled import Int, borrowing
from operators.featurize.catalogue import HISTORY
from operators.featurize.history import COUNTERPARTY, DISTINCT, LN, STEPS, SUM_MASK, UNIT, wrap
from operators.featurize.rows import ABSENT, EVENTS, HEAD, NEW, SLOTS, Rows

MIN_GAPS = 5


@borrowing
def octave(gap_ms: Int) -> Int:
    """Return 0 for 0, else 1 + floor(log2(gap)); gaps are below 2^63."""
    found = 0
    for bits in (32, 16, 8, 4, 2, 1):
        high = (gap_ms >> bits) != 0
        found += bits if high else 0
        gap_ms = gap_ms >> bits if high else gap_ms
    return found + (1 if gap_ms > 0 else 0)


@borrowing
def rhythm(rows: Rows, row: Int, within: Int, octaves: U8, raw: F64, i: Int, variation: Int, new_share: Int) -> None:
    """Write variation and entropy of the gaps and the share of new counterparties: once the history holds event i.

    Args:
        rows: rows of all users.
        row: row of the event's user.
        within: how many of the newest events lie in the window, at least 1.
        octaves: buffer, shape (64,).
        raw: shape (n, features).
        i: the event.
        variation: column of the variation; the entropy's is the next.
        new_share: column of the share.
    """
    at = wrap(np.int64(rows.u8[row, HEAD]) + np.int64(rows.u8[row, EVENTS]) - 1)
    newest = later = rows.i64[row, at]
    octaves[:] = 0
    squares = 0.0
    steps: Int = np.int64(0)
    new = present = np.int64(0)
    for k in range(within):
        time_ms = rows.i64[row, at]
        if k > 0:
            gap_ms = later - time_ms
            squares += np.float64(gap_ms) * np.float64(gap_ms)
            o = octave(gap_ms)
            steps += STEPS[octaves[o]]
            octaves[o] += np.uint8(1)
            later = time_ms
        present += 1 if rows.u8[row, SLOTS + COUNTERPARTY * HISTORY + at] != ABSENT else 0
        new += rows.u8[row, NEW + at]
        at = at - 1 if at > 0 else HISTORY - 1
    raw[i, new_share] = np.float64(new) / np.float64(present) if present > 0 else 0.0
    gaps = within - 1
    raw[i, variation] = raw[i, variation + 1] = 1.0
    if gaps >= MIN_GAPS:
        total = np.float64(newest - later)
        mean = total / gaps
        variance = max((squares - total * mean) / (gaps - 1.0), 0.0)
        raw[i, variation] = np.sqrt(variance) / mean if mean > 0.0 else 0.0
        several = steps >> DISTINCT > 1
        entropy = LN[gaps] - np.float64(steps & SUM_MASK) * UNIT / gaps if several else 0.0
        raw[i, variation + 1] = entropy / LN[gaps]
