"""One process of the risk flow for benchmarks: the engine as `tidegate run` builds it, timed from first batch to end.

Usage: flow_child.py EXPECTED_RECORDS, settings from the environment. Prints one JSON line.
"""

import json
import os
import sys
import time
from typing import Any

from bytewax.testing import run_main
from prometheus_client import CollectorRegistry

from connectors.bytewax_io import EngineSink, EngineSource
from connectors.health import Health
from connectors.observed import Observed
from flows import risk
from flows.commands.run import assemble, calm_collector
from flows.settings import load_settings
from operators.metrics import Metrics


class Timed(Observed):
    """Notes when the first batch was answered and when the last one was committed."""

    def __init__(self, metrics: Metrics, expected: int) -> None:
        super().__init__("risk", metrics, Health(metrics))
        self.expected = expected
        self.seen = 0
        self.stages: dict[str, float] = {}
        self.commits: list[float] = []
        self.began = self.ended = (0.0, 0.0)
        self.stop: Any = None

    def batch(self, step: str, partition: int, batch: Any, answer: Any, seconds: float) -> None:
        super().batch(step, partition, batch, answer, seconds)
        self.stages[step] = self.stages.get(step, 0.0) + seconds
        if step == "decode":
            if not self.seen:
                self.began = (time.perf_counter() - seconds, time.process_time() - seconds)
            self.seen += batch.span.next - batch.span.first

    def committed(self, outcome: str, seconds: float) -> None:
        super().committed(outcome, seconds)
        self.commits.append(seconds)
        if self.seen >= self.expected and self.ended == (0.0, 0.0):
            self.ended = (time.perf_counter(), time.process_time())
            self.stop()


def main() -> None:
    expected = int(sys.argv[1])
    settings = load_settings(None, os.environ, needs_key=True)
    risk.warm_up(settings)
    calm_collector()
    timed = Timed(Metrics(CollectorRegistry()), expected)
    engine = assemble(settings, "risk", timed)
    timed.stop = engine.stop
    engine.run(lambda: run_main(risk.build(settings, EngineSource(engine), EngineSink(engine), timed)))
    wall, cpu = timed.ended[0] - timed.began[0], timed.ended[1] - timed.began[1]
    print(
        json.dumps(
            {
                "records": timed.seen,
                "wall_s": wall,
                "cpu_s": cpu,
                "stages_s": timed.stages,
                "commits": len(timed.commits),
                "commit_s": sum(timed.commits),
            }
        )
    )


if __name__ == "__main__":
    main()
