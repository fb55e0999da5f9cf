"""Lifts and variances: GrowthBook's published results (gbstats tests), Deng et al. by formula, and brute force."""

import numpy as np
import pytest
from gbstats import RATIO_A, RATIO_B, A, B, arms, pair, proportion
from hypothesis import given
from hypothesis import strategies as st

from experiments.effects import (
    absolute,
    means,
    proportions,
    ratios,
    relative,
    relative_ratio,
    theta,
    variance_saved,
)
from experiments.intervals import (
    fixed_half_width,
    fixed_p,
    half_width,
    lift_interval,
    log_e_value,
    log_e_value_above,
    one_sided_half_width,
    p_value,
    precision,
)
from experiments.sums import Sums

# gbstats, tests/test_gbstats.py, RA_STATISTICS_DF
WITH_PRE_A = {"n": 3001, "y": 300, "yy": 600, "x": 210, "xx": 415, "yx": -20}
WITH_PRE_B = {"n": 3000, "y": 222, "yy": 555, "x": 120, "xx": 405, "yx": -10}


def interval(effect, half):
    return float(effect.estimate - half), float(effect.estimate + half)


def test_a_relative_lift_with_a_covariate():
    """Published: -.281707154, p .003732549; theta and se recomputed from the published sums."""
    a, b = pair(means, WITH_PRE_A, WITH_PRE_B)
    effect = relative(a, b, theta(a, b))

    assert (float(a.mean), float(b.mean)) == pytest.approx((0.099966678, 0.074), abs=1e-9)
    assert float(theta(a, b)) == pytest.approx(-0.0732119403, abs=1e-10)
    assert float(effect.estimate) == pytest.approx(-0.281707154, abs=1e-9)
    assert float(effect.variance) ** 0.5 == pytest.approx(0.0971048764, abs=1e-10)
    assert float(effect.dof) == pytest.approx(5995.240, abs=1e-3)
    assert float(fixed_p(effect)) == pytest.approx(0.003732549, abs=1e-9)


def test_an_absolute_lift_with_a_covariate_beside_the_one_without():
    """From the same sums by the formulas of Deng et al. 2013, worked out apart from this code."""
    a, b = pair(means, WITH_PRE_A, WITH_PRE_B)
    adjusted, unadjusted = absolute(a, b, theta(a, b)), absolute(a, b)

    assert float(adjusted.estimate) == pytest.approx(-0.0281613283, abs=1e-10)
    assert float(adjusted.variance) ** 0.5 == pytest.approx(0.0110759829, abs=1e-10)
    assert float(unadjusted.estimate) == pytest.approx(-0.0259666778, abs=1e-10)
    assert float(unadjusted.variance) ** 0.5 == pytest.approx(0.0110984065, abs=1e-10)
    saved = 1 - (0.0110759829 / 0.0110984065) ** 2
    assert float(variance_saved(unadjusted, adjusted)) == pytest.approx(saved, abs=1e-7)


def test_a_relative_lift_of_proportions_with_a_covariate():
    """The same table read as binomial, published: -.31620216, p 3.53e-07."""
    a, b = pair(proportions, WITH_PRE_A | {"yy": 300, "xx": 210}, WITH_PRE_B | {"yy": 222, "xx": 120})
    effect = relative(a, b, theta(a, b))

    assert float(effect.estimate) == pytest.approx(-0.31620216, abs=1e-8)
    assert float(fixed_p(effect)) == pytest.approx(3.53e-07, abs=5e-10)


def test_a_relative_lift_of_ratios_with_a_covariate():
    """Published (test_two_sided_ttest_test_runs_ratio_ra and the sequential one): to four or five digits.

    Their theta is of the sum over arms, ours of the union; it is the lift's fifth digit.
    """
    a, b = pair(ratios, RATIO_A, RATIO_B)
    effect = relative_ratio(a, b, theta(a, b))
    fixed = interval(effect, fixed_half_width(effect, 0.05))
    always = interval(effect, half_width(effect, 0.05, precision(0.05)))

    assert float(effect.estimate) == pytest.approx(-0.0007, abs=5e-6)
    assert float(effect.variance) ** 0.5 == pytest.approx(0.00391, abs=5e-6)
    assert fixed == pytest.approx((-0.00841, 0.00700), abs=1e-5)
    assert always == pytest.approx((-0.02063, 0.01923), abs=1e-5)
    assert float(fixed_p(effect)) == pytest.approx(0.85771, abs=1e-3)
    assert float(p_value(log_e_value(effect, precision(0.05)))) == 1.0


def test_a_sequential_relative_lift_with_a_covariate():
    """Published (test_sequential_test_runs_ra, N* = 5000): .50338, se .33341, CI (-.50969, 1.51646), p 1."""
    a, b = pair(
        means,
        A | {"n": 3000, "x": 16.87, "xx": 527.9767, "yx": 1},
        B | {"x": 22.7, "xx": 1348.29, "yx": 1},
    )
    effect = relative(a, b, theta(a, b))

    assert float(effect.estimate) == pytest.approx(0.50338, abs=5e-6)
    assert float(effect.variance) ** 0.5 == pytest.approx(0.33341, abs=5e-6)
    ends = interval(effect, half_width(effect, 0.05, precision(0.05)))
    assert ends == pytest.approx((-0.50969, 1.51646), abs=5e-6)
    assert float(p_value(log_e_value(effect, precision(0.05)))) == 1.0


def test_theta_is_the_slope_over_both_arms():
    """Published (gbstats, compute_theta): X = .3, .5, .9, 22 and Y = 2, 1, 5, 3 in both arms: .01864."""
    x, y = np.array([0.3, 0.5, 0.9, 22]), np.array([2, 1, 5, 3])
    row = {"n": 4, "y": y.sum(), "yy": y @ y, "x": x.sum(), "xx": x @ x, "yx": x @ y}
    a, b = pair(means, row, row)

    assert float(theta(a, b)) == pytest.approx(0.01864, abs=5e-6)


def test_a_covariate_without_spread_is_left_out():
    flat = {"n": 4, "y": 8, "yy": 20, "x": 12, "xx": 36, "yx": 24}
    a, b = pair(means, flat, flat | {"y": 9, "yx": 27})

    assert float(theta(a, b)) == 0.0
    assert absolute(a, b, theta(a, b)).variance == absolute(a, b).variance


def sums_of(values):
    sums = Sums((2,))
    for arm, rows in enumerate(values):
        sums.add(np.full(len(rows), arm), rows)
    return sums.moments()


def correlated(seed, n, effect=0.0):
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 1.0, n)
    d = rng.integers(1, 6, n).astype(float)
    w = rng.integers(1, 6, n).astype(float)
    y = 0.5 * d + 0.8 * x + rng.normal(size=n) + effect
    return np.stack([y, d, x, w], axis=1)


@given(st.integers(0, 1000))
def test_theta_is_what_least_squares_finds_in_the_union(seed):
    values = [correlated(seed, 30), correlated(seed + 1, 50, effect=3.0)]
    both = means(sums_of(values))
    x, y = np.concatenate(values)[:, 2], np.concatenate(values)[:, 0]

    assert float(theta(both.take(0), both.take(1))) == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-9)


@given(st.integers(0, 1000))
def test_an_adjusted_lift_is_the_lift_of_the_adjusted_units(seed):
    values = [correlated(seed, 40), correlated(seed + 1, 60, effect=1.0)]
    both = means(sums_of(values))
    a, b = both.take(0), both.take(1)
    t = float(theta(a, b))
    adjusted_a, adjusted_b = (rows[:, 0] - t * rows[:, 2] for rows in values)
    effect = absolute(a, b, t)

    assert float(effect.estimate) == pytest.approx(adjusted_b.mean() - adjusted_a.mean(), rel=1e-10)
    assert float(effect.variance) == pytest.approx(adjusted_a.var(ddof=1) / 40 + adjusted_b.var(ddof=1) / 60, rel=1e-10)


KINDS = {"means": means, "proportions": proportions, "ratios": ratios}


def estimate(kind, values, t, lift):
    """Return a lift worked out from the units themselves."""

    def of(rows, i, j):
        return rows[:, i].sum() / rows[:, j].sum() if kind == "ratios" else rows[:, i].mean()

    a, b = (of(rows, 0, 1) - t * of(rows, 2, 3) for rows in values)
    return (b - a) / of(values[0], 0, 1) if lift == "relative" else b - a


@pytest.mark.parametrize("lift", ["absolute", "relative"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_variance_is_what_the_jackknife_finds(kind, lift):
    """Leave out each unit in turn: the spread of the estimates is the variance, for any smooth function of means.

    2,000 units an arm; the two agree within 1 %.
    """
    values = [correlated(7, 2000), correlated(8, 2000)]
    if kind == "proportions":
        for rows in values:
            rows[:, 0] = rows[:, 0] > 3
    both = KINDS[kind](sums_of(values))
    a, b = both.take(0), both.take(1)
    t = float(theta(a, b))
    effect = {"absolute": absolute, "relative": relative_ratio}[lift](a, b, t)
    jackknife = 0.0
    for arm in (0, 1):
        left_out = [
            estimate(kind, [np.delete(rows, i, 0) if k == arm else rows for k, rows in enumerate(values)], t, lift)
            for i in range(2000)
        ]
        jackknife += np.var(left_out) * 1999

    assert float(effect.estimate) == pytest.approx(estimate(kind, values, t, lift), rel=1e-10)
    assert float(effect.variance) == pytest.approx(jackknife, rel=0.01)


def test_without_a_covariate_both_relative_lifts_are_one():
    a, b = pair(means, WITH_PRE_A, WITH_PRE_B)

    assert np.array(relative(a, b)) == pytest.approx(np.array(relative_ratio(a, b)), rel=1e-14)


def test_a_ratio_without_a_past_has_no_covariate():
    row = RATIO_A | {"x": 0, "w": 0, "xx": 0, "ww": 0, "yx": 0, "yw": 0, "dx": 0, "dw": 0, "xw": 0}
    a, b = pair(ratios, row, row)

    assert float(theta(a, b)) == 0.0
    assert float(absolute(a, b, theta(a, b)).variance) == float(absolute(*pair(ratios, RATIO_A, RATIO_A)).variance)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (means, {"n": 10, "y": 0, "yy": 0}),
        (means, {"n": 1, "y": 3, "yy": 9}),
        (means, {"n": 0, "y": 0, "yy": 0}),
        (proportions, proportion(10, 10)),
        (ratios, {"n": 10, "y": 5, "yy": 5, "d": 0, "dd": 0, "yd": 0, "dx": 0, "dw": 0}),
    ],
)
def test_where_nothing_is_known_nothing_is_said(kind, row):
    """No spread, no units, nothing to divide by: NaN, and neither a verdict nor p = 1."""
    a, b = pair(kind, row, row)

    for effect in (absolute(a, b), relative(a, b)):
        assert np.isnan(effect.variance)
        assert np.isnan(fixed_p(effect))
        assert np.isnan(half_width(effect, 0.05, precision(0.05)))
        assert np.isnan(fixed_half_width(effect, 0.05))
        assert np.isnan(log_e_value(effect, precision(0.05)))
        assert np.isnan(log_e_value_above(effect, precision(0.05)))
        assert np.isnan(one_sided_half_width(effect, 0.05, precision(0.05)))
    assert np.isnan(lift_interval(a, b, 0.05, precision(0.05))).all()


def test_a_share_of_a_mean_that_is_not_above_0_is_not_said():
    a, b = pair(means, A | {"y": -A["y"]}, B)

    assert np.isnan(relative(a, b).estimate)
    assert np.isfinite(absolute(a, b).estimate)


def test_a_ratio_whose_denominator_is_not_above_0_is_not_said():
    values = [correlated(1, 50), correlated(2, 50)]
    for rows in values:
        rows[:, 1] -= 10
    both = ratios(sums_of(values))

    assert np.isnan(both.mean).all()
    assert np.isnan(absolute(both.take(0), both.take(1)).variance)


def test_many_experiments_are_answered_at_once_as_each_alone():
    both = means(arms(A, B, WITH_PRE_A, WITH_PRE_B))
    together = absolute(type(both)(*(f[::2] for f in both)), type(both)(*(f[1::2] for f in both)))
    alone = [absolute(*pair(means, A, B)), absolute(*pair(means, WITH_PRE_A, WITH_PRE_B))]

    assert together.estimate.tolist() == [float(effect.estimate) for effect in alone]
    assert together.variance.tolist() == [float(effect.variance) for effect in alone]
