"""What is owed to Kafka: outputs, offsets and snapshots of this process's partitions, committed together."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import TopicPartition

from connectors import progress, snapshots
from connectors.delivery import Delivery, Doubt
from connectors.logs import logger
from connectors.membership import Membership
from connectors.progress import KEPT, Progress, SnapshotPlace
from connectors.takeover import Opened
from operators.batches import Encoded
from operators.control import Barrier

log = logger()

SNAPSHOT_BYTES_PER_TRANSACTION = 8_000_000
"""So that a large state does not hold a transaction, and so its readers, up."""


class EngineObserver(Protocol):
    """Who is told what the engine does."""

    def committed(self, outcome: str, seconds: float) -> None:
        """A transaction ended: `committed`, `aborted` or `doubt`."""
        ...

    def snapshot(self, partition: int, size: int, seconds: float) -> None:
        """A snapshot counts from now on."""
        ...

    def restoring(self, partition: int, share: float) -> None:
        """Progress of a partition's restore, 0 to 1; 1 means live."""
        ...

    def replayed(self, partition: int, records: int) -> None:
        """Records that were only rolled forward over."""
        ...

    def lag(self, partition: int, records: int, snapshot_age_s: float) -> None:
        """How far behind the log's end a partition is, and how old its newest snapshot."""
        ...

    def assigned(self, partitions: Iterable[int], *, ready: bool) -> None:
        """The partitions of this process, and whether all of them are live."""
        ...

    def released(self, partition: int) -> None:
        """A partition is no longer ours."""
        ...

    def beat(self) -> None:
        """The loop is turning."""
        ...


@dataclass(slots=True)
class Partition:
    """One partition of the input while it is ours."""

    opened: Opened
    position: int  # the next record to be read
    places: tuple[SnapshotPlace, ...]
    live: bool = False
    pending: int | None = None  # the offset to commit, when something is to be committed
    done: int = 0  # the offset up to which everything is committed
    barrier_at: int = 0  # S of the newest barrier
    barrier_time: float = 0.0
    pieces: list[tuple[bytes, bytes]] = field(default_factory=list)  # of a snapshot under way
    storing: SnapshotPlace | None = None
    storing_since: float = 0.0
    first_piece: list[int] = field(default_factory=list)
    slot: int = 0


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
    """

    def __init__(
        self,
        flow: str,
        topic: str,
        topics: Callable[[str], str],
        store: snapshots.Store,
        observer: EngineObserver,
        clock: Callable[[], float],
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        self.delivery: Delivery | None = None
        self._flow = flow
        self._topic = topic
        self._names = _Names(topics)
        self._store = store
        self._observer = observer
        self._clock = clock
        self._beside = ThreadPoolExecutor(1, "commit")
        self._under_way: tuple[Future[None], list[TopicPartition], float] | None = None

    @property
    def dirty(self) -> bool:
        """Whether a commit would carry anything."""
        return any(each.pending is not None or each.pieces for each in self.partitions.values())

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
        self.partitions[span.partition].pending = span.next

    def store(self, item: Barrier) -> None:
        """Store a barrier's set of states; it counts from the commit that names it."""
        self.settle()  # `done` must be what is committed: the commit that names the snapshot must not step back
        partition = self.partitions[item.partition]
        started = self._clock()
        data = snapshots.write(self._flow, item.partition, item.offset, item.snapshots)
        if isinstance(self._store, snapshots.DirectoryStore):
            place = self._store.save(item.partition, item.offset, data)
            self._snapshot_counts(item.partition, partition, place, started)
            return
        partition.slot = (partition.slot + 1) % KEPT
        partition.pieces = self._store.pieces(data, partition.slot)
        partition.storing = SnapshotPlace(item.offset, snapshots.checksum(data), len(data), 0, len(partition.pieces))
        partition.storing_since = started
        partition.first_piece = []

    def _snapshot_counts(self, number: int, partition: Partition, place: SnapshotPlace, since: float) -> None:
        partition.places = (place, *partition.places)[:KEPT]
        partition.storing = None
        if partition.pending is None:
            partition.pending = partition.done
        self._observer.snapshot(number, place.size, self._clock() - since)

    def commit(self, membership: Membership, *, released: bool = False, only: Iterable[int] | None = None) -> None:
        """Commit everything pending. The broker's part goes on beside the stages' work; `settle` waits for it.

        Args:
            membership: proves that the partitions are ours.
            released: whether they are let go in good order by this commit: all, or `only` those.
            only: see `released`.

        Raises:
            Doubt: it is not certain what became of it.
        """
        self.settle()
        delivery = self._deliver()
        self._send_pieces(everything=released and only is None)
        letting_go = set(self.partitions if only is None else only) if released else set()
        offsets = []
        for number, partition in self.partitions.items():
            if partition.pending is None and number not in letting_go:
                continue
            if partition.pending is None:
                partition.pending = partition.done
            text = progress.write(
                Progress(delivery.owner, partition.opened.begin, number in letting_go, partition.places)
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
            if partition.places and isinstance(self._store, snapshots.DirectoryStore):
                self._store.tidy(each.partition, partition.places)

    def _send_pieces(self, *, everything: bool) -> None:
        """Send the next pieces of snapshots under way, a bounded number per transaction."""
        if not isinstance(self._store, snapshots.TopicStore):
            return
        delivery = self._deliver()
        room = SNAPSHOT_BYTES_PER_TRANSACTION
        complete = []
        for number, partition in self.partitions.items():
            while partition.pieces and (everything or room > 0):
                key, value = partition.pieces.pop(0)
                room -= len(value)
                first = partition.first_piece

                def delivered(error: Any, message: Any, first: list[int] = first) -> None:
                    if error is None:
                        first.append(message.offset())

                delivery.produce_watched(self._store.topic, key, value, number, int(time.time() * 1000), delivered)
            if partition.storing is not None and not partition.pieces:
                complete.append((number, partition, partition.storing))
        if complete:
            delivery.flush()
        for number, partition, place in complete:
            if len(partition.first_piece) != place.pieces:
                raise Doubt(f"snapshot pieces: {len(partition.first_piece)} of {place.pieces} delivered")
            at = min(partition.first_piece)
            placed = SnapshotPlace(place.offset, place.checksum, place.size, at, place.pieces)
            self._snapshot_counts(number, partition, placed, partition.storing_since)

    def _deliver(self) -> Delivery:
        assert self.delivery is not None, "an assignment connects first"
        return self.delivery
