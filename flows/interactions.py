"""The interactions flow: what users do with items becomes sums by item. Read it from top to bottom.

One task for each partition of `interactions`. Beside it the task reads, if so set, the same partition of `risk.tiers`,
in the order of time, about: what a user does counts by the newest decision about him.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.clients import Admin
from connectors.sides import SideTopics
from flows.assembly import go_through, plan_of, pseudonymizer, with_any_key
from flows.commands._shared import check_equal_partitions, full_name, partitions_of
from flows.description import Flow, Plan
from flows.settings import Settings, audit_key
from operators.audit import Chain
from operators.batches import Messages, Span
from operators.metrics import installed
from operators.notice import Notice
from operators.side import Side
from operators.signals.count import Count
from operators.signals.encode import FLOW, INPUT, EncodeItems
from operators.signals.parts import TOPIC as PARTS
from operators.signals.parts import source_of
from operators.signals.stage import warm_up as compile_loops
from operators.stage import Observer, Silent, stage

JOURNAL: Final = "interactions.journal"
TIERS: Final = "risk.tiers"


class Stages:
    """Makes the fresh state of each stage, for one partition, from the settings."""

    def __init__(self, settings: Settings, partitions: int, parts: int) -> None:
        """Take the settings.

        Args:
            settings: with a pseudonym key.
            partitions: how many `interactions` has.
            parts: how many `ranking.parts` has.

        Raises:
            ValueError: there is no pseudonym key.
        """
        self._own = settings.interactions
        self._pseudonymizer = pseudonymizer(settings, INPUT)
        self._partitions, self._parts = partitions, parts
        self._audit_key = audit_key(settings)
        self._counts: dict[int, Count] = {}
        weights = self._own.weights.by_tier.tolist()
        self._configuration = {
            # Cut short: all of it must fit beside an offset.
            "notice": self.notice(0).fingerprint[:12],
            "count": self._count().fingerprint[:12],
            "weights": "/".join(f"{each:g}" for each in weights) if self._own.tiers else "off",
            "key_version": str(settings.privacy.key_version),
            "version": installed()[:16],
        }

    def notice(self, _partition: int) -> Notice:
        """Records to rows; what is unreadable is set aside."""
        return Notice(self._own.notice, self._pseudonymizer, INPUT)

    def _count(self) -> Count:
        return Count(self._own.count, self._own.weights, tiers=self._own.tiers)

    def count(self, partition: int) -> Count:
        """Rows to sums."""
        self._counts[partition] = self._count()
        return self._counts[partition]

    def encode(self, partition: int) -> EncodeItems:
        """Sums of the stage made before, for the same partition, to parts; dead letters to records."""
        chain = Chain(self._audit_key, FLOW, partition, self._configuration)
        counted = self._counts.pop(partition)  # or it would outlive the partition's stay
        source = source_of(self._own.count, partition, self._partitions)
        return EncodeItems(chain, counted, source, self._parts, self._own.parts_per_commit)


def build(fresh: Stages, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stages.

    Args:
        fresh: makes them; the same for every assignment of partitions.
        source: gives `Messages`, side records and control items.
        sink: takes `Encoded` batches and the same control items.
        observer: is told about every batch.
    """
    watch = observer or Silent()
    flow = Dataflow(FLOW)
    messages = op.input("read", flow, source)
    rows = stage("notice", messages, fresh.notice, watch)
    sums = stage("count", rows, fresh.count, watch)
    records = stage("encode", sums, fresh.encode, watch)
    op.output("write", records, sink)
    return flow


def warm_up(settings: Settings) -> None:
    """Compile every loop, or load it, before the first transaction: its time-out is shorter than compiling."""
    settings = with_any_key(settings)
    compile_loops()
    fresh = Stages(settings, 1, 1)
    go_through((fresh.notice(0), fresh.count(0), fresh.encode(0)), _samples())


def _samples() -> Iterable[Messages | Side]:
    """Yield a few records of both topics."""
    said = b'{"id":"e","timestamp":%d,"user":"u%d","tier":"high"}'
    done = b'{"event":"interaction","id":"%d","timestamp":%d,"user":"u%d","type":"click","item":"i"}'
    offsets, times = list(range(16)), [1_000 * number for number in range(1, 17)]
    yield Side(0, TIERS, 0, 0, 16, [said % (at, at) for at in times], [b"k"] * 16, offsets, times)
    values: list[bytes | None] = [done % (at, at, at) for at in times]
    values[7] = b"{"
    yield Messages(Span(0, 0, 16), INPUT, values, [b"k"] * 16, offsets, times)


def plan(settings: Settings) -> Plan:
    """Look at the topics, and say how to run under these settings; they hold a pseudonym key.

    Raises:
        CommandError: there is no such topic, or topics have other numbers of partitions.
    """
    own = settings.interactions
    existing = Admin(settings, FLOW).partitions()
    topic = full_name(settings, INPUT)
    check_equal_partitions(existing, [topic, full_name(settings, PARTS)])
    fresh = Stages(settings, partitions_of(existing, topic), partitions_of(existing, full_name(settings, PARTS)))
    # Begun anew either would have forgotten items, or whose they were, without a word.
    fixed = {"notice": fresh.notice(0).fingerprint, "count": fresh.count(0).fingerprint}
    return plan_of(settings, FLOW, own, topic, partial(build, fresh), fixed, _sides(settings))


def _sides(settings: Settings) -> SideTopics:
    own = settings.interactions
    if not own.tiers:
        return SideTopics()
    return SideTopics(
        names={TIERS: full_name(settings, TIERS)},
        journal=full_name(settings, JOURNAL),
        setting="interactions.tiers",
        interval_s=own.side_interval_ms / 1000,
        most=own.side_batch_max,
        at_end=own.start == "latest",
        merged=frozenset({TIERS}),
        slack_s=own.merge_slack_s,
        wait_s=own.merge_wait_s,
    )


DESCRIPTION = Flow(FLOW, needs_key=True, warm_up=warm_up, plan=plan)
