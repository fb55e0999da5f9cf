"""Signals as records: what `operators.signals.merge` says is due, in the form of `schemas.signals`."""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any, Final

import numpy as np

from operators.batches import F64
from operators.signals.config import CountItemsConfig
from operators.signals.values import OVERALL, PER_WINDOW
from schemas.item import Field
from schemas.signals import Fading, Signals, Window

_DIGITS: Final = 6
_COUNTS: Final = 3  # of a window, those that are whole: impressions, clicks, purchases

_FADING: Final = ("impressions", "clicks", "purchases", "click_rate", "trending")
_PLACES: Final = {name: at for at, name in enumerate(OVERALL)}
_OF_FADING: Final = tuple(
    (f"{how}{name}", _PLACES[f"{how}{name}" if name == "trending" else f"{how}fading_{name}"])
    for how in ("", "weighted_")
    for name in _FADING
)
_OF_ITEM: Final = (
    ("velocity_per_h", _PLACES["velocity"]),
    ("weighted_velocity_per_h", _PLACES["weighted_velocity"]),
    ("weighted_audience", _PLACES["weighted_audience"]),
    ("audience_entropy_nats", _PLACES["entropy"]),
    ("weighted_audience_entropy_nats", _PLACES["weighted_entropy"]),
)


def rounded(values: F64) -> F64:
    """Return numbers with `_DIGITS` significant digits, those that are shortest to write; NaN stays."""
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = _DIGITS - 1 - np.floor(np.log10(np.where(size > 0.0, size, 1.0)))
    up, down = 10.0 ** np.clip(digits, 0, 300), 10.0 ** np.clip(-digits, 0, 300)
    return np.asarray(np.where(digits >= 0, np.rint(values * up) / up, np.rint(values / down) * down), np.float64)


def record(
    config: CountItemsConfig,
    item: str,
    version_ms: int,
    exact: Sequence[float],
    values: Sequence[float],
    since_ms: int,
    offsets: Mapping[str, int],
    fields: tuple[Field, ...],
) -> Signals:
    """Return one item's record.

    Args:
        config: under which interactions were counted.
        item: its id.
        version_ms: time that names this version.
        exact: its signals in the order of `operators.signals.values.names_of`; NaN where not known.
        values: the same, rounded.
        since_ms: when it was first heard of.
        offsets: next record of `interactions`, by partition, that is not in it.
        fields: its properties.
    """
    width = len(PER_WINDOW)
    windows = []
    for w, window_s in enumerate(config.windows_s):
        counts = {name: int(exact[w * width + at]) for at, name in enumerate(PER_WINDOW[:_COUNTS])}
        rest: Any = _known(zip(PER_WINDOW[_COUNTS:], values[w * width + _COUNTS : (w + 1) * width], strict=True))
        windows.append(Window(window_s=window_s, **counts, **rest))
    first = len(config.windows_s) * width
    fading = _known((name, values[first + at]) for name, at in _OF_FADING)
    others: Any = _known((name, values[first + at]) for name, at in _OF_ITEM)
    return Signals(
        item=item,
        timestamp=version_ms,
        windows=tuple(windows),
        fading=Fading(half_life_s=float(config.half_life_s), **fading),
        audience=int(exact[first + _PLACES["audience"]]),
        offsets=dict(offsets),
        since=since_ms,
        fields=fields,
        **others,
    )


def _known(named: Iterable[tuple[str, float]]) -> dict[str, float]:
    return {name: value for name, value in named if not isnan(value)}
