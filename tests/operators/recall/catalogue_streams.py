"""Records of `ranking.catalogue`, made up, and sides of them."""

import msgspec
import numpy as np

from operators.noticed import item_key
from operators.side import Side
from schemas.item import Field
from schemas.signals import Fading, Signals, Window

START = 1_780_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


def window(window_s, **told):
    """Return a window in which nothing happened but what is told."""
    counts = dict.fromkeys(
        [f"{how}{kind}" for how in ("", "weighted_") for kind in ("impressions", "clicks", "purchases")], 0
    )
    return Window(window_s=window_s, **{**counts, **told})


def fading(**told):
    names = ("impressions", "clicks", "purchases", "trending")
    sums = dict.fromkeys([f"{how}{kind}" for how in ("", "weighted_") for kind in names], 0.0)
    return Fading(half_life_s=7 * 86_400.0, **{**sums, **told})


def record(item, time_ms=START, fields=None, rate=None, trending=0.0, shown=0.0, **told):
    """Return a record of an item, with what the shelves go by."""
    windows = told.pop("windows", (window(3_600), window(86_400)))
    sums = fading(weighted_click_rate=rate, weighted_trending=trending, impressions=shown)
    listed = tuple(Field(name=name, value=value) for name, value in (fields or {}).items())
    told = {"fading": sums, **told}
    return Signals(item=item, timestamp=time_ms, windows=windows, fields=listed, **told)


def wire(one):
    return msgspec.json.encode(one)


def side(*records, first=0, partition=3):
    """Return a side: records, ids of items that are taken back, or (key, value) as they lie in the topic."""
    keys, values = [], []
    for each in records:
        key, value = each if isinstance(each, tuple) else (None, None)
        if isinstance(each, str):
            key = each.encode()
        elif isinstance(each, Signals):
            key, value = each.item.encode(), wire(each)
        keys.append(key)
        values.append(value)
    offsets = list(range(first, first + len(records)))
    times = [START] * len(records)
    return Side(partition, "ranking.catalogue", 0, first, first + len(records), values, keys, offsets, times)


def keys(*items):
    return np.array([item_key(each) for each in items], np.uint64)


def stream(seed, n, items=40):
    """Return records of some items with tombstones, repeated and older ones among them, time going on."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(n):
        item = f"i{rng.integers(items)}"
        if rng.random() < 0.06:
            made.append(item)
            continue
        time_ms = START + k * 20_000 - int(rng.integers(0, 3)) * 30_000
        fields = {
            "price": float(rng.integers(1, 100)),
            "brand": f"b{rng.integers(4)}",
            "tags": (f"t{rng.integers(3)}", 1.0),
            "offer": f"o{rng.integers(3)}" if rng.random() < 0.5 else None,
            "seller_risk": float(rng.random()),
        }
        made.append(
            record(
                item,
                time_ms,
                {name: fields[name] for name in fields if rng.random() < 0.8},
                rate=float(rng.integers(0, 6)) / 100 if rng.random() < 0.8 else None,
                trending=float(rng.integers(0, 6)),
                shown=float(rng.integers(0, 50)),
                since=START + int(rng.integers(0, n)) * 20_000 if rng.random() < 0.9 else None,
            )
        )
    return made
