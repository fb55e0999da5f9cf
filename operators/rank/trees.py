"""Trees of a ranker: read with suspicion, then walked by one compiled loop.

The sum is that of LightGBM's own `predict`, to the last bit: the same comparisons of doubles, leaves added in the order
of the trees (tests/operators/rank/test_rank_trees.py).
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I32, I64, U8
from operators.compiled import compiled
from schemas.ranker import Trees

MOST_TREES: Final = 10_000
MOST_NODES: Final = 1_000_000
"""Inner nodes of all trees. A record of Kafka's usual size holds some 25,000."""

GREATEST: Final = 1e300
"""What leaves of all trees, each tree's largest, may add up to: no score is infinite."""


ROWS: Final = 128
"""Rows that go through all trees together."""


class BadTrees(ValueError):
    """The arrays are not trees; the text is a closed sentence: `expected X, got Y - at $.trees.field`."""


class Forest(NamedTuple):
    """Trees as they are walked; nodes and leaves are numbered through all trees.

    Attributes:
        root: of each tree: a node, or leaf `-1 - root`, shape (trees,).
        feature: column of each inner node, shape (nodes,).
        threshold: at or below goes left, shape (nodes,).
        missing_left: 1 where NaN goes left, shape (nodes,).
        left: node, or leaf `-1 - left`, shape (nodes,).
        right: likewise.
        value: of the leaves, shape (leaves,).
    """

    root: I32
    feature: I32
    threshold: F64
    missing_left: U8
    left: I32
    right: I32
    value: F64


@compiled
def walk(
    features: F64,
    root: I32,
    feature: I32,
    threshold: F64,
    missing_left: U8,
    left: I32,
    right: I32,
    value: F64,
    out: F64,
) -> None:
    """Fill `out`, shape (m,), with the sum of the leaves that each row of `features`, shape (m, columns), falls on."""
    out[:] = 0.0
    # Some rows through all trees before the next ones, so that rows stay in the processor's cache.
    for first in range(0, len(features), ROWS):
        for t in range(len(root)):
            for i in range(first, min(first + ROWS, len(features))):
                at = root[t]
                while at >= 0:
                    x = features[i, feature[at]]
                    # NaN is at or below nothing.
                    goes_left = x <= threshold[at] or (missing_left[at] == 1 and np.isnan(x))
                    at = left[at] if goes_left else right[at]
                out[i] += value[-1 - at]


def score(forest: Forest, features: F64) -> F64:
    """Return the score of each row of `features`, shape (m, columns), C order; shape (m,)."""
    out: F64 = np.empty(len(features))
    walk(features, *forest, out)
    return out


def forest_of(trees: Trees, columns: I64) -> Forest:
    """Read trees.

    Args:
        trees: as published.
        columns: where each of the ranker's features stands among those that it will be given, shape (features,).

    Raises:
        BadTrees: they are none.
    """
    nodes = _array(trees.nodes, "<i4", "nodes").astype(np.int64)
    leaves = _array(trees.leaves, "<i4", "leaves").astype(np.int64)
    of_tree = _counted(nodes, leaves)
    total = int(nodes[-1])
    feature = _array(trees.feature, "<i4", "feature", total)
    threshold = _array(trees.threshold, "<f8", "threshold", total)
    missing_left = _array(trees.missing_left, "u1", "missing_left", total)
    left = _array(trees.left, "<i4", "left", total).astype(np.int64)
    right = _array(trees.right, "<i4", "right", total).astype(np.int64)
    value = _array(trees.value, "<f8", "value", int(leaves[-1]))
    if ((feature < 0) | (feature >= len(columns))).any():
        raise BadTrees("expected the number of one of its features, got another - at $.trees.feature")
    if not np.isfinite(threshold).all():
        raise BadTrees("expected finite numbers, got others - at $.trees.threshold")
    if (missing_left > 1).any():
        raise BadTrees("expected 0 or 1, got another - at $.trees.missing_left")
    if not np.isfinite(value).all() or float(np.maximum.reduceat(np.abs(value), leaves[:-1]).sum()) > GREATEST:
        raise BadTrees("expected finite numbers with a finite sum, got others - at $.trees.value")
    left, right = _linked(left, right, nodes, leaves, of_tree)
    has_nodes = nodes[1:] > nodes[:-1]
    return Forest(
        np.where(has_nodes, nodes[:-1], -1 - leaves[:-1]).astype(np.int32),
        columns[feature].astype(np.int32),
        threshold,
        missing_left,
        left.astype(np.int32),
        right.astype(np.int32),
        value,
    )


def _array(data: bytes, dtype: str, name: str, length: int | None = None) -> NDArray[Any]:
    """Return an array of the machine's own byte order, writable."""
    kind = np.dtype(dtype)
    if len(data) % kind.itemsize or (length is not None and len(data) != length * kind.itemsize):
        raise BadTrees(f"expected an entry for each of what there is, got another length - at $.trees.{name}")
    return np.frombuffer(data, kind).astype(kind.newbyteorder("="))


def _counted(nodes: I64, leaves: I64) -> I64:
    """Return the tree of each inner node, shape (nodes,)."""
    if not 1 <= len(nodes) - 1 <= MOST_TREES or len(leaves) != len(nodes):
        raise BadTrees(f"expected 1 to {MOST_TREES:,} trees, got another number - at $.trees.nodes")
    if nodes[0] != 0 or leaves[0] != 0 or nodes[-1] > MOST_NODES:
        raise BadTrees(f"expected places from 0, {MOST_NODES:,} at the most, got others - at $.trees.nodes")
    count = np.diff(nodes)
    if (count < 0).any() or (np.diff(leaves) != count + 1).any():
        raise BadTrees("expected one leaf more than inner nodes in each tree, got another number - at $.trees.leaves")
    return np.repeat(np.arange(len(count)), count)


def _linked(left: I64, right: I64, nodes: I64, leaves: I64, of_tree: I64) -> tuple[I64, I64]:
    """Return children numbered through all trees.

    Every child has a greater number than its parent, and every node but the roots and every leaf is the child of one:
    so all are reached from the root, and none twice.
    """
    at = np.arange(len(left)) - nodes[of_tree]
    count = nodes[of_tree + 1] - nodes[of_tree]
    found = []
    for name, child in (("left", left), ("right", right)):
        inner = child >= 0
        if (inner & ((child <= at) | (child >= count))).any():
            raise BadTrees(f"expected a later node of the same tree, got another - at $.trees.{name}")
        if (~inner & (-1 - child > count)).any():
            raise BadTrees(f"expected a leaf of the same tree, got another - at $.trees.{name}")
        found.append(np.where(inner, child + nodes[of_tree], child - leaves[of_tree]))
    children = np.concatenate(found)
    if len(np.unique(children)) != len(children):
        raise BadTrees("expected each node and each leaf once, got one twice - at $.trees.right")
    return found[0], found[1]
