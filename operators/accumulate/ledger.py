"""What adds up of units, for all experiments of a partition: sums, figures of open windows, counts, refusals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.sums import COLUMNS
from operators.accumulate.config import REASONS
from operators.accumulate.plan import NEVER, Plan, Shape
from operators.batches import F64, I64, U8
from operators.compiled import Int, borrowing
from operators.doubles import add_to
from schemas.part import STRATA

EXPOSED, SEVERAL, OPEN = range(3)
"""Columns of `counts`."""

ASKED, WRITTEN = 1, 2
"""Bits of `touched`: changed since `changed` was asked; since a part of a snapshot was written."""

PER_CELL = ("high", "low", "open_high", "open_low")


class Ledger(NamedTuple):
    """The arrays; cells and counts of an experiment follow each other, as its row in the plan says.

    Attributes:
        high: sums of units whose windows are over, as `experiments.sums.Sums` holds them, shape (cells, 15).
        low: what `high` leaves out, same shape.
        open_high: sums of y and d of units whose windows are open, shape (cells, 2).
        open_low: what it leaves out.
        counts: units exposed, of these with several variations, and with open windows, shape (counts, 3).
        refused: by reason, shape (1 + slots, reasons): first what belongs to no experiment.
        first_ms: first exposure that counts, `NEVER` if there is none, shape (slots,).
        touched: see `ASKED`, shape (slots,).
        scratch: for one unit, shape (1, 4).
    """

    high: F64
    low: F64
    open_high: F64
    open_low: F64
    counts: I64
    refused: I64
    first_ms: I64
    touched: U8
    scratch: F64


@borrowing
def touch(ledger: Ledger, slot: Int) -> None:
    """Note that an experiment's totals changed."""
    ledger.touched[slot] = ASKED | WRITTEN


@borrowing
def tell_all(ledger: Ledger) -> None:
    """Note that all totals are to be told anew: they hold at another time."""
    for slot in range(len(ledger.touched)):
        ledger.touched[slot] |= ASKED


@borrowing
def refuse(ledger: Ledger, slot: Int, reason: Int) -> None:
    """Count what does not count; slot -1: it belongs to no experiment."""
    ledger.refused[slot + 1, reason] += 1
    if slot >= 0:
        touch(ledger, slot)


@borrowing
def replace(ledger: Ledger, cell: Int, part: Int, old: float, new: float) -> None:
    """Count a unit's number in the sums of open windows as `new`, where it counted as `old`."""
    if new != 0.0:
        add_to(ledger.open_high, ledger.open_low, cell, part, new, 0.0)
    if old != 0.0:
        add_to(ledger.open_high, ledger.open_low, cell, part, -old, 0.0)


def empty(shapes: Sequence[Shape], least_cells: int = 0, least_counts: int = 0) -> Ledger:
    """Return a ledger of nothing yet.

    Args:
        shapes: of the experiments, by slot.
        least_cells: how many cells there are at least.
        least_counts: how many rows of counts. A snapshot's parts need arrays that never become shorter.
    """
    cells = max(least_cells, sum(shape.metrics * shape.cells for shape in shapes))
    counts = max(least_counts, sum(shape.cells for shape in shapes))
    return Ledger(
        np.zeros((cells, COLUMNS)),
        np.zeros((cells, COLUMNS)),
        np.zeros((cells, 2)),
        np.zeros((cells, 2)),
        np.zeros((counts, 3), np.int64),
        np.zeros((1 + len(shapes), len(REASONS)), np.int64),
        np.full(len(shapes), NEVER, np.int64),
        np.full(len(shapes), ASKED | WRITTEN, np.uint8),
        np.zeros((1, 4)),
    )


def carried(old: Ledger, before: Sequence[Shape], new: Ledger, after: Sequence[Shape], kept: Sequence[bool]) -> None:
    """Copy what is kept from one layout into another.

    Args:
        old: the ledger as it was.
        before: its shapes, by slot.
        new: an empty one.
        after: its shapes; a kept experiment has as many metrics and arms as before. Phases beyond those that both have
            are dropped: nothing was counted there.
        kept: which slots keep what they have.
    """
    new.refused[0] = old.refused[0]
    old_cell = old_count = new_cell = new_count = 0
    for slot, shape in enumerate(after):
        was = before[slot] if slot < len(before) else Shape(0, 0, 0)
        if slot < len(before) and kept[slot] and shape.metrics:
            phases = min(shape.phases, was.phases)
            for name in PER_CELL:
                source, target = _block(getattr(old, name), old_cell, was), _block(getattr(new, name), new_cell, shape)
                target[:, :phases] = source[:, :phases]
            per_phase = len(STRATA) * shape.arms
            cells = phases * per_phase
            new.counts[new_count : new_count + cells] = old.counts[old_count : old_count + cells]
            new.refused[1 + slot], new.first_ms[slot] = old.refused[1 + slot], old.first_ms[slot]
        old_cell, old_count = old_cell + was.metrics * was.cells, old_count + was.cells
        new_cell, new_count = new_cell + shape.metrics * shape.cells, new_count + shape.cells


def _block(array: F64, first: int, shape: Shape) -> F64:
    cells = array[first : first + shape.metrics * shape.cells]
    return cells.reshape(shape.metrics, shape.phases, -1, array.shape[-1])


def block_of(ledger: Ledger, name: str, plan: Plan, slot: int, shape: Shape) -> F64:
    """Return a copy of an experiment's share of an array per cell, shape (metrics, phases, strata, arms, columns)."""
    first, array = int(plan.experiments[slot]["first_cell"]), getattr(ledger, name)
    cells = array[first : first + shape.metrics * shape.cells]
    return np.asarray(cells.reshape(shape.metrics, shape.phases, len(STRATA), shape.arms, -1).copy(), np.float64)


def counts_of(ledger: Ledger, plan: Plan, slot: int, shape: Shape) -> I64:
    """Return a copy of an experiment's counts, shape (phases, strata, arms, 3)."""
    first = int(plan.experiments[slot]["first_count"])
    cells = ledger.counts[first : first + shape.cells]
    return np.asarray(cells.reshape(shape.phases, len(STRATA), shape.arms, 3).copy(), np.int64)
