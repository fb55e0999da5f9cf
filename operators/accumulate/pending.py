"""Records and decisions of units that may be exposed yet: a ring in order of arrival, chained by unit.

An exposure may come after records that it counts, since topics are read one beside the other; what was before it is
looked up likewise. So every record stays until it is too old for any exposure that may still come. The oldest goes
first; at the bound it goes early.

Each entry names the one before it of the same unit. Entries are numbered by arrival, so that a chain is over where the
number is below that of the oldest: nothing has to be unlinked.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.accumulate.units import Units, find_or_add
from operators.batches import I64, U64
from operators.compiled import Int, Records, borrowing
from operators.parts import Sweep
from operators.state import State

ENTRY = np.dtype(
    [
        ("time_ms", np.int64),
        ("what", np.uint64),  # measure; of a decision 0
        ("value", np.float64),  # of a decision the stratum
        ("pre", np.float64),
        ("before", np.int64),  # number of the unit's entry before this one
        ("row", np.int32),  # of the unit in its table
    ],
    align=True,
)
_COLUMNS = ("time_ms", "what", "value", "pre")

HEAD, NEXT, BOUND = range(3)
"""Cells of `meta`: number of the oldest entry; of the next one to come; the bound."""

FIRST_CAPACITY = 256


class Pending(NamedTuple):
    """The ring.

    Attributes:
        entries: of type `ENTRY`; number i lies at i modulo the length, a power of two.
        meta: see `HEAD`.
    """

    entries: Records
    meta: I64


@borrowing
def at(pending: Pending, number: Int) -> Int:
    """Return where an entry lies."""
    return number & (len(pending.entries) - 1)


@borrowing
def append(pending: Pending, row: Int, before: Int, time_ms: Int, what: np.uint64, value: float, pre: float) -> Int:
    """Add an entry for which there is room; return its number."""
    number = pending.meta[NEXT]
    entry = pending.entries[at(pending, number)]
    entry.time_ms = time_ms
    entry.what = what
    entry.value = value
    entry.pre = pre
    entry.before = before
    entry.row = row
    pending.meta[NEXT] += 1
    return number


@borrowing
def _chain(pending: Pending, keys: U64, units: Units, decisions: bool) -> None:  # noqa: FBT001  which of two rings
    """Chain all entries, whose units are given in order of arrival."""
    head = pending.meta[HEAD]
    for number in range(head, pending.meta[NEXT]):
        row = find_or_add(units, keys[number - head])
        unit = units.rows[row]
        entry = pending.entries[at(pending, number)]
        entry.row = row
        if decisions:
            entry.before = unit.decisions
            unit.decisions = number
        else:
            entry.before = unit.records
            unit.records = number
        unit.kept += 1


class Buffer:
    """Owner of a `Pending`: growth and snapshot.

    Args:
        name: of the ring, in the snapshot.
        bound: most entries, at least 1.
    """

    def __init__(self, name: str, bound: int) -> None:
        self._name = name
        self._written = 0  # how many had arrived when `changes` was last called
        self.ring = Pending(np.zeros(FIRST_CAPACITY, ENTRY), np.array([0, 0, bound], np.int64))

    def __len__(self) -> int:
        return int(self.ring.meta[NEXT] - self.ring.meta[HEAD])

    @property
    def nbytes(self) -> int:
        """Bytes of the ring."""
        return int(self.ring.entries.nbytes)

    def reserve(self, more: int) -> None:
        """Grow, by doubling, until `more` new entries fit, or the bound."""
        needed, capacity = min(len(self) + more, int(self.ring.meta[BOUND])), len(self.ring.entries)
        while capacity < needed:
            capacity *= 2
        if capacity > len(self.ring.entries):
            entries = np.zeros(capacity, ENTRY)
            numbers = self._numbers()
            entries[numbers & (capacity - 1)] = self.ring.entries[numbers & (len(self.ring.entries) - 1)]
            self.ring = Pending(entries, self.ring.meta)
            self._written = int(self.ring.meta[NEXT]) - capacity  # every place of the new ring is news

    def _numbers(self) -> I64:
        return np.arange(self.ring.meta[HEAD], self.ring.meta[NEXT])

    def _keys(self, units: Units) -> U64:
        entries = self.ring.entries[self._numbers() & (len(self.ring.entries) - 1)]
        return np.asarray(units.rows["key"][entries["row"]], np.uint64)

    def dump(self, units: Units) -> State:
        """Return a copy of the entries, in order of arrival."""
        entries = self.ring.entries[self._numbers() & (len(self.ring.entries) - 1)]
        state: State = {f"{self._name}.{column}": entries[column].copy() for column in _COLUMNS}
        return {
            **state,
            f"{self._name}.unit": self._keys(units),
            f"{self._name}.meta": np.array([0, len(self)], np.int64),
        }

    def changes(self, sweep: Sweep, units: Units) -> State:
        """Return what `load` takes, of the ring only the places that `sweep` wants (see `operators.parts`)."""
        ring = self.ring
        places, head, end = len(ring.entries), int(ring.meta[HEAD]), int(ring.meta[NEXT])
        changed = np.zeros(places, np.bool_)
        new = min(end - self._written, places)
        changed[np.arange(end - new, end) & (places - 1)] = True
        self._written = end
        keys = np.zeros(places, np.uint64)
        keys[self._numbers() & (places - 1)] = self._keys(units)
        columns: dict[str, NDArray[Any]] = {f"{self._name}.{column}": ring.entries[column] for column in _COLUMNS}
        meta = np.array([head & (places - 1), len(self)], np.int64)
        return {
            **sweep.choose(changed, **columns, **{f"{self._name}.unit": keys}),
            f"{self._name}.meta": meta,
        }

    def load(self, state: State, units: Units, *, decisions: bool) -> None:
        """Replace the entries by those that `dump` or `changes` returned, and chain them.

        Args:
            state: may hold more.
            units: to chain them in; there must be room for their units.
            decisions: whether these are decisions, or records.

        Raises:
            ValueError: it cannot be such a state.
        """
        head, count = np.asarray(state[f"{self._name}.meta"]).tolist()
        columns = {column: np.asarray(state[f"{self._name}.{column}"]) for column in (*_COLUMNS, "unit")}
        [length] = {len(column) for column in columns.values()} or {0}
        bound = int(self.ring.meta[BOUND])
        if not (0 <= count <= min(length, bound) and 0 <= head <= max(0, length - 1)):
            raise ValueError(f"expected a ring of at most {bound} entries, got {length}, {head}, {count}")
        capacity = max(FIRST_CAPACITY, 1 << max(0, length - 1).bit_length())
        numbers = np.arange(head, head + count)
        taken = numbers & (max(1, length) - 1) if count < length or head else numbers
        entries = np.zeros(capacity, ENTRY)
        for name in _COLUMNS:
            entries[name][numbers & (capacity - 1)] = columns[name][taken]
        meta = np.array([head, head + count, bound], np.int64)
        self.ring = Pending(entries, meta)
        # Of a ring that lies as it was written, later parts go on from these places; else every place is news.
        self._written = head + count if capacity == length else head + count - capacity
        _chain(self.ring, columns["unit"][taken], units, decisions)


def room_for(state: State, name: str) -> int:
    """Return how many entries a dumped ring has."""
    return int(np.asarray(state[f"{name}.meta"])[1])
