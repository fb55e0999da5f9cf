"""Every kind of bad record of the notice stage has its one reason and its sentence, and none stops the others."""

import json

import pytest
from bad_records import COMMON, FUTURE, HUGE, NO_FIELD, NOT_JSON, TEXT, TIME, written
from notice_streams import MAKE, NOW, notice, taken

STAGE = notice()
EMPTY = "expected at least 1 character, got an empty string - at $."
LONG_ID = "expected at most 256 characters, got more - at $."
LONG_USER = "expected at most 1024 characters, got more - at $."
VALUE = "expected a boolean, number, string or list of them, got"
COUNT = "expected a whole number from 1 to 1000, got"


OF_ALL = {
    "no event": ({"event": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.event"),
    "number as event": ({"event": "1"}, "wrong_type", f"{TEXT} a number - at $.event"),
    "no id": ({"id": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.id"),
    "empty id": ({"id": '""'}, "empty_field", f"{EMPTY}id"),
    "long id": ({"id": f'"{"x" * 257}"'}, "out_of_range", f"{LONG_ID}id"),
    "half a surrogate pair": ({"id": r'"\ud800"'}, *NOT_JSON),
    "no time": ({"timestamp": None}, "missing_field", f"expected {TIME}, got {NO_FIELD} - at $.timestamp"),
    "empty time": ({"timestamp": '""'}, "empty_field", f"expected {TIME}, got an empty string - at $.timestamp"),
    "another time": ({"timestamp": '"SECRET"'}, "wrong_type", f"expected {TIME}, got another string - at $.timestamp"),
    "time in other digits": (
        {"timestamp": '"١٧٦٧٢٢٥٦٠٠٠٠٠"'},  # Arabic ones, which `int` would read
        "wrong_type",
        f"expected {TIME}, got another string - at $.timestamp",
    ),
    "time with a sign": ({"timestamp": '"+1"'}, "wrong_type", f"expected {TIME}, got another string - at $.timestamp"),
    "time with spaces": ({"timestamp": '" 1 "'}, "wrong_type", f"expected {TIME}, got another string - at $.timestamp"),
    "time without offset": (
        {"timestamp": '"2022-06-22T11:21:39"'},
        "wrong_type",
        "expected a time with its offset from UTC, got one without - at $.timestamp",
    ),
    "half a millisecond": (
        {"timestamp": "0.5"},
        "wrong_type",
        "expected whole milliseconds, got a fraction - at $.timestamp",
    ),
    "half a millisecond in a string": (
        {"timestamp": '"0.5"'},
        "wrong_type",
        f"expected {TIME}, got another string - at $.timestamp",
    ),
    "before 1970": (
        {"timestamp": "-1"},
        "out_of_range",
        "expected a time from 1970 to 9999, got an earlier one - at $.timestamp",
    ),
    "after 9999": (
        {"timestamp": '"253402300800000"'},
        "out_of_range",
        "expected a time from 1970 to 9999, got a later one - at $.timestamp",
    ),
    "time of 5,000 digits": (
        {"timestamp": f'"{"9" * 5_000}"'},
        "out_of_range",
        "expected a time from 1970 to 9999, got a later one - at $.timestamp",
    ),
    "boolean as time": ({"timestamp": "true"}, "wrong_type", f"expected {TIME}, got a boolean - at $.timestamp"),
    "from the future": ({"timestamp": str(NOW + 300_001)}, "from_the_future", FUTURE),
    "from the future in a string": ({"timestamp": f'"{NOW + 300_001}"'}, "from_the_future", FUTURE),
    "object as fields": ({"fields": "{}"}, "wrong_type", "expected an array, got an object - at $.fields"),
    "text among fields": ({"fields": '["SECRET"]'}, "wrong_type", "expected an object, got a string - at $.fields[*]"),
    "field without name": (
        {"fields": '[{"value":1}]'},
        "missing_field",
        f"{TEXT} {NO_FIELD} - at $.fields[*].name",
    ),
    "field with an empty name": ({"fields": '[{"name":"","value":1}]'}, "empty_field", f"{EMPTY}fields[*].name"),
    "field without value": (
        {"fields": '[{"name":"a","value":1},{"name":"SECRET"}]'},
        "missing_field",
        f"{VALUE} {NO_FIELD} - at $.fields[*].value",
    ),
    "object as value": (
        {"fields": '[{"name":"SECRET","value":{}}]'},
        "wrong_type",
        f"{VALUE} an object - at $.fields[*].value",
    ),
    "object in a value": (
        {"fields": '[{"name":"SECRET","value":[1,{}]}]'},
        "wrong_type",
        f"{VALUE} an object in a list - at $.fields[*].value",
    ),
    "array in a value": (
        {"fields": '[{"name":"SECRET","value":[[]]}]'},
        "wrong_type",
        f"{VALUE} an array in a list - at $.fields[*].value",
    ),
    "null in a value": (
        {"fields": '[{"name":"SECRET","value":[null]}]'},
        "wrong_type",
        f"{VALUE} null in a list - at $.fields[*].value",
    ),
    "huge value": ({"fields": '[{"name":"a","value":1e400}]'}, "out_of_range", f"{HUGE}fields[*].value"),
    "huge number in a value": ({"fields": '[{"name":"a","value":[-1e400]}]'}, "out_of_range", f"{HUGE}fields[*].value"),
    "half a surrogate pair in a value": ({"fields": r'[{"name":"a","value":"\ud800"}]'}, *NOT_JSON),
}
OF_USERS = {
    "number as user": ({"user": "1"}, "wrong_type", f"{TEXT} a number - at $.user"),
    "empty user": ({"user": '""'}, "empty_field", f"{EMPTY}user"),
    "long user": ({"user": f'"{"x" * 1025}"'}, "out_of_range", f"{LONG_USER}user"),
    "empty session": ({"session": '""'}, "empty_field", f"{EMPTY}session"),
    "long session": ({"session": f'"{"x" * 1025}"'}, "out_of_range", f"{LONG_USER}session"),
}
OF_ITEMS = {
    "no item": ({"item": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.item"),
    "empty item": ({"item": '""'}, "empty_field", f"{EMPTY}item"),
    "long item": ({"item": f'"{"x" * 257}"'}, "out_of_range", f"{LONG_ID}item"),
}
INTERACTIONS = {
    "another event": ({"event": '"ranking"'}, "out_of_range", "expected interaction, got another string - at $.event"),
    "no type": ({"type": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.type"),
    "empty type": ({"type": '""'}, "empty_field", f"{EMPTY}type"),
    "no type beside an empty ranking": (
        {"ranking": '""', "type": None},
        "missing_field",
        f"{TEXT} {NO_FIELD} - at $.type",
    ),
    "number as ranking": ({"ranking": "1"}, "wrong_type", f"{TEXT} a number - at $.ranking"),
    "long ranking": ({"ranking": f'"{"x" * 257}"'}, "out_of_range", f"{LONG_ID}ranking"),
}
ITEMS = {
    "another event": (
        {"event": '"user"'},
        "out_of_range",
        "expected item or metadata, got another string - at $.event",
    ),
}
REQUESTS = {
    "another event": ({"event": '"item"'}, "out_of_range", "expected ranking, got another string - at $.event"),
    "object as items": ({"items": "{}"}, "wrong_type", "expected an array, got an object - at $.items"),
    "text among items": ({"items": '["SECRET"]'}, "wrong_type", "expected an object, got a string - at $.items[*]"),
    "item without id": ({"items": '[{"SECRET":1}]'}, "missing_field", f"{TEXT} {NO_FIELD} - at $.items[*].id"),
    "item with an empty id": ({"items": '[{"id":""}]'}, "empty_field", f"{EMPTY}items[*].id"),
    "item with a long id": ({"items": f'[{{"id":"{"x" * 257}"}}]'}, "out_of_range", f"{LONG_ID}items[*].id"),
    "text as relevancy": (
        {"items": '[{"id":"a","relevancy":"SECRET"}]'},
        "wrong_type",
        "expected a number, got a string - at $.items[*].relevancy",
    ),
    "huge relevancy": ({"items": '[{"id":"a","relevancy":1e400}]'}, "out_of_range", f"{HUGE}items[*].relevancy"),
    "text as label": (
        {"items": '[{"id":"a","label":"SECRET"}]'},
        "wrong_type",
        "expected a number, got a string - at $.items[*].label",
    ),
    "field of an item without value": (
        {"items": '[{"id":"a","fields":[{"name":"SECRET"}]}]'},
        "missing_field",
        f"{VALUE} {NO_FIELD} - at $.items[*].fields[*].value",
    ),
    "1,001 items": (
        {"items": json.dumps([{"id": "a"}] * 1_001)},
        "out_of_range",
        "expected at most 1000 entries, got more - at $.items",
    ),
    "text as count": ({"count": '"1"'}, "wrong_type", f"{COUNT} a string - at $.count"),
    "half a count": ({"count": "1.5"}, "wrong_type", f"{COUNT} another number - at $.count"),
    "count of none": ({"count": "0"}, "out_of_range", f"{COUNT} another one - at $.count"),
    "count of 1,001": ({"count": "1001"}, "out_of_range", f"{COUNT} another one - at $.count"),
}
CASES = {
    "interactions": OF_ALL | OF_USERS | OF_ITEMS | INTERACTIONS,
    "items": OF_ALL | OF_ITEMS | ITEMS,
    "ranking.requests": OF_ALL | OF_USERS | REQUESTS,
}


def answer(topic, *values, keys=None, kafka_ms=NOW):
    """Return how many rows some records between two good ones make, and the rejections."""
    good = written(MAKE[topic])
    values = [good, *values, good]
    found = taken(STAGE, topic, *values, keys=keys or [b"k"] * len(values), first=7, kafka_ms=kafka_ms)
    return found.noticed.offsets.tolist(), [
        (each.offset, each.timestamp_ms, each.reason, each.detail) for each in found.rejected
    ]


@pytest.mark.parametrize(("topic", "name"), [(topic, name) for topic in MAKE for name in COMMON])
def test_what_is_no_record_of_any_topic_has_its_reason(topic, name):
    value, reason, detail = COMMON[name]

    assert answer(topic, value) == ([7, 9], [(8, NOW, reason, detail)])


@pytest.mark.parametrize(("topic", "name"), [(topic, name) for topic, cases in CASES.items() for name in cases])
def test_what_is_no_record_of_a_topic_has_its_reason_and_a_sentence_without_its_values(topic, name):
    changes, reason, detail = CASES[topic][name]

    assert answer(topic, written(MAKE[topic], **changes)) == ([7, 9], [(8, NOW, reason, detail)])


@pytest.mark.parametrize(
    ("topic", "who"), [("interactions", "the user"), ("ranking.requests", "the user"), ("items", "the item")]
)
@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_is_rejected(topic, who, key):
    good = written(MAKE[topic])

    assert answer(topic, good, keys=[b"k", key, b"k"]) == (
        [7, 9],
        [(8, NOW, "missing_key", f"expected {who} as key, got no key")],
    )


@pytest.mark.parametrize("topic", MAKE)
@pytest.mark.parametrize("wrong", [b'"id":1', b'"timestamp":[]', b'"fields":{}', b'"fields":[{"name":1}]'])
def test_of_a_field_that_occurs_twice_the_last_counts(topic, wrong):
    twice = b"{" + wrong + b"," + written(MAKE[topic], fields="[]")[1:]

    assert answer(topic, twice) == ([7, 8, 9], [])


def test_of_a_member_of_a_field_or_an_item_that_occurs_twice_the_last_counts():
    fields = '[{"name":1,"value":{},"name":"n","value":1}]'
    items = f'[{{"id":1,"id":"a","relevancy":"x","relevancy":1,"fields":1,"fields":{fields}}}]'

    assert answer("ranking.requests", written(MAKE["ranking.requests"], items=items)) == ([7, 8, 9], [])


@pytest.mark.parametrize("topic", MAKE)
def test_a_time_is_not_held_against_a_record_without_a_kafka_timestamp(topic):
    value = written(MAKE[topic], timestamp=f'"{NOW + 10**9}"')

    assert answer(topic, value, kafka_ms=-1) == ([7, 8, 9], [])
