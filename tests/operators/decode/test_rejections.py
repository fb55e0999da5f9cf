"""Every kind of bad record has its one reason and its sentence, and none stops the batch."""

import inspect
import json
import sys

import pytest

from operators.batches import Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer
from operators.decode.explain import depth
from schemas.dead_letter import Reason

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
GOOD = b'{"id":"a","timestamp":1767225600000,"user":"u","type":"t"}'


def decode(*values, keys=None, kafka_ms=NOW, config=None):
    n = len(values)
    batch = Messages(
        Span(0, 10, 10 + n),
        "events",
        list(values),
        [b"k"] * n if keys is None else keys,
        list(range(10, 10 + n)),
        [kafka_ms] * n,
    )
    return Decode(config or DecodeConfig(), Pseudonymizer(b"k" * 32)).process(batch)


def event(**changes):
    """A good event with raw JSON put in place of some fields; None takes the field away."""
    fields = {"id": '"a"', "timestamp": str(NOW), "user": '"u"', "type": '"t"'} | changes
    return ("{" + ",".join(f'"{name}":{raw}' for name, raw in fields.items() if raw is not None) + "}").encode()


def nested(levels, within="extra"):
    """An event of so many levels, the event itself being the first."""
    if within == "fields":
        return event(fields='{"a":' + "[" * (levels - 2) + "]" * (levels - 2) + "}")
    return event(**{within: "[" * (levels - 1) + "]" * (levels - 1)})


NO_FIELD = "no such field"
TIME = "milliseconds since 1970 or RFC 3339"
NOT_JSON = "expected JSON, got something else"
NOT_UTF8 = "expected UTF-8, got other bytes"
DEEP = "expected at most 256 levels of nesting, got more"
EMPTY = "expected a JSON object, got an empty value"
NEGATIVE = "expected a number >= 0, got a negative number - at $.amount"
HUGE = "expected a number a double can hold, got a larger one - at $.amount"
LATER = "expected a time from 1970 to 9999, got a later one - at $.timestamp"
EARLIER = "expected a time from 1970 to 9999, got an earlier one - at $.timestamp"
NO_TIME = f"expected {TIME}, got another string - at $.timestamp"
NAIVE = "expected a time with its offset from UTC, got one without - at $.timestamp"
FRACTION = "expected whole milliseconds, got a fraction - at $.timestamp"
FUTURE = "expected a time at most max_clock_skew_s after the record's Kafka timestamp, got a later one - at $.timestamp"
NO_TEXT = "expected at least 1 character, got an empty string - at $."
CASES = {
    "empty bytes": (b"", "empty_value", EMPTY),
    "tombstone": (None, "empty_value", EMPTY),
    "white space": (b"  ", "not_json", NOT_JSON),
    "text": (b"hello", "not_json", NOT_JSON),
    "cut short": (GOOD[:-1], "not_json", NOT_JSON),
    "cut short after a wrong type": (b'{"id":1', "not_json", NOT_JSON),
    "two values": (GOOD + GOOD, "not_json", NOT_JSON),
    "trailing comma": (GOOD[:-1] + b",}", "not_json", NOT_JSON),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "not_json", NOT_JSON),
    "UTF-16": (GOOD.decode().encode("utf-16"), "invalid_utf8", NOT_UTF8),
    "NaN": (event(amount="NaN"), "not_json", NOT_JSON),
    "Infinity": (event(amount="-Infinity"), "not_json", NOT_JSON),
    "NaN in an unknown field": (event(extra="NaN"), "not_json", NOT_JSON),
    "half a surrogate pair in id": (event(id=r'"\ud800"'), "not_json", NOT_JSON),
    "half a surrogate pair in user": (event(user=r'"x\udfff"'), "not_json", NOT_JSON),
    "half a surrogate pair in an unknown field": (event(extra=r'"\ud800"'), "not_json", NOT_JSON),
    "half a surrogate pair in a name": (GOOD[:-1] + rb',"\ud800":1}', "not_json", NOT_JSON),
    "half a surrogate pair in fields": (event(fields=r'{"\ud800":1}'), "not_json", NOT_JSON),
    "raw control character": (event(id='"\x00"'), "not_json", NOT_JSON),
    "invalid UTF-8": (event().replace(b'"a"', b'"\xc3\x28"'), "invalid_utf8", NOT_UTF8),
    "surrogate as UTF-8": (event().replace(b'"a"', b'"\xed\xa0\x80"'), "invalid_utf8", NOT_UTF8),
    "invalid UTF-8 and a missing field": (b'{"id":"\xff"}', "invalid_utf8", NOT_UTF8),
    "10,000 levels": (nested(10_000), "too_deep", DEEP),
    "10,000 levels in fields": (nested(10_000, "fields"), "too_deep", DEEP),
    "10,000 levels in id": (nested(10_000, "id"), "too_deep", DEEP),
    "10,000 brackets": (b"[" * 10_000, "too_deep", DEEP),
    "10,000 objects": (b'{"a":' * 10_000, "too_deep", DEEP),
    "257 levels": (nested(257), "too_deep", DEEP),
    "null": (b"null", "wrong_type", "expected an object, got null"),
    "array": (b"[1]", "wrong_type", "expected an object, got an array"),
    "string": (b'"x"', "wrong_type", "expected an object, got a string"),
    "number": (b" 1 ", "wrong_type", "expected an object, got a number"),
    "boolean": (b"true", "wrong_type", "expected an object, got a boolean"),
    "no fields": (b"{}", "missing_field", f"expected a string, got {NO_FIELD} - at $.id"),
    "no id": (event(id=None), "missing_field", f"expected a string, got {NO_FIELD} - at $.id"),
    "no user": (event(user=None), "missing_field", f"expected a string, got {NO_FIELD} - at $.user"),
    "no type": (event(type=None), "missing_field", f"expected a string, got {NO_FIELD} - at $.type"),
    "no timestamp": (event(timestamp=None), "missing_field", f"expected {TIME}, got {NO_FIELD} - at $.timestamp"),
    "empty id": (event(id='""'), "empty_field", f"{NO_TEXT}id"),
    "empty user": (event(user='""'), "empty_field", f"{NO_TEXT}user"),
    "empty type": (event(type='""'), "empty_field", f"{NO_TEXT}type"),
    "empty timestamp": (event(timestamp='""'), "empty_field", f"expected {TIME}, got an empty string - at $.timestamp"),
    "long id": (event(id=f'"{"x" * 257}"'), "out_of_range", "expected at most 256 characters, got more - at $.id"),
    "long user": (
        event(user=f'"{"x" * 1025}"'),
        "out_of_range",
        "expected at most 1024 characters, got more - at $.user",
    ),
    "number as id": (event(id="17"), "wrong_type", "expected a string, got a number - at $.id"),
    "null as user": (event(user="null"), "wrong_type", "expected a string, got null - at $.user"),
    "array as type": (event(type="[]"), "wrong_type", "expected a string, got an array - at $.type"),
    "number as ip": (event(ip="1"), "wrong_type", "expected a string, got a number - at $.ip"),
    "object as session": (event(session="{}"), "wrong_type", "expected a string, got an object - at $.session"),
    "boolean as country": (event(country="true"), "wrong_type", "expected a string, got a boolean - at $.country"),
    "array as fields": (event(fields="[]"), "wrong_type", "expected an object, got an array - at $.fields"),
    "text as amount": (event(amount='"12"'), "wrong_type", "expected a number, got a string - at $.amount"),
    "boolean as amount": (event(amount="true"), "wrong_type", "expected a number, got a boolean - at $.amount"),
    "negative amount": (event(amount="-0.01"), "out_of_range", NEGATIVE),
    "1e400": (event(amount="1e400"), "out_of_range", HUGE),
    "-1e400": (event(amount="-1e400"), "out_of_range", NEGATIVE),
    "10^400 as amount": (event(amount="1" + "0" * 400), "out_of_range", HUGE),
    "5,000 digits as amount": (event(amount="1" * 5000), "out_of_range", HUGE),
    "10^400 as timestamp": (event(timestamp="1" + "0" * 400), "out_of_range", LATER),
    "5,000 digits as timestamp": (event(timestamp="1" * 5000), "out_of_range", LATER),
    "2^63 as timestamp": (event(timestamp=str(2**63)), "out_of_range", LATER),
    "-2^63 as timestamp": (event(timestamp=str(-(2**63))), "out_of_range", EARLIER),
    "1e400 as timestamp": (event(timestamp="1e400"), "out_of_range", LATER),
    "microseconds": (event(timestamp=str(NOW * 1000)), "out_of_range", LATER),
    "negative timestamp": (event(timestamp="-1"), "out_of_range", EARLIER),
    "a millisecond past 9999": (event(timestamp="253402300800000"), "out_of_range", LATER),
    "two milliseconds past 9999": (event(timestamp="253402300800001"), "out_of_range", LATER),
    "seconds with a fraction": (event(timestamp="1767225600.5"), "wrong_type", FRACTION),
    "boolean as timestamp": (event(timestamp="true"), "wrong_type", f"expected {TIME}, got a boolean - at $.timestamp"),
    "null as timestamp": (event(timestamp="null"), "wrong_type", f"expected {TIME}, got null - at $.timestamp"),
    "digits as text": (event(timestamp=f'"{NOW}"'), "wrong_type", NO_TIME),
    "a day without time": (event(timestamp='"2026-01-01"'), "wrong_type", NO_TIME),
    "30 February": (event(timestamp='"2026-02-30T00:00:00Z"'), "wrong_type", NO_TIME),
    "naive": (event(timestamp='"2026-01-01T00:00:00"'), "wrong_type", NAIVE),
    "1969": (event(timestamp='"1969-12-31T23:59:59.999Z"'), "out_of_range", EARLIER),
    "1970 there, 1969 in UTC": (event(timestamp='"1970-01-01T00:00:00+01:00"'), "out_of_range", EARLIER),
    "9999 there, 10000 in UTC": (event(timestamp='"9999-12-31T23:59:59-01:00"'), "out_of_range", LATER),
    "year 1": (event(timestamp='"0001-01-01T00:00:00+23:59"'), "out_of_range", EARLIER),
    "a millisecond too far ahead": (event(timestamp=str(NOW + 300_001)), "from_the_future", FUTURE),
    "tomorrow in words": (event(timestamp='"2026-01-02T00:00:00Z"'), "from_the_future", FUTURE),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_record_has_its_reason_and_its_sentence(case):
    value, reason, detail = CASES[case]

    (rejected,) = decode(value).rejected

    assert (rejected.reason, rejected.detail, rejected.offset, rejected.timestamp_ms) == (reason, detail, 10, NOW)


def test_bad_records_leave_the_good_ones_between_them_untouched():
    bad = [value for value, _, _ in CASES.values()]
    values = [each for i, value in enumerate(bad) for each in (value, event(id=f'"good{i}"'))]

    decoded = decode(*values)

    assert [(one.offset, one.reason) for one in decoded.rejected] == [
        (10 + 2 * i, reason) for i, (_, reason, _) in enumerate(CASES.values())
    ]
    assert decoded.ids == [f"good{i}" for i in range(len(bad))]
    assert decoded.offsets.tolist() == [11 + 2 * i for i in range(len(bad))]


def test_every_reason_is_met_by_a_case_or_a_test_here():
    elsewhere = {"missing_key", "too_large"}

    assert {reason for _, reason, _ in CASES.values()} | elsewhere == {reason.value for reason in Reason}


@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_is_rejected(key):
    decoded = decode(GOOD, GOOD, keys=[b"k", key])

    assert [(one.offset, one.reason, one.detail) for one in decoded.rejected] == [
        (11, "missing_key", "expected the user as key, got no key")
    ]
    assert decoded.offsets.tolist() == [10]


def test_a_tombstone_without_a_key_is_an_empty_value():
    assert decode(None, keys=[None]).rejected[0].reason == "empty_value"


def test_a_record_over_the_limit_is_too_large_and_is_not_parsed():
    five_megabytes = b"\xff" * 5_000_000

    (rejected,) = decode(five_megabytes).rejected

    assert (rejected.reason, rejected.detail) == ("too_large", "expected at most max_message_bytes, got more")


def test_a_record_at_the_limit_is_read():
    config = DecodeConfig(max_message_bytes=len(GOOD))

    assert decode(GOOD, GOOD + b" ", config=config).offsets.tolist() == [10]


def test_256_levels_are_read():
    assert decode(nested(256), nested(256, "fields")).rejected == []


def test_a_record_that_the_stack_has_no_room_for_is_rejected_and_not_raised():
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 100)  # from Python 3.12 on the decoder's stack is another one
        decoded = decode(nested(256), GOOD)
    finally:
        sys.setrecursionlimit(limit)

    assert decoded.offsets.tolist()[-1] == 11
    assert [one.reason for one in decoded.rejected] == ["too_deep"] * (2 - len(decoded.ids))


def test_brackets_within_strings_are_not_levels():
    assert decode(event(extra=json.dumps('\\"[{' * 1000))).rejected == []


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        (b"", 0),
        (b"[]{}", 1),
        (b'[{"a":[]}]', 3),
        (b'["[[[["]', 1),
        (rb'["\"[[[[", [[]]]', 3),  # an escaped quote does not end the string
        (rb'["\\", [[]]]', 3),  # an escaped backslash before the end does not escape the quote
        (b"]]]][", 0),
    ],
)
def test_depth_is_the_deepest_nesting(value, levels):
    assert depth(value) == levels


def test_the_clock_skew_is_a_setting():
    config = DecodeConfig(max_clock_skew_s=0.25)

    decoded = decode(event(timestamp=str(NOW + 250)), event(timestamp=str(NOW + 251)), config=config)

    assert [one.reason for one in decoded.rejected] == ["from_the_future"]
    assert decoded.time_ms.tolist() == [NOW + 250]


def test_a_record_without_a_kafka_timestamp_cannot_be_from_the_future():
    assert decode(event(timestamp="253402300799999"), kafka_ms=-1).rejected == []


def test_a_kafka_timestamp_at_the_end_of_64_bits_holds_nothing_back():
    assert decode(event(timestamp="253402300799999"), kafka_ms=2**63 - 1).rejected == []


@pytest.mark.parametrize(
    "value",
    [event(extra='"é"').replace("é".encode(), b"\xff"), event(fields='{"é":1}').replace("é".encode(), b"\xc3\x28")],
)
def test_a_record_that_is_not_utf_8_is_refused_even_where_nobody_reads_it(value):
    assert [one.reason for one in decode(value).rejected] == ["invalid_utf8"]
    assert [one.reason for one in decode(value[:-1] + b" " * 600 + b"}").rejected] == ["invalid_utf8"]


def test_a_wrong_field_that_a_later_one_of_its_name_replaces_does_not_count():
    assert decode(GOOD.replace(b'{"id":"a"', b'{"id":1,"id":"b","user":[],"id":"a"')).ids == ["a"]


def test_a_right_field_that_a_wrong_one_of_its_name_replaces_does_not_count():
    assert [one.detail for one in decode(GOOD.replace(b'"user":"u"', b'"user":"u","user":7')).rejected] == [
        "expected a string, got a number - at $.user"
    ]
