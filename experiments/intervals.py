"""Always-valid intervals and e-values by the normal mixture, and fixed ones beside them.

Robbins, Ann. Math. Statist. 1970; Howard, Ramdas, McAuliffe, Sekhon, Ann. Statist. 49(2) 2021, eq. 14; as an asymptotic
confidence sequence Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Ann. Statist. 2024 (arXiv 2103.06476v7, eq. 9, 155,
161). With D an estimate, V its variance at N units and r = rho^2 the mixing precision per unit,

    E = (N r + 1)^(-1/2) exp(r N (D - D0)^2 / V / (2 (N r + 1)))            e-value of the null that D is D0
    h = sqrt(V) sqrt(2 (N r + 1) / (N r) ln(sqrt(N r + 1) / alpha))         half-width: E is 1 / alpha at its end

so that P(D0 ever outside D +- h) <= alpha over all N at once. Assumes that units arrive in an order that does not
depend on their values, each once, and that estimate and variance are close to their limits from the first look on:
looks before the burn-in (`running`) are held back. Arguments are arrays of shapes that fit.
"""

import math

import numpy as np

from experiments.effects import Arms, Effect, absolute
from experiments.special import log_normal_cdf, normal_quantile, student_quantile, student_tail
from experiments.sums import F64

TUNING = 5000.0
"""Default N*, units of both arms at which the interval is narrowest; GrowthBook's default too."""


def precision(alpha: F64 | float, tuning: F64 | float = TUNING) -> F64:
    """Return rho^2, per unit, with which the interval is about narrowest at `tuning` units of both arms.

    Waudby-Smith et al., eq. 161: within 4 % of the exact optimum, which takes Lambert's W. It must not depend on the
    data: chosen before the first look, and kept.

    Args:
        alpha: error rate, 0 < alpha < 1.
        tuning: N*, above 0.
    """
    odds = -2.0 * np.log(np.asarray(alpha, np.float64))
    return np.asarray((odds + np.log1p(odds)) / tuning, np.float64)


def one_sided_precision(alpha: F64 | float, tuning: F64 | float = TUNING) -> F64:
    """Return rho^2 for a bound on one side: that of an interval at twice alpha. For 0 < alpha < 1/2."""
    return precision(2.0 * np.asarray(alpha, np.float64), tuning)


def half_width(effect: Effect, alpha: F64 | float, rho2: F64 | float) -> F64:
    """Return h: the always-valid interval is the estimate -h and +h, in the estimate's unit. Howard et al., eq. 14."""
    grown = effect.n * rho2 + 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(effect.variance * 2.0 * grown / (effect.n * rho2) * (0.5 * np.log(grown) - np.log(alpha)))


def log_e_value(effect: Effect, rho2: F64 | float, null: F64 | float = 0.0) -> F64:
    """Return the natural logarithm of E, the evidence against the effect being `null`: any size, 0 is none."""
    grown = effect.n * rho2 + 1.0
    square = (effect.estimate - null) ** 2 / effect.variance
    return -0.5 * np.log(grown) + rho2 * effect.n * square / (2.0 * grown)


def one_sided_half_width(effect: Effect, alpha: F64 | float, rho2: F64 | float) -> F64:
    """Return h of a bound on one side: the effect is above the estimate - h; or, likewise, below the estimate + h.

    Waudby-Smith et al., eq. 134, in closed form: at most 1 % wider than where `log_e_value_above` reaches 1 / alpha,
    never narrower.
    """
    grown = effect.n * rho2 + 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(
            effect.variance * 2.0 * grown / (effect.n * rho2) * np.log1p(np.sqrt(grown) / (2.0 * np.asarray(alpha)))
        )


def lift_interval(a: Arms, b: Arms, alpha: F64 | float, rho2: F64 | float, theta: F64 | float = 0.0) -> tuple[F64, F64]:
    """Return the always-valid interval of the relative lift, lower and upper, as shares of A's mean.

    Fieller's way (J. R. Statist. Soc. B, 1954): all lifts that the always-valid test of `contrast` does not reject, the
    roots of a quadratic. Where A's mean is told from 0 it leaves out 0 exactly when the interval of the absolute effect
    does; where it is not, nothing is left out: -inf and inf. NaN where A's mean is not above 0.
    """
    return _fieller(a, b, half_width(_of_variance_one(absolute(a, b, theta)), alpha, rho2), theta)


def lift_bounds(a: Arms, b: Arms, alpha: F64 | float, rho2: F64 | float, theta: F64 | float = 0.0) -> tuple[F64, F64]:
    """Return a bound of the relative lift from below and one from above, each one-sided at alpha: as `lift_interval`.

    Args:
        a: the arm that is compared with.
        b: the arm of interest.
        alpha: error rate of each bound, 0 < alpha < 1/2.
        rho2: `one_sided_precision`.
        theta: coefficient of the covariate; 0 leaves it out.
    """
    return _fieller(a, b, one_sided_half_width(_of_variance_one(absolute(a, b, theta)), alpha, rho2), theta)


def _of_variance_one(effect: Effect) -> Effect:
    return effect._replace(variance=np.where(np.isfinite(effect.variance), 1.0, np.nan))


def _fieller(a: Arms, b: Arms, deviations: F64, theta: F64 | float) -> tuple[F64, F64]:
    """Return the lifts at which `contrast` is so many standard errors from 0."""
    effect = absolute(a, b, theta)
    with np.errstate(divide="ignore", invalid="ignore"):
        k = deviations**2
        c = effect.estimate + a.mean
        of_b = (b.variance + theta**2 * b.pre_variance - 2.0 * theta * b.covariance) / b.n
        # In u = 1 + lift: (c - u m)^2 = k (of_b + (v u^2 - 2 theta cov u + theta^2 v') / n)
        square = a.mean**2 - k * a.variance / a.n
        middle = (c * a.mean - k * theta * a.covariance / a.n) / square
        last = (c**2 - k * of_b - k * theta**2 * a.pre_variance / a.n) / square
        half = np.sqrt(np.maximum(middle**2 - last, 0.0))
        known = np.isfinite(effect.variance) & (a.mean > 0.0)
        told = square > 0.0
        lower = np.where(told, middle - half - 1.0, -np.inf)
        upper = np.where(told, middle + half - 1.0, np.inf)
        return np.where(known, lower, np.nan), np.where(known, upper, np.nan)


def log_e_value_above(effect: Effect, rho2: F64 | float, null: F64 | float = 0.0) -> F64:
    """Return ln E of the null that the effect is `null` at most: evidence that it is above.

    The mixture over one half of the normal law (Howard et al., Prop. 6). That it is below: negate estimate and null.
    """
    grown = effect.n * rho2 + 1.0
    t = (effect.estimate - null) / np.sqrt(effect.variance) * np.sqrt(effect.n * rho2 / grown)
    return 0.5 * np.log(4.0 / grown) + 0.5 * t * t + log_normal_cdf(t)


def below(effect: Effect) -> Effect:
    """Return the effect with its sign turned, for evidence and bounds on the other side."""
    return effect._replace(estimate=-effect.estimate)


def fixed_half_width(effect: Effect, alpha: F64 | float) -> F64:
    """Return h of Welch's interval, two-sided. Valid at one look that was set before; looking often, it is not."""
    dof = np.where(effect.dof > 0.0, effect.dof, 1.0)
    return np.where(effect.dof > 0.0, student_quantile(np.asarray(alpha) / 2.0, dof), np.nan) * np.sqrt(effect.variance)


def fixed_p(effect: Effect, null: F64 | float = 0.0) -> F64:
    """Return Welch's two-sided p-value. Valid at one look that was set before; looking often, it is not."""
    dof = np.where(effect.dof > 0.0, effect.dof, 1.0)
    t = np.abs(effect.estimate - null) / np.sqrt(effect.variance)
    return np.where(np.isfinite(t) & (effect.dof > 0.0), 2.0 * student_tail(np.nan_to_num(t), dof), np.nan)


def fixed_one_sided_half_width(effect: Effect, alpha: F64 | float) -> F64:
    """Return h of Welch's bound on one side."""
    return fixed_half_width(effect, 2.0 * np.asarray(alpha, np.float64))


def normal_half_width(effect: Effect, alpha: float) -> F64:
    """Return h of the fixed interval for many units: the normal quantile in place of Student's."""
    return float(normal_quantile(1.0 - alpha / 2.0)) * np.sqrt(effect.variance)


def e_value(log_e: F64) -> F64:
    """Return E itself, at most the greatest float."""
    return np.exp(np.minimum(log_e, math.log(np.finfo(np.float64).max)))


def p_value(log_e: F64) -> F64:
    """Return min(1, 1 / E): a p-value at one look; of the largest E so far (`running`), at any."""
    return np.exp(-np.maximum(log_e, 0.0))
