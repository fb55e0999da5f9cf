"""What counting interactions by item costs: time per row beside a plain copy of the same columns; parts; memory.

`python benchmarks/signals.py [--rows 1000000] [--rounds 3] [--items 100000] [--users 1000000]` prints microseconds of
processor time per row, as medians of rounds taken in turns, of handing parts on and merging them, and the bytes of the
state. No Kafka.
"""

import argparse
import statistics
import sys
from pathlib import Path
from time import process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from operators.batches import Span
from operators.signals.config import CountItemsConfig
from operators.signals.merge import MergeItems, MergeItemsConfig
from operators.signals.rows import Interactions
from operators.signals.stage import CountItems, warm_up
from operators.state import pack

BATCH = 2_000
START_MS = 1_700_000_000_000
STEP_MS = 5
COLUMNS = ("kind", "item", "user", "time_ms", "id_hash", "position", "weight", "risky")


def batches(n: int, items: int, users: int) -> list[Interactions]:
    """Nine impressions to one click, a purchase to ten clicks; items by Zipf's law, users alike; 200 a second."""
    rng = np.random.default_rng(1)
    chances = 1.0 / np.arange(1, items + 1)
    item = rng.choice(items, n, p=chances / chances.sum()).astype(np.uint64)
    kind = np.where(rng.random(n) < 0.9, 0, np.where(rng.random(n) < 0.9, 1, 2)).astype(np.uint8)
    user = rng.integers(1, 2**63, users).astype(np.uint64)[rng.integers(users, size=n)]
    time_ms = START_MS + np.arange(n) * STEP_MS - rng.integers(0, 1_000, n)
    columns = {
        "kind": kind,
        "item": (item + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15),
        "user": user,
        "time_ms": time_ms,
        "id_hash": rng.integers(1, 2**63, n).astype(np.uint64),
        "position": rng.integers(0, 20, n),
        "weight": np.where(rng.random(n) < 0.02, 0.1, 1.0),
        "risky": rng.random(n) < 0.02,
    }
    found = []
    for first in range(0, n, BATCH):
        part = {name: column[first : first + BATCH] for name, column in columns.items()}
        size = len(part["kind"])
        offsets = np.arange(first, first + size)
        found.append(Interactions(Span(0, first, first + size), "interactions", offsets, **part))
    return found


def copied(given: list[Interactions]) -> float:
    began = process_time()
    for batch in given:
        for name in COLUMNS:
            getattr(batch, name).copy()
    return process_time() - began


def counted(stage: CountItems, given: list[Interactions]) -> float:
    began = process_time()
    for batch in given:
        stage.process(batch)
    return process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    arguments = parser.parse_args()
    given = batches(arguments.rows, arguments.items, arguments.users)
    warm_up()
    copies: list[float] = []
    times: list[float] = []
    for _ in range(arguments.rounds):
        copies.append(copied(given) / arguments.rows)
        stage = CountItems(CountItemsConfig(max_items=arguments.items))
        times.append(counted(stage, given) / arguments.rows)
    base, took = statistics.median(copies), statistics.median(times)
    print(f"{arguments.rows:,} rows, {arguments.items:,} items by Zipf's law, {arguments.users:,} users")
    print(f"    plain copy of the columns: {base * 1e6:.3f} us a row")
    print(f"    counted: {took * 1e6:.2f} us a row, {took / base:.0f} times the copy")
    merge = MergeItems(MergeItemsConfig(max_items=arguments.items), stage.config, 1)
    began, items = process_time(), 0
    while len(some := stage.changed(1_000)):
        merge.take(0, stage.totals(some))
        merge.due()
        items += len(some)
    print(f"    handed on and merged: {(process_time() - began) / items * 1e6:.0f} us an item, {items:,} items")
    tables, snapshot = stage.nbytes / 1e6, len(pack(stage.dump())) / 1e6
    print(f"    {len(stage):,} items: {tables:,.0f} MB of tables, {snapshot:,.0f} MB in a snapshot")


if __name__ == "__main__":
    main()
