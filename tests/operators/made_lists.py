"""Lists as the stages of the ranking flow hand them on, made by hand or by chance."""

import dataclasses

import numpy as np

from operators.batches import Rejected, Span
from operators.lists import Judged, Lists, Scored
from operators.noticed import Requests, item_key

NOW = 1_700_000_000_000


def requests(ids, offsets, items, users=None, count=None):
    """Requests with these candidates: `items` is a list of lists of ids."""
    n, names = len(ids), [item for each in items for item in each]
    users = [f"h1:{name}" for name in ids] if users is None else users
    hashes = np.array([item_key(name) for name in ids], np.uint64)
    return Requests(
        offsets=np.array(offsets, np.int64),
        time_ms=NOW + 1_000 * np.array(offsets, np.int64),
        ids=list(ids),
        ranking=hashes,
        users=users,
        user=np.array([item_key(user) if user else 0 for user in users], np.uint64),
        session=np.zeros(n, np.uint64),
        id_hash=hashes,
        fields=[{}] * n,
        count=np.zeros(n, np.int64) if count is None else np.array(count, np.int64),
        starts=np.cumsum([0, *map(len, items)], dtype=np.int64),
        item=np.array([item_key(name) for name in names], np.uint64),
        items=names,
        relevancy=np.full(len(names), np.nan),
        item_fields=[{}] * len(names),
    )


def lists(scores, *, offsets=None, count=None, rejected=(), partition=0, versions=None, users=None, **columns):
    """Scored lists: `scores` has a list of numbers for each request; `columns` are of `Lists` or `Scored`, all flat."""
    n, sizes = len(scores), [len(each) for each in scores]
    m = sum(sizes)
    offsets = list(range(n)) if offsets is None else offsets
    count = sizes if count is None else count
    ids = [f"r{offset}" for offset in offsets]
    asked = requests(ids, offsets, [[f"i{at}" for at in range(size)] for size in sizes], users, count)
    every = [*offsets, *(each.offset for each in rejected)]
    span = Span(partition, min(every, default=0), max(every, default=-1) + 1)
    found = {
        "flags": np.zeros(n, np.uint8),
        "source": np.ones(m, np.uint8),
        "signals_ms": np.full(m, -1, np.int64),
        "names": ("first", "second"),
        "features": np.arange(2.0 * m).reshape(m, 2),
        "popularity": np.zeros(m),
        "group": np.zeros(m, np.int64),
        "risk": np.full(m, np.nan),
        "offer": [""] * m,
        "value": np.ones(m),
        "user_group": np.zeros(n, np.int64),
    }
    dtypes = {name: each.dtype for name, each in found.items() if isinstance(each, np.ndarray)}
    given = {
        name: np.asarray(value, dtypes[name]) if name in dtypes else value
        for name, value in columns.items()
        if name in found
    }
    made = Lists(
        span=span,
        topic="ranking.requests",
        requests=asked,
        count=np.array(count, np.int64),
        starts=asked.starts,
        item=asked.item,
        items=asked.items,
        versions=versions or {},
        rejected=list(rejected),
        **found | given,
    )
    probability = columns.get("probability")
    return Scored(
        made,
        np.array([score for each in scores for score in each], np.float64),
        np.full(m, np.nan) if probability is None else np.array(probability, np.float64),
        columns.get("model", "fallback"),
    )


def by_chance(rng, n=6, most=12, first=0):
    """Scored lists of random sizes, scores, groups, risks and offers; some requests cannot be read."""
    offsets = list(range(first, first + n))
    bad = [offset for offset in offsets if rng.random() < 0.2]
    good = [offset for offset in offsets if offset not in bad]
    sizes = [int(rng.integers(0, most)) for _ in good]
    m = sum(sizes)
    return lists(
        [rng.choice([0.1, 0.25, 0.5, 2.0, 3.75], size).tolist() for size in sizes],
        offsets=good,
        count=[int(rng.integers(1, most + 3)) for _ in good],
        rejected=[Rejected(offset, NOW + offset, "not_json", "") for offset in bad],
        versions={"0": 7},
        flags=rng.choice([0, 0, 0, 1, 2], len(good)),
        source=rng.integers(1, 64, m),
        signals_ms=rng.choice([-1, NOW], m),
        popularity=rng.random(m),
        group=rng.integers(0, 3, m),
        risk=rng.choice([np.nan, 0.0, 0.3, 1.0], m),
        offer=rng.choice(["", "a", "b", "c"], m).tolist(),
        value=rng.choice([1.0, 2.0], m),
        probability=rng.random(m),
        model="m1",
    )


def joined(pieces):
    """One batch of several that follow each other, without what could not be read."""
    every = [each.lists for each in pieces]
    asked = [each.requests for each in every]

    def flat(those, name):
        return [each for one in those for each in getattr(one, name)]

    def column(those, name):
        return np.concatenate([getattr(one, name) for one in those])

    def starts(those):
        return np.cumsum([0, *(size for one in those for size in np.diff(one.starts))], dtype=np.int64)

    texts = {"ids", "users", "fields", "items", "item_fields"}
    names = [field.name for field in dataclasses.fields(Requests) if field.name != "starts"]
    together = Requests(
        starts=starts(asked), **{name: (flat if name in texts else column)(asked, name) for name in names}
    )
    columns = ("flags", "count", "item", "source", "signals_ms", "features", "popularity", "group", "risk", "value")
    made = dataclasses.replace(
        every[0],
        span=dataclasses.replace(every[0].span, next=every[-1].span.next),
        requests=together,
        starts=starts(every),
        rejected=flat(every, "rejected"),
        **{name: column(every, name) for name in (*columns, "user_group")},
        **{name: flat(every, name) for name in ("items", "offer")},
    )
    return Scored(made, column(pieces, "score"), column(pieces, "probability"), pieces[0].model)


def muted(scored):
    """The same while rolling forward."""
    span = dataclasses.replace(scored.lists.span, muted=True)
    return dataclasses.replace(scored, lists=dataclasses.replace(scored.lists, span=span))


def judged(stage, scored, quality=(), alarms=()):
    """What the last stage gets."""
    return Judged(stage.process(scored), list(quality), list(alarms))
