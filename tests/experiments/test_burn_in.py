"""How many units an arm needs before its first look counts, and what happens to those who do not wait."""

import math

import numpy as np
import pytest

from experiments.effects import Arms, absolute, means
from experiments.intervals import half_width, log_e_value, precision
from experiments.running import BURN_IN_EFFECTIVE, Running, conversions_missing, effective_missing, units_missing
from experiments.sums import Sums

ALPHA = 0.05
EXPERIMENTS = 2_000


def arms_of(values):
    sums = Sums((1,))
    ones = np.ones(len(values))
    sums.add(np.zeros(len(values), np.int64), np.stack([np.array(values, float), ones, 0 * ones, ones], axis=1))
    return means(sums.moments()).take(0)


def test_units_and_conversions_that_are_missing():
    """At least 100 units and 5 conversions: 40 are short of 60; 3 ones of 100 lack 2, and 2 zeros 3."""
    assert units_missing(np.array([0.0, 40.0, 100.0, 500.0])).tolist() == [100, 60, 0, 0]
    shares = np.array([0.03, 0.05, 0.5, 0.98, np.nan])
    assert conversions_missing(np.full(5, 100.0), shares).tolist() == [2, 0, 0, 3, 5]


@pytest.mark.parametrize(
    ("values", "size"), [([1] * 8 + [0] * 792, 8), ([3.0] * 15, 15), ([30.0, 40.0] + [0] * 400, 70**2 / 2500)]
)
def test_the_effective_size_is_the_square_of_the_sum_over_the_sum_of_squares(values, size):
    """By hand: 8 ones are 8, 15 equal values are 15, and of 30 and 40 it is 1.96. One in n is due to n - 1."""
    assert float(effective_missing(arms_of(values))) == pytest.approx(BURN_IN_EFFECTIVE - size, rel=0.01)


def test_enough_is_enough_and_nothing_known_lacks_all():
    nothing = np.array(np.nan)

    assert effective_missing(arms_of([1.0] * 500)) == 0
    assert effective_missing(Arms(np.array(0.0), *[nothing] * 6)) == BURN_IN_EFFECTIVE


def spenders(rng, n):
    """Return the sums of y and y^2 of so many units, of whom 2 % spend something."""
    y = (rng.random((EXPERIMENTS, n)) < 0.02) * np.exp(rng.standard_normal((EXPERIMENTS, n)))
    return np.stack([y.sum(axis=1), (y * y).sum(axis=1)])


@pytest.mark.slow
def test_rare_spending_in_unequal_arms_is_looked_at_later():
    """Arms of 90 and 10 %, 150 looks: from 100 units on three times alpha and more, by the effective size alpha."""
    rng = np.random.default_rng(12)
    waiting, hasty = Running((EXPERIMENTS,)), Running((EXPERIMENTS,))
    sums, nothing = np.zeros((2, 2, EXPERIMENTS)), np.zeros(EXPERIMENTS)
    for look in range(1, 151):
        arms = []
        for arm, size in enumerate((90, 10)):
            sums[arm] += spenders(rng, size)
            n = np.full(EXPERIMENTS, float(look * size))
            mean = sums[arm, 0] / n
            arms.append(Arms(n, mean, (sums[arm, 1] - n * mean**2) / (n - 1), nothing, nothing, nothing, n - 1))
        found = absolute(*arms)
        half = half_width(found, ALPHA, precision(ALPHA))
        enough = units_missing(arms[1].n) == 0
        effective = (effective_missing(arms[0]) == 0) & (effective_missing(arms[1]) == 0)
        for running, now in ((hasty, enough), (waiting, enough & effective)):
            running.look(found.estimate - half, found.estimate + half, log_e_value(found, precision(ALPHA)), now)
    rates = np.mean(hasty.p <= ALPHA), np.mean(waiting.p <= ALPHA)
    print(f"rare spending, unequal arms: hasty {rates[0]:.4f}, waiting {rates[1]:.4f}")

    assert rates[0] > 3 * ALPHA
    assert rates[1] <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / EXPERIMENTS)
