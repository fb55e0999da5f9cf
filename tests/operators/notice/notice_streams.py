"""Records for the tests of the notice stage."""

import dataclasses
import json

from bad_records import MOST

from operators.batches import Messages, Span
from operators.decode import Pseudonymizer
from operators.notice import Notice, NoticeConfig
from operators.side import Side

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
KEY = b"k" * 32
PSEUDONYMS = Pseudonymizer(KEY)


def notice(main="interactions", pseudonyms=PSEUDONYMS, **config):
    """Return a stage."""
    return Notice(NoticeConfig(max_message_bytes=MOST, cache_entries=8, **config), pseudonyms, main)


def interaction(**given):
    """Return a record of `interactions`."""
    fields = {"event": "interaction", "id": "c-1", "timestamp": str(NOW), "user": "ada", "session": "s-1"}
    return fields | {"type": "click", "item": "cat"} | given


def item(**given):
    """Return a record of `items`."""
    return {"event": "item", "id": "i-1", "timestamp": str(NOW), "item": "cat"} | given


def request(**given):
    """Return a record of `ranking.requests`."""
    fields = {"event": "ranking", "id": "r-1", "timestamp": str(NOW), "user": "ada", "session": "s-1"}
    return fields | {"items": [{"id": "cat"}, {"id": "dog"}]} | given


def decision(**given):
    """Return a record of `risk.tiers`."""
    user = PSEUDONYMS.pseudonym("user", "ada")
    return {"schema": 1, "id": "e-1", "timestamp": NOW, "user": user, "tier": "high", "standing": "low"} | given


MAKE = {"interactions": interaction, "items": item, "ranking.requests": request}


def field(name, value):
    """Return a property as Metarank writes it."""
    return {"name": name, "value": value}


def encoded(values):
    """Return values as bytes."""
    return [json.dumps(each).encode() if isinstance(each, dict) else each for each in values]


def messages(*values, keys=None, first=10, kafka_ms=NOW, topic="interactions"):
    """Return records of the flow's own input."""
    n = len(values)
    offsets = list(range(first, first + n))
    return Messages(Span(0, first, first + n), topic, encoded(values), keys or [b"k"] * n, offsets, [kafka_ms] * n)


def side(topic, *values, keys=None, first=10, kafka_ms=NOW):
    """Return records of a side topic."""
    n = len(values)
    offsets = list(range(first, first + n))
    return Side(0, topic, 100, first, first + n, encoded(values), keys or [b"k"] * n, offsets, [kafka_ms] * n)


def taken(stage, topic, *values, **given):
    """Return records of a side topic as a stage has filled them in."""
    records = side(topic, *values, **given)
    stage.take_side(records)
    return records


def rows(stage, topic, *values, **given):
    """Return the rows of records that can all be read."""
    found = taken(stage, topic, *values, **given)
    assert found.rejected == []
    return found.noticed


def joined(answers):
    """Return the columns of consecutive rows of one kind, joined, as lists; every NaN is the same.

    `starts` becomes how many candidates each request has.
    """
    found = {}
    for each in answers:
        for name in (column.name for column in dataclasses.fields(each)):
            values = getattr(each, name)
            if name == "starts":
                values = values[1:] - values[:-1]
            values = values if isinstance(values, list) else values.tolist()
            found.setdefault(name, []).extend(map(repr, values))
    return found
