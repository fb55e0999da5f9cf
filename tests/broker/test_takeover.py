"""Taking over what somebody else left: each way in which it can be unusable is told, never guessed around."""

import time

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness import PARTITIONS, Flow, Sent, create_topics, publish, read_committed

from connectors import progress

pytestmark = pytest.mark.broker


def _events(count: int, first: int = 0) -> list[Sent]:
    return [
        Sent(
            b'{"id":"%d","timestamp":%d,"user":"u%d","type":"login"}'
            % (number, 1_760_000_000_000 + number, number % 50),
            b"u%d" % (number % 50),
            1_760_000_000_000 + number,
            number % PARTITIONS,
        )
        for number in range(first, first + count)
    ]


@pytest.fixture
def left(bootstrap, prefix, tmp_path):
    """A flow that has answered 400 events, stored snapshots and stopped in good order."""
    create_topics(bootstrap, prefix)
    counts = publish(bootstrap, prefix, _events(400))
    flow = Flow(bootstrap, prefix, tmp_path / "log").start()
    flow.wait_answered(counts)
    assert flow.terminate() == 0
    return flow


def _progress(flow: Flow) -> list[tuple[int, progress.Progress]]:
    consumer = Consumer({"bootstrap.servers": flow.bootstrap, "group.id": flow.group})
    asked = [TopicPartition(f"{flow.prefix}events", number) for number in range(PARTITIONS)]
    found = consumer.committed(asked, timeout=20)
    consumer.close()
    return [(each.offset, progress.read(each.metadata)) for each in found]


def _rewrite(flow: Flow, change, offset: int | None = None) -> None:
    """Commit other texts beside the offsets, as a fault in the broker's keeping would."""
    consumer = Consumer({"bootstrap.servers": flow.bootstrap, "group.id": flow.group})
    topic = f"{flow.prefix}events"
    offsets = [
        TopicPartition(topic, number, offset or at, change(told)) for number, (at, told) in enumerate(_progress(flow))
    ]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


def _fails_with(flow: Flow, *words: str) -> None:
    flow.start()
    assert flow.exit_code() == 1
    told = flow.log.read_text()
    assert all(word in told for word in words), told[-2000:]


def test_the_committed_offset_names_its_owner_and_the_snapshot_at_it(left):
    for offset, told in _progress(left):
        assert told.released
        assert told.snapshots[0].offset == offset == 200


def test_an_expired_offset_is_refused_while_snapshots_exist(left):
    admin = AdminClient({"bootstrap.servers": left.bootstrap})
    admin.delete_consumer_groups([left.group])[left.group].result()
    _fails_with(left, "no committed offset, but snapshots exist")


def test_without_its_group_and_its_snapshots_a_flow_begins_anew_as_the_page_says(left):
    """docs/deploy.md: under a key that the old state would refuse."""
    admin = AdminClient({"bootstrap.servers": left.bootstrap})
    topic = f"{left.prefix}risk.snapshots"
    admin.delete_consumer_groups([left.group])[left.group].result()
    admin.delete_topics([topic])[topic].result()
    while topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"cleanup.policy": "compact"})])[topic].result()
    left.environment["TIDEGATE_PSEUDONYM_KEY"] = "another key, also long enough"

    left.start()
    left.wait_answered([200, 200])
    assert left.terminate() == 0
    answered = read_committed(left.bootstrap, f"{left.prefix}risk.tiers")
    assert [len(one) for one in answered] == [400, 400]


def test_a_state_older_than_the_log_is_refused(left):
    _rewrite(left, lambda told: progress.write(progress.Progress(told.owner, told.begin, released=True)))
    admin = AdminClient({"bootstrap.servers": left.bootstrap})
    gone = [TopicPartition(f"{left.prefix}events", number, 150) for number in range(PARTITIONS)]
    for done in admin.delete_records(gone).values():
        done.result()
    _fails_with(left, "no longer in the log", "kafka-consumer-groups")


def test_an_offset_beyond_the_log_is_refused(left):
    _rewrite(left, progress.write, offset=10_000)
    _fails_with(left, "beyond the end of the log")


def test_a_snapshot_newer_than_the_committed_offset_is_not_used(left):
    """As after a reset by hand that kept the text: the state would know what is still to come."""
    _rewrite(left, progress.write, offset=150)
    left.start().wait_ready()
    replayed = left.metric("tidegate_replayed_records_total")
    left.wait_answered([200, 200])
    assert left.terminate() == 0
    assert "no usable snapshot" in left.log.read_text()
    assert replayed == 300


def test_a_text_of_another_version_is_refused(left):
    _rewrite(left, lambda told: progress.write(told).replace('"owner"', '"version":99,"owner"'))
    _fails_with(left, "version 1, got 99")


def test_a_damaged_snapshot_is_told_and_everything_is_read_again(left):
    """The safe fallback while the log still reaches back to where the flow began."""

    def damage(told: progress.Progress) -> str:
        places = tuple(
            progress.SnapshotPlace(each.offset, "0" * 32, each.size, each.at, each.pieces) for each in told.snapshots
        )
        return progress.write(progress.Progress(told.owner, told.begin, told.released, places))

    before = read_committed(left.bootstrap, f"{left.prefix}risk.tiers")
    _rewrite(left, damage)
    left.start().wait_ready()
    replayed = left.metric("tidegate_replayed_records_total")
    assert left.terminate() == 0
    assert replayed == 400
    assert "no usable snapshot" in left.log.read_text()
    assert read_committed(left.bootstrap, f"{left.prefix}risk.tiers") == before


def test_an_offset_set_by_another_tool_starts_empty_and_says_so(left):
    admin = AdminClient({"bootstrap.servers": left.bootstrap})
    places = [TopicPartition(f"{left.prefix}events", number, 100) for number in range(PARTITIONS)]
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(left.group, places)])[left.group].result()
    left.start()
    left.wait_answered([200, 200])
    assert left.terminate() == 0
    assert "state starts empty there" in left.log.read_text()


def test_a_state_made_under_another_key_is_refused(left):
    left.environment["TIDEGATE_PSEUDONYM_KEY"] = "another key, also long enough"
    _fails_with(left, "another pseudonym key", "replay into a new prefix")


def test_a_former_owner_is_fenced_before_anything_is_read(left):
    """A producer under the former owner's name can commit nothing once the flow has started again."""
    owner = _progress(left)[0][1].owner
    _rewrite(left, lambda told: progress.write(progress.Progress(told.owner, told.begin, False, told.snapshots)))
    zombie = Producer(
        {"bootstrap.servers": left.bootstrap, "transactional.id": owner, "transaction.timeout.ms": 60_000}
    )
    zombie.init_transactions(20)
    zombie.begin_transaction()
    zombie.produce(f"{left.prefix}risk.tiers", b"from the grave", b"k", 0)
    zombie.flush(10)

    left.start().wait_ready()
    with pytest.raises(Exception, match=r"fenced|FENCED|producer epoch"):
        zombie.commit_transaction(10)
    assert left.terminate() == 0
    values = [value for one in read_committed(left.bootstrap, f"{left.prefix}risk.tiers") for _, value, _ in one]
    assert b"from the grave" not in values


def test_snapshots_in_a_directory_restore_as_well(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    store = {
        "TIDEGATE_RISK__SNAPSHOT_STORE": "directory",
        "TIDEGATE_RISK__SNAPSHOT_DIRECTORY": str(tmp_path / "snapshots"),
    }
    counts = publish(bootstrap, prefix, _events(400))
    flow = Flow(bootstrap, prefix, tmp_path / "log", **store).start()
    flow.wait_answered(counts)
    assert flow.terminate() == 0
    flow.start().wait_ready()
    replayed = flow.metric("tidegate_replayed_records_total")
    assert flow.terminate() == 0
    assert replayed == 0
    assert len(list((tmp_path / "snapshots").rglob("*.snapshot"))) == PARTITIONS
