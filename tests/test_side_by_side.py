"""Tests that run side by side: each file whole in one process, those of the broker in few, nothing forgotten."""

import pytest
from side_by_side import BROKER_S, LONG, groups, hands


@pytest.fixture(scope="module")
def files(repository):
    return sorted(
        path.relative_to(repository / "tests").as_posix() for path in (repository / "tests").rglob("test_*.py")
    )


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_each_file_is_in_one_group_and_those_of_the_broker_in_one_fewer_than_processes(files, processes):
    found = groups(files, processes)

    assert sorted(found) == files
    of_the_broker = {group for file, group in found.items() if file.startswith("broker/")}
    assert len(of_the_broker) == processes - 1
    assert all(group == file for file, group in found.items() if group not in of_the_broker)


def test_groups_of_the_broker_are_begun_first_then_what_is_long_then_the_rest_as_it_comes(files):
    found = groups(files, 3)
    begun = list(dict.fromkeys(found.values()))

    assert begun[:2] == ["broker-0", "broker-1"]
    assert begun[2 : 2 + len(LONG)] == list(LONG)
    assert begun[2 + len(LONG) :] == sorted(begun[2 + len(LONG) :])


def test_who_has_least_gets_the_longest_that_is_left(monkeypatch):
    monkeypatch.setattr("side_by_side.BROKER_S", {"a": 10, "b": 60, "c": 30, "d": 25})

    # b | c | c d | c d, a | and e, of which nothing is known, to b's 60 against 65
    assert hands("abcde", 2) == {"b": 0, "c": 1, "d": 1, "a": 1, "e": 0}


def test_the_files_that_are_said_to_be_long_are_there(files):
    assert set(BROKER_S) | set(LONG) <= set(files)
