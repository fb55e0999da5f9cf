"""Side inputs: reads the side topics of the partitions that this process owns, and knows where each stands.

A side topic has as many partitions as the input; its partition p belongs to the task of partition p. What was read is
handed to the stages between two batches, at most about once a second; the journal says where (connectors/journal.py).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from connectors.journal import Entry, Journal, JournalUnusable, Pending, checksum
from connectors.merging import Merging
from connectors.past import Past
from connectors.progress import Progress, SnapshotPlace
from connectors.reader import CannotStart, OffsetGone, Reader, Run
from connectors.standing import HasSides, SidePlaces, SideTopics, Standing
from operators.batches import Messages
from operators.side import Side

SOON_MS = 50
"""How soon the broker tells that a partition has nothing new, where others may wait for that."""

__all__ = ["SOON_MS", "HasSides", "SideInputs", "SidePlaces", "SideTopics", "Standing"]

_GIVE_UP = (
    "give the history up: reset the offsets of the flow's group with kafka-consumer-groups, and the state starts empty "
    "there, the side topics where `start` says."
)

_QUEUE = {"queued.min.messages": 10_000, "queued.max.messages.kbytes": 8_192}


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
        soon = {"fetch.wait.max.ms": SOON_MS} if topics.ordered else {}
        self._config = {**_QUEUE, **soon, **config}
        self._readers = {short: Reader(self._config, full) for short, full in topics.names.items()}
        self._journal = Journal(config, topics.journal)
        self._clock = clock
        self._live: frozenset[int] | None = None
        self._read_at = float("-inf")
        self._past: dict[tuple[int, str], Past] = {}
        self._merging = Merging(topics, self._readers, self._read, self._next, clock) if topics.ordered else None

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
        # A topic that a flow cannot do without has no setting.
        off = f"; or set {self._topics.setting} = false" if self._topics.setting else ""
        for name in (*self._topics.names.values(), self._topics.journal):
            try:
                found = reader.partitions(topic=name)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                raise CannotStart(f"there is no topic {name}: `tidegate topics create` makes it{off}") from error
            if found != count:
                raise CannotStart(
                    f"{name} has {found} partitions, the input has {count}: partition p of one belongs to partition p "
                    f"of the other. Make {name} anew with {count}, and publish to it with the input's keys{off}"
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
                # What it held while it was off would come as old, and hold the input back for as long as it is read. A
                # partition has a past from its first commit, which comes before all answers and names all topics.
                late = told is not None and topic in self._topics.merged
                begin[topic] = reached[topic] = high if late or self._topics.begins_at_end(topic) else low
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
            self._past[key] = Past(self._config, self._topics.names[entry.topic], number)
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
        if self._merging is not None:
            self._merging.begin()
        self._close_past(set())

    def read(self, reader: Reader, partitions: Mapping[int, HasSides], limit: int, timeout_s: float) -> dict[int, Run]:
        """Read the input: less of it where records of it are kept here already.

        Args:
            reader: of the input.
            partitions: by number.
            limit: records.
            timeout_s: how long to wait if there is nothing to do.

        Raises:
            OffsetGone, KafkaException: as the reader does.
        """
        if self._merging is None:
            return reader.read(limit, timeout_s)
        return self._merging.read(reader, partitions, limit, timeout_s)

    def keep(self, number: int, partition: HasSides, messages: list[Any]) -> bool:
        """Keep live records of the input, if they are to wait for others: then `due` returns them.

        Args:
            number: partition.
            partition: it.
            messages: records, in their order.

        Returns:
            Whether they were kept.
        """
        if self._merging is None:
            return False
        self._merging.keep(number, partition, messages)
        return True

    def due(self, partitions: Mapping[int, HasSides]) -> list[Messages | Side]:
        """Return what is new, if it is time to look: it is applied where each partition stands.

        Args:
            partitions: by number.

        Raises:
            OffsetGone: records expired before they were applied.
            KafkaException: the broker does not give what it has.
        """
        now = self._clock()
        looks = now - self._read_at >= self._topics.interval_s
        if not self._readers or not (looks or self._merging is not None):
            return []
        if looks:
            self._read_at = now
        live = frozenset(number for number, each in partitions.items() if each.live)
        changed = live != self._live
        if changed:
            self._live = live
            self._close_past(set(partitions) - live)
        if self._merging is not None:
            return self._merging.due({number: partitions[number] for number in live}, now, looks=looks)
        sides: list[Messages | Side] = []
        for topic, reader in self._readers.items():
            if changed:
                reader.assign({number: partitions[number].sides.positions[topic] for number in live})
            for number, run in self._read(reader).items():
                if run.messages and number in live:
                    sides.append(self._next(number, partitions[number], topic, run.messages))
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

    def _next(self, number: int, partition: HasSides, topic: str, messages: list[Any]) -> Side:
        """Return the next records of a topic, to be applied where the partition stands."""
        positions = partition.sides.positions
        side = self._side(number, topic, partition.position, positions[topic], messages, muted=False)
        positions[topic] = side.next
        return side

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
