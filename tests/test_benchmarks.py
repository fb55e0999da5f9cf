"""The benchmarks' own arithmetic: what they count must be what happened, and their peer must do its job."""

import math
import random
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from benchmarks.flow_child import Timed
from benchmarks.peer_flow import WINDOWS_MS, Event, User
from benchmarks.timers import Timers


def answered(timed, first, after):
    """Tell that the stages have answered the records from `first` to `after`."""
    batch = SimpleNamespace(span=SimpleNamespace(first=first, next=after), events=after - first)
    timed.batch("encode", 0, batch, None, 0.0)


@pytest.fixture
def timed():
    timed = Timed(CollectorRegistry(), expected=0)
    timed.begin = lambda: None
    return timed


def test_an_answer_counts_only_from_a_commit_that_began_after_it(timed):
    answered(timed, 0, 10)
    began = time.monotonic()
    time.sleep(0.01)
    answered(timed, 10, 15)  # while the broker commits the ten
    timed.committed("committed", time.monotonic() - began)

    assert timed.covered == 10


def test_a_commit_in_doubt_covers_nothing(timed):
    answered(timed, 0, 10)
    timed.committed("doubt", 0.0)

    assert (timed.covered, timed.ended) == (0, None)


def test_the_time_of_an_inner_part_is_not_counted_in_the_outer_one():
    timers = Timers()
    inner = timers.wrap(lambda: time.sleep(0.05), lambda: "inner")
    outer = timers.wrap(lambda: (time.sleep(0.02), inner()), lambda: "outer")
    timers.start()
    outer()

    assert timers.parts["outer"][0] < 0.05 <= timers.parts["inner"][0]


def test_the_parts_add_up_to_no_more_than_the_total():
    timers = Timers()
    nap = timers.wrap(lambda: time.sleep(0.01), lambda: "nap")
    timers.start()
    nap()
    timers.stop()
    nap()  # after the end

    assert 0.01 <= timers.parts["nap"][0] <= timers.total[0]


def test_the_features_of_the_peer_equal_those_counted_anew_for_each_event():
    rng = random.Random(3)
    attributes = ("ip", "counterparty")
    user, past, time_ms = User(attributes), [], 1_760_000_000_000
    for _ in range(1_500):
        time_ms += int(rng.expovariate(1 / 100_000))  # 1,500 events in 42 hours: every window loses some
        values = (f"ip-{rng.randrange(3)}", f"shop-{int(50 * rng.random() ** 2)}")
        event = Event("id", time_ms, "user", "view", round(100 * rng.random(), 2), values=values)
        past.append(event)
        found = user.features(event)
    counted = {}
    for window in WINDOWS_MS:
        inside = [each for each in past if time_ms - window < each.timestamp]
        counted[f"count_{window}"] = math.log1p(len(inside))
        counted[f"sum_{window}"] = math.log1p(sum(each.amount for each in inside))
        for place, attribute in enumerate(attributes):
            shares = [count / len(inside) for count in Counter(each.values[place] for each in inside).values()]
            counted[f"{attribute}_distinct_{window}"] = math.log1p(len(shares))
            counted[f"{attribute}_entropy_{window}"] = -sum(share * math.log(share) for share in shares)
    assert {name: found[name] for name in counted} == pytest.approx(counted)
