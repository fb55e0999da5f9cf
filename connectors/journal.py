"""The journal of side inputs: where in the input which records of another topic were applied.

One record for each `operators.side.Side`, on the partition of the input, in the transaction of the records around it.
Rolling forward obeys it. An entry takes the place of all before it that begin where it does, or later: where there are
no transactions, an owner that died may have written some that were never committed.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from msgspec import Meta

from connectors.clients import groupless
from operators.side import Side

WAIT_S = 10.0
"""How long an entry may take to be seen: the marker that ends a transaction comes to each partition on its own."""

_Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class JournalUnusable(RuntimeError):
    """The journal does not say where side records were applied; the message says what was expected and found."""


class Entry(msgspec.Struct, frozen=True):
    """Side records [`first`, `next`) were applied before the input record at `at`, and after the one before it.

    Attributes:
        topic: short name of the side topic.
        at: input offset.
        first: side offset.
        next: side offset.
        records: how many there were; not every offset holds one.
        checksum: of what was in them, see `checksum`.
    """

    topic: str
    at: _Offset
    first: _Offset
    next: _Offset
    records: _Offset
    checksum: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def checksum(offsets: Sequence[int], keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> str:
    """Return BLAKE2b of records, 64 bits, as 16 hex digits: another topic under the same name has another one."""
    found = hashlib.blake2b(digest_size=8)
    for offset, *parts in zip(offsets, keys, values, strict=True):
        found.update(b"%d" % offset)
        for part in parts:
            found.update(b"-" if part is None else b"%d:" % len(part))
            found.update(part or b"")
    return found.hexdigest()


def entry(side: Side) -> Entry:
    """Return what the journal says of side records."""
    found = checksum(side.offsets, side.keys, side.values)
    return Entry(side.topic, side.at, side.first, side.next, len(side.offsets), found)


def record(side: Side) -> tuple[bytes, bytes]:
    """Return key and value of the journal's record of side records."""
    return side.topic.encode(), _encode(entry(side))


class Pending:
    """The entries that lead from the side offsets of a snapshot to those committed, as far as they are met."""

    def __init__(self, begin: Mapping[str, int], end: Mapping[str, int]) -> None:
        """Look for entries.

        Args:
            begin: side offsets in the snapshot, by topic.
            end: those committed.
        """
        self._begin = dict(begin)
        self._end = dict(end)
        self._entries: list[Entry] = []
        self._last: dict[str, int] = {}  # where the newest entry of each topic begins, and none before it later
        self._read = ""

    def read(self, text: str) -> None:
        """Note what was read, for messages."""
        self._read = text

    def add(self, found: Entry) -> None:
        """Take the next entry of the journal; those that the snapshot has, or that were not committed, do not count."""
        topic = found.topic
        if topic not in self._end or found.next > self._end[topic]:
            return
        if found.first <= self._last.get(topic, -1):
            self._entries = [each for each in self._entries if each.topic != topic or each.first < found.first]
        if found.next > self._begin[topic]:
            self._entries.append(found)
            self._last[topic] = found.first

    @property
    def topics(self) -> frozenset[str]:
        """Those whose entries are looked for."""
        return frozenset(topic for topic, end in self._end.items() if end != self._begin[topic])

    @property
    def whole(self) -> bool:
        """Whether the entries lead all the way."""
        return not self.faults()

    def faults(self) -> list[str]:
        """Say what is missing."""
        faults = []
        for topic, end in self._end.items():
            reached = self._begin[topic]
            for each in self._entries:
                if each.topic == topic and each.first == reached:
                    reached = each.next
                elif each.topic == topic:
                    faults.append(f"expected an entry for {topic} from {reached}, found one from {each.first}")
                    break
            else:
                if reached != end:
                    faults.append(f"expected entries for {topic} from {reached} to {end}, found none from {reached}")
        return faults

    def entries(self, start: int, committed: int) -> list[Entry]:
        """Return them in the order in which they were applied.

        Args:
            start: input offset of the snapshot.
            committed: input offset.

        Raises:
            JournalUnusable: some are missing, or lie elsewhere.
        """
        faults = self.faults()
        last = start
        for each in self._entries:
            if not last <= each.at <= committed:
                faults.append(
                    f"expected {each.topic} {each.first} to be applied from {last} to {committed}, found {each.at}"
                )
            last = max(last, each.at)
        if faults:
            raise JournalUnusable("; ".join([*faults, *([self._read] if self._read else [])]))
        return self._entries


class Journal:
    """Reads a flow's journal."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        """Use a topic.

        Args:
            config: librdkafka's.
            topic: full name.
        """
        self.topic = topic
        self._config = dict(config)

    def end(self, partition: int) -> int:
        """Return an offset that no entry of the past lies at or beyond.

        Raises:
            KafkaException: the broker does not tell.
        """
        consumer = self._consumer()
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=WAIT_S)[1])
        finally:
            consumer.close()

    def read(self, partition: int, start: int, pending: Pending, poll: Callable[[], None]) -> None:
        """Add what the journal holds from an offset on, until nothing is missing, or for `WAIT_S`.

        Raises:
            JournalUnusable: the journal holds something else.
            KafkaException: the broker does not give what it has.
        """
        where = f"{self.topic}[{partition}]"
        consumer = self._consumer()
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=WAIT_S)
            # An entry that is gone is missed later. The end is that of what is committed, perhaps not yet at `start`.
            consumer.assign([TopicPartition(self.topic, partition, min(max(start, low), high))])
            pending.read(f"they are looked for in {where} from {start} on, where the log goes from {low} to {high}")
            deadline = time.monotonic() + WAIT_S
            ended = False
            # To the end, though nothing is missing before: a later entry may stand for an earlier one.
            while not (ended and pending.whole) and time.monotonic() < deadline:
                messages = consumer.consume(1_000, 0.1)
                ended = ended or any(_ends(message) for message in messages)
                found = [message for message in messages if message.error() is None]
                for each in _entries(where, found):
                    pending.add(each)
                if found:
                    deadline = time.monotonic() + WAIT_S
                poll()
        finally:
            consumer.close()

    def _consumer(self) -> Any:
        return groupless(self._config, f"{self.topic}-reader", **{"auto.offset.reset": "error"})


def _ends(message: Any) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's public name
        return True
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
        raise JournalUnusable(f"{message.topic()}[{message.partition()}]: {error.str()}")
    if not error.retriable():
        raise KafkaException(error)
    return False


def _entries(where: str, messages: Iterable[Any]) -> Iterable[Entry]:
    for message in messages:
        try:
            yield _decode(message.value() or b"")
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise JournalUnusable(f"{where}: expected an entry of the journal at {message.offset()}") from error
