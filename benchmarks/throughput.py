"""Throughput of the risk flow against a bare copy loop over the same topic, on a real broker, in one run.

`python benchmarks/throughput.py [--events 1000000] [--rounds 3]` prints events per second, processor seconds per
million events, and the ratio, as medians; with the pseudonym cache warm and cold.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from benchmarks.kafka import PARTITIONS, filled
from benchmarks.runs import PAUSE_S, Run, flow, show


def copy(bootstrap: str, source: str, target: str, count: int) -> Run:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{arguments.events:,} events of {arguments.users:,} users into {PARTITIONS} partitions", flush=True)
    with filled(arguments.events, arguments.users) as (server, prefix):
        loops, warm, cold = [], [], []
        for _ in range(arguments.rounds + 1):  # in turn: the machine's speed drifts
            loops.append(copy(server.bootstrap, f"{prefix}events", f"{prefix}copy", arguments.events))
            time.sleep(PAUSE_S)
            warm.append(flow(server.bootstrap, prefix, arguments.events))
            time.sleep(PAUSE_S)
            cold.append(flow(server.bootstrap, prefix, arguments.events, TIDEGATE_RISK__DECODE__CACHE_ENTRIES="2"))
        # The first round, in which the broker's own code is compiled, does not count.
        show("copy loop (confluent-kafka, nothing between)", loops[1:])
        show("risk flow, exactly once, snapshots on", warm[1:], loops[1:], "the copy loop")
        show("  the same, every pseudonym hashed anew", cold[1:], loops[1:], "the copy loop")
        last = warm[-1]
        for stage, seconds in last["stages_s"].items():
            print(f"    {stage:12s} {1e6 * seconds / last['records']:6.2f} us per event")
        print(
            f"    commits      {1e6 * last['commit_s'] / last['records']:6.2f} us per event, {last['commits']} of them"
        )


if __name__ == "__main__":
    main()
