"""Effects over phases that had other weights, and between strata.

While weights change, the arms' units come from different times: pooled over a ramp, a metric that merely drifts looks
like an effect (Simpson's paradox; Kohavi, Tang, Xu, Trustworthy Online Controlled Experiments, 2020, ch. 3). So sums
are kept per phase, arms are compared within it, and what is compared is put together by the units of the phase:

    mean = sum over phases of w m,    V = sum of w^2 v / n,    w = units of the phase / units of all phases

N times the difference is then a sum over units still, which is what the always-valid interval needs.
"""

import numpy as np

from experiments.effects import Arms, Effect, contrast, relative
from experiments.sums import F64

Pair = tuple[Arms, Arms, F64 | float]


def standardise(arms: Arms) -> Arms:
    """Return the two arms as if each phase had had the same share of both: post-stratified by phase.

    The variance is that of one unit if all of the arm's were alike, so that over n it is V above; all that is made of
    `Arms` can be made of this. A phase in which an arm has fewer than two units is left out with all its units.

    Args:
        arms: a pair in each phase, every field of shape (..., phases, 2).

    Returns:
        The pair, every field of shape (..., 2); NaN where no phase is left.
    """
    known = np.isfinite(arms.variance) & np.isfinite(arms.mean) & (arms.n >= 2.0)
    used = known.all(axis=-1, keepdims=True)
    n = np.where(used, arms.n, 0.0)
    in_phase = n.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = in_phase / in_phase.sum(axis=-2, keepdims=True)
        total = n.sum(axis=-2)
        per_unit = np.where(used, weight**2 / np.where(used, n, 1.0), 0.0)

        def average(field: F64) -> F64:
            return np.asarray((weight * np.where(used, field, 0.0)).sum(axis=-2), np.float64)

        def spread(field: F64) -> F64:
            return np.asarray(total * (per_unit * np.where(used, field, 0.0)).sum(axis=-2), np.float64)

        divisor = np.where(used, arms.divisor, 0.0).sum(axis=-2)
    return Arms(
        total,
        average(arms.mean),
        np.where(total > 0.0, spread(arms.variance), np.nan),
        average(arms.pre_mean),
        spread(arms.pre_variance),
        spread(arms.covariance),
        np.asarray(divisor, np.float64),
    )


def interaction(one: Effect, other: Effect) -> Effect:
    """Return by how much an effect is larger in the other stratum: strata share no units, so variances add."""
    variance = one.variance + other.variance
    dof = variance**2 / (one.variance**2 / one.dof + other.variance**2 / other.dof)
    return Effect(other.estimate - one.estimate, variance, one.n + other.n, dof)


def lift_interaction(one: Pair, other: Pair) -> Effect:
    """Return by how much the relative lift is larger in the other stratum, as a share of the controls' means.

    On this scale strata that merely spend more or less do not differ. Both are held against one common lift, the mean
    of the two weighted by their variances, by `contrast`, which is linear in the means: where the lifts are equal both
    contrasts are about 0, so that the control's mean they are divided by adds no error to speak of. NaN where a
    control's mean is not above 0.

    Args:
        one: control, variation and the covariate's coefficient in a stratum.
        other: likewise, in the other.
    """
    lifts = [relative(a, b, theta) for a, b, theta in (one, other)]
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = [1.0 / lift.variance for lift in lifts]
        common = sum(weight * lift.estimate for weight, lift in zip(weights, lifts, strict=True)) / sum(weights)
    return interaction(*(_share(a, contrast(a, b, common, theta)) for a, b, theta in (one, other)))


def _share(a: Arms, effect: Effect) -> Effect:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(a.mean > 0.0, a.mean, np.nan)
        return effect._replace(estimate=effect.estimate / mean, variance=effect.variance / mean**2)
