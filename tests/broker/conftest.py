"""A real Apache Kafka for the tests: TIDEGATE_TEST_BOOTSTRAP, else a container, else Kafka's own jars."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient
from harness import Flow
from server import Kafka, UnavailableError

from flows import cli

IMAGE = "apache/kafka:4.1.0"


def _container() -> Iterator[str]:
    from testcontainers.kafka import KafkaContainer  # noqa: PLC0415  only where Docker answers

    with KafkaContainer(IMAGE).with_kraft() as container:
        yield container.get_bootstrap_server()


def _docker_answers() -> bool:
    # By its command: the client library leaves sockets open when nobody answers.
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _jars() -> Iterator[str]:
    server = Kafka()
    try:
        yield server.start().bootstrap
    finally:
        server.stop()


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """`host:port` of a real Apache Kafka."""
    given = os.environ.get("TIDEGATE_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    try:
        yield from _container() if _docker_answers() else _jars()
    except UnavailableError as error:
        wanted = f"no Kafka ({error}): set TIDEGATE_TEST_BOOTSTRAP, or start Docker, or install Java 17 and Maven"
        if os.environ.get("CI") or os.environ.get("TIDEGATE_TEST_REQUIRE_BROKER"):
            pytest.fail(wanted)
        pytest.skip(wanted)


@pytest.fixture
def prefix() -> str:
    """A topic prefix of this test's own."""
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture(autouse=True)
def _no_flow_survives() -> Iterator[None]:
    yield
    for flow in Flow.started:
        flow.kill()
    Flow.started.clear()


@pytest.fixture
def settings(bootstrap, prefix, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_CONFIG", raising=False)
    monkeypatch.delenv("TIDEGATE_PSEUDONYM_KEY", raising=False)
    monkeypatch.setenv("TIDEGATE_KAFKA__BOOTSTRAP", bootstrap)
    monkeypatch.setenv("TIDEGATE_KAFKA__PREFIX", prefix)


@pytest.fixture
def admin(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


@pytest.fixture
def topics(settings, capsys):
    assert cli.main(["topics", "create"]) == 0
    capsys.readouterr()


@pytest.fixture
def tidegate(settings, capsys):
    def run(*words):
        code = cli.main(list(words))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run
