"""The event ids a partition remembers, so that a repeated id changes nothing: a queue in order of arrival, and a set.

An id is remembered with the stream time at which its event was accepted, and forgotten once stream time is more than
the window past that. At the bound the oldest is forgotten early and counted. Ids are 64-bit hashes of (user, id): in a
full table of a million, a new event is taken for a duplicate with probability 5e-14.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import I64, U64
from operators.compiled import Int, borrowing
from operators.hashing import home
from operators.parts import Sweep
from operators.prefetch import prefetch
from operators.state import State

FIRST_CAPACITY = 1024
EVENTS_AHEAD = 8  # how early the place of an id is asked for

_HEAD, _COUNT, _EVICTED, _MAX, _WINDOW_MS, _ARRIVED = 0, 1, 2, 3, 4, 5


class Seen(NamedTuple):
    """The arrays of `Dedup`, for compiled loops.

    Attributes:
        queue: hashes in order of arrival, a ring, shape (capacity,).
        since_ms: stream time of each arrival, shape (capacity,); never falls along the queue.
        members: the same hashes as an open-addressing set, 0 where empty; length a power of two.
        meta: counters and bounds.
    """

    queue: U64
    since_ms: I64
    members: U64
    meta: I64


@borrowing
def holds(seen: Seen, id_hash: Int) -> bool:
    """Return whether the id is remembered. Call `forget_expired` first."""
    mask = len(seen.members) - 1
    at = home(id_hash, mask)
    while seen.members[at] != 0:
        if seen.members[at] == id_hash:
            return True
        at = (at + 1) & mask
    return False


@borrowing
def fetch_ahead(seen: Seen, id_hash: Int) -> None:
    """Start loading the place of an id that will be asked for in a moment."""
    prefetch(seen.members, home(id_hash, len(seen.members) - 1) * 8)


@borrowing
def _set_add(seen: Seen, id_hash: Int) -> None:
    mask = len(seen.members) - 1
    at = home(id_hash, mask)
    while seen.members[at] != 0:
        at = (at + 1) & mask
    seen.members[at] = id_hash


@borrowing
def _forget_oldest(seen: Seen) -> None:
    """Remove the head of the queue; from the set by backward shift (Knuth 6.4, algorithm R), without tombstones."""
    meta = seen.meta
    id_hash = seen.queue[meta[_HEAD]]
    meta[_HEAD] = meta[_HEAD] + 1 if meta[_HEAD] + 1 < len(seen.queue) else 0
    meta[_COUNT] -= 1
    mask = len(seen.members) - 1
    hole = home(id_hash, mask)
    while seen.members[hole] != id_hash:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        other = seen.members[at]
        if other == 0:
            break
        if ((at - home(other, mask)) & mask) >= ((at - hole) & mask):
            seen.members[hole] = other
            hole = at
    seen.members[hole] = 0


@borrowing
def forget_expired(seen: Seen, stream_ms: Int) -> None:
    """Forget the ids accepted more than the window before stream time."""
    meta = seen.meta
    ahead = meta[_HEAD] + EVENTS_AHEAD
    if ahead < len(seen.queue):
        fetch_ahead(seen, seen.queue[ahead])
    while meta[_COUNT] > 0 and stream_ms - seen.since_ms[meta[_HEAD]] > meta[_WINDOW_MS]:
        _forget_oldest(seen)


@borrowing
def remember(seen: Seen, id_hash: Int, stream_ms: Int) -> None:
    """Remember an id that is not held. The queue must have room, or be at its bound."""
    meta = seen.meta
    if meta[_COUNT] == meta[_MAX]:
        _forget_oldest(seen)
        meta[_EVICTED] += 1
    at = meta[_HEAD] + meta[_COUNT]
    at = at if at < len(seen.queue) else at - len(seen.queue)
    seen.queue[at] = id_hash
    seen.since_ms[at] = stream_ms
    meta[_COUNT] += 1
    meta[_ARRIVED] += 1
    _set_add(seen, id_hash)


@borrowing
def _add_all(seen: Seen) -> None:
    for k in range(seen.meta[_COUNT]):
        _set_add(seen, seen.queue[(seen.meta[_HEAD] + k) % len(seen.queue)])


class Dedup:
    """Owner of a `Seen`: growth, snapshot and counters.

    Args:
        max_ids: bound on the ids, at least 1.
        window_ms: how long an id is remembered, in milliseconds of stream time.
    """

    def __init__(self, max_ids: int, window_ms: int) -> None:
        meta = np.zeros(6, np.int64)
        meta[_MAX], meta[_WINDOW_MS] = max_ids, window_ms
        self._written = -max_ids  # how many ids had arrived when `changes` was last called
        self.seen = _allocate(min(FIRST_CAPACITY, max_ids), meta)

    def __len__(self) -> int:
        return int(self.seen.meta[_COUNT])

    @property
    def evicted(self) -> int:
        """Ids forgotten before their window ended."""
        return int(self.seen.meta[_EVICTED])

    def reserve(self, more: int) -> None:
        """Grow, by doubling up to the bound, until `more` new ids fit."""
        bound = int(self.seen.meta[_MAX])
        needed, capacity = min(len(self) + more, bound), len(self.seen.queue)
        while capacity < needed:
            capacity *= 2
        if min(capacity, bound) > len(self.seen.queue):
            self._replace(min(capacity, bound), *self._in_order(), self.seen.meta)

    def _in_order(self) -> tuple[U64, I64]:
        seen = self.seen
        at = (seen.meta[_HEAD] + np.arange(len(self))) % len(seen.queue)
        return seen.queue[at], seen.since_ms[at]

    def _replace(self, capacity: int, queue: U64, since_ms: I64, meta: I64) -> None:
        meta[_HEAD] = 0
        self.seen = _allocate(capacity, meta)
        self.seen.queue[: len(queue)] = queue
        self.seen.since_ms[: len(queue)] = since_ms
        self._written = int(meta[_ARRIVED]) - capacity  # every place of the new ring is news
        _add_all(self.seen)

    def dump(self) -> State:
        """Return a copy of the state, trimmed and in order of arrival."""
        queue, since_ms = self._in_order()
        return {"queue": queue, "since_ms": since_ms, "evicted": self.evicted}

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the ring only the places that `sweep` wants (see `operators.parts`)."""
        seen = self.seen
        places, end = len(seen.queue), int(seen.meta[_HEAD] + seen.meta[_COUNT])
        changed = np.zeros(places, np.bool_)
        new = min(int(seen.meta[_ARRIVED]) - self._written, places)
        changed[np.arange(end - new, end) % places] = True
        self._written = int(seen.meta[_ARRIVED])
        return {
            **sweep.choose(changed, **{"ring.queue": seen.queue, "ring.since_ms": seen.since_ms}),
            "ring.head": int(seen.meta[_HEAD]),
            "ring.count": len(self),
            "evicted": self.evicted,
        }

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same bounds.

        Raises:
            ValueError: there are more ids than the bound allows.
        """
        if "ring.queue" in state:
            self._load_ring(state)
            return
        queue, since_ms = np.asarray(state["queue"], np.uint64), np.asarray(state["since_ms"], np.int64)
        meta = self.seen.meta.copy()
        bound = int(meta[_MAX])
        if len(queue) > bound:
            raise ValueError(f"expected at most {bound} ids, got {len(queue)}")
        meta[_COUNT], meta[_EVICTED] = len(queue), int(str(state["evicted"]))
        self._replace(max(len(queue), min(FIRST_CAPACITY, bound)), queue, since_ms, meta)

    def _load_ring(self, state: State) -> None:
        """Take a ring over place by place: later parts go on from these places."""
        queue, since_ms = np.asarray(state["ring.queue"], np.uint64), np.asarray(state["ring.since_ms"], np.int64)
        head, count = int(str(state["ring.head"])), int(str(state["ring.count"]))
        meta = self.seen.meta.copy()
        places = len(queue)
        if not (count <= places == len(since_ms) and 0 < places <= meta[_MAX] and 0 <= head < places and count >= 0):
            raise ValueError(
                f"expected a ring of at most {meta[_MAX]} places, got {places}, head {head}, count {count}"
            )
        meta[_HEAD], meta[_COUNT], meta[_EVICTED] = head, count, int(str(state["evicted"]))
        self.seen = _allocate(places, meta)
        self.seen.queue[:] = queue
        self.seen.since_ms[:] = since_ms
        self._written = int(meta[_ARRIVED])
        _add_all(self.seen)


def _allocate(capacity: int, meta: I64) -> Seen:
    slots = 1 << (2 * capacity - 1).bit_length()  # at most half full
    return Seen(np.zeros(capacity, np.uint64), np.zeros(capacity, np.int64), np.zeros(slots, np.uint64), meta)
