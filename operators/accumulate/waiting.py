"""Rows that lie ahead of stream time by more than the greatest gap: they wait until it has come to them.

Where few units come, the first records after a quiet night are such. Stream time goes on once three units have
confirmed the jump, a record from nearer by has come, or a tick; then they count, in the order of time, before whatever
let time go on. A row of a clock that is wrong waits likewise, and moves nothing. When more wait than fit, the
decision that came first goes, or else the row that did.
"""

from typing import NamedTuple

import numpy as np

from operators.accumulate.observed import TIERED
from operators.batches import F64, I64, U64
from operators.compiled import Int, borrowing
from operators.state import State

MOST = 1_024
"""Rows that may wait."""


class Row(NamedTuple):
    """A row of `operators.accumulate.observed.Observed`."""

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
        meta: how many there are, shape (1,).
    """

    whole: I64
    keys: U64
    numbers: F64
    meta: I64


def nothing() -> Waiting:
    """Return an empty one."""
    return Waiting(
        np.zeros((MOST, 4), np.int64), np.zeros((MOST, 3), np.uint64), np.zeros((MOST, 2)), np.zeros(1, np.int64)
    )


@borrowing
def drop(waiting: Waiting, at: Int) -> None:
    """Let one go."""
    last = waiting.meta[0] - 1
    for k in range(at, last):
        for j in range(4):
            waiting.whole[k, j] = waiting.whole[k + 1, j]
        for j in range(3):
            waiting.keys[k, j] = waiting.keys[k + 1, j]
        for j in range(2):
            waiting.numbers[k, j] = waiting.numbers[k + 1, j]
    waiting.meta[0] = last


@borrowing
def keep(waiting: Waiting, row: Row) -> bool:
    """Let one wait; return whether another had to go for it."""
    full = waiting.meta[0] == MOST
    if full:  # decisions first: they are many, and confirm no jump
        out = np.int64(0)
        while out < MOST and waiting.whole[out, 0] != TIERED:
            out += 1
        drop(waiting, out if out < MOST else np.int64(0))
    at = waiting.meta[0]
    waiting.whole[at, 0], waiting.whole[at, 1] = row.kind, row.time_ms
    waiting.whole[at, 2], waiting.whole[at, 3] = row.arm, row.phase
    waiting.keys[at, 0], waiting.keys[at, 1], waiting.keys[at, 2] = row.unit, row.id_hash, row.what
    waiting.numbers[at, 0], waiting.numbers[at, 1] = row.value, row.pre
    waiting.meta[0] = at + 1
    return bool(full)


@borrowing
def earliest(waiting: Waiting, until_ms: Int) -> Int:
    """Return the place of the earliest row that is no later than that, the first to come of equal ones; -1: none is."""
    found = np.int64(-1)
    for k in range(waiting.meta[0]):
        at_ms = waiting.whole[k, 1]
        if at_ms <= until_ms and (found < 0 or at_ms < waiting.whole[found, 1]):
            found = np.int64(k)
    return found


@borrowing
def row_at(waiting: Waiting, at: Int) -> Row:
    """Return one."""
    whole, keys, numbers = waiting.whole[at], waiting.keys[at], waiting.numbers[at]
    return Row(whole[0], keys[0], whole[1], keys[1], keys[2], whole[2], whole[3], numbers[0], numbers[1])


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
    return waiting
