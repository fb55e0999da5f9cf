"""The effect by decile of predicted uplift, and whether what was predicted came.

Deciles are cut within folds (`learner.ranks`): a unit's decile depends on models that never saw it, so the difference
of means within a decile is an experiment of its own, with an interval of its own (Chernozhukov, Demirer, Duflo and
Fernandez-Val, Econometrica 93, 2025: sorted group average treatment effects). The intervals are Welch's, each at its
level: of ten at 95 % at least one misses in two experiments out of five.
"""

import math
from typing import NamedTuple

import numpy as np

from experiments.special import normal_quantile
from operators.batches import F64, Bool
from training.uplift.effects import Effect, difference_in_means

DECILES = 10


class Decile(NamedTuple):
    """A tenth of the units.

    Attributes:
        number: 1 is the tenth with the highest predicted uplift.
        effect: observed, with its interval.
        control_mean: of the outcome; NaN without controls.
        predicted: mean of predicted uplift.
    """

    number: int
    effect: Effect
    control_mean: float
    predicted: float


class Calibration(NamedTuple):
    """How effects follow predictions over deciles: effect = level + slope x predicted, weighted by precision.

    The intervals take the deciles' errors as known and the deciles as independent.

    Attributes:
        slope: 1: as predicted; below 1: less is in it than is said; 0: nothing. NaN if predictions do not differ.
        lower: of its interval.
        upper: likewise.
        spread: effect of the first decile minus that of the last.
        spread_lower: of its interval.
        spread_upper: likewise.
        falling: whether no decile has a larger effect than the one before.
    """

    slope: float
    lower: float
    upper: float
    spread: float
    spread_lower: float
    spread_upper: float
    falling: bool


def by_decile(outcome: F64, treated: Bool, rank: F64, predicted: F64, alpha: float = 0.05) -> tuple[Decile, ...]:
    """Return the ten deciles, highest first.

    Args:
        outcome: shape (n,).
        treated: shape (n,).
        rank: of predicted uplift within folds, > 0 and < 1, shape (n,).
        predicted: uplift, shape (n,).
        alpha: share of intervals that may miss.
    """
    number = np.minimum((1.0 - rank) * DECILES, DECILES - 1).astype(np.int64) + 1
    found = []
    for each in range(1, DECILES + 1):
        held = number == each
        controls = outcome[held & ~treated]
        found.append(
            Decile(
                each,
                difference_in_means(outcome[held], treated[held], alpha),
                float(controls.mean()) if len(controls) else math.nan,
                float(predicted[held].mean()) if held.any() else math.nan,
            )
        )
    return tuple(found)


def calibration(deciles: tuple[Decile, ...], alpha: float = 0.05) -> Calibration | None:
    """Return how effects follow predictions; None if not every decile has an effect with an error."""
    effect = np.array([one.effect.value for one in deciles])
    error = np.array([one.effect.error for one in deciles])
    predicted = np.array([one.predicted for one in deciles])
    if not bool((error > 0.0).all()):
        return None
    z = float(normal_quantile(1.0 - alpha / 2.0))
    weight = 1.0 / error**2
    centred = predicted - float((weight * predicted).sum() / weight.sum())
    power = float((weight * centred**2).sum())
    slope = float((weight * centred * effect).sum()) / power if power > 0.0 else math.nan
    half = z / math.sqrt(power) if power > 0.0 else math.nan
    spread = float(effect[0] - effect[-1])
    wide = z * math.hypot(error[0], error[-1])
    falling = bool((np.diff(effect) <= 0.0).all())
    return Calibration(slope, slope - half, slope + half, spread, spread - wide, spread + wide, falling)
