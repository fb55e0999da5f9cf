"""A bounded table key -> row that newcomers cannot flush: a segmented LRU, usable inside compiled loops.

Segmented LRU (Karedla, Love, Wherry 1994) with one change: promotion needs age. New keys enter *probation*. A hit
moves a key to the head of its list; a hit at least `promote_after_ms` after the key was first seen promotes it to
*protected*, which holds at most 80 % of the rows. Overflow of protected demotes its least recent key to the head of
probation. The victim is the least recent key of probation, else of protected. So a flood of new keys, even of keys seen
twice, evicts keys of the flood first.

Rows are numbered in order of first use and handed on at eviction. Their numbers depend on the sequence of `touch` calls
alone, never on how often the arrays grew. Reserve rows before a loop (`Entities.reserve`); inside it call `find` and
`touch` on `Entities.table`.
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from operators.batches import I64, U8, U64
from operators.compiled import Int, borrowing
from operators.hashing import home
from operators.parts import Sweep
from operators.prefetch import prefetch
from operators.state import State

I32 = NDArray[np.int32]

PROTECTED_SHARE = 0.8
FIRST_CAPACITY = 256

# Slots of `Table.meta`.
_USED, _PROTECTED, _EVICTED, _MAX, _MAX_PROTECTED, _PROMOTE_MS = 0, 1, 2, 3, 4, 5
_HEAD, _TAIL = 6, 8  # each plus the segment: 0 probation, 1 protected
_META = 10

_COLUMNS = ("keys", "first_ms", "before", "after", "segment")  # the columns of `Table` with one entry per row


class Table(NamedTuple):
    """The arrays of `Entities`, for compiled loops.

    Attributes:
        keys: key of each row, shape (capacity,).
        first_ms: when the row's key was first seen, shape (capacity,).
        before: the row more recently used, -1 at the head of a list, shape (capacity,).
        after: the row less recently used, -1 at the tail of a list, shape (capacity,).
        segment: 0 probation, 1 protected, shape (capacity,).
        places: open addressing with linear probing; row + 1, 0 where empty; length a power of two.
        meta: counters, bounds and list ends.
    """

    keys: U64
    first_ms: I64
    before: I32
    after: I32
    segment: U8
    places: I32
    meta: I64


@borrowing
def find(table: Table, key: Int) -> Int:
    """Return the row of `key`, or -1. Changes nothing."""
    mask = len(table.places) - 1
    at = home(key, mask)
    while True:
        row = np.int64(table.places[at]) - 1
        if row < 0 or table.keys[row] == key:
            return row
        at = (at + 1) & mask


@borrowing
def fetch_ahead(table: Table, key: Int) -> None:
    """Start loading the place of a key that will be asked for in a moment."""
    prefetch(table.places, home(key, len(table.places) - 1) * 4)


@borrowing
def first_guess(table: Table, key: Int) -> Int:
    """Return the row at the first place of a key, which mostly is the key's, or -1: what to load ahead."""
    return np.int64(table.places[home(key, len(table.places) - 1)]) - 1


@borrowing
def _place(table: Table, row: Int) -> None:
    mask = len(table.places) - 1
    at = home(table.keys[row], mask)
    while table.places[at] != 0:
        at = (at + 1) & mask
    table.places[at] = row + 1


@borrowing
def _displace(table: Table, row: Int) -> None:
    """Remove by backward shift (Knuth 6.4, algorithm R): no tombstones, so probes never get longer with age."""
    mask = len(table.places) - 1
    hole = home(table.keys[row], mask)
    while table.places[hole] != row + 1:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        other = np.int64(table.places[at]) - 1
        if other < 0:
            break
        if ((at - home(table.keys[other], mask)) & mask) >= ((at - hole) & mask):
            table.places[hole] = other + 1
            hole = at
    table.places[hole] = 0


@borrowing
def _detach(table: Table, row: Int) -> None:
    segment = np.int64(table.segment[row])
    before, after = table.before[row], table.after[row]
    if before >= 0:
        table.after[before] = after
    else:
        table.meta[_HEAD + segment] = after
    if after >= 0:
        table.before[after] = before
    else:
        table.meta[_TAIL + segment] = before


@borrowing
def _attach(table: Table, row: Int, segment: Int) -> None:
    head = table.meta[_HEAD + segment]
    table.segment[row] = segment
    table.before[row] = -1
    table.after[row] = head
    if head >= 0:
        table.before[head] = row
    else:
        table.meta[_TAIL + segment] = row
    table.meta[_HEAD + segment] = row


@borrowing
def _promote(table: Table, row: Int) -> None:
    meta = table.meta
    _detach(table, row)
    _attach(table, row, 1)
    meta[_PROTECTED] += 1
    if meta[_PROTECTED] > meta[_MAX_PROTECTED]:
        oldest = meta[_TAIL + 1]
        _detach(table, oldest)
        _attach(table, oldest, 0)
        meta[_PROTECTED] -= 1


@borrowing
def _evict(table: Table) -> Int:
    meta = table.meta
    row = meta[_TAIL]
    if row < 0:
        row = meta[_TAIL + 1]
        meta[_PROTECTED] -= 1
    _detach(table, row)
    _displace(table, row)
    meta[_EVICTED] += 1
    return row


@borrowing
def touch(table: Table, key: Int, now_ms: Int) -> tuple[Int, bool]:
    """Use `key` now: return its row, and whether the row is fresh (a new key, or one that had been evicted).

    A fresh row still holds what its former key left in the caller's arrays: the caller resets it. `now_ms` should never
    go back: use the stream time.
    """
    meta = table.meta
    row = find(table, key)
    if row >= 0:
        if table.segment[row] == 0 and now_ms - table.first_ms[row] >= meta[_PROMOTE_MS]:
            _promote(table, row)
        elif meta[_HEAD + table.segment[row]] != row:
            segment = np.int64(table.segment[row])
            _detach(table, row)
            _attach(table, row, segment)
        return row, False
    if meta[_USED] < meta[_MAX]:
        row = meta[_USED]
        meta[_USED] += 1
    else:
        row = _evict(table)
    table.keys[row] = key
    table.first_ms[row] = now_ms
    _place(table, row)
    _attach(table, row, 0)
    return row, True


@borrowing
def promote(table: Table, row: Int) -> None:
    """Make a row no newcomer any more, whatever its age: something speaks for its key that a flood of keys has not."""
    if table.segment[row] == 0:
        _promote(table, row)


@borrowing
def retire(table: Table, row: Int) -> None:
    """Make a row the next to be handed on: what it was kept for is gone. Until then it stays its key's."""
    meta = table.meta
    if table.segment[row] == 1:
        meta[_PROTECTED] -= 1
    _detach(table, row)
    last = meta[_TAIL]
    table.segment[row] = 0
    table.before[row] = last
    table.after[row] = -1
    if last >= 0:
        table.after[last] = row
    else:
        meta[_HEAD] = row
    meta[_TAIL] = row


@borrowing
def _find_all(table: Table, keys: U64, rows: I64) -> None:
    for i in range(len(keys)):
        rows[i] = find(table, keys[i])


@borrowing
def _place_all(table: Table) -> None:
    for row in range(table.meta[_USED]):
        _place(table, row)


Rows = TypeVar("Rows", bound=tuple[NDArray[Any], ...])


def in_larger(rows: Rows, larger: Rows) -> Rows:
    """Return larger arrays, with what smaller ones hold in their first rows."""
    for old, new in zip(rows, larger, strict=True):
        new[: len(old)] = old
    return larger


class Entities:
    """Owner of a `Table`: growth, snapshot and counters.

    Args:
        max_entities: bound on the rows, at least 1.
        promote_after_ms: age at which a hit promotes a key, in milliseconds of event time.
    """

    def __init__(self, max_entities: int, promote_after_ms: int) -> None:
        meta = np.zeros(_META, np.int64)
        meta[_MAX] = max_entities
        meta[_MAX_PROTECTED] = int(max_entities * PROTECTED_SHARE)
        meta[_PROMOTE_MS] = promote_after_ms
        meta[_HEAD:] = -1
        self.table = _allocate(min(FIRST_CAPACITY, max_entities), meta)
        self._written: dict[str, NDArray[Any]] = {}  # the columns as `changes` returned them last

    def __len__(self) -> int:
        return int(self.table.meta[_USED])

    @property
    def capacity(self) -> int:
        """SomeRows that fit without growing."""
        return len(self.table.keys)

    @property
    def evicted(self) -> int:
        """Keys evicted so far."""
        return int(self.table.meta[_EVICTED])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.table)

    def reserve(self, more: int) -> int:
        """Grow, by doubling up to the bound, until `more` new keys fit; return the capacity."""
        needed = min(len(self) + more, int(self.table.meta[_MAX]))
        capacity = self.capacity
        while capacity < needed:
            capacity *= 2
        capacity = min(capacity, int(self.table.meta[_MAX]))
        if capacity > self.capacity:
            used, old = len(self), self.table
            self.table = _allocate(capacity, old.meta)
            for name in _COLUMNS:
                getattr(self.table, name)[:used] = getattr(old, name)[:used]
            _place_all(self.table)
        return self.capacity

    def rows(self, keys: U64) -> I64:
        """Return the row of each key, -1 where there is none, shape (n,)."""
        rows = np.empty(len(keys), np.int64)
        _find_all(self.table, keys, rows)
        return rows

    def dump(self) -> State:
        """Return a copy of the state, trimmed to the rows in use."""
        used, table = len(self), self.table
        return {
            "keys": table.keys[:used].copy(),
            "first_ms": table.first_ms[:used].copy(),
            "before": table.before[:used].copy(),
            "after": table.after[:used].copy(),
            "segment": table.segment[:used].copy(),
            "meta": table.meta.copy(),
        }

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the columns only the rows that `sweep` wants (see `operators.parts`).

        A use of one key changes the links of up to three others, so the columns are compared with a copy of what was
        returned last: 25 bytes per row.
        """
        used, before = len(self), self._written
        columns = {name: getattr(self.table, name)[:used] for name in _COLUMNS}
        changed = np.ones(used, np.bool_)
        if before:
            known = len(before["keys"])
            changed[:known] = False
            for name, column in columns.items():
                changed[:known] |= column[:known] != before[name]
        self._written = {name: column.copy() for name, column in columns.items()}
        return {**sweep.choose(changed, **columns), "meta": self.table.meta.copy()}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` returned under the same bounds.

        Raises:
            ValueError: the state was written under other bounds.
        """
        meta = np.array(state["meta"], np.int64)
        if not np.array_equal(meta[_MAX:_HEAD], self.table.meta[_MAX:_HEAD]):
            raise ValueError(f"expected bounds {self.table.meta[_MAX:_HEAD]}, got {meta[_MAX:_HEAD]}")
        used = int(meta[_USED])
        self.table = _allocate(max(used, min(FIRST_CAPACITY, int(meta[_MAX]))), meta)
        for name in _COLUMNS:
            getattr(self.table, name)[:used] = state[name]
        self._written = {name: getattr(self.table, name)[:used].copy() for name in _COLUMNS}
        _place_all(self.table)


def _allocate(capacity: int, meta: I64) -> Table:
    # At most half full: linear probing then needs 1.5 probes for a hit on average (Knuth 6.4).
    slots = 1 << (2 * capacity - 1).bit_length()
    return Table(
        keys=np.zeros(capacity, np.uint64),
        first_ms=np.zeros(capacity, np.int64),
        before=np.full(capacity, -1, np.int32),
        after=np.full(capacity, -1, np.int32),
        segment=np.zeros(capacity, np.uint8),
        places=np.zeros(slots, np.int32),
        meta=meta,
    )
