"""What is remembered between two looks: the intersection of the intervals, the largest e-value, and the burn-in.

An always-valid interval covers at all looks at once, so the intersection of all of them covers too, and its price is
nothing. If it is empty, either the unlikely happened (probability alpha) or there is no one effect: it changes.
"""

import numpy as np
from numpy.typing import NDArray

from experiments.effects import Arms
from experiments.intervals import p_value
from experiments.sums import F64
from operators.state import State

Bool = NDArray[np.bool_]

BURN_IN_UNITS = 100
BURN_IN_CONVERSIONS = 5
BURN_IN_EFFECTIVE = 20
"""Of each arm, before its first look counts: the intervals are asymptotic."""


def units_missing(n: F64) -> F64:
    """Return how many more units an arm needs before its first look."""
    return np.asarray(np.maximum(BURN_IN_UNITS - n, 0.0), np.float64)


def conversions_missing(n: F64, mean: F64) -> F64:
    """Return how many more ones, or zeros if these are fewer, an arm of a proportion needs before its first look."""
    fewer = np.rint(n * np.minimum(np.nan_to_num(mean), 1.0 - np.nan_to_num(mean)))
    return np.asarray(np.maximum(BURN_IN_CONVERSIONS - fewer, 0.0), np.float64)


def effective_missing(arms: Arms) -> F64:
    """Return how many more effective units an arm needs, of a metric that is never below 0 and often 0 or small.

    Kish's effective size (Survey Sampling, 1965), sum(y)^2 / sum(y^2): of a proportion the ones, of equal values all
    units. What is skew errs early where arms are of unequal size: of spending by 2 % of units, with arms of 90 and
    10 %, a quarter of experiments without an effect would be rejected if looked at from 100 units on (tests). It is no
    cure for tails so heavy that the variance itself is hardly seen, as of a lognormal of deviation 2: cap such a
    metric, or keep arms equal, where skewness cancels. Of a metric with both signs it says nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = arms.n * arms.mean**2 / (arms.mean**2 + arms.variance)
    return np.asarray(np.maximum(BURN_IN_EFFECTIVE - np.nan_to_num(size), 0.0), np.float64)


class Running:
    """The looks so far at any number of effects.

    Args:
        shape: of the effects, such as (experiments, metrics, pairs).

    Attributes:
        lower: greatest lower end, -inf before the first look.
        upper: smallest upper end, inf before the first look.
        log_largest: largest ln E, 0 before the first look.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.lower: F64 = np.full(shape, -np.inf)
        self.upper: F64 = np.full(shape, np.inf)
        self.log_largest: F64 = np.zeros(shape)

    def look(self, lower: F64, upper: F64, log_e: F64, ready: Bool) -> None:
        """Take in one look at every effect.

        Args:
            lower: ends of the always-valid interval; NaN where it is not known, infinite where nothing is left out.
            upper: likewise.
            log_e: ln E of the null.
            ready: whether the burn-in is over; looks before are not taken in.
        """
        known = ready & ~np.isnan(lower) & ~np.isnan(upper) & np.isfinite(log_e)
        self.lower = np.where(known, np.fmax(self.lower, lower), self.lower)
        self.upper = np.where(known, np.fmin(self.upper, upper), self.upper)
        self.log_largest = np.where(known, np.fmax(self.log_largest, log_e), self.log_largest)

    @property
    def p(self) -> F64:
        """The anytime p-value: the running minimum of min(1, 1 / E)."""
        return p_value(self.log_largest)

    @property
    def changing(self) -> Bool:
        """Whether no effect is in all intervals. It stays so."""
        return self.lower > self.upper

    def dump(self) -> State:
        """Return a copy of what is remembered."""
        return {
            "running.lower": self.lower.copy(),
            "running.upper": self.upper.copy(),
            "running.log_largest": self.log_largest.copy(),
        }

    def load(self, state: State) -> None:
        """Replace what is remembered by what was dumped.

        Raises:
            ValueError: the shapes differ.
        """
        for name in ("lower", "upper", "log_largest"):
            array, mine = np.asarray(state[f"running.{name}"]), getattr(self, name)
            if array.shape != mine.shape:
                raise ValueError(f"expected shape {mine.shape}, got {array.shape} - at running.{name}")
            setattr(self, name, array.copy())
