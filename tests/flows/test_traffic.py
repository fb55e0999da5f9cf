"""Users by day, held against counting them all; and what an experiment may expect of them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.traffic import DAY_MS, MOST_DAYS, MOST_USERS, Arrivals, TooManyDays, UserDays

events = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=80)


def counted(seen, most=MOST_USERS):
    users = UserDays(most)
    for user, day in seen:
        users.add(str(user).encode(), day * DAY_MS + 7)
    return users.traffic()


def stream(users, days, seed=5):
    """Users of whom each comes on each day with a probability of .3."""
    chance = random.Random(seed)
    return [(user, day) for day in range(days) for user in range(users) if chance.random() < 0.3]


@given(events)
def test_few_users_are_counted_exactly(seen):
    first, last = min(day for _, day in seen), max(day for _, day in seen)
    traffic = counted(seen)
    kept = range(traffic.first_day, traffic.first_day + len(traffic.daily))
    by_day = [{user for user, at in seen if at == day} for day in kept]

    assert traffic.error == 0.0
    assert traffic.daily == tuple(len(users) for users in by_day)
    assert traffic.new == tuple(len(users - set().union(*by_day[:at])) for at, users in enumerate(by_day))
    assert traffic.whole == (last - first >= 2)
    if traffic.whole:
        assert kept == range(first + 1, last)
    else:
        assert traffic.daily == (max(len({u for u, at in seen if at == day}) for day in (first, last)),)


@given(events, st.randoms(use_true_random=False), st.integers(1, 12))
def test_the_order_of_events_does_not_matter(seen, chance, most):
    shuffled = list(seen)
    chance.shuffle(shuffled)

    assert counted(seen, most) == counted(shuffled, most)


def test_many_users_are_counted_within_the_error_that_is_said_and_in_bounded_memory():
    """20,000 users over 10 whole days, 1,000 remembered: four standard errors."""
    seen = stream(20_000, 12)
    users = UserDays(1000)
    for user, day in seen:
        users.add(str(user).encode(), day * DAY_MS)
        assert len(users) <= 1000
    traffic, exact = users.traffic(), counted(seen)

    assert len(users) > 500
    assert 0.02 < traffic.error < (2 / 1000) ** 0.5
    assert sum(traffic.new) == pytest.approx(sum(exact.new), rel=4 * traffic.error)
    assert sum(traffic.daily) == pytest.approx(sum(exact.daily), rel=4 * traffic.error)
    assert traffic.first_day == exact.first_day == 1


def test_users_who_come_back_are_no_new_units():
    """The same 100 users on three whole days: 100 units after one day, and no more for ever."""
    arrivals = counted([(user, day) for user in range(100) for day in range(5)]).arrivals()

    assert arrivals == Arrivals((100.0, 100.0, 100.0), 0.0)
    assert (arrivals.days(100), arrivals.days(101)) == (1, None)


def test_after_the_days_that_were_counted_new_users_come_as_in_the_second_half():
    """New users on four whole days: 4, 3, 2, 1; so 1.5 a day from then on."""
    new = {1: range(4), 2: range(4, 7), 3: range(7, 9), 4: range(9, 10)}
    seen = [(0, 0), (0, 5), *((user, day) for day, users in new.items() for user in users)]
    arrivals = counted(seen).arrivals()

    assert arrivals == Arrivals((4.0, 7.0, 9.0, 10.0), 1.5)
    assert [arrivals.units(days) for days in (1, 4, 6)] == [4.0, 10.0, 13.0]
    assert [arrivals.days(units) for units in (1, 4, 5, 10, 11, 13, 13.1)] == [1, 1, 2, 4, 5, 6, 7]
    assert arrivals.of(0.5) == Arrivals((2.0, 3.5, 4.5, 5.0), 0.75)


def test_days_without_events_between_others_are_days():
    assert counted([(0, 0), (1, 1), (2, 3), (3, 4)]).daily == (1.0, 0.0, 1.0)


def test_no_events_are_no_traffic():
    assert UserDays().traffic() is None


def test_events_too_far_apart_are_refused():
    assert len(counted([(0, 0), (1, MOST_DAYS - 1)]).daily) == MOST_DAYS - 2
    with pytest.raises(TooManyDays, match="at most 400 days, got them 401 days apart"):
        counted([(0, 0), (1, MOST_DAYS)])
    with pytest.raises(TooManyDays, match="at most 400 days, got more"):
        counted([(0, 2 * day) for day in range(MOST_DAYS + 1)])
