"""The figures of a chaos run: how long partitions were nobody's, told apart by what happened meanwhile."""

import json

import pytest
from chaos_actors import Takeover
from chaos_plan import Faults, make_plan
from chaos_report import Result, as_json, as_markdown, times
from chaos_verdict import Verdict

NOW = 100.0


@pytest.fixture
def at(monkeypatch):
    """Sets the clock to seconds after the fault."""

    def set_clock(seconds):
        monkeypatch.setattr("chaos_actors.time.monotonic", lambda: NOW + seconds)

    return set_clock


def takeover(seconds=None, cause="kill", *, overlapped=False):
    return Takeover(cause, 0, NOW, 10, "former", seconds, overlapped)


def result(**more):
    return Result(make_plan(1, Faults(kills=1)), verdict=Verdict(expected=1), **more)


def test_a_takeover_lasts_until_the_successor_commits_past_what_it_found(at):
    followed = takeover()
    for second, offset, owner in ((1, 10, "former"), (2, 10, "successor"), (3, 11, "successor"), (4, 12, "successor")):
        at(second)
        followed.see(offset, owner)

    assert followed.seconds == 3.0


def test_a_last_commit_of_the_former_owner_is_no_takeover(at):
    followed = takeover()
    at(1)
    followed.see(15, "former")

    assert followed.seconds is None


def test_saying_whose_the_partition_is_now_is_no_answer_yet(at):
    followed = takeover()
    for second, offset in ((1, 15), (2, 15)):  # the former owner's last commit, 15, was not seen under its name
        at(second)
        followed.see(offset, "successor")

    assert followed.seconds is None


def test_median_and_worst_are_of_faults_that_came_alone():
    followed = [
        takeover(1.0),
        takeover(2.0),
        takeover(6.0),
        takeover(9.0, overlapped=True),
        takeover(),
        takeover(8.0, "term"),
    ]
    found = times(followed, "kill")

    assert (found.alone, found.median_s, found.worst_s) == (3, 2.0, 6.0)
    assert (found.overlapped, found.overlapped_worst_s, found.unseen) == (1, 9.0, 1)


def test_a_process_that_ended_as_none_may_breaks_the_promise_whatever_was_read():
    assert result().kept
    assert not result(problems=["process 1 ended with exit code 1"]).kept


def test_a_broken_promise_is_told_with_the_seed_and_the_command_that_makes_the_plan_again():
    told = as_markdown(result(problems=["something"], command="python chaos.py --seed 1"))

    assert "seed 1: BROKEN" in told
    assert "`python chaos.py --seed 1`" in told
    assert "- something" in told


def test_machines_are_told_the_same():
    told = json.loads(as_json(result(takeovers=[takeover(2.5)])))

    assert told["kept"] is True
    assert told["takeover_s"]["kill"]["median_s"] == 2.5
