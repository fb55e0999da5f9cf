"""How good the probabilities given were: Brier score and expected calibration error, prequential and decayed.

Each event that teaches is first held against the probability that it was given, by the map in force when it came. With
weights w, probabilities p and outcomes y (1 fraud, 0 legit),

    Brier  sum w (p - y)^2 / sum w                                           (Brier, Monthly Weather Review 1950)
    ECE    sum over bins |sum w p - sum w y| / sum w                         (Naeini, Cooper and Hauskrecht, AAAI 2015)

Bins are of fixed bounds, a factor of 2 wide: (1/2, 1], (1/4, 1/2], ... and one for all up to 2^-15. Fraud is rare: bins
of equal width would have nearly all events in the first.
"""

import math

import numpy as np

from operators.batches import F64
from operators.compiled import compiled

BINS = 16
WEIGHT, GIVEN, FRAUD, SQUARE = range(4)
"""Columns of `sums`: sums of w, of w p, of w y, and of w (p - y)^2."""


@compiled
def bin_of(given: float) -> int:
    """Return the bin of a probability, 0 for (1/2, 1]."""
    return min(int(-math.log2(given)), BINS - 1) if given > 0.0 else BINS - 1


@compiled
def judge(sums: F64, given: float, fraud: float, weight: float) -> None:
    """Hold a probability against what came of it; a negative weight takes it back."""
    k = bin_of(given)
    sums[k, WEIGHT] += weight
    sums[k, GIVEN] += weight * given
    sums[k, FRAUD] += weight * fraud
    sums[k, SQUARE] += weight * (given - fraud) ** 2


def brier(sums: F64) -> float:
    """Return the Brier score; NaN before there is any."""
    weight = float(sums[:, WEIGHT].sum())
    return float(sums[:, SQUARE].sum()) / weight if weight > 0.0 else math.nan


def expected_calibration_error(sums: F64) -> float:
    """Return the expected calibration error; NaN before there is any."""
    weight = float(sums[:, WEIGHT].sum())
    return float(np.abs(sums[:, GIVEN] - sums[:, FRAUD]).sum()) / weight if weight > 0.0 else math.nan
