"""From sums to lifts and their variances: of means, proportions and ratios, absolute and relative, with a covariate.

A kind of metric is reduced to one number per unit and its variance (`Arms`); after that all kinds are one.

CUPED (Deng, Xu, Kohavi, Walker, WSDM 2013, section 3): with theta = cov(Y, X) / var(X), pooled over both arms,
Y - theta X has the same expected difference between arms, because X is from before the experiment, and less variance.
"""

from typing import NamedTuple

import numpy as np

from experiments.sums import F64, Moments


class Arms(NamedTuple):
    """Arms of one metric; every field has the shape of the arms.

    Attributes:
        n: units.
        mean: of the metric, in its unit; of a ratio the ratio of the sums. NaN where it is not defined.
        variance: of one unit's metric; of a ratio by the delta method.
        pre_mean: of the covariate, likewise.
        pre_variance: of one unit's covariate.
        covariance: of a unit's metric and covariate.
        divisor: what sums of squares were divided by: n - 1, or n for proportions.
    """

    n: F64
    mean: F64
    variance: F64
    pre_mean: F64
    pre_variance: F64
    covariance: F64
    divisor: F64

    def take(self, arm: int) -> "Arms":
        """Return one arm: of the last axis."""
        return Arms(*(field[..., arm] for field in self))


class Effect(NamedTuple):
    """A difference between two arms.

    Attributes:
        estimate: B minus A; or that over the mean of A.
        variance: of the estimate, its squared standard error. NaN where it is not known or 0: no spread, no verdict.
        n: units of both arms.
        dof: Welch's degrees of freedom, for the fixed interval.
    """

    estimate: F64
    variance: F64
    n: F64
    dof: F64


def means(moments: Moments) -> Arms:
    """Return arms of a metric that is a mean over units."""
    c = moments.covariance
    y, x = moments.means[..., 0], moments.means[..., 2]
    return Arms(moments.n, y, c[..., 0, 0], x, c[..., 2, 2], c[..., 0, 2], moments.n - 1.0)


def proportions(moments: Moments) -> Arms:
    """Return arms of a metric that is 0 or 1 for each unit: the variance is p (1 - p).

    A covariate need not be 0 or 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = (moments.n - 1.0) / moments.n
    _, y, variance, x, pre_variance, covariance, _ = means(moments)
    return Arms(moments.n, y, variance * shrink, x, pre_variance * shrink, covariance * shrink, moments.n)


def ratios(moments: Moments) -> Arms:
    """Return arms of a metric that is a ratio of two sums over units, R = sum(y) / sum(d).

    Delta method (Deng, Knoblich, Lu, KDD 2018, eq. 2-4): a unit counts as (y - R d) / mean(d). The covariate is the
    same ratio before the experiment, (x - R' w) / mean(w); it is left out where there was nothing before.
    """
    m, c = moments.means, moments.covariance
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.where(m[..., 1] > 0.0, m[..., 1], np.nan)
        known = m[..., 3] > 0.0
        w = np.where(known, m[..., 3], 1.0)
        ratio, pre = m[..., 0] / d, m[..., 2] / w
        gradient = np.stack([1.0 / d, -ratio / d], axis=-1)
        pre_gradient = np.where(known[..., None], np.stack([1.0 / w, -pre / w], axis=-1), 0.0)
    return Arms(
        moments.n,
        ratio,
        _form(gradient, c[..., :2, :2], gradient),
        np.where(known, pre, 0.0),
        _form(pre_gradient, c[..., 2:, 2:], pre_gradient),
        _form(gradient, c[..., :2, 2:], pre_gradient),
        moments.n - 1.0,
    )


def _form(left: F64, matrix: F64, right: F64) -> F64:
    return np.asarray(np.einsum("...i,...ij,...j", left, matrix, right), np.float64)


def theta(a: Arms, b: Arms) -> F64:
    """Return the coefficient of the covariate, pooled over both arms; 0 where it has no spread or is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        between = a.n * b.n / (a.n + b.n)
        apart = b.pre_mean - a.pre_mean
        covariance = a.divisor * a.covariance + b.divisor * b.covariance + between * apart * (b.mean - a.mean)
        variance = a.divisor * a.pre_variance + b.divisor * b.pre_variance + between * apart**2
        return np.where(variance > 0.0, np.nan_to_num(covariance / variance, nan=0.0, posinf=0.0, neginf=0.0), 0.0)


def absolute(a: Arms, b: Arms, theta: F64 | float = 0.0) -> Effect:
    """Return mean B minus mean A, in the metric's unit.

    Args:
        a: the arm that is compared with.
        b: the arm of interest.
        theta: coefficient of the covariate; 0 leaves it out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        part_a, part_b = _adjusted_variance(a, theta) / a.n, _adjusted_variance(b, theta) / b.n
        estimate = (b.mean - theta * b.pre_mean) - (a.mean - theta * a.pre_mean)
        return Effect(estimate, _positive(part_a + part_b), a.n + b.n, _dof(a, b, part_a, part_b))


def relative(a: Arms, b: Arms, theta: F64 | float = 0.0) -> Effect:
    """Return the lift of B over A as a share of A's unadjusted mean, by the delta method.

    With c = mean B and m = mean A the variances of a unit are, of B and of A,

        (var Y + theta^2 var X - 2 theta cov) / m^2
        (var Y c^2 / m^2 + theta^2 var X - 2 theta cov c / m) / m^2

    Without a covariate that is var_B / (n_B m^2) + var_A c^2 / (n_A m^4). Where A's mean is not above 0 a share of it
    says nothing, and the lift is NaN. A quotient is normal late: for an always-valid interval take `lift_interval`.

    Args:
        a: the arm that is compared with.
        b: the arm of interest.
        theta: coefficient of the covariate; 0 leaves it out.
    """
    return _relative(a, b, theta, b.mean)


def contrast(a: Arms, b: Arms, lift: F64 | float, theta: F64 | float = 0.0) -> Effect:
    """Return mean B minus (1 + lift) times mean A, in the metric's unit: 0 where `lift` is the true one.

    It is linear in the means, so it is close to normal as soon as they are, which `relative`, a quotient, is not: of a
    rare conversion a tenth of always-valid intervals around the quotient would err (tests). With `lift` 0 it is
    `absolute`.

    Args:
        a: the arm that is compared with.
        b: the arm of interest.
        lift: as a share of A's mean.
        theta: coefficient of the covariate; 0 leaves it out.
    """
    difference = absolute(a, b, theta)
    u = 1.0 + np.asarray(lift)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_a = a.variance * u**2 + theta**2 * a.pre_variance - 2.0 * theta * a.covariance * u
        variance = _adjusted_variance(b, theta) / b.n + of_a / a.n
        return difference._replace(estimate=difference.estimate - lift * a.mean, variance=_positive(variance))


def relative_ratio(a: Arms, b: Arms, theta: F64 | float = 0.0) -> Effect:
    """Return the lift of a ratio: as `relative`, with c the adjusted mean B, which is A's plus the difference.

    That is the gradient to the letter; `relative` takes the covariate's means to be equal there. Both are published so
    (GrowthBook, gbstats), differ by what randomisation left between the covariate's means, and agree without one.
    """
    return _relative(a, b, theta, a.mean + absolute(a, b, theta).estimate)


def _relative(a: Arms, b: Arms, theta: F64 | float, mean_b: F64) -> Effect:
    difference = absolute(a, b, theta)
    with np.errstate(divide="ignore", invalid="ignore"):
        m = np.where(a.mean > 0.0, a.mean, np.nan)
        c = mean_b / m
        of_a = a.variance * c**2 + theta**2 * a.pre_variance - 2.0 * theta * a.covariance * c
        variance = (_adjusted_variance(b, theta) / b.n + of_a / a.n) / m**2
        return Effect(difference.estimate / m, _positive(variance), difference.n, difference.dof)


def variance_saved(unadjusted: Effect, adjusted: Effect) -> F64:
    """Return the share of the variance that the covariate takes away, 0 to 1; as many units fewer are needed."""
    return 1.0 - adjusted.variance / unadjusted.variance


def _adjusted_variance(arm: Arms, theta: F64 | float) -> F64:
    return arm.variance + theta**2 * arm.pre_variance - 2.0 * theta * arm.covariance


def _positive(variance: F64) -> F64:
    return np.where(variance > 0.0, variance, np.nan)


def _dof(a: Arms, b: Arms, part_a: F64, part_b: F64) -> F64:
    """Return the degrees of freedom of Welch, Biometrika 1947, by Satterthwaite's formula."""
    return (part_a + part_b) ** 2 / (part_a**2 / (a.n - 1.0) + part_b**2 / (b.n - 1.0))
