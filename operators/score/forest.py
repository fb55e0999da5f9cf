"""Streaming Half-Space Trees (Tan, Ting and Liu, Fast anomaly detection for streaming data, IJCAI 2011), compiled.

A tree halves the feature space at random places, chosen before any data is seen. It counts how many points of a
window fall on each node: the node's mass. A point is scored by the masses of the *previous* window along its path,
and then counted into the present one. When `window` points have been counted, the present becomes the previous.

The walk stops at the first node whose mass is below `size_limit * window`, or at the leaf. Two scores, both higher for
the more unusual and within [0, 1]:

    river     1 - sum over trees of (sum along the walk of mass * 2^depth) / (trees * window * (2^(height+1) - 1));
              equal to `river.anomaly.HalfSpaceTrees` (0.26) to the last bit
    log_mass  1 - mean over trees of log2(mass * 2^depth + 1) where the walk stops / log2(window * 2^height + 1)

What makes it fast: a point adds 1 to every node on its path, so the mass of a node is the sum of its leaves' masses,
and where a walk stops and what it is worth depend on its leaf alone. So only leaves are counted, and once per window
each leaf gets its tree's share of the score in a table. Scoring and learning are then one walk and one cell per tree.
"""

import math
import random
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, Bool
from operators.compiled import compiled
from operators.state import State

I32 = NDArray[np.int32]

Statistic = Literal["log_mass", "river"]

COUNT, WARM = range(2)
"""Cells of `clock`: points in the present window; whether there was a previous one."""


@compiled
def appraise(reference: I32, limit: float, river: bool, worth: F64) -> None:  # noqa: FBT001  a kernel takes scalars
    """Fill `worth`, shape (trees, leaves), with what a walk to each leaf adds to the sum over trees.

    Nodes are numbered as in a heap: 1 is the root, 2k and 2k + 1 are below k, leaves are numbered from `leaves` on.

    Args:
        reference: mass of each leaf in the previous window, shape (trees, leaves).
        limit: the walk stops at a node with less mass.
        river: which of the two scores.
        worth: output.
    """
    trees, leaves = reference.shape
    mass = np.empty(2 * leaves, np.int64)
    value = np.empty(2 * leaves)
    stopped = np.empty(2 * leaves, np.bool_)
    for t in range(trees):
        for leaf in range(leaves):
            mass[leaves + leaf] = reference[t, leaf]
        for k in range(leaves - 1, 0, -1):
            mass[k] = mass[2 * k] + mass[2 * k + 1]
        value[0] = 0.0
        stopped[0] = False
        first = 1  # of this depth; equals 2^depth
        while first <= leaves:
            for k in range(first, 2 * first):
                parent = k >> 1
                stopped[k] = stopped[parent] or mass[k] < limit
                if stopped[parent]:
                    value[k] = value[parent]
                elif river:
                    # Whole numbers below 2^53: the sum is exact in any order.
                    value[k] = value[parent] + mass[k] * first
                elif stopped[k] or first == leaves:
                    value[k] = math.log2(mass[k] * first + 1.0)
            first *= 2
        for leaf in range(leaves):
            worth[t, leaf] = value[leaves + leaf]


@compiled
def score_then_learn(
    features: F64,
    teach: Bool,
    split_feature: I32,
    split_at: F64,
    present: I32,
    reference: I32,
    worth: F64,
    clock: I64,
    height: int,
    window: int,
    limit: float,
    river: bool,  # noqa: FBT001  a kernel takes scalars
    greatest: float,
    out: F64,
) -> None:
    """Score each row of `features` against the previous window, then count it into the present one if it may teach.

    Args:
        features: mapped features, shape (n, features), without NaN where `teach` is true.
        teach: which rows may be learnt, shape (n,).
        split_feature: column each inner node looks at, shape (trees, 2^height); cell 0 is not used.
        split_at: a row goes left where its value is below, shape (trees, 2^height).
        present: leaf masses of the present window, shape (trees, 2^height).
        reference: leaf masses of the previous window, shape (trees, 2^height).
        worth: table of `appraise` for `reference`.
        clock: see `COUNT` and `WARM`.
        height: levels of inner nodes.
        window: points per window.
        limit: see `appraise`.
        river: see `appraise`.
        greatest: the greatest possible sum over trees; divides it.
        out: scores, shape (n,); NaN while there is no previous window.
    """
    trees, leaves = split_at.shape
    node = np.empty(trees, np.int64)
    for i in range(len(features)):
        warm = clock[WARM] == 1
        if not (warm or teach[i]):
            out[i] = np.nan
            continue
        node[:] = 1
        # Level by level through all trees, without branches: the steps of different trees do not wait for each other.
        for _ in range(height):
            for t in range(trees):
                k = node[t]
                node[t] = 2 * k + (0 if features[i, split_feature[t, k]] < split_at[t, k] else 1)
        total = 0.0
        for t in range(trees):
            total += worth[t, node[t] - leaves]
        out[i] = 1.0 - total / greatest if warm else np.nan
        if not teach[i]:
            continue
        for t in range(trees):
            present[t, node[t] - leaves] += 1
        clock[COUNT] += 1
        if clock[COUNT] == window:
            reference[:] = present
            present[:] = 0
            appraise(reference, limit, river, worth)
            clock[COUNT] = 0
            clock[WARM] = 1


def grow(names: Sequence[str], *, trees: int, height: int, padding: float, seed: int) -> tuple[I32, F64]:
    """Grow the trees that River grows from the same seed for features limited to [0, 1].

    The order of draws is that of `river.tree.padded.make_padded_tree`: a node's feature (weighted by the width left of
    each), its split, then all of its left and all of its right side; features in the order of their names.

    Args:
        names: of the columns.
        trees: how many.
        height: levels of inner nodes.
        padding: share of the width at either side of a node's range that no split falls into.
        seed: of `random.Random`.

    Returns:
        Column and place of each split, both of shape (trees, 2^height), cell 0 unused, numbered as in `appraise`.
    """
    # River draws from Mersenne Twister; the same trees need the same generator. Nothing here is a secret.
    rng = random.Random(seed)  # noqa: S311
    columns = sorted(range(len(names)), key=lambda column: names[column])
    split_feature: I32 = np.zeros((trees, 1 << height), np.int32)
    split_at: F64 = np.zeros((trees, 1 << height))
    low = dict.fromkeys(columns, 0.0)
    high = dict.fromkeys(columns, 1.0)

    def split(t: int, k: int) -> None:
        if k >> height:
            return
        on = rng.choices(columns, weights=[high[column] - low[column] for column in columns])[0]
        a, b = low[on], high[on]
        at = rng.uniform(a + padding * (b - a), b - padding * (b - a))
        split_feature[t, k], split_at[t, k] = on, at
        high[on] = at
        split(t, 2 * k)
        low[on], high[on] = at, b
        split(t, 2 * k + 1)
        low[on] = a

    for t in range(trees):
        split(t, 1)
    return split_feature, split_at


class Forest:
    """Half-Space Trees over the columns `names`, all within [0, 1].

    Attributes:
        split_feature: see `grow`.
        split_at: see `grow`.
        present: leaf masses of the present window, shape (trees, 2^height).
        reference: leaf masses of the previous window, same shape.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        trees: int = 25,
        height: int = 8,
        window: int = 1000,
        size_limit: float = 0.1,
        padding: float = 0.15,
        seed: int = 1,
        statistic: Statistic = "log_mass",
    ) -> None:
        self.window = window
        self.height = height
        self.statistic = statistic
        self._limit = size_limit * window
        self.split_feature, self.split_at = grow(names, trees=trees, height=height, padding=padding, seed=seed)
        shape = (trees, 1 << height)
        self.present: I32 = np.zeros(shape, np.int32)
        self.reference: I32 = np.zeros(shape, np.int32)
        self._worth: F64 = np.zeros(shape)
        self._clock: I64 = np.zeros(2, np.int64)
        per_tree = window * (2 ** (height + 1) - 1) if statistic == "river" else math.log2(window * 2**height + 1)
        self._greatest = float(trees * per_tree)

    @property
    def warm(self) -> bool:
        """Whether the first window is complete."""
        return bool(self._clock[WARM])

    def score_then_learn(self, features: F64, teach: Bool) -> F64:
        """Return the scores of the rows of `features`, shape (n,), and learn those where `teach` is true.

        Args:
            features: shape (n, columns), without NaN where `teach` is true.
            teach: shape (n,).

        Returns:
            Scores within [0, 1], higher for the more unusual; NaN until the first window is complete.
        """
        out: F64 = np.empty(len(features))
        score_then_learn(
            features,
            teach,
            self.split_feature,
            self.split_at,
            self.present,
            self.reference,
            self._worth,
            self._clock,
            self.height,
            self.window,
            self._limit,
            self.statistic == "river",
            self._greatest,
            out,
        )
        return out

    def dump(self) -> State:
        """Return the trees and both windows. The trees are kept: Python may change how `choices` draws."""
        return {
            "forest.split_feature": self.split_feature.copy(),
            "forest.split_at": self.split_at.copy(),
            "forest.present": self.present.copy(),
            "forest.reference": self.reference.copy(),
            "forest.clock": self._clock.copy(),
        }

    def load(self, state: State) -> None:
        """Replace trees and windows by dumped ones."""
        for name, target in (
            ("split_feature", self.split_feature),
            ("split_at", self.split_at),
            ("present", self.present),
            ("reference", self.reference),
            ("clock", self._clock),
        ):
            dumped = np.asarray(state[f"forest.{name}"])
            if dumped.shape != target.shape:
                raise ValueError(f"expected shape {target.shape}, got {dumped.shape} - at forest.{name}")
            target[:] = dumped
        appraise(self.reference, self._limit, self.statistic == "river", self._worth)
