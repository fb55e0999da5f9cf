"""One process of the experiments flow for benchmarks, as `flow_child.py` is one of the risk flow.

Counted are records of `exposures` and of the topics beside it. It stops at the commit that covers so many of them.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bytewax.testing import run_main
from prometheus_client import CollectorRegistry

from benchmarks.flow_child import Timed, moment
from connectors.bytewax_io import EngineSink, EngineSource
from flows import experiments
from flows.commands import run
from flows.settings import load_settings
from operators.state import Measurement


class TimedSides(Timed):
    """Counts side records too, and keeps how many units there are."""

    def __init__(self, expected: int) -> None:
        super().__init__(CollectorRegistry(), expected, "experiments")
        self.units: dict[int, float] = {}
        self.batches = 0

    def side(self, partition: int, topic: str, records: int, reasons: Iterable[str]) -> None:
        super().side(partition, topic, records, reasons)
        self.batches += 1
        if topic == experiments.DEFINITIONS:
            return
        if self.began is None:
            self.began = moment()
        self.seen += records
        self._answered.append((time.monotonic(), self.seen))

    def measured(self, partition: int, measurements: Iterable[Measurement]) -> None:
        told = list(measurements)
        super().measured(partition, told)
        for each in told:
            if each.metric == "tidegate_units":
                self.units[partition] = each.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("expected", type=int, help="records after whose commit to stop")
    arguments = parser.parse_args()
    settings = load_settings(None, os.environ, needs_key=True)
    plan = experiments.plan(settings)
    experiments.warm_up(settings)
    run.calm_collector()
    timed = TimedSides(arguments.expected)
    engine = run.assemble(settings, experiments.FLOW, timed, plan=plan)
    timed.begin, timed.finish = (lambda: None), engine.stop
    engine.run(lambda: run_main(plan.build(EngineSource(engine), EngineSink(engine), timed)))
    print(json.dumps({**timed.report(), "batches": timed.batches, "units": sum(timed.units.values())}))


if __name__ == "__main__":
    main()
