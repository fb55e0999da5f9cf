"""Reads stretches of a side topic once more: what was applied before, for rolling forward."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.clients import groupless

WAIT_S = 30.0
"""How long nothing may come from a side topic before the broker is taken to be stuck."""

_QUEUE = {"queued.min.messages": 1_000, "queued.max.messages.kbytes": 1_024}
"""Read ahead of what is asked for: there is one such reader for each topic and partition that is rolled forward."""

_NO_MORE = (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET)  # noqa: SLF001  librdkafka's public names


class Past:
    """Reads stretches of one partition of a side topic once more, one after the other."""

    def __init__(self, config: Mapping[str, Any], topic: str, partition: int) -> None:
        """Connect.

        Args:
            config: librdkafka's.
            topic: full name.
            partition: of it.
        """
        self._place = (topic, partition)
        self._consumer = groupless({**config, **_QUEUE}, f"{topic}-reader", **{"auto.offset.reset": "error"})
        self._at: int | None = None
        self._ahead: deque[Any] = deque()

    def take(self, first: int, after: int) -> list[Any]:
        """Return the records from `first` up to, and without, `after`; fewer if they are gone."""
        if self._at != first:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(*self._place), timeout=WAIT_S)
            self._ahead.clear()
            self._consumer.assign([TopicPartition(*self._place, max(first, low))])
        self._at = after
        found: list[Any] = []
        deadline = time.monotonic() + WAIT_S
        ended = False
        while True:
            while self._ahead and self._ahead[0].offset() < after:
                found.append(self._ahead.popleft())
            if ended or self._ahead or (found and found[-1].offset() == after - 1):
                return found
            # consume(n) waits for n records or the whole time-out, so the first one is waited for alone.
            messages = self._consumer.consume(1, 0.2)
            messages += self._consumer.consume(999, 0) if messages else []
            if messages:
                deadline = time.monotonic() + WAIT_S
            elif time.monotonic() > deadline:
                why = f"nothing came from {self._place[0]} for {WAIT_S:.0f} s"
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, why))  # noqa: SLF001  its public name
            for message in messages:
                error = message.error()
                if error is None:
                    self._ahead.append(message)
                elif error.code() in _NO_MORE:
                    ended = True
                elif not error.retriable():
                    raise KafkaException(error)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
