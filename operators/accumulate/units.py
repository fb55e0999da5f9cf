"""Units with something open or pending, by hash: where their records, their decisions and their open windows begin.

All of it follows from the other tables, so none of it is in a snapshot (`operators.accumulate.stage`).
"""

from typing import NamedTuple

import numpy as np

from operators.batches import I32, I64
from operators.compiled import Int, Records, borrowing
from operators.hashing import home
from operators.prefetch import prefetch

ROW = np.dtype(
    [
        ("key", np.uint64),  # hash of the unit
        ("records", np.int64),  # number of the newest pending record, -1: none
        ("decisions", np.int64),  # number of the newest pending decision, -1: none
        ("pairs", np.int32),  # row of the first open pair, -1: none; of a free row the next free one
        ("open", np.int32),  # open pairs
        ("kept", np.int32),  # pending records and decisions
    ],
    align=True,
)

USED, FREE = 0, 1
"""Cells of `meta`: rows ever in use; the first free one of these, -1: none."""

FIRST_CAPACITY = 256


class Units(NamedTuple):
    """The table.

    Attributes:
        rows: of type `ROW`, shape (capacity,).
        places: open addressing with linear probing, row + 1, 0 where empty; length a power of two.
        meta: see `USED`.
    """

    rows: Records
    places: I32
    meta: I64


@borrowing
def find(units: Units, key: Int) -> Int:
    """Return the row of a unit, or -1."""
    mask = len(units.places) - 1
    at = home(key, mask)
    while True:
        row = np.int64(units.places[at]) - 1
        if row < 0 or units.rows[row].key == key:
            return row
        at = (at + 1) & mask


@borrowing
def fetch_ahead(units: Units, key: Int) -> None:
    """Start loading the place of a unit that will be asked for in a moment."""
    prefetch(units.places, home(key, len(units.places) - 1) * 4)


@borrowing
def fetch_row_ahead(units: Units, key: Int) -> None:
    """Start loading the row of a unit whose place is here already; the first guess, which is right mostly."""
    row = np.int64(units.places[home(key, len(units.places) - 1)]) - 1
    if row >= 0:
        prefetch(units.rows, row * units.rows.itemsize)


@borrowing
def _place(units: Units, row: Int) -> None:
    mask = len(units.places) - 1
    at = home(units.rows[row].key, mask)
    while units.places[at] != 0:
        at = (at + 1) & mask
    units.places[at] = row + 1


@borrowing
def find_or_add(units: Units, key: Int) -> Int:
    """Return the row of a unit, a fresh one if it has none; there must be room."""
    row = find(units, key)
    if row >= 0:
        return row
    meta = units.meta
    row = meta[FREE]
    if row >= 0:
        meta[FREE] = units.rows[row].pairs
    else:
        row = meta[USED]
        meta[USED] += 1
    unit = units.rows[row]
    unit.key = key
    unit.records = -1
    unit.decisions = -1
    unit.pairs = -1
    unit.open = 0
    unit.kept = 0
    _place(units, row)
    return row


@borrowing
def let_go(units: Units, row: Int) -> None:
    """Free a row if nothing needs it any more; by backward shift (Knuth 6.4, algorithm R), without tombstones."""
    unit = units.rows[row]
    if unit.open != 0 or unit.kept != 0:
        return
    mask = len(units.places) - 1
    hole = home(unit.key, mask)
    while units.places[hole] != row + 1:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        other = np.int64(units.places[at]) - 1
        if other < 0:
            break
        if ((at - home(units.rows[other].key, mask)) & mask) >= ((at - hole) & mask):
            units.places[hole] = other + 1
            hole = at
    units.places[hole] = 0
    unit.pairs = units.meta[FREE]
    units.meta[FREE] = row
    unit.key = 0


@borrowing
def _place_all(units: Units) -> None:
    for row in range(units.meta[USED]):
        if units.rows[row].key != 0:
            _place(units, row)


def fresh(capacity: int = FIRST_CAPACITY) -> Units:
    """Return an empty table."""
    return _allocate(capacity, np.array([0, -1], np.int64))


def grown(units: Units, more: int) -> Units:
    """Return the table with room for so many more units: itself, or a copy of twice the size or more."""
    used, capacity = int(units.meta[USED]), len(units.rows)
    if used + more <= capacity:
        return units
    while capacity < used + more:
        capacity *= 2
    larger = _allocate(capacity, units.meta)
    larger.rows[:used] = units.rows[:used]
    _place_all(larger)
    return larger


def _allocate(capacity: int, meta: I64) -> Units:
    slots = 1 << (2 * capacity - 1).bit_length()  # at most half full
    return Units(np.zeros(capacity, ROW), np.zeros(slots, np.int32), meta)
