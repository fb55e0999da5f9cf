"""Definitions as arrays, for compiled loops: which experiments read a measure, and where what they add up lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from operators.accumulate.observed import experiment_key, measure_key
from operators.batches import I32, I64, U64
from operators.compiled import Int, Records, borrowing
from schemas.definition import Definition, Metric
from schemas.part import RISK, STRATA

EXPERIMENT = np.dtype(
    [
        ("key", np.uint64),  # experiment_key(...); 0: the slot is free
        ("window_ms", np.int64),  # attribution window
        ("pre_ms", np.int64),  # how long before exposure is observed
        ("end_ms", np.int64),  # from then on nobody is assigned
        ("first_start", np.int32),  # into `Plan.starts`
        ("phases", np.int32),
        ("arms", np.int32),
        ("cells", np.int32),  # phases x strata x arms
        ("first_cell", np.int32),  # of its sums: (metric, phase, stratum, arm)
        ("first_count", np.int32),  # of its counts: (phase, stratum, arm)
        ("first_number", np.int32),  # into `Plan.numbers`
        ("numbers", np.int32),
        ("first_metric", np.int32),  # into `Plan.metrics`
        ("metrics", np.int32),
        ("risk", np.int32),  # which of its numbers is that of later decisions, -1: none
    ],
    align=True,
)

NUMBER = np.dtype(
    [
        ("measure", np.uint64),  # what is added up
        ("metric", np.int32),  # of which metric
        ("part", np.uint8),  # 0: the metric itself; 1: what a ratio divides by
        ("once", np.uint8),  # 1 once there is any record, not a sum
    ],
    align=True,
)

METRIC = np.dtype([("cap", np.float64), ("y", np.int32), ("d", np.int32)], align=True)
"""A metric's cap, and which of the experiment's numbers it is; `d` -1: it is no ratio."""

LATENESS, GAP, KEEP = range(3)
"""Cells of `limits`, milliseconds: allowed lateness; greatest gap; how long records stay pending."""

NEVER = np.iinfo(np.int64).max


class Plan(NamedTuple):
    """The arrays.

    Attributes:
        experiments: of type `EXPERIMENT`, by slot.
        starts: when phases begin, by experiment.
        numbers: of type `NUMBER`, by experiment.
        metrics: of type `METRIC`, by experiment.
        slots: open addressing over the experiments' keys, slot + 1, 0 where empty.
        measures: keys of what is read; one free place at the end.
        places: open addressing over them, index + 1.
        first_use: where the uses of each measure begin, and at the end where they are over.
        used_by: slot of the experiment, of each use.
        used_as: which of its numbers.
        limits: see `LATENESS`.
    """

    experiments: Records
    starts: I64
    numbers: Records
    metrics: Records
    slots: I32
    measures: U64
    places: I32
    first_use: I32
    used_by: I32
    used_as: I32
    limits: I64


@borrowing
def find_experiment(plan: Plan, key: np.uint64) -> Int:
    """Return the slot of an experiment, or -1."""
    mask = len(plan.slots) - 1
    at = np.int64(key >> np.uint64(1)) & mask
    while True:
        slot = np.int64(plan.slots[at]) - 1
        if slot < 0 or plan.experiments[slot].key == key:
            return slot
        at = (at + 1) & mask


@borrowing
def find_measure(plan: Plan, key: np.uint64) -> Int:
    """Return the index of a measure, or -1."""
    mask = len(plan.places) - 1
    at = np.int64(key >> np.uint64(1)) & mask
    while True:
        index = np.int64(plan.places[at]) - 1
        if index < 0 or plan.measures[index] == key:
            return index
        at = (at + 1) & mask


def metrics_of(definition: Definition) -> tuple[Metric, ...]:
    """Return the metrics in the order of a part, without `tidegate.risk`."""
    return (definition.primary, *definition.secondary, *(guard.metric for guard in definition.guardrails))


def names_of(definition: Definition, *, tiers: bool) -> tuple[str, ...]:
    """Return the names of the metrics in the order of a part."""
    return tuple(metric.name for metric in metrics_of(definition)) + ((RISK,) if tiers else ())


def measures_of(metric: Metric) -> tuple[int, ...]:
    """Return the keys of what a metric adds up, and of a ratio of what it divides by."""
    above = measure_key(metric.topic, metric.event, metric.value, metric.where)
    if metric.kind != "ratio":
        return (above,)
    below = metric.denominator_event or metric.event
    return above, measure_key(metric.topic, below, metric.denominator, metric.where)


@dataclass(frozen=True, slots=True)
class Shape:
    """How large an experiment's sums are.

    Attributes:
        metrics: `tidegate.risk` included.
        phases: of the definition.
        arms: its variations.
    """

    metrics: int
    phases: int
    arms: int

    @property
    def cells(self) -> int:
        """Counts: phases x strata x arms."""
        return self.phases * len(STRATA) * self.arms


def shape_of(definition: Definition | None, *, tiers: bool) -> Shape:
    """Return the shape of an experiment's sums; of a free slot there are none."""
    if definition is None:
        return Shape(0, 0, 0)
    return Shape(len(names_of(definition, tiers=tiers)), len(definition.phases), len(definition.variations))


def plan_of(slots: Sequence[Definition | None], *, tiers: bool, lateness_ms: int, gap_ms: int) -> Plan:
    """Return the arrays of these definitions.

    Args:
        slots: definition by slot, None where the slot is free.
        tiers: whether decisions are read.
        lateness_ms: allowed lateness, milliseconds.
        gap_ms: greatest gap, milliseconds.
    """
    experiments = np.zeros(max(1, len(slots)), EXPERIMENT)
    starts: list[int] = []
    numbers: list[tuple[int, int, int, int]] = []
    metrics: list[tuple[float, int, int]] = []
    uses: dict[int, list[tuple[int, int]]] = {}
    cells = counts = 0
    for slot, definition in enumerate(slots):
        if definition is None:
            continue
        shape, row = shape_of(definition, tiers=tiers), experiments[slot]
        row["key"], row["end_ms"] = experiment_key(definition.id, definition.variations), definition.end or NEVER
        row["window_ms"], row["pre_ms"] = definition.attribution_window_s * 1_000, definition.pre_period_s * 1_000
        row["first_start"], row["phases"], row["arms"] = len(starts), shape.phases, shape.arms
        row["cells"], row["first_cell"], row["first_count"] = shape.cells, cells, counts
        row["first_number"], row["first_metric"], row["metrics"] = len(numbers), len(metrics), shape.metrics
        row["risk"] = -1
        starts += [phase.start for phase in definition.phases]
        own = 0
        for index, metric in enumerate(metrics_of(definition)):
            keys = measures_of(metric)
            metrics.append((metric.cap or np.inf, own, own + 1 if len(keys) > 1 else -1))
            for part, key in enumerate(keys):
                numbers.append((key, index, part, metric.kind == "proportion"))
                uses.setdefault(key, []).append((slot, own))
                own += 1
        if tiers:
            metrics.append((np.inf, own, -1))
            numbers.append((0, shape.metrics - 1, 0, 1))
            row["risk"], own = own, own + 1
        row["numbers"] = own
        cells, counts = cells + shape.metrics * shape.cells, counts + shape.cells
    listed = [use for key in uses for use in uses[key]]
    keep_ms = lateness_ms + max((int(row["pre_ms"]) for row in experiments), default=0)
    return Plan(
        experiments,
        np.array(starts, np.int64),
        np.array(numbers, NUMBER),
        np.array(metrics, METRIC),
        _index([int(row["key"]) for row in experiments]),
        np.array([*uses, 0], np.uint64),
        _index(list(uses)),
        np.cumsum([0, *(len(found) for found in uses.values())], dtype=np.int32),
        np.array([slot for slot, _ in listed], np.int32),
        np.array([number for _, number in listed], np.int32),
        np.array([lateness_ms, gap_ms, keep_ms], np.int64),
    )


def _index(keys: list[int]) -> I32:
    """Return open addressing over keys, of which 0 is none."""
    mask = (1 << (2 * len(keys) + 1).bit_length()) - 1
    places = np.zeros(mask + 1, np.int32)
    for index, key in enumerate(keys):
        if key:
            at = (key >> 1) & mask
            while places[at]:
                at = (at + 1) & mask
            places[at] = index + 1
    return places
