"""Labels that come late: each a fixed event time after its event, as records of `labels` between batches.

Where they are applied must not depend on where the replay cuts its batches. So event time is divided into ticks, a
twentieth of the delay and at least a minute long, a batch ends where a tick does, and what is due by then comes first.
"""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from operators.batches import I64
from operators.side import Side

TOPIC = "labels"
LEAST_TICK_MS = 60_000


class _Identity(msgspec.Struct, gc=False):
    """Of an event, what a label names it by."""

    id: str
    user: str


class _Due(NamedTuple):
    due_ms: int
    number: int  # of the event, so that labels due at once keep its order
    key: bytes
    value: bytes


_identity = msgspec.json.Decoder(_Identity).decode
_encode = msgspec.json.Encoder().encode


def tick_of(delay_ms: int) -> int:
    """Return the length of a tick, milliseconds."""
    return max(LEAST_TICK_MS, delay_ms // 20)


class LateLabels:
    """The labels on their way to one partition.

    Args:
        partition: it.
        delay_ms: event time from an event to its label.
    """

    def __init__(self, partition: int, delay_ms: int) -> None:
        self._partition = partition
        self._delay_ms = delay_ms
        self._tick_ms = tick_of(delay_ms)
        self._waiting: list[_Due] = []
        self._tick = -1
        self._newest_ms = -1
        self._noted = 0
        self._said = 0

    def stretches(self, times_ms: I64) -> Iterator[tuple[int, int, int]]:
        """Divide consecutive events into stretches of one tick each: (tick, first, end)."""
        if not len(times_ms):
            return
        newest = np.maximum(np.maximum.accumulate(times_ms), self._newest_ms)
        self._newest_ms = int(newest[-1])
        ticks = newest // self._tick_ms
        edges = [0, *(np.flatnonzero(np.diff(ticks)) + 1).tolist(), len(ticks)]
        for first, end in itertools.pairwise(edges):
            yield int(ticks[first]), first, end

    def note(self, key: bytes, value: bytes, label: str, time_ms: int) -> None:
        """Send the label of an event on its way; of a record that is no event there is none."""
        try:
            who = _identity(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        due_ms = time_ms + self._delay_ms
        said = _encode({"id": who.id, "user": who.user, "label": label, "timestamp": due_ms})
        heapq.heappush(self._waiting, _Due(due_ms, self._noted, key, said))
        self._noted += 1

    def arrived(self, tick: int, at: int) -> Side | None:
        """Return what is due as a tick begins, for input offset `at`; None if nothing is, or the tick is not new."""
        if tick == self._tick:
            return None
        self._tick = tick
        due: list[_Due] = []
        while self._waiting and self._waiting[0].due_ms <= tick * self._tick_ms:
            due.append(heapq.heappop(self._waiting))
        if not due:
            return None
        first, self._said = self._said, self._said + len(due)
        return _side(self._partition, at, first, due)


def _side(partition: int, at: int, first: int, due: Sequence[_Due]) -> Side:
    offsets = list(range(first, first + len(due)))
    return Side(
        partition,
        TOPIC,
        at,
        first,
        first + len(due),
        [one.value for one in due],
        [one.key for one in due],
        offsets,
        [one.due_ms for one in due],
    )
