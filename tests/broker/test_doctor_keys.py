"""`tidegate doctor` names the key and the partitioner of a topic as real publishers leave them."""

import json
import re

import pytest
from confluent_kafka import Producer
from test_doctor import results

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def _a_key(topics, monkeypatch):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", "0123456789abcdef")


def publish(bootstrap, prefix, partitioner, key_of=lambda user: user, topic="events"):
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": partitioner, "enable.idempotence": True})
    for number in range(300):
        user = f"person-{number % 60}"
        producer.produce(f"{prefix}{topic}", json.dumps({"user": user}), key_of(user))
    producer.produce(f"{prefix}{topic}", None, "person-1")
    producer.produce(f"{prefix}{topic}", b"\xff{", "person-2")
    assert producer.flush(20) == 0


@pytest.mark.parametrize(
    ("partitioner", "code", "result", "said"),
    [
        ("murmur2_random", 0, "ok", r"murmur2 \(Java's default"),
        ("consistent_random", 0, "warning", r"CRC-32 \(librdkafka's default"),
        ("fnv1a_random", 1, "failed", "no one partitioner puts them"),
        # Five records of a key share one of 4 partitions by chance once in 256.
        ("random", 1, "failed", r"(5\d|60) of 60 keys lie in more than one partition"),
    ],
)
def test_the_partitioner_of_a_real_publisher_is_named(tidegate, bootstrap, prefix, partitioner, code, result, said):
    publish(bootstrap, prefix, partitioner)
    found, out, _ = tidegate("doctor")

    assert (results(out)["keys"], results(out)["partitioner"]) == ("ok", result), out
    assert found == code, out
    assert re.search(said, " ".join(out.split()))
    assert "person" not in out


def test_what_tidegate_publishes_is_by_murmur2(tidegate, prefix, tmp_path):
    path = tmp_path / "events.json"
    lines = [
        json.dumps({"id": f"e{n}", "timestamp": 1_700_000_000_000, "user": f"u{n}", "type": "t"}) for n in range(100)
    ]
    path.write_text("\n".join(lines))
    assert tidegate("publish", str(path))[0] == 0

    assert results(tidegate("doctor")[1])["partitioner"] == "ok"


def test_exposures_are_looked_at_once_there_are_any_and_ticks_are_not_held_against_them(tidegate, bootstrap, prefix):
    publish(bootstrap, prefix, "murmur2_random")
    assert f"{prefix}exposures: the key" not in " ".join(tidegate("doctor")[1].split())
    publish(bootstrap, prefix, "murmur2_random", topic="exposures")
    for _ in range(50):
        assert tidegate("experiments", "tick")[0] == 0
    code, out, _ = tidegate("doctor")

    assert (code, results(out)["partitioner"]) == (0, "ok"), out
    assert f"{prefix}exposures: the key is the user in 300 records" in " ".join(out.split())


def test_a_topic_keyed_by_something_else_is_named_with_the_remedy(tidegate, bootstrap, prefix):
    publish(bootstrap, prefix, "murmur2_random", lambda user: f"session of {user}")
    code, out, _ = tidegate("doctor")

    assert (code, results(out)["keys"]) == (1, "failed")
    assert f"{prefix}events is not keyed by user" in " ".join(out.split())
    assert "tidegate run rekey" in out
    assert "person" not in out


def test_requests_that_are_keyed_by_something_else_than_the_user_are_named(tidegate, bootstrap, prefix):
    publish(bootstrap, prefix, "murmur2_random")
    publish(bootstrap, prefix, "murmur2_random", lambda user: f"session of {user}", topic="ranking.requests")
    code, out, _ = tidegate("doctor")

    assert (code, results(out)["keys"]) == (1, "failed")
    assert f"{prefix}ranking.requests is not keyed by user" in " ".join(out.split())
