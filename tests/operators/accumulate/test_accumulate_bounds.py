"""More units than fit, and more records: what stays is bounded, counted, and says of arms what all would have said."""

import math

import numpy as np
import pytest
from accumulate_reference import batch, decided, experiment, measured, metric, shown, tick

from operators.accumulate.config import AccumulateConfig
from operators.accumulate.loop import PER_UNIT
from operators.accumulate.observed import EXPOSED, MEASURED, Observations, Observed, experiment_key
from operators.accumulate.pairs import HELD, OPEN
from operators.accumulate.plan import measures_of
from operators.accumulate.stage import Accumulate
from operators.batches import Span

HOUR_MS = 3_600_000
UNITS, BOUND = 60_000, 1_500
SPEND = metric("spend")


def stage(names="e", window_s=600, **config):
    made = Accumulate(AccumulateConfig(**{"max_units": BOUND, "allowed_lateness_s": 60, **config}))
    made.define({name: experiment(name, SPEND, window_s) for name in names})
    return made


def flood(seed=3, names="e"):
    """Return exposures of many units, one a second, each with a record after it; units, their arms and values."""
    rng = np.random.default_rng(seed)
    unit = rng.integers(1, 2**63, UNITS).astype(np.uint64)
    arm, value = rng.integers(0, 2, UNITS), rng.normal(10.0, 3.0, UNITS)
    each = len(names) + 1
    kind = np.tile([*[EXPOSED] * len(names), MEASURED], UNITS)
    keys = np.array([*(experiment_key(name, ("control", "new")) for name in names), measures_of(SPEND)[0]], np.uint64)
    time_ms = HOUR_MS + np.repeat(np.arange(UNITS), each) * 1_000
    zeros = np.zeros(each * UNITS)
    observed = Observed(
        kind.astype(np.int64),
        np.repeat(unit, each),
        time_ms.astype(np.int64),
        zeros.astype(np.uint64),
        np.tile(keys, UNITS),
        np.where(kind == EXPOSED, np.repeat(arm, each), 0).astype(np.int64),
        np.full(each * UNITS, -1),
        np.where(kind == MEASURED, np.repeat(value, each), 0.0),
        zeros + math.nan,
    )
    return Observations(Span(0, 0, 1), "exposures", observed), unit, arm, value


def over(listed):
    """Return a tick after which all windows are over."""
    return batch([tick(int(listed.observed.time_ms[-1]) + 10 * HOUR_MS)])


@pytest.fixture(scope="module")
def flooded():
    made = stage()
    listed, _, arm, value = flood()
    made.process(listed)
    made.process(over(listed))
    return made, arm, value


def test_no_more_pairs_are_held_than_the_bound(flooded):
    made, _, _ = flooded

    assert BOUND / 2 < made._world.pairs.meta[HELD] <= BOUND
    assert len(made._world.pairs.rows) <= BOUND


def test_every_exposure_is_counted_or_refused(flooded):
    totals = flooded[0].totals("e")
    settled = totals.matured[0, ..., 0].sum()
    dropped = totals.exposed.sum() - settled  # open when the sample became smaller: exposed, and refused

    assert totals.refused == {"sampled": UNITS - totals.exposed.sum() + dropped}
    assert settled > 4_000


@pytest.mark.parametrize("counted", ["exposed", "matured"])
def test_the_sample_takes_equally_from_both_arms(flooded, counted):
    """Binomial: of n units n / 2 are in each arm, give or take four deviations of sqrt(n) / 2."""
    made, arm, _ = flooded
    totals = made.totals("e")
    by_arm = totals.exposed.sum(axis=(0, 1)) if counted == "exposed" else totals.matured[0, ..., 0].sum(axis=(0, 1))
    n = by_arm.sum()

    assert abs(by_arm[1] - n * arm.mean()) < 4 * math.sqrt(n) / 2


def test_the_mean_of_the_sample_is_that_of_all(flooded):
    made, arm, value = flooded
    sums = made.totals("e").matured[0].sum(axis=(0, 1))

    for number in (0, 1):
        mean, se = sums[number, 1] / sums[number, 0], 3.0 / math.sqrt(sums[number, 0])
        assert abs(mean - value[arm == number].mean()) < 4 * se


def test_all_experiments_lose_the_same_units():
    made = stage("ef", window_s=100_000)
    made.process(flood(names="ef")[0])
    rows_ = made._world.pairs.rows
    open_ = [set(rows_["unit"][(rows_["state"] == OPEN) & (rows_["experiment"] == slot)].tolist()) for slot in (0, 1)]

    # The newest unit may have come to the one when the other made the sample smaller.
    assert len(open_[0]) > 100
    assert len(open_[0] ^ open_[1]) <= 1


def test_a_unit_that_stays_away_keeps_its_place_as_long_as_one_that_comes():
    """Who is dropped is decided by hash alone, never by when a unit was seen last."""
    quiet, busy = stage(max_units=100), stage(max_units=100)
    newcomers = [shown(unit, HOUR_MS + unit, arm=unit % 2) for unit in range(1, 400)]
    again = [row for unit in range(1, 400) for row in (newcomers[unit - 1], measured(7, HOUR_MS + unit))]
    quiet.process(batch(newcomers))
    busy.process(batch(again))

    assert (quiet._world.pairs.rows["unit"] == busy._world.pairs.rows["unit"]).all()


def test_what_was_settled_stays_when_the_sample_becomes_smaller():
    made = stage(max_units=100)
    made.process(batch([shown(unit, HOUR_MS + unit) for unit in range(1, 91)]))
    made.process(batch([tick(2 * HOUR_MS)]))
    made.process(batch([shown(unit, 2 * HOUR_MS + unit) for unit in range(1_000, 2_000)]))

    assert made.totals("e").matured[0, ..., 0].sum() == 90


def test_a_unit_that_the_sample_lost_never_counts_again():
    made = stage(max_units=100)
    first = [shown(unit, HOUR_MS + unit) for unit in range(1, 91)]
    made.process(batch([*first, tick(2 * HOUR_MS)]))
    made.process(batch([shown(unit, 2 * HOUR_MS + unit) for unit in range(1_000, 2_000)]))
    before = made.totals("e").exposed.sum()
    made.process(batch([row._replace(time_ms=3 * HOUR_MS) for row in first]))

    assert made.totals("e").exposed.sum() == before


def test_pending_records_are_bounded_and_the_lost_ones_counted():
    made = stage(max_pending=50, tiers=True)
    many = [measured(unit, HOUR_MS + unit) for unit in range(1, 81)]
    many += [decided(unit, HOUR_MS + 100, 3) for unit in range(1, 61)]
    made.process(batch(many))
    found = {(each.metric, *each.labels.values()): each.value for each in made.measurements()}

    assert found["tidegate_pending_records",] == 100
    assert found["tidegate_units_refused_total", "pending"] == 40  # of 80 records 30, of 60 decisions 10


def test_one_unit_cannot_fill_what_is_pending():
    made = stage()
    made.process(batch([measured(7, HOUR_MS + k) for k in range(2 * PER_UNIT)]))
    found = {(each.metric, *each.labels.values()): each.value for each in made.measurements()}

    assert found["tidegate_pending_records",] == PER_UNIT
    assert found["tidegate_units_refused_total", "pending"] == PER_UNIT


def test_what_no_exposure_may_ask_for_is_forgotten():
    made = stage(allowed_lateness_s=60)
    made.process(batch([measured(1, HOUR_MS), measured(2, HOUR_MS + 60_000), measured(3, HOUR_MS + 60_001)]))

    assert len(made._records) == 2  # the first is 60.001 s old
    assert made._world.units.meta.tolist() == [2, -1]  # and the third unit has its row


def test_exposures_that_become_earlier_and_earlier_do_not_fill_the_queue():
    made = stage(allowed_lateness_s=60)
    made.process(batch([shown(1, HOUR_MS + 50_000)]))
    for k in range(1, 5_000):
        made.process(batch([shown(1, HOUR_MS + 50_000 - 10 * k)]))

    assert len(made._world.queue.pair) <= 512
