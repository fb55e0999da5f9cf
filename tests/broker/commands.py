"""What the tests of the commands share: events, files of them, and what the broker says of its topics."""

import json
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType


def event(number, user="ann", time_ms=1_442_018_818_771, **more):
    return json.dumps({"id": f"e{number}", "timestamp": time_ms, "user": user, "type": "edit", **more})


def file_of(tmp_path, *lines):
    path = tmp_path / "events.json"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def records(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
        found = []
        until = time.monotonic() + 20
        while len(found) < count and time.monotonic() < until:
            found += consumer.consume(count, timeout=1)
        return found
    finally:
        consumer.close()


def until(true):
    """Wait for a change to reach the broker that answers: it comes to it by way of the controller."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def described(admin, topic):
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(20).items()}


def change(admin, topic, name, value):
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)
    until(lambda: described(admin, topic)[name] == value)


def make(admin, topic, partitions):
    for future in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        future.result(20)
    until(lambda: topic in admin.list_topics(timeout=10).topics)
