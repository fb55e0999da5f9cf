"""One process of the risk flow for benchmarks: the engine as `tidegate run` builds it, with a stop-watch.

Settings come from the environment. Prints one JSON line when it is done. Times are those of the machine's monotonic
clock, so the lines of several processes can be compared.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bytewax.testing import run_main
from prometheus_client import CollectorRegistry

from benchmarks.timers import Timers, instrument
from connectors.bytewax_io import EngineSink, EngineSource
from connectors.health import Health
from connectors.observed import Observed
from connectors.reader import Reader
from flows import risk
from flows.commands import run
from flows.settings import load_settings
from operators.metrics import Metrics

Moment = tuple[float, float]
"""Monotonic seconds; processor seconds of the process so far."""


def moment() -> Moment:
    return time.monotonic(), time.process_time()


class Timed(Observed):
    """Notes when the first batch was read, when each was committed, and how long a restore took.

    Attributes:
        seen: records answered.
        covered: records whose answers are committed.
        began: the moment before the first batch was decoded.
        ended: the moment after the newest commit that covered anything new.
    """

    def __init__(self, registry: CollectorRegistry, expected: int, flow: str = "risk") -> None:
        metrics = Metrics(registry)
        super().__init__(flow, metrics, Health(metrics))
        self.registry = registry
        self.expected = expected
        self.seen = self.covered = self.rolled = 0
        self.stages: dict[str, float] = {}
        self.commits: list[float] = []
        self.began: Moment | None = None
        self.ended: Moment | None = None
        self.owned_at = self.loaded_at = self.rolled_at = 0.0
        self.figures: dict[str, float] = {}
        self.snapshot_bytes = 0.0
        self.begin: Any = None
        self.finish: Any = None
        self._answered: deque[tuple[float, int]] = deque()

    def batch(self, step: str, partition: int, batch: Any, answer: Any, seconds: float) -> None:
        super().batch(step, partition, batch, answer, seconds)
        self.stages[step] = self.stages.get(step, 0.0) + seconds
        if self.began is None:
            wall, process = moment()
            self.began = wall - seconds, process - seconds
            self.begin()
        if step == "encode":
            self.seen += batch.span.next - batch.span.first
            self._answered.append((time.monotonic(), self.seen))

    def committed(self, outcome: str, seconds: float) -> None:
        """A commit covers what was answered before it began; it is told of later, perhaps after the next batch."""
        since = time.monotonic() - seconds
        super().committed(outcome, seconds)
        if outcome != "committed":
            return
        self.commits.append(seconds)
        before = self.covered
        while self._answered and self._answered[0][0] <= since:
            self.covered = self._answered.popleft()[1]
        if self.covered > before:
            self.ended = moment()
            if self.expected and before < self.expected <= self.covered:
                self.figures = self._snapshot_figures()
                self.finish()

    def assigned(self, partitions: Iterable[int], *, ready: bool) -> None:
        partitions = list(partitions)
        if partitions and not self.owned_at:
            self.owned_at = time.monotonic()
        super().assigned(partitions, ready=ready)

    def restored(self, partition: int, measurements: Any) -> None:
        super().restored(partition, measurements)
        self.loaded_at = time.monotonic()

    def replayed(self, partition: int, records: int) -> None:
        super().replayed(partition, records)
        self.rolled += records
        self.rolled_at = time.monotonic()

    def released(self, partition: int) -> None:
        self.note_size()
        super().released(partition)

    def note_size(self) -> None:
        """Keep the size of all partitions' snapshots: the series go away with the partitions."""
        self.snapshot_bytes = max(self.snapshot_bytes, self._snapshot_figures().get("tidegate_snapshot_bytes", 0.0))

    def _snapshot_figures(self) -> dict[str, float]:
        """The sum, over partitions, of each series about snapshots."""
        found: dict[str, float] = {}
        for family in self.registry.collect():
            for sample in family.samples:
                if sample.name.startswith("tidegate_snapshot_") and not sample.name.endswith(("_bucket", "_created")):
                    found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def report(self) -> dict[str, Any]:
        began, ended = self.began or moment(), self.ended or moment()
        return {
            "records": self.covered,
            "began": began[0],
            "ended": ended[0],
            "wall_s": ended[0] - began[0],
            "cpu_s": ended[1] - began[1],
            "stages_s": self.stages,
            "commits": len(self.commits),
            "commit_s": sum(self.commits),
            "figures": self.figures,
            "snapshot_bytes": self.snapshot_bytes,
            "load_s": max(0.0, self.loaded_at - self.owned_at),
            "roll_s": max(0.0, self.rolled_at - self.loaded_at),
            "rolled": self.rolled,
        }


def gated(gate: Path) -> type[Reader]:
    """A reader that fetches nothing before a file exists: so that several processes begin at one moment."""

    class Gated(Reader):
        waiting: Mapping[int, int] | None = None

        def assign(self, offsets: Mapping[int, int]) -> None:
            self.waiting = dict(offsets)

        def read(self, limit: int, timeout_s: float) -> Any:
            if not gate.exists():
                time.sleep(max(timeout_s, 0.005))
                return {}
            if self.waiting is not None:
                super().assign(self.waiting)
                self.waiting = None
            return super().read(limit, timeout_s)

    return Gated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("expected", type=int, help="records after whose commit to stop; 0: at SIGTERM")
    parser.add_argument("--core", type=int, help="the one core to run on")
    parser.add_argument("--gate", type=Path, help="read nothing before this file exists")
    parser.add_argument("--die", action="store_true", help="end as by kill -9: no last snapshot, no farewell")
    parser.add_argument("--breakdown", action="store_true", help="time the parts of the main loop")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})  # before there are threads: they inherit it
    settings = load_settings(None, os.environ, needs_key=True)
    risk.warm_up(settings)
    run.calm_collector()
    if arguments.gate is not None:
        run.Reader = gated(arguments.gate)
    timers = instrument() if arguments.breakdown else Timers()
    timed = Timed(CollectorRegistry(), arguments.expected)
    engine = run.assemble(settings, "risk", timed)

    def finish() -> None:
        timers.stop()
        if arguments.die:
            say(timed, timers)
            os._exit(0)
        engine.stop()

    timed.begin, timed.finish = timers.start, finish
    signal.signal(signal.SIGTERM, lambda *_: engine.stop())
    engine.run(lambda: run_main(risk.build(settings, EngineSource(engine), EngineSink(engine), timed)))
    timed.note_size()
    say(timed, timers)


def say(timed: Timed, timers: Timers) -> None:
    print(json.dumps({**timed.report(), "parts": timers.parts, "total": timers.total, "absent": timers.absent}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
