"""Bad records that every reader of JSON refuses in the same words, and what most refusals are made of."""

import json

NO_FIELD = "no such field"
NOT_JSON = ("not_json", "expected JSON, got something else")
TIME = "milliseconds since 1970 or RFC 3339"
TEXT = "expected a string, got"
HUGE = "expected a number a double can hold, got a larger one - at $."
FUTURE = "expected a time at most max_clock_skew_s after the record's Kafka timestamp, got a later one - at $.timestamp"
MOST = 20_000
"""Bytes of the largest record that is parsed in these tests."""


def written(make, **changes):
    """Return a good record with raw JSON put in place of some fields; None takes the field away."""
    fields = {name: json.dumps(value) for name, value in make().items()} | changes
    return ("{" + ",".join(f'"{name}":{raw}' for name, raw in fields.items() if raw is not None) + "}").encode()


COMMON = {
    "tombstone": (None, "empty_value", "expected a JSON object, got an empty value"),
    "empty bytes": (b"", "empty_value", "expected a JSON object, got an empty value"),
    "text": (b"SECRET", *NOT_JSON),
    "an array": (b'["SECRET"]', "wrong_type", "expected an object, got an array"),
    "invalid UTF-8": (b'{"SECRET":"\xff"}', "invalid_utf8", "expected UTF-8, got other bytes"),
    "too deep": (b'{"a":' * 300, "too_deep", "expected at most 256 levels of nesting, got more"),
    "too large": (b'"' + b"x" * MOST + b'"', "too_large", "expected at most max_message_bytes, got more"),
}
"""Of every topic: the value, its reason, and the sentence."""
