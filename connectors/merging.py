"""Reads what is handed out in an order: topics that come ahead of all others, and topics merged by time.

Whatever is decided here, the journal says what became of it: rolling forward never comes here.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from connectors.merge import Merge
from connectors.reader import Reader, Run, batch
from connectors.standing import HasSides, SideTopics
from operators.batches import Messages
from operators.side import Side

INPUT = ""
"""The input's name among the topics."""

FULL = 3
"""Times `most`: with so many records of a topic waiting here its partition is not read."""

RUNS = 256
"""Runs handed out at once, of all partitions: each is a batch of its own for all stages, however short."""

NEAR = 10
"""Offsets before its end at which a topic counts as read: the last ones may be no records, but ends of transactions."""


class Merging:
    """What is read and not yet handed out, of the live partitions of this process."""

    def __init__(
        self,
        topics: SideTopics,
        readers: Mapping[str, Reader],
        read: Callable[[Reader], dict[int, Run]],
        side: Callable[[int, HasSides, str, list[Any]], Side],
        clock: Callable[[], float],
    ) -> None:
        """Nothing is read yet.

        Args:
            topics: what is read, and how.
            readers: of the side topics, by short name.
            read: reads what one of them has.
            side: makes the next records of a topic those that are applied next.
            clock: monotonic seconds.
        """
        self._topics = topics
        self._readers = readers
        self._read = read
        self._side = side
        self._clock = clock
        self._merged = [topic for topic in readers if topic in topics.merged]
        # Ahead first, then the others: what is known earlier is applied earlier.
        self._apart = sorted(readers.keys() - topics.merged, key=lambda topic: (topic not in topics.ahead, topic))
        self.begin()

    def begin(self) -> None:
        """An assignment begins: nothing is here."""
        self._merges: dict[int, Merge] = {}
        self._waits: dict[int, set[str]] = {}  # topics whose end was not reached yet
        self._assigned: dict[str, frozenset[int]] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._highs: dict[tuple[str, int], int] = {}  # ends of logs, as they were known a turn ago
        self._idle = False
        self._input_read = True

    # -- the input -----------------------------------------------------------------------------------------------------

    def read(self, reader: Reader, partitions: Mapping[int, HasSides], limit: int, timeout_s: float) -> dict[int, Run]:
        """Read the input, without partitions of which enough is here; wait only if there was nothing to hand out."""
        self._input, self._input_read = reader, True
        everything = self._assigned.setdefault(INPUT, frozenset(partitions))  # as the engine assigned it
        wanted = self._wanted(INPUT, partitions)
        if wanted != everything:
            self._assigned[INPUT] = wanted
            reader.assign({number: self._next(INPUT, number, partitions[number]) for number in wanted})
        wait_s = timeout_s if self._idle else 0.0
        if not self._hungry(INPUT, partitions):
            time.sleep(wait_s)
            return {}
        runs = reader.read(limit, wait_s)
        self._note_ends(INPUT, runs)
        return {number: run for number, run in runs.items() if number in wanted}

    def keep(self, number: int, partition: HasSides, messages: list[Any]) -> None:
        """Keep records of the input until it is their turn."""
        self._merge(number, partition).add(INPUT, messages, self._clock())

    # -- handing out ---------------------------------------------------------------------------------------------------

    def due(self, partitions: Mapping[int, HasSides], now: float, *, looks: bool) -> list[Messages | Side]:
        """Return what is due, in its order; the partitions move on.

        Args:
            partitions: those that are live.
            now: monotonic seconds.
            looks: whether topics that are not merged are to be looked at, too.
        """
        items: list[Messages | Side] = []
        for number, partition in partitions.items():
            merge = self._merge(number, partition)
            if not self._input_read:  # while another partition is rolled forward over what was read
                merge.behind(INPUT, now)
        self._input_read = False
        for topic in self._apart:
            wanted = frozenset(
                number for number in partitions if topic in self._topics.ahead or not self._waits[number]
            )
            self._assign(topic, wanted, partitions)
            if looks or any(topic in self._waits[number] for number in wanted):
                items += self._look(topic, wanted, partitions)
        for topic in self._merged:
            wanted = self._wanted(topic, partitions)
            self._assign(topic, wanted, partitions)
            self._fill(topic, wanted, partitions, now)
        for number in partitions:
            self._note_behind(INPUT, number, now)
        runs = max(1, RUNS // max(1, len(partitions)))
        for number, partition in partitions.items():
            if not self._waits[number]:
                items += self._take(number, partition, now, runs)
        self._idle = not items
        return items

    def _look(self, topic: str, wanted: frozenset[int], partitions: Mapping[int, HasSides]) -> Iterable[Side]:
        for number, run in self._read(self._readers[topic]).items():
            if number not in wanted:
                continue
            if run.messages:
                yield self._side(number, partitions[number], topic, run.messages)
            if run.end is not None:
                self._waits[number].discard(topic)

    def _fill(self, topic: str, wanted: frozenset[int], partitions: Mapping[int, HasSides], now: float) -> None:
        """Read what a merged topic has, as far as it is needed."""
        if self._hungry(topic, partitions):
            runs = self._read(self._readers[topic])
            self._note_ends(topic, runs)
            for number in runs.keys() & wanted:
                self._merges[number].add(topic, runs[number].messages, now)
        for number in partitions:
            self._note_behind(topic, number, now)

    def _take(self, number: int, partition: HasSides, now: float, runs: int) -> Iterable[Messages | Side]:
        for topic, messages in self._merges[number].take(now, self._topics.most, runs):
            if topic == INPUT:
                item = batch(self._input.topic, number, messages, muted=False)
                partition.position = item.span.next
                yield item
            else:
                yield self._side(number, partition, topic, messages)

    # -- what is here, and where to read -------------------------------------------------------------------------------

    def _merge(self, number: int, partition: HasSides) -> Merge:
        if number not in self._merges:
            positions = partition.sides.positions
            # Side topics first: of one time, what is known of an event's past comes before the event.
            order = [*((topic, positions[topic]) for topic in self._merged), (INPUT, partition.position)]
            self._merges[number] = Merge(order, self._topics.slack_s, self._topics.wait_s, self._clock())
            self._waits[number] = set(self._topics.ahead)
        return self._merges[number]

    def _wanted(self, topic: str, partitions: Mapping[int, HasSides]) -> frozenset[int]:
        """Return the partitions of which a topic is read: not those that have plenty here, until they need more."""
        before = self._assigned.get(topic, frozenset())
        most = self._topics.most
        return frozenset(
            number for number in partitions if self._queued(topic, number) < (FULL * most if number in before else most)
        )

    def _assign(self, topic: str, wanted: frozenset[int], partitions: Mapping[int, HasSides]) -> None:
        if self._assigned.get(topic) != wanted:
            self._assigned[topic] = wanted
            self._readers[topic].assign({number: self._next(topic, number, partitions[number]) for number in wanted})

    def _next(self, topic: str, number: int, partition: HasSides) -> int:
        if topic == INPUT or topic in self._topics.merged:
            if number in self._merges:
                return self._merges[number].next(topic)
            return partition.position
        return partition.sides.positions[topic]

    def _queued(self, topic: str, number: int) -> int:
        return self._merges[number].queued(topic) if number in self._merges else 0

    def _hungry(self, topic: str, partitions: Iterable[int]) -> bool:
        return any(self._queued(topic, number) < self._topics.most for number in partitions)

    def _note_ends(self, topic: str, runs: Mapping[int, Run]) -> None:
        for number, run in runs.items():
            if run.end is not None:
                self._ends[topic, number] = run.end

    def _note_behind(self, topic: str, number: int, now: float) -> None:
        """Tell the merge if there is more of a topic in Kafka."""
        reader = self._input if topic == INPUT else self._readers[topic]
        merge = self._merges[number]
        after = merge.next(topic)
        # Held against the end of a turn ago: of a topic that is written to all the time some is always on its way.
        before = self._highs.get((topic, number), -1)
        self._highs[topic, number] = reader.high_watermark(number)
        if self._ends.get((topic, number), -1) >= after and number in self._assigned[topic]:
            return
        if not 0 <= before <= after + NEAR or number not in self._assigned[topic]:
            merge.behind(topic, now)
