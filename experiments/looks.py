"""When a look is taken, and what all looks so far leave behind.

A look is taken at a part, and whether it is taken depends on the parts alone: so whoever reads the same parts again
takes the same looks, decides the same, and remembers the same.
"""

from typing import NamedTuple

import numpy as np

from experiments.effects import Effect, relative, relative_ratio
from experiments.intervals import fixed_half_width
from experiments.looking import Compared, Plan, compare
from experiments.memory import Ends, Memory, ends
from experiments.sample_ratio import SAMPLED, factors
from experiments.srm import RunningSrm
from experiments.sums import F64
from experiments.totals import ALL, Progress, Totals
from operators.state import State

MOST_LOOKS = 120
"""Remembered for plots. When there are more, every second goes, and from then on every second is taken."""

GROWN = 1.01
"""A look is due when there are so many times as many units."""

_HEAD = 3  # time, units, and the sample ratio's p; then, of each variation, lift, always-valid and fixed interval
_EACH = 5


class Seen(NamedTuple):
    """All that is worked out at a look: the arms beside each other, and the always-valid figures."""

    compared: Compared
    found: Ends


def see(totals: Totals, plan: Plan) -> Seen:
    """Work it out."""
    compared = compare(totals, plan)
    return Seen(compared, ends(compared, plan))


class Looks:
    """The looks so far at one experiment.

    Args:
        metrics: how many, `RISK` included.
        pairs: variations other than the control.

    Attributes:
        memory: of effects.
        srm: of the sample ratio, by `SAMPLED`.
        history: of the primary metric, for plots, oldest first, shape (at most MOST_LOOKS, 3 + 5 pairs).
        taken: how many were taken.
        time_ms: stream time of the newest; -1 before the first.
    """

    def __init__(self, metrics: int, pairs: int) -> None:
        self.memory = Memory(metrics, pairs)
        self.srm = RunningSrm(len(SAMPLED))
        self.history: F64 = np.zeros((0, _HEAD + _EACH * pairs))
        self.taken = 0
        self.time_ms = -1
        self._stride = 1
        self._units = 0
        self._exposed = 0

    def due(self, now: Progress, interval_s: float) -> bool:
        """Return whether a look is to be taken.

        At first; when stream time went on by the interval; when units grew by a hundredth; and when no window is open,
        since then nothing may come that would make another look due.

        Args:
            now: how far the experiment is, with the newest part.
            interval_s: seconds of stream time.
        """
        return (
            self.taken == 0
            or now.time_ms >= self.time_ms + 1_000.0 * interval_s
            or now.units > GROWN * self._units
            or now.exposed > GROWN * self._exposed
            or now.open == 0
        )

    def look(self, totals: Totals, plan: Plan) -> Seen:
        """Take in a look, and return what was seen."""
        seen = compared, found = see(totals, plan)
        self.memory.look(found, compared.ready, plan)
        self.srm.look(factors(totals, plan))
        if self.taken % self._stride == 0:
            self.history = np.concatenate([self.history, self._row(totals, plan, compared, found)[None]])
        if len(self.history) > MOST_LOOKS:
            self.history = self.history[::2]
            self._stride *= 2
        self.taken += 1
        opened = int(totals.open[0, :, 0].sum())
        self.time_ms, self._units = totals.timestamp, int(compared.units[ALL, 0].sum())
        self._exposed = self._units + opened
        return seen

    def _row(self, totals: Totals, plan: Plan, compared: Compared, found: Ends) -> F64:
        lift = lifts(compared, plan)
        ready = compared.ready[ALL, 0]
        half = np.full(len(ready), np.nan)
        half[ready] = fixed_half_width(Effect(*(field[plan.declared, ALL, 0][ready] for field in lift)), plan.alpha)
        estimate = lift.estimate[plan.declared, ALL, 0]
        always = (found.lift_lower[plan.declared, ALL, 0], found.lift_upper[plan.declared, ALL, 0])
        rows = np.stack([estimate, *always, estimate - half, estimate + half], axis=1)
        rows[~ready] = np.nan
        return np.concatenate([[totals.timestamp, compared.units[ALL, 0].sum(), self.srm.p[0]], rows.ravel()])

    def dump(self) -> State:
        """Return a copy of what is remembered."""
        counts = [self.taken, self.time_ms, self._stride, self._units, self._exposed]
        return {
            **self.memory.dump(),
            **self.srm.dump(),
            "history": self.history.copy(),
            "counts": np.array(counts, np.int64),
        }

    def load(self, state: State) -> None:
        """Replace what is remembered by what was dumped.

        Raises:
            ValueError: the shapes differ.
        """
        history = np.asarray(state["history"])
        if history.ndim != 2 or history.shape[1] != self.history.shape[1]:
            raise ValueError(f"expected rows of {self.history.shape[1]}, got {history.shape} - at history")
        self.memory.load(state)
        self.srm.load(state)
        self.history = history.copy()
        self.taken, self.time_ms, self._stride, self._units, self._exposed = np.asarray(state["counts"]).tolist()


def lifts(compared: Compared, plan: Plan) -> Effect:
    """Return relative lifts by the delta method, every field of shape (2, groups, metrics, pairs)."""
    a, b, slopes = compared.a, compared.b, compared.theta
    plain, ratio = relative(a, b, slopes), relative_ratio(a, b, slopes)
    of_ratio = np.array([kind == "ratio" for kind in plan.kinds])[:, None]
    fields = (np.where(of_ratio, two, one) for one, two in zip(plain, ratio, strict=True))
    return Effect(*(np.broadcast_to(field, slopes.shape) for field in fields))
