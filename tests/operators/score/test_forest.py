"""The forest against River, which is driven beside it, and against a slow reading of River's own trees."""

import math
import random

import numpy as np
import pytest
from river.anomaly import HalfSpaceTrees
from river.tree.padded import PaddedBranch

from operators.score.forest import Forest

# Deliberately neither in order nor in the order of their lengths: River sorts by name.
NAMES = ["b", "a", "f10", "f2", "ip_entropy_1h", "z"]


def points(seed, n):
    """A crowd that moves on, lone points, corners, and places where every split's `<` is put to the test."""
    rng, columns = np.random.default_rng(seed), len(NAMES)
    rows = np.clip(rng.normal(np.linspace(0.2, 0.7, n)[:, None], 0.08, (n, columns)), 0, 1)
    rows[::17] = rng.random((len(rows[::17]), columns))
    rows[5::101] = 0.0
    rows[6::101] = 1.0
    return rows


def rivers(rows, names=NAMES):
    return [dict(zip(names, row.tolist(), strict=True)) for row in rows]


def heap(root):
    """Number River's nodes as a heap: root 1, children 2k and 2k + 1."""
    nodes, waiting = {}, [(1, root)]
    while waiting:
        k, node = waiting.pop()
        nodes[k] = node
        if isinstance(node, PaddedBranch):
            waiting += [(2 * k, node.children[0]), (2 * k + 1, node.children[1])]
    return nodes


def taught(rows):
    return np.ones(len(rows), bool)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**40])
def test_the_same_seed_grows_the_trees_that_river_grows(seed):
    ours = Forest(NAMES, trees=5, height=6, seed=seed)
    theirs = HalfSpaceTrees(n_trees=5, height=6, seed=seed)
    theirs.learn_one(dict.fromkeys(NAMES, 0.5))

    for t, tree in enumerate(theirs.trees):
        inner = {k: node for k, node in heap(tree).items() if isinstance(node, PaddedBranch)}

        assert {k: node.feature for k, node in inner.items()} == {
            k: NAMES[ours.split_feature[t, k]] for k in range(1, 64)
        }
        assert {k: node.threshold for k, node in inner.items()} == {k: ours.split_at[t, k] for k in range(1, 64)}


@pytest.mark.parametrize(
    ("trees", "height", "window", "n"),
    [(25, 8, 100, 3000), (10, 5, 7, 3000), (3, 1, 250, 2000), (1, 10, 33, 1500), (25, 8, 1000, 4500)],
)
def test_the_river_score_equals_rivers_to_the_last_bit(trees, height, window, n):
    ours = Forest(NAMES, trees=trees, height=height, window=window, seed=7, statistic="river")
    theirs = HalfSpaceTrees(n_trees=trees, height=height, window_size=window, seed=7)
    rows = points(3, n)
    # A value equal to a threshold goes right.
    for i in range(0, n, 13):
        t, k = i % trees, 1 + i % ((1 << height) - 1)
        rows[i, ours.split_feature[t, k]] = ours.split_at[t, k]

    expected = []
    for x in rivers(rows):
        expected.append(theirs.score_one(x))
        theirs.learn_one(x)
    got = ours.score_then_learn(rows, taught(rows)).score

    assert np.isnan(got[:window]).all()  # River says 0 here, its safest value
    assert got[window:].tolist() == expected[window:]
    assert len(set(expected[window:])) > 30


def test_masses_equal_rivers_after_every_pivot():
    window = 40
    ours = Forest(NAMES, trees=4, height=5, window=window, seed=3)
    theirs = HalfSpaceTrees(n_trees=4, height=5, window_size=window, seed=3)
    rows = points(5, 10 * window)

    for first in range(0, len(rows), window):
        part = rows[first : first + window]
        ours.score_then_learn(part, taught(part))
        for x in rivers(part):
            theirs.learn_one(x)

        for t, tree in enumerate(theirs.trees):
            for k, node in heap(tree).items():
                depth = k.bit_length() - 1
                below = 1 << (5 - depth)  # leaves under node k
                start = k * below - 32
                assert node.r_mass == ours.reference[t, start : start + below].sum()


def log_mass(theirs, x):
    """The formula of the module, walked over River's nodes."""
    total = 0.0
    for root in theirs.trees:
        node, depth = root, 0
        while depth < theirs.height and node.r_mass >= theirs.size_limit:
            node = node.children[0] if x[node.feature] < node.threshold else node.children[1]
            depth += 1
        total += math.log2(node.r_mass * 2**depth + 1)
    return 1 - total / theirs.n_trees / math.log2(theirs.window_size * 2**theirs.height + 1)


@pytest.mark.parametrize(("height", "window"), [(8, 100), (4, 9), (6, 500)])
def test_log_mass_equals_its_formula_over_rivers_masses(height, window):
    ours = Forest(NAMES, trees=6, height=height, window=window, seed=11)
    theirs = HalfSpaceTrees(n_trees=6, height=height, window_size=window, seed=11)
    rows = points(8, 2000)

    expected = []
    for i, x in enumerate(rivers(rows)):
        expected.append(log_mass(theirs, x) if i >= window else math.nan)
        theirs.learn_one(x)

    assert ours.score_then_learn(rows, taught(rows)).score == pytest.approx(np.array(expected), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("statistic", ["log_mass", "river"])
def test_a_lone_point_scores_above_the_crowd(statistic):
    rng = random.Random(4)
    crowd = np.array([[rng.gauss(0.3, 0.02) for _ in NAMES] for _ in range(2000)])
    forest = Forest(NAMES, statistic=statistic)
    forest.score_then_learn(crowd, taught(crowd))
    asked = np.vstack([crowd[-200:], np.full((1, len(NAMES)), 0.95)])

    scores = forest.score_then_learn(asked, np.zeros(len(asked), bool)).score

    assert scores[-1] > scores[:-1].max()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_score_is_nan_until_as_many_points_as_a_window_were_taught():
    forest = Forest(NAMES, trees=2, height=3, window=10)
    rows = points(1, 40)
    teach = np.arange(40) % 2 == 0  # the tenth taught point is number 18

    scores = forest.score_then_learn(rows, teach).score

    assert np.isnan(scores).tolist() == [True] * 19 + [False] * 21


def test_a_point_that_may_not_teach_changes_nothing():
    forest = Forest(NAMES, trees=3, height=4, window=20)
    rows = points(2, 55)
    forest.score_then_learn(rows, taught(rows))
    before = {name: value.tolist() for name, value in forest.dump().items()}

    forest.score_then_learn(points(9, 500), np.zeros(500, bool))

    assert {name: value.tolist() for name, value in forest.dump().items()} == before


def test_a_dump_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected shape \(3, 16\), got \(2, 16\) - at forest.split_feature"):
        Forest(NAMES, trees=3, height=4).load(Forest(NAMES, trees=2, height=4).dump())


def test_loading_takes_over_the_trees_of_the_dump():
    old, new = Forest(NAMES, trees=3, height=4, window=20, seed=1), Forest(NAMES, trees=3, height=4, window=20, seed=2)
    rows = points(2, 100)
    old.score_then_learn(rows, taught(rows))
    new.load(old.dump())

    assert (new.score_then_learn(rows, taught(rows)).score == old.score_then_learn(rows, taught(rows)).score).all()
