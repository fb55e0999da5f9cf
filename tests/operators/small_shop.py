"""A small shop as its topics hold it, and what its signals must come to, counted by hand in plain Python."""

import json
import math
import random
from collections import defaultdict

import signals_reference as reference
from signals_reference import Row

from operators.noticed import CLICK, IMPRESSION, OTHER, PURCHASE, item_key
from operators.partitioner import murmur2
from schemas.signals import Fading, Window

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE = 60_000
KINDS = {"impression": IMPRESSION, "click": CLICK, "purchase": PURCHASE, "search": OTHER}
PER_WINDOW = set(Window.__struct_fields__) - {"window_s"}
FADING = {name for name in Fading.__struct_fields__ if name != "half_life_s" and not name.endswith("trending")}


def partition_of(user, partitions):
    return int(murmur2([user.encode()], partitions)[0])


def visit(number, user, item, kind, at_ms, position=None):
    """Return a record of `interactions`."""
    fields = [] if position is None else [{"name": "position", "value": position}]
    found = {"event": "interaction", "id": f"v-{number}", "timestamp": str(at_ms), "user": user, "type": kind}
    return found | {"item": item, "fields": fields}


def visits(seed, n, *, users=40, items=12, start_ms=NOW, minutes=200):
    """Return interactions in the order in which they are published: some out of order, some late, some twice."""
    rng, found = random.Random(seed), []
    for number in range(n):
        at_ms = start_ms + number * minutes * MINUTE // n - rng.randrange(30_000)
        kind = rng.choices(tuple(KINDS), (60, 25, 10, 5))[0]
        if rng.random() < 0.01:
            at_ms -= 60 * MINUTE
        user, item = f"user-{rng.randrange(users)}", f"item-{int(items * rng.random() ** 2)}"
        found.append(visit(number, user, item, kind, at_ms, rng.choice((None, 1, 2, 5))))
        if rng.random() < 0.02:
            found.append(found[-1])
    return found


def described(item, at_ms=NOW, number=0, **fields):
    """Return a record of `items`."""
    listed = [{"name": name, "value": value} for name, value in fields.items()]
    return {"event": "item", "id": f"i-{number}", "timestamp": str(at_ms), "item": item, "fields": listed}


def wire(records):
    return [json.dumps(each).encode() for each in records]


def alike(_number, _record):
    return 1.0, False


def rows_of(records, weigh=alike):
    """Return records of one partition as rows; `weigh` says of a record, by its place, weight and risk of its user."""
    users = {}
    found = []
    for number, each in enumerate(records):
        at_ms, position = int(each["timestamp"]), each["fields"][0]["value"] - 1 if each["fields"] else -1
        user = users.setdefault(each["user"], len(users) + 1)
        who = int(murmur2([f"{each['id']} {each['user']}".encode()], 2**31)[0]) + 1
        weight, risky = weigh(number, each)
        kind = KINDS[each["type"]]
        found.append(Row(kind, item_key(each["item"]), user, at_ms, who, position, weight, risky))
    return found


def counting(records, partitions, config, weigh=alike):
    """Return the rows that count, with users told apart, and stream time by partition."""
    found, streams = [], {}
    for number in range(partitions):
        own = [each for each in records if partition_of(each["user"], partitions) == number]
        rows = rows_of(own, weigh)
        stream_ms, flags = reference.judged(rows, config)
        streams[number] = stream_ms
        counted = [row for row, flag in zip(rows, flags, strict=True) if not flag and row.kind != OTHER]
        found += [row._replace(user=row.user * partitions + number) for row in counted]
    return found, streams


def compare(record, listed, stream_ms, config, merge):
    """Hold one item's record to brute force: counts to the last, other numbers to six digits."""
    expected = reference.signals(listed, item_key(record.item), stream_ms, config, merge.smoothing, merge.worth)
    got = {}
    for window, label in zip(record.windows, ("1h", "1d"), strict=True):
        got |= {f"{name}_{label}": getattr(window, name) for name in PER_WINDOW}
        for name in ("impressions", "clicks", "purchases"):
            assert getattr(window, name) == expected[f"{name}_{label}"], (record.item, name, label)
    got |= {expected_name(name): getattr(record.fading, name) for name in FADING}
    got |= {name: getattr(record.fading, name) for name in ("trending", "weighted_trending")}
    for how in ("", "weighted_"):
        got[f"{how}velocity"] = getattr(record, f"{how}velocity_per_h")
        got[f"{how}audience"] = getattr(record, f"{how}audience")
        got[f"{how}entropy"] = getattr(record, f"{how}audience_entropy_nats")
    assert got.keys() == expected.keys()
    for name, value in got.items():
        if value is None:
            assert math.isnan(expected[name]), (record.item, name)
        else:
            assert math.isclose(value, expected[name], rel_tol=1e-5, abs_tol=1e-9), (record.item, name, value)


def expected_name(name):
    """Return what brute force calls a sum that fades."""
    return f"weighted_fading_{name.removeprefix('weighted_')}" if name.startswith("weighted_") else f"fading_{name}"


def by_partition(records, partitions):
    """Return records by the partition of their users, in their order."""
    found = defaultdict(list)
    for each in records:
        found[partition_of(each["user"], partitions)].append(each)
    return found
