"""The rows of a partition, one after the other: whether each counts, and what it changes.

Stream time, lateness and duplicates are those of `operators.featurize.sequence`. A row that lies ahead of stream time
by more than the greatest gap waits, as in `operators.waiting`, until three users have confirmed the jump or
stream time has come to it. A row of nobody, who has neither user nor session, confirms by its id: else a partition
where nobody is told could never go on after a quiet night.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import AHEAD, DUPLICATE, F64, I64, LATE, U8, U64, Bool
from operators.compiled import Int, borrowing
from operators.entities import Table, fetch_ahead, first_guess, touch
from operators.featurize.dedup import Seen, forget_expired, holds, remember
from operators.featurize.dedup import fetch_ahead as fetch_id
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, advance
from operators.noticed import IMPRESSION, PURCHASE
from operators.prefetch import prefetch
from operators.signals.audience import Pairs, pair_key
from operators.signals.audience import count as count_audience
from operators.signals.config import PANES
from operators.signals.items import Items, count, reset
from operators.waiting import Row, Waiting, judge, keep, next_due

REASONS = ("late", "duplicate", "ahead")
"""Why a row does not count, in the order of `World.refused`; one ahead is counted there only if it had to go."""

LATENESS, GAP, PERIOD = range(3)
"""Cells of `Plan.limits`, milliseconds."""

_FAR, _NEAR = 8, 4  # rows between asking for a place, or for what is kept of an item, and using it


class Plan(NamedTuple):
    """The configuration, for compiled loops.

    Attributes:
        panes_ms: length of each window's panes, shape (windows,).
        limits: see `LATENESS`, shape (3,).
        worth: what a click at each place counts, shape (places,).
        half_life_ms: of what fades.
    """

    panes_ms: I64
    limits: I64
    worth: F64
    half_life_ms: float


class World(NamedTuple):
    """All that the loop changes, but for the sequence and the ids.

    Attributes:
        plan: the configuration.
        table: of items.
        items: what is kept of them.
        pair_table: of pairs of item and user.
        pairs: what is kept of them.
        waiting: rows that lie ahead.
        refused: see `REASONS`, shape (3,).
        lives: items that ever came, shape (1,).
    """

    plan: Plan
    table: Table
    items: Items
    pair_table: Table
    pairs: Pairs
    waiting: Waiting
    refused: I64
    lives: I64


@borrowing
def _confirms(row: Row) -> np.uint64:
    """Return who confirms a jump of time by this row."""
    return row.unit if row.unit != 0 else row.id_hash


@borrowing
def _count(world: World, row: Row, stream_ms: Int) -> None:
    """Count a row that is in time. Of `Row` `what` is the item, `arm` the kind, `phase` the place, `pre` the risk."""
    if not IMPRESSION <= row.arm <= PURCHASE:
        return
    plan, items = world.plan, world.items
    at, fresh = touch(world.table, row.what, stream_ms)
    at += 1
    if fresh:
        world.lives[0] += 1
        reset(items, at, world.lives[0])
    weight = min(row.value, 1.0) if row.value > 0.0 else 0.0
    worth = 1.0
    if row.phase >= 0:
        worth = plan.worth[min(row.phase, len(plan.worth) - 1)]
    count(items, at, plan.panes_ms, plan.half_life_ms, row.arm, row.time_ms, weight, worth, row.pre)
    count(items, 0, plan.panes_ms, plan.half_life_ms, row.arm, row.time_ms, weight, worth, row.pre)
    if row.arm != IMPRESSION:
        key, period = pair_key(row.what, row.unit), row.time_ms // plan.limits[PERIOD]
        count_audience(items, at, world.pair_table, world.pairs, key, period, weight, stream_ms)


@borrowing
def _take(world: World, sequence: Sequence, seen: Seen, row: Row) -> Int:
    """Count a row that is not ahead; return its flag."""
    clock, limits = sequence.clock, world.plan.limits
    forget_expired(seen, clock[TIME_MS])
    if row.id_hash != 0 and holds(seen, row.id_hash):
        world.refused[1] += 1
        return DUPLICATE
    if clock[KNOWN] == 0:
        clock[KNOWN], clock[TIME_MS] = 1, row.time_ms
    if row.time_ms < clock[TIME_MS] - limits[LATENESS]:
        world.refused[0] += 1
        return LATE
    advance(sequence, _confirms(row), row.time_ms, limits[GAP])
    if row.id_hash != 0:
        forget_expired(seen, clock[TIME_MS])  # before the bound is asked: what has expired is not evicted
        remember(seen, row.id_hash, clock[TIME_MS])
    _count(world, row, clock[TIME_MS])
    return 0


@borrowing
def _take_due(
    world: World,
    sequence: Sequence,
    seen: Seen,
    until_ms: Int,
    told: bool,  # noqa: FBT001  a kernel takes scalars
) -> None:
    """Count what waits for a time up to this one; `told`: nobody need confirm it any more."""
    found, row = next_due(world.waiting, sequence, until_ms, told)
    while found:
        _take(world, sequence, seen, row)
        found, row = next_due(world.waiting, sequence, until_ms, told)


@borrowing
def fetch_rows(world: World, item: np.uint64, time_ms: Int) -> None:
    """Start loading what is kept of an item that will come in a moment: the first guess, which is right mostly."""
    items, row = world.items, first_guess(world.table, item)
    if row < 0:
        return
    line = items.decayed.shape[1] * 8  # bytes of the sums of a pane
    prefetch(world.table.keys, row * 8)
    prefetch(items.decayed, (row + 1) * line)
    windows = len(world.plan.panes_ms)
    for w in range(windows):
        pane = time_ms // world.plan.panes_ms[w]
        prefetch(items.sums, (((row + 1) * windows + w) * PANES + pane % PANES) * line)


@borrowing
def run(
    world: World,
    sequence: Sequence,
    seen: Seen,
    kind: U8,
    item: U64,
    user: U64,
    time_ms: I64,
    id_hash: U64,
    position: I64,
    weight: F64,
    risky: Bool,
    flags: U8,
) -> None:
    """Count a batch of rows, and write the flag of each."""
    clock, limits = sequence.clock, world.plan.limits
    for i in range(len(kind)):
        if i + _FAR < len(kind):
            fetch_id(seen, id_hash[i + _FAR])
            fetch_ahead(world.table, item[i + _FAR])
            fetch_rows(world, item[i + _NEAR], time_ms[i + _NEAR])
        row = Row(
            np.int64(0),
            user[i],
            time_ms[i],
            id_hash[i],
            item[i],
            np.int64(kind[i]),
            position[i],
            weight[i],
            1.0 if risky[i] else 0.0,
        )
        ahead, to_ms = judge(sequence, _confirms(row), row.time_ms, limits[GAP])
        if to_ms > clock[TIME_MS]:
            _take_due(world, sequence, seen, to_ms, True)
            clock[TIME_MS] = to_ms
        if ahead:
            flags[i] = AHEAD
            if keep(world.waiting, row, -1):
                world.refused[2] += 1
            continue
        if world.waiting.meta[0] > 0:
            _take_due(world, sequence, seen, row.time_ms, False)
        flags[i] = _take(world, sequence, seen, row)
