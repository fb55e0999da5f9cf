"""Sums that fade: by hand, by definition, and over partitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.state import pack, unpack
from ranking.decay import DAY_S, DecayedSums, half_life_s, trending

DAY_MS = int(DAY_S * 1_000)

events = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40 * DAY_MS), st.floats(-5, 5)), max_size=30)


def summed(rows, half_life=DAY_S):
    sums = DecayedSums(3, 1, half_life)
    if rows:
        item, time, term = (np.array(column) for column in zip(*rows, strict=True))
        sums.add(item, time, term[:, None] * 1.0)
    return sums


def by_definition(rows, now, half_life_s=DAY_S):
    values = np.zeros(3)
    for item, time, term in rows:
        values[item] += term * 0.5 ** ((now - time) / 1_000 / half_life_s)
    return values


def test_trending_by_hand():
    """2 clicks of weight 1 today, 4 yesterday, 1 purchase of weight 10 two days ago, at .8 a day: 2 + 3.2 + 6.4."""
    assert trending([2, 4, 1], [1.0, 1.0, 10.0], [0, 1, 2], 0.8) == pytest.approx(11.6)


def test_what_halves_every_day_has_a_half_life_of_a_day():
    assert half_life_s(0.5) == pytest.approx(DAY_S)


@given(events)
def test_sums_are_those_of_the_definition(rows):
    now = 41 * DAY_MS

    assert summed(rows).at(now)[:, 0] == pytest.approx(by_definition(rows, now), abs=1e-12)


@given(st.lists(st.integers(0, 20), max_size=20), st.floats(0.3, 0.95))
def test_with_the_half_life_of_its_decay_a_sum_is_trending(days, decay):
    now = 20 * DAY_MS
    rows = [(0, now - day * DAY_MS, 1.0) for day in days]
    found = summed(rows, half_life_s(decay)).at(now)[0, 0]

    assert found == pytest.approx(float(trending([1] * len(days), [1] * len(days), days, decay)))


@given(events, st.data())
def test_partitions_add_up_whatever_the_order(rows, data):
    where = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    one, two, three = (summed([row for row, p in zip(rows, where, strict=True) if p == q]) for q in range(3))
    now = 41 * DAY_MS

    assert ((three + one) + two).at(now) == pytest.approx(summed(rows).at(now), abs=1e-12)
    assert (three + one + two).as_of_ms.tolist() == summed(rows).as_of_ms.tolist()


@given(events, st.data())
def test_one_batch_or_many_come_to_the_same(rows, data):
    whole, cut = summed(rows), DecayedSums(3, 1, DAY_S)
    for item, time, term in data.draw(st.permutations(rows)):
        cut.add(np.array([item]), np.array([time]), np.array([[term]]))

    assert cut.at(41 * DAY_MS) == pytest.approx(whole.at(41 * DAY_MS), abs=1e-12)


def test_asking_changes_nothing_and_the_past_is_as_of_the_newest_term():
    sums = summed([(0, DAY_MS, 8.0)])

    assert sums.at(3 * DAY_MS)[0, 0] == pytest.approx(2.0)
    assert sums.at(2 * DAY_MS)[0, 0] == pytest.approx(4.0)
    assert sums.at(0)[0, 0] == pytest.approx(8.0)


def test_an_age_of_many_half_lives_is_nothing_and_no_error():
    assert summed([(0, 0, 8.0)], half_life=0.001).at(4 * 10**12)[0, 0] == 0.0


def test_sums_survive_a_snapshot_and_do_not_change_with_their_copy():
    sums, back = summed([(0, DAY_MS, 8.0), (1, 0, 2.0)]), DecayedSums(3, 1, DAY_S)
    dumped = sums.dump()
    sums.add(np.array([0]), np.array([DAY_MS]), np.array([[1.0]]))
    back.load(unpack(pack(dumped)))

    assert back.at(2 * DAY_MS)[:, 0] == pytest.approx([4.0, 0.5, 0.0])


def test_sums_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(\(2, 1\), 86400.0\) - at other"):
        summed([]) + DecayedSums(2, 1, DAY_S)
    with pytest.raises(ValueError, match=r"got \(\(3, 1\), 60.0\) - at other"):
        summed([]) + DecayedSums(3, 1, 60.0)
    with pytest.raises(ValueError, match=r"expected shape \(2, 1\), got \(3, 1\) - at decay.sums"):
        DecayedSums(2, 1, DAY_S).load(summed([]).dump())
    with pytest.raises(ValueError, match=r"got 0\.0 - at half_life_s"):
        DecayedSums(1, 1, 0.0)
