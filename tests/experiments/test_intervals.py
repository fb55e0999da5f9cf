"""One formula under the names of confseq, GrowthBook, mSPRT and GAVI, each with the numbers it was published with."""

import math

import numpy as np
import pytest
from gbstats import A_3000, A, B, pair, proportion
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from experiments.effects import Arms, Effect, absolute, contrast, means, proportions, relative, theta
from experiments.intervals import (
    below,
    e_value,
    fixed_half_width,
    fixed_one_sided_half_width,
    fixed_p,
    half_width,
    lift_interval,
    log_e_value,
    log_e_value_above,
    normal_half_width,
    one_sided_half_width,
    one_sided_precision,
    p_value,
    precision,
)
from experiments.sums import Sums

ALPHA = 0.05


def effect(estimate, variance, n):
    return Effect(np.float64(estimate), np.float64(variance), np.float64(n), np.float64(n - 2))


def total(s, v):
    """Return the effect that a sum s of v observations of unit variance says: confseq's terms."""
    return effect(s / v, 1 / v, v)


def ends(found, half):
    return float(found.estimate - half), float(found.estimate + half)


# confseq, test/uniform_boundaries_unittest.cpp: alpha = alpha_opt = .05, v_opt = 100; to 1e-5


def test_confseq_best_rho():
    assert 1 / precision(ALPHA, 100) == pytest.approx(12.60056, abs=1e-5)


def test_confseq_log_mixture_two_sided():
    assert log_e_value(total(10, 100), precision(ALPHA, 100)) == pytest.approx(-0.6510052, abs=1e-5)


def test_confseq_bound_two_sided():
    assert 100 * half_width(total(0, 100), ALPHA, precision(ALPHA, 100)) == pytest.approx(30.35209, abs=1e-5)


def test_confseq_log_mixture_one_sided():
    found = log_e_value_above(total(10, 100), one_sided_precision(ALPHA, 100))

    assert found == pytest.approx(-0.06502391, abs=1e-5)


def test_confseq_bound_one_sided():
    """At confseq's exact bound the mixture is 1 / alpha; the closed form of ours is 0.5 % wider: 27.79."""
    rho2 = one_sided_precision(ALPHA, 100)
    closed = 100 * one_sided_half_width(total(0, 100), ALPHA, rho2)

    assert log_e_value_above(total(27.66071, 100), rho2) == pytest.approx(math.log(20), abs=1e-5)
    assert 27.66071 < closed < 27.66071 * 1.01


# GrowthBook, gbstats tests/frequentist/test_tests.py, alpha .05


def test_growthbook_welch_absolute():
    found = absolute(*pair(means, A, B))

    assert float(found.estimate) == pytest.approx(0.29, abs=5e-6)
    assert float(found.variance) ** 0.5 == pytest.approx(0.12478, abs=5e-6)
    assert ends(found, fixed_half_width(found, ALPHA)) == pytest.approx((0.04538, 0.53462), abs=5e-6)
    assert fixed_p(found) == pytest.approx(0.02016, abs=5e-6)
    assert found.dof == pytest.approx(5841.742, abs=1e-3)


def test_growthbook_welch_relative():
    found = relative(*pair(means, A, B))

    assert float(found.estimate) == pytest.approx(0.70732, abs=5e-6)
    assert float(found.variance) ** 0.5 == pytest.approx(0.37879, abs=5e-6)
    assert ends(found, fixed_half_width(found, ALPHA)) == pytest.approx((-0.03526, 1.44989), abs=5e-6)
    assert fixed_p(found) == pytest.approx(0.06191, abs=5e-6)


def test_growthbook_proportion_relative():
    found = relative(*pair(proportions, proportion(28, 14), proportion(30, 16)))

    assert float(found.estimate) == pytest.approx(0.06667, abs=5e-6)
    assert float(found.variance) ** 0.5 == pytest.approx(0.2717, abs=5e-6)
    assert ends(found, fixed_half_width(found, ALPHA)) == pytest.approx((-0.47767, 0.61101), abs=5e-6)
    assert fixed_p(found) == pytest.approx(0.80707, abs=5e-6)


def test_growthbook_sequential_relative():
    """N* = 1000: .50336, CI (-.55844, 1.56516), p 1; E = 0.42298 by the formula."""
    found, rho2 = relative(*pair(means, A_3000, B)), precision(ALPHA, 1000)

    assert float(found.estimate) == pytest.approx(0.50336, abs=5e-6)
    assert float(found.variance) ** 0.5 == pytest.approx(0.33341, abs=5e-6)
    assert ends(found, half_width(found, ALPHA, rho2)) == pytest.approx((-0.55844, 1.56516), abs=5e-6)
    assert e_value(log_e_value(found, rho2)) == pytest.approx(0.42298, abs=5e-6)
    assert p_value(log_e_value(found, rho2)) == 1.0


def test_growthbook_sequential_proportions():
    """N* = 5000: .50386, CI (.40098, .60675), p 0; 5.17e-44 by the formula."""
    found = relative(*pair(proportions, proportion(3000, 1396), proportion(3461, 2422)))

    assert float(found.variance) ** 0.5 == pytest.approx(0.03386, abs=5e-6)
    assert ends(found, half_width(found, ALPHA, precision(ALPHA))) == pytest.approx((0.40098, 0.60675), abs=5e-6)
    assert p_value(log_e_value(found, precision(ALPHA))) == pytest.approx(5.17e-44, rel=1e-3)


def test_growthbook_sequential_with_few_units():
    """N* = 600: -.074074074, lower -.233322085, p .892332229."""
    a, b = pair(means, {"n": 100, "y": 270, "yy": 848.79}, {"n": 120, "y": 300, "yy": 869})
    found, rho2 = relative(a, b), precision(ALPHA, 600)

    assert float(found.estimate) == pytest.approx(-0.074074074, abs=1e-9)
    assert ends(found, half_width(found, ALPHA, rho2))[0] == pytest.approx(-0.233322085, abs=1e-9)
    assert p_value(log_e_value(found, rho2)) == pytest.approx(0.892332229, abs=1e-9)


def test_sequential_absolute():
    """By the formula, worked out apart from this code: CI (-.0894101, .6694101), p .2907446, E 3.4394453."""
    found = absolute(*pair(means, A, B))

    assert ends(found, half_width(found, ALPHA, precision(ALPHA))) == pytest.approx((-0.0894101, 0.6694101), abs=1e-7)
    assert e_value(log_e_value(found, precision(ALPHA))) == pytest.approx(3.4394453, abs=1e-7)
    assert p_value(log_e_value(found, precision(ALPHA))) == pytest.approx(0.2907446, abs=1e-7)


@pytest.mark.parametrize(
    ("lift", "lower", "upper"),
    [
        (relative, -0.42356454602790883, 1.4302867177403806),
        (absolute, -0.12656844172804982, 0.5953217750613832),
    ],
)
def test_growthbook_sequential_one_sided(lift, lower, upper):
    found = lift(*pair(means, A_3000, B))
    half = one_sided_half_width(found, ALPHA, one_sided_precision(ALPHA))

    assert ends(found, half) == pytest.approx((lower, upper), abs=1e-12)


@pytest.mark.parametrize(("lift", "p"), [(relative, 0.4999), (absolute, 0.46316491943)])
def test_growthbook_sequential_one_sided_p(lift, p):
    """Theirs is the smallest alpha, up to .4999, whose bound excludes 0, tuned for .05. Their search stops at 1e-4."""
    found = lift(*pair(means, A_3000, B))
    low, high = 1e-6, 0.4999
    for _ in range(60):
        middle = (low + high) / 2
        excludes = found.estimate - one_sided_half_width(found, middle, one_sided_precision(ALPHA)) > 0
        low, high = (low, middle) if excludes else (middle, high)

    assert high == pytest.approx(p, abs=2e-4)


@pytest.mark.parametrize(
    ("lift", "lower", "upper", "p_above"),
    [
        (relative, -0.0451366758504, 1.0518588475629, 0.0655826286847),
        (absolute, 0.020791480063255735, 0.44796185327007765, 0.03554272489873023),
    ],
)
def test_growthbook_welch_one_sided(lift, lower, upper, p_above):
    """One-sided p is half of the two-sided one on the side of the estimate."""
    found = lift(*pair(means, A_3000, B))

    assert ends(found, fixed_one_sided_half_width(found, ALPHA)) == pytest.approx((lower, upper), abs=1e-10)
    assert fixed_p(found) / 2 == pytest.approx(p_above, abs=1e-10)


# The same under other names; by the formulas of their papers


@pytest.mark.parametrize(
    ("n", "ratio"), [(1_000, 1.716), (5_000, 1.549), (10_000, 1.562), (50_000, 1.654), (100_000, 1.703)]
)
def test_the_price_of_looking_at_any_time(n, ratio):
    """Width over that of the fixed 95 % interval, N* = 5000; worked out by the formula, apart from this code."""
    found = effect(0, 4 / n, n)

    assert half_width(found, ALPHA, precision(ALPHA)) / normal_half_width(found, ALPHA) == pytest.approx(
        ratio, abs=5e-4
    )


def test_the_tuning_is_close_to_the_exact_optimum():
    """rho^2 = (-W_-1(-alpha^2 / e) - 1) / N*, by SciPy's Lambert W: .0016423936 at 5000, against .0015872309."""
    exact = (-special.lambertw(-(ALPHA**2) / math.e, -1).real - 1) / 5000

    assert exact == pytest.approx(0.0016423936, abs=1e-10)
    assert float(precision(ALPHA)) == pytest.approx(0.0015872309, abs=1e-10)
    assert math.sqrt(precision(ALPHA)) == pytest.approx(0.0398400668, abs=1e-10)


def test_the_interval_is_narrowest_where_it_is_tuned():
    """Compared with the fixed interval; by search over N for N* = 5000 it must lie within a tenth of 5000."""
    n = np.arange(1000.0, 20_000.0, 10)
    found = Effect(np.zeros_like(n), 1 / n, n, n)
    ratio = half_width(found, ALPHA, precision(ALPHA, 5000)) * np.sqrt(n)

    assert abs(n[ratio.argmin()] - 5000) < 500


def test_msprt_is_the_same_e_value():
    """Johari, Koomen, Pekelis, Walsh, KDD 2017, with tau^2 = rho^2 N V: n = 500 an arm, sigma 1, D = .2: 13.3582984."""
    n, sigma2, d = 500, 1.0, 0.2
    rho2 = float(precision(ALPHA))
    tau2 = rho2 * 2 * n * (2 * sigma2 / n)
    likelihood_ratio = math.sqrt(2 * sigma2 / (2 * sigma2 + n * tau2)) * math.exp(
        n**2 * tau2 * d**2 / (4 * sigma2 * (2 * sigma2 + n * tau2))
    )

    assert tau2 == pytest.approx(0.0063489237, abs=1e-10)
    assert likelihood_ratio == pytest.approx(13.3582984, abs=1e-7)
    assert e_value(log_e_value(effect(d, 2 * sigma2 / n, 2 * n), rho2)) == pytest.approx(likelihood_ratio, rel=1e-12)


SIZES = np.array([10.0, *range(20, 100, 10)])


def gavi(phi):
    """Return effect and precision as seqabpy's GAVI has them: n counts the units of one arm."""
    rho_c = phi / (math.log(1 - 2 * math.log(ALPHA)) - 2 * math.log(ALPHA))
    return Effect(np.ones_like(SIZES), 2 / SIZES, SIZES, SIZES), 1 / rho_c


def lindon(phi):
    """Return effect and precision as in Lindon et al., arXiv 2210.08589, eq. 20: n counts the units of both arms."""
    return Effect(np.ones_like(SIZES), 2 / SIZES, 2 * SIZES, 2 * SIZES), 1 / phi


@pytest.mark.parametrize(
    ("found", "halves", "rejects"),
    [
        (gavi(50), [1.50438, 0.98783, 0.79031, 0.67985], [False] + [True] * 8),
        (lindon(0.08), [1.52072, 1.10601, 0.91759, 0.80353], [False, False] + [True] * 7),
    ],
)
def test_seqabpy(found, halves, rejects):
    """Sizes 10, 20 to 90 an arm, variance 1, effect 1: the published flags; half-widths by the formula."""
    half = half_width(found[0], ALPHA, found[1])

    assert half[:4] == pytest.approx(halves, abs=5e-6)
    assert (found[0].estimate > half).tolist() == rejects


# What must hold for all


some = st.floats(0.01, 100)


@given(st.floats(-5, 5), some, st.integers(200, 10**7), st.floats(1e-4, 0.3), st.integers(10, 10**6))
def test_the_interval_ends_where_the_e_value_is_one_over_alpha(estimate, variance, n, alpha, tuning):
    rho2 = precision(alpha, tuning)
    found = effect(estimate, variance, n)
    for null in ends(found, half_width(found, alpha, rho2)):
        assert log_e_value(found, rho2, null) == pytest.approx(-math.log(alpha), rel=1e-6, abs=1e-6)


@given(some, st.integers(200, 10**7), st.floats(1e-4, 0.3), st.integers(10, 10**6))
def test_a_one_sided_bound_is_no_narrower_than_its_e_value_allows(variance, n, alpha, tuning):
    rho2 = one_sided_precision(alpha, tuning)
    found = effect(0.0, variance, n)
    half = one_sided_half_width(found, alpha, rho2)

    assert log_e_value_above(found, rho2, -half) >= -math.log(alpha) - 1e-9
    assert log_e_value_above(below(found), rho2, -half) >= -math.log(alpha) - 1e-9


def arms_of(seed, n_a, n_b, mean=2.0):
    """Return two arms with a covariate."""
    rng = np.random.default_rng(seed)
    sums = Sums((2,))
    for arm, n in enumerate((n_a, n_b)):
        x = rng.normal(size=n)
        y = mean + 0.3 * arm * rng.random() + 0.7 * x + rng.normal(size=n)
        sums.add(np.full(n, arm), np.stack([y, np.ones(n), x, np.ones(n)], axis=1))
    both = means(sums.moments())
    return both.take(0), both.take(1)


@given(st.integers(0, 10**6), st.integers(100, 400), st.integers(100, 400), st.booleans())
def test_the_interval_of_a_lift_ends_where_the_e_value_of_its_contrast_is_one_over_alpha(seed, n_a, n_b, adjusted):
    a, b = arms_of(seed, n_a, n_b)
    slope = theta(a, b) if adjusted else 0.0
    rho2 = precision(ALPHA, 1000)
    ends_of_lift = lift_interval(a, b, ALPHA, rho2, slope)

    for end in ends_of_lift:
        assert log_e_value(contrast(a, b, end, slope), rho2) == pytest.approx(math.log(20), abs=1e-6)
    inside = contrast(a, b, np.mean(ends_of_lift), slope)
    assert log_e_value(inside, rho2) < math.log(20)


@given(st.integers(0, 10**6), st.integers(100, 2000))
def test_the_interval_of_a_lift_leaves_out_0_when_that_of_the_difference_does(seed, n):
    a, b = arms_of(seed, n, n)
    rho2 = precision(ALPHA)
    found = absolute(a, b)
    half, (lower, upper) = half_width(found, ALPHA, rho2), lift_interval(a, b, ALPHA, rho2)

    assert (lower > 0) == (found.estimate - half > 0)
    assert (upper < 0) == (found.estimate + half < 0)


def test_the_interval_of_a_lift_by_hand():
    """Without spread in A it is that of the difference over A's mean: 1 in 10 and half a unit, .05 to .15."""
    zero = np.float64(0)
    a = Arms(np.float64(500), np.float64(10), zero, zero, zero, zero, np.float64(499))
    b = Arms(np.float64(500), np.float64(11), np.float64(1), zero, zero, zero, np.float64(499))
    half = float(half_width(absolute(a, b), ALPHA, precision(ALPHA)))
    lower, upper = lift_interval(a, b, ALPHA, precision(ALPHA))

    assert (float(lower), float(upper)) == pytest.approx(((1 - half) / 10, (1 + half) / 10), rel=1e-12)


def test_the_interval_of_a_lift_is_that_of_the_delta_method_where_the_mean_is_sure():
    """GrowthBook's sequential proportions, (.40098, .60675), mean of A 51 standard errors above 0: within .01."""
    found = lift_interval(*pair(proportions, proportion(3000, 1396), proportion(3461, 2422)), ALPHA, precision(ALPHA))

    assert [float(end) for end in found] == pytest.approx([0.40098, 0.60675], abs=0.01)


def test_where_the_mean_of_a_may_be_0_any_lift_is_possible():
    a, b = arms_of(1, 150, 150, mean=0.2)
    negative = a._replace(mean=-a.mean)

    assert [float(end) for end in lift_interval(a, b, ALPHA, precision(ALPHA))] == [-math.inf, math.inf]
    assert np.isnan(lift_interval(negative, b, ALPHA, precision(ALPHA))).all()


def test_one_side_costs_less_than_two_where_both_are_tuned():
    found = effect(0.0, 1.0, 5000)

    assert one_sided_half_width(found, ALPHA, one_sided_precision(ALPHA)) < half_width(found, ALPHA, precision(ALPHA))


def test_evidence_is_of_the_side_it_says():
    better, rho2 = effect(0.2, 0.001, 5000), one_sided_precision(ALPHA)

    assert log_e_value_above(better, rho2) > 10
    assert log_e_value_above(below(better), rho2) < 0


def test_an_e_value_has_mean_one_under_the_null():
    """The integral of E over the law of the estimate; by quadrature, 1 to eleven digits, two-sided and one-sided."""
    z = np.linspace(-30, 30, 60_001)
    density = stats.norm.pdf(z)
    found = Effect(z * 0.1, np.full_like(z, 0.01), np.full_like(z, 3000.0), np.full_like(z, 3000.0))

    for log_e in (log_e_value(found, precision(ALPHA)), log_e_value_above(found, one_sided_precision(ALPHA))):
        assert np.trapezoid(np.exp(log_e) * density, z) == pytest.approx(1.0, abs=1e-9)


def test_an_e_value_too_large_for_a_float_is_the_greatest():
    log_e = log_e_value(effect(1.0, 1e-6, 10**6), precision(ALPHA))

    assert log_e > 1e5
    assert e_value(log_e) == pytest.approx(np.finfo(float).max)
    assert p_value(log_e) == 0.0
