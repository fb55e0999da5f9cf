"""The totals of one experiment: parts of all partitions put together, and who of them belongs to which stratum.

Parts have no unit in common, so their sums add up; in the order of the partitions, so that the same parts always give
the same bits, and in double-double arithmetic, so that any other order would give the same digits.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.sums import COLUMNS, F64, I64, Sums
from schemas.definition import Definition, Metric
from schemas.part import RISK, STRATA, Part

GROUPS = ("all", "unknown", "low", "risky", "without_risky")
"""Whose units are compared: all; without a tier; tiers low and medium; high and critical; all but these."""

ALL, UNKNOWN, LOW, RISKY, WITHOUT_RISKY = range(len(GROUPS))

_MEMBERS = ((0, 1, 2, 3, 4), (0,), (1, 2), (3, 4), (0, 1, 2))
"""Of each group, the strata, as places in `schemas.part.STRATA`."""

_OPEN = 3  # numbers of a unit whose window is open: 1, y and d


class Totals(NamedTuple):
    """What all parts together say.

    Attributes:
        sums: of units whose window is over, shape (groups, metrics, phases, arms); the last metric is `RISK`, whether
            it is counted or not.
        open: units whose window is open, and their sums of y and d so far, shape (metrics, arms, 3).
        exposed: units by first exposure, shape (groups, phases, arms).
        several: of these, units that were shown several variations, over everything.
        tiers: whether every part read risk tiers.
        risk: whether every part counted `RISK`.
        timestamp: latest stream time of any part, epoch milliseconds.
        first_exposure: earliest of any part, epoch milliseconds; None before the first.
        offsets: next record of each topic that is not in here, by topic, then by partition.
        partitions: whose parts these are.
        refused: units and records that did not count, by reason.
    """

    sums: Sums
    open: F64
    exposed: I64
    several: int
    tiers: bool
    risk: bool
    timestamp: int
    first_exposure: int | None
    offsets: dict[str, dict[str, int]]
    partitions: tuple[int, ...]
    refused: dict[str, int]


class Progress(NamedTuple):
    """How far an experiment is: what says whether a look is due, without adding up everything.

    Attributes:
        time_ms: latest stream time, epoch milliseconds.
        units: whose window is over.
        open: whose window is open.
    """

    time_ms: int
    units: int
    open: int

    @property
    def exposed(self) -> int:
        """Units in all."""
        return self.units + self.open


def progress(part: Part) -> Progress:
    """Return how far a partition is; its part is whole (`misfit`)."""
    cells = part.phases * len(STRATA) * len(part.arms)
    matured = np.frombuffer(part.matured, "<f8", cells * COLUMNS)
    opened = np.frombuffer(part.open, "<f8", cells * _OPEN)
    return Progress(part.timestamp, int(matured[::COLUMNS].sum()), int(opened[::_OPEN].sum()))


def together(parts: Iterable[Progress]) -> Progress:
    """Return how far all partitions are, of at least one."""
    times, units, opened = zip(*parts, strict=True)
    return Progress(max(times), sum(units), sum(opened))


def metrics_of(definition: Definition) -> tuple[Metric, ...]:
    """Return the metrics in the order of a part's, without `RISK`."""
    guarded = (guardrail.metric for guardrail in definition.guardrails)
    return (definition.primary, *definition.secondary, *guarded)


def names_of(definition: Definition) -> tuple[str, ...]:
    """Return their names."""
    return tuple(metric.name for metric in metrics_of(definition))


def misfit(part: Part) -> str | None:
    """Return which of a part's arrays has another size than its shape says; None if all fit."""
    cells = part.phases * len(STRATA) * len(part.arms)
    metrics = len(part.metrics)
    sizes = {
        "matured": metrics * cells * COLUMNS,
        "matured_low": metrics * cells * COLUMNS,
        "open": metrics * cells * _OPEN,
        "exposed": cells,
        "several": cells,
    }
    return next((name for name, size in sizes.items() if len(getattr(part, name)) != 8 * size), None)


def fits(part: Part, definition: Definition) -> bool:
    """Return whether a part counts the metrics and arms of this definition.

    Metrics and arms change before the first exposure only, so a part that does not fit an experiment that runs is of
    another one of its name, or older than the start: it holds no unit of this one.
    """
    names = names_of(definition)
    return part.arms == definition.variations and part.metrics in (names, (*names, RISK))


def total(parts: Sequence[Part], definition: Definition) -> Totals:
    """Return the sum of parts that fit the definition (`fits`), each of which is whole (`misfit`).

    A part of an older version may have fewer phases: it has no unit in those that came later.

    Args:
        parts: one of each partition, at least one.
        definition: newest.
    """
    parts = sorted(parts, key=lambda part: part.partition)
    phases = max(len(definition.phases), *(part.phases for part in parts))
    metrics = len(names_of(definition)) + 1
    arms = len(definition.variations)
    shape = (metrics, phases, len(STRATA), arms)
    sums, opened = Sums(shape), np.zeros((*shape, _OPEN))
    exposed, several = np.zeros(shape[1:]), 0.0
    offsets: dict[str, dict[str, int]] = {}
    refused: dict[str, int] = {}
    for part in parts:
        own = (len(part.metrics), part.phases, len(STRATA), arms)
        each = Sums(shape)
        each.high[: own[0], : part.phases] = _doubles(part.matured, (*own, COLUMNS))
        each.low[: own[0], : part.phases] = _doubles(part.matured_low, (*own, COLUMNS))
        sums = sums + each
        opened[: own[0], : part.phases] += _doubles(part.open, (*own, _OPEN))
        exposed[: part.phases] += _doubles(part.exposed, own[1:])
        several += _doubles(part.several, own[1:]).sum()
        for topic, offset in part.offsets.items():
            offsets.setdefault(topic, {})[str(part.partition)] = offset
        for reason, count in part.refused.items():
            refused[reason] = refused.get(reason, 0) + count
    firsts = [part.first_exposure for part in parts if part.first_exposure is not None]
    return Totals(
        sums=_grouped(sums),
        open=opened.sum(axis=(1, 2)),
        exposed=np.stack([exposed[:, list(members)].sum(axis=1) for members in _MEMBERS]).astype(np.int64),
        several=int(several),
        tiers=all(part.tiers for part in parts),
        risk=all(part.metrics[-1] == RISK for part in parts),
        timestamp=max(part.timestamp for part in parts),
        first_exposure=min(firsts, default=None),
        offsets=offsets,
        partitions=tuple(part.partition for part in parts),
        refused=refused,
    )


def _grouped(sums: Sums) -> Sums:
    """Return sums of shape (groups, metrics, phases, arms) of those of shape (metrics, phases, strata, arms)."""
    metrics, phases, _, arms = sums.shape
    grouped = Sums((len(GROUPS), metrics, phases, arms))
    for group, members in enumerate(_MEMBERS):
        several = Sums((metrics, phases, arms))
        for stratum in members:
            one = Sums((metrics, phases, arms))
            one.high, one.low = sums.high[:, :, stratum], sums.low[:, :, stratum]
            several = several + one
        grouped.high[group], grouped.low[group] = several.high, several.low
    return grouped


def _doubles(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.frombuffer(data, "<f8").reshape(shape)
    return found
