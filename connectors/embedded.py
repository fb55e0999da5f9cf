"""A Kafka broker inside this process, for the demo and for tests that only produce and consume.

It is librdkafka's own mock cluster (`test.mock.num.brokers`), which speaks Kafka's protocol on loopback, so that other
processes can connect to it too. Its limits, all checked against librdkafka 2.16:

- every topic has 4 partitions and is made when a client first asks for it; CreateTopics is never answered;
- a partition keeps about its newest 5 MB, in memory, and drops what is older without asking who has read it;
- committed offsets work, offsets sent inside a transaction are dropped, and aborted records stay visible: use
  at-least-once delivery;
- the first consumer of a group waits 3 seconds for company before it is given partitions.
"""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException, Producer

PARTITIONS = 4
"""Partitions of every topic: librdkafka's constant, not ours to choose."""

RETAINED_BYTES = 5 * 1024 * 1024
"""What a partition keeps; a reader further behind than this loses records."""

_ANSWER_S = 5.0


class EmbeddedBroker:
    """A broker that lives as long as this object, or as its `with` block.

    Attributes:
        bootstrap: `host:port` for `bootstrap.servers`, on the loopback interface.
    """

    bootstrap: str

    def __init__(self) -> None:
        # log_level 3: the notice that the configured bootstrap servers are ignored is the very point of this handle.
        self._handle: Any = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 3})
        broker = next(iter(self._handle.list_topics(timeout=_ANSWER_S).brokers.values()))
        self.bootstrap = f"{broker.host}:{broker.port}"

    def create(self, topics: Iterable[str], timeout_s: float = _ANSWER_S) -> None:
        """Make topics, each with `PARTITIONS` partitions. One that exists is left as it is.

        Raises:
            TimeoutError: a topic still has no partitions after `timeout_s`, or the broker is closed.
        """
        deadline = time.monotonic() + timeout_s
        for topic in topics:
            while not self._partitions(topic):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"expected topic {topic} within {timeout_s:g} s - the broker does not answer")
                time.sleep(0.02)

    def _partitions(self, topic: str) -> int:
        """Ask for a topic's partitions: a producer's question makes the topic."""
        if self._handle is None:
            return 0
        try:
            metadata = self._handle.list_topics(topic, timeout=_ANSWER_S).topics[topic]
        except KafkaException:  # not answered in time; the caller has the deadline
            return 0
        return 0 if metadata.error is not None else len(metadata.partitions)

    def close(self) -> None:
        """Stop the broker; everything it held is gone. Closing twice is fine."""
        # librdkafka stops the mock cluster when its last handle goes.
        self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
