"""Figures of experiments as a person reads them. What is absent is said in words, never as a number or a sign."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from schemas.readout import Comparison, Interval

MINUS = "\N{MINUS SIGN}"
UNKNOWN = "not known"
SMALLEST = 1e-6
"""Chances below are said to be below."""


def percent(value: float | None, *, sign: bool = False) -> str:
    """Write a share as per cent: 12.3 %, 1.23 %, 0.0012 %."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{_marked(100.0 * value, _short, sign=sign)} %"


def points(value: float | None, *, sign: bool = False) -> str:
    """Write a difference of shares in percentage points."""
    return (
        UNKNOWN if value is None or not math.isfinite(value) else f"{_marked(100.0 * value, _short, sign=sign)} points"
    )


def plain(value: float | None, *, sign: bool = False) -> str:
    """Write a number in the metric's own unit."""
    return UNKNOWN if value is None or not math.isfinite(value) else _marked(value, _long, sign=sign)


def _marked(value: float, write: Callable[[float], str], *, sign: bool) -> str:
    mark = MINUS if value < 0.0 else "+" if sign and value > 0.0 else ""
    return mark + write(abs(value))


def _short(size: float) -> str:
    if size == 0.0:
        return "0"
    if size < 0.0995:
        return f"{size:.2g}" if size >= 1e-4 else "less than 0.0001"
    return f"{size:,.{0 if size >= 99.95 else 1 if size >= 9.995 else 2}f}"


def _long(size: float) -> str:
    if size >= 1000.0 or size == round(size):
        return f"{size:,.0f}"
    return f"{size:.{1 if size >= 99.95 else 2}f}" if size >= 0.995 else f"{size:.3g}"


def mean(value: float | None, one: Comparison) -> str:
    """Write the mean of an arm: a proportion as per cent."""
    return percent(value) if one.kind == "proportion" else plain(value)


def difference(value: float | None, one: Comparison) -> str:
    """Write a difference of two arms' means."""
    return points(value, sign=True) if one.kind == "proportion" else plain(value, sign=True)


def worse(value: float | None, one: Comparison) -> str:
    """Write how much worse a guardrail is or may be, in the unit of its margin."""
    if one.margin_of == "relative":
        return percent(value)
    return points(value) if one.kind == "proportion" else plain(value)


def lifts(interval: Interval, *, known: bool = True) -> str:
    """Write an interval of lifts.

    Args:
        interval: absent ends are without end if the estimate is known.
        known: whether it is.
    """
    lower, upper = interval.lower, interval.upper
    if not known:
        return UNKNOWN
    if lower is None:
        return "no end on either side" if upper is None else f"below {percent(upper, sign=True)}"
    if upper is None:
        return f"above {percent(lower, sign=True)}"
    return f"{percent(lower, sign=True)} to {percent(upper, sign=True)}"


def differences(interval: Interval, one: Comparison) -> str:
    """Write an interval of differences of two arms' means; absent ends are without end."""
    lower, upper = interval.lower, interval.upper
    if lower is None:
        return "no end on either side" if upper is None else f"below {difference(upper, one)}"
    if upper is None:
        return f"above {difference(lower, one)}"
    if lower > upper:
        return "empty"
    return f"{difference(lower, one)} to {difference(upper, one)}"


def chance(value: float | None) -> str:
    """Write a p-value."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if value < SMALLEST:
        return "below 1e-6"
    return f"{value:.2g}" if value >= 0.0001 else f"{value:.1e}".replace("e-0", "e-")


def evidence(log_e: float | None) -> str:
    """Write an e-value: 20 is twenty to one against there being no effect."""
    if log_e is None or math.isnan(log_e):
        return UNKNOWN
    if log_e > math.log(1e6):
        return "above 1e6"
    return plain(math.exp(log_e)) if log_e > math.log(0.01) else "below 0.01"


def count(value: float) -> str:
    """Write a count."""
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def moment(timestamp_ms: int) -> str:
    """Write a time to the minute, UTC."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
