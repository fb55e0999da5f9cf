"""What a person or a pipe sees of a record."""

import json

import pytest

from flows.commands._shared import printable
from flows.commands.watch import _reaches, json_line, when


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b'{"a":1}', '{"a":1}'),
        (b'{"a":\r\n 1}', '{"a":   1}'),
        (None, "null"),
        (b"no json", '{"not_json": "bm8ganNvbg=="}'),  # printf 'no json' | base64
        (b'"\xff"', '{"not_json": "Iv8i"}'),
    ],
)
def test_every_record_is_one_line_of_json(value, line):
    assert json_line(value) == line
    json.loads(line)


@pytest.mark.parametrize(
    ("tier", "shown"),
    [("unknown", False), ("low", False), ("medium", False), ("high", True), ("critical", True), ("odd", False)],
)
def test_a_tier_asked_for_shows_the_tiers_above_it_too(tier, shown):
    assert _reaches(json.dumps({"tier": tier}).encode(), "high") is shown


@pytest.mark.parametrize("value", [None, b"", b"[]", b"no json", b'{"tier":5}'])
def test_what_has_no_tier_is_not_shown_when_one_is_asked_for(value):
    assert not _reaches(value, "low")


def test_a_time_is_written_in_utc():
    assert when(1442018818771) == "2015-09-12 00:46:58.771"


def test_what_a_stranger_wrote_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
