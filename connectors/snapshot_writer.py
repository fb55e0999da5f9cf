"""Brings snapshots into their store: into the flow's own transactions, a bounded number of bytes each, or into files.

A store that is full or refuses is no reason to stop answering: the failure is told, the next part will stand alone, and
trying again waits longer each time.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError
from msgspec.structs import replace

from connectors import snapshots
from connectors.delivery import Delivery, Doubt
from connectors.logs import logger
from connectors.partition import EngineObserver, Partition
from connectors.progress import SnapshotPlace
from connectors.snapshots import DirectoryStore, Part, Store
from operators.control import Barrier
from operators.parts import Sweep, whole_size

log = logger()

BYTES_PER_TRANSACTION = 8_000_000
"""So that a large state does not hold a transaction, and so its readers, up."""

COST = 0.05
"""Share of a process's time that snapshots may take; where they would take more, they become rarer."""

PAUSE_S = (10.0, 600.0)
"""How long nothing is stored after a failure: at first, and at most."""

_NOT_THE_STORE = (
    KafkaError._PURGE_QUEUE,  # noqa: SLF001  librdkafka's names
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
)
"""Why any record may fail to arrive: an aborted transaction, a broker that is away."""


Claimed = Callable[[Partition], None]
"""Makes sure that there is a next commit: what it is told of counts from then on."""


@dataclass(slots=True)
class _UnderWay:
    place: SnapshotPlace
    sweep: Sweep
    size: int  # of the whole state
    since: float
    data: bytes
    sent: int = 0  # pieces
    delivered: list[int] = field(default_factory=list)  # offsets of the pieces in the log


class SnapshotWriter:
    """The snapshots under way of one process."""

    def __init__(self, flow: str, store: Store, observer: EngineObserver, clock: Callable[[], float]) -> None:
        """Nothing is under way.

        Args:
            flow: its name.
            store: where parts go.
            observer: is told what happens.
            clock: monotonic seconds.
        """
        self._flow = flow
        self._store = store
        self._observer = observer
        self._clock = clock
        self._under_way: dict[int, _UnderWay] = {}
        self._tombstones: dict[int, list[bytes]] = {}
        self._untidy: set[int] = set()
        self._failure: str | None = None
        self._pause = PAUSE_S[0]
        self._resume_at = 0.0

    @property
    def dirty(self) -> bool:
        """Whether anything waits for a transaction."""
        return bool(self._under_way or self._tombstones)

    def busy(self, number: int) -> bool:
        """Whether a snapshot of this partition is under way."""
        return number in self._under_way

    @property
    def paused(self) -> bool:
        """Whether nothing is to be stored for a while, after a failure."""
        return self._clock() < self._resume_at

    def interval(self, wanted_s: float, partitions: Iterable[Partition]) -> float:
        """Return the seconds between two snapshots of a partition: longer than wanted where they cost too much."""
        cost = sum(each.snapshot_seconds for each in partitions)
        interval = max(wanted_s, cost / COST)
        self._observer.snapshot_cost(cost / interval)
        return interval

    def begin(self, partition: Partition, item: Barrier, counts: Claimed) -> None:
        """Take a barrier's states: write the file, or get the pieces ready for the next transactions."""
        started = self._clock()
        parts = partition.parts
        parts.number += 1
        part = Part(item.offset, parts.number, item.sweep, parts.kept, item.snapshots)
        size = sum(whole_size(each.state) for each in item.snapshots.values())
        data = snapshots.write(self._flow, item.partition, part)
        # Items come in order, so what is written by now was applied before the barrier.
        sides = dict(partition.sides.written)
        place = SnapshotPlace(
            item.offset,
            snapshots.checksum(data),
            len(data),
            number=parts.number,
            swept=item.sweep.slices,
            sides=sides,
            journal=partition.sides.journal if sides else 0,
        )
        partition.snapshot_seconds = item.seconds
        if isinstance(self._store, DirectoryStore):
            try:
                self._store.save(item.partition, place, data)
            except OSError as error:
                self._failed(partition, f"{error.strerror or error}")
            else:
                self._stored(item.partition, partition, place, item.sweep, max(size, len(data)), started, counts)
        else:
            place = replace(place, pieces=self._store.count(data))
            self._under_way[item.partition] = _UnderWay(place, item.sweep, max(size, len(data)), started, data)
        partition.snapshot_seconds += self._clock() - started

    def send(self, delivery: Delivery, partitions: dict[int, Partition], counts: Claimed) -> None:
        """Send the next pieces, within one transaction's bound.

        To be called when the last transaction is over: a snapshot whose pieces all lie there counts from the next one.

        Raises:
            Doubt: pieces did not arrive.
        """
        if isinstance(self._store, DirectoryStore):
            return
        started = self._clock()
        stamp = int(time.time() * 1000)  # of records that only we read: nothing depends on it
        for number, keys in self._tombstones.items():
            for key in keys if number in partitions else ():
                delivery.produce_watched(self._store.topic, key, None, number, stamp, self._told([]))
                counts(partitions[number])  # no transaction stays open until the next event comes
        self._tombstones = {}
        room = BYTES_PER_TRANSACTION
        for number, each in list(self._under_way.items()):
            partition = partitions.get(number)
            if partition is None:  # not opened again yet
                continue
            if each.sent == each.place.pieces:  # by transactions that are over
                del self._under_way[number]
                if len(each.delivered) != each.place.pieces:
                    raise Doubt(f"snapshot pieces: {len(each.delivered)} of {each.place.pieces} delivered")
                place = replace(each.place, at=min(each.delivered))
                self._stored(number, partition, place, each.sweep, each.size, each.since, counts)
                continue
            while each.sent < each.place.pieces and room > 0:
                key, value = self._store.piece(each.data, each.place, each.sent)
                each.sent += 1
                room -= len(value)
                delivery.produce_watched(self._store.topic, key, value, number, stamp, self._told(each.delivered))
            counts(partition)  # where the pieces lie is known once a transaction has carried them
            partition.snapshot_seconds += self._clock() - started

    def tidy(self, number: int, partition: Partition) -> None:
        """Remove files that no committed offset names any more."""
        if isinstance(self._store, DirectoryStore) and number in self._untidy:
            self._untidy.discard(number)
            self._store.tidy(number, partition.parts.kept)

    def forget(self, number: int | None = None) -> None:
        """Give up what is under way, of one partition or of all; if a piece was refused, say so and wait."""
        if number is not None:
            self._under_way.pop(number, None)
            self._tombstones.pop(number, None)
            return
        self._under_way, self._tombstones = {}, {}
        if self._failure is not None:
            self._failed(None, self._failure)

    def _stored(
        self,
        number: int,
        partition: Partition,
        place: SnapshotPlace,
        sweep: Sweep,
        size: int,
        since: float,
        counts: Claimed,
    ) -> None:
        dropped = partition.parts.stored(place, sweep, size)
        self._untidy.add(number)
        if not isinstance(self._store, DirectoryStore):
            keys = [self._store.key(each.number, index) for each in dropped for index in range(each.pieces)]
            if keys:
                self._tombstones.setdefault(number, []).extend(keys)
        self._pause, self._resume_at = PAUSE_S[0], 0.0
        counts(partition)
        partition.stored_at = self._clock()
        self._observer.snapshot(number, size, place.size, self._clock() - since)

    def _failed(self, partition: Partition | None, why: str) -> None:
        self._failure = None
        if partition is not None:
            partition.parts.broken = True
        self._resume_at = self._clock() + self._pause
        log.error("snapshot_not_stored", flow=self._flow, detail=why, again_in_s=self._pause)
        self._pause = min(2 * self._pause, PAUSE_S[1])
        self._observer.snapshot_failed()

    def _told(self, delivered: list[int]) -> Callable[[Any, Any], None]:
        def told(error: Any, message: Any) -> None:
            if error is None:
                delivered.append(message.offset())
            elif error.code() not in _NOT_THE_STORE:
                self._failure = error.str()

        return told
