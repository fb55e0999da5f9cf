"""What is remembered of an experiment between two looks, and how a look is taken in.

Bounds of guardrails and of risk are on one side, at alpha over the number of variations:

- that a guardrail is *held* is asked of the bound of now: a variation is shipped by what is, not by what once was;
- that harm is *shown* is remembered: the greatest lower bound so far, which covers as all of them do.
"""

from typing import NamedTuple

import numpy as np

from experiments.intervals import (
    below,
    half_width,
    lift_bounds,
    lift_interval,
    log_e_value,
    one_sided_half_width,
    p_value,
)
from experiments.looking import Bool, Compared, Plan
from experiments.running import Running
from experiments.strata import Pair, lift_interaction
from experiments.sums import F64
from experiments.totals import ALL, GROUPS, LOW, RISKY
from operators.state import State


class Ends(NamedTuple):
    """The always-valid figures of one look, of shape (2, groups, metrics, pairs) but where said.

    Attributes:
        lower: of the difference.
        upper: of the difference.
        lift_lower: of the relative lift.
        lift_upper: of the relative lift.
        log_e: ln of the e-value of no difference.
        deciding: both ends of the primary metric's difference at `Plan.each`, shape (2, pairs).
        bound: so much worse it is at most, shape (metrics, pairs), in the unit of the margin.
        harm: so much worse it is at least, likewise.
        interaction: ln of the e-value of one lift in the strata low and risky, shape (metrics, pairs).
    """

    lower: F64
    upper: F64
    lift_lower: F64
    lift_upper: F64
    log_e: F64
    deciding: F64
    bound: F64
    harm: F64
    interaction: F64


def ends(compared: Compared, plan: Plan) -> Ends:
    """Work out the always-valid figures."""
    effect, slopes = compared.effect, compared.theta
    half = half_width(effect, plan.alpha, plan.rho2)
    lift_lower, lift_upper = lift_interval(compared.a, compared.b, plan.alpha, plan.rho2, slopes)
    primary = type(effect)(*(_of_primary(field, plan) for field in effect))
    deciding = half_width(primary, plan.each, plan.rho2)
    bound, harm = _bounds(compared, plan)
    return Ends(
        effect.estimate - half,
        effect.estimate + half,
        lift_lower,
        lift_upper,
        log_e_value(effect, plan.rho2),
        np.stack([primary.estimate - deciding, primary.estimate + deciding]),
        bound,
        harm,
        log_e_value(lift_interaction(_pair(compared, plan, LOW), _pair(compared, plan, RISKY)), plan.rho2),
    )


def _of_primary(field: F64, plan: Plan) -> F64:
    """Return the declared analysis of the primary metric over all units; counts are the same in both."""
    found: F64 = field[plan.declared, ALL, 0] if field.ndim == 4 else field[ALL, 0]
    return found


def _pair(compared: Compared, plan: Plan, group: int) -> Pair:
    a, b = (type(arm)(*(field[group] for field in arm)) for arm in (compared.a, compared.b))
    return a, b, compared.theta[plan.declared, group]


def _bounds(compared: Compared, plan: Plan) -> tuple[F64, F64]:
    """Return by how much it is worse at most, and at least; shape (metrics, pairs)."""
    a, b, slope = _pair(compared, plan, ALL)
    effect = type(compared.effect)(
        *(field[plan.declared, ALL] if field.ndim == 4 else field[ALL] for field in compared.effect)
    )
    better = plan.better[:, None]
    worse = effect._replace(estimate=-better * effect.estimate)
    half = one_sided_half_width(worse, plan.each, plan.bound_rho2)
    lower, upper = lift_bounds(a, b, plan.each, plan.bound_rho2, slope)
    most, least = np.where(better > 0.0, -lower, upper), np.where(better > 0.0, -upper, lower)
    share = plan.relative[:, None]
    bound = np.where(share, most, worse.estimate + half)
    return bound, np.where(share, least, -below(worse).estimate - half)


class Memory:
    """The looks so far at one experiment.

    Args:
        metrics: how many, `RISK` included.
        pairs: variations other than the control.

    Attributes:
        difference: of each analysis, group, metric and pair.
        lift: likewise, of relative lifts.
        deciding: of the primary metric at `Plan.each`, shape (pairs,).
        harm: greatest lower bound of harm so far, -inf before the first look, shape (metrics, pairs).
        interaction: largest ln E so far, -inf before the first look, shape (metrics, pairs).
    """

    def __init__(self, metrics: int, pairs: int) -> None:
        shape = (2, len(GROUPS), metrics, pairs)
        self.difference = Running(shape)
        self.lift = Running(shape)
        self.deciding = Running((pairs,))
        self.harm: F64 = np.full((metrics, pairs), -np.inf)
        self.interaction: F64 = np.full((metrics, pairs), -np.inf)

    def look(self, found: Ends, ready: Bool, plan: Plan) -> None:
        """Take in one look.

        Args:
            found: its figures.
            ready: whose burn-in is over, shape (groups, metrics, pairs).
            plan: that was declared.
        """
        self.difference.look(found.lower, found.upper, found.log_e, ready)
        self.lift.look(found.lift_lower, found.lift_upper, found.log_e, ready)
        primary = found.log_e[plan.declared, ALL, 0]
        self.deciding.look(found.deciding[0], found.deciding[1], primary, ready[ALL, 0])
        harm = ready[ALL] & ~np.isnan(found.harm)
        self.harm = np.where(harm, np.fmax(self.harm, found.harm), self.harm)
        both = ready[LOW] & ready[RISKY] & ~np.isnan(found.interaction)
        self.interaction = np.where(both, np.fmax(self.interaction, found.interaction), self.interaction)

    @property
    def interaction_p(self) -> F64:
        """Anytime p of one lift in both strata; NaN before the first look."""
        return np.where(np.isinf(self.interaction), np.nan, p_value(self.interaction))

    def dump(self) -> State:
        """Return a copy of what is remembered."""
        state: State = {"harm": self.harm.copy(), "interaction": self.interaction.copy()}
        for name, running in self._running().items():
            state |= {f"{name}.{key}": array for key, array in running.dump().items()}
        return state

    def load(self, state: State) -> None:
        """Replace what is remembered by what was dumped.

        Raises:
            ValueError: the shapes differ.
        """
        for name in ("harm", "interaction"):
            array, mine = np.asarray(state[name]), getattr(self, name)
            if array.shape != mine.shape:
                raise ValueError(f"expected shape {mine.shape}, got {array.shape} - at {name}")
            setattr(self, name, array.copy())
        for name, running in self._running().items():
            prefix = f"{name}."
            running.load({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})

    def _running(self) -> dict[str, Running]:
        return {"difference": self.difference, "lift": self.lift, "deciding": self.deciding}
