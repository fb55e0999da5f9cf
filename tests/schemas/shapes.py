"""Pieces of JSON Schema that the records of version 1 are written down in."""

from typing import Any

NUMBER = {"type": "number"}
TEXT = {"type": "string"}
NATURAL = {"type": "integer", "minimum": 0}
NAME = {"type": "string", "minLength": 1, "maxLength": 256}
MAC = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
VERSION = {"enum": [1]}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
POSITIVE = {"type": "number", "minimum": 0}
BYTES = {"type": "string", "contentEncoding": "base64"}
TEXTS = {"type": "array", "items": {"type": "string"}}
TIME = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 253402300799999},
        {"type": "string", "maxLength": 64, "format": "date-time"},
    ]
}
DIRECTION = {"enum": ["both", "down", "up"]}
EXPLAINED = {"enum": ["critical", "high", "medium"]}
BUDGET = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
SLUG = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
FILLED = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}


def optional(*kinds: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*kinds, {"type": "null"}], "default": None}
