"""What is owed to Kafka: outputs, offsets and snapshots of this process's partitions, committed together."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from confluent_kafka import TopicPartition

from connectors import journal, progress
from connectors.delivery import Delivery, Doubt
from connectors.logs import logger
from connectors.membership import Membership
from connectors.partition import EngineObserver, Partition
from connectors.progress import Progress
from connectors.snapshot_writer import SnapshotWriter
from connectors.snapshots import Store
from operators.batches import Encoded
from operators.control import Barrier
from operators.side import Applied, Side

log = logger()


class _Names(dict[str, str]):
    """A topic's name on the broker, worked out once."""

    def __init__(self, topics: Callable[[str], str]) -> None:
        super().__init__()
        self._topics = topics

    def __missing__(self, topic: str) -> str:
        return self.setdefault(topic, self._topics(topic))


class Ledger:
    """The partitions of this process and what is pending for each.

    Attributes:
        partitions: by number; the engine opens and closes them.
        delivery: None while nothing is connected.
        snapshots: those under way.
        count: partitions of the input topic, written beside every offset.
    """

    def __init__(
        self,
        flow: str,
        topic: str,
        topics: Callable[[str], str],
        store: Store,
        observer: EngineObserver,
        clock: Callable[[], float],
        journal: str = "",
    ) -> None:
        """Owe nothing.

        Args:
            flow: its name.
            topic: full name of the input.
            topics: gives full names.
            store: where snapshots go.
            observer: is told what happens.
            clock: monotonic seconds.
            journal: where it is written which side records were applied; full name.
        """
        self.partitions: dict[int, Partition] = {}
        self.delivery: Delivery | None = None
        self.count = 0
        self._flow = flow
        self._topic = topic
        self._names = _Names(topics)
        self.snapshots = SnapshotWriter(flow, store, observer, clock)
        self._observer = observer
        self._clock = clock
        self._journal = journal
        self._beside = ThreadPoolExecutor(1, "commit")
        self._under_way: tuple[Future[None], list[TopicPartition], float] | None = None

    @property
    def dirty(self) -> bool:
        """Whether a commit would carry anything."""
        return self.snapshots.dirty or any(each.pending is not None for each in self.partitions.values())

    @property
    def live(self) -> dict[int, int]:
        """The next record to be read of each partition that is live."""
        return {number: each.position for number, each in self.partitions.items() if each.live}

    def barriers(self, now: float, interval_s: float) -> list[Barrier]:
        """Return the barriers that are due.

        Args:
            now: monotonic seconds.
            interval_s: between two of one partition.
        """
        snapshots = self.snapshots
        barriers = []
        for number, partition in self.partitions.items():
            due = now - partition.barrier_time >= interval_s and partition.live and partition.moved
            if due and not snapshots.paused and not snapshots.busy(number):
                partition.note_barrier(now)
                barriers.append(Barrier(number, partition.position, sweep=partition.parts.next_sweep()))
        return barriers

    def last_barriers(self, *, keep: bool) -> list[Barrier]:
        """Return the barriers of live partitions before an execution ends: to be kept in memory, or stored."""
        return [
            Barrier(number, each.position, keep, each.parts.next_sweep())
            for number, each in self.partitions.items()
            if each.live and (keep or (each.moved and not self.snapshots.paused))
        ]

    def forget(self) -> None:
        """Give up everything that is not committed, and the connection."""
        try:
            self.settle()
        except Doubt as doubt:
            log.info("forgotten", flow=self._flow, detail=str(doubt))
        if self.delivery is not None and self.delivery.drop():
            self._observer.committed("aborted", 0.0)
        self.delivery = None
        self.partitions = {}
        self.snapshots.forget()

    def drop(self, number: int) -> None:
        """A partition is no longer ours."""
        self.partitions.pop(number, None)
        self.snapshots.forget(number)

    def claim(self, membership: Membership) -> None:
        """Say beside every offset that we own it now, before all else: a successor must know whom to fence.

        Raises:
            Doubt: it is not certain what became of it.
        """
        for partition in self.partitions.values():
            partition.pending = partition.done
        self.commit(membership)
        self.settle()

    def write(self, item: Encoded) -> None:
        """Queue the answers to a stretch of input, unless they are in Kafka already."""
        span = item.span
        if span.muted:
            self._observer.replayed(span.partition, span.next - span.first)
            return
        self.settle()  # the next transaction begins when the last one is over
        self._deliver().produce_all(item.records, span.partition, self._names)
        partition = self.partitions[span.partition]
        partition.pending, partition.beside = span.next, item.beside
        if isinstance(item, Applied):
            self._applied(partition, item.side)

    def _applied(self, partition: Partition, side: Side) -> None:
        """Write into the journal where side records were applied."""
        standing = partition.sides

        def told(error: Any, message: Any) -> None:
            if error is None:
                standing.journal = max(standing.journal, message.offset() + 1)

        key, value = journal.record(side)
        stamp = int(time.time() * 1000)  # of records that only we read: nothing depends on it
        self._deliver().produce_watched(self._journal, key, value, side.partition, stamp, told)
        standing.written[side.topic] = side.next
        reasons = [each.reason for each in side.rejected]
        self._observer.side(side.partition, side.topic, len(side.offsets), reasons)

    def store(self, item: Barrier, membership: Membership) -> None:
        """Store a barrier's set of states; it counts from the commit that names it.

        Raises:
            Doubt: it is not certain what became of it.
        """
        while self.snapshots.busy(item.partition):  # the process is about to stop: what changed before goes first
            self.commit(membership)
        self.settle()  # `done` must be what is committed: the commit that names the snapshot must not step back
        self.snapshots.begin(self.partitions[item.partition], item, self._must_commit)

    def commit(self, membership: Membership, *, released: bool = False, only: Iterable[int] | None = None) -> None:
        """Commit everything pending. The broker's part goes on beside the stages' work; `settle` waits for it.

        Args:
            membership: proves that the partitions are ours.
            released: whether they are let go in good order by this commit: all, or `only` those.
            only: see `released`.

        Raises:
            Doubt: it is not certain what became of it.
        """
        while released and only is None and self.snapshots.dirty:  # the last commit names what all before it carried
            self.commit(membership)
        self.settle()
        delivery = self._deliver()
        letting_go = set(self.partitions if only is None else only) if released else set()
        for number in letting_go:
            self._must_commit(self.partitions[number])
        self.snapshots.send(delivery, self.partitions, self._must_commit)
        offsets = []
        for number, partition in self.partitions.items():
            if partition.pending is None:
                continue
            text = progress.write(
                Progress(
                    delivery.owner,
                    partition.opened.begin,
                    number in letting_go,
                    partition.parts.places,
                    beside=partition.beside,
                    partitions=self.count,
                    sides=partition.sides.written,
                    sides_begin=dict(partition.opened.sides.begin),
                    journal=partition.opened.sides.journal_begin,
                )
            )
            offsets.append(TopicPartition(self._topic, number, partition.pending, text))
        if not offsets:
            return
        started = self._clock()
        finish = delivery.commit(offsets, membership)
        for each in offsets:
            self.partitions[each.partition].pending = None
        under_way = self._beside.submit(finish)
        self._under_way = (under_way, offsets, started)
        if not delivery.overlaps:
            self.settle()

    @staticmethod
    def _must_commit(partition: Partition) -> None:
        if partition.pending is None:
            partition.pending = partition.done

    def settle(self, *, wait: bool = True) -> None:
        """Take note of a commit that is under way: once it is over, or at once with `wait`.

        Raises:
            Doubt: it is not certain what became of it.
        """
        if self._under_way is None or not (wait or self._under_way[0].done()):
            return
        (under_way, offsets, started), self._under_way = self._under_way, None
        under_way.result()
        self._observer.committed("committed", self._clock() - started)
        for each in offsets:
            partition = self.partitions[each.partition]
            partition.done = each.offset
            self.snapshots.tidy(each.partition, partition)

    def _deliver(self) -> Delivery:
        assert self.delivery is not None, "an assignment connects first"
        return self.delivery
