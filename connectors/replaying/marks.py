"""Which refused records have been replayed: a set per input partition, flow and reason, kept in a compacted topic.

It is written in the transaction that republishes the records, so that it is right after a kill at any moment. A
consumer group's offset would not do: Kafka forgets the offsets of a group without members after a week
(`offsets.retention.minutes`), and a replay a month later would repeat everything. Nor would one position for all
letters: a replay of one reason would hide the letters of the others, or repeat them.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

VERSION = 1


class Kind(NamedTuple):
    """Records that share one set. A flow refuses those of one partition in the order of their offsets.

    Attributes:
        topic: full name of the topic they lie in.
        partition: their partition.
        flow: the flow that refused them.
        reason: why.
        again: whether they were replayed before, and refused once more.
    """

    topic: str
    partition: int
    flow: str
    reason: str
    again: bool


class _Written(msgspec.Struct, frozen=True):
    version: int
    runs: list[tuple[Annotated[int, msgspec.Meta(ge=0)], int]]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Written).decode


class Unreadable(ValueError):
    """A record of the topic is not one of ours, or of another version."""


def key(kind: Kind) -> bytes:
    """Return the record's key; no part of it holds a slash."""
    return f"{kind.topic}/{kind.partition}/{kind.flow}/{kind.reason}/{'again' if kind.again else 'fresh'}".encode()


def read_key(data: bytes) -> Kind:
    """Read what `key` wrote.

    Raises:
        Unreadable: it is something else.
    """
    parts = data.decode("utf-8", "replace").split("/")
    if len(parts) != 5 or parts[4] not in ("again", "fresh") or not parts[1].isdecimal():
        raise Unreadable(f"expected topic/partition/flow/reason/fresh (or again) as key, got {len(data)} other bytes")
    return Kind(parts[0], int(parts[1]), parts[2], parts[3], parts[4] == "again")


class Settled:
    """Offsets of the records of one kind that need no replay any more.

    Kept as runs `[first, next)`, ascending and apart. A run says that every record *of this kind* in it is settled;
    others between them do not break it, so there are few.
    """

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._runs: list[tuple[int, int]] = []
        for first, end in runs:
            self.add(first, end)
        self._open = 0
        self.changed = False

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The runs, as `(first, next)`."""
        return list(self._runs)

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._runs, offset, key=lambda run: run[0])
        return at > 0 and offset < self._runs[at - 1][1]

    def add(self, first: int, end: int) -> None:
        """Add the offsets `first <= offset < end`; touching runs become one."""
        if first >= end:
            return
        low = bisect_right(self._runs, first, key=lambda run: run[0])
        if low and self._runs[low - 1][1] >= first:
            low -= 1
        high = low
        while high < len(self._runs) and self._runs[high][0] <= end:
            first, end = min(first, self._runs[high][0]), max(end, self._runs[high][1])
            high += 1
        if self._runs[low:high] != [(first, end)]:
            self._runs[low:high] = [(first, end)]
            self.changed = True

    # A scan meets the records of a kind in the order of their offsets, and calls one of these for each that may be of
    # it; what lies between two calls is then known not to be. (At-least-once delivery repeats letters: harmless here.)

    def settle(self, offset: int) -> None:
        """Take note that this record needs no replay any more, or is of another kind."""
        self.add(min(self._open, offset), offset + 1)
        self._open = max(self._open, offset + 1)

    def leave(self, offset: int) -> None:
        """Take note that this record stays as it is: replayable, unless it was settled before."""
        self.add(self._open, offset)
        self._open = max(self._open, offset + 1)

    def write(self) -> bytes:
        """Return the record's value."""
        self.changed = False
        return _encode(_Written(VERSION, self._runs))


def read(data: bytes) -> Settled:
    """Read what `Settled.write` wrote.

    Raises:
        Unreadable: it is something else.
    """
    try:
        written = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(f"expected a record of replayed dead letters, got {len(data)} other bytes") from error
    if written.version != VERSION:
        raise Unreadable(f"expected a record of version {VERSION}, got {written.version}")
    return Settled(written.runs)
