"""A line of a file of exposures becomes what is published on `exposures`, or a refusal that says what is wrong."""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from flows.event_files import Ready, Refused
from operators.decode.explain import NOT_JSON, milliseconds, time_fault, unreadable
from schemas.exposure import Exposure


class _Wire(Exposure, frozen=True, kw_only=True, gc=False):
    """`Exposure`, with the time parsed and `attributes` checked but not built."""

    timestamp: int | float | Annotated[datetime, msgspec.Meta(tz=True)]  # type: ignore[assignment]
    attributes: dict[str, msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Wire).decode


def ready(value: bytes, line: int) -> Ready | Refused:
    """Check an exposure, and take its key, the user, and its time from it.

    Args:
        value: the exposure as JSON.
        line: its number.
    """
    if broken := unreadable(value):
        return Refused(line, broken.detail)
    try:
        exposure = _decode(value)
    except msgspec.ValidationError as error:  # its text names types and places, never a value
        return Refused(line, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused(line, NOT_JSON.detail)
    moment: Any = exposure.timestamp
    time_ms = milliseconds(moment) if isinstance(moment, datetime) else moment
    if fault := time_fault(time_ms):
        return Refused(line, fault.detail)
    # To librdkafka a timestamp of 0 means now.
    return Ready(line, exposure.user.encode(), value, max(1, int(time_ms)))
