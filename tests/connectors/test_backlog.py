"""The lines about catching up, with a clock that the test moves."""

import pytest

from connectors import backlog
from connectors.backlog import Backlog


class Heard:
    def __init__(self):
        self.shares = []

    def backlog(self, share):
        self.shares.append(share)


@pytest.fixture
def lines(monkeypatch):
    told = []

    class Log:
        def info(self, name, **fields):
            told.append((name, fields))

    monkeypatch.setattr(backlog, "log", Log())
    return told


def test_a_small_backlog_is_not_worth_a_line(lines):
    Backlog("risk", Heard()).report(0.0, {0: 5}, {0: backlog.LARGE})
    assert lines == []


def test_speed_and_time_left_are_told_every_five_seconds(lines):
    """From 400,000 records left, 10,000 a second: after 5 s 350,000 are left, which take 35 s."""
    heard = Heard()
    ours = Backlog("risk", heard)
    for second in range(6):
        ours.report(100.0 + second, {0: 10_000 * second, 1: 7}, {0: 400_000 - 10_000 * second, 1: 0})

    assert [name for name, _ in lines] == ["catching_up", "catching_up"]
    assert lines[1][1]["records_per_s"] == 10_000
    assert lines[1][1]["seconds_left"] == 35
    assert lines[1][1]["share"] == heard.shares[-1] == pytest.approx(0.125)


def test_the_end_is_told_once_with_what_was_done(lines):
    ours = Backlog("risk", Heard())
    ours.report(0.0, {0: 0}, {0: 100_000})
    ours.report(8.0, {0: 100_000}, {0: 0})
    ours.report(9.0, {0: 100_010}, {0: 0})

    assert [name for name, _ in lines] == ["catching_up", "caught_up"]
    assert (lines[1][1]["records"], lines[1][1]["seconds"]) == (100_000, 8.0)


def test_with_other_partitions_it_begins_anew(lines):
    heard = Heard()
    ours = Backlog("risk", heard)
    ours.report(0.0, {0: 0}, {0: 100_000})
    ours.report(5.0, {0: 50_000, 1: 0}, {0: 50_000, 1: 90_000})

    assert heard.shares == [0.0, 0.0]
    assert lines[1][1]["records_left"] == 140_000
