"""Decode against an oracle that shares nothing with it: Python's json, made strict, and the contract read word by word.

A record is accepted if and only if the oracle accepts it, with equal values. See `fuzzing` for the budget and the seed.
"""

import json
import math
import re
from datetime import UTC, date, datetime, timedelta

import fuzzing
import pytest

from operators.batches import ATTRIBUTES, Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer, explain, stage

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SKEW_MS = 300_000
MOST = 20_000
LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
PSEUDONYMS = Pseudonymizer(b"k" * 32)
DECODE = Decode(DecodeConfig(max_message_bytes=MOST, cache_entries=8), PSEUDONYMS)

# RFC 3339, section 5.6; its T and Z may be lower case and T a space. Taken besides: ISO 8601's offset without a colon.
# Not taken: second 60, which no epoch count has.
TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))",
    re.ASCII,
)
SURROGATE = re.compile(r"[\ud800-\udfff]")


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


def oracle(value):
    """The event as a table of what the contract says counts, or None."""
    try:
        whole = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not value or len(value) > MOST or levels(whole) > 256:
        return None
    try:  # pairs, so that what a later field of the same name hides is seen too
        pairs = json.loads(whole, parse_constant=refuse, parse_int=number, object_pairs_hook=tuple)
    except (NotJson, json.JSONDecodeError):
        return None
    # An empty object and an empty array are told apart by their first letter: pairs of nothing are ().
    if not isinstance(pairs, tuple) or any(SURROGATE.search(each) for each in strings(pairs)):
        return None
    event = dict(pairs)
    when, amount = time_ms(event.get("timestamp")), event.get("amount")
    if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int | float)):
        return None
    good = (
        text(event.get("id"), 256)
        and when is not None
        and text(event.get("user"), 1024)
        and text(event.get("type"), math.inf)
        and (amount is None or 0 <= float(amount) < math.inf)
        and all(
            isinstance(event.get(name), str | None)
            for name in ("currency", "ip", "device", "counterparty", "country", "session")
        )
        and isinstance(event.get("fields"), tuple | None)
    )
    return {**event, "timestamp": when} if good else None


def check(value):
    wanted = oracle(value)
    found = DECODE.process(Messages(Span(0, 0, 1), "events", [value], [b"k"], [0], [NOW]))
    if wanted is None:
        assert found.ids == [], "accepted, and should not be"
        return found.rejected[0].detail
    assert found.ids == [wanted["id"]], f"refused, and should not be: {found.rejected}"
    assert found.time_ms.tolist() == [wanted["timestamp"]]
    assert found.users == [PSEUDONYMS.pseudonym("user", wanted["user"])]
    amount = wanted.get("amount")
    assert math.isnan(found.amount[0]) if amount is None else found.amount[0] == float(amount)
    bits = [
        0 if not wanted.get(name)
        else PSEUDONYMS.attribute_as_given(wanted[name]) if name == "type"
        else PSEUDONYMS.attribute(name)(wanted[name])
        for name in ATTRIBUTES
    ]  # fmt: skip
    assert found.attributes[0].tolist() == bits
    return frozenset(name for name in wanted if name in WORDS and wanted[name] is not None), type(amount)


FULL = (
    b'{"id":"e1","timestamp":1767225600000,"user":"ada","type":"pay","amount":12.5,"currency":"EUR","ip":"10.0.0.1",'
    b'"device":"d","counterparty":"c","country":"DE","session":"s","fields":{"a":[1,{"b":null}]},"more":[true,false]}'
)
SEEDS = (
    FULL,
    b'{"id":"x","timestamp":1767225600000,"user":"u","type":"t"}',
    b' {"id" : "x" ,\n"timestamp":1.7672256e12,"user":"\\u00e9\\ud83d\\ude00","type":"\\t\\"\\\\\\/", "ip":null}\t',
    '{"id":"é😀","timestamp":"2025-12-31T23:59:59.123456Z","user":"ü","type":"t","fields":null}'.encode(),
    b'{"id":"x","timestamp":"2024-02-29T12:00:00.9999996+05:30","user":"u","type":"t","amount":1e-7}',
    b'{"id":"x","timestamp":"1970-01-01t00:00:00z","user":"u","type":"t","amount":-0.0,"device":""}',
    b'{"id":1,"id":"x","timestamp":1767225600000,"user":"u","type":"t","amount":"1","amount":2}',
    b'{"id":"x","timestamp":1767225600000,"user":"u","type":"t","z":"\xff"}',
)
WORDS = frozenset(json.loads(FULL))
TOKENS = [b'"%s":' % name.encode() for name in sorted(WORDS)] + [
    b"1767225600000", b"1767225600000.0", b"1767225600000.5", b"1767225900000", b"1767225900001", b"253402300800000",
    b'"2025-12-31T23:59:59Z"', b'"2025-12-31T23:59:60Z"', b'"2026-01-01T00:05:00.0005-00:00"', b"24:00:00", b"+00:60",
    b'"0000-01-01T00:00:00Z"', b'"9999-12-31T23:59:59.9999999Z"', b'"1970-01-01T00:00:00+00:01"', b"+2359",
    b".9999995", b"-02-29", b'"' + b"x" * 257 + b'"', b'"' + b"u" * 1025 + b'"', b"\\ud83d\\ude00", b"\\ud83d",
    b"\xed\xa0\xbd", b"\xf0\x9f", b'"fields":{', b'"fields":[]', b'{"a":' * 255, b"[" * 254 + b"]" * 254,
    b"[" * 256 + b"]" * 256, b" ", b"\x0b", b"/*", b"'",
]  # fmt: skip


def test_decode_accepts_what_a_strict_reader_accepts_with_the_same_values_and_nothing_else():
    cases = fuzzing.fuzz(check, SEEDS, (stage, explain), 0.30, TOKENS)
    print(f"decode: {cases:,} cases")


@pytest.mark.parametrize("micros", [0, 1, 999_999])
def test_the_oracle_tells_the_time_as_datetime_does(micros):
    moment = datetime(2000, 2, 29, 23, 59, 59, micros, tzinfo=UTC)
    assert milliseconds(moment.isoformat()) == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def test_the_oracle_accepts_and_refuses():
    assert [oracle(seed) is not None for seed in SEEDS] == [True, True, True, True, True, True, True, False]
    assert oracle(b"[]") is None
    assert oracle(b"{}") is None
