"""Why a record is not what its topic holds, in closed sentences as in `operators.decode.explain`.

Fields are checked in the order of the records in `schemas/`. Of what lies deeper the sentence names the path, never a
name or value of the record.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from operators.decode.explain import (
    NOT_JSON,
    Fault,
    explained,
    fault,
    kind_of,
    number_fault,
    optional_text_fault,
    string_fault,
    text_time,
    timestamp_fault,
    whole_fault,
    word_fault,
)
from schemas.dead_letter import Reason
from schemas.ranking_request import MOST_ITEMS

NO_ITEM_KEY: Final = fault(Reason.MISSING_KEY, "the item as key", "no key")

_VALUE: Final = "a boolean, number, string or list of them"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode


def explain_item(value: bytes) -> Fault:
    """Return what is wrong with a record of `items`."""
    return explained(value, _item)


def explain_interaction(value: bytes) -> Fault:
    """Return what is wrong with a record of `interactions`."""
    return explained(value, _interaction)


def explain_request(value: bytes) -> Fault:
    """Return what is wrong with a record of `ranking.requests`."""
    return explained(value, _request)


def _item(members: dict[str, bytes]) -> Fault:
    return (
        _event_fault(members, "item", "metadata")
        or string_fault(members, "id")
        or string_fault(members, "item")
        or _stamp_fault(members)
        or _fields_fault(members)
        or NOT_JSON
    )


def _interaction(members: dict[str, bytes]) -> Fault:
    return (
        _event_fault(members, "interaction")
        or string_fault(members, "id")
        or (None if members.get("ranking") == b'""' else optional_text_fault(members, "ranking"))
        or _stamp_fault(members)
        or optional_text_fault(members, "user")
        or optional_text_fault(members, "session")
        or string_fault(members, "type")
        or string_fault(members, "item")
        or _fields_fault(members)
        or NOT_JSON
    )


def _request(members: dict[str, bytes]) -> Fault:
    return (
        _event_fault(members, "ranking")
        or string_fault(members, "id")
        or _stamp_fault(members)
        or optional_text_fault(members, "user")
        or optional_text_fault(members, "session")
        or _fields_fault(members)
        or _list_fault(members, "items", _candidate_fault, MOST_ITEMS)
        or whole_fault(members, "count", 1, MOST_ITEMS)
        or NOT_JSON
    )


def _event_fault(members: dict[str, bytes], *words: str) -> Fault | None:
    return string_fault(members, "event") or word_fault(members, "event", words)


def _stamp_fault(members: dict[str, bytes]) -> Fault | None:
    """Return what is wrong with a time that may be digits in a string; None if nothing is."""
    raw = members.get("timestamp", b"null")
    if kind_of(raw) != "a string":
        return timestamp_fault(members)
    found = text_time(_string(raw))
    return found if isinstance(found, Fault) else None


def _fields_fault(members: dict[str, bytes]) -> Fault | None:
    return _list_fault(members, "fields", _field_fault)


def _list_fault(
    members: dict[str, bytes], name: str, of_entry: Callable[[dict[str, bytes]], Fault | None], most: int | None = None
) -> Fault | None:
    """Return what is wrong with a list of objects that may be absent or null; None if nothing is."""
    raw = members.get(name, b"null")
    kind = kind_of(raw)
    if kind == "null":
        return None
    if kind != "an array":
        return fault(Reason.WRONG_TYPE, "an array", kind, name)
    entries = _entries(raw)
    if most is not None and len(entries) > most:
        return fault(Reason.OUT_OF_RANGE, f"at most {most} entries", "more", name)
    for entry in entries:
        kind = kind_of(bytes(entry))
        if kind != "an object":
            return fault(Reason.WRONG_TYPE, "an object", kind, f"{name}[*]")
        found = of_entry({each: bytes(member) for each, member in _members(entry).items()})
        if found:
            return found._replace(detail=found.detail.replace("- at $.", f"- at $.{name}[*]."))
    return None


def _field_fault(members: dict[str, bytes]) -> Fault | None:
    return string_fault(members, "name") or _value_fault(members)


def _value_fault(members: dict[str, bytes]) -> Fault | None:
    raw = members.get("value")
    if raw is None:
        return fault(Reason.MISSING_FIELD, _VALUE, "no such field", "value")
    kind = kind_of(raw)
    if kind == "an object":
        return fault(Reason.WRONG_TYPE, _VALUE, kind, "value")
    for entry in map(bytes, _entries(raw)) if kind == "an array" else (raw,):
        inner = kind_of(entry)
        if inner in ("an object", "an array") or (inner == "null" and kind == "an array"):
            return fault(Reason.WRONG_TYPE, _VALUE, f"{inner} in a list", "value")
        if inner == "a number" and math.isinf(float(entry)):
            return number_fault({"value": entry}, "value")
    return None


def _candidate_fault(members: dict[str, bytes]) -> Fault | None:
    return (
        string_fault(members, "id")
        or _fields_fault(members)
        or number_fault(members, "relevancy")
        or number_fault(members, "label")
    )
