"""The ledger while a commit is under way: the broker's part is a stand-in that ends when the test says so."""

import threading
import time

import pytest

from connectors import progress
from connectors.ledger import Ledger
from connectors.partition import Partition
from connectors.snapshots import DirectoryStore
from connectors.takeover import Opened
from operators.batches import Encoded, Span
from operators.control import Barrier


class SlowDelivery:
    """Commits end when `end` is set; `committed` holds the offsets in the order in which they became the truth."""

    owner = "owner-1"
    overlaps = True

    def __init__(self):
        self.end = threading.Event()
        self.committed, self.texts = [], []

    def produce_all(self, records, partition, names):
        """Nothing is written in these tests."""

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
    made = Ledger("risk", "events", str, DirectoryStore(tmp_path, "risk"), Quiet(), time.monotonic)
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
