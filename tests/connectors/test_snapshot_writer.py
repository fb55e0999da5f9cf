"""Snapshots on their way into the topic, with a stand-in for the transactions."""

import pytest

from connectors.delivery import Doubt
from connectors.ledger import Ledger
from connectors.partition import Partition
from connectors.snapshot_writer import BYTES_PER_TRANSACTION, PAUSE_S
from connectors.snapshots import TopicStore
from connectors.takeover import Opened
from operators.control import Barrier, StageSnapshot


class Topic:
    """Transactions that end at once; what each carried, and the texts beside the offsets."""

    owner = "owner-1"
    overlaps = True

    def __init__(self):
        self.open, self.carried, self.texts, self.refuse = [], [], [], None

    def produce_watched(self, topic, key, value, partition, timestamp_ms, on_delivery):
        self.open.append((key, value, on_delivery))

    def commit(self, offsets, membership):
        def finish():
            for _, _, told in self.open:
                told(self.refuse, self)
            self.carried.append([(key, value) for key, value, _ in self.open])
            self.open = []
            self.texts.append([each.metadata for each in offsets])

        return finish

    def offset(self):
        return 70

    def drop(self):
        return False


class Refusal:
    def code(self):
        return 10  # MSG_SIZE_TOO_LARGE

    def str(self):
        return "too large"


class Heard:
    def __init__(self):
        self.failures = 0

    def snapshot_failed(self):
        self.failures += 1

    def __getattr__(self, name):
        return lambda *_, **__: None


@pytest.fixture
def ledger():
    made = Ledger("risk", "events", str, TopicStore({}, "snapshots"), Heard(), lambda: 0.0)
    made.partitions = {0: Partition(Opened(0, 0, 0, 0, ()), 0, live=True)}
    made.delivery = Topic()
    return made


def barrier(offset, size=1):
    return Barrier(0, offset, snapshots={"score": StageSnapshot("f", {"text": "x" * size})})


def commit(ledger, times=1):
    for _ in range(times):
        ledger.commit(None)
        ledger.settle()


def test_a_snapshot_counts_from_the_commit_after_its_last_piece(ledger):
    ledger.store(barrier(5), None)
    commit(ledger, 2)

    assert [len(pieces) for pieces in ledger.delivery.carried] == [1, 0]
    assert ['"S":5' in texts[0] for texts in ledger.delivery.texts] == [False, True]


def test_a_large_snapshot_is_spread_over_transactions(ledger):
    """16 MB are 18 pieces of 0.9 MB; 9 of them reach the bound of 8 MB."""
    ledger.store(barrier(5, 2 * BYTES_PER_TRANSACTION), None)
    commit(ledger, 3)

    sizes = [sum(len(value) for _, value in pieces) for pieces in ledger.delivery.carried]
    assert max(sizes) < BYTES_PER_TRANSACTION + 1_000_000
    assert ['"S":5' in texts[0] for texts in ledger.delivery.texts] == [False, False, True]


def test_a_process_that_stops_stores_all_of_its_snapshot_first(ledger):
    ledger.store(barrier(5, 2 * BYTES_PER_TRANSACTION), None)
    ledger.commit(None, released=True)
    ledger.settle()

    assert '"released":true' in ledger.delivery.texts[-1][0]
    assert '"S":5' in ledger.delivery.texts[-1][0]


def test_no_transaction_stays_open_when_nothing_else_is_to_be_committed(ledger):
    for offset in range(1, 6):  # each makes an older one unnecessary: tombstones follow
        ledger.store(barrier(offset), None)
        while ledger.dirty:
            commit(ledger)

    assert ledger.delivery.open == []
    tombstones = [key for pieces in ledger.delivery.carried for key, value in pieces if value is None]
    assert tombstones == [b"1/0", b"2/0"]  # three are kept


def test_a_topic_that_refuses_is_told_and_left_alone_for_a_while(ledger):
    ledger.delivery.refuse = Refusal()
    ledger.store(barrier(5), None)
    commit(ledger)
    with pytest.raises(Doubt, match="0 of 1 delivered"):
        ledger.commit(None)
    ledger.forget()

    assert ledger.snapshots.paused
    assert ledger._observer.failures == 1


def test_snapshots_that_cost_too_much_become_rarer(ledger):
    """Two seconds of work may take 5 % of the time: every 40 s."""
    ledger.partitions[0].snapshot_seconds = 2.0

    assert ledger.snapshots.interval(10.0, ledger.partitions.values()) == pytest.approx(40.0)


def test_waiting_after_a_failure_doubles_up_to_a_bound(ledger):
    waits = []
    for _ in range(9):
        ledger.snapshots._failed(None, "full")
        waits.append(ledger.snapshots._resume_at)

    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert PAUSE_S == (10.0, 600.0)
