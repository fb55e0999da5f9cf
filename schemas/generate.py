"""Write the JSON Schema files: `python -m schemas.generate`. They are in the repository; a test checks for drift."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from schemas.registry import TOPICS, Topic

FOLDER = Path(__file__).parent / "json"

_FIELD = re.compile(r"^        (\w+): (.*?)(?=^        \w+: |\Z)", re.MULTILINE | re.DOTALL)


def describe(record: type) -> tuple[str, dict[str, str]]:
    """Return what a Struct's docstring says of the record, and of each field."""
    text, _, attributes = (record.__doc__ or "").partition("Attributes:\n")
    return _flat(text), {name: _flat(line) for name, line in _FIELD.findall(attributes)}


def schema(topic: Topic) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a topic's record, docstrings as descriptions.

    Raises:
        ValueError: the topic has no record.
    """
    if topic.record is None:
        raise ValueError(f"expected a topic with a record, got {topic.name}")
    written = msgspec.json.schema(topic.record)
    for name, part in _structs(topic.record).items():
        about, fields = describe(part)
        entry = written["$defs"][name]
        entry["description"] = about
        for field, line in fields.items():
            entry["properties"][field]["description"] = line
    for entry in written["$defs"].values():
        if "enum" in entry and "description" in entry:
            entry["description"] = _flat(entry["description"])
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tidegate:{topic.name}:v{topic.version}",
        "title": f"{topic.name} v{topic.version}",
        "description": f"{topic.about} Key: {topic.key}. Written by {topic.writer}.",
    }
    return head | written


def files() -> dict[Path, str]:
    """Return every JSON Schema file as it must be, by path."""
    return {
        FOLDER / f"{topic.name}.v{topic.version}.schema.json": json.dumps(schema(topic), indent=2) + "\n"
        for topic in TOPICS.values()
        if topic.record is not None
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


def _structs(record: type) -> dict[str, type]:
    found: dict[str, type] = {}

    def walk(kind: msgspec.inspect.Type) -> None:
        if isinstance(kind, msgspec.inspect.StructType):
            found[kind.cls.__name__] = kind.cls
            for field in kind.fields:
                walk(field.type)
        elif isinstance(kind, msgspec.inspect.VarTupleType):
            walk(kind.item_type)
        elif isinstance(kind, msgspec.inspect.UnionType):
            for each in kind.types:
                walk(each)

    walk(msgspec.inspect.type_info(record))
    return found


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
