"""SIGTERM and SIGINT while a flow starts: it ends in good order, whatever it is doing."""

import gc
import json
import os
import signal
import time
from dataclasses import replace

import pytest

from connectors.health import Health
from flows.commands import run
from flows.settings import load_settings


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def told(request):
    """A function that has this process told to stop, as from outside; the handlers are put back afterwards."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield lambda: os.kill(os.getpid(), request.param)
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def started(monkeypatch, capfd):
    """A function: run a flow whose broker is not there, compiling as is said, and return its code and its log."""

    def start(warm_up=lambda _: None):
        monkeypatch.setitem(run.FLOWS, "risk", replace(run.FLOWS["risk"], warm_up=warm_up))
        monkeypatch.setattr(run, "calm_collector", lambda: None)
        settings = load_settings(
            None,
            {
                "TIDEGATE_PSEUDONYM_KEY": "a key for tests only, 32 bytes..",
                "TIDEGATE_KAFKA__BOOTSTRAP": "127.0.0.1:1",
                "TIDEGATE_METRICS__PORT": "0",
            },
            needs_key=True,
        )
        code = run.run(settings, "risk")
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
        return code, [line["event"] for line in lines if line["event"] in ("started", "stopped")]

    return start


def test_told_as_soon_as_it_answers_it_stops_in_good_order(told, started, monkeypatch):
    """Whoever has seen it answer may end it."""

    def serve(self, host, port):
        told()
        return answers(self, host, port)

    answers = Health.serve
    monkeypatch.setattr(Health, "serve", serve)

    assert started() == (0, ["stopped"])


def test_told_while_it_compiles_it_does_not_go_on(told, started):
    def compile_long(_):
        told()
        for _ in range(60):
            time.sleep(1)
        pytest.fail("went on")

    since = time.monotonic()
    assert started(compile_long) == (0, ["started", "stopped"])
    assert time.monotonic() - since < 30


def test_told_where_nothing_can_be_raised_it_stops_before_it_joins_the_group(told, started, monkeypatch):
    """What is raised in a destructor is lost."""
    lost = []
    monkeypatch.setattr("sys.unraisablehook", lambda each: lost.append(each.exc_type.__name__))
    monkeypatch.setattr(run, "run_main", lambda _: pytest.fail("went on"))
    monkeypatch.setattr(run.Engine, "run", lambda *_: pytest.fail("went on"))

    class Falling:
        def __del__(self):
            told()

    def fall(_):
        Falling()
        gc.collect()

    assert started(fall) == (0, ["started", "stopped"])
    assert lost == ["ToldToStop"]


def test_told_twice_it_stops_once(told, started):
    def impatient(_):
        try:
            told()
        finally:
            told()

    assert started(impatient) == (0, ["started", "stopped"])
