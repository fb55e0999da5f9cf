"""Topics of one partition in the order of time: a model of Kafka, in which nothing is there before it is read."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.merge import LIGHT, Merge

SLACK_S, WAIT_S = 1.0, 2.0


class Message:
    def __init__(self, topic, offset, time_ms, size=1):
        self.topic, self.at, self.time_ms, self.size = topic, offset, time_ms, size

    def __len__(self):
        return self.size

    def offset(self):
        return self.at

    def timestamp(self):
        return 1, self.time_ms

    def __repr__(self):
        return f"{self.topic}{self.at}@{self.time_ms}"


def log(topic, times):
    return [Message(topic, offset, time_ms) for offset, time_ms in enumerate(times)]


def merge(*topics, now=0.0):
    return Merge([(topic, 0) for topic in topics], SLACK_S, WAIT_S, now)


def given_out(merged, now, most=10**6):
    return [message for run in merged.take(now, most, 10**6) for message in run.messages]


def times(messages):
    return [(message.topic, message.time_ms) for message in messages]


class Kafka:
    """Logs that are read a few records at a time, in an order that chance decides; nothing comes after their ends."""

    def __init__(self, logs, rng):
        self.logs, self.rng = {log[0].topic: log for log in logs if log}, rng
        self.merged = merge(*self.logs)
        self.handed = []

    def run(self, step_s=0.0, most=7):
        """Read and hand out until everything was; time goes on by `step_s` a turn, and to the end at the end."""
        now = 0.0
        for _ in range(100_000):
            left = {topic: log[self.merged.next(topic) :] for topic, log in self.logs.items()}
            hungry = [topic for topic, rest in left.items() if rest and self.merged.queued(topic) < 20]
            for topic in self.rng.sample(hungry, self.rng.randint(0, len(hungry))):
                self.merged.add(topic, left[topic][: self.rng.randint(1, 9)], now)
            for topic, log in self.logs.items():
                if self.merged.next(topic) < len(log):
                    self.merged.behind(topic, now)
            found = given_out(self.merged, now, most)
            self.handed += found
            if len(self.handed) == sum(map(len, self.logs.values())):
                return self.handed
            if not any(left.values()) and not found:
                now += WAIT_S / 4  # the ends were read: nothing but time moves what is left
            now += step_s
        raise AssertionError("it does not end")


TIMES = st.lists(st.integers(0, 20_000), max_size=60)
LOGS = st.lists(TIMES, min_size=1, max_size=4)
MADE = settings(max_examples=200, deadline=None)


@MADE
@given(LOGS, st.randoms(use_true_random=False), st.sampled_from([0.0, 0.1, 1.0]))
def test_nothing_is_lost_or_handed_out_twice_and_each_topic_keeps_its_order(logs, rng, step_s):
    logs = [log(chr(97 + at), times_) for at, times_ in enumerate(logs)]
    handed = Kafka(logs, rng).run(step_s) if any(logs) else []
    for one in logs:
        assert [each for each in handed if one and each.topic == one[0].topic] == one


@MADE
@given(LOGS, st.randoms(use_true_random=False))
def test_what_is_in_order_in_each_topic_comes_out_in_order_to_within_the_slack(logs, rng):
    """Everything read before the last topic's end: from then on only that one is left, and waits for nobody."""
    logs = [log(chr(97 + at), sorted(times_)) for at, times_ in enumerate(logs)]
    handed = Kafka(logs, rng).run() if any(logs) else []
    newest = itertools.accumulate((each.time_ms for each in handed), max)
    assert all(each.time_ms >= before - SLACK_S * 1000 for each, before in zip(handed, newest, strict=True))


@MADE
@given(st.lists(TIMES, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_disorder_within_topics_adds_no_more_than_that_of_two_of_them(logs, rng):
    """One clock must not hold its topic, so its record goes, ahead by as much; and another topic's may be behind."""
    logs = [log(chr(97 + at), times_) for at, times_ in enumerate(logs)]
    disorder = 0
    for one in logs:
        newest = itertools.accumulate((each.time_ms for each in one), max)
        disorder = max([disorder, *(before - each.time_ms for each, before in zip(one, newest, strict=True))])
    handed = Kafka(logs, rng).run() if any(logs) else []
    newest = itertools.accumulate((each.time_ms for each in handed), max)
    late = [before - each.time_ms for each, before in zip(handed, newest, strict=True)]
    assert max(late, default=0) <= SLACK_S * 1000 + 2 * disorder


def test_a_topic_ahead_of_another_waits_and_goes_on_within_the_slack():
    merged = merge("a", "b")
    merged.add("a", log("a", [0, 900, 1_000, 1_001, 2_000]), 0.0)
    assert given_out(merged, 0.0) == []  # of b nothing is known
    merged.add("b", log("b", [0]), 0.0)
    assert times(given_out(merged, 0.0)) == [("a", 0), ("a", 900), ("a", 1_000), ("b", 0)]
    merged.add("b", [Message("b", 1, 1_000)], 0.0)
    assert times(given_out(merged, 0.0)) == [("b", 1_000), ("a", 1_001), ("a", 2_000)]


def test_runs_are_as_long_as_the_slack_allows():
    merged = merge("a", "b")
    for topic in "ab":
        merged.add(topic, log(topic, range(0, 100_000, 10)), 0.0)
    runs = merged.take(0.0, 10**6, 5)
    assert [len(run.messages) for run in runs[1:5]] == [
        202,
        202,
        202,
        202,
    ]  # 1,000 ms beyond the other's next record, 10 ms after its last


def test_a_run_ends_at_the_first_record_beyond_the_limit_though_later_ones_are_within_it():
    """By looking for the limit as in a sorted list all six would pass."""
    merged = merge("a", "b")
    merged.add("a", log("a", [0, 5_000, 6_000, 7_000, 10, 20]), 0.0)
    merged.add("b", log("b", [0, 100]), 0.0)
    assert times(given_out(merged, 0.0)) == [("a", 0), ("b", 0), ("b", 100)]


def test_a_long_run_is_cut_at_the_same_place_as_a_short_one():
    for length in (10, 31, 32, 33, 500):
        merged = merge("a", "b")
        merged.add("a", log("a", [0] * length + [1_001] * 3 + [0] * 2), 0.0)
        merged.add("b", log("b", [0]), 0.0)
        assert len([each for each in given_out(merged, 0.0) if each.topic == "a"]) == length


@pytest.mark.parametrize("ahead_ms", [3_600_000, 10**12])
@pytest.mark.parametrize("at", [0, 1, 500, 999])
def test_one_clock_that_is_ahead_makes_nothing_behind_it_late(ahead_ms, at):
    metrics = [1_000 * second for second in range(1_000)]
    metrics[at] += ahead_ms
    merged = merge("metrics", "exposures")
    merged.add("metrics", log("metrics", metrics), 0.0)
    merged.add("exposures", log("exposures", range(0, 1_000_000, 1_000)), 0.0)
    stream_ms, late_ms = 0, 0
    for message in given_out(merged, 0.0):
        if message.topic == "exposures":
            stream_ms = max(stream_ms, message.time_ms)
        else:
            late_ms = max(late_ms, stream_ms - message.time_ms)
    assert merged.queued("metrics") <= 1
    assert late_ms <= SLACK_S * 1000 + 2_000  # it is taken for as far as the middle of five, two records on


def test_of_a_topic_of_which_one_record_is_here_its_time_counts():
    merged = merge("a", "b")
    merged.add("b", log("b", [0]), 0.0)
    merged.add("a", log("a", [5_000]), 0.0)
    assert times(given_out(merged, 0.0)) == [("b", 0)]


def test_a_topic_at_its_end_stops_holding_the_others_back_after_the_wait():
    merged = merge("a", "b")
    merged.add("b", log("b", [0]), 5.0)
    merged.add("a", log("a", [10_000]), 5.0)
    assert times(given_out(merged, 5.0)) == [("b", 0)]
    assert given_out(merged, 6.9) == []
    assert times(given_out(merged, 7.0)) == [("a", 10_000)]


def test_a_topic_that_has_been_silent_holds_nobody_back():
    merged = merge("a", "b")
    merged.add("b", log("b", [0]), 5.0)
    given_out(merged, 5.0)
    merged.add("a", log("a", [10_000]), 7.0)
    assert times(given_out(merged, 7.0)) == [("a", 10_000)]


def test_a_topic_that_is_behind_holds_the_others_back_for_however_long():
    merged = merge("a", "b")
    merged.add("a", log("a", [10_000]), 0.0)
    for now in range(100):
        merged.behind("b", float(now))
        assert given_out(merged, float(now)) == []
    assert given_out(merged, 100.9) == []  # it was behind 1.9 s ago
    assert times(given_out(merged, 101.0)) == [("a", 10_000)]


@pytest.mark.parametrize("others", ["b", "bc"])
def test_a_trickle_of_old_times_holds_no_record_back_longer_than_the_wait(others):
    """Backfills, whose topics are never silent: of all of them a record now is read every 100 ms."""
    merged = merge("a", *others)
    merged.add("a", log("a", [10**9]), 5.0)
    waited = []
    for turn in range(60):
        now = 5.0 + turn / 10
        for at, topic in enumerate(others):
            merged.add(topic, [Message(topic, turn, 1_000 * at + turn)], now)
        waited += [now - 5.0 for each in given_out(merged, now) if each.topic == "a"]
    assert waited == [WAIT_S]


def test_records_that_came_in_their_order_wait_for_nobody():
    merged = merge("a", "b")
    rng = random.Random(5)
    now = 100.0
    for turn in range(200):
        now += 0.05
        topic = rng.choice("ab")
        merged.add(topic, [Message(topic, merged.next(topic), round(now * 1000))], now)
        if turn > 60:
            assert len(given_out(merged, now)) == 1
        else:
            given_out(merged, now)


def test_what_was_read_before_is_passed_over():
    merged = merge("a")
    messages = log("a", range(10))
    merged.add("a", messages[:6], 0.0)
    merged.add("a", messages[3:8], 0.0)
    merged.add("a", messages[2:5], 0.0)
    assert [each.at for each in given_out(merged, 0.0)] == list(range(8))
    assert merged.next("a") == 8


def test_no_more_is_handed_out_than_was_asked_for_and_the_rest_later():
    merged = merge("a")
    merged.add("a", log("a", range(10)), 0.0)
    assert [len(given_out(merged, 0.0, 4)) for _ in range(4)] == [4, 4, 2, 0]


def test_runs_are_counted_too_however_short():
    merged = merge("a", "b")
    merged.add("a", log("a", range(0, 2_000_000, 2_000)), 0.0)
    merged.add("b", log("b", range(1_000, 2_000_000, 2_000)), 0.0)
    assert len(merged.take(0.0, 10**6, 7)) == 7


def test_a_heavy_record_that_waits_counts_as_several():
    merged = merge("a")
    sizes = [0, LIGHT - 1, LIGHT, 10 * LIGHT]
    merged.add("a", [Message("a", at, at, size) for at, size in enumerate(sizes)], 0.0)
    left = [merged.queued("a")]
    while given_out(merged, 0.0, 1):
        left.append(merged.queued("a"))
    assert left == [15, 14, 13, 11, 0]


def test_of_equal_times_the_topic_named_first_comes_first():
    merged = merge("b", "a")
    merged.add("a", log("a", [5]), 0.0)
    merged.add("b", log("b", [5]), 0.0)
    assert times(given_out(merged, 0.0)) == [("b", 5), ("a", 5)]
