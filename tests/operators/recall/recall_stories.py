"""Requests, and stories for the whole stage: what becomes known of items, what users do, and what they ask."""

import dataclasses

import numpy as np
from catalogue_streams import record, side
from cutting import canonical
from recall_reference import SECOND, category_of, interactions, number_of
from recall_reference import stream as rows_of

from operators.batches import Span
from operators.noticed import Noticed, Requests, item_key
from operators.recall.catalogue_config import CatalogueConfig
from operators.recall.config import (
    CandidatesConfig,
    CoVisitsConfig,
    FeaturesConfig,
    RecallConfig,
    TimeConfig,
    UsersConfig,
)
from operators.recall.stage import Recall
from operators.side import Side

CATALOGUE = CatalogueConfig(number_fields=("price",), category_fields=("brand",))


def asked(*told, first=0):
    """Return requests, each told as a dict, as a batch.

    Keys: `id`, `time_ms`, `user`, `session`, `count`, `fields`, and `items`: ids, or (id, relevancy, fields).
    """
    listed = [
        [each if isinstance(each, tuple) else (each, np.nan, {}) for each in one.get("items", ())] for one in told
    ]
    items = [each for one in listed for each in one]
    n = len(told)
    ids = [one.get("id", f"r{first + k}") for k, one in enumerate(told)]
    user = np.array([one.get("user", 0) for one in told], np.uint64)
    hashes = [item_key(f"{ids[k]} {user[k]}") for k in range(n)]
    rows = Requests(
        offsets=np.arange(first, first + n),
        time_ms=np.array([one["time_ms"] for one in told], np.int64),
        ids=ids,
        ranking=np.array([item_key(each) for each in ids], np.uint64),
        users=[f"h1:{each}" if each else "" for each in user.tolist()],
        user=user,
        session=np.array([one.get("session", 0) for one in told], np.uint64),
        id_hash=np.array(hashes, np.uint64),
        fields=[one.get("fields", {}) for one in told],
        count=np.array([one.get("count", 0) for one in told], np.int64),
        starts=np.cumsum([0, *map(len, listed)]),
        item=np.array([item_key(each[0]) for each in items], np.uint64),
        items=[each[0] for each in items],
        relevancy=np.array([each[1] for each in items], np.float64),
        item_fields=[each[2] for each in items],
    )
    return Noticed(Span(3, first, first + n), "ranking.requests", rows, events=n)


def acted(listed, first=0):
    """Return rows as a side of `interactions`; an item of number n is called `i<n>`."""
    rows = interactions([row._replace(item=item_key(f"i{row.item}")) for row in listed], first)
    nothing = [b""] * len(listed)
    places = list(range(first, first + len(listed)))
    return Side(3, "interactions", 0, first, first + len(listed), nothing, nothing, places, places, noticed=rows)


def described(items, time_ms, first=0, **told):
    """Return items by number as a side of the catalogue, with the price and brand of `recall_reference`."""
    records = [
        record(f"i{n}", time_ms, {"price": number_of(n), "brand": str(category_of(n) or "")}, since=time_ms, **told)
        for n in items
    ]
    return side(*records, first=first)


def small(**changes):
    """Return settings with bounds that a story runs into."""
    config = RecallConfig(
        count=5,
        catalogue=dataclasses.replace(CATALOGUE, max_items=16, new_for_s=3_600),
        users=UsersConfig(max_users=12, recent=5, categories=2, half_life_s=1_800, promote_after_s=60),
        covisits=CoVisitsConfig(max_items=15, others=3, session_gap_s=600, half_life_s=3_600, promote_after_s=60),
        candidates=CandidatesConfig(popular=8, trending=5, co_visited=6, recent=3, new=3, max_candidates=16),
        features=FeaturesConfig(request_numbers=("basket",), candidate_numbers=("discount",), place=True),
        time=TimeConfig(allowed_lateness_s=120, max_gap_s=7_200, dedup_window_s=300, dedup_max=12),
    )
    return dataclasses.replace(config, **changes)


def story(seed, n=400):
    """Return single records of all three kinds in the order of time: ("items" | "acts" | "asks", what)."""
    rng = np.random.default_rng(seed)
    rows = rows_of(seed, n, items=20, users=20, late=0.03)
    told, newest = [], 0
    for k, row in enumerate(rows):
        newest = max(newest, row.time_ms)
        if rng.random() < 0.2:
            number = int(rng.integers(30))
            fields = {"price": number_of(number), "brand": str(category_of(number) or "")}
            sums = {"rate": float(rng.integers(5)) / 100, "trending": float(rng.integers(4))}
            since = newest - int(rng.integers(7_200)) * SECOND
            one = f"i{number}" if rng.random() < 0.1 else record(f"i{number}", newest, fields, since=since, **sums)
            told.append(("items", one))
        told.append(("acts", row))
        if rng.random() < 0.3:
            given = [(f"i{each}", float(rng.random()), {"discount": float(each)}) for each in rng.integers(32, size=6)]
            told.append(
                (
                    "asks",
                    {
                        "id": f"r{k - int(rng.random() < 0.1)}",
                        "time_ms": row.time_ms,
                        "user": row.user,
                        "session": row.session,
                        "items": given if rng.random() < 0.5 else [],
                        "fields": {"basket": float(k)} if rng.random() < 0.5 else {},
                        "count": int(rng.integers(8)),
                    },
                )
            )
    return told


MADE = {
    "items": lambda listed, first: side(*listed, first=first),
    "acts": acted,
    "asks": lambda l, f: asked(*l, first=f),
}


def batched(told, most):
    """Return a story as batches and sides: neighbours of a kind together, `most` of them at the most."""
    found, ends, k = [], dict.fromkeys(MADE, 0), 0
    while k < len(told):
        kind, end = told[k][0], k
        while end < len(told) and end - k < most and told[end][0] == kind:
            end += 1
        found.append(MADE[kind]([each for _, each in told[k:end]], ends[kind]))
        ends[kind] += end - k
        k = end
    return found


def answered(stage, batches):
    """Return what a stage says of each request, one entry each."""
    found = []
    for batch in batches:
        if isinstance(batch, Side):
            stage.take_side(batch)
        else:
            found += each_of(stage.process(batch))
    return found


def each_of(lists):
    """Return what is said of each request in a form where `==` means equal to the last bit."""
    found, m, n = [], len(lists.items), lists.events
    for k in range(n):
        low, high = lists.starts[k], lists.starts[k + 1]
        entry = {"names": lists.names, "versions": dict(lists.versions), "id": lists.requests.ids[k]}
        for field in dataclasses.fields(lists):
            value = getattr(lists, field.name)
            if field.name in ("flags", "count", "user_group"):
                entry[field.name] = int(value[k])
            elif field.name in ("item", "items", "source", "signals_ms", "features", "popularity", "group", "risk",
                                "offer", "value"):  # fmt: skip
                assert len(value) == m, f"expected {m}, got {len(value)} - at {field.name}"
                entry[field.name] = canonical(value[low:high])
        found.append(entry)
    return found


def features(lists):
    """Return the features of all candidates: one dict of name -> value each."""
    return [dict(zip(lists.names, row, strict=True)) for row in lists.features.tolist()]


def made(config=None):
    return Recall(config or small())
