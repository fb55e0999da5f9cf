"""What a record counts as, for a pair whose window is open: in the window, before exposure, or as a risk."""

import numpy as np

from operators.accumulate.ledger import Ledger, replace, touch
from operators.accumulate.pairs import Pairs
from operators.accumulate.plan import Plan
from operators.accumulate.pool import NOBODY, RECORD, Pool
from operators.compiled import Int, borrowing

RISKY = 3
"""First of the strata (`schemas.part.STRATA`) that is a risk."""

NOW, TOO_LATE, AGAIN = range(3)
"""How a record comes: in time; too late to be of use before exposure, where later exposures do not find it either; or
once more, from what is pending, newest first: then the last one to tell what was before was the first to tell it."""


@borrowing
def count(plan: Plan, pairs: Pairs, pool: Pool, ledger: Ledger, row: Int, number: Int, value: float) -> None:
    """Count a record within the window."""
    pair = pairs.rows[row]
    experiment = plan.experiments[pair.experiment]
    of = plan.numbers[experiment.first_number + number]
    place = pair.block + number
    old = pool.values[place, 0]
    if of.once != 0:
        if old != 0.0:
            return
        new = 1.0
    elif np.isnan(value):
        return
    else:
        new = old + value
    pool.values[place, 0] = new
    pool.news[place] = True
    replace(ledger, experiment.first_cell + of.metric * experiment.cells + pair.cell, of.part, old, new)
    touch(ledger, pair.experiment)


@borrowing
def count_before(plan: Plan, pairs: Pairs, pool: Pool, row: Int, number: Int, value: float) -> None:
    """Count a record of before exposure, if nobody told what was before."""
    pair = pairs.rows[row]
    of = plan.numbers[plan.experiments[pair.experiment].first_number + number]
    place = pair.block + number
    if pool.told[place] == NOBODY:
        if of.once != 0:
            pool.values[place, 1] = 1.0
        elif not np.isnan(value):
            pool.values[place, 1] += value
        pool.news[place] = True


@borrowing
def tell(pool: Pool, place: Int, pre: float, teller: Int) -> None:
    """Take over what was before exposure from someone who tells it; NaN: it is not told."""
    if not np.isnan(pre):
        pool.told[place] = teller
        pool.values[place, 1] = pre
        pool.news[place] = True


@borrowing
def apply(
    plan: Plan, pairs: Pairs, pool: Pool, ledger: Ledger, row: Int, what: np.uint64, time_ms: Int, value: float,
    pre: float, how: Int,
) -> None:  # fmt: skip
    """Count a record for an open pair, if the experiment reads it and it is of the window or before it.

    Args:
        plan: the definitions.
        pairs: of units and experiments.
        pool: their numbers.
        ledger: where figures of open windows are.
        row: of the pair.
        what: the record's measure.
        time_ms: its time.
        value: its number.
        pre: the same before exposure, as it tells.
        how: see `NOW`.
    """
    pair = pairs.rows[row]
    experiment = plan.experiments[pair.experiment]
    since = time_ms - pair.first_ms
    if since >= experiment.window_ms or since < -experiment.pre_ms or (how == TOO_LATE and since < 0):
        return
    for number in range(experiment.numbers):
        if plan.numbers[experiment.first_number + number].measure == what:
            if since < 0:
                count_before(plan, pairs, pool, row, number, value)
            else:
                count(plan, pairs, pool, ledger, row, number, value)
                told = pool.told[pair.block + number]
                if told == NOBODY or (how == AGAIN and told == RECORD):
                    tell(pool, pair.block + number, pre, RECORD)


@borrowing
def count_risk(plan: Plan, pairs: Pairs, pool: Pool, ledger: Ledger, row: Int, time_ms: Int, stratum: Int) -> None:
    """Count a decision within the window."""
    pair = pairs.rows[row]
    experiment = plan.experiments[pair.experiment]
    if stratum >= RISKY and 0 <= time_ms - pair.first_ms < experiment.window_ms:
        count(plan, pairs, pool, ledger, row, experiment.risk, 1.0)
