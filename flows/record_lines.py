"""Lines of files become what is published on topics other than `events`, or refusals that say what is wrong."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from flows.event_files import Check, Ready, Refused
from operators.decode.explain import NOT_JSON, Fault, milliseconds, time_fault, unreadable
from operators.decode.reading import Reader
from operators.decode.wire import WireExposure, WireMetric
from operators.notice import wire
from operators.notice.explain import explain_interaction, explain_item, explain_request
from operators.notice.wire import Told

_MOST_BYTES = 1 << 30
"""Kafka says itself what is too large for it."""
_NO_TIME = -1
"""Kafka's own time of a record that has none: nothing is from the future."""


def _checked(decode: Callable[[bytes], Any]) -> Check:
    """Return what checks a line, and takes its key, the user, and its time from it."""

    def ready(value: bytes, line: int) -> Ready | Refused:
        if broken := unreadable(value):
            return Refused(line, broken.detail)
        try:
            record = decode(value)
        except msgspec.ValidationError as error:  # its text names types and places, never a value
            return Refused(line, str(error))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Refused(line, NOT_JSON.detail)
        moment: Any = record.timestamp
        time_ms = milliseconds(moment) if isinstance(moment, datetime) else moment
        if fault := time_fault(time_ms):
            return Refused(line, fault.detail)
        # To librdkafka a timestamp of 0 means now.
        return Ready(line, record.user.encode(), value, max(1, int(time_ms)))

    return ready


def _noticed(decode: Callable[[bytes], Told], explain: Callable[[bytes], Fault], key: Callable[[Any], str]) -> Check:
    """Return what checks a line as `operators.notice` does, and takes its key and time from it."""
    read = Reader(decode, explain, max_bytes=_MOST_BYTES, skew_ms=0)

    def ready(value: bytes, line: int) -> Ready | Refused:
        found = read([b"key"], [value], [_NO_TIME])
        if found.faults:
            return Refused(line, found.faults[0].detail)
        # To librdkafka a timestamp of 0 means now.
        return Ready(line, key(found.records[0].record).encode(), value, max(1, int(found.time_ms[0])))

    return ready


def _who(record: Any) -> str:
    """Return the user; where none is told the session, else the record's id: a key there must be."""
    return str(record.user or record.session or record.id)


def _item(record: Any) -> str:
    return str(record.item)


LINES: dict[str, Check] = {
    "exposures": _checked(msgspec.json.Decoder(WireExposure).decode),
    "metrics": _checked(msgspec.json.Decoder(WireMetric).decode),
    "items": _noticed(wire.item, explain_item, _item),
    "interactions": _noticed(wire.interaction, explain_interaction, _who),
    "ranking.requests": _noticed(wire.request, explain_request, _who),
}
"""By topic: from a line and its number to what is to be published."""
