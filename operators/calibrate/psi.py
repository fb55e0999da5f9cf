"""Population stability indices: of the scores, and of every feature, of each window against the one before.

    index = sum over groups of (q - p) ln(q / p)

with p and q the groups' shares before and now (Siddiqi, Credit Risk Scorecards, 2006, ch. 9; a symmetrised
Kullback-Leibler divergence). Below 0.1 is read as stable, above 0.25 as shifted. Between two windows of N values of
one distribution the index of g groups is about 2 (g - 1) / N if values are independent (a chi-squared over N; Yurdakul
and Naranjo, Journal of Risk Model Validation, 2020).
"""

import math

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, Bool
from operators.compiled import compiled

I32 = NDArray[np.int32]

BINS_PER_NAT = 32
SCORE_BINS = 40 * BINS_PER_NAT
GROUPS = 10

FEATURE_BINS = 20
"""Equal bins of a mapped feature, over [0, 1]."""


@compiled
def stability_index(reference: I32, newest: I32, groups: int) -> float:
    """Return the population stability index of two histograms, over groups of bins.

    Groups are the smallest runs of bins that hold at least 1/groups of the reference each; p and q are the groups'
    shares in reference and newest. Half a count is added to each group, so that an empty one is defined.
    """
    total = reference.sum()
    expected = np.zeros(groups)
    observed = np.zeros(groups)
    group = 0
    seen = 0
    for b in range(len(reference)):
        expected[group] += reference[b]
        observed[group] += newest[b]
        seen += reference[b]
        while group < groups - 1 and seen * groups >= total * (group + 1) and expected[group] > 0.0:
            group += 1
    used = group + 1
    p_total = total + 0.5 * used
    q_total = newest.sum() + 0.5 * used
    index = 0.0
    for g in range(used):
        p = (expected[g] + 0.5) / p_total
        q = (observed[g] + 0.5) / q_total
        index += (q - p) * math.log(q / p)
    return index


@compiled
def feature_indices(reference: I32, newest: I32, groups: int, indices: F64) -> None:
    """Write the index of each feature; 0 where either window holds nothing.

    Args:
        reference: shape (features, bins).
        newest: shape (features, bins).
        groups: at most.
        indices: output, shape (features,).
    """
    for f in range(len(indices)):
        empty = reference[f].sum() == 0 or newest[f].sum() == 0
        indices[f] = 0.0 if empty else stability_index(reference[f], newest[f], groups)


@compiled
def count_features(features: F64, counted: Bool, first: int, end: int, newest: I32) -> None:
    """Add the rows `first` to `end` of `features`, shape (n, features), to the histograms; NaN is left out."""
    bins = newest.shape[1]
    for i in range(first, end):
        if not counted[i]:
            continue
        for f in range(features.shape[1]):
            value = features[i, f]
            if value >= 0.0:
                newest[f, min(int(value * bins), bins - 1)] += 1
