"""Figures as a person reads them."""

import math
from datetime import UTC, datetime


def share(value: float) -> str:
    """Write a share as per cent with as many digits as it takes, `-` where there is none."""
    if math.isnan(value):
        return "-"
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 99.95 else f"{percent:.1f} %" if percent >= 10 else f"{percent:.2f} %"


def figure(value: float) -> str:
    """Write a figure between 0 and 1 with three decimals."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def small(value: float) -> str:
    """Write a figure between 0 and 1 that may be far below one, with three significant digits."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def number(value: float) -> str:
    """Write a count."""
    return "-" if math.isnan(value) else f"{value:,.0f}"


def partitions(count: int) -> str:
    """Write a number of partitions."""
    return f"{count} partition{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    if math.isnan(seconds):
        return "-"
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def moment(timestamp_ms: int) -> str:
    """Write event time to the minute, UTC."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def clock(timestamp_ms: int) -> str:
    """Write event time as the hour of a day, UTC."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%d %b %H:%M")
