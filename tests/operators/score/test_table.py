"""A table's models: limits from the first window, warming, cuts, and no look-ahead."""

import math

import numpy as np
import pytest

from operators.score import GateConfig, Table, TableConfig

SMALL = TableConfig(trees=5, height=6, window=100, half_life=1000, refresh=20, gate=GateConfig(relearn_users=1))


def rows(seed, n):
    rng = np.random.default_rng(seed)
    made = rng.normal([0.0, 100.0, -5.0], [1.0, 30.0, 0.1], (n, 3))
    made[::23] = rng.uniform(-300, 300, (len(made[::23]), 3))
    return made


def test_the_first_window_is_unknown():
    scores = Table(3, config=SMALL).score_then_learn(rows(1, 300))

    assert np.isnan(scores.forest).tolist() == [True] * 100 + [False] * 200
    assert np.isnan(scores.evidence).tolist() == [True] * 100 + [False] * 200
    assert np.isnan(scores.score).tolist() == [True] * 100 + [False] * 200


@pytest.mark.parametrize("seed", [1, 2])
def test_cuts_do_not_matter(seed):
    table = rows(seed, 700)
    whole = Table(3, config=SMALL).score_then_learn(table)
    pieces = Table(3, config=SMALL)
    places = np.sort(np.random.default_rng(seed).integers(0, 700, 40))
    parts = [pieces.score_then_learn(part) for part in np.split(table, places)]

    for expected, got in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(np.concatenate(got), expected, equal_nan=True)


def test_what_comes_later_changes_no_earlier_score():
    table, other = rows(3, 600), rows(3, 600)
    other[400:] *= 1e6
    for one, another in zip(
        Table(3, config=SMALL).score_then_learn(table), Table(3, config=SMALL).score_then_learn(other), strict=True
    ):
        assert np.array_equal(one[:400], another[:400], equal_nan=True)


def test_limits_are_the_first_windows_range_padded_by_half_of_it():
    # 0 to 1 in the first window: limits -0.5 and 1.5; what lies beyond is as far away as the limit.
    first = np.linspace(0.0, 1.0, 100)[:, None]
    asked = np.array([[-0.5], [-9.0], [1.5], [1e300], [1.4]])
    table = Table(1, config=SMALL)
    table.score_then_learn(first)

    scores = table.score_then_learn(asked).forest

    assert scores[0] == scores[1]
    assert scores[2] == scores[3]
    assert (table._low[0], table._width[0]) == (-0.5, 2.0)


def test_a_column_that_was_constant_still_tells_another_value():
    first = np.column_stack([np.full(100, 7.0), np.linspace(0, 1, 100)])
    table = Table(2, config=SMALL)
    table.score_then_learn(first)

    usual, other = table.score_then_learn(np.array([[7.0, 0.5], [9.0, 0.5]])).forest

    assert other > usual


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_row_that_is_not_finite_is_unknown_and_teaches_nothing(broken):
    table = rows(4, 500)
    with_broken = np.insert(table, [30, 300], broken, axis=0)
    expected = Table(3, config=SMALL).score_then_learn(table)

    for one, another in zip(expected, Table(3, config=SMALL).score_then_learn(with_broken), strict=True):
        assert math.isnan(another[301])
        assert np.array_equal(np.delete(another, [30, 301]), one, equal_nan=True)


def test_another_number_of_columns_is_refused():
    with pytest.raises(ValueError, match=r"expected shape \(n, 3\), got \(5, 2\) - at rows"):
        Table(3).score_then_learn(np.zeros((5, 2)))
