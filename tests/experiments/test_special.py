"""Special functions against SciPy."""

import numpy as np
import pytest
from scipy import special, stats

from experiments.special import (
    chi_squared_tail,
    log_gamma,
    log_normal_cdf,
    normal_quantile,
    normal_tail,
    student_quantile,
    student_tail,
)

T = np.array([-30.0, -3.0, -0.5, 0.0, 0.1, 0.5, 1.0, 1.96, 3.0, 5.0, 12.0, 30.0])[:, None]
DOF = np.array([0.7, 1.0, 2.0, 3.5, 10.0, 50.0, 199.9, 200.0, 1e3, 5841.742, 1e6, 1e9])


def test_the_tail_of_students_t():
    near, tails = np.abs(T[:, 0]) <= 12, student_tail(T, DOF)

    assert tails[near] == pytest.approx(stats.t.sf(T[near], DOF), rel=1e-8)
    assert np.log(tails) == pytest.approx(stats.t.logsf(T, DOF), rel=1e-6)  # down to 1e-198


def test_the_tail_of_students_t_near_zero():
    """By hand for one degree: P(T > t) = 1/2 - atan(t) / pi; SciPy 1.17 is off in the ninth digit here."""
    assert float(student_tail(1e-8, 1.0)) == pytest.approx(0.5 - 1e-8 / np.pi, abs=1e-16)


def test_the_quantile_of_students_t():
    p = np.array([0.5, 0.3, 0.1, 0.025, 0.005, 1e-5])[:, None]

    assert student_quantile(p, DOF) == pytest.approx(stats.t.isf(p, DOF), rel=1e-9, abs=1e-9)


def test_one_degree_of_freedom_is_cauchys_law():
    """P(T > 1) = 1/4, by hand: the arc tangent of 1 is an eighth of the circle."""
    assert float(student_tail(1.0, 1.0)) == pytest.approx(0.25, rel=1e-14)


@pytest.mark.parametrize("dof", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize("x", [0.0, 1e-6, 0.5, 3.0, 17.5, 274.19])
def test_the_tail_of_chi_squared(x, dof):
    assert chi_squared_tail(x, dof) == pytest.approx(stats.chi2.sf(x, dof), rel=1e-12)


def test_the_normal_law():
    x = np.array([-1e5, -100.0, -38.0, -30.001, -29.999, -5.0, 0.0, 1.0, 8.0])
    p = np.array([1e-12, 0.025, 0.5, 0.975])

    assert log_normal_cdf(x) == pytest.approx(special.log_ndtr(x), rel=1e-11)
    assert normal_tail(x[4:]) == pytest.approx(stats.norm.sf(x[4:]), rel=1e-12)
    assert normal_quantile(p) == pytest.approx(stats.norm.ppf(p), rel=1e-12)


def test_the_logarithm_of_gamma():
    x = np.array([0.01, 0.5, 1.0, 2.5, 1e4, 1e9])

    assert log_gamma(x) == pytest.approx(special.gammaln(x), rel=1e-13, abs=1e-13)
