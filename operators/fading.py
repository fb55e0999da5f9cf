"""Sums of which each term halves in a fixed time, held as of the newest term: forward decay.

Cormode, Shkapenyuk, Srivastava, Xu, "Forward decay" (ICDE 2009), as in `ranking.decay`, for rows of compiled loops.
"""

import numpy as np

from operators.batches import F64, I64
from operators.compiled import Int, borrowing


@borrowing
def left(age_ms: Int, half_life_ms: float) -> float:
    """Return what is left of 1 after so long; all of it where the age is below 0."""
    return float(np.exp2(-age_ms / half_life_ms)) if age_ms > 0 else 1.0


@borrowing
def share_of(as_of_ms: I64, sums: F64, row: Int, time_ms: Int, half_life_ms: float) -> float:
    """Bring the sums of a row up to a term's time, if that is newer; return what the term counts, 1 or less.

    Args:
        as_of_ms: time of the newest term of each row, shape (rows,).
        sums: shape (rows, columns).
        row: which.
        time_ms: of the term.
        half_life_ms: in which a term halves.
    """
    age_ms = time_ms - as_of_ms[row]
    if age_ms < 0:
        return left(-age_ms, half_life_ms)
    if age_ms > 0:
        remains = left(age_ms, half_life_ms)
        for c in range(sums.shape[1]):
            sums[row, c] *= remains
        as_of_ms[row] = time_ms
    return 1.0
