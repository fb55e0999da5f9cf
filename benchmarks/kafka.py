"""What the broker benchmarks share: a broker of their own, topics, events in it, and the flow as a process."""

import os
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "broker")]

from confluent_kafka import Producer  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from server import Kafka, free_ports  # noqa: E402

from benchmarks.events import events  # noqa: E402

__all__ = ["PARTITIONS", "ROOT", "Kafka", "afresh", "create", "environment", "fill", "free_ports"]

PARTITIONS = 4
TOPICS = ("events", "risk.tiers", "risk.alerts", "dead-letters", "risk.snapshots", "copy")


def create(bootstrap: str, prefix: str, names: tuple[str, ...] = TOPICS) -> None:
    """Make topics that keep everything."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = {"retention.ms": "-1"}
    for done in admin.create_topics([NewTopic(prefix + n, PARTITIONS, 1, config=config) for n in names]).values():
        done.result()


def afresh(bootstrap: str, prefix: str) -> None:
    """Empty the snapshots: a new group refuses to start beside some that are not its own."""
    admin, name = AdminClient({"bootstrap.servers": bootstrap}), f"{prefix}risk.snapshots"
    admin.delete_topics([name])[name].result()
    while name in admin.list_topics(timeout=10).topics:
        time.sleep(0.2)
    create(bootstrap, prefix, ("risk.snapshots",))


def fill(bootstrap: str, topic: str, count: int, users: int) -> None:
    """Publish events keyed by user, users spread evenly over the partitions."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    placed: dict[str, int] = {}
    for number, (user, line, time_ms) in enumerate(events(count, users)):
        partition = placed.setdefault(user, len(placed) % PARTITIONS)
        producer.produce(topic, line, user, partition, timestamp=time_ms)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def environment(bootstrap: str, prefix: str, **overrides: str) -> dict[str, str]:
    """The settings of a flow in a group of its own."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TIDEGATE_PSEUDONYM_KEY": "a key for benchmarks only",
        "TIDEGATE_KAFKA__BOOTSTRAP": bootstrap,
        "TIDEGATE_KAFKA__PREFIX": prefix,
        "TIDEGATE_RISK__GROUP": f"bench-{uuid.uuid4().hex}",
        "TIDEGATE_LOG__LEVEL": "warning",
        **overrides,
    }
