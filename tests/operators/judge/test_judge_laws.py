"""The laws of the judge stage: cuts do not matter, a restart goes on, flagged lists change nothing, bounds hold."""

import dataclasses
import random

import numpy as np
import pytest
from cutting import canonical
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_streams import (
    CONFIG,
    GROUPS,
    MINUTE,
    SECOND,
    START,
    USER_GROUPS,
    Asked,
    Did,
    batches,
    ordered,
    random_list,
    random_stream,
    side,
)
from laws import its_parts_are_its_state, keeps_its_memory_bounded, run

from operators.batches import AHEAD, DUPLICATE, LATE
from operators.judge import Judge, JudgeConfig
from operators.lists import Judged
from operators.parts import Tracked
from operators.side import TakesSides
from operators.state import Stage, pack, unpack

SMALL = dataclasses.replace(CONFIG, max_lists=9)


def fresh(config=SMALL):
    return Judge(config, GROUPS, USER_GROUPS)


def told(answers):
    """Return what answers say, whatever the batches: each record with the offset of the list it came with or before."""
    found = [each for each in answers if isinstance(each, Judged)]
    return [each for one in found for each in one.quality], [each for one in found for each in one.alarms]


def restarted(stage):
    again = fresh(stage.config)
    again.load(unpack(pack(stage.dump())))
    return again


def test_judge_is_a_stage_that_takes_sides_and_knows_what_changed():
    assert isinstance(fresh(), Stage)
    assert isinstance(fresh(), TakesSides)
    assert isinstance(fresh(), Tracked)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.sets(st.integers(1, 400), max_size=40))
def test_neither_answers_nor_state_depend_on_where_batches_are_cut(seed, cuts):
    stream = random_stream(seed, n=250)
    whole, pieces = fresh(), fresh()

    assert told(run(whole, batches(stream))) == told(run(pieces, batches(stream, cuts)))
    assert canonical(whole.dump()) == canonical(pieces.dump())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.integers(0, 100))
def test_a_restart_anywhere_goes_on_as_if_nothing_had_happened(seed, at):
    found = batches(random_stream(seed, n=250))
    at = at % len(found)
    stage = fresh()
    run(stage, found[:at])
    again = restarted(stage)

    assert told(run(stage, found[at:])) == told(run(again, found[at:]))
    assert canonical(stage.dump()) == canonical(again.dump())


@pytest.mark.parametrize("seed", range(4))
def test_parts_of_a_snapshot_are_the_state(seed):
    rng = random.Random(seed)
    found = batches(random_stream(seed, n=600, pace=5 * SECOND))
    stretches = [found[at : at + 5] for at in range(0, len(found), 5)]

    its_parts_are_its_state(
        lambda: fresh(dataclasses.replace(CONFIG, max_lists=100)),
        stretches,
        lambda: rng.choice((1, 7, 30)),
        lambda: rng.random() < 0.3,
    )


@pytest.mark.parametrize("flag", [LATE, DUPLICATE, AHEAD])
def test_a_flagged_list_changes_nothing(flag):
    rng = random.Random(flag)
    found = batches(random_stream(3, n=150)[:-2])
    lists = [random_list(rng, START + at * MINUTE, 900 + at, biased=True) for at in (0, 20, 500)]
    flagged = ordered([each._replace(flag=flag) for each in lists], first=1_000)
    after = [ordered([each._replace(flag=0)], first=1_003 + at) for at, each in enumerate(lists)]

    without, with_flagged = fresh(), fresh()
    run(without, found)
    run(with_flagged, found)

    assert told(run(with_flagged, [flagged])) == ([], [])
    assert canonical(with_flagged.dump()) == canonical(without.dump())
    assert told(run(with_flagged, after)) == told(run(without, after))


@pytest.mark.parametrize("topic", ["items", "ranking.catalogue", "uplift"])
def test_other_side_topics_say_nothing_here(topic):
    stage = fresh()
    run(stage, batches(random_stream(1, n=60)[:-2]))
    before = canonical(stage.dump())
    stage.take_side(dataclasses.replace(side([]), topic=topic, noticed=None))

    assert canonical(stage.dump()) == before


def test_memory_stays_within_its_bounds_however_many_lists_and_users_come():
    rng = random.Random(1)
    config = JudgeConfig(max_lists=60, max_kept=5, window_s=600)

    def stream():
        for at in range(30):
            lists = [
                random_list(rng, START + 20 * (20 * at + n) * SECOND, 20 * at + n + 1, biased=False)._replace(
                    user=20 * at + n + 1, flag=0
                )
                for n in range(20)
            ]
            yield ordered(lists, first=20 * at)
            yield side([Did(each.time_ms, 3, user=each.user, ranking=each.ranking) for each in lists])

    keeps_its_memory_bounded(lambda: Judge(config, GROUPS, USER_GROUPS), stream())


def test_lists_beyond_the_bound_push_out_the_oldest_and_are_counted():
    stage = fresh(dataclasses.replace(SMALL, max_lists=2))
    lists = [Asked(START + at, [1, 2], user=at + 1, ranking=at + 1) for at in range(5)]
    clicks = [Did(START + 10, 1, user=at + 1, ranking=at + 1) for at in range(5)]
    later = Asked(START + 10**8, [1], ranking=99)
    answers = run(stage, batches([*lists, *clicks, later]))
    (one,) = told(answers)[0]

    assert (one.lists, one.evicted, one.clicked) == (5, 3, 2)


def test_a_state_of_other_bounds_is_refused():
    with pytest.raises(ValueError, match="expected"):
        fresh().load(fresh(dataclasses.replace(SMALL, max_lists=300)).dump() | {"kept.ends": np.array([0, 50])})
    with pytest.raises(ValueError, match="sums"):
        fresh().load(Judge(SMALL, (*GROUPS, "third")).dump())


def test_whatever_the_state_depends_on_is_in_the_fingerprint():
    prints = {
        Judge(SMALL, GROUPS, USER_GROUPS).fingerprint,
        Judge(SMALL, GROUPS).fingerprint,
        Judge(CONFIG, GROUPS, USER_GROUPS).fingerprint,
        Judge(dataclasses.replace(SMALL, alpha=0.2), GROUPS, USER_GROUPS).fingerprint,
        Judge(dataclasses.replace(SMALL, shares={}), GROUPS, USER_GROUPS).fingerprint,
        Judge(SMALL, GROUPS, USER_GROUPS, "other key").fingerprint,
    }

    assert len(prints) == 6


def test_settings_that_cannot_be_meant_are_refused():
    with pytest.raises(ValueError, match=r"^expected judge\.shares of women, got local$"):
        Judge(SMALL, GROUPS[:1])
    with pytest.raises(ValueError, match="ascend"):
        Judge(dataclasses.replace(SMALL, bins=(0.5, 0.1)), GROUPS)
