"""The rekey flow: a topic that is not keyed by user in, the same records keyed by user out.

It is one stage without state. Numbers of partitions are read from the broker at start and hold for the life of the
process.
"""

from functools import partial
from typing import Any

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.clients import Admin, common_config
from connectors.engine import Pace
from connectors.snapshots import TopicStore
from flows.commands import CommandError
from flows.commands._shared import full_name, partitions_of
from flows.commands.topics import make
from flows.description import Flow, Plan
from flows.settings import Settings
from operators.batches import Messages, Span
from operators.rekey import Rekey
from operators.stage import Observer, Silent, stage
from schemas.registry import Topic

FLOW = "rekey"
SNAPSHOTS = Topic(
    "rekey.snapshots", "Marks of the rekey flow.", None, 1, "snapshot and piece", "tidegate", "compact", internal=True
)
"""Not in the registry: it has as many partitions as the source, which is the user's. The flow makes it."""

SNAPSHOT_S = 10.0
"""There is no state, but a snapshot says from where on nothing must be read again."""


class Stages:
    """Makes the fresh state of the stage, for one partition."""

    def __init__(self, target: str, partitions: int, letters: int) -> None:
        """Take what the broker said: numbers of partitions of the target and of `dead-letters`."""
        self._given = (FLOW, target, partitions, letters)

    def rekey(self, _partition: int) -> Rekey:
        """Records to the same records, keyed by user."""
        return Rekey(*self._given)


def build(fresh: Stages, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stage.

    Args:
        fresh: makes it.
        source: gives `Messages` and control items.
        sink: takes `Encoded` batches and the same control items.
        observer: is told about every batch.
    """
    flow = Dataflow(FLOW)
    messages = op.input("read", flow, source)
    records = stage("rekey", messages, fresh.rekey, observer or Silent())
    op.output("write", records, sink)
    return flow


def warm_up(_: Settings) -> None:
    """Compile every loop, or load it."""
    values: list[bytes | None] = [b'{"user":"ada"}', b"{"]
    Rekey(FLOW, "events", 1, 1).process(Messages(Span(0, 0, 2), "raw", values, [None] * 2, [0, 1], [1, 1]))


def plan(settings: Settings) -> Plan:
    """Look at the topics, make the one for the marks, and say how to run.

    Raises:
        CommandError: a topic is missing, or what is there does not fit the source.
    """
    own = settings.rekey
    source, target = own.source, full_name(settings, own.target)  # the source may be under another prefix
    admin = Admin(settings, FLOW)
    existing = admin.partitions()
    if source not in existing:
        raise CommandError(f"there is no topic {source} to read from; rekey.source names it")
    count = existing[source]
    fresh = Stages(
        own.target, partitions_of(existing, target), partitions_of(existing, full_name(settings, "dead-letters"))
    )
    marks = settings.kafka.prefix + SNAPSHOTS.name
    if marks not in existing:
        make(settings, admin, {marks: SNAPSHOTS}, count)
    elif existing[marks] < count:
        raise CommandError(
            f"{marks} has {existing[marks]} partitions, {source} has {count}: give {marks} as many "
            "(kafka-topics.sh --alter --partitions)"
        )

    return Plan(
        topic=source,
        group=own.group,
        start_at_end=own.start == "latest",
        pace=Pace(own.batch_max, own.commit_interval_ms / 1000, SNAPSHOT_S),
        store=TopicStore(common_config(settings), marks),
        build=partial(build, fresh),
    )


DESCRIPTION = Flow(FLOW, needs_key=False, warm_up=warm_up, plan=plan)
