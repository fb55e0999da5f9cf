"""Every figure of the judge stage against brute force, over random streams with all that may go wrong in them."""

import dataclasses
import functools

import judge_reference as reference
import pytest
from judge_streams import CONFIG, GROUPS, SECOND, USER_GROUPS, batches, random_stream
from laws import run

from operators.batches import Change
from operators.judge import Judge
from operators.lists import Judged

STREAMS = [(seed, pace) for seed in range(3) for pace in (5, 20, 60)]
CONFIGS = {
    "plain": CONFIG,
    "by merit": dataclasses.replace(CONFIG, by_merit=True),
    "crowded": dataclasses.replace(CONFIG, max_lists=7, max_kept=3, minimum_adjusted=False),
    "single prefixes": dataclasses.replace(CONFIG, minimum_adjusted=False, minimum_alpha=0.35, shares={"women": 0.6}),
}


def near(value):
    """Return a figure as the record has it: with 6 significant digits."""
    return None if value is None else pytest.approx(value, rel=1e-5, abs=1e-9)


@functools.cache
def judged(name, seed, pace):
    """Return what the stage says of a stream: records of stretches, and alarms."""
    stage, stream = Judge(CONFIGS[name], GROUPS, USER_GROUPS), random_stream(seed, pace=pace * SECOND)
    answers = [each for each in run(stage, batches(stream)) if isinstance(each, Judged)]
    return [q for each in answers for q in each.quality], [a for each in answers for a in each.alarms]


@pytest.fixture(scope="module", params=[(name, *each) for name in CONFIGS for each in STREAMS], ids=str)
def both(request):
    name, seed, pace = request.param
    found, alarms = judged(*request.param)
    lists, ended = reference.run(random_stream(seed, pace=pace * SECOND), CONFIGS[name])
    return CONFIGS[name], found, alarms, lists, ended


def test_stretches_are_told_once_when_they_are_over_and_oldest_first(both):
    config, found, _, _, ended = both

    assert [each.since // (config.window_s * 1_000) for each in found] == [number for number, _ in ended]
    assert len(found) > 2


def test_measures_of_a_stretch_are_those_of_all_its_lists_once_their_time_is_over(both):
    config, found, _, lists, ended = both
    for one, (number, _) in zip(found, ended, strict=True):
        expected = reference.figures(lists, number, config)

        for name in ("lists", "clicked", "evicted", "asked", "model"):
            assert getattr(one, name) == expected[name], name
        for name in ("ndcg", "ndcg_popularity", "mrr", "recall", "brier", "ece"):
            assert getattr(one, name) == near(expected[name]), name
        assert one.recall_of == near(expected["recall_of"])
        assert [each.n for each in one.reliability] == [n for n, *_ in expected["reliability"]]
        assert [each.predicted for each in one.reliability] == near([p for _, p, _ in expected["reliability"]])
        assert [each.clicked for each in one.reliability] == near([y for *_, y in expected["reliability"]])
        assert [each.clicks for each in one.groups] == expected["clicks"]
        assert [(each.group, each.lists) for each in one.user_groups] == [
            (name, n) for name, n, _ in expected["user_groups"]
        ]
        for each, (*_, ndcg) in zip(one.user_groups, expected["user_groups"], strict=True):
            assert each.ndcg == near(ndcg)


def test_what_is_shown_counts_for_steps_groups_and_minimum_proportions(both):
    config, found, _, lists, ended = both
    for one, (number, _) in zip(found, ended, strict=True):
        expected = reference.served(lists, number, config)

        assert {each.name: each.cost for each in one.steps} == near(
            {k: cost for k, (cost, _) in expected["steps"].items()}
        )
        assert {each.name: each.moved for each in one.steps} == near({k: m for k, (_, m) in expected["steps"].items()})
        assert [(each.items, each.shown) for each in one.groups] == [each[:2] for each in expected["groups"]]
        for each, (*_, exposure, merit, per_merit) in zip(one.groups, expected["groups"], strict=True):
            assert each.exposure == near(exposure)
            assert each.merit == near(merit)
            assert each.per_merit == near(per_merit)
        assert {each.group: each.lists for each in one.minimum} == {k: n for k, (n, _) in expected["minimum"].items()}
        if not config.minimum_adjusted:
            assert {each.group: each.failed for each in one.minimum} == {
                k: f for k, (_, f) in expected["minimum"].items()
            }


def test_alarms_bet_on_every_list_that_has_both_sides_in_its_order(both):
    config, found, alarms, lists, ended = both
    for one, (_, place) in zip(found, ended, strict=True):
        for at, test in enumerate(one.tests):
            expected = reference.alarm(lists, place, at + 1, config)

            assert (test.group, test.lists) == (GROUPS[at], expected["lists"])
            assert test.log_e == pytest.approx(expected["log_e"], rel=1e-5, abs=1e-6)
            assert test.log_largest == pytest.approx(expected["largest"], rel=1e-5, abs=1e-6)
            assert test.difference == near(expected["apart"])
            assert test.alarm == (expected["fired"] is not None)
            assert (test.alpha, test.tolerance) == (config.alpha, config.tolerance)
    assert len(alarms) == sum(
        reference.alarm(lists, len(lists) ** 3, at + 1, config)["fired"] is not None for at in range(len(GROUPS))
    )
    assert all(isinstance(each, Change) and each.kind == "fairness" for each in alarms)


def test_the_streams_hold_what_they_are_for():
    """Clicks, evictions, alarms, several rankers and stretches without a click: else the tests above prove little."""
    found, alarms = [], []
    for name in CONFIGS:
        for seed, pace in STREAMS:
            stretches, fired = judged(name, seed, pace)
            found += stretches
            alarms += fired

    assert sum(each.evicted for each in found) > 50
    assert len(alarms) > 2
    assert {each.model for each in found} == {"m1", "m2", "several"}
    assert any(each.clicked == 0 for each in found)
    assert any(each.failed for one in found for each in one.minimum)
    assert any(each.ndcg != each.ndcg_popularity for each in found)
