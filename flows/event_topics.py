"""Events and labels that lie in topics now, read as files of them are."""

import heapq
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from connectors.fetching import Contents
from flows.event_files import Ready, Refused
from flows.labels import Truth
from schemas.label import Label


class TopicLabels(NamedTuple):
    """What a topic of labels holds.

    Attributes:
        truths: by (user, id); of two labels for one event the later on the topic.
        unreadable: records that are no labels.
    """

    truths: dict[tuple[str, str], Truth]
    unreadable: int


class EventTopic:
    """Iterates over a topic's records, by their Kafka times; a context manager, as `EventFile` is.

    Within a partition the order is the partition's. Nothing that is published meanwhile is read, so two readings of the
    same log are the same. Records that are no events leave as they are: the decode stage says what is wrong with them.

    Attributes:
        size: offsets to be read, at most as many records.
    """

    size: int

    def __init__(self, config: Mapping[str, Any], topic: str, partitions: int, since_ms: int | None = None) -> None:
        """Connect, and ask for the log's bounds.

        Args:
            config: of librdkafka.
            topic: full name.
            partitions: how many it has.
            since_ms: leave out records of earlier Kafka times, epoch milliseconds.

        Raises:
            KafkaException: the broker does not answer.
        """
        # One consumer a partition: each is read as far as the others' times ask for, and no further.
        self._logs = [Contents(config, topic, partitions, only=number) for number in range(partitions)]
        self._since_ms = since_ms
        self._read = 0
        self.size = sum(log.total for log in self._logs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for log in self._logs:
            log.close()

    def position(self) -> int:
        """Return how many records have been read."""
        return self._read

    def __iter__(self) -> Iterator[Ready | Refused]:
        """Read on.

        Raises:
            KafkaException: the broker does not give what it has.
        """
        for number, message in enumerate(heapq.merge(*map(_messages, self._logs), key=_time), 1):
            self._read = number
            time_ms = _time(message)
            if self._since_ms is None or time_ms >= self._since_ms:
                key, value = message.key() or b"", message.value() or b""
                yield Ready(number, key, value, time_ms, partition=message.partition())


def read_labels(config: Mapping[str, Any], topic: str, partitions: int) -> TopicLabels:
    """Read all labels of a topic.

    Raises:
        KafkaException: the broker does not give what it has.
    """
    decode = msgspec.json.Decoder(Label).decode
    truths: dict[tuple[str, str], Truth] = {}
    unreadable = 0
    for message in Contents(config, topic, partitions):
        if message is None:
            continue
        try:
            label = decode(message.value() or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            unreadable += 1
        else:
            truths[label.user, label.id] = Truth(label.label == "fraud", label.kind or "")
    return TopicLabels(truths, unreadable)


def _messages(log: Contents) -> Iterator[Any]:
    return (message for message in log if message is not None)


def _time(message: Any) -> int:
    return int(message.timestamp()[1])
