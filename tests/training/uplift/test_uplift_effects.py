"""Effects over all units, where the truth or another implementation is known."""

import numpy as np
import pytest
from scipy import stats
from uplift_worlds import World

from training.uplift.effects import difference_in_means, doubly_robust, doubly_robust_on_treated, propensities
from training.uplift.learner import Settings, cross_fit
from training.uplift.tables import table_of


def test_the_difference_in_means_and_its_interval_are_scipys():
    draws = np.random.default_rng(1)
    outcome, treated = draws.exponential(1.0, 90), np.arange(90) < 30
    outcome[treated] *= 3.0
    found = difference_in_means(outcome, treated, 0.1)
    known = stats.ttest_ind(outcome[treated], outcome[~treated], equal_var=False)
    interval = known.confidence_interval(0.9)

    assert found.value == pytest.approx(outcome[:30].mean() - outcome[30:].mean())
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    assert (found.treated, found.control) == (30, 60)


def test_below_two_units_in_an_arm_there_is_no_effect():
    assert np.isnan(difference_in_means(np.array([1.0, 2.0, 3.0]), np.array([True, False, False])).value)


class Chosen(World):
    """Units chose their arm: the more of `b` they have, the likelier, and `b` raises the outcome by itself."""

    def __init__(self, seed, n):
        super().__init__(seed, n, strength=0.7, mean=0.3)
        draws = np.random.default_rng(seed + 1_000)
        b = np.array([unit["b"] for unit in self.attributes])
        self.share = 0.25 + 0.5 * b
        noise = self.outcome - self.treated * self.effect
        self.treated = draws.random(n) < self.share
        self.outcome = noise + 3.0 * b + self.treated * self.effect


@pytest.fixture(scope="module")
def chosen():
    world = Chosen(4, 8_000)
    table, settings = table_of(world.attributes), Settings()
    predicted = cross_fit(table, world.outcome, world.treated, world.code, settings)
    return world, predicted, propensities(table, world.treated, predicted.fold, settings)


def test_where_units_chose_their_arm_the_difference_in_means_is_wrong_and_the_doubly_robust_effect_is_not(chosen):
    world, predicted, share = chosen
    naive = difference_in_means(world.outcome, world.treated)
    robust = doubly_robust(world.outcome, world.treated, predicted, share)

    assert naive.lower > world.effect.mean() + 0.3
    assert abs(robust.value - world.effect.mean()) < 3 * robust.error < 0.2


def test_the_effect_on_the_treated_is_that_of_the_treated(chosen):
    world, predicted, share = chosen
    robust = doubly_robust_on_treated(world.outcome, world.treated, predicted, share)

    assert abs(robust.value - world.effect[world.treated].mean()) < 3 * robust.error < 0.2


def test_propensities_are_near_the_truth(chosen):
    world, _, share = chosen

    assert np.abs(share - world.share).mean() < 0.06


def test_with_the_true_propensity_wrong_models_of_the_outcome_do_not_matter(chosen):
    world, predicted, _ = chosen
    nothing = predicted._replace(treated=np.zeros(8_000), control=np.zeros(8_000))
    robust = doubly_robust(world.outcome, world.treated, nothing, world.share)
    of_treated = doubly_robust_on_treated(world.outcome, world.treated, nothing, world.share)

    assert abs(robust.value - world.effect.mean()) < 3 * robust.error < 0.4
    assert abs(of_treated.value - world.effect[world.treated].mean()) < 3 * of_treated.error < 0.4


def test_units_without_overlap_are_left_out(chosen):
    world, predicted, share = chosen
    lonely = np.where(np.arange(8_000) < 1_000, 0.95, share)
    kept = int((~world.treated[1_000:]).sum())

    assert doubly_robust(world.outcome, world.treated, predicted, lonely).control == kept
    assert doubly_robust_on_treated(world.outcome, world.treated, predicted, lonely).control == kept
