"""`tidegate run rekey` on a real Kafka: the same records, keyed by user, exactly once."""

import json
import random
import subprocess
import sys

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from harness import PARTITIONS, ROOT, Flow, create_topics, read_committed

pytestmark = pytest.mark.broker

SOURCE_PARTITIONS = 3
COUNT = 30_000
TIME_MS = 1_700_000_000_000


class Rekey(Flow):
    """One process of `tidegate run rekey`."""

    def __init__(self, bootstrap, prefix, log, **settings):
        super().__init__(bootstrap, prefix, log, **settings)
        self.group = f"{prefix}rekey"
        del self.environment["TIDEGATE_PSEUDONYM_KEY"]
        self.environment |= {
            "TIDEGATE_REKEY__GROUP": self.group,
            "TIDEGATE_REKEY__SOURCE": f"{prefix}raw",
            "TIDEGATE_REKEY__COMMIT_INTERVAL_MS": "30",
            "TIDEGATE_REKEY__BATCH_MAX": "50",
        }

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows", "run", "rekey"],
                env=self.environment, cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
        Flow.started.append(self)
        return self

    def wait_copied(self, count):
        # The group's offsets are those of three partitions; the harness asks for two of them.
        self._wait(lambda: self.metric('tidegate_lag_records{flow="rekey"') == 0, 60, "at the end")
        self._wait(lambda: found(self.bootstrap, self.prefix, "events")[1] >= count, 60, f"at {count}")


def found(bootstrap, prefix, topic):
    parts = read_committed(bootstrap, prefix + topic)
    return parts, sum(map(len, parts))


def make_raw(bootstrap, prefix):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    done = admin.create_topics([NewTopic(f"{prefix}raw", SOURCE_PARTITIONS, 1, config={"retention.ms": "-1"})])
    for future in done.values():
        future.result()


def raw(bootstrap, prefix, users, numbers):
    """Publish numbered records under random keys, one in fifty without a user; return the numbers of those."""
    rng = random.Random(numbers[0])
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    without = set()
    for number in numbers:
        event = {"n": number, "user": rng.choice(users)}
        if number % 50 == 7:
            del event["user"]
            without.add(number)
        key = None if rng.random() < 0.1 else str(rng.random()).encode()
        place = rng.randrange(SOURCE_PARTITIONS)
        producer.produce(f"{prefix}raw", json.dumps(event), key, place, timestamp=TIME_MS + number)
        producer.poll(0)
    assert producer.flush(30) == 0
    return without


def by_a_real_producer(bootstrap, topic, users):
    """The partition that librdkafka's murmur2_random picks for each user."""
    picked = {}
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for user in users:
        producer.produce(topic, b"", user, on_delivery=lambda _, message: picked.update({message.key(): message}))
    assert producer.flush(30) == 0
    return {key.decode(): message.partition() for key, message in picked.items()}


def test_records_reach_the_partition_of_their_user_exactly_once_after_kill_9(bootstrap, prefix, tmp_path):
    users = [f"user-{number} {'ä' * (number % 5)}" for number in range(200)]
    create_topics(bootstrap, prefix)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(f"{prefix}probe", PARTITIONS, 1)])[f"{prefix}probe"].result()
    make_raw(bootstrap, prefix)
    without = set()
    seen = []
    for round_ in range(2):
        flow = Rekey(bootstrap, prefix, tmp_path / "log").start().wait_ready()
        before = found(bootstrap, prefix, "events")[1]
        without |= raw(bootstrap, prefix, users, range(round_ * COUNT // 2, (round_ + 1) * COUNT // 2))
        flow._wait(lambda: found(bootstrap, prefix, "events")[1] > before, 60, "writing")  # noqa: B023
        flow.kill()
        seen.append(found(bootstrap, prefix, "events")[1])
    flow = Rekey(bootstrap, prefix, tmp_path / "log").start().wait_ready()
    flow.wait_copied(COUNT - len(without))
    assert flow.terminate() == 0
    print("after each kill:", seen)

    parts, _ = found(bootstrap, prefix, "events")
    records = [(json.loads(value), key, time_ms) for part in parts for key, value, time_ms in part]
    assert sorted(event["n"] for event, _, _ in records) == sorted(set(range(COUNT)) - without)
    assert all(key == event["user"].encode() and time_ms == TIME_MS + event["n"] for event, key, time_ms in records)
    where = {json.loads(value)["user"]: number for number, part in enumerate(parts) for _, value, _ in part}
    assert where == by_a_real_producer(bootstrap, f"{prefix}probe", users)
    assert (
        len({(json.loads(value)["user"], number) for number, part in enumerate(parts) for _, value, _ in part}) == 200
    )

    letters, dead = found(bootstrap, prefix, "dead-letters")
    assert dead == len(without)
    assert {json.loads(value)["topic"] for part in letters for _, value, _ in part} == {f"{prefix}raw"}


def test_a_source_that_is_not_there_is_named(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    flow = Rekey(bootstrap, prefix, tmp_path / "log").start()

    assert flow.exit_code() == 1
    assert f"there is no topic {prefix}raw to read from; rekey.source names it" in flow.log.read_text()
