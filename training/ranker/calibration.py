"""From scores to the probability of a click: the isotonic fit (Zadrozny and Elkan, KDD 2002), as a curve of few knots.

The fit is that of `operators.calibrate.maps`, with Platt's targets, so nothing is certain. Its steps become a curve:
level over the scores of a step, straight to the next.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, Bool
from operators.calibrate import maps, quality


class Curve(NamedTuple):
    """A calibration curve.

    Attributes:
        score: rising, shape (knots,).
        probability: at these, not falling, shape (knots,).
    """

    score: F64
    probability: F64

    def __call__(self, score: F64) -> F64:
        """Return the probability of each score, shape (n,)."""
        return np.interp(score, self.score, self.probability)


class Calibration(NamedTuple):
    """How good probabilities are.

    Attributes:
        ece: expected calibration error, in bins a factor of 2 wide (`operators.calibrate.quality`).
        brier: mean squared error.
    """

    ece: float
    brier: float


def curve_of(score: F64, click: Bool) -> Curve:
    """Fit a curve.

    Args:
        score: of rows, finite, shape (n,), n >= 1.
        click: whether they were clicked, shape (n,).
    """
    places, which = np.unique(score, return_inverse=True)
    clicks = np.bincount(which, weights=click).astype(np.float64)
    others = np.bincount(which).astype(np.float64) - clicks
    fitted: F64 = np.empty(len(places))
    maps.isotonic(clicks, others, fitted)
    maps.smooth(float(clicks.sum()), float(others.sum()), fitted)
    # First and last score of each step; one score alone is both.
    changes = np.flatnonzero(fitted[1:] != fitted[:-1])
    knots = np.unique(np.concatenate([[0], changes, changes + 1, [len(places) - 1]]))
    return Curve(places[knots], fitted[knots])


def judged(probability: F64, click: Bool) -> Calibration:
    """Hold probabilities against what came of them; NaN without any.

    Args:
        probability: of rows, shape (n,).
        click: whether they were clicked, shape (n,).
    """
    sums: F64 = np.zeros((quality.BINS, 4))
    for given, clicked in zip(probability.tolist(), click.tolist(), strict=True):
        quality.judge(sums, given, float(clicked), 1.0)
    return Calibration(quality.expected_calibration_error(sums), quality.brier(sums))


def sigmoid(score: F64) -> F64:
    """Return what a score would be as log odds, shape (n,): probabilities without calibration, to compare with."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * score)), np.float64)
