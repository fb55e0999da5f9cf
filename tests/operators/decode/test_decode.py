"""Readable records become columns: times, amounts, pseudonyms, hashes, in the order of the input."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from xxhash import xxh3_64_intdigest

from operators.batches import ATTRIBUTES, Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer
from operators.state import Stage

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
PSEUDONYMS = Pseudonymizer(b"k" * 32, pseudonymised_topics=["edge"])
WORD = 2**64


def stage(**config):
    return Decode(DecodeConfig(**config), PSEUDONYMS)


def messages(*events, topic="events"):
    values = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    n = len(values)
    return Messages(Span(2, 5, 5 + n), topic, values, [b"k"] * n, list(range(5, 5 + n)), [NOW] * n)


def event(**changes):
    return {"id": "a", "timestamp": NOW, "user": "u", "type": "t"} | changes


def test_an_event_becomes_one_row_of_every_column():
    decoded = stage().process(messages(event(amount=12.5, ip="10.0.0.1", device="d", counterparty="shop")))

    pseudonym, bits = PSEUDONYMS.user("u")
    assert decoded.span == Span(2, 5, 6)
    assert decoded.topic == "events"
    assert decoded.offsets.tolist() == [5]
    assert decoded.time_ms.tolist() == [NOW]
    assert decoded.ids == ["a"]
    assert decoded.users == [pseudonym]
    assert decoded.user.tolist() == [bits]
    assert decoded.amount.tolist() == [12.5]
    assert dict(zip(ATTRIBUTES, decoded.attributes[0].tolist(), strict=True)) == {
        "ip": PSEUDONYMS.attribute("ip")("10.0.0.1"),
        "device": PSEUDONYMS.attribute("device")("d"),
        "counterparty": PSEUDONYMS.attribute("counterparty")("shop"),
        "type": PSEUDONYMS.bits("t"),
    }


def test_columns_have_the_types_of_the_batches():
    for decoded in (stage().process(messages(event(), event())), stage().process(messages())):
        n = len(decoded.ids)
        assert (decoded.offsets.dtype, decoded.time_ms.dtype, decoded.amount.dtype) == (np.int64, np.int64, np.float64)
        assert (decoded.user.dtype, decoded.id_hash.dtype, decoded.attributes.dtype) == (np.uint64,) * 3
        assert [len(column) for column in (decoded.offsets, decoded.time_ms, decoded.user, decoded.id_hash)] == [n] * 4
        assert decoded.attributes.shape == (n, 4)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (0, 0),
        (253402300799999, 253402300799999),
        (1767225600000.0, NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2025-12-31t23:30:00.25-00:30", NOW + 250),
        ("2026-01-01 05:45:00+05:45", NOW),
        ("2026-01-01T00:00:00.0019999Z", NOW + 2),  # microseconds are rounded: .002000
        ("2026-01-01T00:00:00.001999Z", NOW + 1),  # and cut to the millisecond
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
    ],
)
def test_a_time_is_epoch_milliseconds_whichever_way_it_is_written(timestamp, expected):
    batch = messages(event(timestamp=timestamp), event(timestamp=7))
    batch.timestamps_ms[:] = [expected, 7]

    assert stage().process(batch).time_ms.tolist() == [expected, 7]


def test_a_time_in_exponent_form_is_read():
    assert stage().process(messages(b'{"id":"a","timestamp":1.7672256E12,"user":"u","type":"t"}')).time_ms.tolist() == [
        NOW
    ]


def test_an_absent_amount_is_nan_and_minus_zero_is_zero():
    amounts = stage().process(messages(event(), event(amount=None), event(amount=-0.0), event(amount=3))).amount

    assert np.isnan(amounts[:2]).all()
    assert [str(amount) for amount in amounts[2:].tolist()] == ["0.0", "3.0"]


def test_absent_null_and_empty_attributes_are_0():
    decoded = stage().process(messages(event(), event(ip=None), event(ip="", device="", counterparty="")))

    assert (decoded.attributes[:, :3] == 0).all()
    assert (decoded.attributes[:, 3] != 0).all()


def test_the_same_text_as_ip_device_and_user_is_three_different_numbers():
    decoded = stage().process(messages(event(user="x", ip="x", device="x", counterparty="x")))

    assert len({*decoded.user.tolist(), *decoded.attributes[0, :3].tolist()}) == 4


def test_unknown_fields_are_skipped_and_the_last_of_two_equal_names_counts():
    decoded = stage().process(
        messages(
            b'{"id":"a","x":{"y":[1e400]},"timestamp":1,"user":"u","type":"t","id":"b","session":"s","country":"DE"}'
        )
    )

    assert decoded.ids == ["b"]


@pytest.mark.parametrize("text", ["\0", "a\0b", "😀", 'quote " and \\', "\u2028", "é", "e\u0301", " "])
def test_any_text_is_an_id_and_a_user(text):
    decoded = stage().process(messages(event(id=text, user=text, ip=text)))

    assert decoded.ids == [text]
    assert decoded.users == [PSEUDONYMS.pseudonym("user", text)]


def splitmix64(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB % WORD
    return z ^ z >> 31


def test_an_id_hash_is_the_finalizer_of_splitmix64_over_id_and_user():
    golden = 0x9E3779B97F4A7C15
    decoded = stage().process(messages(event(id="é1"), event(id="é1", user="v"), event(id="2", user="v")))

    assert splitmix64(golden) == 0xE220A8397B1DCDAF  # the generator's published first output for seed 0
    assert decoded.id_hash.tolist() == [
        splitmix64((xxh3_64_intdigest(text.encode(), PSEUDONYMS.seed) + user * golden) % WORD)
        for text, user in zip(decoded.ids, decoded.user.tolist(), strict=True)
    ]


def test_the_same_id_of_two_users_has_two_hashes_and_a_repeat_has_one():
    hashes = stage().process(messages(event(), event(user="v"), event(timestamp=1))).id_hash.tolist()

    assert hashes[0] == hashes[2] != hashes[1]


def test_a_topic_listed_as_pseudonymised_passes_its_identifiers_through():
    decoded = stage().process(messages(event(user="u", ip="10.0.0.1"), topic="edge"))

    assert decoded.users == ["u"]
    assert decoded.user.tolist() == [PSEUDONYMS.bits("u")]
    assert decoded.attributes[0, 0] == PSEUDONYMS.bits("10.0.0.1")


def test_the_look_of_a_pseudonym_does_not_make_it_one():
    forged = PSEUDONYMS.pseudonym("user", "victim")

    assert stage().process(messages(event(user=forged))).users != [forged]


def test_a_user_pseudonymised_at_the_edge_meets_the_same_user_pseudonymised_here():
    here = stage()
    raw = here.process(messages(event()))
    edge = here.process(messages(event(user=PSEUDONYMS.pseudonym("user", "u")), topic="edge"))

    assert raw.users == edge.users
    assert raw.user.tolist() == edge.user.tolist()
    assert raw.id_hash.tolist() == edge.id_hash.tolist()


@pytest.mark.parametrize("entries", [2, 7, 65_536])
def test_results_do_not_depend_on_the_cache_nor_on_where_batches_are_cut(entries):
    rng = np.random.default_rng(3)
    events = [
        event(id=f"e{i}", user=f"u{rng.integers(30)}", ip=f"10.0.0.{rng.integers(9)}", type=f"t{rng.integers(3)}")
        for i in range(200)
    ]
    whole = Decode(DecodeConfig(), PSEUDONYMS).process(messages(*events))
    cut = stage(cache_entries=entries)
    parts = [cut.process(messages(*events[at : at + 17])) for at in range(0, 200, 17)]

    assert [user for part in parts for user in part.users] == whole.users
    for name in ("user", "id_hash", "attributes"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


def test_the_input_is_left_as_it_was():
    batch = messages(event(), b"[", event(timestamp=NOW * 2))
    before = (list(batch.values), list(batch.keys), list(batch.offsets), list(batch.timestamps_ms))
    stage().process(batch)

    assert (batch.values, batch.keys, batch.offsets, batch.timestamps_ms) == before


def test_it_is_a_stage_without_state():
    decode = stage()
    decode.process(messages(event()))

    assert isinstance(decode, Stage)
    assert decode.dump() == {}


def test_cache_hits_and_misses_are_measured():
    decode = stage()
    decode.process(messages(event(), event(), event(user="v", ip="10.0.0.1")))
    measured = {name: value for name, value, _ in decode.measurements()}

    # 3 rows of user, ip, device and counterparty are 12 look-ups. New were: u, v; absent ip, 10.0.0.1; absent device;
    # absent counterparty.
    assert measured == {"tidegate_pseudonym_cache_hits_total": 6, "tidegate_pseudonym_cache_misses_total": 6}


def test_another_key_has_another_fingerprint():
    config = DecodeConfig()

    assert Decode(config, PSEUDONYMS).fingerprint != Decode(config, Pseudonymizer(b"l" * 32)).fingerprint
    assert Decode(config, PSEUDONYMS).fingerprint != Decode(config, Pseudonymizer(b"k" * 32, 2)).fingerprint


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_message_bytes": 0},
        {"max_clock_skew_s": -1},
        {"max_clock_skew_s": float("inf")},
        {"max_clock_skew_s": float("nan")},
        {"cache_entries": 1},
        {"max_clock_skew": 1},
    ],
)
def test_a_setting_out_of_range_or_unknown_is_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(DecodeConfig).validate_python(wrong)
