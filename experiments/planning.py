"""What a whole experiment takes: arms in their weights, an effect or a lift, a covariate, N* of the sequential test.

Each arm is compared with the first, and every comparison is to have the power asked for, so the smallest arm decides.

An effect is a difference of means. A lift is a share of the first arm's mean, and two intervals are made of it: that
of the contrast (`intervals.lift_interval`, always-valid), which finds a lift exactly when the difference is found, and
the usual one around the quotient (`effects.relative`, fixed), where the variance of A counts by `relative_variances`.
A lift is planned so that either finds it: the greater variance is taken, the quotient's where the lift is above 0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from experiments.power import Plan, power, proportion_variances, relative_variances, units_needed, with_covariate

MOST_LIFT = 1e6
"""Lift beyond which a search gives up: the deviation of the quotient grows with the lift, so few units find none."""

_CLOSE = 1e-12
"""Relative error of a share times a whole number, which must not make one unit more."""


class Metric(NamedTuple):
    """What is measured, as it is now.

    Attributes:
        mean: of a unit; of a ratio the ratio of the means, of a proportion the share of ones.
        variance: of a unit; of a ratio by the delta method.
        binary: whether it is a proportion, whose variance changes with the effect.
    """

    mean: float
    variance: float
    binary: bool = False


class Design(NamedTuple):
    """How it is to be compared.

    Attributes:
        weights: shares of the units by arm, of sum 1; the others are compared with the first.
        alpha: two-sided error rate of one comparison.
        target: power, above alpha and below 1.
        correlation: of metric and covariate, the same in every arm; 0 for no covariate.
    """

    weights: tuple[float, ...] = (0.5, 0.5)
    alpha: float = 0.05
    target: float = 0.8
    correlation: float = 0.0

    def pair(self, arm: int) -> float:
        """Return the share of all units that are in this arm or the first."""
        return self.weights[0] + self.weights[arm]

    def compared(self) -> list[int]:
        """Return the arms to be compared with the first, one of each weight, the smallest first."""
        arms = {weight: arm for arm, weight in enumerate(self.weights) if arm > 0}
        return [arms[weight] for weight in sorted(arms)]


Kind = Callable[[Metric, Design, int, float, float | None], Plan]
"""`effect_plan` or `lift_plan`: of metric, design, arm, size of the effect and N*."""


def effect_plan(metric: Metric, design: Design, arm: int, effect: float, tuning: float | None) -> Plan:
    """Return the test of an arm against the first, for a difference of means of this size.

    Raises:
        ValueError: no proportion can be changed by so much.
    """
    of_a, of_b = (with_covariate(variance, design.correlation) for variance in _variances(metric, effect))
    return Plan(of_a, of_b, design.weights[arm] / design.pair(arm), design.alpha, tuning)


def lift_plan(metric: Metric, design: Design, arm: int, lift: float, tuning: float | None) -> Plan:
    """Return the test of an arm against the first, for a lift of this size.

    With c = 1 + lift and r the correlation, the quotient's variance of A is v (c^2 - r^2 (2 c - 1)) / m^2: `relative`
    with theta^2 var X = r^2 v and theta cov = r^2 v.

    Raises:
        ValueError: no proportion can be changed by so much, or the mean is not above 0.
    """
    of_a, of_b = _variances(metric, lift * metric.mean)
    square, c = design.correlation**2, 1.0 + lift
    quotient, of_b = relative_variances(metric.mean, of_a, with_covariate(of_b, design.correlation), lift)
    quotient -= of_a * square * (2.0 * c - 1.0) / metric.mean**2
    contrast = with_covariate(of_a, design.correlation) / metric.mean**2
    share_b = design.weights[arm] / design.pair(arm)
    return Plan(max(quotient, contrast), of_b, share_b, design.alpha, tuning)


def _variances(metric: Metric, effect: float) -> tuple[float, float]:
    return proportion_variances(metric.mean, effect) if metric.binary else (metric.variance, metric.variance)


def arms_needed(kind: Kind, metric: Metric, design: Design, size: float, tuning: float | None) -> tuple[int, ...]:
    """Return the fewest units by arm, in the design's weights, with which every comparison has its power.

    Raises:
        ValueError: there is no such effect, or it takes more than `experiments.power.MOST` units.
    """
    in_all = max(
        units_needed(kind(metric, design, arm, size, tuning), size, design.target) / design.pair(arm)
        for arm in design.compared()
    )
    return tuple(math.ceil(in_all * weight * (1.0 - _CLOSE)) for weight in design.weights)


def size_found(kind: Kind, metric: Metric, design: Design, units: float, tuning: float | None) -> float | None:
    """Return the smallest size above 0 that every comparison finds with its power; None if none is found.

    Args:
        kind: of the effect.
        metric: what is measured.
        design: how it is compared.
        units: of all arms together.
        tuning: N*, None for the fixed test.
    """
    scale = metric.mean if kind is lift_plan else 1.0
    most = (1.0 - metric.mean) / scale if metric.binary else MOST_LIFT if kind is lift_plan else math.inf

    def found(size: float) -> bool:
        plans = ((kind(metric, design, arm, size, tuning), arm) for arm in design.compared())
        return all(power(plan, size, units * design.pair(arm)) >= design.target for plan, arm in plans)

    low, high = 0.0, min(math.sqrt(metric.variance / units) / scale, most / 2.0)
    while not found(high):
        low, high = high, min(2.0 * high, (high + most) / 2.0)
        if most - high < 1e-9 * most:
            return None
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def tuning_at(units: float) -> float:
    """Return N* for a test that is meant to end at so many units of a pair: two digits, easily written down.

    The width near its narrowest is flat: 5 % beside it cost less than a thousandth.
    """
    return float(f"{max(units, 2.0):.1e}")


def chosen_tuning(kind: Kind, metric: Metric, design: Design, size: float) -> float:
    """Return N* near the units that the test of the smallest arm needs with it, so that about the fewest are needed.

    Raises:
        ValueError: as `arms_needed`.
    """
    arm = design.compared()[0]
    tuning = tuning_at(2.0 * units_needed(kind(metric, design, arm, size, None), size, design.target))
    for _ in range(10):
        before = tuning
        tuning = tuning_at(units_needed(kind(metric, design, arm, size, tuning), size, design.target))
        if tuning == before:
            break
    return tuning
