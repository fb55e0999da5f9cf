"""Streaming tail probabilities: which share of past values is at least as extreme as this one.

A sketch is a histogram of equal bins whose counts decay, and a table of tail probabilities made from it. The table is
made anew every `refresh` taught values, so a look-up is one load, a value never meets itself in the table, and what a
burst teaches shows only after the refresh. Everything happens at counts of taught values, never at a time.

The probability of a value in bin b, with n the decayed number of past values, is conformal (Vovk, Gammerman and
Shafer, Algorithmic Learning in a Random World, 2005, section 2.2):

    up    (#{past values in bins >= b} + 1) / (n + 1)
    down  (#{past values in bins <= b} + 1) / (n + 1)
    both  twice the smaller of the two, at most 1

Ties, the whole bin b, count in the tail: never 0, at most 1, near 1 for what is common, and too large rather than too
small by at most one bin's share. There is no extrapolation: nothing is below 1 / (n + 1).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64
from operators.compiled import compiled, inlined
from operators.state import State

I32 = NDArray[np.int32]

DIRECTIONS = ("up", "down", "both")
UP, DOWN, BOTH = range(3)

SINCE, TAUGHT, WARM = range(3)
"""Cells of a sketch's `clock`: values since the table was made; values ever; whether the table may be used."""


@inlined
def bin_of(value: float, bins_per_unit: float, bins: int) -> int:
    """Return the bin of `value`; below 0 and NaN fall into the first, beyond the range into the last."""
    scaled = value * bins_per_unit
    if not scaled > 0.0:
        return 0
    if scaled >= bins:
        return bins - 1
    return int(scaled)


@compiled
def tabulate(settled: F64, direction: I32, tails: F64) -> None:
    """Fill `tails`, shape (rows, bins), with the probabilities of the module's formulas."""
    rows, bins = settled.shape
    for row in range(rows):
        above = 0.0
        for b in range(bins - 1, -1, -1):
            above += settled[row, b]
            tails[row, b] = above
        scale = above + 1.0
        if direction[row] == UP:
            for b in range(bins):
                tails[row, b] = (tails[row, b] + 1.0) / scale
            continue
        below = 0.0
        for b in range(bins):
            below += settled[row, b]
            # Summed in the other order, `below` can differ from `above` in the last bits: hence the minimum with 1, and
            # 1 itself where nothing lies further up.
            tail = min((below + 1.0) / scale, 1.0) if b < bins - 1 else 1.0
            if direction[row] == BOTH:
                tail = min(2.0 * min((tails[row, b] + 1.0) / scale, tail), 1.0)
            tails[row, b] = tail


@compiled
def advance(
    settled: F64, pending: I32, direction: I32, tails: F64, clock: I64, refresh: int, warmup: int, decay: float
) -> None:
    """Count one taught value, already added to `pending`; every `refresh` values settle the counts and the table."""
    clock[SINCE] += 1
    clock[TAUGHT] += 1
    if clock[SINCE] < refresh:
        return
    rows, bins = settled.shape
    for row in range(rows):
        for b in range(bins):
            settled[row, b] = settled[row, b] * decay + pending[row, b]
            pending[row, b] = 0
    tabulate(settled, direction, tails)
    clock[SINCE] = 0
    if clock[TAUGHT] >= warmup:
        clock[WARM] = 1


class TailSketch:
    """Decaying histograms of `rows` values that are taught together, and their tail probabilities.

    Attributes:
        settled: decayed counts as of the last refresh, shape (rows, bins).
        pending: whole counts since then, shape (rows, bins).
        direction: index into `DIRECTIONS`, shape (rows,).
        tails: tail probability of each bin as of the last refresh, shape (rows, bins).
        clock: see `SINCE`, `TAUGHT` and `WARM`, shape (3,).
        refresh: taught values between two tables.
        warmup: taught values before the table may be used, in effect rounded up to a multiple of `refresh`.
        decay: what counts are multiplied with at each refresh, so that they halve every `half_life` taught values.
        bins_per_unit: bins cover [0, bins / bins_per_unit).
    """

    def __init__(
        self,
        directions: Sequence[str],
        *,
        bins: int,
        bins_per_unit: float,
        half_life: int,
        refresh: int,
        warmup: int,
    ) -> None:
        shape = (len(directions), bins)
        self.settled: F64 = np.zeros(shape)
        self.pending: I32 = np.zeros(shape, np.int32)
        self.direction: I32 = np.array([DIRECTIONS.index(one) for one in directions], np.int32)
        self.tails: F64 = np.ones(shape)
        self.clock: I64 = np.zeros(3, np.int64)
        self.refresh = refresh
        self.warmup = warmup
        self.decay = 0.5 ** (refresh / half_life)
        self.bins_per_unit = float(bins_per_unit)

    @property
    def warm(self) -> bool:
        """Whether the table rests on at least `warmup` values."""
        return bool(self.clock[WARM])

    def dump(self, prefix: str) -> State:
        """Return the counts under names that start with `prefix`, without the bins beyond the last one in use."""
        used = np.flatnonzero((self.settled != 0).any(axis=0) | (self.pending != 0).any(axis=0))
        last = int(used[-1]) + 1 if used.size else 0
        return {
            f"{prefix}.settled": self.settled[:, :last].copy(),
            f"{prefix}.pending": self.pending[:, :last].copy(),
            f"{prefix}.clock": self.clock.copy(),
        }

    def load(self, state: State, prefix: str) -> None:
        """Replace the counts by dumped ones, and make the table they led to."""
        for name, target in (("settled", self.settled), ("pending", self.pending)):
            counts = np.asarray(state[f"{prefix}.{name}"])
            rows, bins = target.shape
            if counts.ndim != 2 or counts.shape[0] != rows or counts.shape[1] > bins:
                raise ValueError(f"expected shape ({rows}, at most {bins}), got {counts.shape} - at {prefix}.{name}")
            target[:] = 0
            target[:, : counts.shape[1]] = counts
        self.clock[:] = np.asarray(state[f"{prefix}.clock"])
        tabulate(self.settled, self.direction, self.tails)
