"""Taking a partition over: fence the former owner, read the committed offset, load the newest snapshot below it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors import progress, snapshots
from connectors.delivery import Watchdog, fence
from connectors.logs import logger
from connectors.progress import Progress, SnapshotPlace
from connectors.reader import CannotStart, OffsetGone, Reader
from connectors.sides import SideInputs, SidePlaces
from connectors.snapshots import Restored
from operators.control import StageSnapshot

log = logger()

COMMITTED_TIMEOUT_S = 60.0

KEYED = ("decode", "observe")
"""Stages whose fingerprint is that of the pseudonym key."""


class RestoreObserver(Protocol):
    """Who is told how far a restore is."""

    def restoring(self, partition: int, share: float) -> None:
        """Progress of a partition's restore, 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a partition stands.

    Attributes:
        partition: Kafka partition of the input.
        start: S, from where to read.
        committed: C; outputs for records below it are in Kafka already.
        begin: where the flow began on this partition.
        places: the snapshots named beside C, newest first.
        restored: the snapshot at S; None where the flow starts from `begin`.
        beside: what a stage had put beside the committed offset.
        seconds: how long opening took.
        sides: where the side inputs stand.
    """

    partition: int
    start: int
    committed: int
    begin: int
    places: tuple[SnapshotPlace, ...]
    restored: Restored | None = None
    beside: str = ""
    seconds: float = 0.0
    sides: SidePlaces = field(default_factory=SidePlaces)

    @property
    def states(self) -> dict[str, StageSnapshot]:
        """The stages' states at S, by step id."""
        return {} if self.restored is None else self.restored.states


class Takeover:
    """Opens partitions that the group has given to this process."""

    def __init__(
        self,
        config: Mapping[str, Any],
        flow: str,
        topic: str,
        group: str,
        store: snapshots.Store,
        watchdog: Watchdog,
        *,
        transactional: bool,
        start_at_end: bool,
        fixed: Mapping[str, str],
        sides: SideInputs,
    ) -> None:
        """Keep what is needed to ask.

        Args:
            config: librdkafka's.
            flow: its name.
            topic: the input.
            group: the consumer group.
            store: where snapshots lie.
            watchdog: ends calls that never return.
            transactional: whether former owners can and must be fenced.
            start_at_end: where a group without a past begins.
            fixed: fingerprints, by step id, that a snapshot must have: what it was made under cannot change.
            sides: the side inputs.
        """
        self._config = dict(config)
        self._flow = flow
        self._topic = topic
        self._group = group
        self._store = store
        self._watchdog = watchdog
        self._transactional = transactional
        self._start_at_end = start_at_end
        self._fixed = dict(fixed)
        self._sides = sides

    def told(self, count: int) -> dict[int, Progress | None]:
        """Return what stands beside the group's offsets, by partition; None where nothing of ours does.

        Args:
            count: partitions of the topic.
        """
        return {each.partition: self._told(each) for each in self._offsets(list(range(count)), stable=False)}

    def fence_former_owners(self, told: Iterable[Progress | None], owner: str) -> None:
        """Fence every transactional id that last committed one of these and did not let it go.

        Args:
            told: what stands beside the offsets of partitions that the group has given us.
            owner: our own name.

        Raises:
            Doubt: a former owner could not be fenced now.
        """
        if not self._transactional:
            return
        former = {each.owner for each in told if each is not None and not each.released and each.owner != owner}
        for each in sorted(former):
            log.info("fencing", flow=self._flow, owner=each)
            fence(self._config, each, self._watchdog)

    def check_partitions(self, told: Mapping[int, Progress | None]) -> None:
        """Refuse a topic that has gained partitions since the group's state was made.

        Args:
            told: what stands beside the offsets of all partitions that the topic has now.

        Raises:
            CannotStart: the topic had another number.
        """
        count = len(told)
        for each in told.values():
            if each is not None and each.partitions not in (0, count):
                raise CannotStart(
                    f"{self._topic} has {count} partitions, but group {self._group} has answered it with "
                    f"{each.partitions}: keys lie in other partitions now, away from their users' state. Publish to a "
                    "new topic under a new kafka.prefix with the new number, and replay or re-key the old one into it "
                    '(docs/keys.md, "Partitions were added"). Nothing was answered.'
                )

    def open(self, partition: int, reader: Reader, observer: RestoreObserver, poll: Callable[[], None]) -> Opened:
        """Find out where to begin.

        Args:
            partition: of the input.
            reader: asked for the log's bounds.
            observer: told the share restored; loading the snapshot is the first half.
            poll: serves the group meanwhile; may raise to give up.

        Raises:
            CannotStart: no state fits the committed offset; the message says what to do.
        """
        began = time.monotonic()
        committed = self._committed(partition, poll)
        told = self._told(committed)
        opened = self._opened(partition, committed, told, reader, observer, poll)
        place = opened.places[0] if opened.restored is not None else None
        sides = self._sides.open(partition, opened.start, opened.committed, told, place, poll)
        return replace(opened, sides=sides, seconds=time.monotonic() - began)

    def _opened(
        self,
        partition: int,
        committed: TopicPartition,
        told: Progress | None,
        reader: Reader,
        observer: RestoreObserver,
        poll: Callable[[], None],
    ) -> Opened:
        low, high = reader.bounds(partition)
        where = f"{self._topic}[{partition}]"
        if committed.offset < 0:
            if self._store.any(partition):
                raise CannotStart(
                    f"{where}: group {self._group} has no committed offset, but snapshots exist: the offset has "
                    "expired or was deleted. Set it with kafka-consumer-groups --reset-offsets if you know where to "
                    "go on, or remove the snapshots to begin anew."
                )
            begin = high if self._start_at_end else low
            return Opened(partition, begin, begin, begin, ())
        if told is None:
            why = "the offset was set by another tool: state starts empty there"
            log.warning("no_state", flow=self._flow, partition=partition, offset=committed.offset, detail=why)
            return Opened(partition, committed.offset, committed.offset, committed.offset, ())
        if committed.offset > high:
            raise CannotStart(
                f"{where}: committed offset {committed.offset} lies beyond the end of the log ({high}): was the topic "
                f"made anew? Delete the group {self._group} and its snapshots to begin anew."
            )

        def progress_of(share: float) -> None:
            observer.restoring(partition, share / 2)
            poll()

        return self._from_snapshot(partition, committed.offset, told, low, progress_of)

    def _from_snapshot(
        self, partition: int, committed: int, told: Progress, low: int, progressed: Callable[[float], None]
    ) -> Opened:
        where = f"{self._topic}[{partition}]"
        faults = []
        for number, place in enumerate(told.snapshots):
            if place.offset > committed:
                faults.append(f"snapshot at {place.offset}: newer than the committed offset {committed}")
            elif place.offset < low:
                faults.append(f"snapshot at {place.offset}: older than the log, which starts at {low}")
            else:
                try:
                    found = snapshots.restore(self._store, self._flow, partition, place, progressed)
                except snapshots.SnapshotUnusable as error:
                    log.warning("snapshot_unusable", flow=self._flow, partition=partition, detail=str(error))
                    faults.append(str(error))
                else:
                    self._check_fixed(where, found.states)
                    places = told.snapshots[number:]
                    return Opened(partition, place.offset, committed, told.begin, places, found, told.beside)
        if told.begin >= low:
            if faults:
                why = "no usable snapshot: everything is read again"
                log.warning("no_state", flow=self._flow, partition=partition, offset=told.begin, detail=why)
            return Opened(partition, told.begin, committed, told.begin, (), beside=told.beside)
        raise CannotStart(
            f"{where}: no state fits the committed offset {committed}: "
            + "; ".join(
                [*faults, f"the flow began at {told.begin}, which is no longer in the log (it starts at {low})"]
            )
            + f". Bring the snapshots back, or give the history up: reset the offsets of group {self._group} with "
            "kafka-consumer-groups, and the state starts empty there."
        )

    def _check_fixed(self, where: str, states: dict[str, StageSnapshot]) -> None:
        for step, fingerprint in self._fixed.items():
            if step in states and states[step].fingerprint != fingerprint:
                if step in KEYED:
                    raise CannotStart(
                        f"{where}: the state was made under another pseudonym key or key version: its users would not "
                        "be recognised. Bring the key back; a new key is a replay into a new prefix."
                    )
                raise CannotStart(
                    f"{where}: the state of the stage {step} was made under other settings, or by another version of "
                    "Tidegate, and what it has counted cannot be counted again. Bring those settings back; to begin "
                    f"anew under these, stop all processes and delete the group {self._group} and its snapshots "
                    '(docs/deploy.md, "Snapshots").'
                )

    def _committed(self, partition: int, poll: Callable[[], None]) -> TopicPartition:
        deadline = time.monotonic() + COMMITTED_TIMEOUT_S
        while True:
            try:
                return self._offsets([partition], stable=True)[0]
            except KafkaException as error:
                # A transaction on this offset is pending: it ends, or the broker ends it.
                if time.monotonic() > deadline:
                    raise CannotStart(f"{self._topic}[{partition}]: committed offset not told: {error}") from error
                poll()

    def _told(self, committed: TopicPartition) -> Progress | None:
        try:
            return progress.read(committed.metadata) if committed.offset >= 0 else None
        except progress.UnreadableProgress as error:
            raise CannotStart(f"{self._topic}[{committed.partition}]: {error}") from error

    def _offsets(self, partitions: list[int], *, stable: bool) -> list[TopicPartition]:
        # A consumer that never joins: it only asks for the group's offsets. Stable ones wait for pending transactions.
        consumer = Consumer(
            {
                **self._config,
                "group.id": self._group,
                "isolation.level": "read_committed" if stable else "read_uncommitted",
                "enable.auto.commit": False,
            }
        )
        try:
            asked = [TopicPartition(self._topic, partition) for partition in partitions]
            found: list[TopicPartition] = consumer.committed(asked, timeout=3.0)
            for each in found:
                if each.error is not None:
                    raise KafkaException(each.error)
            return found
        finally:
            consumer.close()


__all__ = ["CannotStart", "OffsetGone", "Opened", "Takeover"]
