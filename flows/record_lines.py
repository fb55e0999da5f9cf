"""Lines of files become what is published on `exposures` or `metrics`, or refusals that say what is wrong."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from flows.event_files import Check, Ready, Refused
from operators.decode.explain import NOT_JSON, milliseconds, time_fault, unreadable
from operators.decode.wire import WireExposure, WireMetric


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


LINES: dict[str, Check] = {
    "exposures": _checked(msgspec.json.Decoder(WireExposure).decode),
    "metrics": _checked(msgspec.json.Decoder(WireMetric).decode),
}
"""By topic: from a line and its number to what is to be published."""
