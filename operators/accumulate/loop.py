"""The rows of a partition, one after the other: whether each counts, and what it changes."""

import numpy as np

from experiments.sums import GREATEST
from operators.accumulate.config import (
    AFTER_END,
    AHEAD,
    BEFORE_START,
    DUPLICATE,
    LATE,
    NO_EXPERIMENT,
    NO_PHASE,
    NO_VALUE,
    NO_VARIATION,
    PENDING,
    SAMPLED,
    TOO_LARGE,
)
from operators.accumulate.counting import STRATA, World, expose, restratify, settle_due
from operators.accumulate.ledger import Ledger, refuse, tell_all
from operators.accumulate.observed import EXPOSED, MEASURED, TICKED, TIERED
from operators.accumulate.pairs import OPEN, OVER
from operators.accumulate.pairs import find as find_pair
from operators.accumulate.pending import BOUND, HEAD, NEXT, Pending, append, at
from operators.accumulate.plan import GAP, KEEP, LATENESS, Plan, find_experiment, find_measure
from operators.accumulate.units import fetch_ahead, fetch_row_ahead, find, find_or_add, let_go
from operators.accumulate.window import NOW, TOO_LATE, apply, count_risk
from operators.batches import F64, I64, U8, U64
from operators.compiled import Int, borrowing
from operators.entities import touch as touch_tier
from operators.featurize.dedup import Seen, forget_expired, holds, remember
from operators.featurize.dedup import fetch_ahead as fetch_id
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, advance
from operators.waiting import Row, judge, keep, next_due

PER_UNIT = 1_024
"""Most records, and decisions, that are pending of one unit: no exposure has to look at more."""

_FAR, _NEAR = 8, 4  # rows between asking for a place, or a row of a table, and using it


@borrowing
def _drop_record(world: World) -> None:
    """Drop the oldest record."""
    entry = world.records.entries[at(world.records, world.records.meta[HEAD])]
    world.records.meta[HEAD] += 1
    world.units.rows[entry.row].kept -= 1
    let_go(world.units, entry.row)


@borrowing
def _drop_decision(world: World, stream_ms: Int) -> None:
    """Drop the oldest decision; the newest of each unit is remembered."""
    entry = world.decisions.entries[at(world.decisions, world.decisions.meta[HEAD])]
    world.decisions.meta[HEAD] += 1
    _remember_tier(world, world.units.rows[entry.row].key, entry.time_ms, np.int64(entry.value), stream_ms)
    world.units.rows[entry.row].kept -= 1
    let_go(world.units, entry.row)


@borrowing
def _remember_tier(world: World, unit: np.uint64, time_ms: Int, stratum: Int, stream_ms: Int) -> None:
    tiers = world.tiers
    row, fresh = touch_tier(tiers.table, unit, stream_ms)
    if fresh or time_ms > tiers.time_ms[row] or (time_ms == tiers.time_ms[row] and stratum > tiers.stratum[row]):
        tiers.time_ms[row] = time_ms
        tiers.stratum[row] = stratum
        tiers.news[row] = True


@borrowing
def _expired(pending: Pending, least_ms: Int) -> bool:
    """Return whether the oldest entry is older than that."""
    head = pending.meta[HEAD]
    return bool(head < pending.meta[NEXT] and pending.entries[at(pending, head)].time_ms < least_ms)


@borrowing
def _drop_expired(world: World, stream_ms: Int) -> None:
    """Drop what no exposure that may still come will ask for."""
    limits = world.plan.limits
    while _expired(world.records, stream_ms - limits[KEEP]):
        _drop_record(world)
    while _expired(world.decisions, stream_ms - limits[LATENESS]):
        _drop_decision(world, stream_ms)


@borrowing
def _full(pending: Pending) -> bool:
    return bool(pending.meta[NEXT] - pending.meta[HEAD] >= pending.meta[BOUND])


@borrowing
def _exposed(
    world: World,
    unit: np.uint64,
    slot: Int,
    arm: Int,
    told: Int,
    time_ms: Int,
    pre: float,
    late: bool,  # noqa: FBT001  a kernel takes scalars
) -> Int:
    """Count an exposure; return why it does not count, or -1."""
    plan = world.plan
    if late:
        return LATE
    if slot < 0:
        return NO_EXPERIMENT
    experiment = plan.experiments[slot]
    if not 0 <= arm < experiment.arms:
        return NO_VARIATION
    starts = experiment.first_start
    if time_ms < plan.starts[starts]:
        return BEFORE_START
    if time_ms >= experiment.end_ms:
        return AFTER_END
    phase = told
    if told < 0:
        phase = 0
        while phase + 1 < experiment.phases and plan.starts[starts + phase + 1] <= time_ms:
            phase += 1
    elif told >= experiment.phases or plan.starts[starts + told] > time_ms + plan.limits[LATENESS]:
        return NO_PHASE
    if not expose(world, unit, slot, phase, arm, time_ms, pre if abs(pre) <= GREATEST else np.nan):
        return SAMPLED
    return -1


@borrowing
def _refuse_users(plan: Plan, ledger: Ledger, index: Int, reason: Int) -> bool:
    """Count a record without a usable number for each metric that would add it up; return whether there is one."""
    any_use = False
    for use in range(plan.first_use[index], plan.first_use[index + 1]):
        slot = plan.used_by[use]
        number = plan.experiments[slot].first_number + plan.used_as[use]
        if reason != NO_VALUE or plan.numbers[number].once == 0:
            refuse(ledger, slot, reason)
            any_use = True
    return any_use


@borrowing
def _late_for(world: World, unit: np.uint64, index: Int, time_ms: Int) -> bool:
    """Count a late record for each metric whose unit's window it is of, and over; return whether there is one."""
    plan, found = world.plan, False
    for use in range(plan.first_use[index], plan.first_use[index + 1]):
        slot = plan.used_by[use]
        row = find_pair(world.pairs, unit, slot)
        if row >= 0 and world.pairs.rows[row].state == OVER:
            since = time_ms - world.pairs.rows[row].first_ms
            if 0 <= since < plan.experiments[slot].window_ms:
                refuse(world.ledger, slot, LATE)
                found = True
    return found


@borrowing
def _measured(
    world: World,
    unit: np.uint64,
    what: np.uint64,
    time_ms: Int,
    value: float,
    pre: float,
    late: bool,  # noqa: FBT001  a kernel takes scalars
) -> Int:
    """Count a record of a metric; return why it does not count, or -1."""
    plan, pairs, pool, ledger = world.plan, world.pairs, world.pool, world.ledger
    index, flag = find_measure(plan, what), -1
    if index < 0:
        return flag
    if abs(value) > GREATEST:
        _refuse_users(plan, ledger, index, TOO_LARGE)
        return TOO_LARGE
    if np.isnan(value) and _refuse_users(plan, ledger, index, NO_VALUE):
        flag = NO_VALUE
    if not abs(pre) <= GREATEST:
        pre = np.nan
    how = TOO_LATE if late else NOW
    if late:
        of = find(world.units, unit)
    else:
        if _full(world.records):
            _drop_record(world)
            refuse(ledger, -1, PENDING)
        of = find_or_add(world.units, unit)
    if of >= 0 and world.units.rows[of].open > 0:
        uses = plan.first_use[index + 1] - plan.first_use[index]
        if world.units.rows[of].open <= uses:
            row = np.int64(world.units.rows[of].pairs)
            while row >= 0:
                after = np.int64(pairs.rows[row].after)
                apply(plan, pairs, pool, ledger, row, what, time_ms, value, pre, how)
                row = after
        else:
            slot = np.int64(-1)
            for use in range(plan.first_use[index], plan.first_use[index + 1]):
                if plan.used_by[use] != slot:  # an experiment that reads it twice has its uses side by side
                    slot = np.int64(plan.used_by[use])
                    row = find_pair(pairs, unit, slot)
                    if row >= 0 and pairs.rows[row].state == OPEN:
                        apply(plan, pairs, pool, ledger, row, what, time_ms, value, pre, how)
    if not late:
        owner = world.units.rows[of]
        if owner.kept < PER_UNIT:
            owner.records = append(world.records, of, owner.records, time_ms, what, value, pre)
            owner.kept += 1
        else:
            refuse(ledger, -1, PENDING)
    elif _late_for(world, unit, index, time_ms):
        flag = LATE
    return flag


@borrowing
def _tiered(
    world: World,
    unit: np.uint64,
    stratum: Int,
    time_ms: Int,
    late: bool,  # noqa: FBT001  a kernel takes scalars
    stream_ms: Int,
) -> None:
    """Count a decision about a unit: after its exposure as a risk, before it as its stratum."""
    plan, pairs = world.plan, world.pairs
    if late:
        _remember_tier(world, unit, time_ms, stratum, stream_ms)
        of = find(world.units, unit)
        if of < 0:
            return
    else:
        if _full(world.decisions):
            _drop_decision(world, stream_ms)
            refuse(world.ledger, -1, PENDING)
        of = find_or_add(world.units, unit)
        if world.units.rows[of].kept >= PER_UNIT:
            # Remembered as a late one is, or units could hide what they are behind a flood of records.
            _remember_tier(world, unit, time_ms, stratum, stream_ms)
            refuse(world.ledger, -1, PENDING)
        else:
            before = world.units.rows[of].decisions
            number = append(world.decisions, of, before, time_ms, np.uint64(0), np.float64(stratum), np.nan)
            world.units.rows[of].decisions = number
            world.units.rows[of].kept += 1
    row = np.int64(world.units.rows[of].pairs)
    while row >= 0:
        count_risk(plan, pairs, world.pool, world.ledger, row, time_ms, stratum)
        if not late and time_ms < pairs.rows[row].first_ms:
            restratify(world, row, of)
        row = np.int64(pairs.rows[row].after)


@borrowing
def _judge(sequence: Sequence, row: Row, gap_ms: Int) -> tuple[bool, Int]:
    """Return whether a row lies ahead, and up to when time was confirmed."""
    clock = sequence.clock
    if row.kind == TIERED:  # decisions are about events, and these move stream time where metrics are read from them
        return bool(clock[KNOWN] != 0 and row.time_ms > clock[TIME_MS] + gap_ms), clock[TIME_MS]
    return judge(sequence, row.unit, row.time_ms, gap_ms)


@borrowing
def _take(world: World, sequence: Sequence, seen: Seen, row: Row) -> Int:
    """Count a row that is not ahead; return why it does not count, or -1."""
    plan, clock, at_ms = world.plan, sequence.clock, row.time_ms
    if row.id_hash != 0:
        forget_expired(seen, clock[TIME_MS])
        if holds(seen, row.id_hash):
            refuse(world.ledger, -1, DUPLICATE)
            return DUPLICATE
    late = clock[KNOWN] != 0 and at_ms < clock[TIME_MS] - plan.limits[LATENESS]
    if row.kind != TIERED and not late:
        if clock[KNOWN] == 0:
            clock[KNOWN], clock[TIME_MS] = 1, at_ms
        advance(sequence, row.unit, at_ms, plan.limits[GAP])
    stream_ms = clock[TIME_MS]
    settle_due(world, stream_ms)
    _drop_expired(world, stream_ms)
    if row.id_hash != 0:
        forget_expired(seen, stream_ms)  # before the bound is asked: what has expired is not evicted
        remember(seen, row.id_hash, stream_ms)
    if row.kind == EXPOSED:
        slot = find_experiment(plan, row.what)
        reason = _exposed(world, row.unit, slot, row.arm, row.phase, at_ms, row.pre, late)
        if reason >= 0:
            refuse(world.ledger, slot, reason)
        return reason
    if row.kind == MEASURED:
        return _measured(world, row.unit, row.what, at_ms, row.value, row.pre, late)
    _tiered(world, row.unit, min(max(row.arm, 0), STRATA - 1), at_ms, late, stream_ms)
    return -1


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
def run(
    world: World,
    sequence: Sequence,
    seen: Seen,
    with_tiers: bool,  # noqa: FBT001  a kernel takes scalars
    kind: I64,
    unit: U64,
    time_ms: I64,
    id_hash: U64,
    what: U64,
    arm: I64,
    phase: I64,
    value: F64,
    pre: F64,
    flags: U8,
) -> None:
    """Count a batch of rows; write of each why it does not count, as 1 + its place in `REASONS`, or 0.

    `AHEAD` is written of a row that waits, and counted only if it has to go.
    """
    ledger, clock = world.ledger, sequence.clock
    gap_ms = world.plan.limits[GAP]
    for i in range(len(kind)):
        if i + _FAR < len(kind):
            fetch_ahead(world.units, unit[i + _FAR])
            if id_hash[i + _FAR] != 0:
                fetch_id(seen, id_hash[i + _FAR])
            fetch_row_ahead(world.units, unit[i + _NEAR])
        flags[i] = 0
        at_ms = time_ms[i]
        if kind[i] == TICKED:
            if clock[KNOWN] == 0 or at_ms > clock[TIME_MS]:
                _take_due(world, sequence, seen, at_ms, True)
                clock[KNOWN], clock[TIME_MS] = 1, at_ms
                settle_due(world, at_ms)
                _drop_expired(world, at_ms)
            tell_all(ledger)
            continue
        if kind[i] == TIERED and not with_tiers:
            continue
        row = Row(kind[i], unit[i], at_ms, id_hash[i], what[i], arm[i], phase[i], value[i], pre[i])
        ahead, to_ms = _judge(sequence, row, gap_ms)
        if to_ms > clock[TIME_MS]:
            _take_due(world, sequence, seen, to_ms, True)
            clock[TIME_MS] = to_ms
        if ahead:
            flags[i] = 1 + AHEAD
            if keep(world.waiting, row, TIERED):  # decisions are many, and confirm no jump
                refuse(ledger, -1, AHEAD)
            continue
        if world.waiting.meta[0] > 0:
            _take_due(world, sequence, seen, at_ms, False)
        flags[i] = 1 + _take(world, sequence, seen, row)
