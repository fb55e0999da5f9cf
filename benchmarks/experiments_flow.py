"""Throughput of the experiments flow, exposures and metrics together, against a bare copy loop over both, in one run.

`python benchmarks/experiments_flow.py [--records 1000000] [--experiments 20] [--rounds 3]` prints records per second,
processor seconds per million records, and the ratio, as medians.
"""

import argparse
import random
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import msgspec
from confluent_kafka import Producer

from benchmarks.events import START_MS
from benchmarks.kafka import PARTITIONS, ROOT, Kafka, afresh, create, environment
from benchmarks.runs import PAUSE_S, Run, child, show
from benchmarks.throughput import copy
from schemas.definition import Definition, Metric, Phase

WRITTEN = ("experiments.parts", "dead-letters", "audit", "experiments.snapshots", "experiments.journal")
READ = ("exposures", "metrics", "experiments.definitions")
CHILD = ROOT / "benchmarks" / "experiments_child.py"

ALL_BUT = 0.98
"""Share of the records after which the clock stops: the last ones wait for others that never come."""


def definition(number: int) -> Definition:
    """Return an experiment with three metrics and a window of an hour."""
    return Definition(
        id=f"experiment-{number}", version=1, timestamp=START_MS, seed=f"{number}", variations=("control", "green"),
        phases=(Phase(start=START_MS, coverage=1.0, weights=(0.5, 0.5)),),
        primary=Metric(name="revenue", kind="mean", event="purchase", topic="metrics", cap=500.0),
        secondary=(
            Metric(name="buyers", kind="proportion", event="purchase", topic="metrics"),
            Metric(name="per-visit", kind="ratio", event="purchase", topic="metrics", denominator_event="visit"),
        ),
        alpha=0.05, tuning_n=5_000, attribution_window_s=3_600, minimum_run_s=0, mde=0.02, cuped=True,
    )  # fmt: skip


def records(count: int, experiments: int, users: int) -> Iterator[tuple[str, str, bytes, int]]:
    """Yield (topic, user, JSON, time in ms): a quarter are exposures, the others visits and purchases."""
    rng = random.Random(1)
    draw = rng.random
    for number in range(count):
        time_ms = START_MS + number * 40
        user = f"user-{int(users * draw()):06d}"
        if draw() < 0.25:
            which = int(experiments * draw())
            arm = ("control", "green")[(hash_of(user) + which) % 2]
            line = (
                f'{{"experiment_id":"experiment-{which}","variation_id":"{arm}","user":"{user}",'
                f'"timestamp":{time_ms},"phase":0}}'
            )
            yield "exposures", user, line.encode(), time_ms
        else:
            kind, value = ("purchase", round(200 * draw() * draw(), 2)) if draw() < 0.3 else ("visit", 1)
            line = (
                f'{{"user":"{user}","metric":"{kind}","value":{value},"timestamp":{time_ms},"id":"m{number:09d}",'
                f'"fields":{{"country":"DE"}}}}'
            )
            yield "metrics", user, line.encode(), time_ms


def hash_of(user: str) -> int:
    """Return a number of a user, the same in every process."""
    return int(user[-6:]) * 2_654_435_761 >> 16


def fill(bootstrap: str, prefix: str, count: int, experiments: int, users: int) -> dict[str, int]:
    """Publish all; return how many there are on each topic."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    counts = {"exposures": 0, "metrics": 0}
    for number in range(experiments):
        one = definition(number)
        for partition in range(PARTITIONS):
            producer.produce(
                f"{prefix}experiments.definitions", msgspec.json.encode(one), one.id, partition, timestamp=START_MS
            )
    for number, (topic, user, line, time_ms) in enumerate(records(count, experiments, users)):
        while True:
            try:
                producer.produce(prefix + topic, line, user, int(user[-6:]) % PARTITIONS, timestamp=time_ms)
                break
            except BufferError:
                producer.poll(0.1)
        counts[topic] += 1
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()
    return counts


def copies(bootstrap: str, prefix: str, counts: dict[str, int]) -> Run:
    """The copy loop over one topic after the other."""
    runs = [copy(bootstrap, prefix + topic, f"{prefix}copy", count) for topic, count in counts.items()]
    return {name: sum(run[name] for run in runs) for name in ("records", "wall_s", "cpu_s")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--experiments", type=int, default=20)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    server, prefix = Kafka().start(), f"b{uuid.uuid4().hex[:6]}."
    try:
        create(server.bootstrap, prefix, (*READ, "copy", *WRITTEN))
        counts = fill(server.bootstrap, prefix, arguments.records, arguments.experiments, arguments.users)
        said = ", ".join(f"{count:,} {topic}" for topic, count in counts.items())
        print(f"{said} of {arguments.users:,} users, {arguments.experiments} experiments, {PARTITIONS} partitions")
        loops, flows = [], []
        for _ in range(arguments.rounds + 1):  # in turn: the machine's speed drifts
            loops.append(copies(server.bootstrap, prefix, counts))
            time.sleep(PAUSE_S)
            afresh(server.bootstrap, prefix, WRITTEN)
            expected = int(ALL_BUT * sum(counts.values()))
            flows.append(child([str(CHILD), str(expected)], environment(server.bootstrap, prefix)))
            time.sleep(PAUSE_S)
        # The first round, in which the broker's own code is compiled, does not count.
        show("copy loop over both topics", loops[1:])
        show("experiments flow, exactly once, snapshots on", flows[1:], loops[1:], "the copy loop")
        last = flows[-1]
        for stage, seconds in last["stages_s"].items():
            print(f"    {stage:12s} {1e6 * seconds / last['records']:6.2f} us per record, of exposures alone")
        print(
            f"    commits      {1e6 * last['commit_s'] / last['records']:6.2f} us per record, {last['commits']} of them"
        )
        print(f"    {last['batches']:,} runs of side records, {last['units']:,.0f} units")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
