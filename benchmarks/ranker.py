"""What a ranker costs: verifying its record, and scoring lists of candidates by it.

`python benchmarks/ranker.py [--trees 300] [--depth 5] [--features 60] [--candidates 100] [--lists 300]` prints the size
of the record, the time to verify it, and processor time per list: fastest, median and 99th percentile. Trees are drawn
at random and are full, so that no row leaves early. No LightGBM, no Kafka.
"""

import argparse
import sys
from pathlib import Path
from time import process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from operators.rank import sealed, warm_up
from operators.rank.model import encoded, read
from schemas.ranker import Ranker, Trees


def drawn(trees: int, depth: int, features: int) -> Trees:
    rng = np.random.default_rng(1)
    inner = 2**depth - 1
    child = 2 * np.arange(inner) + 1
    left, right = (np.where(each < inner, each, inner - 1 - each) for each in (child, child + 1))
    n = trees * inner
    return Trees(
        nodes=np.arange(0, n + 1, inner, dtype="<i4").tobytes(),
        leaves=np.arange(0, n + trees + 1, inner + 1, dtype="<i4").tobytes(),
        feature=rng.integers(0, features, n, dtype="<i4").tobytes(),
        threshold=rng.normal(size=n).tobytes(),
        missing_left=rng.integers(0, 2, n, dtype="u1").tobytes(),
        left=np.tile(left, trees).astype("<i4").tobytes(),
        right=np.tile(right, trees).astype("<i4").tobytes(),
        value=rng.normal(size=n + trees).tobytes(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("trees", 300), ("depth", 5), ("features", 60), ("candidates", 100), ("lists", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    warm_up()
    names = tuple(f"f{number}" for number in range(args.features))
    curve, probability = tuple(np.linspace(-3.0, 3.0, 50).tolist()), tuple(np.linspace(0.01, 0.5, 50).tolist())
    trees = drawn(args.trees, args.depth, args.features)
    record = Ranker(version="drawn", timestamp=0, features=names, trees=trees, curve=curve, probability=probability)
    value = encoded(sealed(record))
    began = process_time()
    model = read(b"ranker", value, names, len(value))
    verified = process_time() - began
    assert model is not None
    features = np.random.default_rng(2).normal(size=(args.lists, args.candidates, args.features))
    features[features > 2.0] = np.nan
    took = []
    for rows in features:
        began = process_time()
        model.chance(model.score(rows))
        took.append(process_time() - began)
    fastest, middle, slow = np.quantile(took, (0.0, 0.5, 0.99)) * 1e3
    print(f"{args.trees} trees of {2**args.depth} leaves: {len(value):,} bytes, verified in {verified * 1e3:.1f} ms")
    print(f"{args.candidates} candidates, {args.features} features: {fastest:.2f} ms, {middle:.2f}, p99 {slow:.2f} ms")


if __name__ == "__main__":
    main()
