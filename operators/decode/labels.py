"""Records of the topic `labels` become columns; every record leaves by exactly one door, as events do.

Labels are few: a loop in Python is enough.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec
import numpy as np

from operators.batches import Rejected
from operators.decode.explain import (
    FROM_THE_FUTURE,
    NOT_JSON,
    Fault,
    explain_label,
    last_counts,
    milliseconds,
    time_fault,
)
from operators.decode.identifiers import Identifiers
from operators.decode.reading import REFUSED, forbidden
from operators.side import Labels, Side
from schemas.label import Label

TOPIC: Final = "labels"


class _Wire(Label, frozen=True, kw_only=True, gc=False):
    """`Label` as it is read: times parsed at once, whole numbers also when written `1.7e12`."""

    timestamp: int | float | Annotated[datetime, msgspec.Meta(tz=True)]  # type: ignore[assignment]


_decode = msgspec.json.Decoder(_Wire).decode


def read(side: Side, identifiers: Identifiers, max_bytes: int, skew_ms: int) -> None:
    """Fill in `side.labels` and `side.rejected`, both in the order of the topic.

    Args:
        side: records of `labels`.
        identifiers: makes the pseudonyms.
        max_bytes: larger records are not parsed.
        skew_ms: how far a label's time may lie beyond its record's Kafka timestamp.
    """
    found: list[_Wire] = []
    times: list[int] = []
    rejected: list[Rejected] = []
    for offset, kafka_ms, key, value in zip(side.offsets, side.timestamps_ms, side.keys, side.values, strict=True):
        label = _label(key, value, max_bytes)
        at = label if isinstance(label, Fault) else _time(label, kafka_ms, skew_ms)
        if isinstance(at, Fault) or isinstance(label, Fault):
            fault = at if isinstance(at, Fault) else label
            rejected.append(Rejected(offset, kafka_ms, *fault))  # type: ignore[misc]  # a Fault, either way
        else:
            found.append(label)
            times.append(at)
    _, user = identifiers.users([label.user for label in found])
    side.labels = Labels(
        id_hash=identifiers.id_hash([label.id for label in found], user),
        fraud=np.array([label.label == "fraud" for label in found], np.bool_),
        time_ms=np.array(times, np.int64),
    )
    side.rejected = rejected


def _label(key: bytes | None, value: bytes | None, max_bytes: int) -> _Wire | Fault:
    if fault := forbidden(key, value, max_bytes):
        return fault
    assert value, "a forbidden one is empty"
    try:
        return _decode(value)
    except REFUSED:
        fault = explain_label(value)
    if fault is NOT_JSON:
        try:  # refused for a field that a later one of its name replaces
            return _decode(last_counts(value))
        except REFUSED:
            pass
    return fault


def _time(label: _Wire, kafka_ms: int, skew_ms: int) -> int | Fault:
    """Return when it was said, epoch milliseconds; a negative Kafka timestamp means that the record has none."""
    stamp = label.timestamp
    number: float = milliseconds(stamp) if isinstance(stamp, datetime) else stamp
    if fault := time_fault(number):
        return fault
    return FROM_THE_FUTURE if 0 <= kafka_ms < number - skew_ms else int(number)
