"""Records of `labels`: every one leaves by exactly one door, under the pseudonym of the event's own user."""

import json

import fuzzing
import numpy as np
import pytest
from strict_json import LAST_MS, MOST, NOW, SKEW_MS, TOKENS, members, text, time_ms

from operators.batches import Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer, explain, labels
from operators.side import Side, TakesSides

PSEUDONYMS = Pseudonymizer(b"k" * 32)
DECODE = Decode(DecodeConfig(max_message_bytes=MOST, cache_entries=8), PSEUDONYMS)


def side(*values, keys=None, topic="labels", kafka_ms=NOW):
    n = len(values)
    return Side(0, topic, 100, 7, 7 + n, list(values), keys or [b"k"] * n, list(range(7, 7 + n)), [kafka_ms] * n)


def label(**changes):
    """A good label with raw JSON put in place of some fields; None takes the field away."""
    fields = {"id": '"a"', "user": '"u"', "label": '"fraud"', "timestamp": str(NOW)} | changes
    return ("{" + ",".join(f'"{name}":{raw}' for name, raw in fields.items() if raw is not None) + "}").encode()


def read(*values, decode=DECODE, **given):
    records = side(*values, **given)
    decode.take_side(records)
    return records


def test_decode_takes_sides():
    assert isinstance(DECODE, TakesSides)


def test_labels_become_columns_in_the_order_of_the_topic():
    found = read(label(), label(id='"b"', label='"legit"', timestamp='"2025-12-31T23:59:59Z"'))

    assert found.labels.fraud.tolist() == [True, False]
    assert found.labels.time_ms.tolist() == [NOW, NOW - 1000]
    assert found.rejected == []


@pytest.mark.parametrize("given", [(), ("labels", "events")], ids=["raw", "pseudonymised"])
def test_a_label_has_the_hash_of_its_event(given):
    decode = Decode(DecodeConfig(), Pseudonymizer(b"k" * 32, pseudonymised_topics=given))
    event = b'{"id":"a","timestamp":1767225600000,"user":"u","type":"t"}'
    events = decode.process(Messages(Span(0, 0, 1), "events", [event], [b"k"], [0], [NOW]))

    found = read(label(), label(user='"other"'), decode=decode)

    assert (found.labels.id_hash == events.id_hash).tolist() == [True, False]


def test_a_pseudonymised_user_of_labels_meets_the_raw_one_of_events():
    decode = Decode(DecodeConfig(), Pseudonymizer(b"k" * 32, pseudonymised_topics=["labels"]))
    event = b'{"id":"a","timestamp":1767225600000,"user":"u","type":"t"}'
    events = decode.process(Messages(Span(0, 0, 1), "events", [event], [b"k"], [0], [NOW]))

    found = read(label(user=json.dumps(events.users[0])), decode=decode)

    assert found.labels.id_hash.tolist() == events.id_hash.tolist()


def test_another_topic_says_nothing():
    found = read(label(), topic="lists")

    assert found.labels is None
    assert found.rejected == []


NO_FIELD = "no such field"
TIME = "milliseconds since 1970 or RFC 3339"
CASES = {
    "tombstone": (None, "empty_value", "expected a JSON object, got an empty value"),
    "empty bytes": (b"", "empty_value", "expected a JSON object, got an empty value"),
    "text": (b"SECRET", "not_json", "expected JSON, got something else"),
    "invalid UTF-8": (
        label(kind='"\xff"').decode().encode("latin-1"),
        "invalid_utf8",
        "expected UTF-8, got other bytes",
    ),
    "an array": (b"[]", "wrong_type", "expected an object, got an array"),
    "too large": (label(kind='"' + "x" * MOST + '"'), "too_large", "expected at most max_message_bytes, got more"),
    "too deep": (label(more="[" * 256 + "]" * 256), "too_deep", "expected at most 256 levels of nesting, got more"),
    "no id": (label(id=None), "missing_field", f"expected a string, got {NO_FIELD} - at $.id"),
    "long id": (label(id='"' + "x" * 257 + '"'), "out_of_range", "expected at most 256 characters, got more - at $.id"),
    "no user": (label(user=None), "missing_field", f"expected a string, got {NO_FIELD} - at $.user"),
    "no label": (label(label=None), "missing_field", f"expected a string, got {NO_FIELD} - at $.label"),
    "null label": (label(label="null"), "wrong_type", "expected a string, got null - at $.label"),
    "other label": (
        label(label='"SECRET"'),
        "out_of_range",
        "expected fraud or legit, got another string - at $.label",
    ),
    "no time": (label(timestamp=None), "missing_field", f"expected {TIME}, got {NO_FIELD} - at $.timestamp"),
    "half a millisecond": (
        label(timestamp="0.5"),
        "wrong_type",
        "expected whole milliseconds, got a fraction - at $.timestamp",
    ),
    "no real kind": (label(kind="1"), "wrong_type", "expected a string, got a number - at $.kind"),
    "from the future": (label(timestamp=str(NOW + SKEW_MS + 1)), "from_the_future", labels.FROM_THE_FUTURE.detail),
    "before 1970": (
        label(timestamp="-1"),
        "out_of_range",
        "expected a time from 1970 to 9999, got an earlier one - at $.timestamp",
    ),
    "after 9999": (
        label(timestamp=str(LAST_MS + 1)),
        "out_of_range",
        "expected a time from 1970 to 9999, got a later one - at $.timestamp",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_label_has_its_reason_and_a_sentence_without_its_values(name):
    value, reason, detail = CASES[name]

    found = read(label(), value, label(label='"legit"'))

    assert [(each.offset, each.timestamp_ms, each.reason, each.detail) for each in found.rejected] == [
        (8, NOW, reason, detail)
    ]
    assert found.labels.fraud.tolist() == [True, False]


def test_a_label_without_a_key_is_rejected():
    [rejected] = read(label(), keys=[None]).rejected

    assert rejected.reason == "missing_key"


def test_of_a_field_that_occurs_twice_the_last_counts():
    assert read(b'{"id":1,"label":"no",' + label()[1:]).labels.fraud.tolist() == [True]


def test_a_time_is_not_held_against_a_record_without_a_kafka_timestamp():
    assert len(read(label(timestamp=str(NOW + 10 * SKEW_MS)), kafka_ms=-1).labels.fraud) == 1


def oracle(value):
    """The label as the contract says, read by Python's json made strict; or None."""
    said = members(value)
    if said is None:
        return None
    when = time_ms(said.get("timestamp"))
    good = text(said.get("id"), 256) and text(said.get("user"), 1024) and when is not None
    if not good or said.get("label") not in ("fraud", "legit") or not isinstance(said.get("kind"), str | None):
        return None
    return said["id"], said["user"], said["label"] == "fraud", when


def check(value):
    wanted, found = oracle(value), read(value)
    if wanted is None:
        assert len(found.labels.fraud) == 0, "accepted, and should not be"
        return found.rejected[0].detail
    assert not found.rejected, f"refused, and should not be: {found.rejected}"
    assert (found.labels.fraud.tolist(), found.labels.time_ms.tolist()) == ([wanted[2]], [wanted[3]])
    user = np.array([PSEUDONYMS.user(wanted[1])[1]], np.uint64)
    assert found.labels.id_hash.tolist() == DECODE._raw.id_hash([wanted[0]], user).tolist()
    return wanted[2]


SEEDS = (
    label(),
    label(kind='"drip"', timestamp='"2025-12-31T23:59:59.5+01:00"', label='"legit"'),
    b'{"label":1,"id":"x","user":"\\u00e9","label":"fraud","timestamp":1.7672256e12,"kind":null,"more":[{}]}',
)


def test_decode_accepts_the_labels_that_a_strict_reader_accepts_and_nothing_else():
    words = [
        b'"id":',
        b'"user":',
        b'"timestamp":',
        b'"label":',
        b'"kind":',
        b'"fraud"',
        b'"legit"',
        b'"Fraud"',
        b'"fraud\\u0000"',
        b'["fraud"]',
    ]
    fuzzing.fuzz(check, SEEDS, (labels, explain), 0.05, TOKENS + words)
