"""What the doctor says of keys, from samples made by hand. Partitions by murmur2 are known from Kafka's own vectors."""

import zlib

import pytest

from flows.commands._doctor_keys import keys, partitioners
from flows.keys import Sample, judge, sample
from operators.partitioner import murmur2

USERS = [f"user-{number}" for number in range(100)]


def by_murmur2(key, partitions=4):
    return int(murmur2([key], partitions)[0])


def by_crc32(key, partitions=4):
    return zlib.crc32(key) % partitions


def samples(where, users=USERS):
    return [Sample(where(user.encode()), user.encode(), user) for user in users]


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (by_murmur2, "murmur2_random"),
        (by_crc32, "consistent_random"),
        (lambda key: len(key) % 4, "unknown"),
        (lambda _: 0, "unknown"),
    ],
)
def test_the_partitioner_is_named_by_where_the_keys_lie(where, name):
    assert judge(samples(where), 4).partitioner == name


def test_a_few_strays_do_not_hide_the_partitioner_and_many_do():
    stray = Sample((by_murmur2(b"user-0") + 1) % 4, b"user-0", "user-0")
    assert judge([*samples(by_murmur2), stray], 4).partitioner == "murmur2_random"

    assert judge([*samples(by_murmur2), *samples(by_crc32)], 4).partitioner == "unknown"


def test_a_busy_key_counts_once():
    """A thousand records of one key prove no more than one."""
    busy = [Sample(by_crc32(b"bot"), b"bot", "bot")] * 1_000

    assert judge([*busy, *samples(by_murmur2, USERS[:10])], 4).partitioner is None


def test_a_key_in_two_partitions_is_counted():
    found = judge([*samples(by_murmur2), *samples(lambda key: (by_murmur2(key) + 1) % 4, USERS[:5])], 4)

    assert (found.keys, found.scattered) == (100, 5)


def test_too_few_keys_and_one_partition_say_nothing():
    assert judge(samples(by_murmur2, USERS[:15]), 4).partitioner is None
    assert judge(samples(lambda _: 0), 1).partitioner is None


def test_tombstones_and_garbage_are_no_evidence_about_users():
    found = judge([Sample(0, None, None), Sample(0, b"k", None), Sample(0, None, "u"), Sample(0, b"u", "u")], 4)

    assert (found.records, found.readable, found.keyed) == (4, 1, 1)


class Message:
    def __init__(self, value, key=b"k"):
        self.partition, self.key, self.value = (lambda: 3), (lambda: key), (lambda: value)


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff", b"[]", b'{"user":7}', b'{"user":""}', b"[" * 100_000])
def test_a_value_without_a_user_is_tolerated(value):
    assert sample(Message(value)) == Sample(3, b"k", None)


def test_the_user_is_read_from_the_value():
    assert sample(Message(b'{"id":1,"user":"\\u00e4da"}', b"")) == Sample(3, None, "äda")


def found(checks):
    return [(each.result, each.found) for each in checks]


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        (0, ("ok", "events: the key is the user in 100 records")),
        (1, ("warning", "events: the key is not the user in 1 of 100 records")),
        (2, ("failed", "events is not keyed by user: another key in 2 of 100 records")),
    ],
)
def test_a_topic_that_is_not_keyed_by_user_is_named_with_counts(wrong, answer):
    some = [Sample(0, b"session", user) for user in USERS[:wrong]] + samples(by_murmur2, USERS[wrong:])

    assert found(keys({"events": judge(some, 4)})) == [answer]


def test_a_topic_by_librdkafkas_default_works_alone_and_fails_beside_javas():
    java, native = judge(samples(by_murmur2), 4), judge(samples(by_crc32), 4)
    assert [result for result, _ in found(partitioners({"events": native}))] == ["warning"]

    [one, other] = found(partitioners({"events": java, "metrics": native}))
    assert one[0] == "ok"
    assert other == (
        "failed",
        "metrics: CRC-32 (librdkafka's default, consistent_random), 100 keys; but events has murmur2_random",
    )


def test_no_identifier_is_shown():
    odd = judge(samples(lambda key: len(key) % 4), 4)
    shown = [*keys({"events": odd}), *partitioners({"events": odd})]

    assert "user-" not in "".join(each.found + each.remedy for each in shown)


def test_one_partition_is_nothing_to_check():
    assert found(partitioners({"events": judge(samples(lambda _: 0), 1)})) == [
        ("ok", "events has one partition: nothing to check")
    ]


def test_keys_that_no_partitioner_explains_are_a_failure_that_names_added_partitions():
    [check] = partitioners({"events": judge(samples(lambda key: len(key) % 4), 4)})

    assert check.result == "failed"
    assert "new kafka.prefix" in check.remedy
