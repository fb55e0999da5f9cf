"""Lines for the topics of ranking: checked as the flows will, keyed as the flows need them."""

import pytest

from flows.event_files import Ready, Refused
from flows.record_lines import LINES

START = 1_767_225_600_000


def test_an_item_is_keyed_by_the_item_at_its_time():
    line = b'{"event":"item","id":"1","item":"shoe","timestamp":"2026-01-01T00:00:00Z"}'
    assert LINES["items"](line, 3) == Ready(3, b"shoe", line, START)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        (b',"user":"ann","session":"s"', b"ann"),
        (b',"session":"s"', b"s"),  # a session without a user is one task's, too
        (b"", b"1"),
    ],
)
@pytest.mark.parametrize(
    ("topic", "event"),
    [
        ("interactions", b'{"event":"interaction","type":"click","item":"shoe","id":"1","timestamp":"1767225600000"'),
        ("ranking.requests", b'{"event":"ranking","items":[],"id":"1","timestamp":1767225600000'),
    ],
)
def test_who_it_was_is_the_key_and_metaranks_times_are_read(topic, event, more, key):
    line = event + more + b"}"
    assert LINES[topic](line, 1) == Ready(1, key, line, START)


@pytest.mark.parametrize(
    ("topic", "line", "why"),
    [
        ("items", b'{"event":"item","id":"1","timestamp":0}', "$.item"),
        ("items", b'{"event":"item","id":"1","item":"a","timestamp":0,"fields":[{"name":"a"}]}', "$.fields[*].value"),
        ("interactions", b'{"event":"click","id":"1","item":"a","type":"click","timestamp":0}', "$.event"),
        ("interactions", b'{"event":"interaction","id":"1","item":"a","type":"click","timestamp":-1}', "$.timestamp"),
        ("ranking.requests", b'{"event":"ranking","id":"1","timestamp":0,"items":[{}]}', "$.items[*].id"),
        ("ranking.requests", b'{"event":"ranking","id":"1","timestamp":0,"count":0}', "$.count"),
        ("ranking.requests", b"\xff", "UTF-8"),
        ("ranking.requests", b"{", "JSON"),
    ],
)
def test_a_line_that_is_none_is_refused_with_what_is_wrong(topic, line, why):
    refused = LINES[topic](line, 7)

    assert isinstance(refused, Refused)
    assert (refused.line, why in refused.why) == (7, True)
