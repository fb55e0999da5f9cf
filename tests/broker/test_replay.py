"""`tidegate dead-letters replay` on a real Kafka: what was refused is published again, exactly once."""

import contextlib
import os
import random
import subprocess
import sys
import time

import msgspec
import pytest
from commands import change
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from harness import ROOT

from schemas.dead_letter import DeadLetter, Reason

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("topics")]

TIME_MS = 1_700_000_000_000
REASONS = (Reason.TOO_LARGE, Reason.NOT_JSON)


def published(bootstrap, topic, count, *, first=0, partitions=4, headers=None):
    """Publish numbered records; return (partition, offset) of each."""
    places = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in range(first, first + count):
        producer.produce(
            topic, b"value %d" % number, b"key %d" % number, number % partitions,
            timestamp=TIME_MS + number, headers=headers,
            on_delivery=lambda _, message: places.append((message.partition(), message.offset())),
        )  # fmt: skip
    assert producer.flush(20) == 0
    return sorted(places, key=lambda place: (place[1], place[0]))


def refuse(bootstrap, prefix, places, first=0, flow="risk"):
    """Write the letters that a flow would: reasons take turns by offset, partition by partition."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number, (partition, offset) in enumerate(places, first):
        letter = DeadLetter(
            reason=REASONS[offset % 2], detail="", topic=f"{prefix}events", partition=partition, offset=offset,
            timestamp=TIME_MS + number, flow=flow,
        )  # fmt: skip
        producer.produce(f"{prefix}dead-letters", msgspec.json.encode(letter), "events-0", partition)
    assert producer.flush(20) == 0


def everything(bootstrap, topic):
    """All committed records of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap, "group.id": "t", "isolation.level": "read_committed",
            "enable.partition.eof": True, "enable.auto.commit": False,
        }
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
    found, ended = [], set()
    deadline = time.monotonic() + 30
    while len(ended) < 4:
        assert time.monotonic() < deadline
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return found


def replays(bootstrap, prefix):
    """The republished records, as (where from, where to, key, value, timestamp)."""
    return sorted(
        (
            dict(message.headers())["tidegate-replay"].decode().removeprefix(prefix),
            message.partition(), message.key(), message.value(), message.timestamp()[1],
        )
        for message in everything(bootstrap, f"{prefix}events")
        if message.headers()
    )  # fmt: skip


def expected(numbers):
    return sorted(
        (f"events/{each % 4}/{each // 4}", each % 4, b"key %d" % each, b"value %d" % each, TIME_MS + each)
        for each in numbers
    )


@pytest.fixture
def refused(topics, bootstrap, prefix):
    """Forty records, ten in each partition, all of them refused."""
    refuse(bootstrap, prefix, published(bootstrap, f"{prefix}events", 40))


@pytest.mark.usefixtures("refused")
def test_a_replay_publishes_every_record_again_as_it_was(tidegate, bootstrap, prefix):
    code, out, _ = tidegate("dead-letters", "replay")

    assert (code, out) == (0, "replayed: 40 records (not_json 20, too_large 20)\n")
    assert replays(bootstrap, prefix) == expected(range(40))


@pytest.mark.usefixtures("refused")
def test_a_second_replay_repeats_nothing(tidegate, bootstrap, prefix):
    tidegate("dead-letters", "replay")
    code, out, _ = tidegate("dead-letters", "replay")

    assert (code, out) == (0, "replayed: 0 records\ndealt with by an earlier replay: 40 records\n")
    assert len(replays(bootstrap, prefix)) == 40


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--reason", "not_json"], [each for each in range(40) if each // 4 % 2]),
        (["--since", str(TIME_MS + 12)], range(12, 40)),
        (["--until", str(TIME_MS + 12)], range(12)),
        (["--since", "2023-11-14T22:13:20.012Z", "--until", str(TIME_MS + 20)], range(12, 20)),
        (["--reason", "too_large", "--since", str(TIME_MS + 30)], range(32, 36)),
        (["--topic", "events"], range(40)),
        (["--topic", "labels"], []),
    ],
)
def test_what_the_options_leave_out_is_replayed_by_a_later_run_and_nothing_twice(
    tidegate, bootstrap, prefix, options, numbers
):
    tidegate("dead-letters", "replay", *options)
    assert replays(bootstrap, prefix) == expected(numbers)

    tidegate("dead-letters", "replay")
    assert replays(bootstrap, prefix) == expected(range(40))


@pytest.mark.usefixtures("refused")
def test_a_dry_run_counts_by_reason_and_publishes_nothing(tidegate, bootstrap, prefix):
    found = tidegate("dead-letters", "replay", "--dry-run", "--reason", "not_json")

    assert found == (0, "would be replayed: 20 records (not_json 20)\nleft out by the options: 20 dead letters\n", "")
    assert replays(bootstrap, prefix) == []
    assert everything(bootstrap, f"{prefix}dead-letters.replays") == []


@pytest.mark.usefixtures("refused")
def test_records_no_longer_in_the_log_are_named_and_the_others_replayed(tidegate, admin, bootstrap, prefix):
    for done in admin.delete_records([TopicPartition(f"{prefix}events", 1, 3)]).values():
        done.result(20)
    refuse(bootstrap, prefix, [(2, 99)])  # beyond the log's end
    code, out, _ = tidegate("dead-letters", "replay")

    assert code == 0
    assert out.splitlines()[:2] == [
        "replayed: 37 records (not_json 19, too_large 18)",
        "no longer in the log: 4 records (not_json 2, too_large 2)",
    ]
    assert sorted(out.splitlines()[2:]) == [
        *(f"  {prefix}events[1] at {offset}" for offset in range(3)), f"  {prefix}events[2] at 99"
    ]  # fmt: skip


def test_a_record_of_another_time_at_the_same_place_is_not_the_one(tidegate, bootstrap, prefix):
    """The topic was made anew: the offset is there, and holds something else."""
    places = published(bootstrap, f"{prefix}events", 1)
    refuse(bootstrap, prefix, places, first=5)

    assert tidegate("dead-letters", "replay")[1].splitlines()[0] == "replayed: 0 records"


@pytest.mark.usefixtures("refused")
def test_a_record_refused_again_is_replayed_only_when_asked_and_then_once(tidegate, bootstrap, prefix):
    tidegate("dead-letters", "replay")
    copies = [message for message in everything(bootstrap, f"{prefix}events") if message.headers()]
    producer = Producer({"bootstrap.servers": bootstrap})
    for copy in copies[:3]:
        place = {"topic": copy.topic(), "partition": copy.partition(), "offset": copy.offset()}
        letter = DeadLetter(
            reason=Reason.TOO_LARGE, detail="", timestamp=copy.timestamp()[1], flow="risk", **place
        )  # fmt: skip
        producer.produce(f"{prefix}dead-letters", msgspec.json.encode(letter), "events-0", copy.partition())
    producer.flush(20)

    out = tidegate("dead-letters", "replay")[1]
    assert "refused again after a replay: 3 records" in out
    assert len(replays(bootstrap, prefix)) == 40

    for _ in range(2):
        tidegate("dead-letters", "replay", "--again")
        assert len(replays(bootstrap, prefix)) == 43


def test_a_record_that_two_flows_refused_is_published_once(tidegate, bootstrap, prefix):
    places = published(bootstrap, f"{prefix}events", 4)
    refuse(bootstrap, prefix, places)
    refuse(bootstrap, prefix, places, flow="other")
    tidegate("dead-letters", "replay")

    assert replays(bootstrap, prefix) == expected(range(4))


def test_a_record_keeps_its_own_headers(tidegate, bootstrap, prefix):
    refuse(bootstrap, prefix, published(bootstrap, f"{prefix}events", 1, headers=[("trace", b"7")]))
    tidegate("dead-letters", "replay")

    assert everything(bootstrap, f"{prefix}events")[-1].headers() == [
        ("trace", b"7"), ("tidegate-replay", f"{prefix}events/0/0".encode())
    ]  # fmt: skip


@pytest.mark.usefixtures("refused")
def test_a_record_that_the_topic_takes_no_more_is_named_and_replayed_once_it_does(tidegate, admin, bootstrap, prefix):
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(f"{prefix}events", os.urandom(3_000), b"k", 0, timestamp=TIME_MS + 40)
    producer.flush(20)
    refuse(bootstrap, prefix, [(0, 10)], first=40)
    change(admin, f"{prefix}events", "max.message.bytes", "2000")

    out = tidegate("dead-letters", "replay")[1].splitlines()
    assert out == ["replayed: 40 records (not_json 20, too_large 20)",
                   f"{prefix}events[0] at 10: too large for the topic with the header"]  # fmt: skip

    change(admin, f"{prefix}events", "max.message.bytes", "5000")
    assert tidegate("dead-letters", "replay")[1].splitlines()[0] == "replayed: 1 record (too_large 1)"
    assert len(replays(bootstrap, prefix)) == 41


@pytest.mark.usefixtures("refused")
def test_no_payload_is_shown(tidegate):
    out, said = tidegate("dead-letters", "replay")[1:]

    assert "value" not in out + said
    assert "key" not in out + said


def test_a_replay_without_transactions_is_refused(tidegate, monkeypatch):
    monkeypatch.setenv("TIDEGATE_KAFKA__DELIVERY", "at_least_once")
    code, _, said = tidegate("dead-letters", "replay")

    assert code == 1
    assert "a replay needs transactions" in said


@contextlib.contextmanager
def started(*words):
    run = subprocess.Popen(
        [sys.executable, "-m", "flows", "dead-letters", "replay", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


def wait(run, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline


def test_killed_at_any_moment_and_run_again_it_repeats_nothing_and_loses_nothing(bootstrap, prefix):
    count = 400
    refuse(bootstrap, prefix, published(bootstrap, f"{prefix}events", count))
    rng = random.Random(3)
    seen = []
    for _ in range(3):
        enough = len(replays(bootstrap, prefix)) + 1
        with started("--rate", "40") as run:
            wait(run, lambda: len(replays(bootstrap, prefix)) >= enough)  # noqa: B023  called at once
            time.sleep(rng.random() * 0.2)
            run.kill()
            run.wait()
        seen.append(len(replays(bootstrap, prefix)))

    assert seen == sorted(set(seen))  # each got further
    assert seen[-1] < count  # and none to the end
    with started() as last:
        out = last.communicate(timeout=60)[0]
    assert last.returncode == 0, out
    assert replays(bootstrap, prefix) == expected(range(count))


def test_a_second_replay_takes_over_from_one_that_runs(bootstrap, prefix):
    refuse(bootstrap, prefix, published(bootstrap, f"{prefix}events", 400))
    with started("--rate", "20") as first:
        wait(first, lambda: replays(bootstrap, prefix))
        with started() as second:
            assert second.wait(60) == 0
        out = first.communicate(timeout=60)[0]

    assert first.returncode == 1
    assert "another replay was started and has taken over" in out
    assert replays(bootstrap, prefix) == expected(range(400))
