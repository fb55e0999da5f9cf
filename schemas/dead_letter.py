"""What Tidegate writes on `dead-letters`: where a record lies that could not be read, and why. Never what is in it."""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1


class Reason(StrEnum):
    """Why a record could not be read: a closed list, also the `reason` label of metrics."""

    EMPTY_VALUE = "empty_value"
    """No value (a tombstone), or one of zero bytes."""
    MISSING_KEY = "missing_key"
    """No key, or one of zero bytes: the record's partition says nothing about its user."""
    TOO_LARGE = "too_large"
    """More bytes than `max_message_bytes`; not parsed. Of a ranking request also: its answer would be too large."""
    TOO_DEEP = "too_deep"
    """Arrays and objects nested deeper than is read, wherever in the record."""
    INVALID_UTF8 = "invalid_utf8"
    """Not UTF-8, and therefore not JSON."""
    NOT_JSON = "not_json"
    """Not one JSON value (RFC 8259). `NaN`, `Infinity` and half a surrogate pair are not JSON."""
    MISSING_FIELD = "missing_field"
    """A required field is absent."""
    EMPTY_FIELD = "empty_field"
    """A required field is an empty string."""
    WRONG_TYPE = "wrong_type"
    """A field, or the record, is of another JSON type or form than it must be."""
    OUT_OF_RANGE = "out_of_range"
    """A number, time or length outside its range; a number beyond the range of a double; a word that is none of those
    there are."""
    FROM_THE_FUTURE = "from_the_future"
    """Event time later than the record's own Kafka timestamp plus `max_clock_skew_s`."""


class DeadLetter(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A record that could not be read. The record's key is `<topic>-<partition>`; the payload stays where it is.

    Attributes:
        schema: version of this record, 1.
        reason: why, from a closed list.
        detail: expected what, got what, where: one of a fixed set of sentences. Holds no value of the input.
        topic: topic the record was read from.
        partition: its partition, >= 0.
        offset: its offset, >= 0.
        timestamp: its Kafka timestamp, milliseconds since 1970-01-01 UTC; -1 if it has none, or if that is not known
            any more, as of a ranking request whose answer is too large.
        flow: the flow that read it.
    """

    schema: Literal[1] = field(default_factory=version_1)
    reason: Reason
    detail: str
    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    timestamp: Annotated[int, Meta(ge=-1)]
    flow: str
