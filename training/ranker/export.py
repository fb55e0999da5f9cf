"""LightGBM's trees as `schemas.ranker.Trees`.

LightGBM compares doubles: at or below the threshold goes left. What it does with NaN depends on the node
(`include/LightGBM/tree.h`, `NumericalDecision`): where training saw some, the side that training chose; where it saw
none, NaN is 0. Both are one bit for each node here. Where 0 stands for missing (`zero_as_missing`) it is not; nor are
categories and linear leaves: such models are refused.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.ranker import Trees

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_NO_MISSING, _ZERO_MISSING = 0, 1
_GREATEST: Final = 1e300  # LightGBM's own bound of thresholds


class Inexportable(ValueError):
    """A model that no record can hold; the text says why."""


def trees_of(booster: Any, trees: int | None = None) -> Trees:
    """Return a booster's trees.

    Args:
        booster: a `lightgbm.Booster`.
        trees: of the first so many; None: all.

    Raises:
        Inexportable: it is a model of a kind that is not known here.
    """
    text = booster.model_to_string(num_iteration=-1 if trees is None else trees)
    head, *each = text.split("\nTree=")
    if "num_tree_per_iteration=1\n" not in head + "\n" or "\naverage_output" in head:
        raise Inexportable("expected one tree at a time whose leaves are added, got another kind of model")
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in Trees.__struct_fields__[2:]}
    nodes, leaves = [0], [0]
    for one in each:
        tree = dict(_fields(one))
        count = int(tree["num_leaves"])
        nodes.append(nodes[-1] + count - 1)
        leaves.append(leaves[-1] + count)
        for name, column in _columns(tree).items():
            columns[name].append(column)
    if len(nodes) == 1:
        raise Inexportable("expected trees, got none")
    if not all(np.isfinite(column).all() for column in columns["value"]):
        raise Inexportable("expected finite leaves, got others")
    return Trees(
        nodes=np.array(nodes, "<i4").tobytes(),
        leaves=np.array(leaves, "<i4").tobytes(),
        **{name: np.concatenate(column).tobytes() for name, column in columns.items()},
    )


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of the lines of one tree, up to the empty line that ends it."""
    for line in text.split("\n\n", 1)[0].splitlines()[1:]:
        name, _, value = line.partition("=")
        yield name, value


def _columns(tree: dict[str, str]) -> dict[str, NDArray[Any]]:
    if tree.get("is_linear", "0") != "0":
        raise Inexportable("expected leaves that are numbers, got linear ones (linear_tree)")
    kind = _numbers(tree, "decision_type", "<i4")
    missing = (kind >> 2) & 3
    if int(tree.get("num_cat", "0")) or (kind & _CATEGORICAL).any():
        raise Inexportable("expected features that are numbers, got categories (categorical_feature)")
    if (missing == _ZERO_MISSING).any():
        raise Inexportable("expected NaN for what is not known, got 0 (zero_as_missing)")
    threshold = np.clip(_numbers(tree, "threshold", "<f8"), -_GREATEST, _GREATEST)
    missing_left = np.where(missing == _NO_MISSING, threshold >= 0.0, (kind & _DEFAULT_LEFT) != 0)
    return {
        "feature": _numbers(tree, "split_feature", "<i4"),
        "threshold": threshold,
        "missing_left": missing_left.astype("u1"),
        "left": _numbers(tree, "left_child", "<i4"),
        "right": _numbers(tree, "right_child", "<i4"),
        "value": _numbers(tree, "leaf_value", "<f8"),
    }


def _numbers(tree: dict[str, str], name: str, dtype: str) -> NDArray[Any]:
    # NumPy's own reading of text is that of Python: written with 17 digits, a double comes back as it was.
    return np.array(tree.get(name, "").split(), np.float64).astype(dtype)
