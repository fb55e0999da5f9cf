import threading
import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.delivery import WATCHDOG_EXIT, AtLeastOnce, Doubt, Transactional, Watchdog, _Sender
from operators.batches import Outgoing


def test_a_call_that_never_returns_ends_the_process():
    ended, codes = threading.Event(), []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    watchdog = Watchdog(0.05, end)
    with watchdog.watch("commit_transaction"):
        assert ended.wait(5)
    assert codes[0] == WATCHDOG_EXIT


def test_calls_that_return_in_time_end_nothing():
    codes: list[int] = []
    watchdog = Watchdog(0.2, codes.append)
    for _ in range(20):
        with watchdog.watch("flush"):
            time.sleep(0.02)
    assert codes == []


class Fenced:
    """A producer whose calls fail as confluent-kafka's do once another producer has taken its name."""

    def __init__(self, cause):
        self.cause = cause

    def flush(self, _timeout):
        raise SystemError("returned a result with an exception set") from self.cause


def call_of(producer):
    made = Transactional.__new__(Transactional)
    made._watchdog = Watchdog(5)
    made._call("flush", lambda: producer.flush(1))


def test_a_fatal_error_that_comes_as_a_system_error_is_a_doubt():
    fatal = KafkaException(KafkaError(KafkaError._FENCED, "fenced by another producer"))

    with pytest.raises(Doubt, match="flush: fenced by another producer"):
        call_of(Fenced(fatal))


def test_any_other_system_error_is_raised_as_it_is():
    with pytest.raises(SystemError):
        call_of(Fenced(None))


def test_a_record_goes_to_the_partition_it_names_else_to_that_of_its_batch():
    class Producer:
        def __init__(self):
            self.sent = []

        def produce(self, topic, value, key, partition, *rest):
            self.sent.append((topic, key, partition))

    producer = Producer()
    records = [Outgoing("a", b"1", b"", 1), Outgoing("a", b"2", b"", 1, 0), Outgoing("a", b"3", b"", 1, 9)]
    _Sender(producer).produce_all(records, 4, {"a": "p.a"})

    assert producer.sent == [("p.a", b"1", 4), ("p.a", b"2", 0), ("p.a", b"3", 9)]


class Group:
    def __init__(self):
        self.committed = []

    def commit(self, offsets):
        self.committed += offsets


def test_without_transactions_it_is_told_where_a_watched_record_lies():
    """Of other records only failures are told; snapshots and the journal must know where they lie."""
    group, told = Group(), []
    delivery = AtLeastOnce({"test.mock.num.brokers": 1}, "me", Watchdog(30))
    for number in range(2):
        delivery.produce_watched(
            "t", b"k", b"%d" % number, 0, 1, lambda error, message: told.append((error, message.offset()))
        )
    delivery.commit(["offset"], group)()

    assert told == [(None, 0), (None, 1)]
    assert group.committed == ["offset"]


def test_without_transactions_nothing_is_committed_when_a_watched_record_is_lost():
    group, told = Group(), []
    delivery = AtLeastOnce({"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 300}, "me", Watchdog(30))
    delivery.produce_watched("t", b"k", b"v", 0, 1, lambda error, _: told.append(error))
    with pytest.raises(Doubt, match="1 records not delivered"):
        delivery.commit(["offset"], group)()

    assert len(told) == 1
    assert group.committed == []
