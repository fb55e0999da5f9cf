"""Where the trees of a forest split: drawn once, before any data is seen, as River draws it."""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64

I32 = NDArray[np.int32]


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
