"""What a readout costs, without a broker: parts in, looks, decisions and readouts out.

`python benchmarks/readouts.py [--experiments 1 1000] [--partitions 4] [--rounds 5]` prints, for so many experiments
of four metrics, two arms and strata, processor milliseconds of a part with and without a look, of a readout, and of a
snapshot of everything; and the bytes of each.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from experiments.sums import COLUMNS, Sums
from operators.batches import Messages, Span
from operators.merge import Merge, MergeConfig
from operators.side import Side
from operators.state import pack
from schemas.definition import Definition, Guardrail, Metric, Phase
from schemas.part import RISK, STRATA, Part

START_MS = 1_700_000_000_000
METRICS = ("spending", "buyers", "refunds", RISK)
SHAPE = (len(METRICS), 1, len(STRATA), 2)


def definition(name: str) -> Definition:
    """Return an experiment with a primary and a secondary metric, and a guardrail."""
    return Definition(
        id=name,
        version=1,
        timestamp=START_MS,
        seed=name,
        variations=("control", "green"),
        phases=(Phase(start=START_MS, coverage=1.0, weights=(0.5, 0.5)),),
        primary=Metric(name="spending", kind="mean", event="purchase", value="amount"),
        secondary=(Metric(name="buyers", kind="proportion", event="purchase"),),
        guardrails=(Guardrail(metric=Metric(name="refunds", kind="proportion", event="r", better="down"), margin=0.2),),
        alpha=0.05,
        tuning_n=5_000,
        attribution_window_s=3_600,
        minimum_run_s=86_400,
        mde=0.1,
        cuped=True,
    )


def part(name: str, partition: int, partitions: int, time_ms: int, rng: np.random.Generator) -> bytes:
    """Return one partition's totals of 2,000 units whose windows are over, and some whose are not."""
    sums, units = Sums(SHAPE), 2_000
    for metric in range(len(METRICS)):
        cells = np.ravel_multi_index(
            (np.full(units, metric), np.zeros(units, int), rng.integers(0, 5, units), rng.integers(0, 2, units)), SHAPE
        )
        past = rng.standard_normal(units)
        y = np.exp(past) if metric == 0 else (rng.random(units) < 0.1).astype(float)
        sums.add(cells, np.stack([y, np.ones(units), past, np.ones(units)], axis=1))
    opened = np.full((*SHAPE, 3), 5.0)
    exposed = sums.high[0, ..., 0] + opened[0, ..., 0]
    return msgspec.json.encode(
        Part(
            experiment=name,
            version=1,
            partition=partition,
            partitions=partitions,
            timestamp=time_ms,
            offsets={"exposures": time_ms - START_MS},
            metrics=METRICS,
            arms=("control", "green"),
            phases=1,
            tiers=True,
            matured=sums.high.tobytes(),
            matured_low=sums.low.tobytes(),
            open=opened.tobytes(),
            exposed=exposed.tobytes(),
            several=np.zeros(exposed.shape).tobytes(),
            first_exposure=START_MS,
        )
    )


def timed(work: object, *arguments: object) -> tuple[float, object]:
    """Return processor seconds of a call, and its answer."""
    started = time.process_time()
    answer = work(*arguments)  # type: ignore[operator]
    return time.process_time() - started, answer


def measure(experiments: int, partitions: int, rounds: int) -> None:
    """Print the figures of one number of experiments."""
    names = [f"x{number:05}" for number in range(experiments)]
    merge = Merge(MergeConfig(max_experiments=experiments, readouts_per_flush=experiments))
    written = [msgspec.json.encode(definition(name)) for name in names]
    merge.take_side(
        Side(
            partition=0,
            topic="experiments.definitions",
            at=0,
            first=0,
            next=experiments,
            values=written,
            keys=[name.encode() for name in names],
            offsets=range(experiments),
            timestamps_ms=[START_MS] * experiments,
        )
    )
    rng, offset = np.random.default_rng(1), 0
    kinds: dict[str, list[float]] = {"with a look": [], "without": [], "readout": [], "snapshot": []}
    sizes: dict[str, int] = {}
    for at in range(rounds):
        # In turns: stream time goes on by two minutes, so that a look is due, or by a second, and it is not.
        for kind, time_ms in (("with a look", 120_000 * (at + 1)), ("without", 120_000 * (at + 1) + 1_000)):
            values = [part(name, at % partitions, partitions, START_MS + time_ms, rng) for name in names]
            batch = Messages(
                Span(0, offset, offset + experiments), "p", list(values), [b"k"] * experiments,
                list(range(offset, offset + experiments)), [START_MS] * experiments,
            )  # fmt: skip
            offset += experiments
            took, _ = timed(merge.process, batch)
            if at:  # the first meets empty caches and states
                kinds[kind].append(took / experiments)
            sizes["part"] = len(values[0])
        took, answer = timed(merge.at_flush, 0)
        kinds["readout"].append(took / experiments)
        sizes["readout"] = len(answer.records[0].value)  # type: ignore[attr-defined]
        took, state = timed(merge.dump)
        kinds["snapshot"].append(took / experiments)
        sizes["state"] = len(pack(state)) // experiments  # type: ignore[arg-type]
    print(
        f"{experiments:,} experiments, {len(METRICS)} metrics, {COLUMNS} sums, {partitions} partitions, {rounds} rounds"
    )
    for kind, found in kinds.items():
        print(f"  {kind:12} {1_000 * statistics.median(found):8.3f} ms an experiment")
    print("  " + ", ".join(f"{name} {size:,} bytes" for name, size in sizes.items()))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, nargs="+", default=[1, 1_000])
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    for experiments in given.experiments:
        measure(experiments, given.partitions, given.rounds if experiments > 1 else 50 * given.rounds)


if __name__ == "__main__":
    main()
