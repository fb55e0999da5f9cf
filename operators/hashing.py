"""Where a 64-bit key has its home in a table of open addressing: Knuth's multiplicative hashing (TAOCP 6.4)."""

from typing import Final

import numpy as np

from operators.compiled import Int, borrowing

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: odd, so that multiplying loses nothing."""

_HALF: Final = np.uint64(32)


@borrowing
def home(key: Int, mask: Int) -> Int:
    """Return the first place of a key, of `mask` + 1 places, a power of two."""
    return np.int64((key * GOLDEN) >> _HALF) & mask
