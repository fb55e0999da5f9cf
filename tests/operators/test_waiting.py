"""Rows that wait, against a plain list: the earliest goes first, of two alike the first to come."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators import waiting as waits
from operators.featurize.sequence import TIME_MS, fresh_sequence
from operators.state import pack, unpack
from operators.waiting import MOST, Row

STEPS = st.lists(
    st.tuples(st.sampled_from(["keep", "keep", "take", "restart"]), st.integers(0, 9), st.booleans()), max_size=80
)


def row(number, time_ms, kind=0):
    whole, key = np.int64(0), np.uint64(number)
    return Row(np.int64(kind), key, np.int64(time_ms), key, key, whole, whole, 0.0, 0.0)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_what_is_due_is_what_a_list_says(steps):
    waiting, sequence, held = waits.nothing(), fresh_sequence(), []
    for number, (what, time_ms, told) in enumerate(steps):
        if what == "keep":
            assert not waits.keep(waiting, row(number, time_ms), -1)
            held.append((time_ms, number))
        elif what == "restart":
            waiting = waits.load(unpack(pack(waits.dump(waiting))))
        else:
            due = min((each for each in held if each[0] <= time_ms), default=None)
            found, given_ = waits.next_due(waiting, sequence, np.int64(time_ms), told)
            assert found == (due is not None)
            if due:
                held.remove(due)
                assert (given_.time_ms, given_.what) == due
                assert not told or sequence.clock[TIME_MS] >= due[0]
        assert [int(each) for each in waiting.keys[: waiting.meta[0], 2]] == [each for _, each in held]
        assert not held or waiting.meta[1] == min(held)[0]


def test_the_earliest_time_is_known_though_rows_had_to_go():
    waiting = waits.nothing()
    for number in range(MOST):
        waits.keep(waiting, row(number, 100 + number), -1)
    assert waits.keep(waiting, row(MOST, 5_000), -1)

    assert waiting.meta.tolist() == [MOST, 101]
