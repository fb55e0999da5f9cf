"""`tidegate power --topic` on a real Kafka: users are counted in what lies in the topic, by Kafka's times."""

import json

import pytest
from commands import event, file_of
from confluent_kafka import Producer

from flows.traffic import DAY_MS

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("settings")]

ASKED = ("power", "proportion", "--rate", "0.1", "--lift", "0.5", "--json")


def test_users_of_a_topic_are_counted_by_kafkas_times_whatever_their_records_are_keyed_by(
    tidegate, bootstrap, prefix, tmp_path
):
    """Whole days 1 and 2 of five: 20 users, then 30, of whom 10 are new."""
    days = [(0, range(5)), (1, range(20)), (2, range(30)), (3, range(30, 40))]
    start = 20_000
    seen = [(f"u{user}", (start + day) * DAY_MS + user) for day, users in days for user in users]
    lines = [event(at, user, time_ms) for at, (user, time_ms) in enumerate(seen)]
    assert tidegate("topics", "create")[0] == 0
    producer = Producer({"bootstrap.servers": bootstrap})
    for at, (line, (_, time_ms)) in enumerate(zip(lines, seen, strict=True)):
        producer.produce(f"{prefix}events", line.encode(), f"other{at}".encode(), timestamp=time_ms)
    producer.produce(f"{prefix}events", b'{"id": "nobody"}', b"u99", timestamp=(start + 1) * DAY_MS)
    assert producer.flush(30) == 0

    code, shown, told = tidegate(*ASKED, "--topic")
    assert code == 0, told
    users = json.loads(shown)["users"]
    assert (users["source"], users["events"], users["refused"]) == (f"{prefix}events", len(seen), 1)
    assert (users["daily"], users["new"], users["first_day"]) == ([20, 30], [20, 10], "2024-10-05")

    file = json.loads(tidegate(*ASKED, "--events", file_of(tmp_path, *lines))[1])
    assert file["tests"] == json.loads(shown)["tests"]
    later = json.loads(tidegate(*ASKED, "--topic", "events", "--since", str((start + 1) * DAY_MS))[1])["users"]
    assert (later["events"], later["daily"]) == (len(seen) - 5, [30])
    assert "there is no topic nowhere" in tidegate(*ASKED, "--topic", "nowhere")[2]
