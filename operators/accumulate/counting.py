"""A unit's way through an experiment, inside compiled loops: exposed, counted while its window is open, settled.

Whatever can still change of an open pair (an exposure that turns out to be earlier, a decision that turns out to be
before it) is worked out anew from what is pending, so the order in which topics are read leaves no trace.
"""

from typing import NamedTuple

import numpy as np

from experiments.sums import GREATEST
from operators.accumulate import ledger as books
from operators.accumulate.config import SAMPLED
from operators.accumulate.ledger import Ledger, refuse, replace, touch
from operators.accumulate.pairs import (
    HELD,
    MAX,
    OPEN,
    OVER,
    THRESHOLD,
    USED,
    VOID,
    Pairs,
    add,
    find,
    link,
    lot,
    remove,
    unlink,
)
from operators.accumulate.pending import HEAD, Pending, at
from operators.accumulate.plan import Plan
from operators.accumulate.pool import EXPOSURE, NOBODY, Pool, give_back, take
from operators.accumulate.queue import Queue, closes_ms, drop_first, push, rebuild
from operators.accumulate.units import Units, find_or_add, let_go
from operators.accumulate.units import find as find_unit
from operators.accumulate.window import AGAIN, apply, count_risk, tell
from operators.batches import I64, U8, Bool
from operators.compiled import Int, borrowing
from operators.doubles import add_unit
from operators.entities import Table
from operators.entities import find as find_tier
from operators.waiting import Waiting
from schemas import part

STRATA = len(part.STRATA)


class Tiers(NamedTuple):
    """The newest decision about units, of those that are no longer pending.

    Attributes:
        table: of the units, bounded.
        time_ms: of the decision, shape (capacity,).
        stratum: of the decision, shape (capacity,).
        news: whether it changed since it was written last, shape (capacity,).
    """

    table: Table
    time_ms: I64
    stratum: U8
    news: Bool


class World(NamedTuple):
    """All tables of a partition."""

    plan: Plan
    units: Units
    pairs: Pairs
    pool: Pool
    queue: Queue
    records: Pending
    decisions: Pending
    tiers: Tiers
    waiting: Waiting
    ledger: Ledger


@borrowing
def _fill(world: World, row: Int, of: Int, pre: float) -> None:
    """Count all that is pending for a pair whose numbers are 0."""
    plan, pairs, pool, ledger = world.plan, world.pairs, world.pool, world.ledger
    pair, unit = pairs.rows[row], world.units.rows[of]
    experiment = plan.experiments[pair.experiment]
    if not np.isnan(pre):
        primary = plan.metrics[experiment.first_metric]
        tell(pool, pair.block + primary.y, pre, EXPOSURE)
        if primary.d >= 0:
            tell(pool, pair.block + primary.d, 1.0, EXPOSURE)
    number = unit.records
    while number >= world.records.meta[HEAD]:
        entry = world.records.entries[at(world.records, number)]
        apply(plan, pairs, pool, ledger, row, entry.what, entry.time_ms, entry.value, entry.pre, AGAIN)
        number = entry.before
    if experiment.risk >= 0:
        number = unit.decisions
        while number >= world.decisions.meta[HEAD]:
            entry = world.decisions.entries[at(world.decisions, number)]
            count_risk(plan, pairs, pool, ledger, row, entry.time_ms, np.int64(entry.value))
            number = entry.before


@borrowing
def _stratum(world: World, of: Int, first_ms: Int) -> Int:
    """Return the tier of the newest decision about a unit before a time; of two at the same time the higher."""
    found, newest_ms = np.int64(0), np.int64(-1)
    unit = world.units.rows[of]
    tiers = world.tiers
    row = find_tier(tiers.table, unit.key)
    if row >= 0 and tiers.time_ms[row] < first_ms:
        found, newest_ms = np.int64(tiers.stratum[row]), np.int64(tiers.time_ms[row])
    number = unit.decisions
    while number >= world.decisions.meta[HEAD]:
        entry = world.decisions.entries[at(world.decisions, number)]
        stratum = np.int64(entry.value)
        if entry.time_ms < first_ms and (entry.time_ms > newest_ms or (entry.time_ms == newest_ms and stratum > found)):
            found, newest_ms = stratum, np.int64(entry.time_ms)
        number = entry.before
    return found


@borrowing
def _take_out(world: World, row: Int) -> None:
    """Take an open pair out of the figures of open windows, and out of the counts of its cell."""
    plan, pool, ledger = world.plan, world.pool, world.ledger
    pair = world.pairs.rows[row]
    experiment = plan.experiments[pair.experiment]
    counts = ledger.counts[experiment.first_count + pair.cell]
    counts[books.EXPOSED] -= 1
    counts[books.SEVERAL] -= pair.several
    counts[books.OPEN] -= 1
    for number in range(experiment.numbers):
        of = plan.numbers[experiment.first_number + number]
        cell = experiment.first_cell + of.metric * experiment.cells + pair.cell
        replace(ledger, cell, of.part, pool.values[pair.block + number, 0], 0.0)
        if counts[books.OPEN] == 0:  # what is left is the last digit's, of nobody
            ledger.open_high[cell, of.part] = 0.0
            ledger.open_low[cell, of.part] = 0.0
    touch(ledger, pair.experiment)


@borrowing
def _put_in(world: World, row: Int) -> None:
    """Count an open pair in its cell, with the numbers that it has."""
    plan, pool, ledger = world.plan, world.pool, world.ledger
    pair = world.pairs.rows[row]
    experiment = plan.experiments[pair.experiment]
    counts = ledger.counts[experiment.first_count + pair.cell]
    counts[books.EXPOSED] += 1
    counts[books.SEVERAL] += pair.several
    counts[books.OPEN] += 1
    for number in range(experiment.numbers):
        of = plan.numbers[experiment.first_number + number]
        cell = experiment.first_cell + of.metric * experiment.cells + pair.cell
        replace(ledger, cell, of.part, 0.0, pool.values[pair.block + number, 0])
    world.pairs.news[row] = True
    touch(ledger, pair.experiment)


@borrowing
def expose(world: World, unit: np.uint64, slot: Int, phase: Int, arm: Int, time_ms: Int, pre: float) -> bool:
    """Count a unit's exposure; return False if it is not in the sample.

    The first by event time counts: one that comes later and is earlier, within the allowed lateness, takes its place.
    Of two at the same time the one that came first counts.
    """
    pairs, ledger, experiment = world.pairs, world.ledger, world.plan.experiments[slot]
    row = find(pairs, unit, slot)
    if row < 0:
        while pairs.meta[HELD] >= pairs.meta[MAX] and lot(unit) < pairs.meta[THRESHOLD]:
            thin(world)
        if lot(unit) >= pairs.meta[THRESHOLD]:
            return False
        of = find_or_add(world.units, unit)
        row = add(pairs, unit, slot)
        pair = pairs.rows[row]
        pair.state = OPEN
        pair.several = 0
        pair.block = take(world.pool, experiment.numbers)
        link(pairs, world.units, row, of)
    else:
        pair = pairs.rows[row]
        other = arm != pair.cell % experiment.arms
        if pair.state == OVER or time_ms >= pair.first_ms:
            if other and pair.several == 0:
                pair.several = 1
                pairs.news[row] = True
                ledger.counts[experiment.first_count + pair.cell, books.SEVERAL] += 1
                touch(ledger, slot)
            return True
        _take_out(world, row)
        if other:
            pair.several = 1
        for place in range(pair.block, pair.block + experiment.numbers):
            world.pool.values[place, 0] = 0.0
            world.pool.values[place, 1] = 0.0
            world.pool.told[place] = NOBODY
            world.pool.news[place] = True
        of = find_unit(world.units, unit)
    pair.first_ms = time_ms
    pair.cell = (phase * STRATA + _stratum(world, of, time_ms)) * experiment.arms + arm
    _put_in(world, row)
    _fill(world, row, of, pre)
    ledger.first_ms[slot] = min(ledger.first_ms[slot], time_ms)
    push(world.queue, pairs, closes_ms(world.plan, pairs, row), row)
    return True


@borrowing
def restratify(world: World, row: Int, of: Int) -> None:
    """Put an open pair into the stratum that its unit was in before the exposure, as is known by now."""
    pair = world.pairs.rows[row]
    arms = world.plan.experiments[pair.experiment].arms
    stratum = _stratum(world, of, pair.first_ms)
    cell = (pair.cell // arms // STRATA * STRATA + stratum) * arms + pair.cell % arms
    if cell != pair.cell:
        _take_out(world, row)
        pair.cell = cell
        _put_in(world, row)


@borrowing
def _release(world: World, row: Int) -> None:
    """Take an open pair out of its unit's list, and free its numbers."""
    pair = world.pairs.rows[row]
    of = find_unit(world.units, pair.unit)
    unlink(world.pairs, world.units, row, of)
    let_go(world.units, of)
    give_back(world.pool, pair.block, world.plan.experiments[pair.experiment].numbers)
    pair.block = 0
    world.pairs.news[row] = True


@borrowing
def _bounded(value: float, cap: float) -> float:
    """Return a sum as it counts: at most the cap, and of a size whose square stays finite."""
    return min(max(min(value, cap), -GREATEST), GREATEST)


@borrowing
def _settle(world: World, row: Int) -> None:
    """Add a unit whose window is over to the sums, once and for all."""
    plan, pool, ledger = world.plan, world.pool, world.ledger
    pair = world.pairs.rows[row]
    experiment = plan.experiments[pair.experiment]
    values = ledger.scratch
    for index in range(experiment.metrics):
        metric = plan.metrics[experiment.first_metric + index]
        y, d = pair.block + metric.y, pair.block + metric.d
        values[0, 0] = _bounded(pool.values[y, 0], metric.cap)
        values[0, 2] = _bounded(pool.values[y, 1], metric.cap)
        values[0, 1] = values[0, 3] = 1.0
        if metric.d >= 0:
            values[0, 1] = _bounded(pool.values[d, 0], np.inf)
            values[0, 3] = _bounded(pool.values[d, 1], np.inf)
        cell = experiment.first_cell + index * experiment.cells + pair.cell
        add_unit(ledger.high, ledger.low, cell, values, 0)
    _take_out(world, row)
    counts = ledger.counts[experiment.first_count + pair.cell]
    counts[books.EXPOSED] += 1
    counts[books.SEVERAL] += pair.several
    _release(world, row)
    pair.state = OVER


@borrowing
def settle_due(world: World, stream_ms: Int) -> None:
    """Settle all units whose windows are over, in the order of that."""
    queue, pairs = world.queue, world.pairs
    while queue.meta[0] > 0 and queue.close_ms[0] <= stream_ms:
        row, close_ms = np.int64(queue.pair[0]), queue.close_ms[0]
        drop_first(queue, pairs)
        if pairs.rows[row].state == OPEN and closes_ms(world.plan, pairs, row) == close_ms:
            _settle(world, row)


@borrowing
def forget(world: World, row: Int) -> None:
    """Remove a pair; one that is open does not enter the sums, but stays among the exposed."""
    pair = world.pairs.rows[row]
    if pair.state == OPEN:
        experiment = world.plan.experiments[pair.experiment]
        _take_out(world, row)
        counts = world.ledger.counts[experiment.first_count + pair.cell]
        counts[books.EXPOSED] += 1
        counts[books.SEVERAL] += pair.several
        _release(world, row)
    remove(world.pairs, row)


@borrowing
def thin(world: World) -> None:
    """Lower the sample's end by an eighth, and let go of all units above it: of all experiments and arms alike."""
    pairs = world.pairs
    pairs.meta[THRESHOLD] -= max(1, pairs.meta[THRESHOLD] >> 3)
    for row in range(pairs.meta[USED]):
        pair = pairs.rows[row]
        if pair.state != VOID and lot(pair.unit) >= pairs.meta[THRESHOLD]:
            if pair.state == OPEN:
                refuse(world.ledger, pair.experiment, SAMPLED)
            forget(world, row)
    rebuild(world.queue, world.plan, pairs)


@borrowing
def forget_experiment(world: World, slot: Int) -> None:
    """Remove all pairs of an experiment."""
    pairs = world.pairs
    for row in range(pairs.meta[USED]):
        if pairs.rows[row].state != VOID and pairs.rows[row].experiment == slot:
            forget(world, row)
    rebuild(world.queue, world.plan, pairs)
