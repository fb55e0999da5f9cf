"""Rows that lie ahead of stream time by more than the greatest gap: they wait until it has come to them.

Where few users come, the first records after a quiet night are such. Stream time goes on once three users have
confirmed the jump, a record from nearer by has come, or a tick; then they count, in the order of time, before whatever
let time go on. A row of a clock that is wrong waits likewise, and moves nothing. When more wait than fit, the first
to come of a kind that the caller names goes, or else the first of all.

A loop over rows asks `judge` about each of them, counts what `next_due` hands out up to the time that was confirmed,
then either lets the row wait (`keep`), or counts what is due before it and the row itself.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, U64
from operators.compiled import Int, borrowing
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, within_reach
from operators.state import State

MOST = 1_024
"""Rows that may wait."""


class Row(NamedTuple):
    """One row. What its numbers mean is the caller's own; only `kind`, `unit` and `time_ms` mean something here.

    Attributes:
        kind: what it is; see `keep`.
        unit: who confirms a jump of time.
        time_ms: when, epoch milliseconds.
        id_hash: for duplicates.
        what: a key.
        arm: a whole number.
        phase: likewise.
        value: a number.
        pre: likewise.
    """

    kind: Int
    unit: np.uint64
    time_ms: Int
    id_hash: np.uint64
    what: np.uint64
    arm: Int
    phase: Int
    value: float
    pre: float


class Waiting(NamedTuple):
    """Rows in the order in which they came.

    Attributes:
        whole: kind, time_ms, arm and phase, shape (MOST, 4).
        keys: unit, id_hash and what, shape (MOST, 3).
        numbers: value and pre, shape (MOST, 2).
        meta: how many there are, and the earliest time of any, shape (2,).
    """

    whole: I64
    keys: U64
    numbers: F64
    meta: I64


def nothing() -> Waiting:
    """Return an empty one."""
    return Waiting(
        np.zeros((MOST, 4), np.int64), np.zeros((MOST, 3), np.uint64), np.zeros((MOST, 2)), np.zeros(2, np.int64)
    )


@borrowing
def _look_up(waiting: Waiting) -> None:
    """Look for the earliest time of any."""
    if waiting.meta[0] > 0:
        waiting.meta[1] = waiting.whole[0, 1]
    for k in range(1, waiting.meta[0]):
        waiting.meta[1] = min(waiting.meta[1], waiting.whole[k, 1])


@borrowing
def _drop(waiting: Waiting, at: Int) -> None:
    """Let one go."""
    last, at_ms = waiting.meta[0] - 1, waiting.whole[at, 1]
    for k in range(at, last):
        for j in range(4):
            waiting.whole[k, j] = waiting.whole[k + 1, j]
        for j in range(3):
            waiting.keys[k, j] = waiting.keys[k + 1, j]
        for j in range(2):
            waiting.numbers[k, j] = waiting.numbers[k + 1, j]
    waiting.meta[0] = last
    if at_ms == waiting.meta[1]:
        _look_up(waiting)


@borrowing
def keep(waiting: Waiting, row: Row, first_out: Int) -> bool:
    """Let one wait; return whether another had to go for it: of the kind `first_out`, if there is one."""
    full = waiting.meta[0] == MOST
    if full:
        out = np.int64(0)
        while out < MOST and waiting.whole[out, 0] != first_out:
            out += 1
        _drop(waiting, out if out < MOST else np.int64(0))
    at = waiting.meta[0]
    waiting.whole[at, 0], waiting.whole[at, 1] = row.kind, row.time_ms
    waiting.whole[at, 2], waiting.whole[at, 3] = row.arm, row.phase
    waiting.keys[at, 0], waiting.keys[at, 1], waiting.keys[at, 2] = row.unit, row.id_hash, row.what
    waiting.numbers[at, 0], waiting.numbers[at, 1] = row.value, row.pre
    waiting.meta[0] = at + 1
    waiting.meta[1] = row.time_ms if at == 0 else min(waiting.meta[1], row.time_ms)
    return bool(full)


@borrowing
def _earliest(waiting: Waiting, until_ms: Int) -> Int:
    """Return the place of the earliest row that is no later than that, the first to come of equal ones; -1: none is."""
    found = np.int64(-1)
    if until_ms < waiting.meta[1]:  # most rows are: those that wait lie hours ahead
        return found
    for k in range(waiting.meta[0]):
        at_ms = waiting.whole[k, 1]
        if at_ms <= until_ms and (found < 0 or at_ms < waiting.whole[found, 1]):
            found = np.int64(k)
    return found


@borrowing
def _row_at(waiting: Waiting, at: Int) -> Row:
    whole, keys, numbers = waiting.whole[at], waiting.keys[at], waiting.numbers[at]
    return Row(whole[0], keys[0], whole[1], keys[1], keys[2], whole[2], whole[3], numbers[0], numbers[1])


@borrowing
def judge(sequence: Sequence, unit: np.uint64, time_ms: Int, gap_ms: Int) -> tuple[bool, Int]:
    """Return whether a row lies beyond the gap, not confirmed by others, and up to when others confirmed it.

    Stream time stays, so that what waits can count before it is there: where the second is later, take what is due
    until then (`next_due`, told), and set stream time to it.
    """
    clock = sequence.clock
    if clock[KNOWN] == 0:
        return False, clock[TIME_MS]
    was_ms = clock[TIME_MS]
    ahead = not within_reach(sequence, unit, time_ms, gap_ms)
    to_ms = clock[TIME_MS]
    clock[TIME_MS] = was_ms
    return ahead, to_ms


@borrowing
def next_due(
    waiting: Waiting,
    sequence: Sequence,
    until_ms: Int,
    told: bool,  # noqa: FBT001  a kernel takes scalars
) -> tuple[bool, Row]:
    """Hand out the earliest row that waits for a time up to this one, if there is one.

    Args:
        waiting: where it no longer is then.
        sequence: whose stream time the row moves, if `told`.
        until_ms: epoch milliseconds.
        told: whether nobody need confirm it any more.

    Returns:
        Whether there was one, and it.
    """
    place = _earliest(waiting, until_ms) if waiting.meta[0] > 0 else np.int64(-1)
    if place < 0:
        nobody, nothing_ = np.uint64(0), np.int64(0)
        return False, Row(nothing_, nobody, nothing_, nobody, nobody, nothing_, nothing_, 0.0, 0.0)
    row = _row_at(waiting, place)
    _drop(waiting, place)
    if told:
        sequence.clock[TIME_MS] = max(sequence.clock[TIME_MS], row.time_ms)
    return True, row


def dump(waiting: Waiting) -> State:
    """Return a copy of the rows."""
    used = int(waiting.meta[0])
    return {f"waiting.{name}": getattr(waiting, name)[:used].copy() for name in ("whole", "keys", "numbers")}


def load(state: State) -> Waiting:
    """Return what was dumped.

    Raises:
        ValueError: it cannot be such a state.
    """
    waiting = nothing()
    used = len(np.asarray(state["waiting.whole"]))
    for name in ("whole", "keys", "numbers"):
        rows = np.asarray(state[f"waiting.{name}"])
        if len(rows) != used or used > MOST:
            raise ValueError(f"expected {used} rows, at most {MOST}, got {len(rows)} - at waiting.{name}")
        getattr(waiting, name)[:used] = rows
    waiting.meta[0] = used
    _look_up(waiting)
    return waiting
