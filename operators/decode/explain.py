"""Why a record is not an event, or not a label. The slow path: only records that failed come here.

Sentences are closed templates, `expected X, got Y - at $.field`. No part of them is taken from the record, nor from the
decoder's own messages, which can quote it.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple

import msgspec
import numpy as np

from operators.batches import U8
from operators.compiled import compiled
from schemas.dead_letter import Reason
from schemas.event import LAST_TIME_MS

DEEPEST: Final = 256
"""Levels of arrays and objects that are read. Far below what a decoder's stack can take, so that what is too deep does
not depend on how deep the caller stands."""

LABELS: Final = ("fraud", "legit")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_LONGEST: Final = {"id": 256, "user": 1024, "metric": 256, "item": 256, "ranking": 256, "session": 1024}
_WHOLE: Final = re.compile(rb"-?[0-9]+")
_OPTIONAL: Final = ("currency", "ip", "device", "counterparty", "country", "session")

_KINDS: Final = {
    b'"': "a string",
    b"{": "an object",
    b"[": "an array",
    b"t": "a boolean",
    b"f": "a boolean",
    b"n": "null",
}  # everything else that is JSON is a number

_well_formed = msgspec.json.Decoder(msgspec.Raw).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_string = msgspec.json.Decoder(str).decode
_time = msgspec.json.Decoder(Annotated[datetime, msgspec.Meta(tz=None)]).decode


class Fault(NamedTuple):
    """What is wrong with a record: the reason's name and a sentence that holds nothing of the record."""

    reason: str
    detail: str


def fault(reason: Reason, expected: str, got: str, field: str | None = None) -> Fault:
    """Fill the one template; all arguments are constants of this package."""
    where = "" if field is None else f" - at $.{field}"
    return Fault(reason.value, f"expected {expected}, got {got}{where}")


NOT_JSON: Final = fault(Reason.NOT_JSON, "JSON", "something else")
INVALID_UTF8: Final = fault(Reason.INVALID_UTF8, "UTF-8", "other bytes")
TOO_DEEP: Final = fault(Reason.TOO_DEEP, f"at most {DEEPEST} levels of nesting", "more")
EMPTY_VALUE: Final = fault(Reason.EMPTY_VALUE, "a JSON object", "an empty value")
MISSING_KEY: Final = fault(Reason.MISSING_KEY, "the user as key", "no key")
TOO_LARGE: Final = fault(Reason.TOO_LARGE, "at most max_message_bytes", "more")
FROM_THE_FUTURE: Final = fault(
    Reason.FROM_THE_FUTURE,
    "a time at most max_clock_skew_s after the record's Kafka timestamp",
    "a later one",
    "timestamp",
)
TIME_TOO_EARLY: Final = fault(Reason.OUT_OF_RANGE, "a time from 1970 to 9999", "an earlier one", "timestamp")
TIME_TOO_LATE: Final = fault(Reason.OUT_OF_RANGE, "a time from 1970 to 9999", "a later one", "timestamp")
NO_TIME: Final = fault(Reason.WRONG_TYPE, "milliseconds since 1970 or RFC 3339", "another string", "timestamp")
EMPTY_TIME: Final = fault(Reason.EMPTY_FIELD, "milliseconds since 1970 or RFC 3339", "an empty string", "timestamp")
NO_OFFSET: Final = fault(Reason.WRONG_TYPE, "a time with its offset from UTC", "one without", "timestamp")
TIME_FRACTION: Final = fault(Reason.WRONG_TYPE, "whole milliseconds", "a fraction", "timestamp")


def explain_user(value: bytes) -> Fault:
    """Return why no user can be read from a record: as `explain`, but of the fields `user` alone matters."""
    return explained(value, lambda members: string_fault(members, "user") or NOT_JSON)


def explain(value: bytes) -> Fault:
    """Return what is wrong with a record that the typed decoder refused.

    Checks go from the whole to the parts and stop at the first fault, so that the answer does not depend on the
    decoder's: depth, UTF-8, JSON, object, then the fields in the order of `schemas.event.Event`.
    """
    return explained(value, _explain_fields)


def explain_label(value: bytes) -> Fault:
    """Return the same of a record that is not a label; fields in the order of `schemas.label.Label`."""
    return explained(value, _explain_label)


def explained(value: bytes, explain_fields: Callable[[dict[str, bytes]], Fault]) -> Fault:
    """Return the same of a record of any kind.

    Args:
        value: the record.
        explain_fields: says what is wrong with an object, given the raw JSON of its fields.
    """
    if found := unreadable(value):
        return found
    try:
        raw = _well_formed(value)
        kind = kind_of(bytes(raw))
        if kind != "an object":
            return fault(Reason.WRONG_TYPE, "an object", kind)
        return explain_fields({name: bytes(member) for name, member in _members(value).items()})
    except RecursionError:
        return TOO_DEEP
    except msgspec.DecodeError:
        return NOT_JSON


def last_counts(value: bytes) -> bytes:
    """Return the same object with each field once: the decoder refuses a wrong one even if a later one replaces it.

    Raises:
        msgspec.DecodeError: it is no object, or not JSON.
    """
    return _encode(_members(value))


def unreadable(value: bytes) -> Fault | None:
    """Return what the typed decoder must not be asked to find out, or would not: too many levels, other than UTF-8."""
    if is_too_deep(value):
        return TOO_DEEP
    return None if value.isascii() or is_utf8(value) else INVALID_UTF8


def is_too_deep(value: bytes) -> bool:
    """Return whether arrays and objects are nested deeper than is read."""
    # Counting is cheap and rules nearly all out; looking at each byte is for the few that remain.
    return value.count(b"[") + value.count(b"{") > DEEPEST and depth(value) > DEEPEST


def is_utf8(value: bytes) -> bool:
    """Return whether the bytes are UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def time_fault(value: float) -> Fault | None:
    """Return what is wrong with a number as milliseconds since 1970; None if nothing is."""
    if value < 0:
        return TIME_TOO_EARLY
    if value > LAST_TIME_MS:
        return TIME_TOO_LATE
    return None if float(value).is_integer() else TIME_FRACTION


def milliseconds(moment: datetime) -> int:
    """Return milliseconds since 1970 of a time with an offset, microseconds cut; exact, and below 0 before 1970."""
    return (moment - EPOCH) // _MILLISECOND


def depth(value: bytes) -> int:
    """Return the deepest nesting of arrays and objects, brackets within strings not counted."""
    return int(_depth(np.frombuffer(value, dtype=np.uint8)))


@compiled
def _depth(data: U8) -> int:
    level = 0
    deepest = 0
    within = False  # a string
    escaped = False
    for byte in data:
        if within:
            if escaped:
                escaped = False
            elif byte == 0x5C:  # backslash
                escaped = True
            elif byte == 0x22:  # quote
                within = False
        elif byte == 0x22:
            within = True
        elif byte in (0x5B, 0x7B):  # [ {
            level += 1
            deepest = max(deepest, level)
        elif byte in (0x5D, 0x7D):  # ] }
            level -= 1
    return deepest


def kind_of(raw: bytes) -> str:
    """Return of which JSON type a raw value is, in words."""
    return _KINDS.get(raw[:1], "a number")


def _explain_fields(members: dict[str, bytes]) -> Fault:
    return (
        string_fault(members, "id")
        or timestamp_fault(members)
        or string_fault(members, "user")
        or string_fault(members, "type")
        or _amount(members)
        or next(filter(None, (optional_fault(members, name, "a string") for name in _OPTIONAL)), None)
        or optional_fault(members, "fields", "an object")
        or NOT_JSON  # half a surrogate pair in what is skipped; or nothing, and an earlier field of a name was wrong
    )


def _explain_label(members: dict[str, bytes]) -> Fault:
    return (
        string_fault(members, "id")
        or string_fault(members, "user")
        or string_fault(members, "label")
        or word_fault(members, "label", LABELS)
        or timestamp_fault(members)
        or optional_fault(members, "kind", "a string")
        or NOT_JSON
    )


def word_fault(members: dict[str, bytes], name: str, words: tuple[str, ...]) -> Fault | None:
    """Return what is wrong with a text that must be one of a few; None if nothing is."""
    if _string(members[name]) in words:
        return None
    return fault(Reason.OUT_OF_RANGE, " or ".join(words), "another string", name)


def string_fault(members: dict[str, bytes], name: str) -> Fault | None:
    """Return what is wrong with a required text; None if nothing is."""
    raw = members.get(name)
    if raw is None:
        return fault(Reason.MISSING_FIELD, "a string", "no such field", name)
    if kind_of(raw) != "a string":
        return fault(Reason.WRONG_TYPE, "a string", kind_of(raw), name)
    text = _string(raw)
    if not text:
        return fault(Reason.EMPTY_FIELD, "at least 1 character", "an empty string", name)
    if name in _LONGEST and len(text) > _LONGEST[name]:
        return fault(Reason.OUT_OF_RANGE, f"at most {_LONGEST[name]} characters", "more", name)
    return None


def optional_fault(members: dict[str, bytes], name: str, expected: str) -> Fault | None:
    """Return what is wrong with the type of a field that may be absent or null; None if nothing is."""
    kind = kind_of(members.get(name, b"null"))
    return None if kind in (expected, "null") else fault(Reason.WRONG_TYPE, expected, kind, name)


def optional_text_fault(members: dict[str, bytes], name: str) -> Fault | None:
    """Return what is wrong with a text that may be absent or null, but not empty; None if nothing is."""
    return None if kind_of(members.get(name, b"null")) == "null" else string_fault(members, name)


def number_fault(members: dict[str, bytes], name: str) -> Fault | None:
    """Return what is wrong with a number that may be absent or null; None if nothing is."""
    raw = members.get(name, b"null")
    kind = kind_of(raw)
    if kind == "null":
        return None
    if kind != "a number":
        return fault(Reason.WRONG_TYPE, "a number", kind, name)
    if math.isinf(float(raw)):
        return fault(Reason.OUT_OF_RANGE, "a number a double can hold", "a larger one", name)
    return None


def whole_fault(members: dict[str, bytes], name: str, least: int, most: int | None = None) -> Fault | None:
    """Return what is wrong with a whole number that may be absent or null; None if nothing is."""
    raw = members.get(name, b"null")
    kind = kind_of(raw)
    if kind == "null":
        return None
    expected = f"a whole number from {least} " + ("on" if most is None else f"to {most}")
    if kind != "a number":
        return fault(Reason.WRONG_TYPE, expected, kind, name)
    if not _WHOLE.fullmatch(raw):
        return fault(Reason.WRONG_TYPE, expected, "another number", name)
    # As doubles: of more than 4,300 digits Python reads no integer.
    inside = least <= float(raw) and float(raw) < (1e300 if most is None else most + 1)
    return None if inside else fault(Reason.OUT_OF_RANGE, expected, "another one", name)


def _amount(members: dict[str, bytes]) -> Fault | None:
    raw = members.get("amount", b"null")
    if kind_of(raw) == "a number" and float(raw) < 0:
        return fault(Reason.OUT_OF_RANGE, "a number >= 0", "a negative number", "amount")
    return number_fault(members, "amount")


def timestamp_fault(members: dict[str, bytes]) -> Fault | None:
    """Return what is wrong with a record's time; None if nothing is."""
    raw = members.get("timestamp")
    expected = "milliseconds since 1970 or RFC 3339"
    if raw is None:
        return fault(Reason.MISSING_FIELD, expected, "no such field", "timestamp")
    kind = kind_of(raw)
    if kind == "a number":
        return time_fault(float(raw))
    if kind != "a string":
        return fault(Reason.WRONG_TYPE, expected, kind, "timestamp")
    if raw == b'""':
        return EMPTY_TIME
    try:
        return _moment_fault(_time(raw))
    except msgspec.ValidationError:
        return NO_TIME


def text_time(text: str) -> int | Fault:
    """Return milliseconds since 1970 of a time that is digits or RFC 3339, or what is wrong with it."""
    if not text:
        return EMPTY_TIME
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        # More digits than the last time has; and Python refuses to read more than 4,300.
        return TIME_TOO_LATE if len(digits) > len(str(LAST_TIME_MS)) else time_fault(int(digits)) or int(digits)
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return NO_TIME
    return _moment_fault(moment) or milliseconds(moment)


def _moment_fault(moment: datetime) -> Fault | None:
    return NO_OFFSET if moment.tzinfo is None else time_fault(milliseconds(moment))
