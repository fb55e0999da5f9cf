"""One process of the interactions flow for benchmarks, as `flow_child.py` is one of the risk flow."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bytewax.testing import run_main
from prometheus_client import CollectorRegistry

from benchmarks.flow_child import Timed
from connectors.bytewax_io import EngineSink, EngineSource
from flows import interactions
from flows.commands import run
from flows.settings import load_settings
from operators.state import Measurement

SHOWN = ("tidegate_items", "tidegate_parts_written_total")


class TimedItems(Timed):
    """Keeps how many items there are, and how many parts were written."""

    def __init__(self, expected: int) -> None:
        super().__init__(CollectorRegistry(), expected, interactions.FLOW)
        self.shown: dict[tuple[str, int], float] = {}

    def measured(self, partition: int, measurements: Iterable[Measurement]) -> None:
        told = list(measurements)
        super().measured(partition, told)
        self.shown |= {(each.metric, partition): each.value for each in told if each.metric in SHOWN}

    def total(self, metric: str) -> float:
        return sum(value for (name, _), value in self.shown.items() if name == metric)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("expected", type=int, help="records after whose commit to stop")
    arguments = parser.parse_args()
    settings = load_settings(None, os.environ, needs_key=True)
    plan = interactions.plan(settings)
    interactions.warm_up(settings)
    run.calm_collector()
    timed = TimedItems(arguments.expected)
    engine = run.assemble(settings, interactions.FLOW, timed, plan=plan)
    timed.begin, timed.finish = (lambda: None), engine.stop
    engine.run(lambda: run_main(plan.build(EngineSource(engine), EngineSink(engine), timed)))
    items, parts = (timed.total(metric) for metric in SHOWN)
    print(json.dumps({**timed.report(), "items": items, "parts": parts}))


if __name__ == "__main__":
    main()
