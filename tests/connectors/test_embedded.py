"""The embedded broker: real clients, also of other processes, produce to it and consume from it."""

import subprocess
import sys

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

from connectors.embedded import PARTITIONS, EmbeddedBroker

QUIET = {"log_level": 0}


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as broker:
        yield broker


def read(bootstrap, topic, count):
    consumer = Consumer({**QUIET, "bootstrap.servers": bootstrap, "group.id": "test", "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    found = consumer.consume(count, 10)
    consumer.close()
    return found


def test_bootstrap_is_a_loopback_address(broker):
    host, _, port = broker.bootstrap.partition(":")
    assert host == "127.0.0.1"
    assert 0 < int(port) < 65_536


def test_created_topics_have_four_partitions(broker):
    broker.create(["events", "risk.tiers"])
    topics = Producer({**QUIET, "bootstrap.servers": broker.bootstrap}).list_topics(timeout=5).topics
    assert {len(topics[name].partitions) for name in ("events", "risk.tiers")} == {4}


def test_creating_a_topic_again_keeps_its_records(broker):
    broker.create(["kept"])
    producer = Producer({**QUIET, "bootstrap.servers": broker.bootstrap})
    producer.produce("kept", b"value", b"key")
    assert producer.flush(5) == 0
    broker.create(["kept"])
    assert [message.value() for message in read(broker.bootstrap, "kept", 1)] == [b"value"]


def test_keys_values_timestamps_and_partitions_come_back_as_sent(broker):
    broker.create(["round"])
    producer = Producer({**QUIET, "bootstrap.servers": broker.bootstrap})
    for partition in range(PARTITIONS):
        producer.produce("round", b"v%d" % partition, b"k", partition, timestamp=1_000 + partition)
    assert producer.flush(5) == 0
    found = {
        (message.partition(), message.value(), message.key(), message.timestamp()[1])
        for message in read(broker.bootstrap, "round", 4)
    }
    assert found == {(partition, b"v%d" % partition, b"k", 1_000 + partition) for partition in range(4)}


def test_another_process_can_produce(broker):
    broker.create(["other"])
    code = (
        "import sys; from confluent_kafka import Producer; p = Producer({'bootstrap.servers': sys.argv[1]});"
        "p.produce('other', b'hello'); sys.exit(p.flush(5))"
    )
    subprocess.run([sys.executable, "-c", code, broker.bootstrap], check=True, timeout=20)
    assert [message.value() for message in read(broker.bootstrap, "other", 1)] == [b"hello"]


def test_committed_offsets_and_their_text_come_back(broker):
    broker.create(["committed"])
    consumer = Consumer(
        {**QUIET, "bootstrap.servers": broker.bootstrap, "group.id": "committing", "enable.auto.commit": False}
    )
    consumer.commit(offsets=[TopicPartition("committed", 2, 17, "a note")], asynchronous=False)
    found = consumer.committed([TopicPartition("committed", 2)], timeout=5)[0]
    consumer.close()
    assert (found.offset, found.metadata) == (17, "a note")


def test_nobody_answers_after_close():
    with EmbeddedBroker() as broker:
        bootstrap = broker.bootstrap
    with pytest.raises(TimeoutError, match="expected topic late within"):
        broker.create(["late"], timeout_s=0.1)
    with pytest.raises(KafkaException):
        Producer({**QUIET, "bootstrap.servers": bootstrap}).list_topics(timeout=0.5)


def test_two_brokers_do_not_share_topics(broker):
    with EmbeddedBroker() as other:
        other.create(["mine"])
        assert other.bootstrap != broker.bootstrap
        assert "mine" not in Producer({**QUIET, "bootstrap.servers": broker.bootstrap}).list_topics(timeout=5).topics
