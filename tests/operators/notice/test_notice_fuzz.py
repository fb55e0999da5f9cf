"""Notice against the oracle of the decode stage's test: Metarank's events as the contract says, word by word."""

import math

import fuzzing
from notice_streams import NOW, PSEUDONYMS, messages, notice, taken
from strict_json import TOKENS, members, number, text, time_ms

from operators.decode import reading
from operators.notice import explain, stage, wire
from operators.noticed import CLICK, IMPRESSION, OTHER, PURCHASE, item_key

STAGE = notice()
ASKED = notice("ranking.requests")
KINDS = {"impression": IMPRESSION, "view": IMPRESSION, "click": CLICK, "purchase": PURCHASE}
DIGITS = frozenset("0123456789")


class Whole(int):
    """A number written without point or exponent."""


def integer(digits):
    found = number(digits)
    return Whole(found) if isinstance(found, int) else found


def stamp(value):
    """Return a time that may be digits in a string, or None."""
    if isinstance(value, str) and value and set(value) <= DIGITS:
        value = int(value.lstrip("0")[:20] or "0")  # 20 digits are too many already
    return time_ms(value)


def real(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(float(value))


def scalar(value):
    return isinstance(value, bool | str) or real(value)


def plain(value):
    """Return a value as rows hold it."""
    if isinstance(value, list):
        return tuple(map(plain, value))
    return value if isinstance(value, bool | str | None) else float(value)


def fields(told):
    """Return properties by name; None if they are none."""
    if told is None:
        return {}
    # An empty object is (), an empty array is [].
    if not isinstance(told, list) or not all(isinstance(each, tuple) for each in told):
        return None
    found = {}
    for each in map(dict, told):
        value = each.get("value")
        known = value is None or scalar(value) or (isinstance(value, list) and all(map(scalar, value)))
        if not isinstance(each.get("name"), str) or not each["name"] or "value" not in each or not known:
            return None
        found[each["name"]] = plain(value)
    return found


def who(said):
    return all(said.get(name) is None or text(said[name], 1024) for name in ("user", "session"))


def ranking(value):
    return value is None or (isinstance(value, str) and len(value) <= 256)


def position(told):
    value = told.get("position")
    good = isinstance(value, float) and 1 <= value < 2**31 and value.is_integer()
    return int(value) - 1 if good else -1


def user_bits(user):
    return 0 if user is None else PSEUDONYMS.user(user)[1]


def refused(found, rows):
    assert len(rows.time_ms) == 0, "accepted, and should not be"
    return found.rejected[0].detail


def check_interaction(value):
    said = members(value, integer) or {}
    when, told = stamp(said.get("timestamp")), fields(said.get("fields"))
    good = (
        said.get("event") == "interaction"
        and text(said.get("id"), 256)
        and ranking(said.get("ranking"))
        and when is not None
        and who(said)
        and text(said.get("type"), math.inf)
        and text(said.get("item"), 256)
        and told is not None
    )
    found = STAGE.process(messages(value))
    rows = found.rows
    if not good:
        return refused(found, rows)
    assert not found.rejected, f"refused, and should not be: {found.rejected}"
    assert (rows.time_ms.tolist(), rows.items) == ([when], [said["item"]])
    assert rows.item.tolist() == [item_key(said["item"])]
    assert rows.kind.tolist() == [KINDS.get(said["type"], OTHER)]
    assert rows.user.tolist() == [user_bits(said.get("user"))]
    assert (rows.session[0] == 0) == (said.get("session") is None)
    assert (rows.ranking[0] == 0) == (not said.get("ranking"))
    assert rows.position.tolist() == [position(told)]
    return int(rows.kind[0]), said.get("user") is None, position(told) >= 0


def check_item(value):
    said = members(value, integer) or {}
    when, told = stamp(said.get("timestamp")), fields(said.get("fields"))
    good = (
        said.get("event") in ("item", "metadata")
        and text(said.get("id"), 256)
        and text(said.get("item"), 256)
        and when is not None
        and told is not None
    )
    found = taken(STAGE, "items", value)
    rows = found.noticed
    if not good:
        return refused(found, rows)
    assert not found.rejected, f"refused, and should not be: {found.rejected}"
    assert (rows.time_ms.tolist(), rows.items, rows.fields) == ([when], [said["item"]], [told])
    return len(told), any(isinstance(each, tuple) for each in told.values())


def candidate(told):
    """Return id, relevancy and fields of a candidate; None if it is none."""
    if not isinstance(told, tuple):
        return None
    told = dict(told)
    numbers = [told.get("relevancy"), told.get("label")]
    known = fields(told.get("fields"))
    if not text(told.get("id"), 256) or known is None or not all(each is None or real(each) for each in numbers):
        return None
    return told["id"], math.nan if numbers[0] is None else float(numbers[0]), known


def check_request(value):
    said = members(value, integer) or {}
    when, told = stamp(said.get("timestamp")), fields(said.get("fields"))
    items, count = said.get("items"), said.get("count")
    asked = [candidate(each) for each in items] if isinstance(items, list) else []
    good = (
        said.get("event") == "ranking"
        and text(said.get("id"), 256)
        and when is not None
        and who(said)
        and told is not None
        and isinstance(items, list | None)
        and len(asked) <= 1_000
        and all(each is not None for each in asked)
        and (count is None or (isinstance(count, Whole) and 1 <= count <= 1_000))
    )
    found = ASKED.process(messages(value))
    rows = found.rows
    if not good:
        return refused(found, rows)
    assert not found.rejected, f"refused, and should not be: {found.rejected}"
    assert (rows.time_ms.tolist(), rows.ids, rows.fields) == ([when], [said["id"]], [told])
    assert rows.user.tolist() == [user_bits(said.get("user"))]
    assert (rows.starts.tolist(), rows.count.tolist()) == ([0, len(asked)], [count or 0])
    assert rows.items == [each[0] for each in asked]
    assert repr(rows.relevancy.tolist()) == repr([each[1] + 0.0 for each in asked])
    assert rows.item_fields == [each[2] for each in asked]
    return min(len(asked), 3), count is None, said.get("user") is None


INTERACTIONS = (
    (
        b'{"event":"interaction","id":"c","ranking":"r","timestamp":"1767225600000","user":"ada","session":"s",'
        b'"type":"purchase","item":"cat","fields":[{"name":"position","value":3}]}'
    ),
    b'{"event":"interaction","id":"c","ranking":"","timestamp":1.7672256e12,"type":"like","item":"\\u00e9"}',
    (
        b'{"event":1,"event":"interaction","id":"c","timestamp":"2025-12-31T23:59:59.5+01:00","user":"a","type":"view",'
        b'"item":"dog","fields":[{"name":1,"name":"a","value":["x",1,true]},{"value":null,"name":"b"}],"tenant":{}}'
    ),
)
ITEMS = (
    (
        b'{"event":"item","id":"i","timestamp":"0","item":"cat","fields":[{"name":"price","value":25},'
        b'{"name":"color","value":["white","black"]},{"name":"price","value":-2.5e1},{"name":"ok","value":false}]}'
    ),
    b'{"event":"metadata","id":"i","timestamp":1767225600000,"item":"\\u00e9","fields":null}',
)
REQUESTS = (
    (
        b'{"event":"ranking","id":"r","timestamp":"1767225600000","user":"ada","session":"s","items":[{"id":"a","relevancy"'
        b':2.0},{"id":"b","label":1,"fields":[{"name":"n","value":"x"}]}],"fields":[{"name":"query","value":"cat"}]}'
    ),
    b'{"event":"ranking","id":"r","timestamp":1,"items":[],"count":1000}',
    b'{"event":"ranking","id":"r","timestamp":"1970-01-01T00:00:00Z","items":[{"id":1,"id":"a","fields":[]}],"user":"u"}',
)
WORDS = [
    b'"%s":' % each
    for each in (
        b"event",
        b"item",
        b"items",
        b"ranking",
        b"session",
        b"type",
        b"name",
        b"value",
        b"relevancy",
        b"count",
    )
]
WORDS += [
    b'"interaction"',
    b'"item"',
    b'"ranking"',
    b'"click"',
    b'"position"',
    b'{"name":"position","value":7}',
    b"1001",
]
WORDS += [
    b'"253402300799999"',
    b'"253402300800000"',
    b'"000000000000000000000001"',
    b'"\\u0031"',
    b'"\xd9\xa1"',
    b'"1_0"',
]


def test_notice_accepts_the_interactions_that_a_strict_reader_accepts_and_nothing_else():
    assert fuzzing.fuzz(check_interaction, INTERACTIONS, (stage, wire, reading, explain), 0.03, TOKENS + WORDS) > 0


def test_notice_accepts_the_items_that_a_strict_reader_accepts_and_nothing_else():
    assert fuzzing.fuzz(check_item, ITEMS, (stage, wire, reading, explain), 0.03, TOKENS + WORDS) > 0


def test_notice_accepts_the_requests_that_a_strict_reader_accepts_and_nothing_else():
    assert fuzzing.fuzz(check_request, REQUESTS, (stage, wire, reading, explain), 0.03, TOKENS + WORDS) > 0


def test_the_seeds_are_as_they_seem():
    outcomes = [*map(check_interaction, INTERACTIONS), *map(check_item, ITEMS), *map(check_request, REQUESTS)]

    assert outcomes[:3] == [(PURCHASE, False, True), (OTHER, True, False), (IMPRESSION, False, False)]
    assert outcomes[3:5] == [(3, True), (0, False)]
    assert outcomes[5:] == [(2, True, False), (0, False, True), (1, True, False)]
    assert NOW == 1_767_225_600_000
