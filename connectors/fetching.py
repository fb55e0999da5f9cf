"""Reads what lies in topics now, outside any group: all of a topic, or single records from where they lie."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.clients import groupless

NEAR = 1_000
"""Records that are read over rather than skipped by a seek."""

ANSWER_S = 10.0
"""How long a broker has to tell a log's bounds."""

WAIT_S = 30.0
"""How long nothing may come before the broker is taken to be stuck."""


_PASSING = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  librdkafka's own codes are spelt so
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)


class Place(NamedTuple):
    """Where a record lies: full name of the topic, partition, offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def _consumer(config: Mapping[str, Any], reset: str) -> Any:
    own = {
        "queued.max.messages.kbytes": 16_384,
        "fetch.wait.max.ms": 10,  # a fetch that waits at the broker keeps the next one, of other places, waiting
    }
    return groupless({**own, **config}, "tidegate-fetch", **{"auto.offset.reset": reset})


def _bounds(consumer: Any, topic: str, partition: int) -> tuple[int, int]:
    """Return the first offset in the log and the one after the last; asks again while a new topic is being set up."""
    until = time.monotonic() + ANSWER_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return low, high


class Contents:
    """What a topic holds at this moment, and nothing that comes later.

    Attributes:
        total: offsets between the log's bounds; records are at most as many.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        partitions: int,
        newest: int | None = None,
        *,
        only: int | None = None,
    ) -> None:
        """Connect and ask for the log's bounds.

        Args:
            config: of librdkafka.
            topic: full name.
            partitions: how many it has.
            newest: begin so many offsets before each partition's end; None for its beginning.
            only: read this partition alone; None for all.
        """
        self._consumer = _consumer(config, "earliest")  # what was the log's beginning may just go
        self._start = []
        self._ends = {}
        for partition in range(partitions) if only is None else (only,):
            low, high = _bounds(self._consumer, topic, partition)
            if low < high:
                at = low if newest is None else max(low, high - newest)
                self._start.append(TopicPartition(topic, partition, at))
                self._ends[partition] = high
        self._closed = False
        self.total = sum(self._ends[each.partition] - each.offset for each in self._start)

    def __iter__(self) -> Iterator[Any]:
        """Yield the records, in order within each partition, and None now and then, so that the caller has a turn.

        Raises:
            KafkaException: the broker does not give what it has.
        """
        ends = self._ends
        self._consumer.assign(self._start)
        try:
            while ends:
                for message in self._consumer.consume(1_000, 0.2):
                    partition, error = message.partition(), message.error()
                    if error is not None:
                        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's public name
                            ends.pop(partition, None)
                        elif not error.retriable():
                            raise KafkaException(error)
                        continue
                    if message.offset() < ends.get(partition, 0):
                        yield message
                    if message.offset() + 1 >= ends.get(partition, 0):
                        ends.pop(partition, None)
                yield None
        finally:
            self.close()

    def close(self) -> None:
        """Disconnect; reading to the end does it, too."""
        if not self._closed:
            self._closed = True
            self._consumer.close()


class Fetcher:
    """One read_committed consumer without a group, for records of any topic."""

    def __init__(self, config: Mapping[str, Any], topics: Mapping[str, int]) -> None:
        """Connect.

        Args:
            config: of librdkafka.
            topics: numbers of partitions by full name; a place in another topic holds nothing.
        """
        self._topics = topics
        self._config = dict(config)
        self._consumer = _consumer(config, "error")

    def fetch(self, places: Iterable[Place]) -> tuple[dict[Place, Any], set[Place]]:
        """Return the records at the places, and the places that certainly hold none any more.

        A place in neither lies beyond the log's end, or in no topic that this client sees: it may yet hold one.

        Raises:
            KafkaException: the broker does not give what it has.
        """
        asked = {place for place in places if place.partition < self._topics.get(place.topic, 0)}
        found, expired = self._read(asked)
        if unseen := asked - found.keys() - expired:
            # Read over without being met. What is called gone is never looked for again, so a consumer that knows
            # nothing of earlier reads has to say the same.
            self._consumer.close()
            self._consumer = _consumer(self._config, "error")
            more, gone = self._read(unseen)
            beyond = {place for place in unseen if place.offset >= _bounds(self._consumer, *place[:2])[1]}
            found |= more
            expired |= gone | (unseen - more.keys() - beyond)
        return found, expired

    def _read(self, places: set[Place]) -> tuple[dict[Place, Any], set[Place]]:
        """Return the records met at the places, and the places before the logs' beginnings."""
        found: dict[Place, Any] = {}
        wanted, expired = self._held(places)
        if not wanted:
            return found, expired
        self._consumer.assign([TopicPartition(*each, offsets[0]) for each, offsets in wanted.items()])
        last = time.monotonic()
        while wanted:
            messages = self._consumer.consume(500, 0.2)
            if messages:
                last = time.monotonic()
            elif time.monotonic() - last > WAIT_S:
                why = f"nothing came from {next(iter(wanted))[0]} for {WAIT_S:.0f} s"
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, why))  # noqa: SLF001  its public name
            far = self._sort(messages, wanted, found)
            for each in far & wanted.keys():
                self._consumer.seek(TopicPartition(*each, wanted[each][0]))
        self._consumer.unassign()
        return found, expired

    def _held(self, places: Iterable[Place]) -> tuple[dict[tuple[str, int], deque[int]], set[Place]]:
        """Return the offsets within the logs' bounds, ascending, by topic and partition, and the places before them."""
        asked: dict[tuple[str, int], set[int]] = {}
        for place in places:
            asked.setdefault((place.topic, place.partition), set()).add(place.offset)
        wanted = {}
        expired = set()
        for each, offsets in asked.items():
            low, high = _bounds(self._consumer, *each)
            expired |= {Place(*each, offset) for offset in offsets if offset < low}
            held = sorted(offset for offset in offsets if low <= offset < high)
            if held:
                wanted[each] = deque(held)
        return wanted, expired

    def _sort(
        self, messages: list[Any], wanted: dict[tuple[str, int], deque[int]], found: dict[Place, Any]
    ) -> set[tuple[str, int]]:
        """Take what is wanted out of the messages; return the partitions whose next wanted record is far away."""
        far = set()
        for message in messages:
            each = (message.topic(), message.partition())
            offsets = wanted.get(each)
            if offsets is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's public name
                    del wanted[each]
                elif not error.retriable():
                    raise KafkaException(error)
                continue
            at = message.offset()
            while offsets and offsets[0] < at:  # compacted away
                offsets.popleft()
            if offsets and offsets[0] == at:
                offsets.popleft()
                found[Place(*each, at)] = message
            far.discard(each)
            if not offsets:
                del wanted[each]
                self._consumer.incremental_unassign([TopicPartition(*each)])
            elif offsets[0] - at > NEAR:
                far.add(each)
        return far

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
