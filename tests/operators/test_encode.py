"""Decisions and rejections become records: the right topics, keys, times and order, and numbers that come back."""

import dataclasses
import json
from decimal import ROUND_HALF_EVEN, Context, Decimal

import jsonschema
import msgspec
import numpy as np
import pytest
from decisions import NOW, PSEUDONYM, tiered
from hypothesis import given
from hypothesis import strategies as st

from operators.batches import (
    AHEAD,
    DUPLICATE,
    LATE,
    Reason,
    Rejected,
)
from operators.encode import Encode, significant
from operators.side import Side
from operators.state import Stage
from schemas.dead_letter import DeadLetter
from schemas.decision import Decision
from schemas.generate import schema
from schemas.registry import TOPICS


def records(batch):
    return Encode().process(batch).records


def test_a_low_event_is_one_record_of_this_very_form():
    (record,) = records(tiered(["low"], offsets=[41], numbers=(0.168373, 0.824009, 0.246767, 0.152102)))

    assert record.topic == "risk.tiers"
    assert record.key == PSEUDONYM.encode()
    assert record.timestamp_ms == NOW
    assert record.value == (
        b'{"schema":1,"id":"e-0","timestamp":1767225600000,"user":"h1:594afa3ae9a33aee4a6d4bfd63c5b89c","tier":"low",'
        b'"standing":"low","partition":3,"offset":41,"tail_probability":0.168373,"score":0.824009}'
    )


def test_forest_and_evidence_are_told_from_medium_up():
    found = records(tiered(["low", "medium", "critical"], numbers=(0.5, 1.5, 2.5, 3.5)))
    told = [(each.get("forest"), each.get("evidence")) for each in (json.loads(record.value) for record in found)]

    assert told == [(None, None), (2.5, 3.5), (2.5, 3.5), (2.5, 3.5)]  # critical is on risk.alerts, too


def test_while_warming_the_numbers_are_absent():
    (record,) = records(tiered(["unknown"], numbers=[np.nan] * 4))

    assert json.loads(record.value) == {
        "schema": 1,
        "id": "e-0",
        "timestamp": NOW,
        "user": PSEUDONYM,
        "tier": "unknown",
        "standing": "low",
        "partition": 3,
        "offset": 0,
    }


def test_an_infinite_number_is_absent_and_its_neighbours_stay():
    (record,) = records(tiered(["medium"], numbers=(0.5, np.inf, -np.inf, 3.5)))
    decision = msgspec.json.decode(record.value, type=Decision)

    assert (decision.tail_probability, decision.score, decision.forest, decision.evidence) == (0.5, None, None, 3.5)


def test_a_probability_is_last_and_rounded_and_absent_where_there_is_none():
    batch = tiered(["low", "low"])
    without = [record.value for record in records(batch)]
    given = dataclasses.replace(batch.calibrated, probability=np.array([np.nan, 0.12345678]))

    assert [record.value for record in records(dataclasses.replace(batch, calibrated=given))] == [
        without[0],
        without[1][:-1] + b',"probability":0.123457}',
    ]


def test_high_and_critical_are_on_alerts_once_more():
    found = records(tiered(["unknown", "low", "medium", "high", "critical"]))

    assert [(record.topic, json.loads(record.value)["offset"]) for record in found] == [
        ("risk.tiers", 0),
        ("risk.tiers", 1),
        ("risk.tiers", 2),
        ("risk.tiers", 3),
        ("risk.alerts", 3),
        ("risk.tiers", 4),
        ("risk.alerts", 4),
    ]
    assert found[3].value == found[4].value
    assert found[3].key == found[4].key
    assert found[3].timestamp_ms == found[4].timestamp_ms


def test_records_are_in_the_order_of_the_input_offsets():
    rejected = [Rejected(offset, NOW, "not_json", "detail") for offset in (10, 12, 13, 17)]
    found = records(tiered(["high", "low", "critical"], offsets=[11, 14, 16], rejected=rejected))

    assert [(record.topic, json.loads(record.value)["offset"]) for record in found] == [
        ("dead-letters", 10),
        ("risk.tiers", 11),
        ("risk.alerts", 11),
        ("dead-letters", 12),
        ("dead-letters", 13),
        ("risk.tiers", 14),
        ("risk.tiers", 16),
        ("risk.alerts", 16),
        ("dead-letters", 17),
    ]


def test_a_rejection_is_a_dead_letter_of_this_very_form():
    (record,) = records(tiered([], rejected=[Rejected(7, NOW, "wrong_type", "expected an object, got null")]))

    assert record.topic == "dead-letters"
    assert record.key == b"events-3"
    assert record.timestamp_ms == NOW
    assert record.value == (
        b'{"schema":1,"reason":"wrong_type","detail":"expected an object, got null","topic":"events","partition":3,'
        b'"offset":7,"timestamp":1767225600000,"flow":"risk"}'
    )


def test_the_flow_is_named_in_its_dead_letters():
    (record,) = Encode("experiment").process(tiered([], rejected=[Rejected(7, NOW, "not_json", "")])).records

    assert msgspec.json.decode(record.value, type=DeadLetter).flow == "experiment"


def test_reasons_are_written_strongest_first_as_given_and_what_is_not_finite_is_absent():
    reasons = {1: (Reason("count_60s", 31.0, 1.5, 7.1), Reason("novelty_ip", 1.0, np.nan, np.inf))}
    low, medium = records(tiered(["low", "medium"], reasons=reasons))

    assert "reasons" not in json.loads(low.value)
    assert json.loads(medium.value)["reasons"] == [
        {"feature": "count_60s", "value": 31.0, "baseline": 1.5, "contribution": 7.1},
        {"feature": "novelty_ip", "value": 1.0},
    ]


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (LATE, ["late"]),
        (DUPLICATE, ["duplicate"]),
        (AHEAD, ["ahead"]),
        (LATE | DUPLICATE | AHEAD, ["late", "duplicate", "ahead"]),
    ],
)
def test_flags_are_written_by_name(bits, names):
    assert json.loads(records(tiered(["low"], flags=bits))[0].value)["flags"] == names


def test_an_event_at_1970_is_not_stamped_with_the_present():
    # librdkafka takes a timestamp of 0 for "now"; the record itself says 0.
    (record,) = records(tiered(["low"], times=[0]))

    assert record.timestamp_ms == 1
    assert json.loads(record.value)["timestamp"] == 0


def test_a_dead_letter_without_a_kafka_timestamp_is_not_stamped_with_the_present():
    (record,) = records(tiered([], rejected=[Rejected(7, -1, "not_json", "")]))

    assert record.timestamp_ms == 1
    assert json.loads(record.value)["timestamp"] == -1


def test_a_muted_batch_gives_no_records_and_keeps_its_span():
    batch = tiered(["high"], rejected=[Rejected(7, NOW, "not_json", "")], muted=True)

    assert Encode().process(batch).records == []
    assert Encode().process(batch).span is batch.span


def test_an_empty_batch_gives_no_records():
    assert records(tiered([])) == []


def test_it_is_a_stage_without_state():
    assert isinstance(Encode(), Stage)
    assert Encode().dump() == {}
    assert list(Encode().measurements()) == []


NASTY = ["\n", 'a"b', "\\", "\0", "\u2028\u2029", "😀", '","', '"\n"', "}\n{", "\x7f", "</script>"]


@given(
    st.lists(st.one_of(st.sampled_from(NASTY), st.text(min_size=1, max_size=20)).filter(str.isprintable), max_size=8)
)
def test_any_id_and_user_come_back_each_in_its_own_record(texts):
    texts = texts + NASTY
    found = records(tiered(["low"] * len(texts), ids=texts, users=texts))
    decisions = [msgspec.json.decode(record.value, type=Decision) for record in found]

    assert [decision.id for decision in decisions] == texts
    assert [decision.user for decision in decisions] == texts
    assert [record.key for record in found] == [text.encode() for text in texts]


def test_every_record_fits_its_json_schema():
    reasons = {2: (Reason("count_60s", 31.0, np.nan, 7.1),), 3: (), 4: ()}
    rejected = [Rejected(99, -1, "too_deep", "expected at most 256 levels of nesting, got more")]
    batch = tiered(["unknown", "low", "medium", "high", "critical"], reasons=reasons, rejected=rejected, flags=7)
    found = records(batch)

    assert {record.topic for record in found} == {"risk.tiers", "risk.alerts", "dead-letters"}
    for record in found:
        jsonschema.Draft202012Validator(json.loads(json.dumps(schema(TOPICS[record.topic])))).validate(
            json.loads(record.value)
        )


def test_cutting_a_batch_changes_no_byte():
    tiers = ["low", "high", "medium", "unknown", "critical", "low"]
    whole = records(tiered(tiers))
    # The same events one by one: offsets, ids and times as in the whole.
    parts = [
        record
        for at, tier in enumerate(tiers)
        for record in records(tiered([tier], offsets=[at], ids=[f"e-{at}"], times=[NOW + at]))
    ]

    assert parts == whole


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_written_number_comes_back_to_the_last_bit(numbers):
    rounded = significant(np.array(numbers))
    batch = tiered(["low"], numbers=(0.5, rounded[0], 0.5, 0.5))

    assert msgspec.json.decode(records(batch)[0].value, type=Decision).score == rounded[0]


@given(st.lists(st.floats(min_value=1e-17, max_value=999_999.0), min_size=1, max_size=20))
def test_a_number_is_rounded_to_6_significant_digits(numbers):
    for number, rounded in zip(numbers, significant(np.array(numbers)).tolist(), strict=True):
        # Decimal rounds the exact value; scaling by a power of ten first can differ from it only at a tie.
        exact = Decimal(number)
        unit = Decimal(1).scaleb(exact.adjusted() - 5)

        assert abs(Decimal(repr(rounded)) - exact) <= unit / 2 * Decimal("1.000000001")
        assert len(Decimal(repr(rounded)).normalize().as_tuple().digits) <= 6


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.1234565, "0.123456"),  # the double lies below the tie
        (0.12345675, "0.123457"),
        (2 / 3, "0.666667"),
        (-2 / 3, "-0.666667"),
        (99999.95, "100000.0"),
        (999999.4, "999999.0"),
        (1e6, "1000000.0"),
        (1234567.8, "1234567.8"),  # from a million up as it is
        (1e-6, "1e-06"),
        (1.23456789e-12, "1.23457e-12"),
        (1.23456789e-17, "1.23457e-17"),
        (1.23456789e-18, "1.23456789e-18"),  # below 1e-17 as it is
        (0.0, "0.0"),
        (1e308, "1e+308"),
        (5e-324, "5e-324"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
    ],
)
def test_rounding_by_hand(number, expected):
    assert repr(significant(np.array([number])).tolist()[0]) == expected


def test_rounding_twice_changes_nothing():
    numbers = 10.0 ** np.random.default_rng(4).uniform(-17, 6, 5000)
    once = significant(numbers)

    assert np.array_equal(significant(once), once)
    # And against decimal arithmetic: no tie is met by chance.
    context = Context(prec=6, rounding=ROUND_HALF_EVEN)
    assert once.tolist() == [float(context.create_decimal(Decimal(number))) for number in numbers.tolist()]


def test_an_unreadable_side_record_is_a_dead_letter_that_names_its_own_topic():
    refused = [Rejected(7, 5, "not_json", "expected JSON"), Rejected(9, -1, "empty_value", "expected a value")]
    side = Side(3, "labels", 40, 6, 10, [], [], [], [], rejected=refused, source="acme.labels")
    found = Encode().end_side(side)
    letters = [msgspec.json.decode(record.value, type=DeadLetter) for record in found.records]

    assert [(each.topic, each.partition, each.offset, each.reason) for each in letters] == [
        ("acme.labels", 3, 7, "not_json"),
        ("acme.labels", 3, 9, "empty_value"),
    ]
    assert {(each.topic, each.key, each.partition) for each in found.records} == {
        ("dead-letters", b"acme.labels-3", -1)
    }
    assert (found.span.first, found.span.next, found.side) == (40, 40, side)


def test_a_side_record_that_is_only_rolled_forward_over_leads_to_nothing():
    refused = [Rejected(7, 5, "not_json", "expected JSON")]
    assert Encode().end_side(Side(3, "labels", 40, 6, 10, [], [], [], [], muted=True, rejected=refused)).records == []
