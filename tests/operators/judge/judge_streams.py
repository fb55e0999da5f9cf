"""Lists and interactions for the judge stage: small ones by hand, and random streams with all that may go wrong."""

import itertools
import random
from typing import NamedTuple

import numpy as np

from operators.batches import AHEAD, DUPLICATE, LATE, Span
from operators.judge import JudgeConfig
from operators.lists import Lists, Ordered, Scored
from operators.noticed import CLICK, IMPRESSION, OTHER, PURCHASE, Interactions, Requests
from operators.side import Side
from ranking.gain import ranking
from ranking.rerank import Step

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR


class Asked(NamedTuple):
    """One list, all of it by candidate but time, user, id, places shown, flag, user group and steps."""

    time_ms: int
    item: list[int]
    user: int = 1
    ranking: int = 1
    count: int = 10
    session: int = 0
    flag: int = 0
    user_group: int = 0
    model: str = "m1"
    steps: tuple[Step, ...] = ()
    after: list[int] | None = None
    score: list[float] | None = None
    popularity: list[float] | None = None
    probability: list[float] | None = None
    group: list[int] | None = None
    source: list[int] | None = None


class Did(NamedTuple):
    """One interaction."""

    time_ms: int
    item: int
    kind: int = CLICK
    user: int = 1
    ranking: int = 0
    session: int = 0


def ordered(listed, first=0, partition=0):
    """Return lists as one batch, each a record of its own; the ranker is that of the first of them."""
    n, item = len(listed), [item for one in listed for item in one.item]
    starts = np.cumsum([0, *(len(one.item) for one in listed)], dtype=np.int64)

    def column(name, default, kind):
        values = [getattr(one, name) or [default] * len(one.item) for one in listed]
        return np.array([value for each in values for value in each], kind)

    def one_each(name, kind):
        return np.array([getattr(one, name) for one in listed], kind)

    offsets = np.arange(first, first + n)
    items = [f"item-{each}" for each in item]
    requests = Requests(
        offsets=offsets,
        time_ms=one_each("time_ms", np.int64),
        ids=[f"r-{at}" for at in offsets],
        ranking=one_each("ranking", np.uint64),
        users=["h1:x"] * n,
        user=one_each("user", np.uint64),
        session=one_each("session", np.uint64),
        id_hash=np.ones(n, np.uint64),
        fields=[{}] * n,
        count=one_each("count", np.int64),
        starts=starts,
        item=np.array(item, np.uint64),
        items=items,
        relevancy=np.full(len(item), np.nan),
        item_fields=[{}] * len(item),
    )
    nothing = np.full(len(item), np.nan)
    lists = Lists(
        span=Span(partition, first, first + n),
        topic="ranking.requests",
        requests=requests,
        flags=one_each("flag", np.uint8),
        count=one_each("count", np.int64),
        starts=starts,
        item=np.array(item, np.uint64),
        items=items,
        source=column("source", 1, np.uint8),
        signals_ms=np.full(len(item), -1),
        names=(),
        features=np.zeros((len(item), 0)),
        popularity=column("popularity", 0.0, np.float64),
        group=column("group", 0, np.int64),
        risk=nothing,
        offer=[""] * len(item),
        value=nothing,
        user_group=one_each("user_group", np.int64),
    )
    score = column("score", 0.0, np.float64)
    scored = Scored(lists, score, column("probability", np.nan, np.float64), listed[0].model if listed else "m1")
    after = [one.after if one.after is not None else list(range(len(one.item))) for one in listed]
    before = [ranking(score[low:high]) for low, high in itertools.pairwise(starts)]
    return Ordered(
        scored,
        np.concatenate([np.zeros(0, np.int64), *before]),
        np.array([place for each in after for place in each], np.int64),
        [one.steps for one in listed],
    )


def side(listed, at=0):
    """Return interactions as records of the side topic."""
    columns = {name: [getattr(one, name) for one in listed] for name in Did._fields}
    n = len(listed)
    rows = Interactions(
        offsets=np.arange(n),
        time_ms=np.array(columns["time_ms"], np.int64),
        kind=np.array(columns["kind"], np.uint8),
        user=np.array(columns["user"], np.uint64),
        session=np.array(columns["session"], np.uint64),
        item=np.array(columns["item"], np.uint64),
        items=[f"item-{one.item}" for one in listed],
        ranking=np.array(columns["ranking"], np.uint64),
        position=np.full(n, -1),
        id_hash=np.ones(n, np.uint64),
    )
    return Side(0, "interactions", at, 0, n, [b""] * n, [b""] * n, list(range(n)), [0] * n, noticed=rows)


def batches(stream, cuts=()):
    """Return a stream of lists and interactions as batches and sides, cut where the kind or the ranker changes.

    Args:
        stream: in the order in which the stage sees it.
        cuts: places of the stream to cut before, too.
    """
    found, run, first = [], [], 0

    def close():
        nonlocal first
        if not run:
            return
        if isinstance(run[0], Asked):
            found.append(ordered(run, first))
            first += len(run)
        else:
            found.append(side(run, first))
        run.clear()

    for at, one in enumerate(stream):
        other = run and (type(one) is not type(run[0]) or getattr(one, "model", "") != getattr(run[0], "model", ""))
        if other or at in cuts:
            close()
        run.append(one)
    close()
    return found


GROUPS, USER_GROUPS = ("women", "local"), ("new",)
CONFIG = JudgeConfig(
    within_s=600,
    lateness_s=30,
    window_s=900,
    k=4,
    max_lists=40,
    max_kept=8,
    max_gap_s=7_200,
    tolerance=0.02,
    alpha=0.3,
    shares={"local": 0.3},
)


def _group(rng, place, *, biased):
    return int(place < 3) if biased and rng.random() < 0.9 else rng.choice((0, 0, 1, 2))


def random_list(rng, time_ms, number, *, biased):
    """Return a list; of a biased one the first places go to the first group mostly."""
    n = rng.choice((0, 1, 2, 5, 8, 12))
    item = rng.sample(range(1, 30), n)
    known = rng.random() < 0.8
    order = list(range(n))
    rng.shuffle(order)
    before = np.array(order, np.int64)
    rng.shuffle(order)
    step = Step(rng.choice(("uplift", "risk", "fairness")), before, np.array(order), np.zeros(n, np.int8), rng.random())
    return Asked(
        time_ms=time_ms,
        item=item,
        user=rng.choice((0, 1, 2, 3, 4, 5)),
        session=rng.choice((0, 91, 92)),
        ranking=number if rng.random() < 0.9 else max(1, number - rng.randrange(5)),
        count=rng.choice((1, 3, 6, 10)),
        flag=rng.choice((0,) * 20 + (LATE, DUPLICATE, AHEAD)),
        user_group=rng.choice((0, 1)),
        model="m1" if time_ms < START + 50 * MINUTE else "m2",
        steps=(step,) if n and rng.random() < 0.5 else (),
        after=order,
        score=[rng.choice((0.0, 0.5, rng.random())) for _ in item],
        popularity=[float(rng.randrange(4)) for _ in item],
        probability=[rng.random() ** 3 if known and rng.random() < 0.95 else float("nan") for _ in item],
        group=[_group(rng, order.index(c), biased=biased) for c in range(n)],
        source=[rng.randrange(1, 64) for _ in item],
    )


def random_stream(seed, n=400, pace=20 * SECOND):
    """Return lists and interactions, out of order, repeated, flagged, with jumps and with lists of other users."""
    rng = random.Random(seed)
    found, now, lists = [], START, []
    for at in range(n):
        now += rng.choice((0, rng.randrange(pace), pace))
        when = now - rng.choice((0, 0, 0, rng.randrange(200 * SECOND), 20 * MINUTE))
        if rng.random() < 0.4:
            lists.append(random_list(rng, when, at + 1, biased=seed % 2 == 1))
            found.append(lists[-1])
            continue
        if rng.random() < 0.02:
            found.append(Did(now + rng.choice((3, 100)) * HOUR, 1, user=rng.randrange(1, 4)))
            continue
        of = rng.choice(lists[-12:]) if lists and rng.random() < 0.8 else None
        item = rng.choice(of.item) if of and of.item and rng.random() < 0.9 else rng.randrange(1, 30)
        user = of.user if of and rng.random() < 0.8 else rng.randrange(6)
        kind = rng.choice((CLICK, CLICK, PURCHASE, IMPRESSION, OTHER))
        did = Did(when, item, kind, user, of.ranking if of else rng.choice((0, 999)), of.session if of else 0)
        found += [did] * rng.choice((1, 1, 1, 2))
    return [*found, Asked(now + 8 * HOUR, [1], ranking=10**6), Asked(now + 16 * HOUR, [1], ranking=10**6 + 1)]
