"""An alarm on unfair exposure that may be looked at at any time: an e-process, by betting on pairs of exposures.

Auditing fairness by betting: Chugg, Cortes-Gomez, Wilder, Ramdas, NeurIPS 2023 (arXiv 2305.17570); betting on bounded
means: Waudby-Smith and Ramdas, JRSS B 86 (2024), arXiv 2010.09686. Each list in which both groups stand gives the
difference d of their exposures, in [-1, 1] (`exposure.pair_difference`). The claim of fairness, for every list given
all before it:

    |E[d | past]| <= tolerance

Against each direction s = 1 and s = -1 a gambler of wealth 1 stakes a fraction l in [0, 1/2] that the past alone
determines:

    W <- W (1 + l x),   x = (s d - tolerance) / (1 + tolerance)   in [-1, 1]

If the claim holds, E[x | past] <= 0, so each W is a non-negative supermartingale, and so is their mean E. By Ville's
inequality P(E is ever 1/alpha or more) <= alpha: however often it is looked at, whatever stops it, though lists differ
in length, in groups and in spread, and depend on the past. Nothing is asymptotic and no burn-in is needed.

The fraction follows the online Newton step (Cutkosky and Orabona, COLT 2018, algorithm 1), as in both papers:

    z = -x / (1 + l x),   A <- A + z^2 from 1,   l <- clip(l - 2 / (2 - ln 3) z / A, 0, 1/2)

Over partitions, the mean of their E is an e-process if the claim holds of each list given all before it in all
partitions. In that shared past each W stays a supermartingale, for its stakes depend on part of it. If it holds given
each partition's own past alone, E[mean] <= 1 at fixed times, but not when what another partition tells says when to
look (Choe and Ramdas 2024, arXiv 2402.09698).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operators.state import State
from ranking.gain import F64

_STEP = 2.0 / (2.0 - math.log(3.0))
_MOST = 0.5
_SIGNS = np.array([1.0, -1.0])


class FairnessAlarm:
    """Bets against the fairness of any number of comparisons.

    Args:
        shape: of the comparisons, such as (surfaces, pairs of groups).
        tolerance: mean difference of exposures that is still called fair, in [0, 1). With 0, any difference at all is
            found some time, however small.

    Attributes:
        log_wealth: ln W against group 0 being exposed too much, and too little, shape (2, *shape).
        fraction: what is staked on the next list, the same shape.
        squares: A of the online Newton step, the same shape.
        lists: lists bet on so far, shape `shape`.
        log_largest: largest ln E so far, shape `shape`.
    """

    def __init__(self, shape: tuple[int, ...], tolerance: float = 0.0) -> None:
        if not 0.0 <= tolerance < 1.0:
            raise ValueError(f"expected 0 or more and below 1, got {tolerance} - at tolerance")
        self.tolerance = tolerance
        self.log_wealth: F64 = np.zeros((2, *shape))
        self.fraction: F64 = np.zeros((2, *shape))
        self.squares: F64 = np.ones((2, *shape))
        self.lists: NDArray[np.int64] = np.zeros(shape, np.int64)
        self.log_largest: F64 = np.zeros(shape)

    def bet(self, difference: ArrayLike) -> None:
        """Take in one list of every comparison; bets were placed before.

        Args:
            difference: exposure of group 0 above what is fair beside group 1, in [-1, 1], of shape `shape`; NaN where a
                list lacks one of the groups: nothing is bet there.

        Raises:
            ValueError: a difference out of its range. A bet on it could lose more than there is.
        """
        d = np.asarray(difference, np.float64)
        if bool((np.abs(d) > 1.0).any()):
            raise ValueError(f"expected differences of -1..1, got {float(np.nanmax(np.abs(d)))} - at difference")
        known = ~np.isnan(d)
        signs = _SIGNS.reshape(2, *([1] * d.ndim))
        x = np.where(known, (signs * np.nan_to_num(d) - self.tolerance) / (1.0 + self.tolerance), 0.0)
        growth = 1.0 + self.fraction * x
        self.log_wealth += np.log(growth)
        z = -x / growth
        self.squares += z * z
        self.fraction = np.clip(self.fraction - _STEP * z / self.squares, 0.0, _MOST)
        self.lists += known
        self.log_largest = np.asarray(np.maximum(self.log_largest, self.log_e), np.float64)

    @property
    def log_e(self) -> F64:
        """Natural logarithm of E now, of shape `shape`: the mean wealth of both gamblers."""
        return np.asarray(np.logaddexp(self.log_wealth[0], self.log_wealth[1]) - math.log(2.0), np.float64)

    @property
    def p(self) -> F64:
        """The anytime p-value, 1 over the largest E so far; an alarm is p <= alpha, and stays one."""
        return np.asarray(np.exp(-self.log_largest), np.float64)

    @property
    def side(self) -> F64:
        """Which way the evidence points: 1 if group 0 is exposed too much, -1 if too little, 0 if neither."""
        return np.asarray(np.sign(self.log_wealth[0] - self.log_wealth[1]), np.float64)

    def dump(self) -> State:
        """Return a copy of what is remembered."""
        return {f"betting.{name}": getattr(self, name).copy() for name in _KEPT}

    def load(self, state: State) -> None:
        """Replace what is remembered by what was dumped.

        Raises:
            ValueError: the shapes differ.
        """
        for name in _KEPT:
            array, mine = np.asarray(state[f"betting.{name}"]), getattr(self, name)
            if array.shape != mine.shape:
                raise ValueError(f"expected shape {mine.shape}, got {array.shape} - at betting.{name}")
            setattr(self, name, array.copy())


_KEPT = ("log_wealth", "fraction", "squares", "lists", "log_largest")
