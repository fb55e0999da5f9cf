"""Rankers and lists made by hand, for tests of the rank stage, of training and of commands."""

import msgspec
import numpy as np

from operators.batches import Span
from operators.lists import Lists
from operators.noticed import Requests, item_key
from operators.rank import sealed
from schemas.ranker import Ranker, Trees

NAMES = ("price", "clicks", "age")


def trees(nodes, value=None, *, feature=None, threshold=None, missing_left=None, left=None, right=None):
    """Return trees of one node each, or what is given of them; `nodes` trees."""
    n = nodes
    return Trees(
        nodes=np.arange(n + 1, dtype="<i4").tobytes(),
        leaves=np.arange(0, 2 * n + 1, 2, dtype="<i4").tobytes(),
        feature=np.array([0] * n if feature is None else feature, "<i4").tobytes(),
        threshold=np.array([0.5] * n if threshold is None else threshold, "<f8").tobytes(),
        missing_left=np.array([0] * n if missing_left is None else missing_left, "u1").tobytes(),
        left=np.array([-1] * n if left is None else left, "<i4").tobytes(),
        right=np.array([-2] * n if right is None else right, "<i4").tobytes(),
        value=np.array([-1.0, 1.0] * n if value is None else value, "<f8").tobytes(),
    )


def ranker(version="one", **given):
    """Return a sealed ranker: a score of -1 up to a price of .5, and 1 above it."""
    fields = {
        "timestamp": 1_000,
        "features": ("price",),
        "trees": trees(1),
        "lists": 7,
        "figures": {"test_map@10": 0.5},
    }
    return sealed(Ranker(version=version, **(fields | given)))


def written(record):
    """Return a record as published."""
    return msgspec.json.encode(record)


def lists(features, *, names=NAMES, starts=None, popularity=None, relevancy=None, time_ms=None, first=0, muted=False):
    """Return lists of given candidates; by default each candidate is a list of its own.

    Args:
        features: a row for each candidate.
        names: of the features.
        starts: of the lists.
        popularity: of the candidates.
        relevancy: of the candidates, as the publisher told it; None: of none.
        time_ms: of the requests.
        first: offset of the first request.
        muted: as in `Span`.
    """
    features = np.array(features, np.float64).reshape(-1, len(names))
    m = len(features)
    starts = np.arange(m + 1) if starts is None else np.array(starts, np.int64)
    n = len(starts) - 1
    items = [f"item-{at}" for at in range(m)]
    keys = np.array([item_key(item) for item in items], np.uint64)
    told = np.full(m, np.nan) if relevancy is None else np.array(relevancy, np.float64)
    requests = Requests(
        offsets=np.arange(first, first + n),
        time_ms=np.full(n, 1_000) if time_ms is None else np.array(time_ms, np.int64),
        ids=[f"r-{first + at}" for at in range(n)],
        ranking=np.arange(first + 1, first + n + 1, dtype=np.uint64),
        users=["h1:a"] * n,
        user=np.ones(n, np.uint64),
        session=np.zeros(n, np.uint64),
        id_hash=np.ones(n, np.uint64),
        fields=[{}] * n,
        count=np.full(n, 10),
        starts=starts,
        item=keys.copy(),
        items=items,
        relevancy=told,
        item_fields=[{}] * m,
    )
    return Lists(
        span=Span(0, first, first + n, muted),
        topic="ranking.requests",
        requests=requests,
        flags=np.zeros(n, np.uint8),
        count=np.full(n, 10),
        starts=starts,
        item=keys,
        items=items,
        source=np.ones(m, np.uint8),
        signals_ms=np.full(m, -1),
        names=names,
        features=features,
        popularity=np.zeros(m) if popularity is None else np.array(popularity, np.float64),
        group=np.zeros(m, np.int64),
        risk=np.full(m, np.nan),
        offer=[""] * m,
        value=np.zeros(m),
        user_group=np.zeros(n, np.int64),
    )
