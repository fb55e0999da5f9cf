"""What is published during a chaos run: the demo's stream with everything in it, and an account of what was sent."""

import itertools
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from chaos_plan import PARTITIONS
from chaos_verdict import Sent
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from harness import read_committed

from flows.demo.generator import Generator, GeneratorConfig

FUTURE_EVERY = 997
"""One event in so many claims to be from an hour after its record's Kafka timestamp: a dead letter."""


class Message(NamedTuple):
    """One record to publish, and what is known of it."""

    partition: int
    key: bytes
    value: bytes | None
    timestamp_ms: int
    sent: Sent


def stream(seed: int, users: int) -> Iterator[Message]:
    """Regular users, bursts of abuse, garbage, duplicates, disorder, clocks that are ahead; without end."""
    config = GeneratorConfig(
        seed=seed, users=users, attack_share=0.03, quiet_s=3_600.0, out_of_order=0.02, duplicates=0.01, garbage=0.01
    )
    for number, planted in enumerate(Generator(config).events()):
        future = number % FUTURE_EVERY == FUTURE_EVERY - 1
        readable = planted.garbage is None and not future
        yield Message(
            zlib.crc32(planted.key) % PARTITIONS,
            planted.key,
            planted.value or None,
            planted.timestamp_ms - 3_600_000 * future,
            Sent(str(planted.event["id"]) if readable else None, str(planted.event["user"])),
        )


class Publisher(threading.Thread):
    """Publishes at an even rate until told to stop; waits while the flow is too far behind.

    Attributes:
        sent: per partition, what lies at offset 0, 1, 2, ...; known once `finish` has returned.
        delivered: how many records are in the log for certain.
        twice: records that lie in the log more than once, though they were handed over once. They are input like any
            other; the flow has nothing to do with it.
        missing: records that the client was told are in the log and that are not. Seen around a broker's kill -9: the
            input is what the log holds.
        failure: what went wrong, if anything.
    """

    def __init__(
        self, bootstrap: str, topic: str, messages: Iterator[Message], rate: float, behind: Callable[[int], int]
    ) -> None:
        """Prepare; `start` begins.

        Args:
            bootstrap: of the broker.
            topic: the input.
            messages: what to publish; the thread ends with it.
            rate: records a second.
            behind: given how many records were published, how many of them are not answered yet.
        """
        super().__init__(name="publisher", daemon=True)
        self.sent: list[list[Sent]] = [[] for _ in range(PARTITIONS)]
        self.delivered = self.twice = self.missing = 0
        self.failure: str | None = None
        self._broker = bootstrap
        self._handed: list[list[Message]] = [[] for _ in range(PARTITIONS)]
        self._topic = topic
        self._messages = messages
        self._rate = rate
        self._behind = behind
        self._ending = threading.Event()
        # Idempotent, so that a broker's death neither doubles nor reorders; it gives no record up.
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 0,
                "log_level": 0,
            }
        )  # fmt: skip

    def finish(self, timeout_s: float = 120.0) -> None:
        """Stop publishing; everything published is in the log when this returns, and held against the log."""
        self._ending.set()
        self.join(timeout_s)
        if self.is_alive():
            self.failure = f"the publisher did not end in {timeout_s:.0f} s"
        logs = read_committed(self._broker, self._topic, PARTITIONS)
        for partition, (log, handed) in enumerate(zip(logs, self._handed, strict=True)):
            known = {(each.key, each.value, each.timestamp_ms): each.sent for each in handed}
            self.sent[partition] = [known[record] for record in log]
            # dict.fromkeys keeps the first of each: the order of the log without what is there again.
            once, left = dict.fromkeys(log), iter(known)
            if not all(record in left for record in once):  # takes from `left` up to the record: the order counts
                self.failure = f"[{partition}]: the log has another order than the records were handed over in"
            self.missing += len(known) - len(once)
            self.twice += (len(log) - len(once)) - (len(handed) - len(known))

    def run(self) -> None:
        begun, handed = time.monotonic(), 0
        while not self._ending.is_set() and self.failure is None:
            if self._behind(self.delivered) > 20 * self._rate:  # a backlog of 20 s: no use in making it larger
                begun = time.monotonic() - handed / self._rate
                self._producer.poll(0.05)
                continue
            due = int((time.monotonic() - begun) * self._rate) - handed
            messages = list(itertools.islice(self._messages, min(due, 1_000)))
            if due > 0 and not messages:
                break
            for message in messages:
                self._handed[message.partition].append(message)
                self._producer.produce(
                    self._topic, message.value, message.key, message.partition,
                    timestamp=message.timestamp_ms, on_delivery=self._note,
                )  # fmt: skip
            handed += len(messages)
            self._producer.poll(0.01)
        left = self._producer.flush(90)
        if left and self.failure is None:
            self.failure = f"{left} records could not be published"

    def _note(self, error: KafkaError | None, _record: object) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failure = f"not published: {error.str()}"


def copy(bootstrap: str, source: str, target: str, ends: list[int]) -> None:
    """Copy a topic into an empty one, record by record to the same offsets, with the same keys and times."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "copy", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
    consumer.assign([TopicPartition(source, partition, 0) for partition in range(len(ends))])
    copied = [0] * len(ends)
    deadline = time.monotonic() + 120
    while copied != ends:
        assert time.monotonic() < deadline, f"copied {copied} of {ends} records of {source}"
        for message in consumer.consume(1_000, 0.2):
            assert message.error() is None, message.error()
            partition = message.partition()
            assert message.offset() == copied[partition], "the input has gaps: its offsets cannot be had again"
            copied[partition] += 1
            producer.produce(
                target, message.value(), message.key(), partition, timestamp=message.timestamp()[1]
            )  # fmt: skip
            producer.poll(0)
    consumer.close()
    assert producer.flush(60) == 0
