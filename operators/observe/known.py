"""The definitions that were applied so far, and what follows from them for reading."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import msgspec

from experiments.assigner import allocations
from experiments.assignment import Allocation
from operators.accumulate.observed import experiment_key
from operators.accumulate.plan import metrics_of
from operators.observe.measures import Table, table
from schemas.definition import LONGEST_S, Definition
from schemas.event import LAST_TIME_MS
from schemas.part import MOST_ARMS, RISK

_decode_all = msgspec.json.Decoder(list[Definition]).decode
_encode = msgspec.json.Encoder().encode


class Experiment(NamedTuple):
    """What an exposure is held against.

    Attributes:
        key: `experiment_key(...)`.
        arms: index of each variation.
        starts: of the phases, epoch milliseconds.
        owners: for each phase, the first bucket of each run of buckets of one arm, ascending, and whose it is; -1 for
            nobody's.
    """

    key: int
    arms: dict[str, int]
    starts: tuple[int, ...]
    owners: list[tuple[list[int], list[int]]]

    def owner(self, bucket: int, phase: int, time_ms: int) -> int:
        """Return whose a bucket is, in a phase, or in that of the time if the phase is -1.

        Returns:
            The arm; -1 if it is nobody's; -2 if there is no such phase: then no arm is right.
        """
        at = bisect_right(self.starts, time_ms) - 1 if phase < 0 else phase
        if not 0 <= at < len(self.owners):
            return -2
        firsts, arms = self.owners[at]
        return arms[bisect_right(firsts, bucket) - 1]


class Known:
    """Definitions by id, as many as were applied.

    Attributes:
        definitions: newest of each.
        measures: what all of them read.
    """

    def __init__(self) -> None:
        self.definitions: dict[str, Definition] = {}
        self.measures: Table = table(())
        self._experiments: dict[str, Experiment] = {}

    def experiment(self, name: str) -> Experiment | None:
        """Return what an exposure is held against; None if there is no definition."""
        found = self._experiments.get(name)
        if found is None and name in self.definitions:
            found = self._experiments[name] = _experiment(self.definitions[name])
        return found

    def apply(self, changes: dict[str, Definition | None]) -> None:
        """Take newer definitions; None takes one back."""
        for name, definition in changes.items():
            self._experiments.pop(name, None)
            if definition is None:
                self.definitions.pop(name, None)
            else:
                self.definitions[name] = definition
        if changes:
            self.measures = table(each for _, each in sorted(self.definitions.items()))

    def write(self) -> str:
        """Return all definitions as text, the same for the same definitions."""
        return _encode([each for _, each in sorted(self.definitions.items())]).decode()

    @classmethod
    def read(cls, text: str) -> "Known":
        """Read what `write` wrote."""
        known = cls()
        known.apply({each.id: each for each in _decode_all(text)})
        return known


def is_sound(definition: Definition) -> bool:
    """Tell whether a definition that has the right form also makes sense, as `tidegate experiments apply` sees to."""
    arms, phases, metrics = definition.variations, definition.phases, metrics_of(definition)
    names = [metric.name for metric in metrics]
    checks: tuple[Callable[[], bool], ...] = (
        lambda: len(set(arms)) == len(arms),
        lambda: len(set(names)) == len(names) and RISK not in names,
        lambda: (len(metrics) + 1) * len(phases) * len(arms) <= MOST_ARMS,
        lambda: all(before.start < after.start for before, after in pairwise(phases)),
        lambda: all(len(phase.weights) == len(arms) for phase in phases),
        lambda: all(abs(sum(phase.weights) - 1.0) <= 1e-6 for phase in phases),
        lambda: max(definition.attribution_window_s, definition.pre_period_s) <= LONGEST_S,
        lambda: max(definition.end or 0, *(phase.start for phase in phases), 0) <= LAST_TIME_MS,
    )
    return all(check() for check in checks)


def changed_fields(before: Definition | None, after: Definition) -> str:
    """Return the names of the fields that differ, joined by commas; all that is new counts as `new`."""
    if before is None:
        return "new"
    names = [name for name in Definition.__struct_fields__ if getattr(before, name) != getattr(after, name)]
    return ",".join(name for name in names if name not in ("version", "timestamp"))


def _experiment(definition: Definition) -> Experiment:
    return Experiment(
        experiment_key(definition.id, definition.variations),
        {name: arm for arm, name in enumerate(definition.variations)},
        tuple(phase.start for phase in definition.phases),
        [_runs(allocation) for allocation in allocations(definition.phases)],
    )


def _runs(allocation: Allocation) -> tuple[list[int], list[int]]:
    owned = sorted((first, end, arm) for arm, ranges in enumerate(allocation) for first, end in ranges)
    firsts, arms, reached = [], [], 0
    for first, end, arm in owned:
        if first > reached:
            firsts.append(reached)
            arms.append(-1)
        firsts.append(first)
        arms.append(arm)
        reached = end
    return [*firsts, reached], [*arms, -1]
