"""When looks are taken, what they leave behind, and that it can be written down."""

import numpy as np
import pytest
from trials import START_MS, Trial, definition, drawn

from experiments.looking import plan
from experiments.looks import MOST_LOOKS, Looks
from experiments.memory import Memory
from experiments.totals import Progress, progress, together, total
from operators.state import pack, unpack

OF = definition()
PLAN = plan(OF)


def fresh():
    return Looks(len(PLAN.kinds), PLAN.pairs)


def part(units, time_ms=START_MS, *, still_open=True):
    some = drawn(np.random.default_rng(1), units)
    some.open[:1] = still_open
    return Trial(OF).add(some).part(time_ms)


def totals(units):
    return total([part(units)], OF)


@pytest.mark.parametrize(
    ("units", "after_ms", "still_open", "due"),
    [
        (1_000, 0, True, False),
        (1_000, 59_999, True, False),
        (1_000, 60_000, True, True),
        (1_009, 0, True, False),
        (1_011, 0, True, True),
        (1_000, 0, False, True),
    ],
)
def test_a_look_is_due_when_time_or_units_went_on_or_nothing_is_open(units, after_ms, still_open, due):
    """After one with 1,000 units exposed and an interval of 60 s: at 60 s, at more than 1,010 units, at the end."""
    looks = fresh()
    looks.look(totals(1_000), PLAN)
    now = progress(part(units, START_MS + after_ms, still_open=still_open))

    assert looks.due(now, 60) == due


def test_how_far_partitions_are_adds_up():
    both = together([progress(part(100, 7)), progress(part(50, 5, still_open=False))])

    assert both == Progress(time_ms=7, units=149, open=1)
    assert both.exposed == 150


def test_the_first_look_is_due():
    assert fresh().due(progress(part(10)), 60)


@pytest.mark.parametrize("taken", [5, MOST_LOOKS, 3 * MOST_LOOKS + 7])
def test_looks_are_kept_evenly_and_at_most_so_many(taken):
    looks, found = fresh(), totals(400)
    for at in range(taken):
        looks.look(found._replace(timestamp=at), PLAN)
    times = looks.history[:, 0]

    assert len(times) <= MOST_LOOKS
    assert len(times) > min(taken, MOST_LOOKS) / 2 - 1
    assert set(np.diff(times)) == {2.0 ** np.ceil(np.log2(max(taken / MOST_LOOKS, 1)))}
    assert times[0] == 0


def test_what_was_dumped_goes_on_as_if_nothing_had_happened():
    rng, trial = np.random.default_rng(3), Trial(OF)
    looks, other = fresh(), fresh()
    for at in range(6):
        found = total([trial.add(drawn(rng, 200)).part(START_MS + at)], OF)
        if at == 3:
            written = pack(looks.dump())
            other.load(unpack(written))
        looks.look(found, PLAN)
        if at >= 3:
            other.look(found, PLAN)

    assert pack(looks.dump()) == pack(other.dump()) != written


def test_a_dump_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected rows of 8, got \(0, 13\) - at history"):
        fresh().load(Looks(len(PLAN.kinds), 2).dump())
    with pytest.raises(ValueError, match=r"expected shape \(2, 1\), got \(3, 1\) - at harm"):
        Memory(2, 1).load(Memory(3, 1).dump())
