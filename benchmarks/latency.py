"""End-to-end latency: from `produce` to a read_committed reader of risk.tiers, at a steady rate, on a real broker.

`python benchmarks/latency.py [--rate 5000] [--seconds 30]` prints p50, p99 and the worst, in milliseconds. Publisher,
flow and reader are processes of their own on the machine of the broker.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.events import events
from benchmarks.kafka import PARTITIONS, ROOT, Kafka, create, environment, free_ports

WARM_UP_S = 20
"""A broker that has just started compiles its own code, and is slow for so long; it is not what is measured."""


def publish(bootstrap: str, topic: str, rate: int, seconds: int) -> None:
    """Publish at an even rate; each event's id carries the nanosecond it was handed over."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
    began = time.perf_counter()
    for number, (user, line, time_ms) in enumerate(events(rate * seconds, 20_000)):
        if number % 10 == 0:
            ahead = began + number / rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            producer.poll(0)
        value = line.replace(b'"id":"e', b'"id":"%d-' % time.time_ns(), 1)
        producer.produce(topic, value, user, sum(user.encode()) % PARTITIONS, timestamp=time_ms)
    producer.flush()


def measure(bootstrap: str, topic: str, count: int) -> list[float]:
    """Read the decisions as they become visible; milliseconds since each event was handed over."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "latency", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found: list[float] = []
    while len(found) < count:
        for message in consumer.consume(500, 0.005):
            if message.error() is None:
                now = time.time_ns()
                found.append((now - int(json.loads(message.value())["id"].split("-")[0])) / 1e6)
    consumer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--publish", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        publish(*arguments.publish, arguments.rate, arguments.seconds)
        return
    server = Kafka().start()
    flow = publisher = None
    try:
        prefix = f"l{uuid.uuid4().hex[:6]}."
        create(server.bootstrap, prefix)
        port = free_ports(1)[0]
        settings = environment(server.bootstrap, prefix, TIDEGATE_METRICS__PORT=str(port))
        flow = subprocess.Popen([sys.executable, "-m", "flows", "run", "risk"], env=settings, cwd=ROOT)
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                    break
            except OSError:
                time.sleep(0.2)
        seconds = arguments.seconds + WARM_UP_S
        options = ["--rate", str(arguments.rate), "--seconds", str(seconds)]
        command = [sys.executable, __file__, "--publish", server.bootstrap, f"{prefix}events", *options]
        publisher = subprocess.Popen(command, cwd=ROOT)
        found = measure(server.bootstrap, f"{prefix}risk.tiers", arguments.rate * seconds)
        counted = found[arguments.rate * WARM_UP_S :]
        cuts = statistics.quantiles(counted, n=100)
        print(
            f"{arguments.rate:,} events/s for {arguments.seconds} s after {WARM_UP_S} s of warm-up, "
            f"commit interval 100 ms: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, worst {max(counted):.0f} ms"
        )
    finally:
        for process in (publisher, flow):
            if process is not None:
                process.terminate()
                process.wait(30)
        server.stop()


if __name__ == "__main__":
    main()
