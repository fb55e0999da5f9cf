"""What fades: sums whose terms halve in a fixed time, and Metarank's trending. Time is an argument.

A sum is held as of its newest term (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009), so nothing has to
be done while nothing happens, a late term counts what it would be worth by now, and sums of partitions add up.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from operators.state import State
from ranking.gain import F64, I64

DAY_S = 86_400.0


def half_life_s(decay_per_day: float) -> float:
    """Return the half-life of what is multiplied by `decay_per_day`, in (0, 1), once a day."""
    return DAY_S * math.log(2.0) / -math.log(decay_per_day)


def trending(counts: ArrayLike, weights: ArrayLike, days: ArrayLike, decay: float) -> F64:
    """Return Metarank's trending score: the sum of count x weight x decay^days.

    Args:
        counts: of each kind of interaction and day, shape (..., m).
        weights: what one of that kind is worth, shape (m,).
        days: how long ago that day is, shape (m,).
        decay: per day, in (0, 1].
    """
    each = np.asarray(weights, np.float64) * decay ** np.asarray(days, np.float64)
    return np.asarray(np.asarray(counts, np.float64) @ each, np.float64)


class DecayedSums:
    """For each of some items, sums of which each term halves every half-life.

    Args:
        items: how many.
        columns: how many sums an item has.
        half_life_s: in seconds, above 0.

    Attributes:
        sums: as of `as_of_ms`, shape (items, columns).
        as_of_ms: time of the newest term of each item, shape (items,); 0 before the first, milliseconds after 1970.
    """

    def __init__(self, items: int, columns: int, half_life_s: float) -> None:
        if not half_life_s > 0.0:
            raise ValueError(f"expected a time above 0, got {half_life_s} - at half_life_s")
        self.half_life_s = half_life_s
        self.sums: F64 = np.zeros((items, columns))
        self.as_of_ms: I64 = np.zeros(items, np.int64)

    def add(self, item: I64, time_ms: I64, terms: F64) -> None:
        """Add terms in any order.

        Args:
            item: number of the item, shape (n,).
            time_ms: when, shape (n,), 0 or more.
            terms: shape (n, columns).
        """
        newest = self.as_of_ms.copy()
        np.maximum.at(newest, item, time_ms)
        self.sums *= self._left(newest - self.as_of_ms)[:, None]
        self.as_of_ms = newest
        np.add.at(self.sums, item, terms * self._left(newest[item] - time_ms)[:, None])

    def at(self, time_ms: int) -> F64:
        """Return the sums as of a time, shape (items, columns); of an item with a newer term, as of that term."""
        return self.sums * self._left(np.maximum(time_ms - self.as_of_ms, 0))[:, None]

    def __add__(self, other: "DecayedSums") -> "DecayedSums":
        """Return the sums over the terms of both.

        Raises:
            ValueError: shapes or half-lives differ.
        """
        mine, its = (self.sums.shape, self.half_life_s), (other.sums.shape, other.half_life_s)
        if mine != its:
            raise ValueError(f"expected shape and half-life {mine}, got {its} - at other")
        items, columns = self.sums.shape
        both = DecayedSums(items, columns, self.half_life_s)
        both.as_of_ms = np.maximum(self.as_of_ms, other.as_of_ms)
        for one in (self, other):
            both.sums += one.sums * self._left(both.as_of_ms - one.as_of_ms)[:, None]
        return both

    def _left(self, age_ms: I64) -> F64:
        return np.asarray(np.exp2(-age_ms / (1_000.0 * self.half_life_s)), np.float64)

    def dump(self) -> State:
        """Return a copy of the sums."""
        return {"decay.sums": self.sums.copy(), "decay.as_of_ms": self.as_of_ms.copy()}

    def load(self, state: State) -> None:
        """Replace the sums by what was dumped.

        Raises:
            ValueError: the shapes differ.
        """
        sums, as_of_ms = np.asarray(state["decay.sums"]), np.asarray(state["decay.as_of_ms"])
        if sums.shape != self.sums.shape:
            raise ValueError(f"expected shape {self.sums.shape}, got {sums.shape} - at decay.sums")
        self.sums, self.as_of_ms = sums.copy(), as_of_ms.copy()
