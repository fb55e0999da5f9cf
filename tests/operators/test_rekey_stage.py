"""The laws of a stage hold for `rekey`, and every record leaves it as it came, or as a dead letter."""

import random

import msgspec
import pytest
from cutting import cut, random_cuts
from laws import does_not_care_about_cuts, leaves_its_input_alone, repeats_itself, survives_a_snapshot

from operators.batches import Messages, Span
from operators.partitioner import murmur2
from operators.rekey import Rekey
from schemas.dead_letter import DeadLetter

GARBAGE = [None, b"", b"{", b"[1]", b'{"user":7}', b'{"user":""}', b'{"id":"x"}', b"\xff", b"[" * 300 + b"]" * 300]

REASONS = [
    *("empty_value", "empty_value", "not_json", "wrong_type", "wrong_type", "empty_field", "missing_field"),
    *("invalid_utf8", "too_deep"),
]


def stage():
    return Rekey("rekey", "events", 12, 3)


def batch(values, *, muted=False):
    count = len(values)
    span = Span(5, 100, 100 + count, muted)
    offsets = list(range(100, 100 + count))
    return Messages(span, "raw", values, [b"other"] * count, offsets, [1_000 + offset for offset in offsets])


@pytest.fixture
def mixed():
    rng = random.Random(4)
    good = [b'{"x":%d,"user":"u%d"}' % (number, rng.randrange(50)) for number in range(300)]
    return batch([rng.choice(GARBAGE) if rng.random() < 0.2 else value for value in good])


@pytest.mark.parametrize("seed", range(5))
def test_answers_do_not_depend_on_cuts(mixed, seed):
    does_not_care_about_cuts(stage, mixed, random_cuts(seed, 100, 400))


def test_the_other_laws_hold_too(mixed):
    leaves_its_input_alone(stage, [mixed])
    survives_a_snapshot(stage, cut(mixed, [250]), [1])
    repeats_itself(stage, [mixed])


def test_every_record_leaves_by_one_door_in_order(mixed):
    answer = stage().process(mixed)

    assert len(answer.records) == 300
    assert [each.offset for each in answer.rejected] == [
        msgspec.json.decode(record.value, type=DeadLetter).offset
        for record in answer.records
        if record.topic == "dead-letters"
    ]


def test_a_record_keeps_bytes_and_time_and_goes_to_its_users_partition():
    value = b' {"user" : "\\u00e4da", "id": 1e3, "nonsense": [] } '
    [record] = stage().process(batch([value])).records

    assert (record.topic, record.key, record.value, record.timestamp_ms) == ("events", "äda".encode(), value, 1_100)
    assert record.partition == murmur2(["äda".encode()], 12)[0]


def test_a_muted_batch_writes_nothing(mixed):
    assert stage().process(batch(mixed.values, muted=True)).records == []


@pytest.mark.parametrize(
    ("value", "reason"),
    list(zip(GARBAGE, REASONS, strict=True)),
)
def test_a_record_without_a_user_becomes_a_dead_letter_that_says_where_it_lies(value, reason):
    [record] = stage().process(batch([value])).records
    letter = msgspec.json.decode(record.value, type=DeadLetter)

    assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == ("raw", 5, 100, 1_100)
    assert (letter.reason, letter.flow, record.partition) == (reason, "rekey", 5 % 3)


def test_what_else_is_wrong_with_a_record_is_not_looked_at():
    values = [b'{"user":"a","timestamp":"no time","amount":-1}', b'{"user":"a"}' + b" " * 2_000_000]

    assert stage().process(batch(values)).rejected == []


def test_a_user_longer_than_an_event_may_have_is_refused():
    [one, other] = stage().process(batch([b'{"user":"%s"}' % (b"u" * size) for size in (1_024, 1_025)])).records

    assert (one.topic, other.topic) == ("events", "dead-letters")


def test_a_record_without_a_kafka_timestamp_gets_the_brokers():
    given = batch([b'{"user":"a"}'])
    given.timestamps_ms[0] = -1

    assert stage().process(given).records[0].timestamp_ms == 0  # to librdkafka: now
