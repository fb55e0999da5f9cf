"""How many units an effect takes, what is seen with those there are, and how probable it is.

With an estimate that is normal around the true difference d with variance V = v_A / n_A + v_B / n_B, and h the
half-width of the test at n_A + n_B units,

    power = P(|estimate| > h) = P(Z > (h - d) / sqrt(V)) + P(Z > (h + d) / sqrt(V))

Fixed: h = z sqrt(V). Sequential: h is that of the always-valid interval at its last look (Waudby-Smith et al., eq. 155;
GrowthBook says it likewise). The test may have stopped before, so the true power is higher: what is said is a bound.

Variances are of one unit, as `Arms.variance`; those of a relative effect are found by `relative_variances`. A
covariate with correlation r takes 1 - r^2 of the variance (Deng et al. 2013, eq. 5): `with_covariate`.
"""

from typing import NamedTuple

import numpy as np

from experiments.effects import Arms, Effect
from experiments.intervals import half_width, normal_half_width, precision
from experiments.special import normal_tail
from experiments.sums import F64

MOST = 10**12
"""Units beyond which a search gives up."""


class Plan(NamedTuple):
    """How a test is meant to be.

    Attributes:
        variance_a: of one unit of the arm that is compared with.
        variance_b: of one unit of the other arm.
        share_b: of both arms' units in B, between 0 and 1; 1/2 for equal arms.
        alpha: two-sided error rate, divided by the size of the family if there are several hypotheses.
        tuning: N* of the always-valid interval; None for a fixed test, looked at once.
    """

    variance_a: float
    variance_b: float
    share_b: float = 0.5
    alpha: float = 0.05
    tuning: float | None = None


def proportion_variances(share: float, effect: float) -> tuple[float, float]:
    """Return the variances of a unit of A, whose share of ones is given, and of B, whose share is higher by `effect`.

    Raises:
        ValueError: one of both shares is not between 0 and 1.
    """
    for name, value in (("share", share), ("share + effect", share + effect)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} == {value}, must be between 0 and 1")
    return share * (1.0 - share), (share + effect) * (1.0 - share - effect)


def relative_variances(mean_a: float, variance_a: float, variance_b: float, lift: float) -> tuple[float, float]:
    """Return the variances of a unit as a relative lift has them: both over m^2, and that of A times (1 + lift)^2.

    Raises:
        ValueError: the mean of A is not above 0.
    """
    if not mean_a > 0.0:
        raise ValueError(f"mean_a == {mean_a}, must be > 0")
    return variance_a * (1.0 + lift) ** 2 / mean_a**2, variance_b / mean_a**2


def with_covariate(variance: float, correlation: float) -> float:
    """Return the variance that is left of a unit's metric once a covariate of this correlation is used.

    Raises:
        ValueError: the correlation is not from -1 to 1.
    """
    if not -1.0 <= correlation <= 1.0:
        raise ValueError(f"correlation == {correlation}, must be from -1 to 1")
    return variance * (1.0 - correlation**2)


def correlation(arm: Arms) -> F64:
    """Return the correlation of metric and covariate in an arm; 0 where either has no spread."""
    product = arm.variance * arm.pre_variance
    return np.where(product > 0.0, arm.covariance / np.sqrt(np.where(product > 0.0, product, 1.0)), 0.0)


def power(plan: Plan, effect: float, units: float) -> float:
    """Return the probability that a test of so many units finds the effect, on either side; 0 to 1.

    Args:
        plan: the test.
        effect: the true difference, in the unit that the plan's variances are of.
        units: of both arms together, above 0.

    Raises:
        ValueError: the plan is none.
    """
    _check(plan)
    n = np.float64(units)
    variance = plan.variance_a / (n * (1.0 - plan.share_b)) + plan.variance_b / (n * plan.share_b)
    seen = Effect(*(np.asarray(value, np.float64) for value in (effect, variance, n, n)))
    if plan.tuning is None:
        half = normal_half_width(seen, plan.alpha)
    else:
        half = half_width(seen, plan.alpha, precision(plan.alpha, plan.tuning))
    scale = np.sqrt(variance)
    return float(normal_tail((half - effect) / scale) + normal_tail((half + effect) / scale))


def units_needed(plan: Plan, effect: float, target: float = 0.8) -> int:
    """Return the fewest units of both arms with which the power is at least `target`.

    Args:
        plan: the test.
        effect: the true difference, not 0.
        target: power, above alpha and below 1.

    Raises:
        ValueError: the effect or the target is not as said, or more than `MOST` units would be needed.
    """
    _check(plan)
    if effect == 0.0 or not np.isfinite(effect):
        raise ValueError(f"effect == {effect}, must not be 0")
    if not plan.alpha < target < 1.0:
        raise ValueError(f"target == {target}, must be between alpha == {plan.alpha} and 1")
    high = 2
    while power(plan, effect, high) < target:
        high *= 2
        if high > MOST:
            raise ValueError(f"effect == {effect}: more than {MOST} units needed")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(plan, effect, middle) >= target else (middle, high)
    return high


def detectable(plan: Plan, units: float, target: float = 0.8) -> float:
    """Return the smallest effect, above 0, that so many units find with power `target`.

    Args:
        plan: the test; its variances are taken to be the same at every effect.
        units: of both arms together.
        target: power, above alpha and below 1.

    Raises:
        ValueError: the target is not as said.
    """
    _check(plan)
    if not plan.alpha < target < 1.0:
        raise ValueError(f"target == {target}, must be between alpha == {plan.alpha} and 1")
    low, high = 0.0, float(np.sqrt((plan.variance_a + plan.variance_b) / units))
    while power(plan, high, units) < target:
        high *= 2.0
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (low, middle) if power(plan, middle, units) >= target else (middle, high)
    return high


def _check(plan: Plan) -> None:
    """Raise unless all of a plan is as it says, with every complaint at once."""
    wrong = [
        f"{name} == {value}, must be {must}"
        for name, value, good, must in (
            ("variance_a", plan.variance_a, plan.variance_a > 0.0, "> 0"),
            ("variance_b", plan.variance_b, plan.variance_b > 0.0, "> 0"),
            ("share_b", plan.share_b, 0.0 < plan.share_b < 1.0, "between 0 and 1"),
            ("alpha", plan.alpha, 0.0 < plan.alpha < 1.0, "between 0 and 1"),
            ("tuning", plan.tuning, plan.tuning is None or plan.tuning > 0.0, "> 0"),
        )
        if not good
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
