"""The fuzzer itself: it finds what blind mutation does not, the same way each time, and shows it short."""

import importlib.util

import fuzzing
import pytest

PLANTED = """
def parse(data):
    if data[:1] == b"T":
        if data[1:2] == b"G":
            if data[2:3] == b"\\xa7":
                raise KeyError("planted")
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A module with a bug behind three bytes, each on a line of its own."""
    path = tmp_path_factory.mktemp("planted") / "planted.py"
    path.write_text(PLANTED)
    spec = importlib.util.spec_from_file_location("planted", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hunted(planted, covering, cases):
    try:
        return fuzzing.fuzz(planted.parse, [b"........"], covering, 0, at_least=cases), ""
    except fuzzing.Failed as failed:
        return int(str(failed).split()[1]), str(failed)


@pytest.fixture(scope="module")
def guided(planted):
    return hunted(planted, (planted,), 200_000)


def test_it_finds_a_bug_behind_three_bytes_and_shows_the_shortest_input(guided):
    assert guided[1].endswith("KeyError: 'planted'\ninput: b'TG\\xa7'")


def test_blind_mutation_does_not_find_it_in_three_times_as_many_cases(planted, guided):
    print(f"guided: found in case {guided[0]:,}")
    assert hunted(planted, (), 3 * guided[0]) == (3 * guided[0], "")


def test_a_failure_comes_at_the_same_case_with_the_same_input_again(planted, guided):
    assert hunted(planted, (planted,), 200_000) == guided
