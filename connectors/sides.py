"""Side inputs: reads the side topics of the partitions that this process owns, and knows where each stands.

A side topic has as many partitions as the input; its partition p belongs to the task of partition p. What was read is
handed to the stages between two batches, at most about once a second; the journal says where (connectors/journal.py).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.clients import groupless
from connectors.journal import Entry, Journal, JournalUnusable, Pending, checksum
from connectors.progress import Progress, SnapshotPlace
from connectors.reader import CannotStart, OffsetGone, Reader, Run
from operators.side import Side

WAIT_S = 30.0
"""How long nothing may come from a side topic before the broker is taken to be stuck."""

_GIVE_UP = (
    "give the history up: reset the offsets of the flow's group with kafka-consumer-groups, and the state starts empty "
    "there, the side topics where `start` says."
)

_NO_MORE = (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET)  # noqa: SLF001  librdkafka's public names

_QUEUE = {"queued.min.messages": 10_000, "queued.max.messages.kbytes": 8_192}


@dataclass(frozen=True, slots=True)
class SideTopics:
    """What a flow reads beside its input.

    Attributes:
        names: full names by short name.
        journal: full name of the journal.
        setting: what switches the reading on and off, for messages.
        interval_s: least time between two readings.
        most: records at once.
        at_end: whether a partition without a past begins at the end.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    journal: str = ""
    setting: str = ""
    interval_s: float = 1.0
    most: int = 5_000
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class SidePlaces:
    """Where the side inputs of a partition stand; all offsets by short name of the topic.

    Attributes:
        committed: next to be applied.
        begin: where the flow began.
        journal_begin: from where in the journal to roll forward from `begin`.
        journal: from where in the journal to roll forward from any later snapshot.
        entries: what is to be applied while rolling forward, in order.
    """

    committed: Mapping[str, int] = field(default_factory=dict)
    begin: Mapping[str, int] = field(default_factory=dict)
    journal_begin: int = 0
    journal: int = 0
    entries: tuple[Entry, ...] = ()


class Standing:
    """Where the side inputs of one partition stand while it is this process's.

    Attributes:
        positions: next to be read, by topic.
        written: next to be committed: what lies below was applied, and lies in a transaction.
        journal: from where in the journal to roll forward from a snapshot taken now.
        entries: still to be applied while rolling forward.
        at_barrier: positions at the newest barrier.
    """

    __slots__ = ("at_barrier", "entries", "journal", "positions", "written")

    def __init__(self, places: SidePlaces) -> None:
        self.positions = dict(places.committed)
        self.written = dict(places.committed)
        self.journal = places.journal
        self.entries = deque(places.entries)
        self.at_barrier: dict[str, int] = {} if places.entries else dict(places.committed)

    @property
    def moved(self) -> bool:
        """Whether anything was applied since the newest barrier."""
        return self.positions != self.at_barrier


class HasSides(Protocol):
    """One partition of the input.

    Attributes:
        sides: where its side inputs stand.
    """

    sides: Standing

    @property
    def next_live(self) -> int | None:
        """The next record of the input to be read; None while it is rolled forward."""
        ...


class SideInputs:
    """The side topics of one flow in one process; without topics it does nothing, and asks nobody."""

    def __init__(self, config: Mapping[str, Any], topics: SideTopics, clock: Callable[[], float]) -> None:
        """Connect, if there is anything to read.

        Args:
            config: librdkafka's.
            topics: what to read.
            clock: monotonic seconds.
        """
        self._topics = topics
        self._config = {**_QUEUE, **config}
        self._readers = {short: Reader(self._config, full) for short, full in topics.names.items()}
        self._journal = Journal(config, topics.journal)
        self._clock = clock
        self._live: frozenset[int] | None = None
        self._read_at = float("-inf")
        self._past: dict[tuple[int, str], _Past] = {}

    # -- taking over ---------------------------------------------------------------------------------------------------

    def check(self, count: int) -> None:
        """Refuse topics that are not there, or whose partitions are not those of the input.

        Args:
            count: partitions of the input.

        Raises:
            CannotStart: the message says what to do.
            KafkaException: the broker does not tell.
        """
        if not self._readers:
            return
        reader = next(iter(self._readers.values()))
        off = f"or set {self._topics.setting} = false"
        for name in (*self._topics.names.values(), self._topics.journal):
            try:
                found = reader.partitions(topic=name)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                raise CannotStart(f"there is no topic {name}: `tidegate topics create` makes it; {off}") from error
            if found != count:
                raise CannotStart(
                    f"{name} has {found} partitions, the input has {count}: partition p of one belongs to partition p "
                    f"of the other. Make {name} anew with {count}, and publish to it with the input's keys; {off}"
                )

    def open(
        self,
        partition: int,
        start: int,
        committed: int,
        told: Progress | None,
        place: SnapshotPlace | None,
        poll: Callable[[], None],
    ) -> SidePlaces:
        """Find out where the side inputs of a partition stand, and what is to be applied while rolling forward.

        Args:
            partition: of the input.
            start: S, input offset of the snapshot.
            committed: C.
            told: what stands beside C.
            place: of the snapshot; None where the flow starts from where it began.
            poll: serves the group meanwhile; may raise to give up.

        Raises:
            CannotStart: it cannot be known where records were applied; the message says what to do.
        """
        reached = dict(told.sides) if told is not None else {}
        if not self._readers and not reached:
            return SidePlaces()
        begin = dict(told.sides_begin) if told is not None else {}
        end = self._journal.end(partition) if self._readers else 0
        journal_begin = told.journal if told is not None and reached else end
        since = place.journal if place is not None and place.sides else journal_begin
        for topic, reader in self._readers.items():
            low, high = reader.bounds(partition)
            if topic not in reached:
                begin[topic] = reached[topic] = high if self._topics.at_end else low
            elif reached[topic] > high:
                raise CannotStart(
                    f"{reader.topic}[{partition}]: applied up to {reached[topic]}, which lies beyond the end of the "
                    f"log ({high}): was the topic made anew? Bring it back, or {_GIVE_UP}"
                )
        held = {topic: place.sides.get(topic, begin[topic]) if place is not None else begin[topic] for topic in reached}
        entries: tuple[Entry, ...] = ()
        if held != reached:
            pending = Pending(held, reached)
            try:
                entries = self._entries(partition, start, committed, since, pending, poll)
            except JournalUnusable as error:
                raise CannotStart(
                    f"partition {partition} of the input: side records were applied between the snapshot at {start} "
                    f"and the committed offset {committed}, and the journal does not say where: {error}. Bring "
                    f"{self._topics.journal} back, or {_GIVE_UP}"
                ) from error
        return SidePlaces(reached, begin, journal_begin, end if self._readers else since, entries)

    def _entries(
        self, partition: int, start: int, committed: int, since: int, pending: Pending, poll: Callable[[], None]
    ) -> tuple[Entry, ...]:
        if unread := pending.topics - self._readers.keys():
            raise CannotStart(
                f"partition {partition} of the input: {', '.join(sorted(unread))} must be read again to roll forward "
                f"from {start} to {committed}, and reading is switched off. Switch it on again, start once, stop in "
                "good order (SIGTERM), so that a snapshot holds all that was applied; then switch it off."
            )
        self._journal.read(partition, since, pending, poll)
        return tuple(pending.entries(start, committed))

    def again(self, number: int, entry: Entry) -> Side:
        """Read once more what was applied, muted.

        Args:
            number: partition.
            entry: what the journal says of it.

        Raises:
            CannotStart: the records are no longer there, or are others.
        """
        key = (number, entry.topic)
        if key not in self._past:
            self._past[key] = _Past(self._config, self._topics.names[entry.topic], number)
        messages = self._past[key].take(entry.first, entry.next)
        side = self._side(number, entry.topic, entry.at, entry.first, messages, muted=True)
        found = checksum(side.offsets, side.keys, side.values)
        if (len(messages), side.next, found) != (entry.records, entry.next, entry.checksum):
            raise CannotStart(
                f"{side.source}[{number}]: expected the {entry.records} records from {entry.first} to {entry.next} "
                f"that were applied at {entry.at}, found {len(messages)}{' or others' if len(messages) else ''}: "
                f"they have expired, or the topic was made anew or compacted. Bring them back, or {_GIVE_UP}"
            )
        return side

    # -- live ----------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """An assignment begins: where to read is asked anew."""
        self._live = None
        self._close_past(set())

    def due(self, partitions: Mapping[int, HasSides]) -> list[Side]:
        """Return what is new, if it is time to look: it is applied where each partition stands.

        Args:
            partitions: by number.

        Raises:
            OffsetGone: records expired before they were applied.
            KafkaException: the broker does not give what it has.
        """
        if not self._readers or self._clock() - self._read_at < self._topics.interval_s:
            return []
        self._read_at = self._clock()
        live = frozenset(number for number, each in partitions.items() if each.next_live is not None)
        if live != self._live:
            self._live = live
            self._close_past(set(partitions) - live)
            for topic, reader in self._readers.items():
                reader.assign({number: partitions[number].sides.positions[topic] for number in live})
        sides = []
        for topic, reader in self._readers.items():
            for number, run in self._read(reader).items():
                if not run.messages or number not in live:
                    continue
                partition = partitions[number]
                at, positions = partition.next_live, partition.sides.positions
                assert at is not None, "it is live"
                side = self._side(number, topic, at, positions[topic], run.messages, muted=False)
                positions[topic] = side.next
                sides.append(side)
        return sides

    def lags(self, partitions: Mapping[int, HasSides]) -> Iterable[tuple[int, str, int]]:
        """Yield (partition, topic, records between the next to be read and the log's end), where the end is known."""
        for topic, reader in self._readers.items():
            for number, partition in partitions.items():
                high = reader.high_watermark(number)
                if high >= 0:
                    yield number, topic, max(0, high - partition.sides.positions[topic])

    def close(self) -> None:
        """Disconnect."""
        self._close_past(set())
        for reader in self._readers.values():
            reader.close()

    def _read(self, reader: Reader) -> dict[int, Run]:
        try:
            return reader.read(self._topics.most, 0.0)
        except OffsetGone as error:
            raise OffsetGone(
                f"{error}: records expired before they were applied. Give the topic a longer retention; to go on "
                f"without them, {_GIVE_UP}"
            ) from error

    def _side(self, number: int, topic: str, at: int, first: int, messages: list[Any], *, muted: bool) -> Side:
        offsets = [message.offset() for message in messages]
        return Side(
            partition=number,
            topic=topic,
            at=at,
            first=first,
            next=offsets[-1] + 1 if offsets else first,
            values=[message.value() for message in messages],
            keys=[message.key() for message in messages],
            offsets=offsets,
            timestamps_ms=[message.timestamp()[1] for message in messages],
            muted=muted,
            source=self._topics.names[topic],
        )

    def _close_past(self, needed: set[int]) -> None:
        for key in [key for key in self._past if key[0] not in needed]:
            self._past.pop(key).close()


class _Past:
    """Reads stretches of one partition of a side topic once more, one after the other."""

    def __init__(self, config: Mapping[str, Any], topic: str, partition: int) -> None:
        self._place = (topic, partition)
        self._consumer = groupless(config, f"{topic}-reader", **{"auto.offset.reset": "error"})
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
            messages = self._consumer.consume(1_000, 0.2)
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
