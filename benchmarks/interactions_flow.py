"""Throughput of the interactions flow against a bare copy loop over the same topic, on a real broker, in one run.

`python benchmarks/interactions_flow.py [--records 1000000] [--items 10000] [--users 50000] [--rounds 3]` prints records
per second, processor seconds per million records, and the ratio, as medians.
"""

import argparse
import random
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.events import START_MS
from benchmarks.kafka import PARTITIONS, ROOT, Kafka, afresh, create, environment, publish
from benchmarks.runs import PAUSE_S, child, show
from benchmarks.throughput import copy

WRITTEN = ("ranking.parts", "dead-letters", "audit", "interactions.snapshots", "interactions.journal")
CHILD = ROOT / "benchmarks" / "interactions_child.py"


def records(count: int, items: int, users: int) -> Iterator[tuple[str, bytes, int]]:
    """Yield (user, JSON, time in ms), as Metarank's producers write them: nine impressions to a click; 25 a second."""
    rng = random.Random(1)
    weights = list(accumulate(1.0 / rank for rank in range(1, items + 1)))  # items by Zipf's law
    names = [f"item-{number:06d}" for number in range(items)]
    chosen = rng.choices(names, cum_weights=weights, k=count)
    for number, item in enumerate(chosen):
        user, time_ms = f"user-{rng.randrange(users):06d}", START_MS + 40 * number
        kind = "impression" if rng.random() < 0.9 else "click" if rng.random() < 0.9 else "purchase"
        line = (
            f'{{"event":"interaction","id":"v{number:09d}","ranking":"r{number // 10:09d}","timestamp":"{time_ms}",'
            f'"user":"{user}","session":"s-{user}","type":"{kind}","item":"{item}",'
            f'"fields":[{{"name":"position","value":{1 + number % 10}}}]}}'
        )
        yield user, line.encode(), time_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    count = arguments.records
    server, prefix = Kafka().start(), f"b{uuid.uuid4().hex[:6]}."
    try:
        create(server.bootstrap, prefix, ("interactions", "copy", *WRITTEN))
        made = records(count, arguments.items, arguments.users)
        publish(server.bootstrap, f"{prefix}interactions", made)
        print(f"{count:,} interactions, {arguments.items:,} items, {arguments.users:,} users, {PARTITIONS} partitions")
        loops, flows = [], []
        for _ in range(arguments.rounds + 1):  # in turn: the machine's speed drifts
            loops.append(copy(server.bootstrap, f"{prefix}interactions", f"{prefix}copy", count))
            time.sleep(PAUSE_S)
            afresh(server.bootstrap, prefix, WRITTEN)
            group = {"TIDEGATE_INTERACTIONS__GROUP": f"bench-{uuid.uuid4().hex}"}
            flows.append(child([str(CHILD), str(count)], environment(server.bootstrap, prefix, **group)))
            time.sleep(PAUSE_S)
        # The first round, in which the broker's own code is compiled, does not count.
        show("copy loop (confluent-kafka, nothing between)", loops[1:])
        show("interactions flow, exactly once, snapshots on", flows[1:], loops[1:], "the copy loop")
        last = flows[-1]
        for stage, seconds in last["stages_s"].items():
            print(f"    {stage:12s} {1e6 * seconds / last['records']:6.2f} us per record")
        print(
            f"    commits      {1e6 * last['commit_s'] / last['records']:6.2f} us per record, {last['commits']} of them"
        )
        print(f"    {last['items']:,.0f} items by partition, {last['parts']:,.0f} parts")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
