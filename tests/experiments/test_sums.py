"""Sums against exact rational arithmetic, however units are split and whatever their size."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sums import COLUMNS, PAIRS, Sums
from operators.state import pack, unpack

numbers = st.one_of(
    st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12),
    st.integers(-5, 5).map(float),
    st.floats(1e9, 1e9 + 1),
)
units = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=40)


def sums_of(rows):
    sums = Sums((1,))
    sums.add(np.zeros(len(rows), np.int64), np.array(rows, float).reshape(-1, 4))
    return sums


def exact_sums(rows):
    """Return each column as a fraction, and the sum of sizes that its rounding is measured by."""
    exact = [[Fraction(value) for value in row] for row in rows]
    terms = [[Fraction(1)] * len(rows)]
    terms += [[row[i] for row in exact] for i in range(4)]
    terms += [[row[i] * row[j] for row in exact] for i, j in PAIRS]
    return [sum(column) for column in terms], [sum(map(abs, column)) for column in terms]


def as_fractions(sums):
    return [Fraction(float(high)) + Fraction(float(low)) for high, low in zip(sums.high[0], sums.low[0], strict=True)]


def exact_moments(rows):
    n = len(rows)
    exact = [[Fraction(value) for value in row] for row in rows]
    means = [sum(row[i] for row in exact) / n for i in range(4)]
    covariance = [
        [sum((row[i] - means[i]) * (row[j] - means[j]) for row in exact) / (n - 1) for j in range(4)] for i in range(4)
    ]
    return np.array(means, float), np.array(covariance, float)


@given(units)
def test_a_sum_keeps_twice_the_digits_of_a_float(rows):
    for got, exact, size in zip(as_fractions(sums_of(rows)), *exact_sums(rows), strict=True):
        assert abs(got - exact) <= Fraction(1, 10**28) * size


@given(units, st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False))
def test_parts_in_any_order_add_up_to_the_whole(rows, cuts, random):
    edges = [0, *sorted(min(at, len(rows)) for at in cuts), len(rows)]
    parts = [sums_of(rows[start:end]) for start, end in itertools.pairwise(edges)]
    random.shuffle(parts)
    merged = sum(parts[1:], start=parts[0])

    for got, exact, size in zip(as_fractions(merged), *exact_sums(rows), strict=True):
        assert abs(got - exact) <= Fraction(1, 10**28) * size
    whole = sums_of(rows)
    assert merged.high + merged.low == pytest.approx(whole.high + whole.low, rel=1e-12, abs=1e-12)


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 4), min_size=2, max_size=40), st.sampled_from([0.0, 1e3, 1e9]))
def test_moments_are_those_of_exact_arithmetic_far_from_zero_too(rows, offset):
    rows = [[value + offset for value in row] for row in rows]
    means, covariance = exact_moments(rows)
    half = len(rows) // 2
    got = (sums_of(rows[:half]) + sums_of(rows[half:])).moments()

    assert got.n == len(rows)
    assert got.means[0] == pytest.approx(means, rel=1e-14, abs=1e-300)
    # Of the 30 digits of a sum of squares around 1e18 * n, 12 are left of a variance around 1e-6.
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert (np.abs(got.covariance[0] - covariance) <= 1e-12 * spread + 1e-13 * np.abs(means.max()) ** 2 * 1e-15).all()


def test_the_textbook_formula_would_fail_where_ours_does_not():
    """Deviations of -1, 0 and 1 from 1e9: the variance is 1; in plain floats the sums give 0 or 192."""
    rows = [[1e9 + step, 1.0, 0.0, 1.0] for step in (-1, 0, 1)]
    y = np.array(rows)[:, 0]
    plain = (np.dot(y, y) - y.sum() ** 2 / 3) / 2

    assert abs(plain - 1) > 0.5
    assert sums_of(rows).moments().covariance[0, 0, 0] == 1.0


def test_a_million_small_values_after_a_large_one_are_not_lost():
    """2^53 and a million ones: a plain float stays where it is."""
    values = np.zeros((1_000_001, 4))
    values[0, 0], values[1:, 0] = 2.0**53, 1.0
    sums = Sums((1,))
    sums.add(np.zeros(len(values), np.int64), values)

    assert as_fractions(sums)[1] == 2**53 + 1_000_000


def test_units_go_to_their_own_arm_of_their_own_experiment():
    rng = np.random.default_rng(1)
    where = rng.integers([3, 2, 4], size=(500, 3))
    values = rng.normal(size=(500, 4))
    sums = Sums((3, 2, 4))
    sums.add(np.ravel_multi_index(where.T, (3, 2, 4)), values)

    for at in np.ndindex(3, 2, 4):
        mine = values[(where == at).all(axis=1)]
        assert sums.moments().n[at] == len(mine)
        assert sums.moments().means[at] == pytest.approx(mine.mean(axis=0), abs=1e-15)
        assert sums.moments().covariance[at] == pytest.approx(np.cov(mine.T), abs=1e-14)


def test_what_is_not_known_yet_is_nan_not_0():
    none, one = Sums((1,)).moments(), sums_of([[1, 1, 1, 1]]).moments()

    assert np.isnan(none.means).all()
    assert np.isnan(none.covariance).all()
    assert one.means.tolist() == [[1, 1, 1, 1]]
    assert np.isnan(one.covariance).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e76])
def test_a_value_that_would_poison_the_sums_is_refused_before_anything_is_added(value):
    sums = sums_of([[1, 1, 1, 1]])
    before = sums.high.copy()
    with pytest.raises(ValueError, match=r"expected finite values of size 1e\+75 at most"):
        sums.add(np.zeros(2, np.int64), np.array([[2, 1, 1, 1], [1, 1, value, 1]], float))

    assert (sums.high == before).all()


@pytest.mark.parametrize("cell", [-1, 2])
def test_an_arm_that_does_not_exist_is_refused(cell):
    with pytest.raises(ValueError, match="expected cells from 0 to 1"):
        Sums((2,)).add(np.array([cell]), np.ones((1, 4)))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"expected cells \(m,\) and values \(m, 4\), got \(2,\) and \(2, 3\)"):
        Sums((2,)).add(np.zeros(2, np.int64), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"expected sums of shape \(2,\), got \(3,\)"):
        Sums((2,)) + Sums((3,))
    with pytest.raises(ValueError, match="expected sums of shape"):
        Sums((2,)).load(Sums((3,)).dump())


def test_the_greatest_values_stay_finite():
    sums = sums_of([[1e75] * 4, [-1e75] * 4])

    assert np.isfinite(sums.moments().covariance).all()


def test_sums_survive_a_snapshot():
    sums = sums_of([[0.1, 1, 1e17, 1], [0.2, 1, 1, 1]])
    back = Sums((1,))
    back.load(unpack(pack(sums.dump())))

    assert (back.high == sums.high).all()
    assert (back.low == sums.low).all()
    assert back.low.any()


def test_adding_touches_neither_part():
    one, other = sums_of([[1, 2, 3, 4]]), sums_of([[5, 6, 7, 8]])
    one + other

    assert (one.high == sums_of([[1, 2, 3, 4]]).high).all()
    assert one.high.shape == (1, COLUMNS)
