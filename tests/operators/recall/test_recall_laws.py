"""The laws of every stage, kept by the one that recalls, over stories that run into all of its bounds."""

import copy
import os
import subprocess
import sys

import laws
import numpy as np
import pytest
from cutting import canonical
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from recall_reference import START, Row
from recall_stories import acted, answered, asked, batched, described, made, small, story

from operators.metrics import Metrics
from operators.noticed import CLICK, Noticed
from operators.recall.config import RecallConfig
from operators.side import Side, TakesSides
from operators.state import Stage, pack, unpack

SEEDS = (1, 2, 3)


def restored(stage):
    again = made(stage.config)
    again.load(unpack(pack(stage.dump())))
    return again


def measured(stage):
    return {(each.metric, *each.labels.values()): each.value for each in stage.measurements()}


def test_it_is_a_stage_that_takes_sides():
    assert isinstance(made(), Stage)
    assert isinstance(made(), TakesSides)


def test_the_laws_run_into_every_bound():
    stage = made()
    found = answered(stage, batched(story(1), 50))
    values = measured(stage)

    assert {each["flags"] for each in found} == {0, 1, 2}
    for name in ("ranking_users", "covisited_items", "dedup", "catalogue_items"):
        assert values[f"tidegate_{name}_evicted_total",] > 1, name
    assert all(value > 0 for (name, *_), value in values.items() if name == "tidegate_candidates_total")


@pytest.mark.parametrize("seed", SEEDS)
def test_it_does_not_care_about_cuts(seed):
    told = story(seed)
    whole, pieces = made(), made()

    assert answered(whole, batched(told, 100)) == answered(pieces, batched(told, 1))
    assert canonical(whole.dump()) == canonical(pieces.dump())


@settings(max_examples=10)
@given(seed=st.integers(10, 1_000), most=st.integers(1, 20))
def test_it_does_not_care_about_any_cuts(seed, most):
    told = story(seed, 120)

    assert answered(made(), batched(told, 100)) == answered(made(), batched(told, most))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_survives_a_snapshot_at_any_place(seed):
    batches = batched(story(seed), 10)
    through, stage, used = made(), made(), made()
    answered(used, batches[-40:])

    for k, batch in enumerate(batches):
        if k % 17 == 0:
            dumped = pack(stage.dump())
            used, stage = stage, used
            stage.load(unpack(dumped))
            answered(used, [batch])  # must not reach the other
        assert answered(through, [batch]) == answered(stage, [batch])
    assert canonical(through.dump()) == canonical(stage.dump())


def test_its_figures_survive_a_snapshot():
    stage = made()
    answered(stage, batched(story(2), 50))

    assert measured(restored(stage)) == measured(stage)


@settings(max_examples=10)
@given(data=st.data())
def test_the_parts_of_one_turn_are_the_state(data):
    """Any sweeps, and a restart from the parts at any of them."""
    told = story(data.draw(st.integers(1, 99)), 200)
    laws.its_parts_are_its_state(
        made,
        (batched(told[k : k + 40], 100) for k in range(0, len(told), 40)),
        lambda: data.draw(st.integers(1, 64)),
        lambda: data.draw(st.booleans()),
    )


def test_it_repeats_itself():
    told = batched(story(5), 30)

    assert answered(made(), told) == answered(made(), told)


def test_it_leaves_its_input_and_earlier_answers_alone():
    stage, batches = made(), batched(story(6), 30)
    answers = []
    for batch in batches:
        rows = batch.noticed if isinstance(batch, Side) else batch.rows
        before = canonical(copy.deepcopy(vars_of(rows)))
        if isinstance(batch, Side):
            stage.take_side(batch)
        else:
            answer = stage.process(batch)
            answers.append((answer, canonical(copy.deepcopy(vars_of(answer)))))
        assert canonical(vars_of(rows)) == before
    assert all(canonical(vars_of(answer)) == before for answer, before in answers)


def vars_of(value):
    return {name: getattr(value, name) for name in value.__slots__} if value is not None else {}


def test_a_batch_of_other_records_is_refused():
    noticed = acted([Row(CLICK, 1, 1, START, 1)]).noticed

    with pytest.raises(TypeError, match="expected requests, got Interactions"):
        made().process(Noticed(asked(first=0).span, "interactions", noticed))


def test_flagged_interactions_change_nothing():
    told = story(7, 200)
    stage = made()
    answered(stage, batched(told, 50))
    stage.take_side(acted([Row(CLICK, 1, 5, stage.stream_ms, 10**9), Row(CLICK, 2, 5, stage.stream_ms, 10**9 + 1)]))
    before = canonical(stage.dump())

    stage.take_side(acted([
        Row(CLICK, 3, 5, stage.stream_ms - 121_000, 10**9 + 2),
        Row(CLICK, 4, 5, stage.stream_ms, 10**9),
        Row(CLICK, 5, 5, stage.stream_ms + 7_201_000, 10**9 + 3),
    ]))  # fmt: skip

    after = canonical(stage.dump())
    differing = {name for name in before if before[name] != after[name]}
    counters = {"memory.sequence.flagged", "memory.refused"}
    proposals = {"memory.sequence.clock", "memory.sequence.proposers", "memory.sequence.proposed_ms"}
    assert counters <= differing <= counters | proposals


def test_a_duplicate_request_is_answered_and_flagged():
    stage = made()
    stage.take_side(described(range(1, 9), START))
    one = {"id": "r", "time_ms": START, "user": 7, "items": ["i1", "i2"]}

    first, again = answered(stage, [asked(one), asked(one, first=1)])

    assert (first.pop("flags"), again.pop("flags")) == (0, 2)
    assert first == again


def test_a_late_request_is_answered_as_of_stream_time():
    stage = made()
    stage.take_side(described(range(1, 9), START))
    stage.take_side(acted([Row(CLICK, 1, 7, START + 1_000_000, 1)]))
    late = {"id": "r", "time_ms": START, "user": 7, "items": ["i1", "i2"]}
    now = {**late, "time_ms": START + 1_000_000}
    again = restored(stage)

    (one,), (other,) = answered(stage, [asked(late)]), answered(again, [asked(now)])

    assert (one.pop("flags"), other.pop("flags")) == (1, 0)
    assert one == other


def test_requests_let_time_go_on_and_change_nothing_else():
    stage = made()
    answered(stage, batched([each for each in story(8, 200) if each[0] != "asks"], 50))
    before = canonical(stage.dump())

    answered(stage, [asked({"time_ms": stage.stream_ms + 5_000, "user": 1_000_004}, first=10_000)])

    after = canonical(stage.dump())
    differing = {name for name in before if before[name] != after[name]}
    assert {name.rpartition(".")[0] or name for name in differing} <= {
        "memory.sequence", "memory.dedup", "flagged", "sources",
    }  # fmt: skip


def test_a_snapshot_of_other_bounds_is_refused():
    with pytest.raises(ValueError, match="expected"):
        made(RecallConfig()).load(made().dump())


def test_the_fingerprint_follows_what_the_state_depends_on():
    users, candidates = small().users, small().candidates
    other = small(users=type(users)(max_users=13, recent=5, categories=2, half_life_s=1_800, promote_after_s=60))

    assert made(other).fingerprint != made().fingerprint
    assert made(small(candidates=type(candidates)(popular=1))).fingerprint == made().fingerprint


def test_memory_is_bounded_under_a_flood_of_users_and_items():
    stage, sizes = made(), []
    for first in range(0, 6_000, 500):
        rows = [Row(CLICK, 100 + first + k, 10**6 + (first + k) // 3, START + k, 1 + first + k) for k in range(500)]
        stage.take_side(acted(rows, first))
        sizes.append(sum(np.asarray(each).nbytes for each in stage.dump().values()))

    assert max(sizes[2:]) <= 1.05 * sizes[1]


def signatures():
    """Return how many versions of each loop are compiled."""
    modules = [module for name, module in sys.modules.items() if name.startswith("operators.recall.")]
    loops = [each for module in modules for each in vars(module).values() if hasattr(each, "signatures")]
    return {f"{each.__module__}.{each.__name__}": len(each.signatures) for each in loops}


def test_the_warm_up_compiles_all_that_is_ever_needed():
    code = (
        "import test_recall_laws as t; from operators.recall import stage; stage.warm_up(); before = t.signatures(); "
        "one = t.made(); t.answered(one, t.batched(t.story(1, 100), 20)); t.restored(one); after = t.signatures(); "
        "assert len(before) > 12, before; assert before == after, {n: after[n] for n in after if before[n] != after[n]}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


def test_every_measurement_is_a_metric_with_its_labels():
    declared = Metrics(CollectorRegistry()).declared

    for each in made().measurements():
        assert {*declared[each.metric]} == {"flow", "partition", *each.labels}, each.metric
