"""What the broker benchmarks share: a broker of their own, topics, events in it, and where a group stands."""

import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "broker")]

from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from server import Kafka, free_ports  # noqa: E402

from benchmarks.events import events  # noqa: E402

__all__ = ["PARTITIONS", "ROOT", "Group", "Kafka", "afresh", "create", "environment", "fill", "filled", "free_ports"]

PARTITIONS = 4
WRITTEN = ("risk.tiers", "risk.alerts", "risk.evidence", "dead-letters", "audit", "risk.snapshots")
TOPICS = ("events", "copy", *WRITTEN)


def create(bootstrap: str, prefix: str, names: tuple[str, ...] = TOPICS) -> None:
    """Make topics that keep everything."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    config = {"retention.ms": "-1", "file.delete.delay.ms": "1000"}
    for done in admin.create_topics([NewTopic(prefix + n, PARTITIONS, 1, config=config) for n in names]).values():
        done.result()


def afresh(bootstrap: str, prefix: str, written: tuple[str, ...] = WRITTEN) -> None:
    """Empty what a flow writes: a new group refuses to start beside snapshots that are not its own."""
    admin, names = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4}), [prefix + name for name in written]
    for done in admin.delete_topics(names).values():
        done.result()
    while not admin.list_topics(timeout=10).topics.keys().isdisjoint(names):
        time.sleep(0.2)
    create(bootstrap, prefix, written)


def fill(bootstrap: str, topic: str, count: int, users: int, first: int = 0) -> None:
    """Publish events; `first` as in `events`."""
    publish(bootstrap, topic, events(count, users, first))


def publish(bootstrap: str, topic: str, records: Iterable[tuple[str, bytes, int]]) -> None:
    """Publish user, record and time of each, keyed by user, users spread evenly over the partitions."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    for number, (user, line, time_ms) in enumerate(records):
        while True:
            try:
                producer.produce(topic, line, user, int(user[-6:]) % PARTITIONS, timestamp=time_ms)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


@contextmanager
def filled(count: int, users: int) -> Iterator[tuple[Kafka, str]]:
    """A broker of one's own with `count` events in it; yields it and the topics' prefix, and stops it at the end."""
    server = Kafka().start()
    try:
        prefix = f"b{uuid.uuid4().hex[:6]}."
        create(server.bootstrap, prefix)
        fill(server.bootstrap, f"{prefix}events", count, users)
        yield server, prefix
    finally:
        server.stop()


def environment(bootstrap: str, prefix: str, **overrides: str) -> dict[str, str]:
    """The settings of a flow in a group of its own."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TIDEGATE_PSEUDONYM_KEY": "a key for benchmarks only",
        "TIDEGATE_KAFKA__BOOTSTRAP": bootstrap,
        "TIDEGATE_KAFKA__PREFIX": prefix,
        "TIDEGATE_RISK__GROUP": f"bench-{uuid.uuid4().hex}",
        "TIDEGATE_EXPERIMENTS__GROUP": f"bench-{uuid.uuid4().hex}",
        "TIDEGATE_LOG__LEVEL": "warning",
        **overrides,
    }


class Group:
    """Where a consumer group stands, asked from outside."""

    def __init__(self, bootstrap: str, name: str, topic: str) -> None:
        # What is committed is told at once, without waiting for transactions that are pending.
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": name, "isolation.level": "read_uncommitted"}
        )
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
        self._name = name
        self._all = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]

    def committed(self) -> dict[int, Any]:
        """Each partition's committed `TopicPartition`: its `offset` and the `metadata` beside it."""
        return {each.partition: each for each in self._consumer.committed(self._all, timeout=10)}

    def ends(self) -> dict[int, int]:
        """Each partition's end."""
        return {each.partition: self._consumer.get_watermark_offsets(each, timeout=10)[1] for each in self._all}

    def shares(self) -> list[int]:
        """How many partitions each member has."""
        group = self._admin.describe_consumer_groups([self._name])[self._name].result()
        return [len(member.assignment.topic_partitions) for member in group.members]

    def close(self) -> None:
        self._consumer.close()
