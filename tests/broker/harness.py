"""Drives the risk flow as a user would: processes of the command line, records in, records out of a real Kafka."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from forked import Forked, fork
from server import free_ports

from schemas import registry

ROOT = Path(__file__).parents[2]
PARTITIONS = 2
KEY = "a key for tests only, 32 bytes.."
TOPICS = tuple(registry.TOPICS)


@dataclass(frozen=True)
class Sent:
    """One record to publish."""

    value: bytes | None
    key: bytes | None
    timestamp_ms: int
    partition: int


def create_topics(bootstrap: str, prefix: str, partitions: int = PARTITIONS, **events_config: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    keep = {"retention.ms": "-1"}  # the events are older than a week, and Kafka goes by their time
    topics = [
        NewTopic(prefix + name, partitions, 1, config=keep | (events_config if name == "events" else {}))
        for name in TOPICS
    ]
    for done in admin.create_topics(topics).values():
        done.result()


def publish(
    bootstrap: str, prefix: str, records: Iterable[Sent], topic: str = "events", partitions: int = PARTITIONS
) -> list[int]:
    """Publish in order; returns the number of records per partition."""
    # Idempotent, or a retry could change the order that the tests are about.
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 9_000_000, "enable.idempotence": True})
    counts = [0] * partitions
    for each in records:
        producer.produce(f"{prefix}{topic}", each.value, each.key, each.partition, timestamp=each.timestamp_ms)
        counts[each.partition] += 1
        producer.poll(0)
    assert producer.flush(30) == 0
    return counts


def read_committed(
    bootstrap: str, topic: str, partitions: int = PARTITIONS
) -> list[list[tuple[bytes | None, bytes | None, int]]]:
    """Everything a read_committed reader finds: per partition, (key, value, timestamp) in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found: list[list[tuple[bytes | None, bytes | None, int]]] = [[] for _ in range(partitions)]
    ended: set[int] = set()
    deadline = time.monotonic() + 60
    while len(ended) < partitions:
        assert time.monotonic() < deadline, f"{topic} does not end"
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                found[message.partition()].append((message.key(), message.value(), message.timestamp()[1]))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return found


def committed(bootstrap: str, group: str, topic: str, partitions: int = PARTITIONS) -> list[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    asked = [TopicPartition(topic, number) for number in range(partitions)]
    try:
        return [each.offset for each in consumer.committed(asked, timeout=20)]
    except KafkaException as error:
        if error.args[0].retriable() or error.args[0].code() == KafkaError.NOT_COORDINATOR:
            return []  # the group is just moving in: asked again by whoever waits
        raise
    finally:
        consumer.close()


class Flow:
    """One process of `tidegate run risk`.

    Attributes:
        command: how it is started.
        environment: of the process; what is changed counts from the next start.
        fresh: whether each start imports everything anew (tests/broker/forked.py).
    """

    started: ClassVar[list["Flow"]] = []
    fresh = False

    def __init__(self, bootstrap: str, prefix: str, log: Path, **settings: str) -> None:
        self.bootstrap, self.prefix, self.log = bootstrap, prefix, log
        self.group = f"{prefix}risk"
        self.port = free_ports(1)[0]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")},
            "TIDEGATE_PSEUDONYM_KEY": KEY,
            "TIDEGATE_KAFKA__BOOTSTRAP": bootstrap,
            "TIDEGATE_KAFKA__PREFIX": prefix,
            "TIDEGATE_RISK__GROUP": self.group,
            "TIDEGATE_METRICS__PORT": str(self.port),
            "TIDEGATE_TOPICS__PARTITIONS": str(PARTITIONS),
            **settings,
        }
        self.command = [sys.executable, "-m", "flows", "run", "risk"]
        self.process: subprocess.Popen[bytes] | Forked | None = None

    def missed_soon(self) -> "Flow":
        """Let the group notice a kill after 2 s, as in chaos tests, and not after 6: nothing but waiting is less."""
        self.command[1:3] = [str(ROOT / "tests" / "broker" / "saboteur.py"), "--session-ms", "2000"]
        return self

    def start(self) -> "Flow":
        if self.fresh or os.environ.get("TIDEGATE_TEST_FRESH"):
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(self.command, env=self.environment, cwd=ROOT, stdout=log, stderr=log)
        else:
            self.process = fork(self.command, self.environment, self.log)
        Flow.started.append(self)
        return self

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, start: str) -> float:
        """Sum of the series whose line begins so."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    def wait_ready(self, timeout_s: float = 240) -> "Flow":
        self._wait(lambda: self.get("/readyz")[0] == 200, timeout_s, "ready")
        return self

    def wait_answered(self, counts: list[int], timeout_s: float = 180) -> None:
        """Wait until the group's committed offsets reach the ends."""
        topic = f"{self.prefix}events"
        self._wait(lambda: committed(self.bootstrap, self.group, topic) == counts, timeout_s, f"at {counts}")

    def _wait(self, condition, timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process is not None
            code = self.process.poll()
            assert code is None, f"the flow ended with {code}: {self.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"not {what} in {timeout_s} s: {self.log.read_text()[-3000:]}"
            time.sleep(0.1)

    def pause(self) -> None:
        """Stall the process as a frozen machine would: it notices nothing, not even the time that passes."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """Tell it to stop; returns its exit code.

        Only once it answers: all that a test waits for may have been done by the process before it, and Python itself
        is ended by the signal with another code.
        """
        assert self.process is not None
        deadline = time.monotonic() + 60
        while self.process.poll() is None and self.get("/healthz")[0] == 0:
            assert time.monotonic() < deadline, f"no answer in 60 s: {self.log.read_text()[-3000:]}"
            time.sleep(0.05)
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def exit_code(self, timeout_s: float = 240) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)
