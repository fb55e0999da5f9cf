"""A strict reader of JSON that shares nothing with ours, and the contract's rules for texts and times, word by word."""

import json
import re
from datetime import date

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SKEW_MS = 300_000
MOST = 20_000
LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

# RFC 3339, section 5.6; its T and Z may be lower case and T a space. Taken besides: ISO 8601's offset without a colon.
# Not taken: second 60, which no epoch count has.
TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))",
    re.ASCII,
)
SURROGATE = re.compile(r"[\ud800-\udfff]")


TOKENS = [
    b"1767225600000", b"1767225600000.0", b"1767225600000.5", b"1767225900000", b"1767225900001", b"253402300800000",
    b'"2025-12-31T23:59:59Z"', b'"2025-12-31T23:59:60Z"', b'"2026-01-01T00:05:00.0005-00:00"', b"24:00:00", b"+00:60",
    b'"0000-01-01T00:00:00Z"', b'"9999-12-31T23:59:59.9999999Z"', b'"1970-01-01T00:00:00+00:01"', b"+2359",
    b".9999995", b"-02-29", b'"' + b"x" * 257 + b'"', b'"' + b"u" * 1025 + b'"', b"\\ud83d\\ude00", b"\\ud83d",
    b"\xed\xa0\xbd", b"\xf0\x9f", b'"fields":{', b'"fields":[]', b'{"a":' * 255, b"[" * 254 + b"]" * 254,
    b"[" * 256 + b"]" * 256, b" ", b"\x0b", b"/*", b"'",
]  # fmt: skip
"""Times, texts and nestings at the edges of what is read, for the fuzzer."""


class NotJson(Exception):
    pass


def number(text):
    return float(text) if len(text) > 300 else int(text)


def refuse(_word):
    raise NotJson


def levels(text):
    """Nesting as the brackets outside of strings say, closed or not."""
    level = deepest = 0
    for bracket in re.findall(r'[\[\]{}]|"(?:[^"\\]|\\.)*(?:"|\Z)', text, re.DOTALL):
        level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket, 0)
        deepest = max(deepest, level)
    return deepest


def milliseconds(text):
    """Exact, in integers: rounded to the microsecond, half up, then cut to the millisecond."""
    match = TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, digits, sign, off_hours, off_minutes = match.groups()
    try:
        days = (date(int(year), int(month), int(day)) - date(1970, 1, 1)).days
    except ValueError:
        return None
    digits = digits or "0"
    micros = (int(digits[:7].ljust(7, "0")) + 5) // 10
    seconds = days * 86_400 + int(hour) * 3_600 + int(minute) * 60 + int(second)
    if text.startswith("9999-12-31") and seconds % 86_400 == 86_399 and micros == 1_000_000:
        return None  # the year 10000
    if sign:
        seconds -= (1 if sign == "+" else -1) * (int(off_hours) * 3_600 + int(off_minutes) * 60)
    return (seconds * 1_000_000 + micros) // 1_000


def time_ms(value):
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        value = milliseconds(value)
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if value is not None and 0 <= value <= min(LAST_MS, NOW + SKEW_MS) else None


def text(value, most):
    return isinstance(value, str) and 1 <= len(value) <= most


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, tuple):
        for name, each in value:
            yield name
            yield from strings(each)


def members(value, integer=number):
    """Return the members of an object, what a later one of the same name hides left out; None if it is none."""
    try:
        whole = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not value or len(value) > MOST or levels(whole) > 256:
        return None
    try:  # pairs, so that what a later field of the same name hides is seen too
        pairs = json.loads(whole, parse_constant=refuse, parse_int=integer, object_pairs_hook=tuple)
    except (NotJson, json.JSONDecodeError):
        return None
    # An empty object and an empty array are told apart by their first letter: pairs of nothing are ().
    if not isinstance(pairs, tuple) or any(SURROGATE.search(each) for each in strings(pairs)):
        return None
    return dict(pairs)
