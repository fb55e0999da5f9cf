"""What transactions and snapshots cost, with many users, so that the state is large; in turns of one run.

`python benchmarks/costs.py [--events 2500000] [--users 200000] [--rounds 2]` prints events per second and processor
seconds per million events of each way to run the flow, and their ratios to exactly once without snapshots, as medians.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.kafka import PARTITIONS, filled
from benchmarks.runs import PAUSE_S, Run, flow, show

NEVER = {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "3600"}  # the longest there is
BASE = "exactly once, no snapshots while it runs"
WAYS = {
    BASE: NEVER,
    "at least once, no snapshots while it runs": {**NEVER, "TIDEGATE_KAFKA__DELIVERY": "at_least_once"},
    "exactly once, snapshots every 10 s": {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "10"},
    "exactly once, snapshots every 2 s": {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "2"},
}


def snapshots(runs: list[Run]) -> str:
    """What the metrics say about the snapshots of these runs, as medians; nothing when there were none."""
    figures = {
        name: statistics.median(run["figures"].get(name, 0.0) for run in runs)
        for name in sorted({name for run in runs for name in run["figures"]})
    }
    if not figures.get("tidegate_snapshot_seconds_count"):
        return ""
    said = f"{figures['tidegate_snapshot_seconds_count']:.0f} snapshots of partitions"
    said += f", {figures['tidegate_snapshot_bytes'] / 1e6:.0f} MB of state"
    said += f", {figures.get('tidegate_snapshot_written_bytes_total', 0.0) / 1e6:.0f} MB written"
    if "tidegate_snapshot_cost_ratio" in figures:
        said += f", {figures['tidegate_snapshot_cost_ratio']:.1%} of the process's time (tidegate_snapshot_cost_ratio)"
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_500_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{arguments.events:,} events of {arguments.users:,} users into {PARTITIONS} partitions", flush=True)
    with filled(arguments.events, arguments.users) as (server, prefix):
        runs: dict[str, list[Run]] = {name: [] for name in WAYS}
        flow(server.bootstrap, prefix, arguments.events, **NEVER)  # the broker warms up: does not count
        for _ in range(arguments.rounds):
            for name, settings in WAYS.items():
                time.sleep(PAUSE_S)
                runs[name].append(flow(server.bootstrap, prefix, arguments.events, **settings))
        for name, found in runs.items():
            show(name, found, None if name == BASE else runs[BASE], "the first row")
            if said := snapshots(found):
                print(f"    {said}")


if __name__ == "__main__":
    main()
