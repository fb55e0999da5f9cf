"""Where the time goes in the risk flow at full speed: a Markdown table of microseconds per event.

`python benchmarks/breakdown.py [--events 1000000] [--rounds 3] [--snapshot-interval 10]` runs the flow with a
stop-watch around the parts of its main loop (`benchmarks/timers.py`), from the first batch to the last commit. Wall
clock and processor time of the main thread are exclusive, so they add up; librdkafka's threads work beside it. Each
cell is the median of the rounds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.kafka import PARTITIONS, filled
from benchmarks.runs import PAUSE_S, Run, flow

READING = ("reading", "making batches of what was read")


def table(runs: list[Run]) -> str:
    """The parts of the loop, the rest of it, and what goes on beside it."""

    def median(value: Callable[[Run], float]) -> float:
        return statistics.median(1e6 * value(run) / run["records"] for run in runs)

    def row(name: str, wall: float | None, processor: float) -> str:
        return f"| {name} | {'' if wall is None else f'{wall:.2f}'} | {processor:.2f} |"

    order = [*READING, *runs[-1]["stages_s"]]
    names = {name: None for run in runs for name in run["parts"]}
    lines = ["| | wall clock, us per event | processor, us per event |", "|---|---:|---:|"]
    for name in sorted(names, key=lambda name: order.index(name) if name in order else len(order)):
        wall, processor = (median(lambda run, n=name, k=k: run["parts"].get(n, (0.0, 0.0))[k]) for k in (0, 1))
        lines.append(row(name, wall, processor))
    rest = [median(lambda run, k=k: run["total"][k] - sum(part[k] for part in run["parts"].values())) for k in (0, 1)]
    lines.append(row("the rest of the loop: Bytewax, metrics per batch", *rest))
    lines.append(row("**the main thread**", *(median(lambda run, k=k: run["total"][k]) for k in (0, 1))))
    lines.append(row("librdkafka's and other threads", None, median(lambda run: run["total"][2] - run["total"][1])))
    lines.append(row("**the process**", None, median(lambda run: run["total"][2])))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--snapshot-interval", default="10", help="seconds")
    arguments = parser.parse_args()
    with filled(arguments.events, arguments.users) as (server, prefix):
        interval = {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": arguments.snapshot_interval}
        runs = []
        for _ in range(arguments.rounds + 1):  # the first round, in which the broker warms up, does not count
            runs.append(flow(server.bootstrap, prefix, arguments.events, "--breakdown", **interval))
            time.sleep(PAUSE_S)
        print(
            f"{arguments.events:,} events of {arguments.users:,} users, {PARTITIONS} partitions, one process, "
            f"exactly once, snapshots every {arguments.snapshot_interval} s:\n"
        )
        print(table(runs[1:]))
        if absent := runs[-1]["absent"]:
            print(f"\nNot timed, because the engine has no such method: {', '.join(absent)}")


if __name__ == "__main__":
    main()
