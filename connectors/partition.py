"""One partition of the input while it is this process's: where it stands, and the parts of its snapshots."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from connectors.logs import logger
from connectors.progress import KEPT, SnapshotPlace
from connectors.sides import SidePlaces, Standing
from connectors.snapshots import needed
from connectors.takeover import Opened
from operators.parts import EVERYTHING, SLICES, Sweep

log = logger()

WHOLE_BELOW = 4_000_000
"""Bytes of state below which a snapshot is one part that stands alone."""

MOST_CHANGED = 0.5
"""Share of changed rows from which a part had better stand alone too."""


class EngineObserver(Protocol):
    """Who is told what the engine does."""

    def committed(self, outcome: str, seconds: float) -> None:
        """A transaction ended: `committed`, `aborted` or `doubt`."""
        ...

    def snapshot(self, partition: int, size: int, written: int, seconds: float) -> None:
        """A snapshot counts from now on: bytes of the state, and those of the part written for it."""
        ...

    def snapshot_failed(self) -> None:
        """A snapshot could not be stored; the flow goes on without it."""
        ...

    def snapshot_cost(self, share: float) -> None:
        """The share of its time that this process spends on snapshots."""
        ...

    def restoring(self, partition: int, share: float) -> None:
        """Progress of a partition's restore, 0 to 1; 1 means live."""
        ...

    def replayed(self, partition: int, records: int) -> None:
        """Records that were only rolled forward over."""
        ...

    def side(self, partition: int, topic: str, records: int, reasons: Iterable[str]) -> None:
        """Records of a side topic were applied, of which some could not be read, for these reasons."""
        ...

    def side_lag(self, partition: int, topic: str, records: int) -> None:
        """How far behind a side topic's end a partition is."""
        ...

    def lag(self, partition: int, records: int, snapshot_age_s: float) -> None:
        """How far behind the log's end a partition is, and how old its newest snapshot."""
        ...

    def backlog(self, share: float) -> None:
        """How much of a backlog is answered, 0 to 1; 1 means that there is none."""
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
class Parts:
    """The parts of one partition's snapshots that lie in the store.

    Attributes:
        places: newest part of each kept snapshot, newest first; goes beside the committed offset.
        kept: every part that some kept snapshot needs, oldest first.
        number: of the newest part ever begun.
        turn: the slice at which the next sweep begins.
        size: bytes of the whole state, about.
        changing: share of the state that changes between two parts, about.
        broken: a part was lost on its way: the next one must stand alone.
    """

    places: tuple[SnapshotPlace, ...] = ()
    kept: tuple[SnapshotPlace, ...] = ()
    number: int = 0
    turn: int = 0
    size: int = 0
    changing: float = 0.1
    broken: bool = False

    @classmethod
    def of(cls, opened: Opened) -> "Parts":
        """What is known of a partition just opened."""
        number = max((each.number for each in opened.places), default=0)
        if opened.restored is None:
            return cls(opened.places, (), number)
        found = opened.restored
        number = max(number, *(each.number for each in found.parts))
        return cls(opened.places, found.parts, number, found.sweep.next, found.size)

    def next_sweep(self) -> Sweep:
        """Choose what the next part writes besides what changed: about as much again, so both costs are like."""
        if not self.kept or self.broken or self.size < WHOLE_BELOW or self.changing > MOST_CHANGED:
            return EVERYTHING
        return Sweep(self.turn, min(SLICES, max(1, math.ceil(SLICES * self.changing))))

    def stored(self, place: SnapshotPlace, sweep: Sweep, size: int) -> tuple[SnapshotPlace, ...]:
        """Take note of a part that counts from now on, and of the state's size; return the parts nobody needs now."""
        self.places = (place, *self.places)[:KEPT]
        before = (*self.kept, place)
        numbers = [each.number for each in before]
        # A place whose older parts are not known (it was not the one restored) cannot be kept whole.
        self.places = tuple(each for each in self.places if each.number in numbers)
        first = min(needed(before[: numbers.index(each.number) + 1])[0].number for each in self.places)
        self.kept = tuple(each for each in before if each.number >= first)
        self.turn, self.size, self.broken = sweep.next, size, False
        # After a part of everything the share that changed is not known: a quarter finds out.
        self.changing = 0.25 if sweep.whole else max(0.0, place.size / max(1, size) - sweep.slices / SLICES)
        return tuple(each for each in before if each.number < first)


@dataclass(slots=True)
class Partition:
    """One partition of the input while it is ours.

    Attributes:
        opened: how it was opened.
        position: the next record to be read.
        parts: of its snapshots.
        live: whether the committed offset has been reached.
        pending: the offset to commit, when something is to be committed.
        done: the offset up to which everything is committed.
        beside: the stages' text to be committed beside the offset.
        barrier_at: S of the newest barrier.
        barrier_time: when it was.
        snapshot_seconds: what the newest snapshot cost this process.
        opened_at: when it was opened.
        stored_at: when the newest snapshot began to count; when it was opened, before there is one.
        sides: where its side inputs stand.
    """

    opened: Opened
    position: int
    parts: Parts = field(default_factory=Parts)
    live: bool = False
    pending: int | None = None
    done: int = 0
    beside: str = ""
    barrier_at: int = 0
    barrier_time: float = 0.0
    snapshot_seconds: float = 0.0
    opened_at: float = 0.0
    stored_at: float = 0.0
    sides: Standing = field(default_factory=lambda: Standing(SidePlaces()))

    @classmethod
    def of(cls, opened: Opened, flow: str, now: float) -> "Partition":
        """A partition just opened, and a line about it in the log."""
        log.info(
            "opened",
            flow=flow,
            partition=opened.partition,
            offset=opened.start,
            committed=opened.committed,
            snapshot_bytes=opened.restored.size if opened.restored is not None else 0,
            seconds=round(opened.seconds, 3),
            **({"side_entries": len(opened.sides.entries)} if opened.sides.entries else {}),
        )
        return cls(
            opened,
            opened.start,
            Parts.of(opened),
            live=opened.start >= opened.committed and not opened.sides.entries,
            done=opened.committed,
            beside=opened.beside,
            barrier_at=opened.start,
            barrier_time=now,
            opened_at=now,
            stored_at=now,
            sides=Standing(opened.sides),
        )

    @property
    def rolled_share(self) -> float:
        """How much of what is rolled forward over is done, 0 to 1."""
        opened = self.opened
        return (self.position - opened.start) / max(1, opened.committed - opened.start)

    def note_barrier(self, now: float) -> None:
        """A barrier goes out, where this stands now."""
        self.barrier_at, self.barrier_time = self.position, now
        self.sides.at_barrier = dict(self.sides.positions)

    @property
    def moved(self) -> bool:
        """Whether there is a state to be stored: anything happened since the newest barrier, or that one was lost."""
        return self.position > self.barrier_at or self.sides.moved or self.parts.broken

    def say_live(self, flow: str, now: float) -> None:
        """Put into the log that the committed offset is reached, and how long it took."""
        opened = self.opened
        log.info(
            "live",
            flow=flow,
            partition=opened.partition,
            offset=self.done,
            rolled_forward=opened.committed - opened.start,
            seconds=round(opened.seconds + now - self.opened_at, 3),
        )
