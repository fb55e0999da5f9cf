"""Stretches of a side topic that are read once more, from a stand-in for librdkafka's consumer."""

import pytest

from connectors import past
from connectors.past import Past


class Message:
    def __init__(self, offset):
        self.at = offset

    def offset(self):
        return self.at

    def error(self):
        return None


class Consumer:
    """Holds 50 records; counts how long was waited. As the real one, it waits for all that it is asked for."""

    def __init__(self, config, _group, **_more):
        self.config, self.waited_s, self.left = config, 0.0, []

    def get_watermark_offsets(self, _place, timeout):
        return 0, 50

    def assign(self, places):
        self.left = [Message(at) for at in range(places[0].offset, 50)]

    def consume(self, count, timeout_s):
        found, self.left = self.left[:count], self.left[count:]
        self.waited_s += timeout_s if len(found) < count else 0.0
        return found


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(past, "groupless", Consumer)
    return Past({"queued.min.messages": 10_000}, "p.labels", 0)


def test_nothing_is_waited_for_where_the_records_are_there(made):
    assert [each.offset() for each in made.take(10, 30)] == list(range(10, 30))
    assert [each.offset() for each in made.take(30, 50)] == list(range(30, 50))
    assert made._consumer.waited_s == 0.0


def test_little_is_read_ahead_of_what_is_asked_for_since_there_may_be_many_of_them(made):
    assert made._consumer.config["queued.min.messages"] == 1_000
    assert made._consumer.config["queued.max.messages.kbytes"] == 1_024
