"""Records of a small shop, as publishers and the signals flow write them: requests, interactions, items, rankers."""

import json

import msgspec
import numpy as np

from operators.rank import sealed
from operators.rank.model import encoded
from schemas.item import Field
from schemas.ranker import Ranker, Trees
from schemas.signals import Fading, Signals, Window

NOW = 1_700_000_000_000
ITEMS = tuple(f"item-{at}" for at in range(30))
SELLERS = ("large", "large", "small")


def request(number, user, time_ms=NOW, *, items=(), count=None, **more):
    """As JSON's dict; `items` are ids."""
    found = {"event": "ranking", "id": f"r{number}", "timestamp": time_ms, "user": user, **more}
    if items:
        found["items"] = [{"id": item} for item in items]
    return found if count is None else {**found, "count": count}


def interaction(number, user, item, time_ms=NOW, kind="click", ranking=None, **more):
    found = {"event": "interaction", "id": f"i{number}", "timestamp": time_ms, "user": user, "type": kind, "item": item}
    return {**found, **({} if ranking is None else {"ranking": ranking}), **more}


def catalogue(at, time_ms=NOW, clicks=None):
    """Key and value of item `at`: the larger, the more popular, unless clicks are told; every third is of a small
    seller, the first ones are risky, and offers follow each other."""
    clicks = float(10 * (at + 1) if clicks is None else clicks)
    counts = {"impressions": 1_000, "clicks": int(clicks), "purchases": 1}
    weighted = {"weighted_impressions": 1_000.0, "weighted_clicks": clicks, "weighted_purchases": 1.0}
    rates = {"click_rate": clicks / 1_000, "weighted_click_rate": clicks / 1_000}
    record = Signals(
        item=f"item-{at}",
        timestamp=time_ms,
        windows=(Window(window_s=3_600, **counts, **weighted, **rates),),
        fading=Fading(
            half_life_s=3_600.0,
            **{name: float(value) for name, value in (counts | weighted | rates).items()},
            trending=clicks,
            weighted_trending=clicks,
        ),
        since=time_ms - 30 * 86_400_000,
        fields=(
            Field(name="seller", value=SELLERS[at % 3]),
            Field(name="risk", value=0.9 if at < 3 else 0.0),
            Field(name="offer", value=("control", "coupon")[at % 2]),
        ),
    )
    return f"item-{at}".encode(), msgspec.json.encode(record)


def ranker(version, feature, *, least=0.0, slope=1.0, curve=True):
    """A ranker of ten stumps: how many of the thresholds least, least + 1, ... the feature passes, times slope."""
    n = 10

    def bytes_of(values, dtype):
        return np.asarray(values, dtype).tobytes()

    trees = Trees(
        nodes=bytes_of(range(n + 1), "<i4"),
        leaves=bytes_of(range(0, 2 * n + 1, 2), "<i4"),
        feature=bytes_of([0] * n, "<i4"),
        threshold=bytes_of([least + at for at in range(n)], "<f8"),
        missing_left=bytes_of([1] * n, "<u1"),
        left=bytes_of([-1] * n, "<i4"),
        right=bytes_of([-2] * n, "<i4"),
        value=bytes_of([0.0, slope] * n, "<f8"),
    )
    places = (min(0.0, slope * n), max(0.0, slope * n) + 1.0) if curve else ()
    record = Ranker(
        version=version,
        timestamp=NOW,
        features=(feature,),
        trees=trees,
        curve=places,
        probability=(0.01, 0.3) if curve else (),
        figures={"test_ndcg@10": 0.123456789},
        lists=100,
    )
    return encoded(sealed(record))


def wire(record):
    return json.dumps(record).encode()
