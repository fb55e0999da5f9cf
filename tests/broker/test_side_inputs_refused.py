"""Labels that cannot be applied where they were, or at all: each is told, none is passed over."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from harness import PARTITIONS, create_topics, publish
from labelled import RARE, Counted, applied_of, check, events, labels, make_anew

pytestmark = pytest.mark.broker


@pytest.fixture
def left(bootstrap, prefix, tmp_path):
    """A flow killed when it had applied labels that no snapshot has."""
    create_topics(bootstrap, prefix)
    flow = Counted(bootstrap, prefix, tmp_path / "log", **RARE).start().wait_ready()
    counts = publish(bootstrap, prefix, events(40))
    publish(bootstrap, prefix, labels(20), "labels")
    flow.wait_answered(counts)
    flow.wait_applied([10, 10])
    flow.kill()
    return flow


def _delete(flow, topic, offset):
    admin = AdminClient({"bootstrap.servers": flow.bootstrap})
    gone = [TopicPartition(f"{flow.prefix}{topic}", number, offset) for number in range(PARTITIONS)]
    for done in admin.delete_records(gone).values():
        done.result()


def _fails_with(flow, *words):
    size = flow.log.stat().st_size if flow.log.exists() else 0
    flow.start()
    assert flow.exit_code() == 1
    told = flow.log.read_bytes()[size:].decode()
    assert all(word in told for word in words), told[-2000:]


def test_a_journal_that_expired_is_refused(left):
    _delete(left, "risk.journal", -1)
    _fails_with(left, "the journal does not say where", "where the log goes from", "kafka-consumer-groups")


def test_a_journal_that_is_empty_is_refused(left):
    make_anew(left, "risk.journal")
    _fails_with(left, "expected entries for labels from 0 to 10, found none", "Bring", "back")


def test_labels_that_expired_are_refused_when_they_are_needed_again(left):
    _delete(left, "labels", 4)
    _fails_with(left, "labels[", "expected the", "records from 0", "they have expired")


def test_labels_that_are_others_now_are_refused_when_they_are_needed_again(left):
    make_anew(left, "labels")
    publish(left.bootstrap, left.prefix, labels(20, first=100), "labels")
    _fails_with(left, "labels[", "or others: they have expired, or the topic was made anew")


def test_switching_labels_off_is_refused_until_a_snapshot_has_them(left):
    left.environment["TIDEGATE_RISK__LABELS__ENABLED"] = "false"
    _fails_with(left, "reading is switched off", "stop in good order")

    left.environment["TIDEGATE_RISK__LABELS__ENABLED"] = "true"
    left.start().wait_ready()
    assert left.terminate() == 0
    left.environment["TIDEGATE_RISK__LABELS__ENABLED"] = "false"
    left.start().wait_ready()
    publish(left.bootstrap, left.prefix, labels(20, first=20), "labels")
    counts = publish(left.bootstrap, left.prefix, events(4))
    left.wait_answered([20 + each for each in counts])
    assert left.terminate() == 0
    assert applied_of(left) == [10, 10]

    left.environment["TIDEGATE_RISK__LABELS__ENABLED"] = "true"  # goes on where it was
    left.start().wait_ready()
    left.wait_applied([20, 20])
    assert left.terminate() == 0
    check(left.bootstrap, left.prefix, [20, 20])


def test_a_missing_labels_topic_is_told_at_start(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    flow = Counted(bootstrap, prefix, tmp_path / "log")
    make_anew(flow, "labels", 0)
    _fails_with(flow, f"there is no topic {prefix}labels", "tidegate topics create", "risk.labels.enabled = false")


def test_another_number_of_partitions_is_told_at_start(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    flow = Counted(bootstrap, prefix, tmp_path / "log")
    make_anew(flow, "labels", PARTITIONS + 1)
    _fails_with(flow, f"{prefix}labels has {PARTITIONS + 1} partitions, the input has {PARTITIONS}")
