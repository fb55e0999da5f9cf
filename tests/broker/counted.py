"""A flow of one stage that counts labels, in place of the risk flow: every answer says what came before it.

    python tests/broker/counted.py run risk

Everything around the stage is the risk flow's own: topics, settings, snapshots, journal.
"""

import json
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

from flows import cli, risk
from flows.commands import run
from flows.description import Flow, Plan
from flows.settings import Settings
from operators.batches import Encoded, Messages, Outgoing, Rejected
from operators.side import Applied, Side, applied
from operators.stage import Silent, stage
from operators.state import Measurement, State


def note(seen: int, trace: int, value: bytes | None) -> tuple[int, int]:
    """How many labels were seen, and a trace of all that was, in its order; unreadable ones count for nothing."""
    try:
        name = json.loads(value or b"")["id"]
    except (ValueError, KeyError, TypeError):
        return seen, trace
    return seen + 1, zlib.crc32(name.encode(), trace)


def answer(offset: int, seen: int, trace: int) -> tuple[bytes, int]:
    """What an event is answered, and the trace after it: labels before it and after it lead to different ones."""
    return b'{"offset":%d,"seen":%d,"trace":%d}' % (offset, seen, trace), zlib.crc32(b"event %d" % offset, trace)


class Count:
    """Answers every event by what is known of labels at its place."""

    fingerprint = "count"

    def __init__(self, _partition: int) -> None:
        self.seen = self.trace = 0

    def process(self, batch: Messages) -> Encoded:
        """One record for each event."""
        records = []
        for at in batch.offsets:
            value, self.trace = answer(at, self.seen, self.trace)
            records.append(Outgoing("risk.tiers", b"k", value, 1))
        return Encoded(batch.span, [] if batch.span.muted else records)

    def take_side(self, side: Side) -> None:
        """Count labels."""
        for value, offset, time_ms in zip(side.values, side.offsets, side.timestamps_ms, strict=True):
            before = self.seen
            self.seen, self.trace = note(self.seen, self.trace, value)
            if self.seen == before:
                side.rejected.append(Rejected(offset, time_ms, "not_json", "expected a label"))

    def end_side(self, side: Side) -> Applied:
        """Dead letters."""
        return applied("risk", side)

    def dump(self) -> State:
        """The count."""
        return {"seen": self.seen, "trace": self.trace}

    def load(self, state: State) -> None:
        """Go on from a count."""
        self.seen, self.trace = int(state["seen"]), int(state["trace"])  # type: ignore[arg-type]

    def measurements(self) -> Iterable[Measurement]:
        """None."""
        return ()


def build(source: Any, sink: Any, observer: Any = None) -> Dataflow:
    """Wire the stage."""
    flow = Dataflow("risk")
    records = stage("count", op.input("read", flow, source), Count, observer or Silent())
    op.output("write", records, sink)
    return flow


def plan(settings: Settings) -> Plan:
    """The risk flow's, with other stages."""
    return replace(risk.plan(settings), build=partial(build), fixed={})


run.FLOWS["risk"] = Flow("risk", needs_key=True, warm_up=lambda _: None, plan=plan)

if __name__ == "__main__":
    shorten_session(2_000)
    sys.exit(cli.main())
