"""Entropy, distinct count and novelty from a user's last 24 events, exactly.

The history is a ring of event times in ascending order (events out of order are inserted where they belong) with, per
event and attribute, the slot of its value; whether its counterparty was new, and a fingerprint of its amount, which
`rhythm` and `habits` read. A slot holds the value's 32-bit fingerprint; two values of one user collide
with probability below 24 / 2^32.

Entropy (Shannon, in nats, of the empirical distribution) and distinct count are over those of the last 24 events with
time > now - W; absent values are not counted. They are worked out from the slots at each event, in one walk from newest
to oldest that all windows share: 24 steps are cheaper than keeping a count per slot and window, take no state and
cannot drift. The sum of c * ln(c) is a fixed-point integer, so the order of events does not matter to the last bit.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from operators.batches import ATTRIBUTES, F64, I64, U8, U64
from operators.compiled import Int, borrowing
from operators.featurize.catalogue import HISTORY, NOVELTIES
from operators.featurize.rows import ABSENT, AMOUNTS, EVENTS, HEAD, NEW, SLOTS, Rows

N_ATTRIBUTES = len(ATTRIBUTES)
N_NOVELTIES = len(NOVELTIES)  # the first of the attributes
COUNTERPARTY = ATTRIBUTES.index("counterparty")
_SCALE = 2.0**40  # 24 ln 24 < 2^7: a sum takes 47 bits, one unit is 1e-12 nats

# One i64 per attribute adds up all there is to know: bits 0 to 47 the fixed-point sum of c * ln(c), bits 48 to 53 the
# number of values, from bit 54 on the number of distinct ones.
_PRESENT, DISTINCT = 48, 54
SUM_MASK = (1 << _PRESENT) - 1
UNIT = 1.0 / _SCALE  # of the sum


def _steps() -> I64:
    """Return what the packed sum grows by when a value's count goes from c to c + 1, by c; 0 for the absent slot's."""
    sums = [round(count * math.log(count) * _SCALE) if count else 0 for count in range(HISTORY + 1)]
    steps = [after - before + (1 << _PRESENT) for before, after in pairwise(sums)]
    steps[0] += 1 << DISTINCT
    return np.array(steps + [0] * HISTORY, np.int64)


STEPS = _steps()
LN = np.array([0.0] + [math.log(count) for count in range(1, HISTORY + 1)])
PER_VALUE = np.array([0.0] + [1.0 / (_SCALE * count) for count in range(1, HISTORY + 1)])


class Scratch(NamedTuple):
    """Buffers for one event at a time: slots (4,), counts (4, 25), sums (4,), events within each window (W,).

    `octaves`, shape (64,), is for the gaps (`rhythm`).
    """

    slots: I64
    counts: U8
    sums: I64
    within: I64
    octaves: U8


def new_scratch(windows: int) -> Scratch:
    """Return buffers for `remember_event` and `diversity`; their content never outlives an event."""
    counts = np.empty((N_ATTRIBUTES, HISTORY + 1), np.uint8)
    within, octaves = np.empty(windows, np.int64), np.empty(64, np.uint8)
    return Scratch(np.empty(4, np.int64), counts, np.empty(4, np.int64), within, octaves)


@borrowing
def wrap(at: Int) -> Int:
    """Return a place of the ring that is at most one turn too far."""
    return at if at < HISTORY else at - HISTORY


@borrowing
def fingerprint(value: np.uint64) -> np.uint32:
    """Return 32 of a value's bits, never 0."""
    folded = np.uint32((value ^ (value >> np.uint64(32))) & np.uint64(0xFFFFFFFF))
    return folded if folded != 0 else np.uint32(1)  # 0 marks a free slot


@borrowing
def _find_slots(rows: Rows, row: Int, attributes: U64, i: Int, slots: I64) -> None:
    """Write the slot of each value of event i: ABSENT without a value, -1 if the history does not hold it."""
    for a in range(N_ATTRIBUTES):
        slots[a] = ABSENT
        if attributes[i, a] != 0:
            wanted = fingerprint(attributes[i, a])
            found = np.uint32(0)
            for s in range(HISTORY):  # no early exit: at most one slot is equal, and without branches this is SIMD
                found += np.uint32(s + 1) if rows.u32[row, a * HISTORY + s] == wanted else np.uint32(0)
            slots[a] = np.int64(found) - 1


@borrowing
def _drop_oldest(rows: Rows, row: Int, slots: I64) -> None:
    """Drop the oldest of a full history, and the values only it held, unless the new event holds them again."""
    head = np.int64(rows.u8[row, HEAD])
    for a in range(N_ATTRIBUTES):
        slot = rows.u8[row, SLOTS + a * HISTORY + head]
        if slot == ABSENT or slot == slots[a]:
            continue
        holders = 0
        for k in range(HISTORY):  # no early exit, as above
            holders += 1 if rows.u8[row, SLOTS + a * HISTORY + k] == slot else 0
        if holders == 1:
            rows.u32[row, a * HISTORY + slot] = 0
    rows.u8[row, HEAD] = wrap(head + 1)
    rows.u8[row, EVENTS] = HISTORY - 1


@borrowing
def _insert(
    rows: Rows, row: Int, time_ms: Int, attributes: U64, i: Int, slots: I64, new: Int, amount: np.uint32
) -> None:
    """Put the event where its time belongs; after those of the same time."""
    for a in range(N_ATTRIBUTES):
        if slots[a] < 0:
            s = 0
            while rows.u32[row, a * HISTORY + s] != 0:  # 24 slots, 23 other events: one is free
                s += 1
            rows.u32[row, a * HISTORY + s] = fingerprint(attributes[i, a])
            slots[a] = s
    head, k = np.int64(rows.u8[row, HEAD]), np.int64(rows.u8[row, EVENTS])
    rows.u8[row, EVENTS] = k + 1
    while k > 0 and rows.i64[row, wrap(head + k - 1)] > time_ms:
        source, target = wrap(head + k - 1), wrap(head + k)
        rows.i64[row, target] = rows.i64[row, source]
        rows.u32[row, AMOUNTS + target] = rows.u32[row, AMOUNTS + source]
        for a in range(N_ATTRIBUTES):
            rows.u8[row, SLOTS + a * HISTORY + target] = rows.u8[row, SLOTS + a * HISTORY + source]
        rows.u8[row, NEW + target] = rows.u8[row, NEW + source]
        k -= 1
    at = wrap(head + k)
    rows.i64[row, at] = time_ms
    rows.u32[row, AMOUNTS + at] = amount
    rows.u8[row, NEW + at] = new
    for a in range(N_ATTRIBUTES):
        rows.u8[row, SLOTS + a * HISTORY + at] = slots[a]


@borrowing
def remember_event(
    rows: Rows,
    row: Int,
    time_ms: Int,
    attributes: U64,
    amount: np.uint32,
    scratch: Scratch,
    raw: F64,
    i: Int,
    novelties: Int,
) -> None:
    """Write the novelties of event i from column `novelties` of `raw` on, then add the event to its user's history.

    `amount` is the fingerprint of its amount, 0 if it has none.

    An event older than all 24 of a full history is not kept. `scratch` is as `new_scratch` gives it.
    """
    slots = scratch.slots
    _find_slots(rows, row, attributes, i, slots)
    known = rows.u8[row, EVENTS] > 0
    was_unknown = slots[COUNTERPARTY] < 0  # before a slot is found for it
    for a in range(N_NOVELTIES):
        raw[i, novelties + a] = 1.0 if known and slots[a] < 0 else 0.0
    if rows.u8[row, EVENTS] == HISTORY:
        if time_ms < rows.i64[row, np.int64(rows.u8[row, HEAD])]:
            return
        _drop_oldest(rows, row, slots)
    new = 1 if known and was_unknown else 0
    _insert(rows, row, time_ms, attributes, i, slots, new, amount)


@borrowing
def diversity(rows: Rows, row: Int, windows_ms: I64, scratch: Scratch, raw: F64, i: Int, first: Int) -> None:
    """Write entropies from column `first` of `raw[i]` on, then distinct counts: attribute by attribute, by window.

    Args:
        rows: rows of all users.
        row: row of the event's user, the event included.
        windows_ms: ascending, shape (W,).
        scratch: as `new_scratch` gives it.
        raw: shape (n, features).
        i: the event.
        first: column of the first entropy.
    """
    counts, sums, within = scratch.counts, scratch.sums, scratch.within
    head, events = np.int64(rows.u8[row, HEAD]), np.int64(rows.u8[row, EVENTS])
    windows = len(windows_ms)
    now = rows.i64[row, wrap(head + events - 1)]
    taken = 0
    for w in range(windows):
        while taken < events and rows.i64[row, wrap(head + events - 1 - taken)] > now - windows_ms[w]:
            taken += 1
        within[w] = taken

    # Slots count from 0; the absent slot from HISTORY, where the steps are 0.
    counts[:] = 0
    for a in range(N_ATTRIBUTES):
        counts[a, ABSENT] = HISTORY
    sums[:] = 0
    at = wrap(head + events - 1)
    taken = 0
    for w in range(windows):
        while taken < within[w]:
            for a in range(N_ATTRIBUTES):
                slot = rows.u8[row, SLOTS + a * HISTORY + at]
                count = counts[a, slot]
                counts[a, slot] = count + 1
                sums[a] += STEPS[count]
            at = at - 1 if at > 0 else HISTORY - 1
            taken += 1
        for a in range(N_ATTRIBUTES):
            total = sums[a] & SUM_MASK
            present = (sums[a] >> _PRESENT) & 63
            distinct = sums[a] >> DISTINCT
            entropy = LN[present] - total * PER_VALUE[present] if distinct > 1 else 0.0
            raw[i, first + a * windows + w] = entropy
            raw[i, first + (N_ATTRIBUTES + a) * windows + w] = distinct
