"""Users and items visited together by brute force: every interaction is kept, and every figure worked out from all."""

import math
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from operators.batches import DUPLICATE, LATE
from operators.noticed import CLICK, IMPRESSION, OTHER, PURCHASE, Interactions
from operators.recall.config import CoVisitsConfig, TimeConfig, UsersConfig

SECOND, HOUR = 1_000, 3_600_000
START = 1_700_000_000_000
TIME = TimeConfig()
USERS = UsersConfig(max_users=1_000, recent=64, half_life_s=3_600)
COVISITS = CoVisitsConfig(max_items=1_000, others=64, session_gap_s=900, half_life_s=7_200, damping=0.5)


class Row(NamedTuple):
    kind: int
    item: int
    user: int
    time_ms: int
    id_hash: int
    session: int = 0


def interactions(listed, first=0):
    """Return rows as columns; each is a record of its own."""
    columns = list(zip(*listed, strict=True)) or [()] * len(Row._fields)
    kind, item, user, time_ms, id_hash, session = columns
    n = len(listed)
    return Interactions(
        offsets=np.arange(first, first + n), time_ms=np.array(time_ms, np.int64), kind=np.array(kind, np.uint8),
        user=np.array(user, np.uint64), session=np.array(session, np.uint64), item=np.array(item, np.uint64),
        items=[f"i{each}" for each in item], ranking=np.zeros(n, np.uint64), position=np.full(n, -1, np.int64),
        id_hash=np.array(id_hash, np.uint64),
    )  # fmt: skip


def number_of(item):
    """Return the number of an item, such as its price; every fifth has none."""
    return math.nan if item % 5 == 0 else float(item % 7) + 0.25


def category_of(item):
    """Return the category of an item; every fourth has none."""
    return 0 if item % 4 == 0 else 100 + item % 3


def told(listed):
    """Return what the catalogue says of the items of some rows: numbers and categories."""
    numbers = np.array([[number_of(row.item)] for row in listed]).reshape(-1, 1)
    return numbers, np.array([[category_of(row.item)] for row in listed], np.uint64).reshape(-1, 1)


def stream(seed, n=1_500, *, items=12, users=15, step_s=20, late=0.02, repeated=0.03):
    """Return rows with ties, disorder, late rows, repeats, sessions with and without names, and nobody."""
    rng, listed, now = np.random.default_rng(seed), [], START
    for number in range(n):
        now += int(rng.exponential(step_s)) * SECOND
        user = int(rng.integers(users))
        session = int(rng.integers(1, 4)) * 10**6 + user if user % 3 == 0 else 0
        at = now - int(rng.integers(0, 60)) * SECOND - (2 * HOUR if rng.random() < late else 0)
        kind = int(rng.choice((IMPRESSION, CLICK, PURCHASE, OTHER), p=(0.5, 0.3, 0.15, 0.05)))
        who = 0 if user < 2 else 1 + user * 1_000_003
        listed.append(Row(kind, int(1 + items * rng.random() ** 2), who, at, 1 + number, session))
        if rng.random() < repeated:
            listed.append(listed[int(rng.integers(max(0, len(listed) - 30), len(listed)))])
    return listed


def counting(listed, config=TIME):
    """Return the rows that count, and stream time; nothing may lie ahead."""
    stream_ms, seen, counted, flags = None, {}, [], []
    for row in listed:
        stream_ms = row.time_ms if stream_ms is None else stream_ms
        since = seen.get(row.id_hash)
        if since is not None and stream_ms - since <= config.dedup_window_s * SECOND:
            flags.append(DUPLICATE)
            continue
        if row.time_ms < stream_ms - config.allowed_lateness_s * SECOND:
            flags.append(LATE)
            continue
        assert row.time_ms <= stream_ms + config.max_gap_s * SECOND
        stream_ms = max(stream_ms, row.time_ms)
        seen[row.id_hash] = stream_ms
        flags.append(0)
        if (row.user or row.session) and row.kind != OTHER:
            counted.append(row)
    return counted, stream_ms, flags


def faded(terms, now_ms, half_life_s):
    """Return the sum of (time, term), each halved for each half-life."""
    return sum(term * 0.5 ** ((now_ms - at) / (half_life_s * SECOND)) for at, term in terms)


def who(row):
    return row.user or row.session


def acts(counted, user):
    return [row for row in counted if who(row) == user and row.kind in (CLICK, PURCHASE)]


def of_user(counted, user, now_ms, config=USERS):
    """Return the columns of a user in the order of `OF_USER`; None of whom nothing is known."""
    own = [row for row in counted if who(row) == user]
    if not own:
        return None
    sums = [
        faded([(row.time_ms, 1.0) for row in own if row.kind == kind], now_ms, config.half_life_s)
        for kind in (IMPRESSION, CLICK, PURCHASE)
    ]
    rate = sums[1] / sums[0] if sums[0] else math.nan
    idle_s = (now_ms - max(row.time_ms for row in own)) / SECOND
    acted = [row.time_ms for row in acts(own, user)]
    since_s = (now_ms - max(acted)) / SECOND if acted else math.nan
    return [*sums, rate, idle_s, since_s, len({row.item for row in own})]


def sessions(counted, gap_s):
    """Return the sessions of all users: of each the time at which each item was first clicked or bought."""
    found = []
    for user in {who(row): None for row in counted}:
        name, newest = None, None
        for row in acts(counted, user):
            goes_on = name == row.session and (row.session or abs(row.time_ms - newest) <= gap_s * SECOND)
            if not goes_on:
                found.append({})
            name, newest = row.session, row.time_ms if newest is None else max(newest, row.time_ms)
            found[-1].setdefault(row.item, row.time_ms)
    return found


def together(counted, config=COVISITS):
    """Return times at which each item, and each pair in either order, was counted; the later of a pair is second."""
    single, both = defaultdict(list), defaultdict(list)
    for session in sessions(counted, config.session_gap_s):
        earlier = []
        for item, at in session.items():  # in the order in which they came
            single[item].append((at, 1.0))
            for other in earlier:
                both[other, item].append((at, 1.0))
                both[item, other].append((at, 1.0))
            earlier.append(item)
    return single, both


def score(single, both, item, other, now_ms, config=COVISITS):
    """Return the score of `other` beside `item`."""
    joint = faded(both.get((item, other), []), now_ms, config.half_life_s)
    if not joint:
        return 0.0
    mine, its = (faded(single[each], now_ms, config.half_life_s) for each in (item, other))
    cosine = joint / math.sqrt(max(mine, joint) * max(its, joint))
    return cosine * joint / (joint + config.damping)


def last_categories(counted, user, most):
    """Return the categories that a user clicked last."""
    clicked = [category_of(row.item) for row in counted if who(row) == user and row.kind == CLICK]
    return list(dict.fromkeys(each for each in reversed(clicked) if each))[:most]


def of_pair(counted, user, item, now_ms, users=USERS, covisits=COVISITS):
    """Return the columns of a user and an item in the order of `OF_PAIR`, then its number minus the user's mean."""
    own = [row for row in counted if who(row) == user]
    times = Counter(row.kind for row in own if row.item == item)
    at = [row.time_ms for row in own if row.item == item]
    single, both = together(counted, covisits)
    acted = {row.item for row in acts(own, user)}
    scores = [score(single, both, each, item, now_ms, covisits) for each in acted if each != item]
    lately = last_categories(counted, user, users.categories)
    category = category_of(item)
    clicked = [row for row in own if row.kind == CLICK and not math.isnan(number_of(row.item))]
    weights = faded([(row.time_ms, 1.0) for row in clicked], now_ms, users.half_life_s)
    total = faded([(row.time_ms, number_of(row.item)) for row in clicked], now_ms, users.half_life_s)
    return [
        *(min(times[kind], 255) for kind in (IMPRESSION, CLICK, PURCHASE)),
        (now_ms - max(at)) / SECOND if at else math.nan,
        max(scores, default=0.0) if acted else math.nan,
        sum(scores) if acted else math.nan,
        float(category in lately) if lately and category else math.nan,
        number_of(item) - (total / weights if clicked else math.nan),
    ]
