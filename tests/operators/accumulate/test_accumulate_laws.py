"""The laws of every stage, kept by this one: cuts, snapshots, units apart, partitions that add up."""

import os
import subprocess
import sys

import laws
import numpy as np
import pytest
from accumulate_reference import batch, rows, shown, tick
from accumulate_streams import CONFIG, EXPERIMENTS, SECOND, START, ending, stream
from cutting import cut, random_cuts
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.sums import Sums
from operators.accumulate.config import REASONS, AccumulateConfig
from operators.accumulate.stage import Accumulate
from operators.parts import EVERYTHING, Changes
from operators.side import Side
from operators.state import Stage, pack, unpack

SEEDS = (1, 2, 3)
TIGHT = AccumulateConfig(
    max_units=30, max_pending=40, allowed_lateness_s=60, max_gap_s=900, dedup_window_s=120, dedup_max=50, tiers=True
)
"""Bounds that the streams run into."""


def side(listed=(), definitions=None):
    return Side(0, "metrics", 0, 0, 0, [], [], [], [], observed=rows(list(listed)), definitions=definitions)


DEFINITIONS = {each.id: each for each in EXPERIMENTS}


def made(config=TIGHT):
    stage = Accumulate(config)
    stage.define(DEFINITIONS)
    return stage


def crowded(seed, n=1_500):
    return batch(stream(seed, n, units=60, step_s=3))


def sided(seed):
    """Return batches with rows of side inputs between them, and definitions that come, change and go."""
    listed, items, at = stream(seed, 900, units=40, step_s=4), [], 0
    changed = EXPERIMENTS[2]
    more = type(changed.phases[0])(start=changed.phases[-1].start + 50 * SECOND, coverage=1.0, weights=(0.2, 0.8))
    told = {
        150: {"f": None},
        300: {"g": type(changed)(**{**_fields(changed), "version": 2, "phases": (*changed.phases, more)})},
        450: {"f": EXPERIMENTS[1]},
        600: {"e": None, "never": None},
        750: {"e": EXPERIMENTS[0]},
    }
    for first in range(0, len(listed), 75):
        piece = listed[first : first + 75]
        items += [batch(piece[:40], at), side(piece[40:], told.get(first))]
        at += len(piece[:40])
    return items


def _fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_it_is_a_stage():
    assert isinstance(made(), Stage)


def test_it_leaves_its_input_alone():
    laws.leaves_its_input_alone(made, cut(crowded(1), range(0, 1_500, 200)))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_does_not_care_about_cuts(seed):
    whole = crowded(seed)

    laws.does_not_care_about_cuts(made, whole, random_cuts(seed, 0, whole.span.next, 40))


def test_it_does_not_care_if_every_record_comes_alone():
    whole = crowded(4, 600)

    laws.does_not_care_about_cuts(made, whole, range(whole.span.next))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_does_not_care_about_cuts_around_side_inputs(seed):
    laws.does_not_care_about_cuts_around_sides(made, sided(seed), random_cuts(seed, 0, 500, 40))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_survives_a_snapshot(seed):
    whole = crowded(seed)
    batches = cut(whole, random_cuts(seed, 0, whole.span.next, 12))

    laws.survives_a_snapshot(made, batches, at=range(1, len(batches), 2))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_survives_a_snapshot_around_side_inputs(seed):
    items = sided(seed)

    laws.survives_a_snapshot(made, items, at=range(1, len(items), 3))


def test_it_learns_the_same_when_muted():
    laws.learns_the_same_when_muted(made, cut(crowded(5), range(0, 1_500, 300)))


def test_it_repeats_itself():
    laws.repeats_itself(made, cut(crowded(6), range(0, 1_500, 300)))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_parts_of_one_turn_are_the_state(data):
    """Any sweeps, a restart from the parts at any of them, while experiments come and go."""
    laws.its_parts_are_its_state(
        made,
        threes(sided(data.draw(st.integers(1, 9)))),
        lambda: data.draw(st.integers(1, 64)),
        lambda: data.draw(st.booleans()),
    )


def threes(items):
    return [items[at : at + 3] for at in range(0, len(items), 3)]


def calm(seed):
    """Return a stream that nothing of is late or ahead, and from which nothing is lost at the bounds."""
    return stream(seed, 700, units=25, step_s=4, late=0.0, trouble=0)


def sums_of(totals):
    sums = Sums(totals.matured.shape[:-1])
    sums.high, sums.low = totals.matured, totals.matured_low
    return sums


def same(together, apart):
    """Compare one stage with several that had units of their own: what they have adds up to what it has."""
    for name in DEFINITIONS:
        whole, parts = together.totals(name), [each.totals(name) for each in apart]
        merged = sums_of(parts[0])
        for part in parts[1:]:
            merged = merged + sums_of(part)
        assert whole.exposed.sum() > 10
        np.testing.assert_array_equal(whole.exposed, sum(part.exposed for part in parts))
        np.testing.assert_array_equal(whole.several, sum(part.several for part in parts))
        np.testing.assert_array_equal(whole.matured[..., 0], merged.high[..., 0])
        np.testing.assert_allclose(whole.matured + whole.matured_low, merged.high + merged.low, 1e-12, 1e-12)
        assert whole.first_ms == min(part.first_ms for part in parts if part.first_ms)


@pytest.mark.parametrize("seed", SEEDS)
def test_partitions_add_up_to_the_whole(seed):
    listed = calm(seed)
    together, apart = made(CONFIG), [made(CONFIG) for _ in range(3)]
    together.process(batch([*listed, ending(listed)]))
    for number, stage in enumerate(apart):
        own = [row for row in listed if row.unit % 3 == number]
        stage.process(batch([*own, ending(listed)]))

    same(together, apart)


def test_two_units_never_mix():
    """Each unit in a stage of its own, where the others' rows are only the time: all of them add up to one stage."""
    listed = calm(7)
    together, apart = made(CONFIG), [made(CONFIG) for _ in range(25)]
    together.process(batch([*listed, ending(listed)]))
    for number, stage in enumerate(apart, 1):
        newest, own = 0, []
        for row in listed:
            newest = newest if row.kind == 2 else max(newest, row.time_ms)  # decisions move no time
            own.append(row if row.unit == number * 1_000_003 else tick(newest))
        stage.process(batch([*own, ending(listed)]))

    same(together, apart)


def test_memory_is_bounded_under_a_flood_of_units():
    rng = np.random.default_rng(8)

    def newcomers(first, n=1_000):
        found = []
        for number in range(first, first + n):
            unit, time_ms = 1 + number * 7_919, START + number * 200
            found.append(shown(unit, time_ms, "efg"[number % 3], int(rng.integers(2))))
            found.append(stream(number % 5, 1)[0]._replace(unit=unit, time_ms=time_ms, id_hash=1 + number))
        return batch(found, 2 * first)

    laws.keeps_its_memory_bounded(made, [newcomers(first) for first in range(0, 16_000, 1_000)], slack=0.1)


def test_the_laws_run_into_every_bound():
    stage = made()
    laws.run(stage, [crowded(1)])
    refused = dict(zip(REASONS, stage._world.ledger.refused.sum(axis=0), strict=True))

    assert refused["sampled"] > 10
    assert refused["pending"] > 10
    assert stage._dedup.evicted > 10
    assert stage._tiered.evicted > 10


def signatures():
    """Return how many versions of each loop are compiled."""
    modules = [module for name, module in sys.modules.items() if name.startswith("operators.accumulate.")]
    loops = {
        f"{each.__module__}.{each.__name__}": each
        for module in modules
        for each in vars(module).values()
        if hasattr(each, "signatures")
    }
    return {name: len(loop.signatures) for name, loop in loops.items() if name.startswith("operators.accumulate.")}


def test_the_warm_up_compiles_all_that_is_ever_needed():
    code = (
        "import test_accumulate_laws as t; from operators.accumulate.stage import warm_up; warm_up(); "
        "before = t.signatures(); t.busy(); after = t.signatures(); "
        "assert len(before) > 40, before; assert before == after, {n: after[n] for n in after if before[n] != after[n]}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


def busy():
    """Do with a stage all that can be done with one."""
    stage, changes = made(), Changes()
    for items in threes(sided(1)):
        laws.run(stage, items)
        changes.of(stage, EVERYTHING)
        again = made()
        again.load(unpack(pack(stage.dump())))
    laws.run(stage, [crowded(1)])


def test_a_snapshot_of_other_bounds_is_refused():
    other = Accumulate(AccumulateConfig(max_units=31))

    with pytest.raises(ValueError, match="expected"):
        other.load(made().dump())
