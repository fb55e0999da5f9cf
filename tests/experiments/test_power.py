"""Power against published numbers: GrowthBook, Spotify, and the textbook of Chow, Shao and Wang."""

import numpy as np
import pytest
from gbstats import pair
from hypothesis import given
from hypothesis import strategies as st

from experiments.effects import means, relative
from experiments.intervals import half_width, precision
from experiments.power import (
    Plan,
    correlation,
    detectable,
    power,
    proportion_variances,
    relative_variances,
    units_needed,
    with_covariate,
)

UNIT = Plan(1.0, 1.0)


def shares_of(n_a, n_b):
    return n_b / (n_a + n_b), n_a + n_b


# GrowthBook, gbstats mid-experiment power: A(500, 1500, 500), B(525, 1551.25, 500), relative MDE .05


@pytest.mark.parametrize(("tuning", "more"), [(None, 25.45703125), (5000.0, 55.66796875)])
def test_growthbook_mid_experiment(tuning, more):
    """`more` times the 1,000 users there are must be added for .8; their search stops within 1e-5 of that power."""
    a, b = pair(means, {"n": 500, "y": 500, "yy": 1500}, {"n": 500, "y": 525, "yy": 1551.25})
    of_a, of_b = relative_variances(1.0, float(a.variance), float(b.variance), 0.05)
    plan, units = Plan(of_a, of_b, tuning=tuning), 1000 * (1 + more)

    assert of_a / 500 + of_b / 500 == pytest.approx(float(relative(a, b).variance), rel=1e-12)
    assert power(plan, 0.05, units) == pytest.approx(0.8, abs=1.1e-5)
    assert units_needed(plan, 0.05) == pytest.approx(units, rel=1e-4)


# Spotify, confidence: power of z-tests


def test_spotify_proportions_of_unequal_arms():
    """MDE .01 of .34 at alpha .03 with 225,725 and 22,572: .80, to .005."""
    share_b, units = shares_of(225_725, 22_572)

    assert power(Plan(*proportion_variances(0.34, 0.01), share_b, 0.03), 0.01, units) == pytest.approx(0.80, rel=0.005)
    same = Plan(0.34 * 0.66, 0.34 * 0.66, share_b, 0.03)
    assert power(same, 0.01, units) == pytest.approx(0.80341, abs=5e-6)


def test_spotify_means():
    """MDE .03, variance 45, 859,896 in each arm: .8345828, which leaves out the 5e-7 of the other side."""
    assert power(Plan(45.0, 45.0), 0.03, 2 * 859_896) == pytest.approx(0.8345828, abs=6e-7)


# Chow, Shao, Wang, Sample Size Calculations in Clinical Research


def test_the_textbook_on_means():
    """Section 3.2: means 5 and 10 of deviation 10, alpha .05, power .8: 63 in each arm."""
    assert units_needed(Plan(100.0, 100.0), 5.0) == 2 * 63


def test_the_textbook_on_proportions():
    """Section 4.2: .65 against .85, alpha .05, power .8: 70 in each arm (69.7)."""
    needed = units_needed(Plan(*proportion_variances(0.65, 0.2)), 0.2)

    assert 2 * 69 < needed <= 2 * 70


def test_arms_of_unequal_size_by_hand():
    """(1.959964 + 0.841621)^2 = 7.848880; at 9 to 1 times (1 / .9 + 1 / .1) over .1^2: 8,721 against 3,140 at half."""
    assert units_needed(UNIT._replace(share_b=0.1), 0.1) == 8721
    assert units_needed(UNIT, 0.1) == 3140


# What must hold


def test_without_an_effect_power_is_the_error_rate():
    assert power(UNIT, 0.0, 1234) == pytest.approx(0.05, abs=1e-12)


def test_a_sequential_test_needs_more_units_for_what_it_gives():
    """The width at N is 1.549 to 1.72 times that of the fixed test: so of a normal power of .8 about twice as many."""
    fixed, sequential = units_needed(UNIT, 0.1), units_needed(UNIT._replace(tuning=5000.0), 0.1)

    assert 1.8 < sequential / fixed < 2.3


def test_power_is_what_a_simulation_finds():
    """100,000 estimates at the last look, for a fixed and a sequential test; four standard errors of .005."""
    rng = np.random.default_rng(1)
    n, variance = 4000, 1 / 1000
    estimates = rng.normal(0.1, variance**0.5, 100_000)
    half = half_width(
        relative(*pair(means, {"n": 2, "y": 2, "yy": 2}, {"n": 2, "y": 2, "yy": 2}))._replace(
            estimate=np.float64(0.1), variance=np.float64(variance), n=np.float64(n)
        ),
        0.05,
        precision(0.05, 3000),
    )

    assert power(UNIT._replace(tuning=3000.0), 0.1, n) == pytest.approx(np.mean(np.abs(estimates) > half), abs=0.006)
    assert power(UNIT, 0.1, n) == pytest.approx(np.mean(np.abs(estimates) > 1.959964 * variance**0.5), abs=0.006)


@given(
    st.floats(0.1, 10),
    st.floats(0.1, 10),
    st.floats(0.05, 0.95),
    st.floats(0.01, 2),
    st.sampled_from([None, 500.0, 50_000.0]),
    st.floats(0.5, 0.95),
)
def test_the_units_needed_are_the_fewest(variance_a, variance_b, share_b, effect, tuning, target):
    plan = Plan(variance_a, variance_b, share_b, tuning=tuning)
    units = units_needed(plan, effect, target)

    assert power(plan, effect, units) >= target
    assert units == 2 or power(plan, effect, units - 1) < target


@given(st.floats(0.1, 10), st.integers(10, 10**7), st.sampled_from([None, 5000.0]), st.floats(0.5, 0.95))
def test_the_detectable_effect_is_found_with_the_power_asked_for(variance, units, tuning, target):
    plan = Plan(variance, variance, tuning=tuning)

    assert power(plan, detectable(plan, units, target), units) == pytest.approx(target, abs=1e-9)


def test_a_covariate_saves_units_by_the_square_of_its_correlation():
    """By hand: of correlation .6 a share of .36 is saved, so 64 % of 3,140 units are needed: 2,010."""
    variance = with_covariate(1.0, 0.6)

    assert variance == pytest.approx(0.64)
    assert units_needed(Plan(variance, variance), 0.1) == 2010


def test_the_correlation_is_that_of_the_units():
    x, y = np.array([1.0, 2, 3, 5]), np.array([2.0, 1, 4, 4])
    row = {"n": 4, "y": y.sum(), "yy": y @ y, "x": x.sum(), "xx": x @ x, "yx": x @ y}
    flat = {"n": 4, "y": 4, "yy": 4}

    assert correlation(pair(means, row, flat)[0]) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlation(pair(means, row, flat)[1]) == 0.0


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: power(Plan(0.0, -1.0, 1.5, 0.0, 0.0), 1, 10), "variance_a == 0.0, must be > 0; variance_b == -1.0"),
        (lambda: power(Plan(0.0, -1.0, 1.5, 0.0, 0.0), 1, 10), "between 0 and 1; tuning == 0.0, must be > 0"),
        (lambda: units_needed(UNIT, 0.0), "effect == 0.0, must not be 0"),
        (lambda: units_needed(UNIT, 0.1, 0.04), "target == 0.04, must be between alpha == 0.05 and 1"),
        (lambda: units_needed(UNIT, 1e-9), "more than 1000000000000 units needed"),
        (lambda: detectable(UNIT, 100, 1.0), "target == 1.0, must be between"),
        (lambda: proportion_variances(0.95, 0.1), r"share \+ effect == 1.05, must be between 0 and 1"),
        (lambda: relative_variances(0.0, 1, 1, 0.1), "mean_a == 0.0, must be > 0"),
        (lambda: with_covariate(1.0, 1.5), "correlation == 1.5, must be from -1 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()
