"""Every kind of bad record of the observe stage has its one reason and its sentence, and none stops the others."""

import pytest
from bad_records import COMMON, FUTURE, HUGE, NO_FIELD, NOT_JSON, TEXT, TIME, written
from observe_streams import (
    BUYERS,
    NOW,
    decision,
    definition,
    event,
    exposed,
    exposures,
    number,
    observe,
    taken,
)

STAGE = observe(definition(secondary=(BUYERS,)))
NAME = "expected 1 to 128 letters, digits, ., _ and -, got another string - at $."
BUCKET = "expected a whole number from 0 to 9999, got"
PHASE = "expected a whole number from 0 on, got"
DECISION = ("wrong_type", "expected a record of risk.tiers, version 1, got another")


OF_USERS = {
    "no user": ({"user": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.user"),
    "empty user": ({"user": '""'}, "empty_field", "expected at least 1 character, got an empty string - at $.user"),
    "long user": (
        {"user": f'"{"x" * 1025}"'},
        "out_of_range",
        "expected at most 1024 characters, got more - at $.user",
    ),
    "half a surrogate pair": ({"user": r'"\ud800"'}, *NOT_JSON),
    "no time": ({"timestamp": None}, "missing_field", f"expected {TIME}, got {NO_FIELD} - at $.timestamp"),
    "another time": ({"timestamp": '"SECRET"'}, "wrong_type", f"expected {TIME}, got another string - at $.timestamp"),
    "half a millisecond": (
        {"timestamp": "0.5"},
        "wrong_type",
        "expected whole milliseconds, got a fraction - at $.timestamp",
    ),
    "before 1970": (
        {"timestamp": "-1"},
        "out_of_range",
        "expected a time from 1970 to 9999, got an earlier one - at $.timestamp",
    ),
    "from the future": ({"timestamp": str(NOW + 300_001)}, "from_the_future", FUTURE),
}
EXPOSURES = {
    "no experiment": ({"experiment_id": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.experiment_id"),
    "empty experiment": (
        {"experiment_id": '""'},
        "empty_field",
        "expected at least 1 character, got an empty string - at $.experiment_id",
    ),
    "experiment of other letters": ({"experiment_id": '"SECRET!"'}, "out_of_range", f"{NAME}experiment_id"),
    "no variation": ({"variation_id": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.variation_id"),
    "number as variation": ({"variation_id": "1"}, "wrong_type", f"{TEXT} a number - at $.variation_id"),
    "variation of other letters": ({"variation_id": '"-"'}, "out_of_range", f"{NAME}variation_id"),
    "text as phase": ({"phase": '"SECRET"'}, "wrong_type", f"{PHASE} a string - at $.phase"),
    "half a phase": ({"phase": "0.5"}, "wrong_type", f"{PHASE} another number - at $.phase"),
    "negative phase": ({"phase": "-1"}, "out_of_range", f"{PHASE} another one - at $.phase"),
    "phase of 5,000 digits": ({"phase": "9" * 5_000}, "out_of_range", f"{PHASE} another one - at $.phase"),
    "bucket off the grid": ({"bucket": "10000"}, "out_of_range", f"{BUCKET} another one - at $.bucket"),
    "negative bucket": ({"bucket": "-1"}, "out_of_range", f"{BUCKET} another one - at $.bucket"),
    "bucket 1.0": ({"bucket": "1.0"}, "wrong_type", f"{BUCKET} another number - at $.bucket"),
    "array as attributes": (
        {"attributes": "[]"},
        "wrong_type",
        "expected an object, got an array - at $.attributes",
    ),
    "text as pre_value": ({"pre_value": '"1"'}, "wrong_type", "expected a number, got a string - at $.pre_value"),
    "huge pre_value": ({"pre_value": "1e400"}, "out_of_range", f"{HUGE}pre_value"),
}
METRICS = {
    "no metric": ({"metric": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.metric"),
    "empty metric": (
        {"metric": '""'},
        "empty_field",
        "expected at least 1 character, got an empty string - at $.metric",
    ),
    "long metric": (
        {"metric": f'"{"x" * 257}"'},
        "out_of_range",
        "expected at most 256 characters, got more - at $.metric",
    ),
    "text as value": ({"value": '"SECRET"'}, "wrong_type", "expected a number, got a string - at $.value"),
    "NaN": ({"value": "NaN"}, *NOT_JSON),
    "huge value": ({"value": "-1e400"}, "out_of_range", f"{HUGE}value"),
    "boolean as pre_value": ({"pre_value": "true"}, "wrong_type", "expected a number, got a boolean - at $.pre_value"),
    "empty id": ({"id": '""'}, "empty_field", "expected at least 1 character, got an empty string - at $.id"),
    "long id": ({"id": f'"{"x" * 257}"'}, "out_of_range", "expected at most 256 characters, got more - at $.id"),
    "number as id": ({"id": "1"}, "wrong_type", f"{TEXT} a number - at $.id"),
    "array as fields": ({"fields": "[]"}, "wrong_type", "expected an object, got an array - at $.fields"),
}
EVENTS = {
    "no type": ({"type": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.type"),
    "no id": ({"id": None}, "missing_field", f"{TEXT} {NO_FIELD} - at $.id"),
    "negative amount": (
        {"amount": "-1"},
        "out_of_range",
        "expected a number >= 0, got a negative number - at $.amount",
    ),
}
TIERS = {
    "no user": ({"user": None}, *DECISION),
    "another tier": ({"tier": '"SECRET"'}, *DECISION),
    "text as time": ({"timestamp": '"2026-01-01T00:00:00Z"'}, *DECISION),
}
MAKE = {"exposures": exposed, "metrics": number, "events": event, "risk.tiers": decision}
CASES = {
    "exposures": OF_USERS | EXPOSURES,
    "metrics": OF_USERS | METRICS,
    "events": OF_USERS | EVENTS,
    "risk.tiers": TIERS,
}


def answer(topic, *values, keys=None):
    """Return the rows and the rejections of some records between two good ones."""
    good = written(MAKE[topic])
    values, keys = [good, *values, good], keys or [b"k"] * (len(values) + 2)
    if topic == "exposures":
        found = STAGE.process(exposures(*values, keys=keys, first=7))
    else:
        found = taken(STAGE, topic, *values, keys=keys)
    return len(found.observed.kind), [
        (each.offset, each.timestamp_ms, each.reason, each.detail) for each in found.rejected
    ]


@pytest.mark.parametrize(("topic", "name"), [(topic, name) for topic in MAKE for name in COMMON])
def test_what_is_no_record_of_any_topic_has_its_reason(topic, name):
    value, reason, detail = COMMON[name]

    assert answer(topic, value) == (2, [(8, NOW, reason, detail)])


@pytest.mark.parametrize(("topic", "name"), [(topic, name) for topic, cases in CASES.items() for name in cases])
def test_what_is_no_record_of_a_topic_has_its_reason_and_a_sentence_without_its_values(topic, name):
    changes, reason, detail = CASES[topic][name]

    assert answer(topic, written(MAKE[topic], **changes)) == (2, [(8, NOW, reason, detail)])


@pytest.mark.parametrize("topic", MAKE)
@pytest.mark.parametrize("key", [None, b""])
def test_a_record_without_a_key_is_rejected(topic, key):
    good = written(MAKE[topic])

    assert answer(topic, good, keys=[b"k", key, b"k"]) == (
        2,
        [(8, NOW, "missing_key", "expected the user as key, got no key")],
    )


@pytest.mark.parametrize("topic", MAKE)
def test_of_a_field_that_occurs_twice_the_last_counts(topic):
    twice = b'{"user":1,' + written(MAKE[topic])[1:]

    assert answer(topic, twice) == ((3, []) if topic != "risk.tiers" else (2, [(8, NOW, *DECISION)]))


@pytest.mark.parametrize("topic", MAKE)
def test_a_time_is_not_held_against_a_record_without_a_kafka_timestamp(topic):
    value = written(MAKE[topic], timestamp=str(NOW + 10**9))
    if topic == "exposures":
        found = STAGE.process(exposures(value, kafka_ms=-1))
    else:
        found = taken(STAGE, topic, value, kafka_ms=-1)

    assert (len(found.observed.kind), found.rejected) == (1, [])
