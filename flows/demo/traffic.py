"""The two ends of the demo: a publisher that keeps an even rate, and a reader of everything the flow answers."""

import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from connectors.embedded import PARTITIONS, RETAINED_BYTES
from flows.demo.generator import Planted
from flows.demo.tally import Tally
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision

MAX_IN_FLIGHT = RETAINED_BYTES // 256
"""Unanswered messages at which the publisher waits: the embedded broker drops what it cannot hold, unread or not. Even
if all of them lay in one partition, at about 200 bytes each, it could hold them."""

_TICK_S = 0.005


class Publisher:
    """Sends the stream to a topic, keyed by user, with event time as the records' Kafka timestamp.

    Args:
        bootstrap: the broker.
        topic: where to.
        stream: what to send; taken one by one.
        tally: told of every message just before it is sent.

    Attributes:
        failed: messages that the broker did not take.
        held_s: time spent waiting because `MAX_IN_FLIGHT` messages were unanswered.
    """

    def __init__(self, bootstrap: str, topic: str, stream: Iterator[Planted], tally: Tally) -> None:
        self._topic = topic
        self._stream = stream
        self._tally = tally
        self.failed = 0
        self.held_s = 0.0
        self._producer: Any = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "tidegate-demo-publisher",
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "acks": "all",
                "enable.idempotence": True,
                "delivery.report.only.error": True,
                "on_delivery": self._undelivered,
                "log_level": 3,
            }
        )

    def _undelivered(self, error: KafkaError | None, _message: Any) -> None:
        self.failed += error is not None

    def send(self, count: int) -> None:
        """Send the next `count` messages at once."""
        with self._tally.lock:
            for planted in islice(self._stream, count):
                self._tally.sent(planted, time.monotonic())
                self._producer.produce(self._topic, planted.value, planted.key, timestamp=planted.timestamp_ms)
        self._producer.poll(0)

    def run(self, rate: float, stop: threading.Event) -> None:
        """Send `rate` messages a second, evenly, until told to stop; then see them delivered.

        Time spent held back is not caught up afterwards: that would be a burst.
        """
        begin = time.monotonic()
        sent = 0
        while not stop.wait(_TICK_S):
            if self._tally.in_flight >= MAX_IN_FLIGHT:
                began = time.monotonic()
                while self._tally.in_flight >= MAX_IN_FLIGHT and not stop.wait(_TICK_S):
                    self._producer.poll(0)
                self.held_s += time.monotonic() - began
                begin += time.monotonic() - began
                continue
            due = int((time.monotonic() - begin) * rate) - sent
            # After a pause of this process (a laptop's lid) the backlog must not pass the limit either.
            count = min(due, MAX_IN_FLIGHT - self._tally.in_flight)
            self.send(count)
            sent += count
        self.flush()

    def flush(self) -> None:
        """Wait until everything sent has been delivered or has failed, 10 s at most."""
        self.failed += self._producer.flush(10)

    def close(self) -> None:
        """Disconnect. A client that outlives the broker would complain of it."""
        self._producer = None


class Reader:
    """Reads `risk.tiers`, `risk.alerts` and `dead-letters` from their beginning into the tally.

    It has no consumer group: it wants every partition, and at once.

    Args:
        bootstrap: the broker.
        prefix: what the topics' names begin with.
        tally: told of every record read.
    """

    def __init__(self, bootstrap: str, prefix: str, tally: Tally) -> None:
        self._tally = tally
        self._tiers, self._alerts, self._dead = (
            prefix + name for name in ("risk.tiers", "risk.alerts", "dead-letters")
        )
        self._decision = msgspec.json.Decoder(Decision).decode
        self._letter = msgspec.json.Decoder(DeadLetter).decode
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "tidegate-demo-reader",
                "group.id": "tidegate-demo-reader",  # librdkafka wants a name; nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 5,
                "log_level": 3,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in (self._tiers, self._alerts, self._dead)
                for partition in range(PARTITIONS)
            ]
        )

    def run(self, stop: threading.Event) -> None:
        """Read until told to stop.

        Raises:
            RuntimeError: the broker has dropped records before they were read.
            msgspec.MsgspecError: a record is not of its topic's schema.
        """
        try:
            while not stop.is_set():
                self._take(self._consumer.consume(5_000, 0.05))
        finally:
            self._consumer.close()

    def _take(self, messages: list[Any]) -> None:
        now = time.monotonic()
        with self._tally.lock:
            for message in messages:
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  librdkafka's own codes have a _
                        raise RuntimeError(f"expected every record of {message.topic()}, got a gap: {error.str()}")
                    continue  # librdkafka reconnects by itself; a loss shows in the tally
                topic, value = message.topic(), message.value()
                if topic == self._tiers:
                    self._tally.decided(self._decision(value), now)
                elif topic == self._alerts:
                    self._tally.alerted(self._decision(value))
                else:
                    letter = self._letter(value)
                    self._tally.rejected(letter.partition, letter.offset, letter.reason)
