"""Signals of items by brute force: every row is kept, and every figure is worked out from all rows that count."""

import math
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from operators.batches import DUPLICATE, LATE, Span
from operators.noticed import CLICK, IMPRESSION, PURCHASE
from operators.signals.config import CountItemsConfig
from operators.signals.rows import Interactions

SECOND, HOUR = 1_000, 3_600_000
START = 1_700_000_000_000


class Row(NamedTuple):
    kind: int
    item: int
    user: int
    time_ms: int
    id_hash: int = 0
    position: int = -1
    weight: float = 1.0
    risky: bool = False


def batch(listed, first=0):
    """Return rows as one batch, each a record of its own."""
    columns = list(zip(*listed, strict=True)) or [()] * len(Row._fields)
    kinds = (np.uint8, np.uint64, np.uint64, np.int64, np.uint64, np.int64, np.float64, np.bool_)
    found = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    n = len(listed)
    return Interactions(Span(0, first, first + n), "interactions", np.arange(first, first + n), *found)


def judged(listed, config):
    """Return stream time after all rows, and the flag of each; nothing may lie ahead."""
    stream, seen, flags = None, {}, []
    for row in listed:
        stream = row.time_ms if stream is None else stream
        remembered = seen.get(row.id_hash)
        if row.id_hash and remembered is not None and stream - remembered <= config.dedup_window_s * 1_000:
            flags.append(DUPLICATE)
            continue
        if row.time_ms < stream - config.allowed_lateness_s * 1_000:
            flags.append(LATE)
            continue
        assert row.time_ms <= stream + config.max_gap_s * 1_000
        stream = max(stream, row.time_ms)
        if row.id_hash:
            seen[row.id_hash] = stream
        flags.append(0)
    return stream, flags


def worth(row, config):
    chances = config.propensities
    if row.position < 0:
        return 1.0
    chance = chances[min(row.position, len(chances) - 1)] if chances else 1.0 / (1 + min(row.position, 255))
    return min(1.0 / chance, config.clip)


def terms(row, config):
    """Return what a row adds to each column, in the order of `operators.signals.items.COLUMNS`."""
    each = [0.0] * 10
    each[row.kind] = 1.0
    each[3 + row.kind] = row.weight
    if row.kind == CLICK:
        each[6], each[7] = worth(row, config), row.weight * worth(row, config)
    if row.risky:
        each[8 if row.kind == IMPRESSION else 9] = 1.0
    return np.array(each)


def in_window(listed, window_s, stream_ms, config):
    """Return the sums over the six panes that end with stream time's."""
    pane_ms = window_s * 200
    last = stream_ms // pane_ms
    return sum((terms(row, config) for row in listed if last - 5 <= row.time_ms // pane_ms), np.zeros(10))


def faded(listed, stream_ms, config):
    half_ms = config.half_life_s * 1_000
    return sum((terms(row, config) * 0.5 ** ((stream_ms - row.time_ms) / half_ms) for row in listed), np.zeros(10))


def audience(listed, stream_ms, config):
    """Return interactions, users and entropy, and the same weighted, of the period with more interactions."""
    period_ms = config.audience_s * 1_000
    found = []
    for number in (stream_ms // period_ms, stream_ms // period_ms - 1):
        own = [row for row in listed if row.kind != IMPRESSION and row.time_ms // period_ms == number]
        times, weights, first = Counter(row.user for row in own), defaultdict(float), {}
        for row in own:
            weights[row.user] += row.weight
            first.setdefault(row.user, row.weight)
        users = (len(times), sum(first.values()))
        found.append((len(own), users[0], entropy(times.values()), users[1], entropy(weights.values())))
    return found[0] if found[0][0] >= found[1][0] else found[1]


def entropy(counts):
    """Return -sum p ln p; NaN of nobody."""
    total = sum(counts)
    if not total:
        return math.nan
    return -sum(count / total * math.log(count / total) for count in counts if count)


def smoothed(hits, of, all_hits, all_of, weight):
    """Return the mean of an item's rate and that of all, the latter with the weight of `weight` hits' trials."""
    if not all_hits or not all_of:
        return math.nan
    trials = weight * all_of / all_hits
    return (hits + weight) / (of + trials)


def signals(listed, item, stream_ms, config, smoothing, values):
    """Return some signals of an item by name, from all rows that count."""
    own, found = [row for row in listed if row.item == item], {}
    for window_s, name in zip(config.windows_s, ("1h", "1d"), strict=True):
        mine, everything = (in_window(rows, window_s, stream_ms, config) for rows in (own, listed))
        for how, k, debiased in (("", 0, 6), ("weighted_", 3, 7)):
            for kind, label in enumerate(("impressions", "clicks", "purchases")):
                found[f"{how}{label}_{name}"] = mine[k + kind]
            rates = (("click_rate", k + 1, k), ("purchase_rate", k + 2, k + 1), ("debiased_rate", debiased, k))
            for label, hits, of in rates:
                rate = smoothed(mine[hits], mine[of], everything[hits], everything[of], smoothing)
                found[f"{how}{label}_{name}"] = rate
        found[f"risky_share_{name}"] = mine[9] / (mine[1] + mine[2]) if mine[1] + mine[2] else math.nan
        found[f"risky_impression_share_{name}"] = mine[8] / mine[0] if mine[0] else math.nan
        found[f"exposure_share_{name}"] = mine[0] / everything[0] if everything[0] else math.nan
    fading, all_fading = faded(own, stream_ms, config), faded(listed, stream_ms, config)
    pane_ms = config.windows_s[0] * 200
    hours = (stream_ms - (stream_ms // pane_ms - 5) * pane_ms) / HOUR
    _, users, nats, weighted_users, weighted_nats = audience(own, stream_ms, config)
    for how, k, many, spread in (("", 0, users, nats), ("weighted_", 3, weighted_users, weighted_nats)):
        for kind, label in enumerate(("impressions", "clicks", "purchases")):
            found[f"{how}fading_{label}"] = fading[k + kind]
        rate = smoothed(fading[k + 1], fading[k], all_fading[k + 1], all_fading[k], smoothing)
        found[f"{how}fading_click_rate"] = rate
        found[f"{how}trending"] = sum(fading[k + kind] * values[kind] for kind in range(3))
        found[f"{how}velocity"] = (found[f"{how}clicks_1h"] + found[f"{how}purchases_1h"]) / hours
        found[f"{how}audience"], found[f"{how}entropy"] = many, spread
    return found


def stream(seed, n=1_500, *, items=12, users=40, step_s=20, late=0.01, repeated=0.02):
    """Return rows of a small shop: disorder, late rows, repeats, risky users, several days."""
    rng, listed, now = np.random.default_rng(seed), [], START
    for number in range(n):
        now += int(rng.exponential(step_s * 1_000))
        item, user = int(1 + items * rng.random() ** 2), int(1 + rng.integers(users))
        kind = int(rng.choice(3, p=(0.6, 0.3, 0.1)))
        at = now - int(rng.integers(0, 60_000))
        if rng.random() < late:
            at -= 2 * HOUR
        row = Row(
            (IMPRESSION, CLICK, PURCHASE)[kind], item * 7_919, user * 1_000_003, at, 1 + number,
            int(rng.integers(-1, 12)), (1.0, 1.0, 0.5, 0.0)[user % 4], user % 4 > 1,
        )  # fmt: skip
        listed.append(row)
        if rng.random() < repeated:
            listed.append(listed[int(rng.integers(max(0, len(listed) - 30), len(listed)))])
    return listed


CONFIG = CountItemsConfig(half_life_s=86_400, propensities=(1.0, 0.6, 0.3, 0.05), clip=8.0)
