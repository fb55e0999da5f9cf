"""Plans of chaos runs: the same seed does the same harm, and all of it."""

import itertools

import pytest
from chaos_plan import CALM_S, MOMENTS, Faults, make_plan

EVERYTHING = Faults(kills=40, rescales=8, zombies=6, broker_deaths=3, slow_brokers=3, full_stores=2)
SEEDS = range(20)


def test_a_seed_has_one_plan():
    assert make_plan(7, EVERYTHING) == make_plan(7, EVERYTHING)


def test_another_seed_has_another_plan():
    assert make_plan(7, EVERYTHING) != make_plan(8, EVERYTHING)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_has_as_many_faults_as_were_asked_for(seed):
    assert make_plan(seed, EVERYTHING).counts() == {
        "kill": 40, "rescale": 8, "stall": 6, "broker_kill": 3, "broker_start": 3, "broker_slow": 3,
        "broker_quick": 3, "store_full": 2, "store_free": 2,
    }  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_steps_come_in_order_of_time_after_a_calm_beginning(seed):
    times = [step.at_s for step in make_plan(seed, EVERYTHING).steps]

    assert times == sorted(times)
    assert times[0] >= CALM_S


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_stalled_wakes_when_its_session_is_long_over(seed):
    stalls = [step.lasts_s for step in make_plan(seed, EVERYTHING, session_s=2.0).steps if step.kind == "stall"]

    assert min(stalls) >= 4.0


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_stalled_who_would_have_no_successor(seed):
    plan = make_plan(seed, EVERYTHING)
    processes = plan.processes
    for step in plan.steps:
        processes = step.processes or processes
        assert step.kind != "stall" or processes > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_every_rescale_changes_the_number_of_processes_within_one_to_five(seed):
    plan = make_plan(seed, EVERYTHING)
    numbers = [plan.processes, *(step.processes for step in plan.steps if step.kind == "rescale")]

    assert all(one != other for one, other in itertools.pairwise(numbers))
    assert set(numbers) <= {1, 2, 3, 4, 5}


def test_among_many_kills_every_moment_occurs():
    assert {step.moment for step in make_plan(1, EVERYTHING).steps if step.kind == "kill"} == set(MOMENTS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_or_slow_broker_is_back_before_the_next_one_goes(seed):
    states = [step.kind for step in make_plan(seed, EVERYTHING).steps if step.kind.startswith("broker")]

    assert states[1::2] == [
        {"broker_kill": "broker_start", "broker_slow": "broker_quick"}[each] for each in states[::2]
    ]
