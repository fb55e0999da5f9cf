"""Directional evidence: how far each feature lies on its risky side, measured by what was seen before.

The streaming cousin of ECOD (Li et al., ECOD: Unsupervised Outlier Detection Using Empirical Cumulative Distribution
Functions, TKDE 2022), with a declared direction instead of ECOD's choice by skewness. A feature's tail probability p
comes from a decaying histogram of 64 bins over [0, 1] (`operators.sketch`), before the event itself is added.

    evidence = sum over families of max over the family's features of -ln(p), in nats

Features of one family are windowed copies of one thing. Summed, sixteen entropies would outvote four counts, and one
burst would count once per window it shows in; averaged, a burst seen in the shortest window alone would be diluted by
the calm longer ones. So a family speaks once, with its strongest feature, and families add up.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, Bool
from operators.compiled import compiled
from operators.sketch import TAUGHT, WARM, TailSketch, advance, bin_of
from operators.state import State

if TYPE_CHECKING:
    from operators.featurize.catalogue import Feature

I32 = NDArray[np.int32]

BINS = 64
SMALL = 1e-250
"""A product of probabilities below this is turned into its logarithm before it can underflow."""


@compiled
def weigh_then_learn(
    features: F64,
    teach: Bool,
    columns: I64,
    starts: I64,
    settled: F64,
    pending: I32,
    direction: I32,
    tails: F64,
    clock: I64,
    refresh: int,
    warmup: int,
    decay: float,
    feature_tail: F64,
    evidence: F64,
) -> None:
    """Weigh each row by the table, then count it if it may teach.

    Args:
        features: mapped features, shape (n, features), without NaN where `teach` is true.
        teach: which rows may be learnt, shape (n,).
        columns: all columns, family after family.
        starts: where each family starts in `columns`, and the end, shape (families + 1,).
        settled: this and the next seven: see `TailSketch`.
        pending: see above.
        direction: see above.
        tails: see above.
        clock: see above.
        refresh: see above.
        warmup: see above.
        decay: see above.
        feature_tail: output, shape (n, features); NaN while warming.
        evidence: output in nats, shape (n,); NaN while warming.
    """
    rows, bins = tails.shape
    place = np.empty(rows, np.int64)
    for i in range(len(features)):
        for f in range(rows):
            place[f] = bin_of(features[i, f], float(bins), bins)
        if clock[WARM] == 1:
            nats = 0.0
            product = 1.0  # one logarithm for the event instead of one for each feature
            for family in range(len(starts) - 1):
                least = 1.0
                for at in range(starts[family], starts[family + 1]):
                    f = columns[at]
                    p = tails[f, place[f]]
                    feature_tail[i, f] = p
                    least = min(least, p)
                product *= least
                if product < SMALL:
                    nats -= math.log(product)
                    product = 1.0
            evidence[i] = nats - math.log(product)
        else:
            feature_tail[i, :] = np.nan
            evidence[i] = np.nan
        if teach[i]:
            for f in range(rows):
                pending[f, place[f]] += 1
            advance(settled, pending, direction, tails, clock, refresh, warmup, decay)


def families(catalogue: "Sequence[Feature]") -> tuple[I64, I64]:
    """Return the columns family after family (families in order of appearance), and where each family starts."""
    names = list(dict.fromkeys(feature.family for feature in catalogue))
    members = [[column for column, feature in enumerate(catalogue) if feature.family == name] for name in names]
    columns: I64 = np.array([column for member in members for column in member], np.int64)
    starts: I64 = np.cumsum([0, *(len(member) for member in members)], dtype=np.int64)
    return columns, starts


class Evidence:
    """Decaying histograms of the mapped features of a catalogue.

    Args:
        catalogue: features with `family` and `direction`, in the order of the columns.
        half_life: taught events after which a count weighs half.
        refresh: taught events between two tables.
        warmup: taught events before there is evidence.
    """

    def __init__(self, catalogue: "Sequence[Feature]", *, half_life: int, refresh: int, warmup: int) -> None:
        directions = [feature.direction for feature in catalogue]
        self.columns, self.starts = families(catalogue)
        self.sketch = TailSketch(
            directions, bins=BINS, bins_per_unit=BINS, half_life=half_life, refresh=refresh, warmup=warmup
        )

    @property
    def families(self) -> int:
        """How many families there are."""
        return len(self.starts) - 1

    @property
    def taught(self) -> int:
        """How many events have been taught."""
        return int(self.sketch.clock[TAUGHT])

    @property
    def needed(self) -> int:
        """How many must have been before there is evidence: `warmup`, up to a whole number of tables."""
        return -(-self.sketch.warmup // self.sketch.refresh) * self.sketch.refresh

    def weigh_then_learn(self, features: F64, teach: Bool) -> tuple[F64, F64]:
        """Return evidence in nats, shape (n,), and tail probabilities, shape (n, features); learn where `teach`.

        Both are NaN until `warmup` events have been taught. `features` must not hold NaN where `teach` is true.
        """
        evidence: F64 = np.empty(len(features))
        feature_tail: F64 = np.empty(features.shape)
        sketch = self.sketch
        weigh_then_learn(
            features,
            teach,
            self.columns,
            self.starts,
            sketch.settled,
            sketch.pending,
            sketch.direction,
            sketch.tails,
            sketch.clock,
            sketch.refresh,
            sketch.warmup,
            sketch.decay,
            feature_tail,
            evidence,
        )
        return evidence, feature_tail

    def dump(self) -> State:
        """Return the histograms."""
        return self.sketch.dump("evidence")

    def load(self, state: State) -> None:
        """Replace the histograms by dumped ones."""
        self.sketch.load(state, "evidence")
