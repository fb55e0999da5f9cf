"""Where side inputs begin, what is refused, and what is read when: with stand-ins for the broker."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors import sides
from connectors.journal import Entry, checksum
from connectors.partition import Partition
from connectors.progress import Progress, SnapshotPlace
from connectors.reader import CannotStart, OffsetGone, Run
from connectors.sides import SideInputs, SidePlaces, SideTopics
from connectors.takeover import Opened

GONE = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no such topic"))


class Message:
    def __init__(self, offset, value=b"v"):
        self.at, self.read = offset, value

    def offset(self):
        return self.at

    def value(self):
        return self.read

    def key(self):
        return b"k"

    def timestamp(self):
        return 1, 1_000 + self.at


class Topic:
    """A side topic of two partitions, as the reader of the product would show it."""

    def __init__(self, _config, topic):
        self.topic = topic
        self.low, self.high = 3, 20
        self.counts = {"p.labels": 2, "p.journal": 2}
        self.assigned, self.runs, self.gone = [], {}, False

    def partitions(self, topic):
        if topic not in self.counts:
            raise GONE
        return self.counts[topic]

    def bounds(self, _partition):
        return self.low, self.high

    def assign(self, offsets):
        self.assigned.append(dict(offsets))

    def read(self, _limit, _timeout_s):
        if self.gone:
            raise OffsetGone("p.labels[0]: out of range")
        runs, self.runs = self.runs, {}
        return runs

    def high_watermark(self, _partition):
        return self.high

    def close(self):
        """Nothing to close."""


class Book:
    """A journal whose entries all lie there, from offset 50 on."""

    def __init__(self, _config, topic):
        self.topic = topic
        self.entries, self.asked = [], []

    def end(self, _partition):
        return 50 + len(self.entries)

    def read(self, _partition, start, pending, _poll):
        self.asked.append(start)
        for each in self.entries[max(0, start - 50) :]:
            pending.add(each)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(sides, "Reader", Topic)
    monkeypatch.setattr(sides, "Journal", Book)

    def make(**more):
        topics = SideTopics({"labels": "p.labels"}, "p.journal", "risk.labels.enabled", **more)
        found = SideInputs({}, topics, Clock())
        return found, found._readers["labels"], found._journal

    return make


def opened(found, told=None, place=None, start=100, committed=200):
    return found.open(0, start, committed, told, place, lambda: None)


def said(first, after, at):
    return Entry("labels", at, first, after, after - first, "")


TOLD = Progress("o", 0, sides={"labels": 9}, sides_begin={"labels": 3}, journal=50)


@pytest.mark.parametrize(("at_end", "place"), [(False, 3), (True, 20)])
def test_a_partition_without_a_past_begins_where_the_flow_does(made, at_end, place):
    found, _, _ = made(at_end=at_end)
    assert opened(found) == SidePlaces({"labels": place}, {"labels": place}, 50, 50)


def test_a_topic_that_comes_ahead_begins_at_the_beginning_wherever_the_flow_does(made):
    found, _, _ = made(at_end=True, ahead=frozenset({"labels"}))
    assert opened(found).committed == {"labels": 3}


def test_a_partition_from_before_side_inputs_begins_there_too_and_rolls_nothing_forward(made):
    found, _, _ = made()
    told = Progress("o", 0, snapshots=(SnapshotPlace(100, "a" * 32, 1),))
    assert opened(found, told, told.snapshots[0]) == SidePlaces({"labels": 3}, {"labels": 3}, 50, 50)


MERGED = {"merged": frozenset({"labels"})}


def test_a_merged_topic_that_is_switched_on_later_begins_at_its_end(made):
    found, _, _ = made(**MERGED)
    told = Progress("o", 0, sides={"other": 5}, sides_begin={"other": 0}, journal=50)
    places = opened(found, told, SnapshotPlace(200, "a" * 32, 1, sides={"other": 5}, journal=50))
    assert (places.committed["labels"], places.begin["labels"]) == (20, 20)


def test_without_a_past_it_begins_where_the_flow_does_also_after_a_kill_before_it_was_first_applied(made):
    found, _, _ = made(**MERGED)
    first = opened(found)
    assert first.committed == {"labels": 3}
    claimed = Partition.of(Opened(0, 100, 100, 0, (), sides=first), "flow", 0.0).sides.written
    told = Progress("o", 100, sides=claimed, sides_begin=dict(first.begin), journal=first.journal_begin)
    assert opened(found, told).committed == {"labels": 3}


def test_a_snapshot_that_has_everything_asks_the_journal_nothing(made):
    found, _, book = made()
    place = SnapshotPlace(100, "a" * 32, 1, sides={"labels": 9}, journal=7)
    assert opened(found, TOLD, place) == SidePlaces({"labels": 9}, {"labels": 3}, 50, 50)
    assert book.asked == []


def test_what_the_snapshot_lacks_is_found_in_the_journal_from_where_the_snapshot_says(made):
    found, _, book = made()
    book.entries = [said(3, 5, 90), said(5, 9, 150)]
    place = SnapshotPlace(100, "a" * 32, 1, sides={"labels": 5}, journal=51)
    assert opened(found, TOLD, place) == SidePlaces({"labels": 9}, {"labels": 3}, 50, 52, (said(5, 9, 150),))
    assert book.asked == [51]


def test_without_a_snapshot_everything_since_the_beginning_is_applied_again(made):
    found, _, book = made()
    book.entries = [said(3, 5, 90), said(5, 9, 150)]
    assert opened(found, TOLD, None, start=0).entries == (said(3, 5, 90), said(5, 9, 150))
    assert book.asked == [50]


def test_a_snapshot_from_before_side_inputs_needs_everything_since_they_began(made):
    found, _, book = made()
    book.entries = [said(3, 9, 150)]
    assert opened(found, TOLD, SnapshotPlace(100, "a" * 32, 1)).entries == (said(3, 9, 150),)


def test_a_journal_that_lacks_an_entry_is_refused_with_what_to_do(made):
    found, _, book = made()
    book.entries = [said(5, 9, 150)]
    with pytest.raises(CannotStart, match=r"from 3, found one from 5.*Bring p\.journal back, or give the history up"):
        opened(found, TOLD, None, start=0)


def test_a_journal_that_no_longer_goes_back_so_far_serves_if_it_has_what_is_needed(made):
    found, _, book = made()
    book.entries = [said(5, 9, 150)]
    place = SnapshotPlace(100, "a" * 32, 1, sides={"labels": 5}, journal=7)
    assert opened(found, TOLD, place).entries == (said(5, 9, 150),)


def test_a_side_topic_made_anew_is_refused(made):
    found, topic, _ = made()
    topic.high = 8
    with pytest.raises(CannotStart, match=r"applied up to 9, which lies beyond the end of the log \(8\)"):
        opened(found, TOLD)


def test_a_missing_topic_is_refused_with_what_to_do(made):
    found, topic, _ = made()
    del topic.counts["p.labels"]
    with pytest.raises(
        CannotStart, match=r"no topic p\.labels: `tidegate topics create`.*risk\.labels\.enabled = false"
    ):
        found.check(2)


def test_a_missing_journal_is_refused(made):
    found, topic, _ = made()
    del topic.counts["p.journal"]
    with pytest.raises(CannotStart, match=r"no topic p\.journal"):
        found.check(2)


def test_another_number_of_partitions_is_refused(made):
    found, _, _ = made()
    with pytest.raises(CannotStart, match=r"p\.labels has 2 partitions, the input has 3"):
        found.check(3)


def test_switched_off_nothing_is_asked_and_what_was_applied_stays_noted():
    off = SideInputs({}, SideTopics(), Clock())
    off.check(7)
    assert opened(off) == SidePlaces()
    place = SnapshotPlace(200, "a" * 32, 1, sides={"labels": 9}, journal=60)
    assert opened(off, TOLD, place, 200) == SidePlaces({"labels": 9}, {"labels": 3}, 50, 60)
    assert off.due({}) == []


def test_switched_off_while_labels_are_still_to_be_rolled_forward_is_refused():
    off = SideInputs({}, SideTopics(), Clock())
    place = SnapshotPlace(100, "a" * 32, 1, sides={"labels": 5}, journal=60)
    with pytest.raises(CannotStart, match=r"labels must be read again .* Switch it on again"):
        opened(off, TOLD, place)


def partition(*, live=True, at=100, labels=3):
    made = Partition.of(Opened(0, at, at, 0, (), sides=SidePlaces({"labels": labels}, {"labels": 3})), "risk", 0.0)
    made.live = live
    return made


def test_new_records_are_applied_where_the_partition_stands_and_read_on_from_there(made):
    found, topic, _ = made()
    ours = {0: partition(), 1: partition(live=False)}
    assert found.due(ours) == []
    assert topic.assigned == [{0: 3}]  # not the one that is rolled forward: it would be too early
    topic.runs = {0: Run([Message(4), Message(6)])}
    found._clock.now = 1.0
    [side] = found.due(ours)

    assert (side.partition, side.at, side.first, side.next, side.offsets) == (0, 100, 3, 7, [4, 6])
    assert not side.muted
    assert side.source == "p.labels"
    assert ours[0].sides.positions == {"labels": 7}
    ours[1].live = True
    found._clock.now = 2.0
    found.due(ours)
    assert topic.assigned[1:] == [{0: 7, 1: 3}]


def test_they_are_read_once_in_a_while(made):
    found, topic, _ = made(interval_s=1.0)
    ours = {0: partition()}
    found.due(ours)
    topic.runs = {0: Run([Message(4)])}
    found._clock.now = 0.9
    assert found.due(ours) == []
    found._clock.now = 1.0
    assert len(found.due(ours)) == 1


def test_records_that_expired_unread_end_the_flow_with_what_to_do(made):
    found, topic, _ = made()
    topic.gone = True
    with pytest.raises(OffsetGone, match=r"expired before they were applied.*longer retention"):
        found.due({0: partition()})


def test_how_far_behind_it_is(made):
    found, _, _ = made()
    assert list(found.lags({0: partition(labels=15)})) == [(0, "labels", 5)]


class Past:
    def __init__(self, _config, _topic, _partition):
        self.messages = [Message(5), Message(6), Message(8)]

    def take(self, first, after):
        return [each for each in self.messages if first <= each.offset() < after]

    def close(self):
        """Nothing to close."""


RIGHT = checksum([5, 6, 8], [b"k"] * 3, [b"v"] * 3)


def test_what_was_applied_is_read_again_muted(made, monkeypatch):
    monkeypatch.setattr(sides, "Past", Past)
    side = made()[0].again(0, Entry("labels", 150, 4, 9, 3, RIGHT))
    assert (side.at, side.first, side.next, side.offsets, side.muted) == (150, 4, 9, [5, 6, 8], True)


@pytest.mark.parametrize(
    "entry",
    [
        Entry("labels", 150, 4, 9, 4, RIGHT),  # one has expired
        Entry("labels", 150, 4, 12, 3, RIGHT),  # the last one has
        Entry("labels", 150, 4, 9, 3, "0" * 16),  # others lie there now
        Entry("labels", 150, 20, 22, 2, RIGHT),  # nothing does
    ],
)
def test_records_that_are_gone_or_are_others_are_refused(made, monkeypatch, entry):
    monkeypatch.setattr(sides, "Past", Past)
    with pytest.raises(CannotStart, match=rf"expected the {entry.records} records .* that were applied at 150"):
        made()[0].again(0, entry)


def test_a_barrier_is_due_when_labels_alone_moved():
    ours = partition()
    assert not ours.moved
    ours.sides.positions["labels"] = 4
    assert ours.moved
    ours.note_barrier(1.0)
    assert not ours.moved
