"""Several hypotheses at once: metrics and pairs of arms that were declared before the first look.

All functions work along the last axis, the family. NaN is a hypothesis that is not known yet: it counts in the size of
the family, for it was declared, is not rejected, and stays NaN.
"""

import numpy as np
from numpy.typing import NDArray

from experiments.sums import F64

Bool = NDArray[np.bool_]


def bonferroni(p: F64) -> F64:
    """Return adjusted p-values: rejecting those at or below alpha errs anywhere with probability alpha at most.

    Holds for anytime p-values at any time, and for intervals at alpha over the size of the family.
    """
    return np.where(np.isnan(p), np.nan, np.minimum(p * p.shape[-1], 1.0))


def holm(p: F64) -> F64:
    """Return adjusted p-values of Holm, Scand. J. Statist. 1979: as `bonferroni`, never larger.

    Holds for anytime p-values too: they are p-values at any one time, and running minima at all.
    """
    known = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(known, axis=-1, kind="stable")
    size = p.shape[-1]
    steps = np.take_along_axis(known, order, axis=-1) * np.arange(size, 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0)
    back = np.argsort(order, axis=-1, kind="stable")
    return np.where(np.isnan(p), np.nan, np.take_along_axis(adjusted, back, axis=-1))


def e_bh(log_e: F64, alpha: float) -> Bool:
    """Return which hypotheses e-BH rejects: the false among them are expected to be a share of alpha at most.

    Wang and Ramdas, JRSS B 84 (2022), under any dependence: with e-values falling, the first k for the largest k with
    e_[k] >= m / (alpha k). It takes e-values of now, not their running maxima: those are no e-values.

    Args:
        log_e: ln E of each hypothesis.
        alpha: false discovery rate, 0 < alpha < 1.
    """
    size = log_e.shape[-1]
    known = np.where(np.isnan(log_e), -np.inf, log_e)
    falling = -np.sort(-known, axis=-1)
    k = np.arange(1, size + 1)
    enough = falling >= np.log(size / (alpha * k))
    most = np.max(np.where(enough, k, 0), axis=-1, keepdims=True)
    least = np.take_along_axis(falling, np.maximum(most - 1, 0), axis=-1)
    return np.asarray((most > 0) & (known >= least), np.bool_)
