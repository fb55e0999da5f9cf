"""Pairs of unit and experiment: each unit that was exposed, once an experiment, while its window is open and after.

While the window is open a pair has a block of numbers (`operators.accumulate.pool`). Afterwards only the pair itself is
kept, so that the unit never counts again.

At the bound units are sampled. What decides is a hash of the unit alone, so all experiments and all arms lose the same
units, and those that stay say of arms what all would have said.
"""

from typing import NamedTuple

import numpy as np

from operators.accumulate.units import Units, find_or_add
from operators.batches import I32, I64, Bool
from operators.compiled import Int, Records, borrowing
from operators.hashing import GOLDEN
from operators.prefetch import prefetch

ROW = np.dtype(
    [
        ("unit", np.uint64),  # hash of the unit
        ("first_ms", np.int64),  # first exposure; of a free row the next free one
        ("experiment", np.int32),  # slot
        ("cell", np.int32),  # within the experiment: (phase, stratum, arm)
        ("block", np.int32),  # first row of the numbers
        ("after", np.int32),  # next open pair of the unit, -1: none
        ("before", np.int32),  # the one before it
        ("state", np.uint8),  # see `VOID`
        ("several", np.uint8),  # whether it was shown more than one variation
    ],
    align=True,
)
COLUMNS = ("unit", "first_ms", "experiment", "cell", "block", "state", "several")
"""What is in a snapshot: the links of open pairs follow from the rest."""

VOID, OPEN, OVER = 0, 1, 2
"""Values of `state`."""

USED, FREE, HELD, MAX, THRESHOLD = range(5)
"""Cells of `meta`: rows ever in use; first free one, -1: none; rows that hold a pair; the bound; the sample's end."""

EVERYONE = 1 << 62
"""The threshold below which every unit's hash is."""

FIRST_CAPACITY = 256
_ONE, _TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # of SplitMix64 (Steele, Lea, Flood 2014)


class Pairs(NamedTuple):
    """The table.

    Attributes:
        rows: of type `ROW`, shape (capacity,).
        news: whether a row changed since it was written last, shape (capacity,).
        places: open addressing with linear probing, row + 1, 0 where empty; length a power of two.
        meta: see `USED`.
    """

    rows: Records
    news: Bool
    places: I32
    meta: I64


@borrowing
def _mixed(key: np.uint64) -> np.uint64:
    key = (key ^ (key >> np.uint64(30))) * _ONE
    key = (key ^ (key >> np.uint64(27))) * _TWO
    return key ^ (key >> np.uint64(31))


@borrowing
def lot(unit: np.uint64) -> Int:
    """Return where a unit stands in the sample, 0 to `EVERYONE` - 1, whatever its variation and partition."""
    return np.int64(_mixed(unit ^ GOLDEN) >> np.uint64(2))


@borrowing
def _home(unit: np.uint64, experiment: Int, mask: Int) -> Int:
    return np.int64(_mixed(unit + np.uint64(experiment + 1) * GOLDEN) >> np.uint64(1)) & mask


@borrowing
def find(pairs: Pairs, unit: np.uint64, experiment: Int) -> Int:
    """Return the row of a pair, or -1."""
    mask = len(pairs.places) - 1
    at = _home(unit, experiment, mask)
    while True:
        row = np.int64(pairs.places[at]) - 1
        if row < 0 or (pairs.rows[row].unit == unit and pairs.rows[row].experiment == experiment):
            return row
        at = (at + 1) & mask


@borrowing
def fetch_ahead(pairs: Pairs, row: Int) -> None:
    """Start loading a row, if there is one."""
    if row >= 0:
        prefetch(pairs.rows, row * pairs.rows.itemsize)


@borrowing
def _place(pairs: Pairs, row: Int) -> None:
    mask = len(pairs.places) - 1
    at = _home(pairs.rows[row].unit, pairs.rows[row].experiment, mask)
    while pairs.places[at] != 0:
        at = (at + 1) & mask
    pairs.places[at] = row + 1


@borrowing
def add(pairs: Pairs, unit: np.uint64, experiment: Int) -> Int:
    """Return a row for a new pair, for which there is room; the caller fills in the rest."""
    meta = pairs.meta
    row = meta[FREE]
    if row >= 0:
        meta[FREE] = pairs.rows[row].first_ms
    else:
        row = meta[USED]
        meta[USED] += 1
    meta[HELD] += 1
    pairs.rows[row].unit = unit
    pairs.rows[row].experiment = experiment
    pairs.news[row] = True
    _place(pairs, row)
    return row


@borrowing
def remove(pairs: Pairs, row: Int) -> None:
    """Free the row of a pair that is in no list of open ones; by backward shift, as in `operators.accumulate.units`."""
    mask = len(pairs.places) - 1
    hole = _home(pairs.rows[row].unit, pairs.rows[row].experiment, mask)
    while pairs.places[hole] != row + 1:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        other = np.int64(pairs.places[at]) - 1
        if other < 0:
            break
        home = _home(pairs.rows[other].unit, pairs.rows[other].experiment, mask)
        if ((at - home) & mask) >= ((at - hole) & mask):
            pairs.places[hole] = other + 1
            hole = at
    pairs.places[hole] = 0
    pair = pairs.rows[row]
    pair.unit = 0
    pair.experiment = 0
    pair.cell = 0
    pair.block = 0
    pair.state = VOID
    pair.several = 0
    pair.first_ms = pairs.meta[FREE]
    pairs.meta[FREE] = row
    pairs.meta[HELD] -= 1
    pairs.news[row] = True


@borrowing
def link(pairs: Pairs, units: Units, row: Int, of: Int) -> None:
    """Put a pair into the list of its unit's open ones."""
    unit, pair = units.rows[of], pairs.rows[row]
    pair.before = -1
    pair.after = unit.pairs
    if unit.pairs >= 0:
        pairs.rows[unit.pairs].before = row
    unit.pairs = row
    unit.open += 1


@borrowing
def unlink(pairs: Pairs, units: Units, row: Int, of: Int) -> None:
    """Take a pair out of the list of its unit's open ones."""
    unit, pair = units.rows[of], pairs.rows[row]
    if pair.before >= 0:
        pairs.rows[pair.before].after = pair.after
    else:
        unit.pairs = pair.after
    if pair.after >= 0:
        pairs.rows[pair.after].before = pair.before
    unit.open -= 1


@borrowing
def place_all(pairs: Pairs) -> None:
    """Index all pairs of a fresh table."""
    for row in range(pairs.meta[USED]):
        if pairs.rows[row].state != VOID:
            _place(pairs, row)


@borrowing
def link_all(pairs: Pairs, units: Units) -> None:
    """Put all open pairs of a fresh table into their units' lists, for which there is room."""
    for row in range(pairs.meta[USED]):
        if pairs.rows[row].state == OPEN:
            link(pairs, units, row, find_or_add(units, pairs.rows[row].unit))


def fresh(bound: int) -> Pairs:
    """Return an empty table that holds so many pairs at most."""
    return allocate(min(FIRST_CAPACITY, bound), np.array([0, -1, 0, bound, EVERYONE], np.int64))


def grown(pairs: Pairs, more: int) -> Pairs:
    """Return the table with room for so many more pairs, or for all that the bound allows: itself, or a copy."""
    used, capacity, bound = int(pairs.meta[USED]), len(pairs.rows), int(pairs.meta[MAX])
    if min(used + more, bound) <= capacity:
        return pairs
    while capacity < used + more:
        capacity *= 2
    larger = allocate(min(capacity, bound), pairs.meta)
    larger.rows[:used] = pairs.rows[:used]
    larger.news[:used] = pairs.news[:used]
    place_all(larger)
    return larger


def allocate(capacity: int, meta: I64) -> Pairs:
    """Return a table of so many rows, none of them placed."""
    slots = 1 << (2 * capacity - 1).bit_length()  # at most half full
    return Pairs(np.zeros(capacity, ROW), np.zeros(capacity, np.bool_), np.zeros(slots, np.int32), meta)
