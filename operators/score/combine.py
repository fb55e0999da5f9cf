"""The one rule that joins forest and evidence.

Both say, in nats, how little of what was seen before is like the event:

    score = w * forest_nats + (1 - w) * evidence / families,   w = forest_weight
    forest_nats = s * ln(window * 2^height + 1)

So both are means: over trees, and over families of features. A family that is added, by features of the settings for
instance, leaves the scale of the score and the meaning of the weight as they were.

With s = `log_mass`, forest_nats is the mean over trees of ln of how many times less dense the event's region is than
the densest there can be (all of a window in one leaf). The evidence is a sum of -ln of tail probabilities. A sum of
logarithms is Fisher's combination (Statistical Methods for Research Workers, 1925), without his distribution, for the
two are not independent: what a score is worth is measured by the calibrate stage, not claimed here.

Neither is ranked among what happened before they join. Ranks would make the usual event of a partition out of its
busiest abuser, and scores of different partitions would not compare: against the bots that make 39 % of the edits of
wikiticker, the harmonic mean of the two ranks (Wilson, PNAS 2019) falls from ROC-AUC 0.963 with one partition to 0.811
with twelve, and this sum hardly at all (docs/scoring.md).

Higher is riskier, and 0 is the least.
"""

import math

import numpy as np

from operators.batches import F64
from operators.compiled import compiled
from operators.score.forest import Statistic


@compiled
def join(
    forest: F64, evidence: F64, families: int, greatest_walk: float, nats: float, weight: float, score: F64
) -> None:
    """Write the module's rule into `score`, shape (n,); NaN where either is.

    Args:
        forest: within [0, 1], shape (n,).
        evidence: nats, shape (n,).
        families: that the evidence is a sum over.
        greatest_walk: with `river`, the greatest value of one walk; 0 with `log_mass`.
        nats: what a forest's 1 is worth.
        weight: of the forest.
        score: output.
    """
    for i in range(len(forest)):
        unusual = forest[i] * nats
        if greatest_walk > 0.0:
            # River's score crowds at 1: its walks in logarithms do not.
            unusual = nats - math.log((1.0 - forest[i]) * greatest_walk + 1.0)
        score[i] = weight * unusual + (1.0 - weight) * evidence[i] / families


class Combination:
    """The rule, for a forest of given window and height.

    Args:
        families: that the evidence is a sum over.
        window: points per window of the forest.
        height: of its trees.
        statistic: which of its scores.
        forest_weight: see the module, 0 to 1.
    """

    def __init__(self, families: int, window: int, height: int, statistic: Statistic, forest_weight: float) -> None:
        self._families = families
        self._weight = forest_weight
        self._greatest_walk = window * (2.0 ** (height + 1) - 1) if statistic == "river" else 0.0
        self._nats = math.log((self._greatest_walk or window * 2.0**height) + 1.0)

    def join(self, forest: F64, evidence: F64) -> F64:
        """Return the scores of events, shape (n,), in nats; NaN where either is."""
        score: F64 = np.empty(len(forest))
        join(forest, evidence, self._families, self._greatest_walk, self._nats, self._weight, score)
        return score
