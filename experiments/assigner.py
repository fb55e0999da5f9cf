"""Who is in which variation at a time: a definition's namespace, phases and end, and `assignment` below them."""

from itertools import accumulate
from typing import Literal, NamedTuple

from experiments.assignment import Allocation, allocate, bucket, choose, in_namespace, reallocate
from schemas.definition import Definition, Phase

Why = Literal["assigned", "not_started", "ended", "not_in_namespace", "not_covered"]


class Assigned(NamedTuple):
    """What becomes of a unit.

    Attributes:
        variation: which it is shown, or None.
        phase: which phase the time is in, from 0; -1 before the first.
        bucket: where the unit's hash stands, 0 to `assignment.GRID` - 1.
        why: `assigned`, or why it has no variation.
    """

    variation: str | None
    phase: int
    bucket: int
    why: Why


class Assigner:
    """Assigns units by a definition; the same answer wherever and how often it is asked.

    >>> from schemas.definition import Metric
    >>> button = Definition(
    ...     id="button", version=1, timestamp=0, seed="button", variations=("control", "green"),
    ...     phases=(Phase(start=0, coverage=1.0, weights=(0.5, 0.5)),),
    ...     primary=Metric(name="buyers", kind="proportion", event="purchase"), alpha=0.05, tuning_n=5_000,
    ...     attribution_window_s=60, minimum_run_s=0, mde=0.1, cuped=False,
    ... )
    >>> Assigner(button)("ada", at_ms=1_800_000_000_000).variation
    'control'

    Args:
        definition: of the experiment.
    """

    def __init__(self, definition: Definition) -> None:
        self._of = definition
        self._starts = [phase.start for phase in definition.phases]
        self.allocations = allocations(definition.phases)

    def __call__(self, unit: str, at_ms: int) -> Assigned:
        """Return what becomes of a unit at a time, epoch milliseconds."""
        of = self._of
        phase = sum(start <= at_ms for start in self._starts) - 1
        at = bucket(of.seed, unit, of.hash_version)
        arm = choose(at, self.allocations[phase]) if phase >= 0 else -1
        why: Why = "assigned" if arm >= 0 else "not_covered"
        if of.end is not None and at_ms >= of.end:
            why = "ended"
        elif phase < 0:
            why = "not_started"
        elif of.namespace is not None and not in_namespace(of.namespace, unit, of.namespace_first, of.namespace_end):
            why = "not_in_namespace"
        return Assigned(of.variations[arm] if why == "assigned" else None, phase, at, why)


def allocations(phases: tuple[Phase, ...]) -> list[Allocation]:
    """Return who owns which buckets in each phase: the published ranges first, then the fewest units moved."""
    first, *later = phases
    return list(
        accumulate(
            later,
            lambda before, phase: reallocate(before, phase.weights, phase.coverage),
            initial=allocate(first.weights, first.coverage),
        )
    )
