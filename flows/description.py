"""What a flow says of itself, so that `tidegate run` serves all of them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.engine import Pace
from connectors.sides import SideTopics
from connectors.snapshots import Store
from flows.settings import Settings
from operators.stage import Observer


class Build(Protocol):
    """Wires the stages between a source and a sink; called once per assignment of partitions."""

    def __call__(self, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
        """Return the dataflow."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A flow under given settings: all that the engine must be told.

    Attributes:
        topic: full name of the input.
        group: consumer group that divides its partitions among processes.
        start_at_end: where a group without a past begins.
        pace: how often things happen.
        store: where snapshots lie.
        build: wires the stages.
        fixed: fingerprints, by step id, that a snapshot must have.
        sides: what is read beside the input.
    """

    topic: str
    group: str
    start_at_end: bool
    pace: Pace
    store: Store
    build: Build
    fixed: Mapping[str, str] = field(default_factory=dict)
    sides: SideTopics = field(default_factory=SideTopics)


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as the command line knows it.

    Attributes:
        name: as in `tidegate run NAME`.
        needs_key: whether it cannot do without the pseudonym key.
        warm_up: compiles every loop, or loads it; needs no broker.
        plan: makes the plan; may ask the broker, and refuses what cannot work with a `CommandError`.
        needs_audit_key: whether it cannot do without an audit key, or a pseudonym key to derive one from.
    """

    name: str
    needs_key: bool
    warm_up: Callable[[Settings], None]
    plan: Callable[[Settings], Plan]
    needs_audit_key: bool = False
