"""Real wire messages, written by hand: today's code must read them for ever."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from schemas.generate import FOLDER
from schemas.registry import TOPICS

GOLDEN = sorted((Path(__file__).parent / "golden" / "v1").glob("*.json"))
# The schema's own idea of an integer: 1e400 parsed as a float would be infinite, and is never looked at.
VALIDATORS = {
    topic.name: jsonschema.Draft202012Validator(
        json.loads((FOLDER / f"{topic.name}.v1.schema.json").read_text()),
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    )
    for topic in TOPICS.values()
    if topic.record is not None
}

PUBLISHED = tuple(f"{topic.name}." for topic in TOPICS.values() if topic.writer == "publishers")


def topic_of(path):
    return TOPICS[path.name.rsplit(".", 2)[0]]


def known(value, kind):
    """What a reader keeps of a message, worked out without msgspec's decoder: declared fields that are not null."""
    if isinstance(kind, msgspec.inspect.StructType):
        fields = {field.name: field.type for field in kind.fields}
        return {name: known(value[name], fields[name]) for name in value if name in fields and value[name] is not None}
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return [known(item, kind.item_type) for item in value]
    return value


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_message_fits_its_json_schema(path):
    VALIDATORS[topic_of(path).name].validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_message_keeps_every_known_field_when_decoded_and_encoded(path):
    record = topic_of(path).record

    again = json.loads(msgspec.json.encode(msgspec.json.decode(path.read_bytes(), type=record)))

    assert again == known(json.loads(path.read_bytes()), msgspec.inspect.type_info(record))


@pytest.mark.parametrize(
    "path",
    [path for path in GOLDEN if not path.name.startswith(PUBLISHED) and "unknown_fields" not in path.name],
    ids=lambda path: path.stem,
)
def test_a_golden_output_equals_itself_byte_for_byte_when_decoded_and_encoded(path):
    wire = path.read_bytes().strip()

    assert msgspec.json.encode(msgspec.json.decode(wire, type=topic_of(path).record)) == wire


@pytest.mark.parametrize("name", sorted(VALIDATORS))
def test_every_topic_has_several_golden_messages(name):
    assert sum(topic_of(path).name == name for path in GOLDEN) >= 2


def test_a_json_schema_refuses_a_message_that_its_struct_refuses():
    for name, bad in (
        ("events", {"id": "", "timestamp": 0, "user": "u", "type": "t"}),
        ("events", {"id": "a", "timestamp": 0, "user": "u"}),
        ("events", {"id": "a", "timestamp": 0, "user": "u", "type": "t", "amount": -1}),
        ("events", {"id": "a", "timestamp": 253402300800000, "user": "u", "type": "t"}),
        ("labels", {"id": "a", "timestamp": 0, "user": "u", "label": "maybe"}),
        ("labels", {"id": "a", "user": "u", "label": "fraud"}),
        ("dead-letters", {"reason": "no idea"}),
        ("exposures", {"experiment_id": "x", "user": "u", "timestamp": 0}),
        ("exposures", {"experiment_id": "x", "variation_id": "a", "user": "u", "timestamp": 0, "bucket": 10_000}),
        ("metrics", {"user": "u", "metric": "", "timestamp": 0}),
        ("metrics", {"user": "u", "metric": "m", "timestamp": 0, "value": "1"}),
        ("experiments.definitions", {"id": "not a name", "version": 1}),
        ("items", {"event": "interaction", "id": "i", "item": "a", "timestamp": 0}),
        ("items", {"event": "item", "id": "i", "item": "a", "timestamp": 0, "fields": [{"name": "n"}]}),
        ("items", {"event": "item", "id": "i", "item": "a", "timestamp": 0, "fields": [{"name": "n", "value": {}}]}),
        ("interactions", {"event": "interaction", "id": "i", "item": "", "timestamp": 0, "type": "click"}),
        ("interactions", {"event": "interaction", "id": "i", "item": "a", "timestamp": 0}),
        ("ranking.requests", {"event": "ranking", "id": "r", "timestamp": 0, "items": [{"id": ""}]}),
        ("ranking.requests", {"event": "ranking", "id": "r", "timestamp": 0, "items": [{"id": "a"}] * 1_001}),
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, TOPICS[name].record)
        with pytest.raises(jsonschema.ValidationError):
            VALIDATORS[name].validate(bad)
