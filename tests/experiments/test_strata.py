"""Phases and strata, by hand and by brute force."""

import numpy as np
import pytest
from gbstats import pair

from experiments.effects import Arms, absolute, means, theta
from experiments.intervals import log_e_value, precision
from experiments.strata import interaction, lift_interaction, standardise
from experiments.sums import Sums


def phases(values):
    """Return the arms of each phase: `values` are lists of units y, x per phase and arm."""
    sums = Sums((len(values), 2))
    for phase, arms in enumerate(values):
        for arm, rows in enumerate(arms):
            y, x = np.array(rows, float).reshape(-1, 2).T
            ones = np.ones(len(y))
            sums.add(np.full(len(y), 2 * phase + arm), np.stack([y, ones, x, ones], axis=1))
    return means(sums.moments())


def drawn(seed, *sizes):
    rng = np.random.default_rng(seed)
    return [[rng.normal(10 * phase, 1 + arm, (n, 2)) for arm, n in enumerate(pair)] for phase, pair in enumerate(sizes)]


def test_phases_are_weighted_by_their_units_by_hand():
    """Phase 1: A 1, 3 and B 4, 6, 8, 10; phase 2: A 10, 12, 14, 16 and B 20, 22: six units each, so weights 1/2.

    Means 2 and 7, 13 and 21: A 7.5, B 14, difference 6.5. Variances of the means: 2 / 2, (20 / 3) / 4 in phase 1,
    (20 / 3) / 4, 2 / 2 in phase 2: all together a quarter of 16 / 3. Pooled, A is 9.33, B 11.67: 2.33.
    """
    values = [
        [[(1, 0), (3, 0)], [(v, 0) for v in (4, 6, 8, 10)]],
        [[(v, 0) for v in (10, 12, 14, 16)], [(20, 0), (22, 0)]],
    ]
    both = standardise(phases(values))
    effect = absolute(both.take(0), both.take(1))

    assert both.mean.tolist() == pytest.approx([7.5, 14])
    assert both.n.tolist() == [6, 6]
    assert float(effect.estimate) == pytest.approx(6.5)
    assert float(effect.variance) == pytest.approx(16 / 3 / 4)


def test_one_phase_is_itself():
    arms = phases(drawn(1, (30, 50)))

    assert np.array(standardise(arms)) == pytest.approx(np.array(arms)[:, 0], rel=1e-12)


def test_equal_weights_over_all_phases_make_the_difference_of_the_pooled_means():
    values = drawn(2, (40, 40), (300, 300), (5, 5))
    both = standardise(phases(values))
    a, b = (np.concatenate([arms[arm] for arms in values])[:, 0] for arm in (0, 1))

    assert float(absolute(both.take(0), both.take(1)).estimate) == pytest.approx(b.mean() - a.mean(), rel=1e-10)


@pytest.mark.parametrize("adjusted", [False, True])
def test_an_effect_is_the_weighted_sum_of_the_phases_effects(adjusted):
    arms = phases(drawn(3, (90, 10), (50, 70), (20, 20)))
    both = standardise(arms)
    slope = float(theta(both.take(0), both.take(1))) if adjusted else 0.0
    effect = absolute(both.take(0), both.take(1), slope)
    by_phase = absolute(arms.take(0), arms.take(1), slope)
    weights = np.array([100, 120, 40]) / 260

    assert float(effect.estimate) == pytest.approx(weights @ by_phase.estimate, rel=1e-12)
    assert float(effect.variance) == pytest.approx(weights**2 @ by_phase.variance, rel=1e-12)


@pytest.mark.parametrize("few", [(0, 0), (1, 40), (40, 0)])
def test_a_phase_in_which_an_arm_has_no_spread_is_left_out_with_all_its_units(few):
    with_it, without = phases(drawn(4, (30, 50), few)), phases(drawn(4, (30, 50)))

    assert np.array(standardise(with_it)) == pytest.approx(np.array(standardise(without)), rel=1e-12)


def test_where_no_phase_is_left_nothing_is_said():
    both = standardise(phases(drawn(5, (1, 1))))

    assert np.isnan(absolute(both.take(0), both.take(1)).estimate)
    assert np.isnan(absolute(both.take(0), both.take(1)).variance)


def test_experiments_are_standardised_each_for_itself():
    one, other = phases(drawn(6, (30, 50), (9, 8))), phases(drawn(7, (20, 10), (60, 70)))
    together = standardise(Arms(*(np.stack(fields) for fields in zip(one, other, strict=True))))

    assert np.array(together)[:, 0] == pytest.approx(np.array(standardise(one)), rel=1e-14)
    assert np.array(together)[:, 1] == pytest.approx(np.array(standardise(other)), rel=1e-14)


def test_an_interaction_by_hand():
    """Effects .3 and .5 with variances .01 and .03: .2 with .04; degrees .0016 / (.0001 / 98 + .0009 / 48)."""
    effect = absolute(*pair(means, {"n": 2, "y": 0, "yy": 2}, {"n": 2, "y": 2, "yy": 4}))
    one = effect._replace(estimate=np.float64(0.3), variance=np.float64(0.01), n=np.float64(100), dof=np.float64(98))
    other = effect._replace(estimate=np.float64(0.5), variance=np.float64(0.03), n=np.float64(50), dof=np.float64(48))
    found = interaction(one, other)

    assert (float(found.estimate), float(found.variance), float(found.n)) == pytest.approx((0.2, 0.04, 150))
    assert float(found.dof) == pytest.approx(0.0016 / (0.0001 / 98 + 0.0009 / 48))


def stratum(mean_a, mean_b, n, variance=4.0):
    """Return two arms without a covariate."""
    zero = np.zeros(())
    arms = [Arms(np.array(n), np.array(m), np.array(variance), zero, zero, zero, n - 1) for m in (mean_a, mean_b)]
    return (*arms, zero)


def test_strata_that_merely_spend_more_have_one_lift():
    """2 to 2.2 and 20 to 22 are both 10 %."""
    found = lift_interaction(stratum(2.0, 2.2, 100.0), stratum(20.0, 22.0, 400.0))

    assert float(found.estimate) == pytest.approx(0, abs=1e-12)
    assert float(found.n) == 1_000


def test_the_difference_of_two_lifts_by_hand():
    """Lifts 0 and .5; 100 units of variance 4 in each arm, the controls at 2.

    Relative variances are v (1 + (1 + lift)^2) / (n m^2): 4 (1 + 1) / 400 = .02 and 4 (1 + 2.25) / 400 = .0325, so the
    common lift is (.5 / .0325) / (1 / .02 + 1 / .0325) = .190476. At it each contrast has 4 (1 + 1.190476^2) / 400.
    """
    found = lift_interaction(stratum(2.0, 2.0, 100.0), stratum(2.0, 3.0, 100.0))

    assert float(found.estimate) == pytest.approx(0.5)
    assert float(found.variance) == pytest.approx(2 * 4 * (1 + 1.190476**2) / 400, rel=1e-6)


def test_where_a_control_is_not_above_0_there_is_no_lift_to_compare():
    assert np.isnan(lift_interaction(stratum(-1.0, 2.0, 100.0), stratum(2.0, 3.0, 100.0)).estimate)


@pytest.mark.slow
def test_rare_conversions_with_one_lift_are_seldom_called_different():
    """2,000 experiments, conversions of 2 and 6 % in two strata, 100 looks from the fifth conversion of each arm on."""
    rng, count, rate = np.random.default_rng(5), 2_000, np.array([0.02, 0.06])
    rho2, largest, nothing = precision(0.05), np.zeros(count), np.zeros(count)
    ones = np.zeros((count, 2, 2))
    for look in range(1, 101):
        ones += rng.binomial(50, rate[:, None] * np.array([1.0, 1.2]), (count, 2, 2))
        n = np.full(count, 50.0 * look)
        pairs = []
        for part in (0, 1):
            p = ones[:, part] / n[:, None]
            pairs.append((*(Arms(n, q, q * (1 - q), nothing, nothing, nothing, n) for q in p.T), 0.0))
        ready = (ones >= 5).all(axis=(1, 2))
        log_e = log_e_value(lift_interaction(*pairs), rho2)
        largest = np.where(ready, np.maximum(largest, np.nan_to_num(log_e)), largest)
    share = np.mean(np.exp(-largest) <= 0.05)
    print(f"one lift called two: {share:.4f}")

    assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)
