"""Events remembered until their label comes: a ring in order of arrival, and an index by the hash of (user, id).

A ring holds events of one weight: those that were within the medium budget, each for itself, or a sample of the others,
each for 1 / share events. What is remembered of an event is 27 bytes and 8 to 16 of the index:

    its hash, its time, the bin of -ln tail, the probability given, what was said, and the block in which it taught

Nothing here is a user's: neither pseudonym nor id. At the bound the oldest goes, whatever was said of it. If an id
comes again (after the dedup window, as a new event) a label means the newest.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import I32, I64, U8, U16, U64, Bool
from operators.compiled import Int, borrowing
from operators.hashing import home
from operators.parts import Sweep
from operators.state import State

F32 = NDArray[np.float32]

UNSAID, LEGIT, FRAUD = 0, 1, 2
"""Values of `said`."""

UNTAUGHT = -1
"""Value of `taught` before an event has taught."""

FIRST_CAPACITY = 256
HEAD, COUNT, RIPE, ARRIVED, UNRIPE, BOUND = range(6)
"""Cells of `meta`: row of the oldest; rows in use; how many of the oldest have matured; events ever; those that had to
go before they matured; the bound."""

_COLUMNS = ("id_hash", "time_ms", "place", "given", "said", "taught")


class Ring(NamedTuple):
    """The arrays of `Memory`, for compiled loops.

    Attributes:
        id_hash: shape (capacity,), as the next five.
        time_ms: event time.
        place: bin of -ln tail.
        given: the probability that was given, NaN where there was none.
        said: what the newest label says.
        taught: block in which it taught, or `UNTAUGHT`.
        news: whether the row changed since it was written last.
        slots: the index, row + 1 by hash, open addressing, 0 where empty; length a power of two.
        meta: see `HEAD`.
    """

    id_hash: U64
    time_ms: I64
    place: U16
    given: F32
    said: U8
    taught: I32
    news: Bool
    slots: I32
    meta: I64


@borrowing
def _slot(ring: Ring, id_hash: Int) -> Int:
    """Return the slot that holds an id's row, or the empty one where it would go."""
    mask = len(ring.slots) - 1
    at = home(id_hash, mask)
    while ring.slots[at] != 0 and ring.id_hash[ring.slots[at] - 1] != id_hash:
        at = (at + 1) & mask
    return at


@borrowing
def find(ring: Ring, id_hash: Int) -> Int:
    """Return the row of an id, or -1."""
    return np.int64(ring.slots[_slot(ring, id_hash)]) - 1


@borrowing
def row_of(ring: Ring, place: Int) -> Int:
    """Return the row of the event at a place in the order of arrival, 0 for the oldest."""
    at = ring.meta[HEAD] + place
    return at if at < len(ring.id_hash) else at - len(ring.id_hash)


@borrowing
def forget_oldest(ring: Ring) -> None:
    """Remove the oldest; from the index by backward shift (Knuth 6.4, algorithm R), without tombstones."""
    meta = ring.meta
    row = meta[HEAD]
    hole = _slot(ring, ring.id_hash[row])
    if ring.slots[hole] == row + 1:  # else a newer event of the same id has its place
        mask = len(ring.slots) - 1
        at = hole
        while True:
            at = (at + 1) & mask
            other = ring.slots[at]
            if other == 0:
                break
            if ((at - home(ring.id_hash[other - 1], mask)) & mask) >= ((at - hole) & mask):
                ring.slots[hole] = other
                hole = at
        ring.slots[hole] = 0
    meta[HEAD] = row + 1 if row + 1 < len(ring.id_hash) else 0
    meta[COUNT] -= 1
    if meta[RIPE] > 0:
        meta[RIPE] -= 1
    else:
        meta[UNRIPE] += 1


@borrowing
def remember(ring: Ring, id_hash: Int, time_ms: Int, place: Int, given: float) -> None:
    """Remember an event; there must be room for it."""
    meta = ring.meta
    row = row_of(ring, meta[COUNT])
    ring.slots[_slot(ring, id_hash)] = row + 1
    ring.id_hash[row] = id_hash
    ring.time_ms[row] = time_ms
    ring.place[row] = place
    ring.given[row] = given
    ring.said[row] = UNSAID
    ring.taught[row] = UNTAUGHT
    ring.news[row] = True
    meta[COUNT] += 1
    meta[ARRIVED] += 1


@borrowing
def _index_all(ring: Ring) -> None:
    for place in range(ring.meta[COUNT]):
        row = row_of(ring, place)
        ring.slots[_slot(ring, ring.id_hash[row])] = row + 1


class Memory:
    """Owner of a `Ring`: growth and snapshot.

    Args:
        name: of the ring, in the snapshot.
        bound: most events, at least 1.
    """

    def __init__(self, name: str, bound: int) -> None:
        meta = np.zeros(6, np.int64)
        meta[BOUND] = bound
        self._name = name
        self.ring = _allocate(min(FIRST_CAPACITY, bound), meta)

    def __len__(self) -> int:
        return int(self.ring.meta[COUNT])

    @property
    def unripe(self) -> int:
        """Events that had to go before they matured."""
        return int(self.ring.meta[UNRIPE])

    def reserve(self, more: int) -> None:
        """Grow, by doubling up to the bound, until `more` new events fit."""
        bound = int(self.ring.meta[BOUND])
        needed, capacity = min(len(self) + more, bound), len(self.ring.id_hash)
        while capacity < needed:
            capacity *= 2
        if min(capacity, bound) > len(self.ring.id_hash):
            self._replace(min(capacity, bound), self._in_order(), self.ring.meta)

    def _in_order(self) -> State:
        ring = self.ring
        rows = (ring.meta[HEAD] + np.arange(len(self))) % len(ring.id_hash)
        return {name: getattr(ring, name)[rows] for name in _COLUMNS}

    def _replace(self, capacity: int, columns: State, meta: I64) -> None:
        meta[HEAD] = 0
        self.ring = _allocate(capacity, meta)
        for name, column in columns.items():
            getattr(self.ring, name)[: meta[COUNT]] = column
        self.ring.news[:] = True  # every place of the new ring is news
        _index_all(self.ring)

    def dump(self) -> State:
        """Return a copy of the state, in order of arrival."""
        state: State = {f"{self._name}.{name}": column for name, column in self._in_order().items()}
        return {**state, f"{self._name}.meta": self.ring.meta[[RIPE, UNRIPE]].copy()}

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the ring only the places that `sweep` wants (see `operators.parts`)."""
        ring, name = self.ring, self._name
        columns = {f"{name}.{column}": getattr(ring, column) for column in _COLUMNS}
        state = sweep.choose(ring.news.copy(), **columns)
        ring.news[:] = False
        return {
            **state,
            f"{name}.meta": ring.meta[[RIPE, UNRIPE]].copy(),
            f"{name}.ring": ring.meta[[HEAD, COUNT]].copy(),
        }

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same bound.

        Raises:
            ValueError: it cannot be such a state.
        """
        columns: State = {name: np.asarray(state[f"{self._name}.{name}"]) for name in _COLUMNS}
        lengths = {len(np.atleast_1d(np.asarray(column))) for column in columns.values()}
        bound = int(self.ring.meta[BOUND])
        if len(lengths) != 1 or max(lengths) > bound:
            raise ValueError(f"expected columns of at most {bound} events, got {sorted(lengths)} - at {self._name}")
        [length] = lengths
        ripe, unripe = np.asarray(state[f"{self._name}.meta"]).tolist()
        places = np.asarray(state[f"{self._name}.ring"]).tolist() if f"{self._name}.ring" in state else [0, length]
        head, count = places
        if not (0 <= ripe <= count <= length and 0 <= head <= max(0, length - 1)):
            raise ValueError(f"expected places within {length} events, got {head}, {count}, {ripe} - at {self._name}")
        meta = self.ring.meta.copy()
        meta[[HEAD, COUNT, RIPE, UNRIPE]] = head, count, ripe, unripe
        capacity = length if f"{self._name}.ring" in state else max(length, min(FIRST_CAPACITY, bound))
        self.ring = _allocate(capacity, meta)
        for name, column in columns.items():
            getattr(self.ring, name)[:length] = column
        # Later parts go on from these places; of a state in order of arrival there are none yet.
        self.ring.news[:] = f"{self._name}.ring" not in state
        _index_all(self.ring)


def _allocate(capacity: int, meta: I64) -> Ring:
    slots = 1 << (2 * capacity - 1).bit_length()  # at most half full
    return Ring(
        np.zeros(capacity, np.uint64),
        np.zeros(capacity, np.int64),
        np.zeros(capacity, np.uint16),
        np.zeros(capacity, np.float32),
        np.zeros(capacity, np.uint8),
        np.zeros(capacity, np.int32),
        np.zeros(capacity, np.bool_),
        np.zeros(slots, np.int32),
        meta,
    )
