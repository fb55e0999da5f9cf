"""Labels beside the events: killed at any moment, the flow applies each once, and where the journal says."""

import json
import random
import time

import pytest
from confluent_kafka import Producer
from harness import PARTITIONS, create_topics, publish, read_committed
from labelled import RARE, SOMETIMES, Counted, add, answers, check, events, journal, labels, make_anew, progress_of

pytestmark = pytest.mark.broker


def test_after_kill_9_at_random_moments_every_answer_is_what_the_journal_implies(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    rng = random.Random(3)
    lots, size = 24, 200
    stream, said = events(lots * size), labels(lots * 30, bad=7)
    done, labelled = [0] * PARTITIONS, [0] * PARTITIONS
    flow = Counted(bootstrap, prefix, tmp_path / "log", **SOMETIMES).start().wait_ready()
    for lot in range(lots):
        done = add(done, publish(bootstrap, prefix, stream[lot * size : (lot + 1) * size]))
        labelled = add(labelled, publish(bootstrap, prefix, said[lot * 30 : (lot + 1) * 30], "labels"))
        time.sleep(rng.uniform(0.0, 0.15))
        if lot % 6 == 5:
            flow.kill()
            flow.start().wait_ready()
    flow.wait_answered(done)
    flow.wait_applied(labelled)
    assert flow.terminate() == 0

    check(bootstrap, prefix, labelled)
    assert '"side_entries"' in flow.log.read_text()  # labels were rolled forward over, or this shows nothing
    letters = [json.loads(value) for one in read_committed(bootstrap, f"{prefix}dead-letters") for _, value, _ in one]
    bad = sorted((number % PARTITIONS, number // PARTITIONS) for number in range(len(said)) if number % 7 == 0)
    assert sorted((each["partition"], each["offset"]) for each in letters) == bad
    assert {each["topic"] for each in letters} == {f"{prefix}labels"}


def test_labels_without_events_arrive_and_are_not_lost_by_kill_9(bootstrap, prefix, tmp_path):
    """No snapshot is stored: all is rolled forward from where the flow began, at one and the same input offset."""
    create_topics(bootstrap, prefix)
    flow = Counted(bootstrap, prefix, tmp_path / "log", **RARE).start().wait_ready()
    for first in range(0, 60, 6):  # several entries at one place
        publish(bootstrap, prefix, labels(6, first), "labels")
        time.sleep(0.1)
    flow.wait_applied([30, 30])
    flow.kill()
    flow.start().wait_ready()
    assert '"side_entries"' in flow.log.read_text()
    counts = publish(bootstrap, prefix, events(4))
    flow.wait_answered(counts)
    assert flow.terminate() == 0

    check(bootstrap, prefix, [30, 30])
    assert [[each["seen"] for each in one] for one in answers(bootstrap, prefix)] == [[30, 30], [30, 30]]
    assert min(len(one) for one in journal(bootstrap, prefix)) > 1


def test_labels_of_a_publisher_with_transactions_count_if_they_were_committed(bootstrap, prefix, tmp_path):
    """Markers and aborted records take up offsets, which nothing may stumble over when it is rolled forward."""
    create_topics(bootstrap, prefix)
    flow = Counted(bootstrap, prefix, tmp_path / "log", **RARE).start().wait_ready()
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{prefix}labels"})
    producer.init_transactions(20)
    counts = [0] * PARTITIONS
    for lot, committed in enumerate((True, False, True, True)):
        producer.begin_transaction()
        for each in labels(10, 10 * lot):
            producer.produce(f"{prefix}labels", each.value, each.key, each.partition)
        producer.flush(20)
        if committed:
            producer.commit_transaction(20)
            flow.wait_applied([6 * lot + 5] * PARTITIONS)  # five records and a marker each
        else:
            producer.abort_transaction(20)
        counts = add(counts, publish(bootstrap, prefix, events(4)))
    flow.wait_answered(counts)
    flow.kill()
    flow.start().wait_ready()
    assert '"side_entries"' in flow.log.read_text()
    counts = add(counts, publish(bootstrap, prefix, events(2)))
    flow.wait_answered(counts)
    assert flow.terminate() == 0
    found = [[each["seen"] for each in one] for one in answers(bootstrap, prefix)]
    assert found == [[5, 5, 5, 5, 10, 10, 15, 15, 15]] * PARTITIONS


@pytest.mark.parametrize("stored", ["before", "between", "after"])
def test_a_snapshot_before_between_or_after_labels_has_those_before_it(bootstrap, prefix, tmp_path, stored):
    """The first labels come after the 10th event, the others after the 20th; a good stop stores the snapshot."""
    create_topics(bootstrap, prefix)
    flow = Counted(bootstrap, prefix, tmp_path / "log", **RARE)
    stream, said = events(60), labels(40)

    def step(number, *, events_=(), labels_=(), at=None):
        publish(bootstrap, prefix, events_)
        publish(bootstrap, prefix, labels_, "labels")
        counts = {"events": [10 * number] * PARTITIONS, "labels": at}
        flow.wait_answered(counts["events"])
        flow.wait_applied(counts["labels"])

    def again(moment):
        if moment == stored:
            assert flow.terminate() == 0
            flow.start().wait_ready()

    flow.start().wait_ready()
    step(1, events_=stream[:20], at=[0, 0])
    again("before")
    step(1, labels_=said[:20], at=[10, 10])
    step(2, events_=stream[20:40], at=[10, 10])
    again("between")
    step(2, labels_=said[20:], at=[20, 20])
    again("after")
    flow.kill()
    flow.start().wait_ready()
    step(3, events_=stream[40:], at=[20, 20])
    [[where, *_], _] = [told.snapshots for _, told in progress_of(flow)]
    assert flow.terminate() == 0

    expected = [0] * 10 + [10] * 10 + [20] * 10
    assert [[each["seen"] for each in one] for one in answers(bootstrap, prefix)] == [expected] * PARTITIONS
    check(bootstrap, prefix, [20, 20])
    assert (where.offset, where.sides) == {
        "before": (10, {"labels": 0}),
        "between": (20, {"labels": 10}),
        "after": (20, {"labels": 20}),
    }[stored]


def test_labels_go_with_their_partition_to_another_process_and_back(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    first = Counted(bootstrap, prefix, tmp_path / "first").start().wait_ready()
    stream, said = events(400), labels(400)
    counts = publish(bootstrap, prefix, stream[:200])
    publish(bootstrap, prefix, said[:100], "labels")
    first.wait_applied([50, 50])
    second = Counted(bootstrap, prefix, tmp_path / "second").start().wait_ready()
    second._wait(lambda: second.metric("tidegate_assigned_partitions") == 1, 60, "given a partition")
    publish(bootstrap, prefix, said[100:200], "labels")
    counts = add(counts, publish(bootstrap, prefix, stream[200:300]))
    first.wait_applied([100, 100])
    # Of the partition that it gave away the first one shows nothing any more.
    assert (first.metric("tidegate_side_records_total"), second.metric("tidegate_side_records_total")) == (100, 50)
    second.kill()
    publish(bootstrap, prefix, said[200:], "labels")
    counts = add(counts, publish(bootstrap, prefix, stream[300:]))
    first.wait_answered(counts)
    first.wait_applied([200, 200])
    assert first.terminate() == 0
    check(bootstrap, prefix, [200, 200])


def test_a_flow_that_reads_no_labels_needs_no_topics_for_them_and_says_nothing_of_them(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    flow = Counted(bootstrap, prefix, tmp_path / "log", TIDEGATE_RISK__LABELS__ENABLED="false")
    for topic in ("labels", "risk.journal"):
        make_anew(flow, topic, 0)
    flow.start().wait_ready()
    flow.wait_answered(publish(bootstrap, prefix, events(4)))
    assert flow.terminate() == 0
    assert all(not told.sides and not told.sides_begin and not told.journal for _, told in progress_of(flow))


def test_a_new_group_that_starts_at_the_end_leaves_old_labels_out(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    publish(bootstrap, prefix, labels(20), "labels")
    flow = Counted(bootstrap, prefix, tmp_path / "log", TIDEGATE_RISK__START="latest").start().wait_ready()
    publish(bootstrap, prefix, labels(8, first=20), "labels")
    flow.wait_applied([14, 14])
    assert flow.terminate() == 0
    assert [sum(entry["records"] for entry in one) for one in journal(bootstrap, prefix)] == [4, 4]


def test_without_transactions_labels_are_applied_and_snapshots_are_stored(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    once = Counted(bootstrap, prefix, tmp_path / "log", TIDEGATE_KAFKA__DELIVERY="at_least_once").start().wait_ready()
    counts = publish(bootstrap, prefix, events(40))
    publish(bootstrap, prefix, labels(20), "labels")
    once.wait_answered(counts)
    once.wait_applied([10, 10])
    once._wait(lambda: all(told.snapshots for _, told in progress_of(once)), 60, "stored")
    once.kill()
    once.start().wait_ready()
    publish(bootstrap, prefix, labels(20, first=20), "labels")
    once.wait_applied([20, 20])
    counts = add(counts, publish(bootstrap, prefix, events(2)))
    once.wait_answered(counts)
    assert once.terminate() == 0
    assert "starting_again" not in once.log.read_text()
    assert [one[-1]["seen"] for one in answers(bootstrap, prefix)] == [20, 20]
