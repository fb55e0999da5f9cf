"""Contributions: a small forest by hand, both scores against River's and Tan's definitions, and exact sums."""

import math

import numpy as np
import pytest

from operators.explain.contributions import greatest, of_families, shares, telescope


def contributions(statistic, steps, columns, masses, height, window, features=3):
    found = np.zeros(features)
    scale = greatest(statistic, len(steps), height, window)
    arrays = (np.array(steps, "u1"), np.array(columns, "u2"), np.array(masses, "i4"))
    return found, telescope(*arrays, height, statistic == "river", scale, found)


def test_one_tree_of_log_mass_by_hand():
    # A window of 7, two levels. Worths: log2(7 + 1) = 3; after the split on 1: log2(3.5 * 2...): mass 1, u = 2,
    # log2(3); after the split on 0: mass 0, u = 0, worth 0. Greatest: log2(7 * 4 + 1).
    found, base = contributions("log_mass", [2], [1, 0], [7, 1, 0], 2, 7)
    scale = math.log2(29)

    assert base == pytest.approx(1 - 3 / scale, abs=1e-15)
    assert found.tolist() == pytest.approx([math.log2(3) / scale, (3 - math.log2(3)) / scale, 0.0], abs=1e-15)


def test_one_tree_of_river_by_hand():
    # A window of 8, two levels; greatest 8 * 7 = 56. Worth of the root: 8 + 2 * 8 = 24. After the split on 2 (mass 1,
    # u = 2): 8 + 2 + 1 * 2 = 12. After the split on 0 (mass 1, u = 4) the leaf: 8 + 2 + 4 = 14.
    found, base = contributions("river", [2], [2, 0], [8, 1, 1], 2, 8)

    assert base == pytest.approx(1 - 24 / 56)
    assert found.tolist() == pytest.approx([-2 / 56, 0.0, 12 / 56])


def test_a_river_walk_that_stops_early_gives_what_it_leaves_out_to_the_last_split():
    # As above, stopped at the first node: the sum is 8 + 2, 14 less than the root's 24.
    found, _ = contributions("river", [1], [2], [8, 1], 2, 8)

    assert found.tolist() == pytest.approx([0.0, 0.0, 14 / 56])


def test_trees_add_up():
    # The walk of the first test, and one that does not leave its root.
    found, base = contributions("log_mass", [2, 0], [1, 0], [7, 1, 0, 7], 2, 7)
    scale = 2 * math.log2(29)

    assert base == pytest.approx(1 - 6 / scale)
    assert found.sum() == pytest.approx(3 / scale)


def scores(statistic, steps, masses, height, window):
    """The score by its definition, tree by tree."""
    at, total = 0, 0.0
    for depth in steps:
        walk = masses[at : at + depth + 1]
        if statistic == "river":
            total += sum(mass * 2**j for j, mass in enumerate(walk))
        else:
            total += math.log2(walk[-1] * 2**depth + 1)
        at += depth + 1
    per_tree = window * (2 ** (height + 1) - 1) if statistic == "river" else math.log2(window * 2**height + 1)
    return 1 - total / len(steps) / per_tree


@pytest.mark.parametrize("statistic", ["log_mass", "river"])
@pytest.mark.parametrize("seed", range(20))
def test_base_and_contributions_sum_to_the_score(statistic, seed):
    rng = np.random.default_rng(seed)
    height, window = int(rng.integers(1, 16)), 1000
    steps = rng.integers(0, height + 1, 25).tolist()
    masses = [mass for depth in steps for mass in -np.sort(-rng.integers(0, window, depth + 1))]
    columns = rng.integers(0, 51, sum(steps))

    found, base = contributions(statistic, steps, columns, masses, height, window, 51)

    assert base + found.sum() == pytest.approx(scores(statistic, steps, masses, height, window), abs=1e-12)


def test_a_family_speaks_with_its_strongest_feature_and_of_equals_with_the_first():
    tails = np.array([0.5, 0.1, 0.1, 1.0, 0.25])

    nats = of_families(tails, np.array([0, 0, 0, 1, 2]))

    assert nats.tolist() == pytest.approx([0.0, math.log(10), 0.0, 0.0, math.log(4)])


def test_shares_by_hand():
    # The forest led 0.25: of it feature 0 has 3 of 4 parts (feature 2 made the event more usual); of the evidence,
    # 0.75, feature 1 has 2 of 3 parts and feature 2 one.
    found = shares(np.array([0.0, 2.0, 1.0]), np.array([0.3, 0.1, -0.2]), 0.25)

    assert found.tolist() == pytest.approx([0.1875, 0.0625 + 0.5, 0.25])


def test_what_nobody_contributed_to_is_divided_among_nobody():
    assert shares(np.zeros(2), np.array([0.3, 0.1]), 0.6).tolist() == pytest.approx([0.45, 0.15])
