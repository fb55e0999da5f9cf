"""Whatever comes in: nothing is raised, every record leaves by one door, and no sentence repeats the input."""

import json
import re
from datetime import UTC, datetime

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from operators.batches import Messages, Span
from operators.decode import Decode, DecodeConfig, Pseudonymizer
from operators.decode.explain import explain
from schemas.dead_letter import Reason
from schemas.generate import FOLDER

NOW = 1_767_225_600_000
CANARY = "zqcanaryqz"
REASONS = {reason.value for reason in Reason}
FIELDS = [
    "id",
    "timestamp",
    "user",
    "type",
    "amount",
    "currency",
    "ip",
    "device",
    "counterparty",
    "country",
    "session",
    "fields",
]
SENTENCE = re.compile(rf"expected [\w ,.>='-]+, got [\w ,.]+( - at \$\.({'|'.join(FIELDS)}))?")
DECODE = Decode(DecodeConfig(max_message_bytes=2000, cache_entries=8), Pseudonymizer(b"k" * 32))
SCHEMA = jsonschema.Draft202012Validator(json.loads((FOLDER / "events.v1.schema.json").read_text()))

texts = st.one_of(st.text(max_size=8), st.just(CANARY), st.just(CANARY * 150))
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([NOW, NOW + 10**6, -1, 10**18, 2**63, 2**64, 10**400, -(10**400), 253402300800000]),
)
times = st.one_of(
    numbers,
    st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC).isoformat()),
    st.datetimes().map(datetime.isoformat),
    texts,
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
events = st.fixed_dictionaries(
    {"id": texts, "timestamp": st.one_of(st.just(NOW), times), "user": texts, "type": texts},
    optional={name: st.one_of(texts, anything) for name in FIELDS[4:]} | {CANARY: anything},
)
spoiled = st.builds(lambda event, name, value: event | {name: value}, events, st.sampled_from(FIELDS), anything)
wires = st.one_of(events, spoiled, anything).map(lambda event: json.dumps(event).encode())
mutated = st.builds(
    lambda wire, at, cut, junk: wire[: at % (len(wire) + 1)] + junk + wire[at % (len(wire) + 1) + cut :],
    wires,
    st.integers(0, 10_000),
    st.integers(0, 5),
    st.one_of(
        st.binary(max_size=3), st.sampled_from([b"[" * 300, b'{"a":' * 300, b"\\ud800", b"NaN", b"1e400", b"\0"])
    ),
)
values = st.one_of(st.none(), st.binary(max_size=20), wires, mutated)
records = st.lists(st.tuples(values, st.sampled_from([b"k", b"k", b"k", b"", None])), max_size=12)


def process(pairs):
    n = len(pairs)
    return DECODE.process(
        Messages(
            Span(0, 100, 100 + n),
            "events",
            [v for v, _ in pairs],
            [k for _, k in pairs],
            list(range(100, 100 + n)),
            [NOW] * n,
        )
    )


@given(records)
def test_every_record_leaves_by_exactly_one_door_in_order(pairs):
    decoded = process(pairs)
    accepted, rejected = decoded.offsets.tolist(), [one.offset for one in decoded.rejected]

    assert sorted(accepted + rejected) == list(range(100, 100 + len(pairs)))
    assert accepted == sorted(accepted)
    assert rejected == sorted(rejected)
    assert len(decoded.ids) == len(decoded.users) == len(accepted)


@given(records)
def test_a_rejection_has_a_known_reason_and_a_sentence_without_any_input(pairs):
    for one in process(pairs).rejected:
        assert one.reason in REASONS
        assert SENTENCE.fullmatch(one.detail), one.detail
        assert CANARY not in one.detail


@given(records)
def test_what_is_accepted_can_be_written_again(pairs):
    decoded = process(pairs)

    assert all(text.encode() for text in decoded.ids + decoded.users)
    assert ((decoded.time_ms >= 0) & (decoded.time_ms <= NOW + 300_000)).all()
    assert not (decoded.amount < 0).any()
    assert (decoded.user != 0).all()
    assert (decoded.id_hash != 0).all()


@given(records)
def test_a_record_is_answered_the_same_alone_as_among_others(pairs):
    together = process(pairs)
    alone = [process([pair]) for pair in pairs]

    assert [one.ids[0] for one in alone if one.ids] == together.ids
    assert [one.id_hash[0] for one in alone if one.ids] == together.id_hash.tolist()
    assert [(one.rejected[0].reason, one.rejected[0].detail) for one in alone if one.rejected] == [
        (one.reason, one.detail) for one in together.rejected
    ]


@given(st.one_of(events, spoiled))
def test_what_is_accepted_fits_the_json_schema_and_the_other_way_round(event):
    wire = json.dumps(event).encode()
    decoded = process([(wire, b"k")])
    reasons = [one.reason for one in decoded.rejected]
    fits = SCHEMA.is_valid(event)

    # Beyond the schema: JSON itself (NaN, half a surrogate pair), size, what a double holds, the form of a time, the
    # clock.
    if decoded.ids:
        assert fits
    elif fits:
        assert set(reasons) <= {"not_json", "too_large", "out_of_range", "wrong_type", "empty_field", "from_the_future"}
        assert reasons in (["not_json"], ["too_large"]) or decoded.rejected[0].detail.endswith(
            ("$.timestamp", "$.amount")
        )


@given(wires)
def test_well_formed_json_is_never_explained_as_something_else_than_json(wire):
    try:
        json.loads(wire.decode(), parse_constant=lambda _: 1 / 0)
        wire.decode().encode("utf-8").decode()
    except (ZeroDivisionError, UnicodeError):
        return
    if rb"\ud" in wire:  # perhaps half a surrogate pair, which json lets through
        return

    decoded = process([(wire, b"k")])

    assert decoded.ids or explain(wire).reason != "not_json" or decoded.rejected[0].reason == "too_large"
