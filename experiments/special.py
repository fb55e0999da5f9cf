"""The few special functions that the core needs, on arrays; SciPy is not among its requirements.

The tests hold them against SciPy.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

_HILL_FROM = 200.0
_erfc = np.frompyfunc(math.erfc, 1, 1)
_lgamma = np.frompyfunc(math.lgamma, 1, 1)
_inverse = np.frompyfunc(NormalDist().inv_cdf, 1, 1)


def log_gamma(x: ArrayLike) -> F64:
    """Return ln Gamma(x) for x > 0."""
    return np.asarray(_lgamma(np.asarray(x, np.float64)), np.float64)


def normal_tail(x: ArrayLike) -> F64:
    """Return P(Z > x) of a standard normal Z."""
    return np.asarray(_erfc(np.asarray(x, np.float64) / math.sqrt(2.0)), np.float64) / 2.0


def normal_quantile(p: ArrayLike) -> F64:
    """Return z with P(Z <= z) = p, for 0 < p < 1."""
    return np.asarray(_inverse(np.asarray(p, np.float64)), np.float64)


def log_normal_cdf(x: ArrayLike) -> F64:
    """Return ln P(Z <= x), far below zero too, where P itself is not a float any more."""
    x = np.asarray(x, np.float64)
    near = np.maximum(x, -30.0)
    far = np.minimum(x, -30.0)
    # Abramowitz and Stegun 26.2.12: the error is below the first term left out, 105 / x^8 < 2e-10.
    series = np.log1p(-1.0 / far**2 + 3.0 / far**4 - 15.0 / far**6)
    asymptotic = -0.5 * far**2 - np.log(-far) - 0.5 * math.log(2.0 * math.pi) + series
    return np.where(x < -30.0, asymptotic, np.log(normal_tail(-near)))


def student_tail(t: ArrayLike, dof: ArrayLike) -> F64:
    """Return P(T > t) of Student's t.

    From `_HILL_FROM` degrees on by Hill's expansion (CACM algorithm 395, 1970), below by the continued fraction of the
    incomplete beta function (Abramowitz and Stegun 26.5.8).

    Args:
        t: any shape.
        dof: degrees of freedom, above 0, of a shape that fits.
    """
    t, dof = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(dof, np.float64))
    large = dof >= _HILL_FROM
    upper = np.where(large, _hill(np.abs(t), np.where(large, dof, _HILL_FROM)), 0.0)
    if not bool(large.all()):
        small = np.where(large, 1.0, dof)
        square = np.square(t)
        upper = np.where(large, upper, 0.5 * _incomplete_beta(small / 2.0, square, small))
    return np.where(t >= 0.0, upper, 1.0 - upper)


def _hill(t: F64, dof: F64) -> F64:
    a = dof - 0.5
    b = 48.0 * a * a
    y = a * np.log1p(t * t / dof)
    inner = (((-0.4 * y - 3.3) * y - 24.0) * y - 85.5) / (0.8 * y * y + 100.0 + b)
    return normal_tail(((inner + y + 3.0) / b + 1.0) * np.sqrt(y))


def _incomplete_beta(a: F64, square: F64, dof: F64) -> F64:
    """Return I_x(a, 1/2) for x = dof / (dof + square), by Lentz's method on whichever side converges fast."""
    x = dof / (dof + square)
    rest = square / (dof + square)  # 1 - x without cancellation
    half = np.full_like(x, 0.5)
    swap = x > (a + 1.0) / (a + 2.5)
    p, q, z, other = np.where(swap, half, a), np.where(swap, a, half), np.where(swap, rest, x), np.where(swap, x, rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        front = np.exp(log_gamma(p + q) - log_gamma(p) - log_gamma(q) + p * np.log(z) + q * np.log(other)) / p
    tiny = 1e-300
    c = np.ones_like(z)
    d = 1.0 / _away(1.0 - (p + q) * z / (p + 1.0), tiny)
    fraction = d.copy()
    for m in range(1, 300):
        up = m * (q - m) * z / ((p + 2 * m - 1) * (p + 2 * m))
        down = -(p + m) * (p + q + m) * z / ((p + 2 * m) * (p + 2 * m + 1))
        for step in (up, down):
            d = 1.0 / _away(1.0 + step * d, tiny)
            c = _away(1.0 + step / c, tiny)
            fraction = fraction * d * c
        if bool((np.abs(d * c - 1.0) < 1e-15).all()):
            break
    value = np.where(z > 0.0, front * fraction, 0.0)
    return np.where(swap, 1.0 - value, value)


def _away(x: F64, tiny: float) -> F64:
    return np.where(np.abs(x) < tiny, tiny, x)


def student_quantile(p: ArrayLike, dof: ArrayLike) -> F64:
    """Return t >= 0 with P(T > t) = p, for 0 < p <= 1/2.

    By Newton's method from the normal quantile: the tail is convex and falls, so every step ends left of the root.
    """
    p, dof = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(dof, np.float64))
    t = normal_quantile(1.0 - p)
    log_scale = log_gamma((dof + 1.0) / 2.0) - log_gamma(dof / 2.0) - 0.5 * np.log(dof * math.pi)
    for _ in range(100):
        density = np.exp(log_scale - (dof + 1.0) / 2.0 * np.log1p(t * t / dof))
        step = (student_tail(t, dof) - p) / density
        t = t + step
        if bool((np.abs(step) <= 1e-13 * np.maximum(t, 1.0)).all()):
            break
    return np.asarray(t, np.float64)


def chi_squared_tail(x: float, dof: int) -> float:
    """Return P(X > x) of a chi-squared X with a whole number of degrees of freedom, at least 1.

    Abramowitz and Stegun 26.4.8 and 26.4.21: from one or two degrees upwards, each step of two adds a term.
    """
    half = x / 2.0
    if half <= 0.0:
        return 1.0
    first, tail = (0.5, math.erfc(math.sqrt(half))) if dof % 2 else (1.0, math.exp(-half))
    for step in range((dof - 1) // 2):
        a = first + step
        tail += math.exp(a * math.log(half) - half - math.lgamma(a + 1.0))
    return min(tail, 1.0)
