"""The JSON Schema files are what the Structs say."""

import jsonschema
import msgspec
import pytest

from schemas.generate import FOLDER, describe, files, schema
from schemas.registry import TOPICS, Topic


class Record:
    """About it.

    Attributes:
        first: one line
            and another: still the first.
        second: short.
    """


RECORDS = [topic for topic in TOPICS.values() if topic.record is not None]


def test_the_json_schema_files_are_up_to_date():
    stored = {path: path.read_text() for path in FOLDER.iterdir()}

    assert stored == files(), "run `python -m schemas.generate`"


@pytest.mark.parametrize("topic", RECORDS, ids=lambda topic: topic.name)
def test_a_json_schema_file_is_json_schema(topic):
    jsonschema.Draft202012Validator.check_schema(schema(topic))


@pytest.mark.parametrize("topic", RECORDS, ids=lambda topic: topic.name)
def test_every_field_is_described(topic):
    for name, part in schema(topic)["$defs"].items():
        for field, content in part.get("properties", {}).items():
            assert content.get("description"), f"{name}.{field}"


@pytest.mark.parametrize("topic", RECORDS, ids=lambda topic: topic.name)
def test_a_docstring_describes_no_field_that_is_not_there(topic):
    assert set(describe(topic.record)[1]) == {field.name for field in msgspec.structs.fields(topic.record)}


def test_a_field_description_may_span_lines():
    assert describe(Record) == ("About it.", {"first": "one line and another: still the first.", "second": "short."})


def test_a_topic_without_a_record_has_no_json_schema():
    internal = Topic("x", "About.", None, 1, "key", "tidegate", "compact", internal=True)

    with pytest.raises(ValueError, match="expected a topic with a record, got x"):
        schema(internal)
