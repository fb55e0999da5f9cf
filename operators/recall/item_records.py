"""Records of `ranking.catalogue`; every one is used, or leaves as a dead letter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from operators.batches import I64, U64, Bool, Rejected
from operators.decode.explain import EMPTY_VALUE, NOT_JSON, Fault, fault, unreadable
from operators.notice.explain import NO_ITEM_KEY
from operators.noticed import item_key
from operators.recall.item_fields import Told
from operators.side import Side
from schemas.dead_letter import Reason
from schemas.event import LAST_TIME_MS
from schemas.item import Field, ItemId, Value

F32 = NDArray[np.float32]

TOPIC: Final = "ranking.catalogue"

_OF_SHORT: Final = ("impressions", "weighted_clicks", "weighted_purchases", "weighted_click_rate", "exposure_share")
_OF_LONG: Final = (
    *_OF_SHORT,
    "click_rate",
    "weighted_purchase_rate",
    "weighted_debiased_rate",
    "risky_share",
)
_FADING: Final = (
    "impressions",
    "weighted_clicks",
    "weighted_purchases",
    "weighted_click_rate",
    "trending",
    "weighted_trending",
)
_OVERALL: Final = {
    "weighted_velocity_per_h": "weighted_velocity",
    "audience": "audience",
    "weighted_audience": "weighted_audience",
    "weighted_audience_entropy_nats": "weighted_entropy",
}


def _faded(name: str) -> str:
    """Return what `operators.signals.values` calls a sum that fades."""
    if name.endswith("trending"):
        return name
    return f"weighted_fading_{name.removeprefix('weighted_')}" if name.startswith("weighted_") else f"fading_{name}"


SIGNALS: Final = (
    *(f"{name}_short" for name in _OF_SHORT),
    *(f"{name}_long" for name in _OF_LONG),
    *map(_faded, _FADING),
    *_OVERALL.values(),
)
"""What is kept of an item's signals, named as in `operators.signals.values`, with `short` and `long` for the shortest
and the longest window of the record: users by their weight, and unweighted what weights leave open."""

_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Positive = Annotated[float, Meta(ge=0, le=1e30)]
_Time = Annotated[int, Meta(ge=0, le=LAST_TIME_MS)]


class Window(Struct, frozen=True, kw_only=True, gc=False):
    """What is read of `schemas.signals.Window`, as far as a float can hold it."""

    window_s: Annotated[int, Meta(ge=1)]
    impressions: _Count | None
    weighted_clicks: _Positive | None
    weighted_purchases: _Positive | None
    click_rate: _Positive | None = None
    weighted_click_rate: _Positive | None = None
    weighted_purchase_rate: _Positive | None = None
    weighted_debiased_rate: _Positive | None = None
    risky_share: _Share | None = None
    exposure_share: _Share | None = None


class Fading(Struct, frozen=True, kw_only=True, gc=False):
    """What is read of `schemas.signals.Fading`."""

    impressions: _Positive | None
    weighted_clicks: _Positive | None
    weighted_purchases: _Positive | None
    trending: _Positive | None
    weighted_trending: _Positive | None
    weighted_click_rate: _Positive | None = None


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """What is read of `schemas.signals.Signals`."""

    schema: Literal[1]
    item: ItemId
    timestamp: _Time
    windows: tuple[Window, ...]
    fading: Fading | None = None
    weighted_velocity_per_h: _Positive | None = None
    audience: _Count | None = None
    weighted_audience: _Positive | None = None
    weighted_audience_entropy_nats: _Positive | None = None
    since: _Time | None = None
    fields: tuple[Field, ...] = ()


_NO_WINDOW: Final = Window(window_s=1, impressions=None, weighted_clicks=None, weighted_purchases=None)
_NO_FADING: Final = Fading(
    impressions=None, weighted_clicks=None, weighted_purchases=None, trending=None, weighted_trending=None
)

_decode = msgspec.json.Decoder(Record).decode

_OTHER: Final = fault(Reason.WRONG_TYPE, "a record of ranking.catalogue, version 1", "another")
_OTHER_KEY: Final = fault(Reason.OUT_OF_RANGE, "the item as key", "another key", "item")
_WINDOWS: Final = fault(Reason.OUT_OF_RANGE, "windows from the shortest to the longest", "others", "windows")


@dataclass(frozen=True, slots=True)
class ItemRecords:
    """Records that could be read, as columns of length n, in the order of the topic.

    Attributes:
        key: `operators.noticed.item_key`, shape (n,).
        gone: whether the item was taken back; then nothing else is known of it, shape (n,).
        described: whether it has fields, as published on `items`, shape (n,).
        time_ms: `timestamp`, shape (n,).
        since_ms: when it was first heard of; -1 if that is not known, shape (n,).
        ids: of the items, n of them.
        signals: `SIGNALS`; NaN where one is not known, shape (n, S).
        told: what the fields say, n of them.
    """

    key: U64
    gone: Bool
    described: Bool
    time_ms: I64
    since_ms: I64
    ids: list[str]
    signals: F32
    told: list[Told]


def read_items(side: Side, read_fields: Callable[[Mapping[str, Value]], Told]) -> ItemRecords:
    """Read the records of a side, and fill in `side.rejected`."""
    found: list[tuple[str, Record | None]] = []
    side.rejected = []
    for key, value, offset, time_ms in zip(side.keys, side.values, side.offsets, side.timestamps_ms, strict=True):
        record = _read(key, value)
        if isinstance(record, Fault):
            side.rejected.append(Rejected(offset, time_ms, record.reason, record.detail))
        else:
            found.append((record.item if record is not None else (key or b"").decode(), record))
    nothing = read_fields({})
    records = [record for _, record in found]
    signals = np.array([_signals(record) for record in records], np.float64).reshape(-1, len(SIGNALS))
    return ItemRecords(
        np.array([item_key(name) for name, _ in found], np.uint64),
        np.array([record is None for record in records], np.bool_),
        np.array([record is not None and bool(record.fields) for record in records], np.bool_),
        np.array([-1 if record is None else record.timestamp for record in records], np.int64),
        np.array([-1 if record is None or record.since is None else record.since for record in records], np.int64),
        [name for name, _ in found],
        signals.astype(np.float32),
        [read_fields({each.name: each.value for each in record.fields}) if record else nothing for record in records],
    )


def _read(key: bytes | None, value: bytes | None) -> Record | Fault | None:
    if not key:
        return NO_ITEM_KEY
    try:
        name = key.decode()
    except UnicodeDecodeError:
        return _OTHER_KEY
    if value is None:  # a tombstone
        return None
    if not value:
        return EMPTY_VALUE
    if found := unreadable(value):
        return found
    try:
        record = _decode(value)
    except msgspec.ValidationError:
        return _OTHER
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOT_JSON
    if record.item != name:
        return _OTHER_KEY
    if any(before.window_s >= after.window_s for before, after in pairwise(record.windows)):
        return _WINDOWS
    return record


def _signals(record: Record | None) -> Sequence[float | None]:
    """Return `SIGNALS` of a record, None where one is not known; written out, for it is done for each record."""
    if record is None:
        return _UNKNOWN
    windows, f = record.windows, record.fading or _NO_FADING
    s, w = (windows[0], windows[-1]) if windows else (_NO_WINDOW, _NO_WINDOW)
    return (
        *(s.impressions, s.weighted_clicks, s.weighted_purchases, s.weighted_click_rate, s.exposure_share),
        *(w.impressions, w.weighted_clicks, w.weighted_purchases, w.weighted_click_rate, w.exposure_share),
        *(w.click_rate, w.weighted_purchase_rate, w.weighted_debiased_rate, w.risky_share),
        *(f.impressions, f.weighted_clicks, f.weighted_purchases, f.weighted_click_rate),
        *(f.trending, f.weighted_trending),
        *(record.weighted_velocity_per_h, record.audience, record.weighted_audience),
        record.weighted_audience_entropy_nats,
    )


_UNKNOWN: Final = (None,) * len(SIGNALS)
