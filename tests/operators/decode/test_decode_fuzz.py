"""Decode against an oracle that shares nothing with it: Python's json, made strict, and the contract read word by word.

A record is accepted if and only if the oracle accepts it, with equal values. See `fuzzing` for the budget and the seed.
"""

import json
import math
from datetime import UTC, datetime, timedelta

import fuzzing
import pytest
from strict_json import MOST, NOW, TOKENS, members, milliseconds, text, time_ms

from operators.batches import ATTRIBUTES, Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer, explain, reading, stage

PSEUDONYMS = Pseudonymizer(b"k" * 32)
DECODE = Decode(DecodeConfig(max_message_bytes=MOST, cache_entries=8), PSEUDONYMS)


def oracle(value):
    """The event as a table of what the contract says counts, or None."""
    event = members(value)
    if event is None:
        return None
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
WORDS_OF_EVENTS = [b'"%s":' % name.encode() for name in sorted(WORDS)]


def test_decode_accepts_what_a_strict_reader_accepts_with_the_same_values_and_nothing_else():
    cases = fuzzing.fuzz(check, SEEDS, (stage, reading, explain), 0.30, TOKENS + WORDS_OF_EVENTS)
    print(f"decode: {cases:,} cases")


@pytest.mark.parametrize("micros", [0, 1, 999_999])
def test_the_oracle_tells_the_time_as_datetime_does(micros):
    moment = datetime(2000, 2, 29, 23, 59, 59, micros, tzinfo=UTC)
    assert milliseconds(moment.isoformat()) == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def test_the_oracle_accepts_and_refuses():
    assert [oracle(seed) is not None for seed in SEEDS] == [True, True, True, True, True, True, True, False]
    assert oracle(b"[]") is None
    assert oracle(b"{}") is None
