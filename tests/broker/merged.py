"""A flow of one stage that notes the order of four topics, in place of the risk flow, and says its totals at flushes.

    python tests/broker/merged.py run risk

The input is `events`; `labels` and `metrics` are merged with it by time, `experiments.definitions` comes ahead.
Everything around the stage is the risk flow's own.
"""

import json
import os
import sys
import zlib
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from saboteur import shorten_session

from connectors.sides import SideTopics
from flows import cli, risk
from flows.commands import run
from flows.description import Flow, Plan
from flows.settings import Settings
from operators.batches import Encoded, Messages, Outgoing, Span
from operators.side import Applied, Side, applied
from operators.stage import Silent, stage
from operators.state import Measurement, State

AHEAD = "experiments.definitions"
MERGED = ("labels", "metrics")
TOTALS = "experiments.parts"


def note(counts: dict[str, int], trace: int, topic: str, offset: int) -> int:
    """Count a side record; return the trace of all that was, in its order."""
    counts[topic] = counts.get(topic, 0) + 1
    return zlib.crc32(b"%s %d" % (topic.encode(), offset), trace)


def answer(offset: int, counts: dict[str, int], trace: int) -> tuple[bytes, int]:
    """What an event is answered, and the trace after it."""
    value = json.dumps({"offset": offset, "trace": trace, **dict(sorted(counts.items()))}).encode()
    return value, zlib.crc32(b"event %d" % offset, trace)


class Note:
    """Answers every event by what came before it."""

    fingerprint = "note"

    def __init__(self, _partition: int) -> None:
        self.counts: dict[str, int] = {}
        self.trace = self.events = self.said = 0

    def process(self, batch: Messages) -> Encoded:
        """One record for each event."""
        records = []
        for at in batch.offsets:
            value, self.trace = answer(at, self.counts, self.trace)
            records.append(Outgoing("risk.tiers", b"k", value, 1))
        self.events += batch.events
        return Encoded(batch.span, [] if batch.span.muted else records)

    def take_side(self, side: Side) -> None:
        """Count side records."""
        for offset in side.offsets:
            self.trace = note(self.counts, self.trace, side.topic, offset)

    def end_side(self, side: Side) -> Applied:
        """Nothing to say."""
        return applied("risk", side)

    def at_flush(self, partition: int) -> Encoded | None:
        """All totals, if they have changed since they were last said."""
        total = self.events + sum(self.counts.values())
        if total == self.said:
            return None
        self.said = total
        value = json.dumps({"events": self.events, **dict(sorted(self.counts.items()))}).encode()
        return Encoded(Span(partition, 0, 0), [Outgoing(TOTALS, b"totals", value, 1)])

    def dump(self) -> State:
        """All but what was said."""
        return {"trace": self.trace, "events": self.events, **{f"of {name}": n for name, n in self.counts.items()}}

    def load(self, state: State) -> None:
        """Go on."""
        self.trace, self.events = int(state["trace"]), int(state["events"])  # type: ignore[arg-type]
        self.counts = {name[3:]: int(n) for name, n in state.items() if name.startswith("of ")}  # type: ignore[arg-type]

    def measurements(self) -> Iterable[Measurement]:
        """None."""
        return ()


def build(source: Any, sink: Any, observer: Any = None) -> Dataflow:
    """Wire the stage."""
    flow = Dataflow("risk")
    records = stage("note", op.input("read", flow, source), Note, observer or Silent())
    op.output("write", records, sink)
    return flow


def plan(settings: Settings) -> Plan:
    """The risk flow's, with another stage and other side topics."""
    sides = SideTopics(
        {name: settings.kafka.prefix + name for name in (*MERGED, AHEAD)},
        f"{settings.kafka.prefix}risk.journal",
        "risk.labels.enabled",
        interval_s=0.05,
        most=int(os.environ.get("MERGED_MOST", "100")),
        ahead=frozenset({AHEAD}),
        merged=frozenset(MERGED),
        slack_s=float(os.environ.get("MERGED_SLACK_S", "1")),
        wait_s=float(os.environ.get("MERGED_WAIT_S", "2")),
    )
    return replace(risk.plan(settings), build=partial(build), fixed={}, sides=sides)


run.FLOWS["risk"] = Flow("risk", needs_key=True, warm_up=lambda _: None, plan=plan)

if __name__ == "__main__":
    shorten_session(2_000)
    sys.exit(cli.main())
