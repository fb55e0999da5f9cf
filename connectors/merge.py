"""Puts topics of one partition in the order of their records' times, about: a policy, which the journal makes exact.

A record is handed out once none of the other topics is more than `slack_s` behind it. A topic is as far as the next
record that it has here, but no further than the middle one of its next few, so that one clock that is ahead keeps
nothing behind it; if it has none here, as far as the last one it handed out. It holds the others back

- while it is behind: there are records of it in Kafka that are not here, or there were less than `wait_s` ago;
- at its end, for `wait_s` after its last record was read, since another of about that time may be on its way.

It holds back no record that was read more than `wait_s` ago, unless it is behind. So what is published in the order of
time waits for `wait_s` at most, however old the times are that other topics bring; and while a backlog is read, nothing
overtakes. The order within a topic is never changed.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_FIRST_LOOK = 32
"""Records looked at one by one before all that are here are: most runs are as short."""

_NEAR = 5
"""Records that the first one's time is held against: a single clock that is ahead holds nothing back."""

LIGHT = 2_000
"""Bytes of a value beyond which a record counts as several: what is here is bounded in bytes as well."""


class Run(NamedTuple):
    """Consecutive records of one topic.

    Attributes:
        topic: short name; "" for the input.
        messages: at least one.
    """

    topic: str
    messages: list[Any]


class _Read:
    """What was read of a topic at once, as far as it is not handed out."""

    __slots__ = ("at", "done", "messages", "times", "weights")

    def __init__(self, messages: Sequence[Any], at: float) -> None:
        self.messages = messages
        self.times: NDArray[np.int64] = np.fromiter(
            (message.timestamp()[1] for message in messages), np.int64, len(messages)
        )
        # The length of a record is that of its value, 0 without one.
        self.weights: NDArray[np.int64] = 1 + np.fromiter(map(len, messages), np.int64, len(messages)) // LIGHT
        self.at = at
        self.done = 0


class _Topic:
    """One topic of the partition.

    Attributes:
        next: offset of the next record to be read.
        queued: records that are here; a heavy one counts as several.
        last_ms: time of the last record handed out.
        read_at: when a record of it was read last.
        behind_at: when it was last seen behind.
    """

    __slots__ = ("behind_at", "last_ms", "next", "queued", "read_at", "reads")

    def __init__(self, first: int, now: float) -> None:
        self.next = first
        self.reads: deque[_Read] = deque()
        self.queued = 0
        self.last_ms = float("-inf")
        self.read_at = self.behind_at = now

    @property
    def reached_ms(self) -> float:
        """How far it is: no further than the middle of its next records."""
        if not self.reads:
            return self.last_ms
        near: list[int] = []
        for read in self.reads:
            near += read.times[read.done : read.done + _NEAR - len(near)].tolist()
            if len(near) == _NEAR:
                break
        return float(min(near[0], sorted(near)[len(near) // 2]))

    def cut(self, limit_ms: float, most: int) -> list[Any]:
        """Take what was read at once, up to the first beyond a time; the very first whenever the topic is not."""
        here = self.reached_ms
        if here > limit_ms:
            return []
        read = self.reads[0]
        stop = min(len(read.messages), read.done + most)
        end = max(read.done + 1, _first_beyond(read.times, read.done, stop, limit_ms))
        found = list(read.messages[read.done : end])
        self.last_ms = float(read.times[end - 1]) if end > read.done + 1 else here
        self.queued -= int(read.weights[read.done : end].sum())
        read.done = end
        if end == len(read.messages):
            self.reads.popleft()
        return found


def _first_beyond(times: NDArray[np.int64], start: int, stop: int, limit_ms: float) -> int:
    """Return the place of the first time beyond the limit, at most `stop`; times are in no order."""
    near = min(stop, start + _FIRST_LOOK)
    for at, time in enumerate(times[start:near].tolist(), start):
        if time > limit_ms:
            return at
    beyond = times[near:stop] > limit_ms
    return near + int(beyond.argmax()) if beyond.any() else stop


class Merge:
    """The topics of one partition from when it is live."""

    def __init__(self, positions: Iterable[tuple[str, int]], slack_s: float, wait_s: float, now: float) -> None:
        """Begin with nothing here, and all of them behind.

        Args:
            positions: topics in the order in which records of one time are handed out, and the next record of each.
            slack_s: how far one topic may be ahead of another, in the time of records.
            wait_s: see the module's text.
            now: monotonic seconds.
        """
        self._topics = {topic: _Topic(first, now) for topic, first in positions}
        self._slack_ms = slack_s * 1000
        self._wait_s = wait_s

    def add(self, topic: str, messages: Sequence[Any], now: float) -> None:
        """Take records that were read now; such as were read before are passed over."""
        to = self._topics[topic]
        if messages and messages[0].offset() < to.next:
            messages = messages[bisect_right(messages, to.next - 1, key=lambda message: message.offset()) :]
        if messages:
            to.next = messages[-1].offset() + 1
            to.reads.append(_Read(messages, now))
            to.queued += int(to.reads[-1].weights.sum())
            to.read_at = now

    def behind(self, topic: str, now: float) -> None:
        """Note that there are records of a topic in Kafka that are not here."""
        self._topics[topic].behind_at = now

    def next(self, topic: str) -> int:
        """Return the offset of the next record to be read."""
        return self._topics[topic].next

    def queued(self, topic: str) -> int:
        """Return how many records are here, one for each `LIGHT` bytes begun where they are heavier than that."""
        return self._topics[topic].queued

    def take(self, now: float, most: int, runs: int) -> list[Run]:
        """Hand out what is due, in its order.

        Args:
            now: monotonic seconds.
            most: records.
            runs: of records, at most.
        """
        found: list[Run] = []
        while most > 0 and len(found) < runs:
            run = self._run(now, most)
            if run is None:
                break
            found.append(run)
            most -= len(run.messages)
        return found

    def _run(self, now: float, most: int) -> Run | None:
        here = [(name, topic) for name, topic in self._topics.items() if topic.reads]
        for name, topic in sorted(here, key=lambda each: each[1].reached_ms):
            read_at = topic.reads[0].at
            limit_ms = min(
                (
                    other.reached_ms + self._slack_ms
                    for other in self._topics.values()
                    if other is not topic and self._holds(other, now, read_at)
                ),
                default=float("inf"),
            )
            if messages := topic.cut(limit_ms, most):
                return Run(name, messages)
        return None

    def _holds(self, other: _Topic, now: float, read_at: float) -> bool:
        """Whether a topic may hold back what another one read at `read_at`."""
        since = now - self._wait_s
        if other.behind_at > since:
            return True
        if not other.reads:
            return read_at > since and other.read_at > since
        # Of two that have waited long enough the earlier goes first: nothing but a topic behind holds it back.
        return read_at > since or other.reads[0].at <= since
