"""The experiments flow: exposures, and what units do, become totals of experiments. Read it from top to bottom.

One task for each partition of `exposures`. Beside it the task reads the same partition of `metrics`, and, if so
set, of `events` and `risk.tiers`, all in the order of time, about. Definitions lie whole in every partition of their
topic, and are read before anything else.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.clients import Admin
from connectors.sides import SideTopics
from flows.assembly import go_through, plan_of, pseudonymizer, with_any_key
from flows.commands._shared import full_name, partitions_of
from flows.description import Flow, Plan
from flows.settings import Settings, audit_key
from operators.accumulate.encode import INPUT, PARTS, EncodeParts
from operators.accumulate.stage import Accumulate
from operators.accumulate.stage import warm_up as compile_loops
from operators.audit import Chain
from operators.batches import Messages, Span
from operators.metrics import installed
from operators.observe import Observe
from operators.side import Side
from operators.stage import Observer, Silent, stage
from schemas.definition import Definition, Metric, Phase

FLOW: Final = "experiments"
DEFINITIONS: Final = "experiments.definitions"
JOURNAL: Final = "experiments.journal"


class Stages:
    """Makes the fresh state of each stage, for one partition, from the settings."""

    def __init__(self, settings: Settings, partitions: int, parts: int) -> None:
        """Take the settings.

        Args:
            settings: with a pseudonym key.
            partitions: how many `exposures` has.
            parts: how many `experiments.parts` has.

        Raises:
            ValueError: there is no pseudonym key.
        """
        privacy, self._own = settings.privacy, settings.experiments
        self._pseudonymizer = pseudonymizer(settings, INPUT)
        self._counts = partitions, parts
        self._audit_key = audit_key(settings)
        self._accumulated = replace(self._own.accumulate, tiers=self._own.tiers)
        self._totals: dict[int, Accumulate] = {}
        self._configuration = {
            # Cut short: all of it must fit beside an offset.
            "observe": self.observe(0).fingerprint[:12],
            "accumulate": Accumulate(self._accumulated).fingerprint[:12],
            "topics": "+".join(sides_of(settings)),
            "key_version": str(privacy.key_version),
            "version": installed()[:16],
        }

    def observe(self, _partition: int) -> Observe:
        """Records to rows; what is unreadable is set aside."""
        return Observe(self._own.observe, self._pseudonymizer)

    def accumulate(self, partition: int) -> Accumulate:
        """Rows to totals."""
        self._totals[partition] = Accumulate(self._accumulated)
        return self._totals[partition]

    def encode(self, partition: int) -> EncodeParts:
        """Totals of the stage made before, for the same partition, to parts; dead letters, and changes, to records."""
        chain = Chain(self._audit_key, FLOW, partition, self._configuration)
        own, totals = self._own, self._totals.pop(partition)  # or they would outlive the partition's stay
        return EncodeParts(FLOW, chain, totals, *self._counts, own.parts_per_commit, tiers=own.tiers)


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
    rows = stage("observe", messages, fresh.observe, watch)
    totals = stage("accumulate", rows, fresh.accumulate, watch)
    records = stage("encode", totals, fresh.encode, watch)
    op.output("write", records, sink)
    return flow


def warm_up(settings: Settings) -> None:
    """Compile every loop, or load it, before the first transaction: its time-out is shorter than compiling."""
    settings = with_any_key(settings)
    compile_loops()
    fresh = Stages(settings, 1, 1)
    go_through((fresh.observe(0), fresh.accumulate(0), fresh.encode(0)), _samples())


def _samples() -> Iterable[Messages | Side]:
    """Yield a few records of every topic that the flow may read."""
    definition = Definition(
        id="x", version=1, timestamp=1, seed="x", variations=("a", "b"),
        phases=(Phase(start=1, coverage=1.0, weights=(0.5, 0.5)),),
        primary=Metric(name="m", kind="ratio", event="e", topic="metrics", denominator_event="d"),
        alpha=0.05, tuning_n=1, attribution_window_s=1, minimum_run_s=0, mde=0.1, cuped=True, pre_period_s=1,
    )  # fmt: skip
    line = b'{"user":"u%d","timestamp":%d,"metric":"e","type":"e","value":1.0,"id":"%d","tier":"high",%s}'
    said = b'"experiment_id":"x","variation_id":"a","bucket":1'
    values: list[bytes | None] = [line % (number, 1_000 * (number + 1), number, said) for number in range(16)]
    values[7] = b"{"
    offsets, times = list(range(16)), [1_000 * number for number in range(1, 17)]
    yield Side(0, DEFINITIONS, 0, 0, 1, [msgspec.json.encode(definition)], [b"x"], [0], [1])
    for topic in ("metrics", "events", "risk.tiers"):
        yield Side(0, topic, 0, 0, 16, values, [b"k"] * 16, offsets, times)
    yield Messages(Span(0, 0, 16), INPUT, values, [b"k"] * 16, offsets, times)


def plan(settings: Settings) -> Plan:
    """Look at the topics, and say how to run under these settings; they hold a pseudonym key.

    Raises:
        CommandError: there is no such topic.
    """
    own = settings.experiments
    existing = Admin(settings, FLOW).partitions()
    topic = full_name(settings, INPUT)
    fresh = Stages(settings, partitions_of(existing, topic), partitions_of(existing, full_name(settings, PARTS)))
    # Begun anew either would have forgotten units, or definitions, without a word.
    fixed = {"observe": fresh.observe(0).fingerprint, "accumulate": fresh.accumulate(0).fingerprint}
    return plan_of(settings, FLOW, own, topic, partial(build, fresh), fixed, _sides(settings))


def sides_of(settings: Settings) -> tuple[str, ...]:
    """Return the topics that are merged with the input, by time."""
    own = settings.experiments
    return ("metrics", *(("events",) if own.events else ()), *(("risk.tiers",) if own.tiers else ()))


def _sides(settings: Settings) -> SideTopics:
    own, merged = settings.experiments, sides_of(settings)
    return SideTopics(
        names={topic: full_name(settings, topic) for topic in (DEFINITIONS, *merged)},
        journal=full_name(settings, JOURNAL),
        setting="experiments.events and experiments.tiers",
        interval_s=own.side_interval_ms / 1000,
        most=own.side_batch_max,
        at_end=own.start == "latest",
        ahead=frozenset({DEFINITIONS}),
        merged=frozenset(merged),
        slack_s=own.merge_slack_s,
        wait_s=own.merge_wait_s,
    )


DESCRIPTION = Flow(FLOW, needs_key=True, warm_up=warm_up, plan=plan)
