"""The flows interactions and signals on a real Kafka: kills at random, click fraud, and what cannot be counted."""

import itertools
import json
import random
import sys
import time
from collections import Counter

import msgspec
import pytest
from harness import KEY, Flow, Sent, create_topics, publish, read_committed
from small_shop import MINUTE, NOW, compare, counting, described, partition_of, visit, visits

from flows.settings import Settings
from operators.decode import Pseudonymizer
from operators.noticed import item_key
from schemas.item_part import ItemPart
from schemas.signals import Signals

pytestmark = pytest.mark.broker

PARTITIONS = 4
SHOP = Settings()
COUNT, MERGE = SHOP.interactions.count, SHOP.signals.merge
END = NOW + 200 * MINUTE
FRAUDSTERS = tuple(f"bot-{number}" for number in range(12))
QUICK = {
    "TIDEGATE_TOPICS__PARTITIONS": str(PARTITIONS),
    **{
        f"TIDEGATE_{flow}__{name}": value
        for flow in ("INTERACTIONS", "SIGNALS")
        for name, value in (("COMMIT_INTERVAL_MS", "50"), ("SNAPSHOT_INTERVAL_S", "2"), ("BATCH_MAX", "100"))
    },
    "TIDEGATE_INTERACTIONS__TIERS": "true",
    "TIDEGATE_INTERACTIONS__MERGE_WAIT_S": "0.3",
    "TIDEGATE_INTERACTIONS__MERGE_SLACK_S": "1",
    "TIDEGATE_INTERACTIONS__PARTS_PER_COMMIT": "7",
    "TIDEGATE_SIGNALS__SIDE_INTERVAL_MS": "50",
    "TIDEGATE_SIGNALS__SIGNALS_PER_COMMIT": "7",
    "TIDEGATE_SIGNALS__MERGE__CHANGE": "1e-9",
}


class Of(Flow):
    """One process of one of the two flows."""

    def __init__(self, flow, bootstrap, prefix, tmp_path):
        own = {f"TIDEGATE_{flow.upper()}__GROUP": f"{prefix}{flow}"}
        super().__init__(bootstrap, prefix, tmp_path / f"{flow}.log", **QUICK | own)
        self.group = f"{prefix}{flow}"
        self.command = [sys.executable, "-m", "flows", "run", flow]
        self.missed_soon()

    def wait_for(self, condition, what, timeout_s=90):
        self._wait(condition, timeout_s, what)


def sent(record, key=None):
    """A record at its own time, on the partition of its user or item."""
    key = key or record.get("user") or record["item"]
    at_ms = int(record["timestamp"])
    return Sent(json.dumps(record).encode(), key.encode(), at_ms, partition_of(key, PARTITIONS))


def critical(users):
    """Decisions about users, as the risk flow writes them, before anything else happened."""
    made, at_ms = Pseudonymizer(KEY.encode()), NOW - 10 * MINUTE
    return [
        Sent(
            json.dumps(
                {"id": "e", "timestamp": at_ms, "user": made.pseudonym("user", user), "tier": "critical"}
            ).encode(),
            b"k",
            at_ms,
            partition_of(user, PARTITIONS),
        )
        for user in users
    ]


def newest(bootstrap, prefix):
    """Return the newest signals of each item; what is on every partition of the catalogue is the same."""
    found = {}
    for number, records in enumerate(read_committed(bootstrap, f"{prefix}ranking.signals", PARTITIONS)):
        for key, value, _ in records:
            assert partition_of(key.decode(), PARTITIONS) == number, "an item's signals lie with its parts"
            found[key.decode()] = msgspec.json.decode(value, type=Signals)
    return found


def fraud(seed):
    """Return what twelve users do who show and click one item all day, between what honest ones do."""
    rng = random.Random(seed)
    for number in range(600):
        at_ms, user = NOW + rng.randrange(200 * MINUTE), rng.choice(FRAUDSTERS)
        yield visit(f"f{number}", user, "item-11", ("impression", "click", "click")[number % 3], at_ms)


def weigh(_number, record):
    return (0.0, True) if record["user"] in FRAUDSTERS else (1.0, False)


def test_killed_at_random_the_signals_are_those_counted_by_hand_and_fraud_moves_no_weighted_one(
    bootstrap, prefix, tmp_path
):
    create_topics(bootstrap, prefix, PARTITIONS)
    published = sorted([*visits(1, 3_000), *fraud(2)], key=lambda each: int(each["timestamp"]))
    items = [described(f"item-{number}", NOW - 5_000, number, price=number / 2) for number in range(15)]
    publish(bootstrap, prefix, map(sent, items), "items", PARTITIONS)
    publish(bootstrap, prefix, critical(FRAUDSTERS), "risk.tiers", PARTITIONS)
    flows = [Of(name, bootstrap, prefix, tmp_path).start() for name in ("interactions", "signals")]
    for flow in flows:
        flow.wait_ready()
    rng = random.Random(3)
    steps = range(0, len(published), 400)
    kills = {flow.group: set(rng.sample(steps[1:], 2)) for flow in flows}
    for first in steps:
        publish(bootstrap, prefix, map(sent, published[first : first + 400]), "interactions", PARTITIONS)
        time.sleep(rng.random())
        for flow in flows:
            if first in kills[flow.group]:
                flow.kill()
                flow.start()
    ends = Counter(partition_of(each["user"], PARTITIONS) for each in published)
    flows[0].wait_for(lambda: told_until(bootstrap, prefix) == ends, f"parts up to {ends}")
    # What came last may have been written in parts at one time: it is whole at the next.
    closer = visit("end", "user-1", "item-0", "search", END + 1)
    publish(bootstrap, prefix, [sent(closer)], "interactions", PARTITIONS)
    flows[1].wait_for(
        lambda: all(each.timestamp == END + 1 for each in newest(bootstrap, prefix).values() if each.fading.clicks),
        "signals of the end",
    )
    found = newest(bootstrap, prefix)
    listed, _ = counting([*published, closer], PARTITIONS, COUNT, weigh)

    assert found.keys() == {each["item"] for each in items}
    for item, each in found.items():
        assert [(of.name, of.value) for of in each.fields] == [("price", int(item.removeprefix("item-")) / 2)]
        if each.fading.clicks:
            compare(each, listed, END + 1, COUNT, MERGE)
    honest, _ = counting([each for each in published if each["user"] not in FRAUDSTERS], PARTITIONS, COUNT)
    day, mine = found["item-11"].windows[1], [row.kind for row in honest if row.item == item_key("item-11")]
    assert (day.weighted_impressions, day.weighted_clicks) == (mine.count(0), mine.count(1))
    assert day.clicks - day.weighted_clicks == 400
    assert day.risky_share > 0.5
    catalogue = read_committed(bootstrap, f"{prefix}ranking.catalogue", PARTITIONS)
    assert {frozenset({key: value for key, value, _ in records}.items()) for records in catalogue} == {
        frozenset((item.encode(), value) for item, value in last_values(bootstrap, prefix).items())
    }
    assert [flow.terminate() for flow in flows] == [0, 0]


def told_until(bootstrap, prefix):
    """Return up to where all items have been told, by partition of interactions."""
    parts = [
        msgspec.msgpack.decode(value, type=ItemPart)
        for key, value, _ in read_committed(bootstrap, f"{prefix}ranking.parts", PARTITIONS)[0]
        if not key
    ]
    return {each.partition: each.offset for each in parts}


def last_values(bootstrap, prefix):
    """Return the newest record of each item as it is written."""
    read = read_committed(bootstrap, f"{prefix}ranking.signals", PARTITIONS)
    return {key.decode(): value for records in read for key, value, _ in records}


def clicks(bootstrap, prefix):
    return {item: each.windows[1].clicks for item, each in newest(bootstrap, prefix).items()}


def letters(bootstrap, prefix):
    read = read_committed(bootstrap, f"{prefix}dead-letters", PARTITIONS)
    return [json.loads(value) for _, value, _ in itertools.chain(*read)]


def refused(flow):
    """Return how many interactions did not count, by reason."""
    found = Counter()
    for line in flow.get("/metrics")[1].splitlines():
        if line.startswith("tidegate_interactions_refused_total{"):
            found[line.partition('reason="')[2].partition('"')[0]] += int(float(line.rsplit(" ", 1)[1]))
    return found


def test_what_cannot_be_read_or_does_not_count_is_told_and_moves_nothing(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix, PARTITIONS)
    good = [visit(number, f"user-{number % 20}", f"item-{number % 3}", "click", NOW + number) for number in range(200)]
    publish(bootstrap, prefix, map(sent, good), "interactions", PARTITIONS)
    late = [visit(f"late-{user}", f"user-{user}", "item-0", "click", NOW - 10 * MINUTE) for user in range(20)]
    month = [visit("ahead", "user-1", "item-0", "click", NOW + 30 * 1_440 * MINUTE)]
    publish(bootstrap, prefix, map(sent, [*good[:30], *late, *month]), "interactions", PARTITIONS)
    future = json.dumps({**good[0], "id": "future", "timestamp": str(NOW + 60 * MINUTE)}).encode()
    bad = [Sent(b"{", b"k", NOW, 3), Sent(None, b"k", NOW, 2), Sent(future, b"k", NOW, 1)]
    publish(bootstrap, prefix, bad, "interactions", PARTITIONS)
    lost = described("item-1", number="lost")
    wrong = Sent(json.dumps(lost).encode(), b"item-1", NOW, (partition_of("item-1", PARTITIONS) + 1) % PARTITIONS)
    long = described("item-2", NOW, "long", text="x" * 5_000)
    known = [described("item-2", NOW + 9, name="new"), described("item-2", NOW, name="old", size=1)]
    publish(bootstrap, prefix, [*map(sent, [*known, long]), wrong, Sent(b"[]", b"k", NOW, 0)], "items", PARTITIONS)
    publish(bootstrap, prefix, [Sent(b"{", b"k", NOW, 0)], "ranking.parts", PARTITIONS)
    counts, gathers = (Of(name, bootstrap, prefix, tmp_path).start() for name in ("interactions", "signals"))
    for flow in (counts, gathers):
        flow.wait_ready()
    gathers.wait_for(
        lambda: sum(each.windows[1].clicks for each in newest(bootstrap, prefix).values()) == 200,
        "all that counts is told",
    )
    counts.wait_for(lambda: refused(counts) == Counter(duplicate=30, late=20), "what does not count is told")
    gathers.wait_for(lambda: len(letters(bootstrap, prefix)) == 7, "every dead letter is there")

    assert Counter(
        (each["flow"], each["topic"].removeprefix(prefix), each["reason"]) for each in letters(bootstrap, prefix)
    ) == {
        ("interactions", "interactions", "not_json"): 1,
        ("interactions", "interactions", "empty_value"): 1,
        ("interactions", "interactions", "from_the_future"): 1,
        ("signals", "items", "wrong_type"): 1,
        ("signals", "items", "out_of_range"): 2,
        ("signals", "ranking.parts", "wrong_type"): 1,
    }
    found = newest(bootstrap, prefix)
    assert {(of.name, of.value) for of in found["item-2"].fields} == {("name", "new"), ("size", 1.0)}
    assert clicks(bootstrap, prefix) == {"item-0": 67, "item-1": 67, "item-2": 66}
    assert {each.timestamp for each in found.values()} <= set(range(NOW, NOW + 200))
    assert [flow.terminate() for flow in (counts, gathers)] == [0, 0]
