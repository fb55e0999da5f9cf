"""ADWIN: a window that grows while its mean stays, and drops what is old once two parts of it differ.

Bifet and Gavalda, Learning from Time-Changing Data with Adaptive Windowing, SDM 2007: the second algorithm, on an
exponential histogram with at most `MOST` buckets of each size. Two parts of n0 and n1 values differ if their means are
further apart than

    sqrt(2 / m * variance * d) + 2 / (3 m) * d,    d = ln(2 ln(width) / delta),    1 / m = 1 / n0' + 1 / n1'

with n' = n - SHORTEST + 1, as in River's `drift.ADWIN` (and MOA's), to which it is equal decision by decision.
"""

import math

import numpy as np

from operators.batches import F64, I64
from operators.compiled import compiled
from operators.state import State

MOST = 5
ROWS = 40  # row r holds buckets of 2^r values: no stream is longer than 5 * 2^40
SHORTEST = 5
GRACE = 10

WIDTH, TICK = range(2)
TOTAL, VARIANCE = range(2)


@compiled
def _drop_oldest(sums: F64, spreads: F64, held: I64, counts: I64, whole: F64) -> None:
    row = ROWS - 1
    while held[row] == 0:
        row -= 1
    n = float(1 << row)
    mean = sums[row, 0] / n
    counts[WIDTH] -= 1 << row
    whole[TOTAL] -= sums[row, 0]
    left = float(counts[WIDTH])
    apart = mean - whole[TOTAL] / left
    whole[VARIANCE] -= spreads[row, 0] + n * left * apart * apart / (n + left)
    held[row] -= 1
    for k in range(held[row]):
        sums[row, k], spreads[row, k] = sums[row, k + 1], spreads[row, k + 1]


@compiled
def _add(value: float, sums: F64, spreads: F64, held: I64, counts: I64, whole: F64) -> None:
    sums[0, held[0]], spreads[0, held[0]] = value, 0.0
    held[0] += 1
    counts[WIDTH] += 1
    width = float(counts[WIDTH])
    if width > 1.0:
        apart = value - whole[TOTAL] / (width - 1.0)
        whole[VARIANCE] += (width - 1.0) * apart * apart / width
    whole[TOTAL] += value
    for row in range(ROWS - 1):
        if held[row] <= MOST:
            break
        n = float(1 << row)
        apart = (sums[row, 0] - sums[row, 1]) / n
        up = held[row + 1]
        sums[row + 1, up] = sums[row, 0] + sums[row, 1]
        spreads[row + 1, up] = spreads[row, 0] + spreads[row, 1] + n * apart * apart / 2.0
        held[row + 1] += 1
        held[row] -= 2
        for k in range(held[row]):
            sums[row, k], spreads[row, k] = sums[row, k + 2], spreads[row, k + 2]


@compiled
def _differs(delta: float, sums: F64, held: I64, counts: I64, whole: F64) -> bool:
    """Tell whether anywhere the older part differs from the newer."""
    width = float(counts[WIDTH])
    d = math.log(2.0 * math.log(width) / delta)
    variance = whole[VARIANCE] / width
    n0, u0 = 0.0, 0.0
    for row in range(ROWS - 1, -1, -1):
        for k in range(held[row]):
            if row == 0 and k == held[0] - 1:
                return False
            n0 += float(1 << row)
            u0 += sums[row, k]
            n1 = width - n0
            if n0 < SHORTEST or n1 < SHORTEST:
                continue
            m = 1.0 / (n0 - SHORTEST + 1.0) + 1.0 / (n1 - SHORTEST + 1.0)
            limit = math.sqrt(2.0 * m * variance * d) + 2.0 / 3.0 * d * m
            if abs(u0 / n0 - (whole[TOTAL] - u0) / n1) > limit:
                return True
    return False


@compiled
def update(value: float, delta: float, clock: int, sums: F64, spreads: F64, held: I64, counts: I64, whole: F64) -> bool:
    """Add a value; every `clock` values drop buckets, oldest first, while two parts differ, and tell whether any was.

    Args:
        value: of a scale on which 1 is a large change: the second term of the limit assumes a range of 1.
        delta: confidence.
        clock: values between two looks.
        sums: of each bucket, oldest first, shape (ROWS, MOST + 1).
        spreads: sum of squared deviations in each bucket, same shape.
        held: buckets in use of each row, shape (ROWS,).
        counts: see `WIDTH` and `TICK`.
        whole: see `TOTAL` and `VARIANCE`.
    """
    _add(value, sums, spreads, held, counts, whole)
    counts[TICK] += 1
    changed = False
    if counts[TICK] % clock == 0:
        while counts[WIDTH] > GRACE and _differs(delta, sums, held, counts, whole):
            _drop_oldest(sums, spreads, held, counts, whole)
            changed = True
    return changed


class Adwin:
    """The window of one stream of values.

    Args:
        delta: confidence.
        clock: values between two looks.
    """

    def __init__(self, delta: float, clock: int) -> None:
        self.delta = delta
        self.clock = clock
        self._sums: F64 = np.zeros((ROWS, MOST + 2))
        self._spreads: F64 = np.zeros((ROWS, MOST + 2))
        self._held: I64 = np.zeros(ROWS, np.int64)
        self._counts: I64 = np.zeros(2, np.int64)
        self._whole: F64 = np.zeros(2)

    @property
    def width(self) -> int:
        """Values in the window."""
        return int(self._counts[WIDTH])

    @property
    def mean(self) -> float:
        """Mean of the window; 0 if it is empty."""
        return float(self._whole[TOTAL]) / self.width if self.width else 0.0

    def update(self, value: float) -> bool:
        """Add a value; tell whether the window dropped its older part."""
        arrays = (self._sums, self._spreads, self._held, self._counts, self._whole)
        return bool(update(value, self.delta, self.clock, *arrays))

    def clear(self) -> None:
        """Begin anew."""
        for array in (self._sums, self._spreads, self._held, self._counts, self._whole):
            array[:] = 0

    def dump(self) -> State:
        """Return the window."""
        return {
            "adwin.sums": self._sums.copy(),
            "adwin.spreads": self._spreads.copy(),
            "adwin.held": self._held.copy(),
            "adwin.counts": self._counts.copy(),
            "adwin.whole": self._whole.copy(),
        }

    def load(self, state: State) -> None:
        """Replace the window by a dumped one."""
        for name in ("sums", "spreads", "held", "counts", "whole"):
            getattr(self, f"_{name}")[:] = np.asarray(state[f"adwin.{name}"])
