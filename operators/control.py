"""Control items: they travel with the batches through every stage, in order, so a snapshot is a barrier by design."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.batches import Encoded
from operators.parts import EVERYTHING, Sweep
from operators.state import State


@dataclass(frozen=True, slots=True)
class StageSnapshot:
    """State of one stage at a barrier, and the configuration it belongs to."""

    fingerprint: str
    state: State


@dataclass(frozen=True, slots=True)
class Restore:
    """Opens a partition: every stage starts from its snapshot, or fresh where there is none.

    Attributes:
        partition: Kafka partition of the input.
        snapshots: by step id; a stage without an entry, or with another fingerprint, starts warming.
        kept: what a `Barrier` with `keep` collected: the stages go on as they are, instead.
        beside: what a stage had put beside the committed offset (`Encoded.beside`).
    """

    partition: int
    snapshots: dict[str, StageSnapshot]
    kept: dict[str, Any] = field(default_factory=dict)
    beside: str = ""


@dataclass(slots=True)
class Barrier:
    """Every stage adds its state as it is after all records below `offset`; the sink receives the full set.

    Attributes:
        partition: Kafka partition of the input.
        offset: S, the offset that the set belongs to.
        keep: the stages themselves are kept in memory for the next assignment; nothing is written.
        sweep: what is written whether or not it changed.
        snapshots: filled on the way, by step id.
        kept: filled instead, with `keep`.
        seconds: time the stages took for it.
    """

    partition: int
    offset: int
    keep: bool = False
    sweep: Sweep = EVERYTHING
    snapshots: dict[str, StageSnapshot] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(slots=True)
class Flush:
    """Stages may add records (`operators.stage.WritesAtFlush`); the sink writes those, and commits what it holds.

    Attributes:
        final: the process is about to let its partitions go in good order.
        live: for each partition of which anything may be written, the next record of its input: all below it were
            answered. One that is rolled forward is not among them.
        encoded: filled on the way.
    """

    final: bool = False
    live: Mapping[int, int] = field(default_factory=dict)
    encoded: list[Encoded] = field(default_factory=list)


Control = Restore | Barrier | Flush
