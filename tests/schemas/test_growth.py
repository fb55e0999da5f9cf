"""Schemas grow, never change: a new field has a default and comes last, and old readers survive it."""

import json
from typing import Any

import msgspec
import pytest
import written_experiments as of_experiments
import written_ranking as of_ranking
import written_readouts as of_readouts
import written_uplift as of_uplift
from shapes import (
    ABOVE_ZERO,
    BUDGET,
    BYTES,
    DIRECTION,
    EXPLAINED,
    MAC,
    NAME,
    NATURAL,
    NUMBER,
    POSITIVE,
    SHARE,
    TEXT,
    TEXTS,
    TIME,
    VERSION,
    optional,
)

from schemas.audit import Audit
from schemas.dead_letter import DeadLetter
from schemas.dead_letter import Reason as Why
from schemas.decision import Decision, Reason
from schemas.event import Event
from schemas.evidence import Catalogue, Evidence
from schemas.explanation import Contribution, Explanation
from schemas.label import Label
from schemas.registry import TOPICS

# Version 1, written down once. Lines may be added at the end; none may be changed.
FROZEN: dict[type, dict[str, dict[str, Any]]] = {
    **of_experiments.FROZEN,
    **of_readouts.FROZEN,
    **of_uplift.FROZEN,
    **of_ranking.FROZEN,
    Event: {
        "id": NAME,
        "timestamp": TIME,
        "user": {"type": "string", "minLength": 1, "maxLength": 1024},
        "type": {"type": "string", "minLength": 1},
        "amount": optional({"type": "number", "minimum": 0}),
        "currency": optional(TEXT),
        "ip": optional(TEXT),
        "device": optional(TEXT),
        "counterparty": optional(TEXT),
        "country": optional(TEXT),
        "session": optional(TEXT),
        "fields": optional({"type": "object"}),
    },
    Label: {
        "id": NAME,
        "user": {"type": "string", "minLength": 1, "maxLength": 1024},
        "label": {"enum": ["fraud", "legit"]},
        "timestamp": TIME,
        "kind": optional(TEXT),
    },
    Reason: {
        "feature": TEXT,
        "value": optional(NUMBER),
        "baseline": optional(NUMBER),
        "contribution": optional(NUMBER),
    },
    Decision: {
        "schema": VERSION,
        "id": NAME,
        "timestamp": NATURAL,
        "user": {"type": "string", "minLength": 1},
        "tier": {"enum": ["critical", "high", "low", "medium", "unknown"]},
        "standing": {"enum": ["critical", "high", "low", "medium"]},
        "partition": NATURAL,
        "offset": NATURAL,
        "tail_probability": optional({"type": "number", "minimum": 0, "maximum": 1}),
        "score": optional(NUMBER),
        "forest": optional(NUMBER),
        "evidence": optional(NUMBER),
        "reasons": {"type": "array", "items": {"$ref": "#/$defs/Reason"}, "default": []},
        "flags": {"type": "array", "items": {"enum": ["ahead", "duplicate", "late"]}, "default": []},
        "probability": optional(SHARE),
    },
    DeadLetter: {
        "schema": VERSION,
        "reason": {"$ref": "#/$defs/Reason"},
        "detail": TEXT,
        "topic": TEXT,
        "partition": NATURAL,
        "offset": NATURAL,
        "timestamp": {"type": "integer", "minimum": -1},
        "flow": TEXT,
    },
    Audit: {
        "schema": VERSION,
        "flow": TEXT,
        "partition": NATURAL,
        "sequence": NATURAL,
        "timestamp": NATURAL,
        "kind": {"type": "string", "minLength": 1},
        "detail": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")]
            },
        },
        "previous": MAC,
        "mac": MAC,
    },
    Catalogue: {
        "names": TEXTS,
        "units": TEXTS,
        "directions": {"type": "array", "items": DIRECTION},
        "families": TEXTS,
        "windows_s": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    },
    Evidence: {
        "schema": VERSION,
        "id": NAME,
        "timestamp": NATURAL,
        "user": {"type": "string", "minLength": 1},
        "tier": EXPLAINED,
        "partition": NATURAL,
        "offset": NATURAL,
        "tail_probability": ABOVE_ZERO,
        "score": POSITIVE,
        "forest": SHARE,
        "evidence": POSITIVE,
        "forest_share": SHARE,
        "budgets": {"type": "array", "prefixItems": [BUDGET] * 3, "minItems": 3, "maxItems": 3, "items": False},
        "catalogue": {"$ref": "#/$defs/Catalogue"},
        "raw": BYTES,
        "usual": BYTES,
        "mapped": BYTES,
        "tails": BYTES,
        "statistic": {"enum": ["log_mass", "river"]},
        "height": {"type": "integer", "minimum": 1, "maximum": 15},
        "window": {"type": "integer", "minimum": 1},
        "steps": BYTES,
        "columns": BYTES,
        "masses": BYTES,
    },
    Contribution: {
        "feature": TEXT,
        "unit": TEXT,
        "direction": DIRECTION,
        "value": optional(NUMBER),
        "baseline": optional(NUMBER),
        "tail_probability": SHARE,
        "evidence": POSITIVE,
        "forest": NUMBER,
        "share": SHARE,
    },
    Explanation: {
        "schema": VERSION,
        "id": NAME,
        "timestamp": NATURAL,
        "user": {"type": "string", "minLength": 1},
        "tier": EXPLAINED,
        "partition": NATURAL,
        "offset": NATURAL,
        "tail_probability": SHARE,
        "score": NUMBER,
        "forest": NUMBER,
        "evidence": NUMBER,
        "forest_share": SHARE,
        "forest_base": NUMBER,
        "features": {"type": "array", "items": {"$ref": "#/$defs/Contribution"}, "default": []},
        "evidence_rest": NUMBER | {"default": 0.0},
        "forest_rest": NUMBER | {"default": 0.0},
        "error": POSITIVE | {"default": 0.0},
        "sentences": TEXTS | {"default": []},
    },
}
REQUIRED = {
    **of_experiments.REQUIRED,
    **of_readouts.REQUIRED,
    **of_uplift.REQUIRED,
    **of_ranking.REQUIRED,
    Event: ["id", "timestamp", "user", "type"],
    Label: ["id", "user", "label", "timestamp"],
    Reason: ["feature"],
    Decision: ["id", "timestamp", "user", "tier", "standing", "partition", "offset"],
    DeadLetter: ["reason", "detail", "topic", "partition", "offset", "timestamp", "flow"],
    Audit: ["flow", "partition", "sequence", "timestamp", "kind", "detail", "previous", "mac"],
    Catalogue: ["names", "units", "directions", "families", "windows_s"],
    Evidence: list(FROZEN[Evidence])[1:],
    Contribution: ["feature", "unit", "direction", "tail_probability", "evidence", "forest", "share"],
    Explanation: list(FROZEN[Explanation])[1:13],
}


def broken(record: type, frozen: dict[str, dict[str, Any]], required: list[str]) -> list[str]:
    """Return which rules of growth a Struct breaks."""
    written = msgspec.json.schema(record)["$defs"][record.__name__]
    now = [field.encode_name for field in msgspec.structs.fields(record)]
    complaints = []
    if now[: len(frozen)] != list(frozen):
        complaints.append(f"expected the fields to begin {list(frozen)}, got {now}")
    complaints += [
        f"expected {kind}, got {written['properties'].get(name)} - at {name}"
        for name, kind in frozen.items()
        if unordered(written["properties"].get(name)) != unordered(kind)
    ]
    if written.get("required", []) != required:
        complaints.append(f"expected the required fields {required}, got {written.get('required')}")
    return complaints


def unordered(kind):
    """An `anyOf` says the same in any order."""
    if isinstance(kind, dict):
        return {key: unordered(value) for key, value in kind.items()}
    if isinstance(kind, list | tuple):
        return sorted(map(unordered, kind), key=lambda item: json.dumps(item, sort_keys=True))
    return kind


@pytest.mark.parametrize("record", FROZEN, ids=lambda record: record.__name__)
def test_version_1_is_as_it_was_written_down(record):
    assert broken(record, FROZEN[record], REQUIRED[record]) == []


def test_every_record_of_the_registry_is_written_down():
    assert {topic.record for topic in TOPICS.values()} - {None} <= FROZEN.keys()


def test_the_reasons_of_version_1_are_as_they_were_written_down():
    assert {reason.value for reason in Why} == {
        "empty_value",
        "missing_key",
        "too_large",
        "too_deep",
        "invalid_utf8",
        "not_json",
        "missing_field",
        "empty_field",
        "wrong_type",
        "out_of_range",
        "from_the_future",
    }


@pytest.mark.parametrize(
    "fields",
    [
        [("a", str), ("b", int, 1), ("c", str)],  # required
        [("b", int, 1), ("a", str)],  # in front
        [("a", str), ("new", int, 1), ("b", int, 1)],  # in between
        [("a", str)],  # gone
        [("a", int), ("b", int, 1)],  # another type
        [("a", str), ("b", int, 2)],  # another default
    ],
    ids=["required", "in front", "in between", "gone", "another type", "another default"],
)
def test_a_forbidden_change_is_noticed(fields):
    changed = msgspec.defstruct("Record", fields, kw_only=True)

    assert broken(changed, {"a": TEXT, "b": {"type": "integer", "default": 1}}, ["a"]) != []


def test_a_new_field_with_a_default_at_the_end_is_allowed():
    grown = msgspec.defstruct("Record", [("a", str), ("b", int, 1), ("c", str | None, None)], kw_only=True)

    assert broken(grown, {"a": TEXT, "b": {"type": "integer", "default": 1}}, ["a"]) == []


@pytest.mark.parametrize("record", FROZEN, ids=lambda record: record.__name__)
def test_an_old_reader_survives_new_fields(record):
    grown = msgspec.defstruct("Grown", [("new_field", dict[str, Any] | None, None)], bases=(record,), kw_only=True)
    wire = msgspec.json.encode(msgspec.convert(EXAMPLES[record] | {"new_field": {"deep": [1, None]}}, grown))

    assert b'"new_field":{"deep":[1,null]}' in wire
    assert msgspec.json.decode(wire, type=record) == msgspec.convert(EXAMPLES[record], record)


@pytest.mark.parametrize("record", FROZEN, ids=lambda record: record.__name__)
def test_a_new_reader_reads_old_messages(record):
    grown = msgspec.defstruct("Grown", [("new_field", int, 7)], bases=(record,), kw_only=True)

    assert msgspec.json.decode(msgspec.json.encode(EXAMPLES[record]), type=grown).new_field == 7


EXAMPLES: dict[type, dict[str, Any]] = {
    **of_experiments.EXAMPLES,
    **of_readouts.EXAMPLES,
    **of_uplift.EXAMPLES,
    **of_ranking.EXAMPLES,
    Event: {"id": "e-1", "timestamp": 0, "user": "u", "type": "t", "amount": 1.5},
    Label: {"id": "e-1", "user": "u", "label": "fraud", "timestamp": 0},
    Reason: {"feature": "count_60s", "value": 3.0},
    Decision: {
        "schema": 1,
        "id": "e-1",
        "timestamp": 0,
        "user": "h1:0",
        "tier": "low",
        "standing": "low",
        "partition": 0,
        "offset": 0,
    },
    DeadLetter: {
        "schema": 1,
        "reason": "not_json",
        "detail": "d",
        "topic": "events",
        "partition": 0,
        "offset": 0,
        "timestamp": 0,
        "flow": "risk",
    },
    Audit: {
        "schema": 1,
        "flow": "risk",
        "partition": 0,
        "sequence": 0,
        "timestamp": 0,
        "kind": "k",
        "detail": {},
        "previous": "0" * 64,
        "mac": "f" * 64,
    },
    Catalogue: {"names": ["a"], "units": ["u"], "directions": ["up"], "families": ["f"], "windows_s": [None]},
    Evidence: {
        "schema": 1,
        "id": "e-1",
        "timestamp": 0,
        "user": "h1:0",
        "tier": "medium",
        "partition": 0,
        "offset": 0,
        "tail_probability": 0.01,
        "score": 4.5,
        "forest": 0.5,
        "evidence": 2.0,
        "forest_share": 0.5,
        "budgets": [0.01, 0.001, 0.0001],
        "catalogue": {"names": [], "units": [], "directions": [], "families": [], "windows_s": []},
        "raw": b"",
        "usual": b"",
        "mapped": b"",
        "tails": b"",
        "statistic": "river",
        "height": 1,
        "window": 1,
        "steps": b"\x00",
        "columns": b"",
        "masses": bytes(4),
    },
    Contribution: {
        "feature": "a",
        "unit": "u",
        "direction": "up",
        "tail_probability": 0.5,
        "evidence": 0.0,
        "forest": -0.1,
        "share": 0.0,
    },
    Explanation: {
        "schema": 1,
        "id": "e-1",
        "timestamp": 0,
        "user": "h1:0",
        "tier": "medium",
        "partition": 0,
        "offset": 0,
        "tail_probability": 0.01,
        "score": 4.5,
        "forest": 0.5,
        "evidence": 2.0,
        "forest_share": 0.5,
        "forest_base": 0.25,
    },
}
