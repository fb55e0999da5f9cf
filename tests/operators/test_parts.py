"""Snapshots in parts: whatever the order of changes and sweeps, the parts together are the state."""

import dataclasses

import numpy as np
import pytest
from cutting import canonical, cut, select
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import its_parts_are_its_state, run
from stages import STAGES, troubled

from operators.featurize import Featurize, FeaturizeConfig
from operators.parts import EVERYTHING, Assembly, Changes, Sweep
from operators.state import SomeRows, pack, unpack


def test_a_row_is_written_when_it_changed_or_its_slice_is_swept():
    changed = np.zeros(200, np.bool_)
    changed[[7, 150]] = True

    # slice 63 holds rows 63, 127 and 191, slice 0 rows 0, 64, 128 and 192
    assert Sweep(63, 2).rows(changed).tolist() == [0, 7, 63, 64, 127, 128, 150, 191, 192]


def test_a_whole_sweep_writes_every_row():
    assert EVERYTHING.rows(np.zeros(5, np.bool_)).tolist() == [0, 1, 2, 3, 4]


def test_sweeps_that_follow_each_other_for_64_slices_cover_every_row():
    seen, sweep = set(), Sweep(50, 10)
    for _ in range(7):
        seen |= set(sweep.rows(np.zeros(500, np.bool_)).tolist())
        sweep = Sweep(sweep.next, 10)

    assert seen == set(range(500))


class Two:
    """A stage with a value that changes and one that does not."""

    def __init__(self):
        self.count = 0

    def dump(self):
        return {"count": self.count, "fixed": np.arange(3), "gap": np.array([np.nan])}


def test_a_value_that_did_not_change_is_left_out():
    stage, changes = Two(), Changes()
    changes.of(stage, EVERYTHING)
    stage.count = 1

    assert changes.of(stage, Sweep(1, 2)) == {"count": 1}


def test_a_value_that_did_not_change_is_written_again_with_slice_0():
    stage, changes = Two(), Changes()
    changes.of(stage, EVERYTHING)

    assert list(changes.of(stage, Sweep(63, 2))) == ["count", "fixed", "gap"]


def test_the_first_part_after_a_restart_holds_every_value():
    assert list(Changes().of(Two(), Sweep(1, 1))) == ["count", "fixed", "gap"]


def rows(*numbers, length, value):
    return SomeRows(np.array(numbers, np.uint32), np.full((len(numbers), 2), value), length)


def test_newer_rows_replace_older_ones():
    newest = {"a": rows(1, length=3, value=7.0)}
    assembly = Assembly(newest)
    assembly.add({"a": rows(0, 1, length=2, value=5.0)})
    assembly.add({"a": rows(2, length=3, value=6.0)})
    assembly.add(newest)

    assert assembly.finish()["a"][:, 0].tolist() == [5.0, 7.0, 6.0]


def test_a_row_that_no_part_holds_is_noticed():
    newest = {"a": rows(1, length=3, value=7.0)}
    assembly = Assembly(newest)
    assembly.add(newest)

    with pytest.raises(ValueError, match="2 rows are in none of the parts - at a"):
        assembly.finish()


def test_rows_beyond_the_newest_length_are_refused():
    assembly = Assembly({"a": rows(1, length=3, value=7.0)})

    with pytest.raises(ValueError, match="expected at most 3 rows, got 4"):
        assembly.add({"a": rows(3, length=4, value=7.0)})


@pytest.mark.parametrize("name", list(STAGES))
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_parts_of_one_turn_are_the_state(name, data):
    """Any cuts, any sweeps, a restart from the parts at any of them: what is assembled goes on as the stage does."""
    batches = cut(troubled(name), sorted(data.draw(st.sets(st.integers(1, 1_900), min_size=1, max_size=8))))
    its_parts_are_its_state(
        STAGES[name],
        ([batch] for batch in batches),
        lambda: data.draw(st.integers(1, 64)),
        lambda: data.draw(st.booleans()),
    )


def test_rows_that_changed_before_the_arrays_grew_are_written():
    """Room for 256 users at first: the 300 newcomers come after the change, before the next part."""
    everybody = troubled("featurize")
    people = [
        dataclasses.replace(
            everybody,
            user=everybody.user % many + first,
            id_hash=everybody.id_hash + first,
            time_ms=np.full_like(everybody.time_ms, 1_760_000_000_000 + first),
        )
        for first, many in ((1, 40), (2, 5), (100, 300))
    ]
    people[:2] = [select(few, np.arange(len(few.user)) < 50) for few in people[:2]]
    stage, changes = Featurize(FeaturizeConfig()), Changes()
    run(stage, people[:1])
    first = changes.of(stage, EVERYTHING)
    written = unpack(pack(first))
    run(stage, people[1:])
    newest = changes.of(stage, Sweep(60, 1))

    assembly = Assembly(newest)
    assembly.add(written)
    assembly.add(newest)
    again = Featurize(FeaturizeConfig())
    again.load(assembly.finish())
    assert canonical(again.dump()) == canonical(stage.dump())
