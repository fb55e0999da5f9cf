"""The ledger while a commit is under way: the broker's part is a stand-in that ends when the test says so."""

import json
import threading
import time

import pytest

from connectors import progress
from connectors.ledger import Ledger
from connectors.partition import Partition
from connectors.sides import SidePlaces
from connectors.snapshots import DirectoryStore
from connectors.takeover import Opened
from operators.batches import Encoded, Span
from operators.control import Barrier
from operators.side import Side, applied


class Written:
    """A record in the log, as its delivery is told."""

    def __init__(self, offset):
        self.at = offset

    def offset(self):
        return self.at


class SlowDelivery:
    """Commits end when `end` is set; `committed` holds the offsets in the order in which they became the truth."""

    owner = "owner-1"
    overlaps = True

    def __init__(self):
        self.end = threading.Event()
        self.committed, self.texts, self.watched = [], [], []

    def produce_all(self, records, partition, names):
        """Nothing is written in these tests."""

    def produce_watched(self, topic, key, value, partition, timestamp_ms, on_delivery):
        self.watched.append((topic, key, json.loads(value)))
        on_delivery(None, Written(70 + len(self.watched)))

    def commit(self, offsets, membership):
        def finish():
            assert self.end.wait(10)
            self.committed += [each.offset for each in offsets]
            self.texts += [progress.read(each.metadata) for each in offsets]

        return finish

    def drop(self):
        return False


class Quiet:
    def __getattr__(self, name):
        return lambda *_, **__: None


@pytest.fixture
def ledger(tmp_path):
    made = Ledger("risk", "events", str, DirectoryStore(tmp_path, "risk"), Quiet(), time.monotonic, "journal")
    made.partitions = {0: Partition(Opened(0, 100, 100, 0, ()), 100, live=True, done=100)}
    made.delivery = SlowDelivery()
    return made


def test_a_snapshot_stored_while_a_commit_is_under_way_does_not_turn_the_offset_back(ledger):
    ledger.write(Encoded(Span(0, 100, 250), []))
    ledger.commit(None)
    threading.Timer(0.1, ledger.delivery.end.set).start()

    ledger.store(Barrier(0, 250), None)
    ledger.commit(None)
    ledger.settle()

    assert ledger.delivery.committed == [250, 250]


def test_what_comes_during_a_commit_waits_for_the_next_one(ledger):
    ledger.write(Encoded(Span(0, 100, 250), []))
    ledger.commit(None)
    assert ledger.delivery.committed == []
    threading.Timer(0.1, ledger.delivery.end.set).start()

    ledger.write(Encoded(Span(0, 250, 300), []))
    assert ledger.delivery.committed == [250]
    ledger.commit(None)
    ledger.settle()

    assert ledger.delivery.committed == [250, 300]
    assert ledger.partitions[0].done == 300


def test_the_first_commit_of_a_new_owner_keeps_what_stood_beside_the_offset(ledger):
    """A kill right after it must not begin the audit chain anew."""
    opened = Opened(0, 100, 100, 0, (), beside="7:abc")
    ledger.partitions = {0: Partition.of(opened, "risk", 0.0)}
    ledger.delivery.end.set()

    ledger.claim(None)

    assert [text.beside for text in ledger.delivery.texts] == ["7:abc"]


def test_what_stands_beside_the_offset_belongs_to_it(ledger):
    ledger.delivery.end.set()
    ledger.write(Encoded(Span(0, 100, 250), [], "8:def"))
    ledger.write(Encoded(Span(0, 250, 300, muted=True), [], ""))
    ledger.commit(None)
    ledger.settle()

    assert [text.beside for text in ledger.delivery.texts] == ["8:def"]
    assert ledger.delivery.committed == [250]


def labels(at, first, after, *, muted=False):
    count = after - first
    offsets = list(range(first, after))
    return applied("risk", Side(0, "labels", at, first, after, [b"v"] * count, [b"k"] * count, offsets, offsets, muted))


def test_labels_without_events_commit_the_same_offset_with_a_new_side_offset(ledger):
    opened = Opened(0, 100, 100, 0, (), beside="7:abc", sides=SidePlaces({"labels": 4}, {"labels": 2}, 60, 66))
    ledger.partitions = {0: Partition.of(opened, "risk", 0.0)}
    ledger.delivery.end.set()

    ledger.write(labels(100, 4, 6))
    assert ledger.dirty
    ledger.commit(None)
    ledger.settle()

    assert ledger.delivery.committed == [100]
    [told] = ledger.delivery.texts
    assert (told.sides, told.sides_begin, told.journal) == ({"labels": 6}, {"labels": 2}, 60)
    [(topic, key, entry)] = ledger.delivery.watched
    assert (topic, key) == ("journal", b"labels")
    assert (entry["at"], entry["first"], entry["next"], entry["records"]) == (100, 4, 6, 2)


def test_labels_that_were_applied_before_are_not_written_again(ledger):
    ledger.write(labels(100, 4, 6, muted=True))
    assert ledger.delivery.watched == []
    assert not ledger.dirty


def test_a_snapshot_names_the_labels_in_it_and_where_the_journal_goes_on(ledger):
    opened = Opened(0, 100, 100, 0, (), sides=SidePlaces({"labels": 4}, {"labels": 2}, 60, 66))
    ledger.partitions = {0: Partition.of(opened, "risk", 0.0)}
    ledger.delivery.end.set()

    ledger.write(labels(100, 4, 6))
    ledger.store(Barrier(0, 100), None)
    ledger.write(labels(100, 6, 9))  # after the barrier: not in the snapshot
    ledger.commit(None)
    ledger.settle()

    [told] = ledger.delivery.texts
    assert told.sides == {"labels": 9}
    assert (told.snapshots[0].sides, told.snapshots[0].journal) == ({"labels": 6}, 72)


def test_without_side_inputs_the_text_is_what_it_was(ledger):
    ledger.delivery.end.set()
    texts = []
    ledger.delivery.commit = lambda offsets, _: lambda: texts.extend(each.metadata for each in offsets)
    ledger.write(Encoded(Span(0, 100, 250), []))
    ledger.store(Barrier(0, 250), None)
    ledger.commit(None)
    ledger.settle()
    assert "sides" not in texts[0]
    assert "journal" not in texts[0]
    assert '"b"' not in texts[0]
