"""Reads partitions from given offsets: never asks the group where to start, never jumps when an offset is gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.clients import groupless
from operators.batches import Messages, Span


class OffsetGone(RuntimeError):
    """The log no longer holds the offset that the state needs."""


class CannotStart(RuntimeError):
    """A partition cannot be taken over without guessing; the message says what to do."""


@dataclass(slots=True)
class Run:
    """Consecutive records of one partition, and whether its end was reached after them."""

    messages: list[Any] = field(default_factory=list)
    end: int | None = None  # the end-of-partition offset, when it was reached


def batch(topic: str, partition: int, messages: Sequence[Any], *, muted: bool) -> Messages:
    """Return consecutive records, at least one, as a batch for the stages."""
    offsets = [message.offset() for message in messages]
    return Messages(
        Span(partition, offsets[0], offsets[-1] + 1, muted),
        topic,
        [message.value() for message in messages],
        [message.key() for message in messages],
        offsets,
        [message.timestamp()[1] for message in messages],
    )


class Reader:
    """One consumer without a group, for all partitions of one topic that this process owns."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        """Connect; `assign` says what to read."""
        self.topic = topic
        own = {"queued.min.messages": 50_000, "queued.max.messages.kbytes": 65_536}
        self._consumer = groupless({**own, **config}, f"{topic}-reader", **{"auto.offset.reset": "error"})

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets, and nothing else."""
        self._consumer.assign([TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()])

    def bounds(self, partition: int, timeout_s: float = 10.0) -> tuple[int, int]:
        """First offset still in the log, and the one after the last."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=timeout_s)
        return low, high

    def partitions(self, timeout_s: float = 10.0, topic: str | None = None) -> int:
        """How many partitions the topic, or another one, has now."""
        name = topic or self.topic
        found = self._consumer.list_topics(name, timeout=timeout_s).topics[name]
        if found.error is not None:
            raise KafkaException(found.error)
        return len(found.partitions)

    def high_watermark(self, partition: int) -> int:
        """The end of the log as last told by the broker, without asking; negative while unknown."""
        bounds = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
        return int(bounds[1]) if bounds else -1

    def read(self, limit: int, timeout_s: float) -> dict[int, Run]:
        """Read what is there, at most `limit` records; waits up to `timeout_s` for the first one.

        Raises:
            OffsetGone: an offset has expired.
            KafkaException: any other error that does not mend itself.
        """
        # consume(n) waits for n records or the whole time-out, so the first one is waited for alone.
        messages: list[Any] = self._consumer.consume(limit, 0)
        if not messages and timeout_s > 0:
            messages = self._consumer.consume(1, timeout_s)
            if messages:
                messages += self._consumer.consume(limit - 1, 0)
        runs: dict[int, Run] = {}
        errors = [message.error() for message in messages]
        if any(errors):
            messages = self._without_errors(messages, errors, runs)
        partitions = [message.partition() for message in messages]
        start = 0
        while start < len(partitions):
            partition = partitions[start]
            stop = start + 1
            while stop < len(partitions) and partitions[stop] == partition:
                stop += 1
            runs.setdefault(partition, Run()).messages += messages[start:stop]
            start = stop
        return runs

    def _without_errors(self, messages: list[Any], errors: list[Any], runs: dict[int, Run]) -> list[Any]:
        good = []
        for message, error in zip(messages, errors, strict=True):
            if error is None:
                good.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's public name
                runs.setdefault(int(message.partition()), Run()).end = message.offset()
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
                raise OffsetGone(f"{self.topic}[{message.partition()}]: {error.str()}")
            elif not error.retriable():
                raise KafkaException(error)
        return good

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
