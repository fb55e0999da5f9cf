"""Whole experiments against published numbers, simulated ones, and what must hold of several arms and of lifts."""

import numpy as np
import pytest
from gbstats import pair
from hypothesis import given
from hypothesis import strategies as st

from experiments.effects import Effect, means, relative
from experiments.intervals import half_width, normal_half_width, precision
from experiments.planning import (
    Design,
    Metric,
    arms_needed,
    chosen_tuning,
    effect_plan,
    lift_plan,
    size_found,
    tuning_at,
)
from experiments.power import power

UNIT = Metric(1.0, 1.0)
HALVES = Design()
THREE = Design((0.5, 0.3, 0.2))


def found_at(tuning, n_a, n_b, difference, variance):
    """Return which of the simulated experiments find their effect at their one look."""
    seen = Effect(difference, variance, np.float64(n_a + n_b), np.float64(1e9))
    half = normal_half_width(seen, 0.05) if tuning is None else half_width(seen, 0.05, precision(0.05, tuning))
    return np.abs(difference) > half


@pytest.mark.parametrize("tuning", [None, 3000.0])
def test_experiments_on_conversion_find_their_effect_as_often_as_planned(tuning):
    """20,000 experiments, 30 % against 36 %, two units of A for one of B; four standard errors are .011."""
    design = Design((2 / 3, 1 / 3))
    n_a, n_b = arms_needed(effect_plan, Metric(0.3, 0.21, binary=True), design, 0.06, tuning)
    rng = np.random.default_rng(3)
    a, b = rng.binomial(n_a, 0.3, 20_000) / n_a, rng.binomial(n_b, 0.36, 20_000) / n_b
    found = found_at(tuning, n_a, n_b, b - a, a * (1 - a) / n_a + b * (1 - b) / n_b)

    assert found.mean() == pytest.approx(0.8, abs=0.015)


@pytest.mark.parametrize("tuning", [None, 300.0])
def test_experiments_with_a_covariate_find_their_effect_as_often_as_planned(tuning):
    """2,000 experiments of normal units, correlation .8, effect .3; 4 standard errors are .036."""
    n, other = arms_needed(effect_plan, UNIT, Design(correlation=0.8), 0.3, tuning)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 2000, n))
    y = 0.8 * x + 0.6 * rng.normal(size=x.shape) + np.array([0.0, 0.3])[:, None, None]
    left = y - 0.8 * x
    difference = left[1].mean(axis=1) - left[0].mean(axis=1)
    found = found_at(tuning, n, n, difference, left.var(axis=2, ddof=1).sum(axis=0) / n)

    assert n == other
    assert found.mean() == pytest.approx(0.8, abs=0.036)


def test_the_smallest_arm_decides():
    """By hand: 7.848880 / .1^2 (1 / .2 + 1 / .5) = 5,494.2 units, so 2,747.1 / 1,648.3 / 1,098.8."""
    assert arms_needed(effect_plan, UNIT, THREE, 0.1, None) == (2748, 1649, 1099)


@pytest.mark.parametrize("arms", [2, 3, 49])
def test_what_divides_is_not_rounded_up(arms):
    """Chow, Shao, Wang, 3.2: 63 in each arm, though as floats 126 / (2 / 49) / 49 is more than 63."""
    assert arms_needed(effect_plan, UNIT, Design((1 / arms,) * arms), 0.5, None) == (63,) * arms


def test_an_effect_is_found_when_every_arm_finds_it():
    size = size_found(effect_plan, UNIT, THREE, 6000, None)
    powers = [power(effect_plan(UNIT, THREE, arm, size, None), size, 6000 * THREE.pair(arm)) for arm in (1, 2)]

    assert powers[0] > 0.8
    assert powers[1] == pytest.approx(0.8, abs=1e-9)


kinds = st.sampled_from([effect_plan, lift_plan])
metrics = st.one_of(
    st.tuples(st.floats(0.5, 20), st.floats(0.1, 30)).map(lambda given: Metric(*given)),
    st.floats(0.01, 0.9).map(lambda p: Metric(p, p * (1 - p), binary=True)),
)
designs = st.tuples(st.sampled_from([(0.5, 0.5), (0.9, 0.1), THREE.weights]), st.floats(0, 0.9)).map(
    lambda given: Design(given[0], correlation=given[1])
)


@given(kinds, metrics, designs, st.integers(10**5, 10**8), st.sampled_from([None, 20_000.0]))
def test_the_size_that_units_find_needs_these_units(kind, metric, design, units, tuning):
    size = size_found(kind, metric, design, units, tuning)

    assert sum(arms_needed(kind, metric, design, size, tuning)) == pytest.approx(units, rel=1e-4, abs=3)


@given(st.floats(-0.9, 1.0), st.floats(0, 0.95), st.floats(0.1, 10))
def test_the_quotient_is_planned_as_the_readout_has_it(lift, correlation, variance):
    """The variance of A by `effects.relative` with theta = r and a covariate of the same variance; B's likewise."""
    n, r = 1000.0, correlation
    row = {"n": n, "x": 0.0, "xx": (n - 1) * variance, "yx": (n - 1) * r * variance}
    rows = [row | {"y": n * mean, "yy": (n - 1) * variance + n * mean**2} for mean in (1.0, 1.0 + lift)]
    quotient = float(relative(*pair(means, *rows), r).variance) * n
    plan = lift_plan(Metric(1.0, variance), Design(correlation=r), 1, lift, None)
    contrast = 2 * variance * (1 - r**2)

    assert plan.variance_a + plan.variance_b == pytest.approx(max(quotient, contrast), rel=1e-6)


def test_a_fall_takes_as_many_units_as_its_difference():
    """The quotient alone would say 1 + .5^2 instead of 2 variances, and the difference would be found too seldom."""
    assert arms_needed(lift_plan, UNIT, HALVES, -0.5, None) == arms_needed(effect_plan, UNIT, HALVES, -0.5, None)


def test_no_rate_rises_above_1():
    assert size_found(effect_plan, Metric(0.9, 0.09, binary=True), HALVES, 10, 5000.0) is None
    assert size_found(lift_plan, Metric(0.9, 0.09, binary=True), HALVES, 10, 5000.0) is None


def test_few_units_find_no_lift_of_a_metric_of_great_deviation():
    """10 units, variance 4 over a mean of 1: the quotient is at most 1 / sqrt(4 / 5) = 1.1 deviations from 0."""
    assert size_found(lift_plan, Metric(1.0, 4.0), HALVES, 10, None) is None
    assert size_found(effect_plan, Metric(1.0, 4.0), HALVES, 10, None) is not None


def test_the_chosen_tuning_is_near_the_units_of_the_smallest_pair_and_no_other_needs_fewer_by_much():
    tuning = chosen_tuning(effect_plan, UNIT, THREE, 0.1)
    pair_units = THREE.pair(2) * sum(arms_needed(effect_plan, UNIT, THREE, 0.1, tuning))
    others = [sum(arms_needed(effect_plan, UNIT, THREE, 0.1, tuning * factor)) for factor in (0.5, 0.8, 1, 1.25, 2)]

    assert tuning == pytest.approx(pair_units, rel=0.05)
    assert others[2] <= 1.001 * min(others)


def test_a_tuning_has_two_digits():
    assert [tuning_at(units) for units in (0.0, 14_512.3, 996)] == [2.0, 15_000.0, 1000.0]
