"""The set of replayed records, held against a plain set of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.replaying import marks
from connectors.replaying.marks import Kind, Settled

stretches = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12)


@given(stretches)
def test_a_set_holds_what_was_added_and_nothing_else(added):
    settled = Settled(added)

    assert [at for at in range(32) if at in settled] == [
        at for at in range(32) if any(first <= at < end for first, end in added)
    ]


@given(stretches)
def test_runs_are_ascending_and_do_not_touch(added):
    edges = [edge for run in Settled(added).runs for edge in run]

    assert edges == sorted(set(edges))


@given(stretches)
def test_a_set_reads_back_as_it_was_written(added):
    settled = Settled(added)

    assert marks.read(settled.write()).runs == settled.runs


def test_letters_of_another_kind_between_do_not_break_a_run():
    settled = Settled()
    for offset in (3, 7, 20):
        settled.settle(offset)

    assert settled.runs == [(0, 21)]


def test_a_letter_left_out_stays_out_and_is_settled_by_a_later_scan():
    settled = Settled()
    settled.settle(3)
    settled.leave(7)
    settled.settle(20)
    assert settled.runs == [(0, 7), (8, 21)]

    settled = marks.read(settled.write())
    settled.settle(7)
    assert settled.runs == [(0, 21)]


def test_a_settled_letter_that_is_left_out_later_stays_settled():
    settled = Settled([(0, 10)])
    settled.leave(7)

    assert settled.runs == [(0, 10)]


def test_a_letter_told_twice_changes_nothing():
    settled = Settled()
    for offset in (3, 7, 3, 7):
        settled.settle(offset)

    assert settled.runs == [(0, 8)]


def test_a_kind_reads_back_from_its_key():
    kind = Kind("acme.events", 3, "risk", "not_json", again=True)

    assert marks.read_key(marks.key(kind)) == kind


@pytest.mark.parametrize("data", [b"", b"a/b/c/d/fresh", b"a/1/c/d/stale", b"\xff"])
def test_another_key_is_refused_without_being_quoted(data):
    with pytest.raises(marks.Unreadable, match=f"got {len(data)} other bytes"):
        marks.read_key(data)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"version":1,"runs":[[-1,2]]}', b"\xff"])
def test_another_value_is_refused_without_being_quoted(data):
    with pytest.raises(marks.Unreadable, match=f"got {len(data)} other bytes"):
        marks.read(data)


def test_a_later_version_is_refused():
    with pytest.raises(marks.Unreadable, match="expected a record of version 1, got 2"):
        marks.read(b'{"version":2,"runs":[]}')
