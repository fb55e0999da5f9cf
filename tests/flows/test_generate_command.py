"""The synthetic stream as lines: paced by the clock, sound, and the same for the same seed."""

import io
import itertools
import json
from types import SimpleNamespace

from flows import cli
from flows.commands import generate as command
from flows.commands.generate import PAUSE_S, generate
from flows.demo.generator import Generator, GeneratorConfig

START_MS = 1_767_571_200_000
CONFIG = GeneratorConfig(seed=7, users=1_000, rate=100.0, speed=1.0, start_ms=START_MS, quiet_s=60.0)


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Watched(io.BytesIO):
    """Notes the clock's time at every line."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.times = []

    def write(self, data):
        self.times.append(self.clock.now)
        return super().write(data)


def run(limit=500, config=CONFIG):
    clock = Clock()
    out = Watched(clock)
    generate(config, out, limit, clock, clock.sleep)
    return out


def test_every_line_is_one_event():
    lines = run().getvalue().splitlines()

    assert len(lines) == 500
    assert all({"id", "timestamp", "user", "type"} <= json.loads(line).keys() for line in lines)


def test_an_event_is_written_when_its_time_has_come():
    out = run()
    due = [50.0 + (json.loads(line)["timestamp"] - START_MS) / 1000 for line in out.getvalue().splitlines()]

    assert all(at >= when - PAUSE_S for at, when in zip(out.times, due, strict=True))
    assert max(at - when for at, when in zip(out.times, due, strict=True)) < 0.01


def test_the_mean_rate_over_a_day_is_the_one_asked_for():
    out = run(86_400, GeneratorConfig(seed=7, users=500, rate=1.0, speed=1.0, start_ms=START_MS))

    # One event a second is 86,400 a day, give or take the chance in some 20,000 sessions and in the attacks.
    assert abs(out.times[-1] - 50.0 - 86_400) < 0.05 * 86_400


def test_the_same_seed_gives_the_same_bytes():
    assert run().getvalue() == run().getvalue()
    assert run().getvalue() != run(config=GeneratorConfig(seed=8, users=1_000, rate=100.0, speed=1.0)).getvalue()


def test_the_planted_events_are_labelled_beside_the_stream():
    config = GeneratorConfig(seed=7, users=500, rate=10.0, speed=1.0, start_ms=START_MS, quiet_s=60.0)
    clock, out, labels = Clock(), io.BytesIO(), io.BytesIO()
    generate(config, out, 5_000, clock, clock.sleep, labels)
    planted = [one for one in itertools.islice(Generator(config).events(), 5_000) if one.attack]
    found = [json.loads(line) for line in labels.getvalue().splitlines()]

    assert found
    assert [(one["id"], one["user"], one["kind"]) for one in found] == [
        (one.event["id"], one.event["user"], one.attack) for one in planted
    ]
    assert {one["label"] for one in found} == {"fraud"}


def test_at_once_needs_an_end(capsys):
    assert cli.main(["generate", "--at-once"]) == 1
    assert "--at-once needs --limit" in capsys.readouterr().err


def test_at_once_waits_for_nothing_and_repeats_itself(monkeypatch):
    shown = []
    for _ in range(2):
        out = SimpleNamespace(buffer=io.BytesIO())
        monkeypatch.setattr(command, "stdout", out)
        assert cli.main(["generate", "--at-once", "--rate", "2", "--limit", "2000"]) == 0
        shown.append(out.buffer.getvalue())

    assert shown[0].count(b"\n") == 2_000
    assert shown[0] == shown[1]
