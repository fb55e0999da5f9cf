"""What is remembered between looks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.running import Running
from operators.state import pack, unpack

READY = np.array([True])


def looks(*rows, ready=True):
    running = Running((1,))
    for lower, upper, log_e in rows:
        running.look(np.array([lower]), np.array([upper]), np.array([log_e]), np.array([ready]))
    return running


@given(st.lists(st.tuples(st.floats(-5, 0), st.floats(0, 5), st.floats(-3, 8)), min_size=1, max_size=20))
def test_all_looks_count_whatever_came_last(rows):
    running = looks(*rows)

    assert running.lower == max(lower for lower, _, _ in rows)
    assert running.upper == min(upper for _, upper, _ in rows)
    assert running.p == pytest.approx(min(1.0, *(np.exp(-log_e) for _, _, log_e in rows)))


def test_before_the_first_look_everything_is_possible():
    running = Running((2, 3))

    assert (running.lower == -np.inf).all()
    assert (running.upper == np.inf).all()
    assert (running.p == 1).all()
    assert not running.changing.any()


def test_a_look_before_the_burn_in_is_over_leaves_no_trace():
    running = looks((0.1, 0.2, 9.0), ready=False)

    assert running.lower == -np.inf
    assert running.p == 1


@pytest.mark.parametrize("row", [(np.nan, 1.0, 9.0), (0.0, np.nan, 9.0), (0.0, 1.0, np.nan)])
def test_a_look_that_knows_nothing_leaves_no_trace(row):
    running = looks((-1.0, 1.0, 0.5), row)

    assert (running.lower, running.upper, running.log_largest) == (-1.0, 1.0, 0.5)


def test_an_interval_that_leaves_nothing_out_counts_as_a_look():
    running = looks((-1.0, 1.0, 0.5), (-np.inf, np.inf, 2.0))

    assert (running.lower, running.upper, running.log_largest) == (-1.0, 1.0, 2.0)


def test_an_empty_intersection_is_an_effect_that_changes():
    assert not looks((-1, 1, 0), (0.5, 2, 0)).changing
    assert looks((-1, 1, 0), (1.5, 2, 0)).changing
    assert looks((-1, 1, 0), (1.5, 2, 0), (0, 3, 0)).changing


def test_effects_do_not_mix():
    running = Running((2,))
    running.look(np.array([0.0, -1.0]), np.array([1.0, 1.0]), np.array([0.0, 3.0]), np.array([True, True]))
    running.look(np.array([0.5, 9.0]), np.array([0.7, 9.0]), np.array([1.0, 9.0]), np.array([True, False]))

    assert running.lower.tolist() == [0.5, -1.0]
    assert running.upper.tolist() == [0.7, 1.0]
    assert running.log_largest.tolist() == [1.0, 3.0]


def test_what_is_remembered_survives_a_snapshot():
    running, back = looks((-1, 1, 2.5), (0, 3, 1)), Running((1,))
    back.load(unpack(pack(running.dump())))
    running.look(np.array([9.0]), np.array([9.0]), np.array([9.0]), READY)

    assert (back.lower, back.upper, back.log_largest) == (0, 1, 2.5)


def test_a_snapshot_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected shape \(2,\), got \(1,\) - at running.lower"):
        Running((2,)).load(Running((1,)).dump())
