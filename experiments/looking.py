"""One look at an experiment: every metric and every pair of arms, in every group of units, all at once.

Arrays have the axes (groups, metrics, pairs): `totals.GROUPS`, the metrics of a part with `RISK` last, and each
variation against the control. Where there are two analyses, unadjusted and with the covariate, they come first.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.effects import Arms, Effect, absolute, means, proportions, ratios, theta
from experiments.intervals import one_sided_precision, precision
from experiments.running import conversions_missing, effective_missing, units_missing
from experiments.strata import standardise
from experiments.sums import F64, Moments
from experiments.totals import Totals, metrics_of
from schemas.definition import Definition

Bool = NDArray[np.bool_]

UNADJUSTED, ADJUSTED = 0, 1

UNEQUAL = 1.5
"""So many times as many units in one arm as in the other: then skewness does not cancel, and the effective size is
asked for (`running.effective_missing`)."""

_KINDS = {"mean": means, "proportion": proportions, "ratio": ratios}


class Plan(NamedTuple):
    """What is fixed before the first look.

    Attributes:
        kinds: of each metric, `RISK` last.
        better: 1 where more is good, -1 where less is, shape (metrics,).
        declared: `ADJUSTED` or `UNADJUSTED`.
        alpha: of each interval.
        each: alpha over the number of variations: of what decides, so that all of them together err by alpha.
        rho2: mixing precision of two-sided intervals; also of those at `each`, so that p-values and they agree.
        bound_rho2: of bounds on one side at `each`.
        margins: of guardrails; NaN of other metrics, shape (metrics,).
        relative: whether the margin is a share of the control's mean, shape (metrics,).
        shares: designed, shape (phases, arms).
    """

    kinds: tuple[str, ...]
    better: F64
    declared: int
    alpha: float
    each: float
    rho2: F64
    bound_rho2: F64
    margins: F64
    relative: Bool
    shares: F64

    @property
    def pairs(self) -> int:
        """Variations other than the control."""
        return int(self.shares.shape[1]) - 1


def plan(definition: Definition) -> Plan:
    """Return what a definition fixes."""
    metrics = metrics_of(definition)
    others = len(metrics) - len(definition.guardrails)
    each = definition.alpha / (len(definition.variations) - 1)
    guardrails = definition.guardrails
    return Plan(
        kinds=(*(metric.kind for metric in metrics), "proportion"),
        better=np.array([*(1.0 if metric.better == "up" else -1.0 for metric in metrics), -1.0]),
        declared=ADJUSTED if definition.cuped else UNADJUSTED,
        alpha=definition.alpha,
        each=each,
        rho2=precision(definition.alpha, definition.tuning_n),
        bound_rho2=one_sided_precision(min(each, 0.49), definition.tuning_n),
        margins=np.array([np.nan] * others + [guardrail.margin for guardrail in guardrails] + [np.nan]),
        relative=np.array([False] * others + [each.margin_of == "relative" for each in guardrails] + [False]),
        # To the last digit 1: of 20 million units a millionth would be seen.
        shares=np.array([np.array(phase.weights) / sum(phase.weights) for phase in definition.phases]),
    )


class Compared(NamedTuple):
    """Arms against the control, phases put together, of shape (groups, metrics, pairs).

    Attributes:
        a: the control, as it compares with each variation.
        b: the variations.
        theta: coefficient of the covariate, 0 where there is none; shape (2, groups, metrics, pairs): first all 0.
        effect: of the means, B minus A, of both analyses, shape (2, groups, metrics, pairs).
        missing: what each burn-in lacks, by name.
        units: whose window is over, shape (groups, metrics, arms).
    """

    a: Arms
    b: Arms
    theta: F64
    effect: Effect
    missing: dict[str, F64]
    units: F64

    @property
    def ready(self) -> Bool:
        """Whether the burn-in is over and there is any spread."""
        return np.asarray(np.all([lack == 0.0 for lack in self.missing.values()], axis=0), np.bool_)


def compare(totals: Totals, plan: Plan) -> Compared:
    """Compare every variation with the control."""
    moments = totals.sums.moments()  # (groups, metrics, phases, arms)
    arms = _by_kind(moments, plan.kinds)
    pairs = Arms(*(_paired(field) for field in arms))
    pairs = pairs._replace(variance=np.where(_enough(pairs, plan), pairs.variance, np.nan))
    both = standardise(pairs)
    a, b = both.take(0), both.take(1)
    slope = theta(a, b)
    slopes = np.stack([np.zeros_like(slope), slope])
    effect = absolute(a, b, slopes)
    return Compared(a, b, slopes, effect, _missing(a, b, effect, plan), moments.n.sum(axis=2))


def _by_kind(moments: Moments, kinds: tuple[str, ...]) -> Arms:
    fields: F64 = np.empty((len(Arms._fields), *moments.n.shape))
    for kind, reduce in _KINDS.items():
        of = [at for at, each in enumerate(kinds) if each == kind]
        if of:
            arms = reduce(Moments(*(field[:, of] for field in moments)))
            fields[:, :, of] = np.stack(arms)
    return Arms(*fields)


def _paired(field: F64) -> F64:
    """Return (..., pairs, phases, 2) from (..., phases, arms): the control beside each variation."""
    control, others = field[..., :1], field[..., 1:]
    return np.moveaxis(np.stack([np.broadcast_to(control, others.shape), others], axis=-1), -3, -2)


def _enough(arms: Arms, plan: Plan) -> Bool:
    """Return whether each phase has had the burn-in in both arms, or is the only one, of which `_missing` asks.

    A phase counts by all its units, with the variance that is seen in it: of the 20 units that 1 % of a thousand are,
    often none at all. Without this, half of experiments without an effect that go from 50/50 to 99/1 would be rejected.

    Args:
        arms: of each pair and phase, every field of shape (groups, metrics, pairs, phases, 2).
        plan: of the definition.
    """
    share = np.array([kind == "proportion" for kind in plan.kinds])[:, None, None, None]
    mean = np.array([kind == "mean" for kind in plan.kinds])[:, None, None, None]
    n = np.nan_to_num(arms.n)
    unequal = n.max(axis=-1, keepdims=True) > UNEQUAL * n.min(axis=-1, keepdims=True)
    lack = units_missing(n) + np.where(share, conversions_missing(n, arms.mean), 0.0)
    lack = lack + np.where(mean & unequal, effective_missing(arms), 0.0)
    alone = (n >= 2.0).all(axis=-1, keepdims=True).sum(axis=-2, keepdims=True) <= 1
    return np.asarray((lack == 0.0).all(axis=-1, keepdims=True) | alone, np.bool_)


def _missing(a: Arms, b: Arms, effect: Effect, plan: Plan) -> dict[str, F64]:
    """Return what the burn-in lacks, of the arm that lacks more."""
    n, m = np.nan_to_num(a.n), np.nan_to_num(b.n)
    share = np.array([kind == "proportion" for kind in plan.kinds])[:, None]
    mean = np.array([kind == "mean" for kind in plan.kinds])[:, None]
    unequal = np.maximum(n, m) > UNEQUAL * np.minimum(n, m)
    conversions = np.maximum(conversions_missing(n, a.mean), conversions_missing(m, b.mean))
    effective = np.maximum(effective_missing(a), effective_missing(b))
    return {
        "units": np.maximum(units_missing(n), units_missing(m)),
        "conversions": np.where(share, conversions, 0.0),
        "effective_units": np.where(mean & unequal, effective, 0.0),
        "spread": np.where(np.isfinite(effect.variance[plan.declared]), 0.0, 1.0),
    }
