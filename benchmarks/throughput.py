"""Throughput of the risk flow against a bare copy loop over the same topic, on a real broker, in one run.

`python benchmarks/throughput.py [--events 1000000] [--rounds 3]` prints events per second, processor seconds per
million events, and the ratio, as medians; with the pseudonym cache warm and cold.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from benchmarks.kafka import PARTITIONS, ROOT, Kafka, afresh, create, environment, fill

PAUSE_S = 3.0  # what one run has written goes to the disk before the next


def copy(bootstrap: str, source: str, target: str, count: int) -> dict[str, float]:
    """The client's own limit: consume and produce, nothing between."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "copy",
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": 50_000,
            "queued.max.messages.kbytes": 65_536,
            "enable.auto.commit": False,
        }
    )
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 1_000_000, "linger.ms": 5})
    consumer.assign([TopicPartition(source, partition, 0) for partition in range(PARTITIONS)])
    seen, began, cpu = 0, 0.0, 0.0
    while seen < count:
        messages = consumer.consume(2000, 0.05)
        if messages and not began:
            began, cpu = time.perf_counter(), time.process_time()
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise RuntimeError(error.str())
            while True:
                try:
                    producer.produce(target, message.value(), message.key(), message.partition())
                    break
                except BufferError:
                    producer.poll(0.01)
        seen += len(messages)
        producer.poll(0)
    producer.flush()
    wall, spent = time.perf_counter() - began, time.process_time() - cpu
    consumer.close()
    return {"records": seen, "wall_s": wall, "cpu_s": spent}


def flow(bootstrap: str, prefix: str, count: int, **overrides: str) -> dict[str, float]:
    afresh(bootstrap, prefix)
    command = [sys.executable, str(ROOT / "benchmarks" / "flow_child.py"), str(count)]
    done = subprocess.run(
        command, env=environment(bootstrap, prefix, **overrides), capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


def show(name: str, runs: list[dict[str, float]], base: list[dict[str, float]] | None = None) -> None:
    speed = statistics.median(run["records"] / run["wall_s"] for run in runs)
    cpu = statistics.median(1e6 * run["cpu_s"] / run["records"] for run in runs)
    line = f"{name:44s} {speed:12,.0f} events/s {cpu:8.2f} processor s per million events"
    if base:
        pairs = zip(runs, base, strict=True)
        ratios = [(run["records"] / run["wall_s"]) / (loop["records"] / loop["wall_s"]) for run, loop in pairs]
        line += f"   ratio to the copy loop {statistics.median(ratios):.3f}"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    server = Kafka().start()
    try:
        prefix = f"b{uuid.uuid4().hex[:6]}."
        create(server.bootstrap, prefix)
        print(f"{arguments.events:,} events of {arguments.users:,} users into {PARTITIONS} partitions", flush=True)
        fill(server.bootstrap, f"{prefix}events", arguments.events, arguments.users)
        loops, warm, cold = [], [], []
        for turn in range(arguments.rounds + 1):  # in turn: the machine's speed drifts
            if turn == 1:  # the first round, in which the broker's own code is compiled, does not count
                loops, warm, cold = [], [], []
            loops.append(copy(server.bootstrap, f"{prefix}events", f"{prefix}copy", arguments.events))
            time.sleep(PAUSE_S)
            warm.append(flow(server.bootstrap, prefix, arguments.events))
            time.sleep(PAUSE_S)
            cold.append(flow(server.bootstrap, prefix, arguments.events, TIDEGATE_RISK__DECODE__CACHE_ENTRIES="2"))
        show("copy loop (confluent-kafka, nothing between)", loops)
        show("risk flow, exactly once, snapshots on", warm, loops)
        show("  the same, every pseudonym hashed anew", cold, loops)
        last = warm[-1]
        for stage, seconds in last["stages_s"].items():
            print(f"    {stage:12s} {1e6 * seconds / last['records']:6.2f} us per event")
        print(
            f"    commits      {1e6 * last['commit_s'] / last['records']:6.2f} us per event, {last['commits']} of them"
        )
    finally:
        server.stop()


if __name__ == "__main__":
    main()
