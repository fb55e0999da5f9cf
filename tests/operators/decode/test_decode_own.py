"""What decode reads for declared features: numbers, values, and nothing where a path leads to neither."""

import json
import math

import numpy as np
import pytest

from operators.batches import Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer
from operators.own_feature import OwnFeature

NOW = 1_767_225_600_000
SECRET = Pseudonymizer(b"k" * 32, pseudonymised_topics=["edge"])


def read(declared, *events, topic="events"):
    """Return (decoded batch) of events given as dicts or bytes, one declared feature for all."""
    whole = {"id": "1", "timestamp": NOW, "user": "u", "type": "pay"}
    values = [event if isinstance(event, bytes) else json.dumps(whole | event).encode() for event in events]
    n = len(values)
    return Decode(DecodeConfig(cache_entries=4), SECRET, (declared,)).process(
        Messages(Span(0, 0, n), topic, values, [b"u"] * n, list(range(n)), [NOW] * n)
    )


def raw(fields):
    return b'{"id":"1","timestamp":%d,"user":"u","type":"pay","fields":%s}' % (NOW, fields)


def numbers(declared, *events):
    return read(declared, *events).own.numbers[:, 0].tolist()


def values(declared, *events, **more):
    return read(declared, *events, **more).own.values[:, 0].tolist()


SUM = OwnFeature("x", "sum", 60, (0, 1), of="fields.x")
DISTINCT = OwnFeature("x", "distinct", 60, (0, 9), of="fields.x")

NO_VALUES = [b"{}", b"null", b'{"x":null}', b'{"x":""}', b'{"x":[1]}', b'{"x":{"y":1}}', b'{"x":1e999}', b'{"y":1}']


def test_numbers_are_read_as_numbers():
    given = [b"1", b"-2.5", b"1e3", b"-0.0", b"9" * 40]
    found = numbers(SUM, *[raw(b'{"x":%s}' % number) for number in given])

    assert found == [1.0, -2.5, 1000.0, 0.0, 1e40]
    assert math.copysign(1, found[3]) == 1


@pytest.mark.parametrize("fields", [*NO_VALUES, b'{"x":"1"}', b'{"x":true}'])
def test_what_is_no_number_is_absent_and_no_dead_letter(fields):
    batch = read(SUM, raw(fields))

    assert math.isnan(batch.own.numbers[0, 0])
    assert batch.rejected == []


@pytest.mark.parametrize("fields", NO_VALUES)
def test_what_is_no_value_is_absent_and_no_dead_letter(fields):
    batch = read(DISTINCT, raw(fields))

    assert batch.own.values[0, 0] == 0
    assert batch.rejected == []


def test_values_are_equal_if_they_mean_the_same_and_differ_by_kind():
    same = values(DISTINCT, *map(raw, [b'{"x":1}', b'{"x":1.0}', b'{"x":10e-1}']))
    texts = values(DISTINCT, *map(raw, [b'{"x":"a"}', b'{"x":"\\u0061"}']))
    kinds = values(DISTINCT, *map(raw, [b'{"x":1}', b'{"x":"1"}', b'{"x":true}', b'{"x":"true"}', b'{"x":false}']))

    assert len(set(same)) == len(set(texts)) == 1
    assert len(set(kinds)) == 5
    assert 0 not in kinds


def test_of_a_field_that_occurs_twice_the_last_counts():
    assert numbers(SUM, raw(b'{"x":1,"x":2}')) == [2.0]


def test_a_path_goes_down_through_objects():
    deep = OwnFeature("x", "sum", 60, (0, 1), of="fields.a.b.c")
    given = [b'{"a":{"b":{"c":7}}}', b'{"a":{"b":7}}', b'{"a":[{"b":{"c":7}}]}', b'{"a.b.c":7}']

    np.testing.assert_array_equal(numbers(deep, *map(raw, given)), [7, math.nan, math.nan, math.nan])


def test_only_events_of_the_types_named_are_followed():
    events = [{"type": kind, "fields": {"x": 2}} for kind in ("pay", "refund", "chargeback", "paying")]
    where = ("refund", "chargeback")

    def followed(operation, of="fields.x"):
        declared = OwnFeature("x", operation, 60, (0, 9), of=of, where=where)
        own = read(declared, *events).own
        return (~np.isnan(own.numbers[:, 0]) | (own.values[:, 0] != 0)).tolist()

    assert followed("sum") == followed("distinct") == followed("count") == [False, True, True, False]
    assert followed("count", None) == followed("gap", None) == [False, True, True, False]


def test_a_count_with_a_path_counts_events_that_have_a_value_there():
    counted = OwnFeature("x", "count", 60, (0, 9), of="fields.x")

    np.testing.assert_array_equal(
        numbers(counted, *map(raw, [b'{"x":0}', b'{"x":"a"}', b'{"x":null}', b"{}"])), [1, 1, math.nan, math.nan]
    )


@pytest.mark.parametrize(
    ("of", "field"), [(name, name) for name in ("ip", "device", "counterparty", "country", "currency", "session")]
)
def test_columns_of_the_event_can_be_followed(of, field):
    declared = OwnFeature("x", "distinct", 60, (0, 9), of=of)
    a, b, again, none = values(declared, {field: "a"}, {field: "b"}, {field: "a"}, {})

    assert a == again != b
    assert none == 0


def test_amounts_can_be_followed_as_numbers_and_as_values():
    amounts = [{"amount": 9.5}, {"amount": 0}, {"amount": 9.5}, {}]
    found = numbers(OwnFeature("x", "max", 60, (0, 1), of="amount"), *amounts)
    np.testing.assert_array_equal(found, [9.5, 0, 9.5, math.nan])
    a, zero, again, none = values(OwnFeature("x", "distinct", 60, (0, 9), of="amount"), *amounts)

    assert a == again
    assert len({a, zero, none}) == 3
    assert none == 0


def test_values_depend_on_the_key_and_on_no_topic():
    mine = values(DISTINCT, raw(b'{"x":"4111 1111"}'))
    others = Decode(DecodeConfig(), Pseudonymizer(b"l" * 32), (DISTINCT,))
    batch = Messages(Span(0, 0, 1), "events", [raw(b'{"x":"4111 1111"}')], [b"u"], [0], [NOW])

    assert mine == values(DISTINCT, raw(b'{"x":"4111 1111"}'), topic="edge")
    assert mine != others.process(batch).own.values[:, 0].tolist()


def test_without_declared_features_nothing_is_read():
    batch = Messages(Span(0, 0, 1), "events", [raw(b'{"x":1}')], [b"u"], [0], [NOW])

    assert Decode(DecodeConfig(), SECRET).process(batch).own is None


def test_rejected_records_leave_no_row():
    batch = read(SUM, raw(b'{"x":1}'), b"{", raw(b'{"x":3}'))

    assert batch.own.numbers[:, 0].tolist() == [1.0, 3.0]
    assert len(batch.rejected) == 1
