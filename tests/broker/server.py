"""Apache Kafka for tests and benchmarks: its own jars, fetched by Maven, run as one KRaft node on free ports."""

import fcntl
import itertools
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

FIRST_PORT, LAST_PORT, STRETCHES = 16_384, 32_768, 16

VERSION = "4.1.0"
CACHE = Path.home() / ".cache" / "tidegate" / f"kafka-{VERSION}"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate.test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""

PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
message.max.bytes=10485760
log.segment.bytes=268435456
"""

LOGGING = """status = error
rootLogger.level = WARN
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = ${sys:tidegate.log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c %m%n
"""


class UnavailableError(RuntimeError):
    """Kafka's jars cannot be had on this machine; the message says what is missing."""


def jars() -> Path:
    """The folder of Kafka's jars, fetched by Maven the first time."""
    lib = CACHE / "lib"
    if (CACHE / "complete").exists():
        return lib
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"not installed: {', '.join(missing)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests side by side come here at the same moment
        if not (CACHE / "complete").exists():
            _fetch(lib)
            (CACHE / "complete").touch()
    return lib


def _fetch(lib: Path) -> None:
    (CACHE / "pom.xml").write_text(POM)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={lib}", "-DincludeScope=runtime"]
    done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"Maven could not fetch Kafka {VERSION}: {done.stdout[-500:]}")


def own_ports(worker: str) -> Iterator[int]:
    """Ports for one process of tests, `gw0`, `gw1` and so on or none, again and again; none is another's.

    Below those that systems hand out (from 32768 on Linux, from 49152 elsewhere): a client's connection to Kafka must
    not get the port of a flow that is just being restarted.
    """
    place = int(worker.removeprefix("gw") or 0) % STRETCHES
    size = (LAST_PORT - FIRST_PORT) // STRETCHES
    first = FIRST_PORT + place * size
    start = random.SystemRandom().randrange(size)  # another run may be going on
    return (first + (start + number) % size for number in itertools.count())


_ports = own_ports(os.environ.get("PYTEST_XDIST_WORKER", ""))


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different, and not given out again soon."""
    found: list[int] = []
    for port in _ports:
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


class Kafka:
    """One broker with its data in a temporary folder; can be killed and started again on the same port."""

    def __init__(self, heap: str = "512m") -> None:
        """Choose ports and format the storage; `start` starts it."""
        self.lib = jars()
        self.heap = heap
        self.home = Path(tempfile.mkdtemp(prefix="tidegate-kafka-"))
        self.port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.properties = self.home / "server.properties"
        self.properties.write_text(
            PROPERTIES.format(port=self.port, controller=controller, data=self.home / "data"),
        )
        (self.home / "log4j2.properties").write_text(LOGGING)
        cluster = ("-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(self.properties))
        self._java("kafka.tools.StorageTool", "format", *cluster).wait()

    def _java(self, main: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [
            "java", f"-Xmx{self.heap}", f"-Xms{self.heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4",
            f"-Dlog4j2.configurationFile={self.home / 'log4j2.properties'}",
            f"-Dtidegate.log={self.home / 'server.log'}",
            "-cp", f"{self.lib}/*", main, *arguments,
        ]  # fmt: skip
        with (self.home / "console.log").open("ab") as console:
            return subprocess.Popen(command, stdout=console, stderr=console)

    def start(self, timeout_s: float = 60.0) -> "Kafka":
        """Start and wait until the broker answers."""
        self.process = self._java("kafka.Kafka", str(self.properties))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=0.2):
                    pass
                admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
                if admin.list_topics(timeout=2).brokers:
                    self._wake_coordinators()
                    return self
            except Exception:  # noqa: BLE001  not up yet
                time.sleep(0.1)
        console = (self.home / "console.log").read_text(errors="replace")[-2000:]
        raise UnavailableError(f"Kafka did not start in {timeout_s:.0f} s: {console}")

    def _wake_coordinators(self) -> None:
        """Wait until groups and transactions are served: their topics are made when first asked for."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": "wake", "log_level": 0})
        producer.init_transactions(20)
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "wake", "log_level": 0})
        try:
            consumer.committed([TopicPartition("wake", 0)], timeout=5)
        finally:
            consumer.close()

    def kill(self) -> None:
        """Kill -9, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Kill and remove the data."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
