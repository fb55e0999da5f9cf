"""What recalling costs: microseconds an interaction, milliseconds a request, and the memory of the tables.

`python benchmarks/recall.py [--items 100000] [--users 1000000] [--interactions 4000000] [--requests 2000]` fills a
stage, then answers requests one by one: with 100 given candidates, and with candidates that are found. No Kafka.
"""

import argparse
import gc
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from operators.batches import Span
from operators.noticed import Interactions, Noticed, Requests, item_key
from operators.recall.catalogue_config import CatalogueConfig
from operators.recall.config import CoVisitsConfig, RecallConfig, UsersConfig
from operators.recall.stage import Recall, warm_up
from operators.side import Side
from operators.state import pack
from schemas.item import Field
from schemas.signals import Fading, Signals, Window

BATCH = 2_000
GIVEN = 100
START_MS = 1_700_000_000_000
STEP_MS = 20


def catalogue(items: int) -> list[Side]:
    """Items with a price and a brand; half of them are new."""
    rng = np.random.default_rng(2)
    sides = []
    for first in range(0, items, BATCH):
        keys, values = [], []
        for n in range(first, min(first + BATCH, items)):
            shown = float(rng.integers(1_000))
            kinds = [f"{how}{kind}" for how in ("", "weighted_") for kind in ("clicks", "purchases", "trending")]
            sums = dict.fromkeys(kinds, shown / 9)
            told = {"price": float(rng.integers(1, 99)), "brand": f"b{n % 500}"}
            one = Signals(
                item=f"item-{n}",
                timestamp=START_MS,
                since=START_MS - int(rng.integers(14 * 86_400_000)),
                windows=(Window(window_s=86_400, **dict.fromkeys(_COUNTS, 0)),),
                fading=Fading(half_life_s=604_800, impressions=shown, weighted_impressions=shown,
                              weighted_click_rate=rng.random() / 10, **sums),
                fields=tuple(Field(name=name, value=value) for name, value in told.items()),
            )  # fmt: skip
            keys.append(one.item.encode())
            values.append(msgspec.json.encode(one))
        places = list(range(first, first + len(keys)))
        sides.append(Side(0, "ranking.catalogue", 0, first, first + len(keys), values, keys, places, places))
    return sides


_COUNTS = [f"{how}{kind}" for how in ("", "weighted_") for kind in ("impressions", "clicks", "purchases")]


class Shop:
    """Users and items by Zipf's law, each user within a hundred items of his own half of the time."""

    def __init__(self, items: int, users: int) -> None:
        self.rng = np.random.default_rng(1)
        chances = 1.0 / np.arange(1, items + 1)
        self._chances = np.cumsum(chances / chances.sum())
        self.keys = np.array([item_key(f"item-{n}") for n in range(items)], np.uint64)
        self.users = self.rng.integers(1, 2**63, users).astype(np.uint64)

    def visits(self, n: int):
        """Return users and items, as numbers."""
        user = self.rng.integers(len(self.users), size=n)
        item = np.searchsorted(self._chances, self.rng.random(n))
        own = (user * 7_919 + self.rng.integers(100, size=n)) % len(self.keys)
        return user, np.where(self.rng.random(n) < 0.5, own, item)

    def interactions(self, first: int, n: int) -> Side:
        """Nine impressions to one click, a purchase to ten clicks; 50 a second."""
        user, item = self.visits(n)
        rng = self.rng
        kind = np.where(rng.random(n) < 0.9, 0, np.where(rng.random(n) < 0.9, 1, 2)).astype(np.uint8)
        rows = Interactions(
            offsets=np.arange(first, first + n), time_ms=START_MS + np.arange(first, first + n) * STEP_MS, kind=kind,
            user=self.users[user], session=np.zeros(n, np.uint64), item=self.keys[item], items=[],
            ranking=np.zeros(n, np.uint64), position=np.zeros(n, np.int64),
            id_hash=rng.integers(1, 2**63, n).astype(np.uint64),
        )  # fmt: skip
        return Side(0, "interactions", 0, first, first + n, [], [], [], [], noticed=rows)

    def request(self, k: int, time_ms: int, given: int, n: int = 1) -> Noticed:
        """Return requests with so many candidates each."""
        user, _ = self.visits(n)
        _, item = self.visits(n * given)
        bits = self.rng.integers(1, 2**63, n).astype(np.uint64)
        rows = Requests(
            offsets=np.arange(k, k + n), time_ms=np.full(n, time_ms), ids=[f"r{k + j}" for j in range(n)], ranking=bits,
            users=["h1:x"] * n, user=self.users[user], session=np.zeros(n, np.uint64), id_hash=bits, fields=[{}] * n,
            count=np.full(n, 20), starts=np.arange(n + 1) * given, item=self.keys[item],
            items=[f"item-{each}" for each in item.tolist()], relevancy=np.full(n * given, np.nan),
            item_fields=[{}] * (n * given),
        )  # fmt: skip
        return Noticed(Span(0, k, k + n), "ranking.requests", rows, events=n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--interactions", type=int, default=4_000_000)
    parser.add_argument("--requests", type=int, default=2_000)
    arguments = parser.parse_args()
    warm_up()
    stage = Recall(
        RecallConfig(
            catalogue=CatalogueConfig(
                max_items=arguments.items, number_fields=("price",), category_fields=("brand",), new_for_s=7 * 86_400
            ),
            users=UsersConfig(max_users=arguments.users),
            covisits=CoVisitsConfig(max_items=arguments.items),
        )
    )
    print(f"{arguments.items:,} items by Zipf's law, {arguments.users:,} users")
    sides = catalogue(arguments.items)
    began = process_time()
    for side in sides:
        stage.take_side(side)
    print(f"    catalogue: {(process_time() - began) / arguments.items * 1e6:.1f} us a record")
    del sides
    shop, took, last = Shop(arguments.items, arguments.users), 0.0, 0.0
    for first in range(0, arguments.interactions, BATCH):
        side = shop.interactions(first, BATCH)
        began = process_time()
        stage.take_side(side)
        last = process_time() - began
        took += last
    print(f"    {arguments.interactions:,} interactions: {took / arguments.interactions * 1e6:.2f} us each")
    now_ms = START_MS + arguments.interactions * STEP_MS
    gc.collect()
    for name, given in ((f"{GIVEN} given candidates", GIVEN), ("found candidates", 0)):
        times, used, candidates = [], [], 0
        for k in range(arguments.requests):
            batch = shop.request(k, now_ms, given)
            began, began_used = perf_counter(), process_time()
            lists = stage.process(batch)
            used.append(process_time() - began_used)
            times.append(perf_counter() - began)
            candidates += len(lists.items)
        print(f"    a request, {name} ({candidates / arguments.requests:.0f}):")
        for what, each in (("processor time", used), ("by the clock", times)):
            p50, p99 = np.percentile(np.array(each) * 1e3, (50, 99))
            print(f"        {what}: {p50:.2f} ms, p99 {p99:.2f} ms, most {max(each) * 1e3:.1f} ms")
        batch = shop.request(10**6 + given, now_ms, given, 200)
        began = process_time()
        stage.process(batch)
        print(f"        in batches of 200: {(process_time() - began) / 200 * 1e3:.2f} ms")
    state = pack(stage.dump())
    print(f"    tables {stage.nbytes / 1e6:,.0f} MB, snapshot {len(state) / 1e6:,.0f} MB", end=", ")
    print(f"most of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")
    for each in stage.measurements():
        if not each.labels and each.value:
            print(f"        {each.metric}: {each.value:,.0f}")
    memory = stage._memory
    users = sum(array.nbytes for array in memory.world.users) + memory.users.nbytes
    lists = sum(array.nbytes for array in memory.world.lists) + memory.items.nbytes
    print(f"        users {users / len(memory.users):.0f} bytes each, lists of items {lists / len(memory.items):.0f}")


if __name__ == "__main__":
    main()
