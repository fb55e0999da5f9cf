"""What judging lists costs: time per list and per interaction, bytes of the state, time of a snapshot.

`python benchmarks/judging.py [--lists 4000] [--candidates 100] [--shown 20] [--rounds 3]` prints medians of rounds, in
processor time. Two groups of items stand in every list. No Kafka.
"""

import argparse
import statistics
import sys
from pathlib import Path
from time import process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from operators.batches import Span
from operators.judge import Judge, JudgeConfig
from operators.lists import Lists, Ordered, Scored
from operators.noticed import Interactions, Requests
from operators.side import Side
from operators.state import pack

BATCH = 200
START_MS = 1_700_000_000_000
STEP_MS = 250


def batch(rng: np.random.Generator, first: int, n: int, shown: int) -> Ordered:
    """Return lists, four a second, each of another of 2,000 users."""
    m = BATCH * n
    starts, offsets = np.arange(0, m + 1, n), np.arange(first, first + BATCH)
    items = [""] * m
    requests = Requests(
        offsets=offsets,
        time_ms=START_MS + offsets * STEP_MS,
        ids=[""] * BATCH,
        ranking=(offsets + 1).astype(np.uint64),
        users=[""] * BATCH,
        user=rng.integers(1, 2_000, BATCH).astype(np.uint64),
        session=np.zeros(BATCH, np.uint64),
        id_hash=np.ones(BATCH, np.uint64),
        fields=[{}] * BATCH,
        count=np.full(BATCH, shown),
        starts=starts,
        item=np.zeros(0, np.uint64),
        items=[],
        relevancy=np.zeros(0),
        item_fields=[],
    )
    order = np.concatenate([rng.permutation(n) for _ in range(BATCH)])
    lists = Lists(
        span=Span(0, first, first + BATCH),
        topic="ranking.requests",
        requests=requests,
        flags=np.zeros(BATCH, np.uint8),
        count=np.full(BATCH, shown),
        starts=starts,
        item=rng.integers(1, 10_000, m).astype(np.uint64),
        items=items,
        source=rng.integers(1, 64, m).astype(np.uint8),
        signals_ms=np.full(m, -1),
        names=(),
        features=np.zeros((m, 0)),
        popularity=rng.random(m),
        group=rng.integers(0, 3, m),
        risk=np.full(m, np.nan),
        offer=items,
        value=np.full(m, np.nan),
        user_group=np.zeros(BATCH, np.int64),
    )
    return Ordered(Scored(lists, rng.random(m), rng.random(m), "m"), order, order, [()] * BATCH)


def side(rng: np.random.Generator, now_ms: int, lists: int, n: int = 20_000) -> Side:
    """Return clicks, half of them on lists."""
    rows = Interactions(
        offsets=np.arange(n),
        time_ms=np.full(n, now_ms),
        kind=np.ones(n, np.uint8),
        user=rng.integers(1, 4_000, n).astype(np.uint64),
        session=np.zeros(n, np.uint64),
        item=rng.integers(1, 10_000, n).astype(np.uint64),
        items=[""] * n,
        ranking=rng.integers(1, 2 * lists, n).astype(np.uint64),
        position=np.full(n, -1),
        id_hash=np.ones(n, np.uint64),
    )
    return Side(0, "interactions", 0, 0, n, [], [], [], [], noticed=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=int, default=4_000)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--shown", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    per_list, per_row, snapshot = [], [], []
    for turn in range(args.rounds + 1):  # the first compiles
        stage = Judge(JudgeConfig(within_s=600), ("one", "two"), ("new",))
        given = [batch(rng, first, args.candidates, args.shown) for first in range(0, args.lists, BATCH)]
        began = process_time()
        for one in given:
            stage.process(one)
        listed = process_time() - began
        clicks = side(rng, START_MS + args.lists * STEP_MS, args.lists)
        began = process_time()
        stage.take_side(clicks)
        clicked = process_time() - began
        began = process_time()
        written = len(pack(stage.dump()))
        if turn:
            per_list.append(1e6 * listed / args.lists)
            per_row.append(1e6 * clicked / 20_000)
            snapshot.append(1e3 * (process_time() - began))
    print(f"a list of {args.candidates}, {args.shown} shown: {statistics.median(per_list):,.0f} us")
    print(f"an interaction: {statistics.median(per_row):.3f} us")
    size = f"state: {stage.nbytes / 1e6:,.1f} MB; a whole snapshot {written / 1e6:,.1f} MB"
    print(f"{size}, {statistics.median(snapshot):,.1f} ms")


if __name__ == "__main__":
    main()
