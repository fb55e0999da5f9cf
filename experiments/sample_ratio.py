"""Whether units came to the arms as designed: over all phases, of all units and of each stratum.

One sequential test of all units at `limit`, and one of each of the three strata at a third of it: a sound experiment is
called broken by either with probability `limit` at most. Strata are asked because a bot that skips one arm, or a login
wall in it, keeps out some kind of units and not others.
"""

import msgspec
import numpy as np

from experiments.looking import Plan
from experiments.special import chi_squared_tail
from experiments.srm import RunningSrm, log_bayes_factor, strays
from experiments.sums import F64, I64
from experiments.totals import GROUPS, Totals
from schemas.readout import SampleRatio

STRAYS = 0.001
"""Share of units in variations of weight 0, of the others, that may be: what caches and open pages leave over."""

SAMPLED = GROUPS[:4]
"""All units, and the strata: each unit is in one."""


def factors(totals: Totals, plan: Plan) -> F64:
    """Return ln of the Bayes factor of each group and phase, shape (4, phases); 0 of strata where none are read."""
    found = log_bayes_factor(totals.exposed[: len(SAMPLED)], _shares(totals, plan))
    return found if totals.tiers else np.where(np.arange(len(SAMPLED))[:, None] == 0, found, 0.0)


def sample_ratio(totals: Totals, plan: Plan, running: RunningSrm, limit: float) -> tuple[SampleRatio, ...]:
    """Return what is known of each group; of all units alone, where no tiers are read.

    Args:
        totals: newest.
        plan: of the definition.
        running: looks so far, this one too.
        limit: see the module's text.
    """
    shares = _shares(totals, plan)
    return tuple(
        _of_group(totals.exposed[at], shares, SAMPLED[at], float(running.p[at]), limit / 3.0 if at else limit)
        for at in range(len(SAMPLED) if totals.tiers else 1)
    )


def astray(found: SampleRatio) -> bool:
    """Return whether more units are in variations of weight 0 than may be."""
    return found.stray > STRAYS * (sum(found.counts) - found.stray)


def _of_group(counts: I64, shares: F64, name: str, p: float, limit: float) -> SampleRatio:
    tested = np.where(shares > 0.0, counts, 0).astype(np.float64)
    expected = tested.sum(axis=1, keepdims=True) * shares
    lost = int(strays(counts, shares).sum())
    found = SampleRatio(
        stratum=name,  # type: ignore[arg-type]
        counts=tuple(counts.sum(axis=0).tolist()),
        expected=tuple(np.round(expected.sum(axis=0), 1).tolist()),
        p=float(f"{p:.6g}"),
        chi_squared_p=_chi_squared(tested, expected),
        alarm=p <= limit,
        stray=lost,
    )
    return msgspec.structs.replace(found, alarm=True) if astray(found) else found


def _chi_squared(counts: F64, expected: F64) -> float | None:
    """Return Pearson's p over all phases, each with the degrees of freedom of its own arms; None if there are none."""
    known = expected > 0.0
    dof = int((known.sum(axis=1) - 1).clip(min=0).sum())
    if dof == 0:
        return None
    terms = np.where(known, (counts - expected) ** 2 / np.where(known, expected, 1.0), 0.0)
    return float(f"{chi_squared_tail(float(terms.sum()), dof):.6g}")


def _shares(totals: Totals, plan: Plan) -> F64:
    """Return the designed shares by phase; of phases that were taken back before they began there are none."""
    phases = totals.exposed.shape[1]
    shares = np.zeros((phases, plan.shares.shape[1]))
    shares[: len(plan.shares)] = plan.shares
    return shares
