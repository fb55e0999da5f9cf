"""What is read when, of topics that come ahead or are merged by time: with stand-ins for the broker."""

import pytest

from connectors import merging, sides
from connectors.merge import LIGHT
from connectors.merging import FULL, NEAR
from connectors.partition import Partition
from connectors.reader import Run
from connectors.sides import SideInputs, SidePlaces, SideTopics
from connectors.takeover import Opened
from operators.batches import Messages

MOST = 10


class Message:
    size = 1

    def __init__(self, offset, time_ms):
        self.at, self.time_ms = offset, time_ms

    def __len__(self):
        return self.size

    def offset(self):
        return self.at

    def value(self):
        return b"v"

    def key(self):
        return b"k"

    def timestamp(self):
        return 1, self.time_ms


class Topic:
    """A topic as the reader of the product shows it: every record has its offset in seconds for its time."""

    def __init__(self, _config, topic):
        self.topic = topic
        self.assigned, self.runs, self.highs, self.reads = [], [], {}, 0

    def assign(self, offsets):
        self.assigned.append(dict(offsets))

    def read(self, _limit, _timeout_s):
        self.reads += 1
        return self.runs.pop(0) if self.runs else {}

    def high_watermark(self, partition):
        return self.highs.get(partition, 10**6)

    def close(self):
        """Nothing to close."""

    def give(self, partition, first, after, *, end=None, times=lambda at: 1_000 * at):
        self.runs.append({partition: Run([Message(at, times(at)) for at in range(first, after)], end)})

    def end(self, partition, offset):
        self.runs.append({partition: Run([], offset)})


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(monkeypatch, clock):
    monkeypatch.setattr(sides, "Reader", Topic)

    def make(*names, **more):
        topics = SideTopics({name: f"p.{name}" for name in names}, "p.journal", "on", most=MOST, **more)
        found = SideInputs({}, topics, clock)
        found.begin()
        return Rig(found, clock)

    return make


def partition(*names, live=True, at=0):
    places = SidePlaces(dict.fromkeys(names, 0), dict.fromkeys(names, 0))
    found = Partition.of(Opened(0, at, at, 0, (), sides=places), "flow", 0.0)
    found.live = live
    return found


class Rig:
    """Side inputs, the input, and one partition, as the engine turns them."""

    def __init__(self, found, clock):
        self.sides, self.clock = found, clock
        self.topics = found._readers
        self.input = Topic({}, "p.input")
        self.ours = {0: partition(*self.topics)}
        self.at = {}  # where the input stands, by what was handed out

    def turn(self, later=0.0):
        """What is handed out, as (short name or "input", first offset, offset after the last)."""
        self.clock.now += later
        for number, run in self.sides.read(self.input, self.ours, 100, 0.0).items():
            if self.ours[number].live and run.messages:
                assert self.sides.keep(number, self.ours[number], run.messages)
        told = []
        for each in self.sides.due(self.ours):
            if isinstance(each, Messages):
                self.at[each.span.partition] = each.span.next
                told.append(("input", each.span.first, each.span.next))
            else:
                assert each.at == self.at.get(each.partition, 0)
                told.append((each.topic, each.first, each.next))
        return told


def test_a_topic_ahead_is_read_to_its_end_before_the_input_is_handed_out(made):
    rig = made("definitions", ahead=frozenset({"definitions"}))
    rig.input.give(0, 0, 3)
    rig.topics["definitions"].give(0, 0, 5)
    rig.topics["definitions"].give(0, 5, 7)
    rig.topics["definitions"].end(0, 7)
    assert rig.turn() == [("definitions", 0, 5)]
    assert rig.turn() == [("definitions", 5, 7)]
    assert rig.turn() == [("input", 0, 3)]


def test_from_then_on_it_is_read_once_in_a_while(made):
    rig = made("definitions", ahead=frozenset({"definitions"}), interval_s=1.0)
    rig.topics["definitions"].end(0, 0)
    rig.turn()
    rig.topics["definitions"].give(0, 0, 1)
    rig.input.give(0, 0, 3)
    assert rig.turn(0.5) == [("input", 0, 3)]
    assert rig.turn(0.5) == [("definitions", 0, 1)]


def test_neither_merged_topics_nor_others_go_before_the_one_ahead(made):
    rig = made(
        "definitions", "metrics", "other", ahead=frozenset({"definitions"}), merged=frozenset({"metrics"}), slack_s=0.5
    )
    rig.topics["metrics"].give(0, 0, 3)
    rig.input.give(0, 0, 3)
    assert rig.turn() == []
    assert rig.topics["other"].assigned == [{}]
    rig.topics["definitions"].end(0, 0)
    assert rig.turn()[0] == ("metrics", 0, 1)
    assert rig.topics["other"].assigned == [{}, {0: 0}]


def test_each_partition_waits_for_its_own(made):
    rig = made("definitions", ahead=frozenset({"definitions"}))
    rig.ours[1] = partition("definitions")
    for number in (0, 1):
        rig.input.give(number, 0, 3)
    rig.topics["definitions"].end(1, 0)
    rig.turn()
    rig.turn()
    assert [rig.ours[number].position for number in (0, 1)] == [0, 3]


def test_a_partition_that_comes_live_later_waits_for_the_end_anew(made):
    rig = made("definitions", ahead=frozenset({"definitions"}))
    rig.ours[1] = partition("definitions", live=False)
    rig.topics["definitions"].end(0, 0)
    rig.turn()
    rig.ours[1].live = True
    rig.input.give(1, 0, 3)
    assert rig.turn() == []
    assert rig.topics["definitions"].assigned[-1] == {0: 0, 1: 0}
    rig.topics["definitions"].end(1, 0)
    assert rig.turn() == [("input", 0, 3)]


def test_input_and_merged_topics_go_by_time(made):
    rig = made("metrics", merged=frozenset({"metrics"}), slack_s=0.5)
    rig.topics["metrics"].give(0, 0, 4, times=lambda at: 2_000 * at)
    rig.input.give(0, 0, 4, times=lambda at: 2_000 * at + 1_000)
    assert rig.turn() == [
        ("metrics", 0, 1), ("input", 0, 1), ("metrics", 1, 2), ("input", 1, 2), ("metrics", 2, 3), ("input", 2, 3),
        ("metrics", 3, 4),
    ]  # fmt: skip
    assert rig.ours[0].position == 3
    assert rig.ours[0].sides.positions == {"metrics": 4}


def test_short_runs_are_shared_out_among_the_partitions(made, monkeypatch):
    monkeypatch.setattr(merging, "RUNS", 4)
    rig = made("metrics", merged=frozenset({"metrics"}), slack_s=0.0)
    rig.ours[1] = partition("metrics")
    for topic in (rig.topics["metrics"], rig.input):
        for number in rig.ours:
            topic.give(number, 0, 4)
    assert len(rig.turn()) == 2  # nothing of the other one is read yet
    assert len(rig.turn()) == 4
    assert rig.ours[1].position > 0


def test_merged_topics_are_read_at_each_turn(made):
    rig = made("metrics", merged=frozenset({"metrics"}), interval_s=100.0)
    for _ in range(3):
        rig.turn()
    assert rig.topics["metrics"].reads == 3


@pytest.mark.parametrize("unread", [NEAR + 1, NEAR])
def test_a_topic_counts_as_read_near_its_end_and_holds_others_back_for_the_wait_from_then_on(made, unread):
    rig = made("metrics", merged=frozenset({"metrics"}), wait_s=2.0)
    rig.topics["metrics"].highs[0] = unread
    rig.input.give(0, 0, 3)
    assert rig.turn() == []
    assert rig.turn(1.9) == []
    assert rig.turn(0.1) == ([("input", 0, 3)] if unread <= NEAR else [])
    assert rig.turn(100.0) == []


def test_the_end_that_the_broker_tells_counts_though_offsets_lie_between(made):
    """Transactions that were aborted, at the end of a topic: nothing will come of these offsets."""
    rig = made("metrics", merged=frozenset({"metrics"}), wait_s=2.0)
    rig.topics["metrics"].highs[0] = 500
    rig.topics["metrics"].end(0, 500)
    rig.input.give(0, 0, 3)
    assert rig.turn() == []
    assert rig.turn(2.0) == [("input", 0, 3)]


def test_the_end_of_the_input_counts_as_well(made):
    rig = made("metrics", merged=frozenset({"metrics"}), wait_s=2.0)
    rig.input.highs[0] = 500
    rig.topics["metrics"].give(0, 0, 3)
    rig.input.end(0, 500)
    assert rig.turn() == []
    assert rig.turn(2.0) == [("metrics", 0, 3)]


def test_an_input_that_is_behind_holds_a_merged_topic_back_however_long(made):
    rig = made("metrics", merged=frozenset({"metrics"}), wait_s=2.0)
    rig.topics["metrics"].give(0, 0, 3)
    assert rig.turn() + rig.turn(1.0) + rig.turn(1.0) + rig.turn(1.0) == []


def busy(rig, turns, *, backlog):
    """Turns of a tenth of a second in which 5 old metrics are read, and more are told of; `backlog`: and wait."""
    metrics, told = rig.topics["metrics"], []
    rig.input.give(0, 0, 1, times=lambda _at: 10**9)
    for turn in range(turns):
        metrics.highs[0] = 10**5 if backlog else 5 * turn + 5 + 6
        metrics.give(0, 5 * turn, 5 * turn + 5)
        told += [name for name, _, _ in rig.turn(0.1)]
    return told


def test_a_topic_whose_new_records_come_all_the_time_is_not_behind_for_that(made, monkeypatch):
    monkeypatch.setattr(merging, "NEAR", 2)
    rig = made("metrics", merged=frozenset({"metrics"}), wait_s=2.0)
    assert "input" in busy(rig, 40, backlog=False)


def test_it_is_while_what_was_there_a_turn_ago_is_not_read(made):
    rig = made("metrics", merged=frozenset({"metrics"}), wait_s=2.0)
    assert "input" not in busy(rig, 40, backlog=True)


def test_while_the_input_is_not_read_it_is_behind(made):
    """As long as another partition is rolled forward over what was read, the engine reads nothing."""
    rig = made("metrics", merged=frozenset({"metrics"}), wait_s=2.0)
    rig.input.end(0, 0)
    rig.turn()
    for minute in range(5):
        rig.clock.now += 60.0
        rig.topics["metrics"].give(0, minute, minute + 1, times=lambda at: 60_000 * at)
        assert rig.sides.due(rig.ours) == []
    assert rig.turn() == []
    assert [each[:2] for each in rig.turn(2.0)] == [("metrics", minute) for minute in range(5)]


def fill(rig, topic, lots):
    """Give what is never handed out, since the other topic is behind."""
    for lot in range(lots):
        topic.give(0, lot * MOST, (lot + 1) * MOST)
        assert rig.turn() == []


def test_a_topic_of_which_enough_is_here_is_not_read_until_less_is(made):
    rig = made("metrics", merged=frozenset({"metrics"}))
    metrics = rig.topics["metrics"]
    metrics.give(0, 0, MOST)
    rig.turn()
    rig.turn()
    assert metrics.reads == 1
    rig.input.give(0, 0, 6)
    rig.turn()
    rig.turn()
    assert metrics.reads == 2


def test_of_heavy_records_fewer_are_enough(made, monkeypatch):
    monkeypatch.setattr(Message, "size", 10 * LIGHT)
    rig = made("metrics", merged=frozenset({"metrics"}))
    metrics = rig.topics["metrics"]
    metrics.give(0, 0, 1)
    assert rig.turn() + rig.turn() == []
    assert metrics.reads == 1
    rig.ours[1] = partition("metrics")
    metrics.give(0, 1, 3)
    assert rig.turn() + rig.turn() == []
    assert metrics.assigned[-1] == {1: 0}


def test_a_partition_that_is_full_is_given_up_while_another_is_read_and_read_on_where_it_was(made):
    rig = made("metrics", merged=frozenset({"metrics"}))
    rig.ours[1] = partition("metrics")
    metrics = rig.topics["metrics"]
    fill(rig, metrics, FULL)
    metrics.give(0, FULL * MOST, FULL * MOST + 5)  # on its way already
    rig.turn()
    assert metrics.assigned == [{0: 0, 1: 0}, {1: 0}]
    assert rig.ours[0].sides.positions == {"metrics": 0}
    rig.input.give(0, 0, 100)
    handed = rig.turn() + rig.turn()
    assert len(metrics.assigned) == 2  # less is here than when it was given up, but plenty
    handed += rig.turn() + rig.turn() + rig.turn() + rig.turn()
    assert [each for each in handed if each[0] == "metrics"][-1][2] <= FULL * MOST
    assert metrics.assigned[2:] == [{0: FULL * MOST, 1: 0}]


def test_the_input_is_given_up_and_read_on_in_the_same_way(made):
    rig = made("metrics", merged=frozenset({"metrics"}))
    rig.ours[1] = partition("metrics")
    fill(rig, rig.input, FULL)
    rig.input.give(0, FULL * MOST, FULL * MOST + 5)  # on its way already
    rig.turn()
    assert rig.input.assigned == [{1: 0}]
    rig.topics["metrics"].give(0, 0, 100)
    for _ in range(9):
        rig.turn()
    assert rig.input.assigned[1:] == [{0: FULL * MOST, 1: 0}]


def test_a_new_assignment_begins_with_nothing_here(made):
    rig = made("metrics", merged=frozenset({"metrics"}))
    rig.topics["metrics"].give(0, 0, MOST)
    rig.input.give(0, 0, 2)
    rig.turn()
    reached = dict(rig.ours[0].sides.positions)
    rig.sides.begin()
    rig.turn()
    assert rig.topics["metrics"].assigned[-1] == {0: reached["metrics"]}


def test_a_topic_cannot_be_merged_and_come_ahead_or_be_unread():
    with pytest.raises(ValueError, match="got both: a"):
        SideTopics({"a": "p.a"}, ahead=frozenset("a"), merged=frozenset("a"))
    with pytest.raises(ValueError, match="topics that are read, got b"):
        SideTopics({"a": "p.a"}, merged=frozenset("b"))


def test_without_either_the_input_is_read_as_it_always_was(made):
    rig = made("labels")
    rig.input.give(0, 0, 3)
    assert rig.sides.read(rig.input, rig.ours, 100, 0.0)[0].messages[-1].at == 2
    assert not rig.sides.keep(0, rig.ours[0], [])
