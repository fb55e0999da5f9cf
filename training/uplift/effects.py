"""The effect over all units: by difference of means, and doubly robust where units chose their arm themselves.

The doubly robust estimators are those of Robins, Rotnitzky and Zhao (JASA 89, 1994), cross-fitted (Chernozhukov et al.,
Double/debiased machine learning, Econometrics Journal 21, 2018). They are right if either the models of the outcome or
those of the share of treated units (propensity e) are, and if nothing but the attributes drove both arm and outcome.

Overlap: units whose e says that nearly all alike are in one arm have nobody to be compared with; they are left out, and
how many is said (Crump, Hotz, Imbens and Mitnik, Biometrika 96, 2009, leave out e below 0.1 and above 0.9).
"""

import math
from typing import NamedTuple

import numpy as np

from experiments.special import normal_quantile, student_quantile
from operators.batches import F64, I64, Bool
from training.uplift.learner import Model, Predicted, Settings
from training.uplift.tables import Table


class Effect(NamedTuple):
    """An estimate with its interval.

    Attributes:
        value: treated minus control, in the outcome's unit; NaN if it is not known.
        error: standard error; NaN likewise.
        lower: of the interval; NaN likewise.
        upper: likewise.
        treated: units behind it.
        control: likewise.
    """

    value: float
    error: float
    lower: float
    upper: float
    treated: int
    control: int


def difference_in_means(outcome: F64, treated: Bool, alpha: float = 0.05) -> Effect:
    """Return mean of the treated minus mean of controls, with Welch's interval (Biometrika 34, 1947).

    Args:
        outcome: shape (n,).
        treated: shape (n,).
        alpha: share of intervals that may miss.
    """
    one, other = outcome[treated], outcome[~treated]
    n, m = len(one), len(other)
    if n < 2 or m < 2:
        return Effect(math.nan, math.nan, math.nan, math.nan, n, m)
    value = float(one.mean() - other.mean())
    a, b = float(one.var(ddof=1)) / n, float(other.var(ddof=1)) / m
    if not a + b > 0.0:
        return Effect(value, math.nan, math.nan, math.nan, n, m)
    freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    error = math.sqrt(a + b)
    half = float(student_quantile(alpha / 2.0, freedom)) * error
    return Effect(value, error, value - half, value + half, n, m)


def propensities(table: Table, treated: Bool, fold: I64, settings: Settings) -> F64:
    """Return the share of treated units among those with the same attributes, from the other folds, shape (n,)."""
    share = np.empty(len(treated))
    for each in range(settings.folds):
        held = fold == each
        model = Model(table, table.values[~held], treated[~held].astype(np.float64), settings)
        share[held] = model.predict(table.values[held])
    return share


def doubly_robust(
    outcome: F64, treated: Bool, predicted: Predicted, share: F64, alpha: float = 0.05, overlap: float = 0.1
) -> Effect:
    """Return the average effect over units whose share of treated ones is from `overlap` to 1 - `overlap`.

    Args:
        outcome: shape (n,).
        treated: shape (n,).
        predicted: outcomes in both arms, cross-fitted.
        share: as `propensities`, shape (n,).
        alpha: share of intervals that may miss.
        overlap: > 0 and < 1/2.
    """
    kept = (share >= overlap) & (share <= 1.0 - overlap)
    y, e, one, other = (x[kept] for x in (outcome, share, predicted.treated, predicted.control))
    t = treated[kept]
    each = one - other + np.where(t, (y - one) / e, -(y - other) / (1.0 - e))
    return _mean(each, t, alpha)


def doubly_robust_on_treated(
    outcome: F64, treated: Bool, predicted: Predicted, share: F64, alpha: float = 0.05, overlap: float = 0.1
) -> Effect:
    """Return the average effect on treated units whose share is at most 1 - `overlap`; arguments as `doubly_robust`.

    It needs a comparison for the treated only, so controls that are like nobody treated do no harm.
    """
    kept = share <= 1.0 - overlap
    y, e, other = (x[kept] for x in (outcome, share, predicted.control))
    t = treated[kept]
    odds = np.where(t, 1.0, -e / (1.0 - e))
    part = float(t.mean()) if len(t) else math.nan
    each = odds * (y - other) / part
    # The influence function of a ratio: the treated's share is estimated, too.
    value = float(each.mean()) if len(each) else math.nan
    return _mean(each, t, alpha, each - value * t / part)


def _mean(each: F64, treated: Bool, alpha: float, influence: F64 | None = None) -> Effect:
    n, m = int(np.count_nonzero(treated)), int(np.count_nonzero(~treated))
    if n < 2 or m < 2:
        return Effect(math.nan, math.nan, math.nan, math.nan, n, m)
    value = float(each.mean())
    error = float((each if influence is None else influence).std(ddof=1)) / math.sqrt(len(each))
    half = float(normal_quantile(1.0 - alpha / 2.0)) * error
    return Effect(value, error, value - half, value + half, n, m)
