"""`tidegate demo` from end to end, as a newcomer runs it, and its two ends on an embedded broker."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from msgspec import ValidationError
from msgspec.json import encode

from connectors.embedded import EmbeddedBroker
from flows.demo import traffic
from flows.demo.generator import Generator, GeneratorConfig, Planted
from flows.demo.process import FlowProcess, free_port
from flows.demo.tally import Tally
from flows.demo.traffic import Publisher, Reader
from schemas.dead_letter import DeadLetter, Reason
from schemas.decision import Decision

COMMAND = [sys.executable, "-m", "flows", "demo", "--plain"]


def environment(repository, **more):
    return {**os.environ, "PYTHONPATH": str(repository), **more}


@pytest.fixture(scope="module")
def demo(repository, tmp_path_factory):
    """One short run, in a folder and an environment whose settings would make it fail if they were used."""
    folder = tmp_path_factory.mktemp("somewhere")
    (folder / "tidegate.toml").write_text('[kafka]\nbootstrap = "nowhere:1"\n', encoding="utf-8")
    return subprocess.run(
        [*COMMAND, "--seconds", "4", "--rate", "2000"],
        cwd=folder,
        env=environment(repository, TIDEGATE_KAFKA__DELIVERY="exactly_once"),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def figure(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    assert found, text
    return int(found[1].replace(",", ""))


def test_demo_exits_0_and_says_nothing_on_standard_error(demo):
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""


def test_every_published_message_is_answered(demo):
    published = figure(r"^published +([\d,]+) messages", demo.stdout)
    answered = figure(r"^answered +([\d,]+):", demo.stdout)
    decisions = figure(r"^answered .*: ([\d,]+) decisions", demo.stdout)
    dead = figure(r"^answered .*, ([\d,]+) dead letters", demo.stdout)
    assert published == answered == decisions + dead
    assert published > 6_000  # 8,400 unless the machine stalls


def test_the_flow_warms_up_within_a_short_demo(demo):
    assert figure(r"^tiers .* low ([\d,]+)", demo.stdout) > 0


def test_demo_says_where_metrics_are_that_the_key_is_thrown_away_and_what_was_caught(demo):
    assert re.search(r"^metrics +http://127\.0\.0\.1:\d+/metrics$", demo.stdout, re.MULTILINE)
    assert "The pseudonym key was made for this run" in demo.stdout
    assert "compiling (first run only)" in demo.stdout
    for kind in ("card testing", "account takeover", "scripted burst", "slow drip"):
        assert re.search(rf"^  {kind} +\d+ of \d+ attacks", demo.stdout, re.MULTILINE)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found through Linux's /proc")
def test_demo_fails_and_says_so_when_its_flow_dies(repository):
    process = subprocess.Popen(
        [*COMMAND, "--seconds", "300"],
        env=environment(repository),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "streaming" not in process.stdout.readline():
        pass
    for child in children_of(process.pid):
        os.kill(child, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "tidegate: the flow has ended; its log ends:" in errors


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found through Linux's /proc")
def test_demo_ends_its_flow_when_it_is_told_to_stop(repository):
    process = subprocess.Popen(
        [*COMMAND, "--seconds", "300"], env=environment(repository), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "compiling" not in process.stdout.readline():
        pass
    children = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert children
    assert not any(map(alive, children))


def children_of(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_flow_that_cannot_start_is_seen_to_have_died_and_says_why(tmp_path):
    with FlowProcess(tmp_path, "[risk]\nno_such_key = 1\n", free_port()) as flow:
        deadline = time.monotonic() + 60
        while not flow.died and time.monotonic() < deadline:
            time.sleep(0.05)
        assert flow.died
        assert flow.stop() != 0
        assert not flow.ready()
        assert "no_such_key" in flow.last_words()


@pytest.fixture
def broker():
    with EmbeddedBroker() as broker:
        broker.create(["events", "risk.tiers", "risk.alerts", "dead-letters"])
        yield broker


def run_for(seconds, work, *arguments):
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(*arguments, stop))
    thread.start()
    time.sleep(seconds)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def test_publisher_keeps_its_rate(broker):
    tally = Tally()
    publisher = Publisher(broker.bootstrap, "events", Generator(GeneratorConfig()).events(), tally)
    run_for(2.0, publisher.run, 1_000.0)
    assert 1_700 < tally.published < 2_100
    assert publisher.failed == 0


def test_publisher_waits_while_too_much_is_unanswered(broker, monkeypatch):
    monkeypatch.setattr(traffic, "MAX_IN_FLIGHT", 50)
    tally = Tally()
    publisher = Publisher(broker.bootstrap, "events", Generator(GeneratorConfig()).events(), tally)
    run_for(1.0, publisher.run, 10_000.0)
    assert tally.published == 50
    assert publisher.held_s > 0.5


def test_reader_counts_what_it_finds_on_all_three_topics(broker):
    benign, attack = Planted({"id": "b"}, None, 0, None), Planted({"id": "a"}, "slow_drip", 1, None)
    tally = Tally()
    for planted in (benign, attack):
        tally.sent(planted._replace(event={**planted.event, "timestamp": 1, "user": "u"}), 0.0)
    common = {"timestamp": 1, "user": "h1:00", "standing": "low", "partition": 2}
    high = Decision(id="a", tier="high", offset=8, **common)
    letter = DeadLetter(
        reason=Reason.NOT_JSON, detail="", topic="events", partition=2, offset=9, timestamp=1, flow="risk"
    )
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("risk.tiers", encode(Decision(id="b", tier="low", offset=7, **common)), b"h1:00", 2)
    producer.produce("risk.tiers", encode(high), b"h1:00", 2)
    producer.produce("risk.alerts", encode(high), b"h1:00", 2)
    producer.produce("dead-letters", encode(letter), b"events-2", 2)
    assert producer.flush(5) == 0

    run_for(2.0, Reader(broker.bootstrap, "", tally).run)

    assert tally.tiers == {"low": 1, "high": 1}
    assert tally.dead == {"not_json": 1}
    assert [(alert.tier, alert.attack) for alert in tally.newest] == [("high", "slow_drip")]


def test_reader_refuses_a_record_that_is_no_decision(broker):
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("risk.tiers", b'{"id":1}', b"h1:00", 0)
    assert producer.flush(5) == 0
    with pytest.raises(ValidationError, match="Expected `str`, got `int`"):
        Reader(broker.bootstrap, "", Tally()).run(threading.Event())
