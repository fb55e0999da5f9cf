"""What accumulating costs: time per row with few and many experiments, beside a plain copy of the same rows; memory.

`python benchmarks/accumulation.py [--rows 1000000] [--rounds 3] [--units 1000000]` prints microseconds of processor
time per row as medians of rounds taken in turns, and the bytes of the state while so many units are open. No Kafka.
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from operators.accumulate.config import AccumulateConfig
from operators.accumulate.observed import EXPOSED, MEASURED, TIERED, Observations, Observed, experiment_key
from operators.accumulate.plan import measures_of
from operators.accumulate.stage import Accumulate, warm_up
from operators.batches import U64, Span
from operators.state import pack
from schemas.definition import Definition, Metric, Phase

BATCH = 2_000
START_MS = 1_000_000_000
SPEND = Metric(name="spend", kind="mean", event="spend", topic="metrics", value="value")
BOUGHT = Metric(name="bought", kind="proportion", event="buy", topic="metrics")
PER_VISIT = Metric(
    name="per_visit", kind="ratio", event="spend", topic="metrics", value="value", denominator_event="visit"
)
COLUMNS = tuple(Observed.__dataclass_fields__)


def experiment(number: int, window_s: int, *secondary: Metric) -> Definition:
    phases = (Phase(start=0, coverage=1.0, weights=(0.5, 0.5)),)
    return Definition(
        id=f"e{number}", version=1, timestamp=0, seed=f"e{number}", variations=("a", "b"), phases=phases,
        primary=SPEND, secondary=secondary, alpha=0.05, tuning_n=5_000, attribution_window_s=window_s,
        minimum_run_s=0, mde=0.1, cuped=True, pre_period_s=600,
    )  # fmt: skip


def stage(experiments: int, window_s: int, *secondary: Metric, tiers: bool = False) -> Accumulate:
    made = Accumulate(AccumulateConfig(max_units=10_000_000, max_pending=10_000_000, tiers=tiers))
    made.define({f"e{number}": experiment(number, window_s, *secondary) for number in range(experiments)})
    return made


def rows(unit: U64, experiments: int, exposures: float, step_ms: int) -> Observed:
    """Rows of these units: so many exposures, each to one of the experiments, the others records of a metric."""
    rng, n = np.random.default_rng(1), len(unit)
    shown = rng.random(n) < exposures
    keys = np.array([experiment_key(f"e{number}", ("a", "b")) for number in range(experiments)], np.uint64)
    return Observed(
        np.where(shown, EXPOSED, MEASURED).astype(np.int64),
        unit,
        START_MS + np.arange(n) * step_ms,
        np.where(shown, 0, rng.integers(1, 2**63, n)).astype(np.uint64),
        np.where(shown, keys[rng.integers(0, experiments, n)], np.uint64(measures_of(SPEND)[0])),
        np.where(shown, (unit >> np.uint64(7)) % np.uint64(2), 0).astype(np.int64),
        np.full(n, -1),
        np.where(shown, 0.0, rng.lognormal(size=n)),
        np.full(n, np.nan),
    )


def users(n: int) -> U64:
    return np.random.default_rng(2).integers(1, 2**63, n).astype(np.uint64)


def batches(observed: Observed) -> list[Observations]:
    found = []
    for first in range(0, len(observed.kind), BATCH):
        part = Observed(*(getattr(observed, name)[first : first + BATCH] for name in COLUMNS))
        found.append(Observations(Span(0, first, first + len(part.kind)), "exposures", part))
    return found


def with_decisions(given: list[Observations]) -> list[Observations]:
    """The same rows, of which seven tenths are decisions."""
    rng, found = np.random.default_rng(4), []
    for batch in given:
        kind, arm = batch.observed.kind.copy(), batch.observed.arm.copy()
        chosen = rng.random(len(kind)) < 0.7
        kind[chosen], arm[chosen] = TIERED, rng.integers(0, 5, chosen.sum())
        found.append(replace(batch, observed=replace(batch.observed, kind=kind, arm=arm)))
    return found


def copied(given: list[Observations]) -> float:
    began = process_time()
    for batch in given:
        for name in COLUMNS:
            getattr(batch.observed, name).copy()
    return process_time() - began


def counted(made: Accumulate, given: list[Observations]) -> float:
    began = process_time()
    for batch in given:
        made.process(batch)
    return process_time() - began


def time_per_row(n: int, rounds: int) -> None:
    settings = {  # experiments, and rows of each unit
        "1 experiment": (1, 10),
        "10 experiments, units in 3 of them": (10, 10),
        "10 experiments, units in all of them": (10, 200),
        "1,000 experiments, units in 3 of them": (1_000, 10),
    }
    given = {}
    for name, (experiments, each) in settings.items():
        unit = users(n // each)[np.random.default_rng(3).integers(0, n // each, n)]
        given[name] = batches(rows(unit, experiments, 0.3, 10))
    warm_up()
    copies: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(rounds):
        copies.append(copied(given["1 experiment"]) / n)
        for name, (experiments, _) in settings.items():
            found[name].append(counted(stage(experiments, 36_000), given[name]) / n)
    decided = [counted(stage(1, 36_000, tiers=True), with_decisions(given["1 experiment"])) / n for _ in range(rounds)]
    found["1 experiment, seven tenths of the rows are decisions"] = decided
    base = statistics.median(copies)
    print(f"{n:,} rows, three tenths of them exposures, 100 a second; attribution window 10 h, 10 min observed before")
    print(f"    plain copy of the columns: {base * 1e6:.3f} us a row")
    for name, times in found.items():
        took = statistics.median(times)
        print(f"    {name}: {took * 1e6:.2f} us a row, {took / base:.0f} times the copy")


def memory(units: int) -> None:
    shapes = {"one mean": (), "a mean, a proportion and a ratio": (BOUGHT, PER_VISIT)}
    for name, secondary in shapes.items():
        made = stage(1, 10_000_000, *secondary)
        unit = users(units)
        given = batches(rows(unit, 1, 1.0, 1)) + batches(rows(unit[::-1].copy(), 1, 0.0, 1))
        counted(made, given)
        open_ = next(int(each.value) for each in made.measurements() if each.metric == "tidegate_units_open")
        tables, written = made.nbytes / 1e6, len(pack(made.dump())) / 1e6
        print(f"{open_:,} open units, {name}: {tables:,.0f} MB of tables, {written:,.0f} MB in a snapshot")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--units", type=int, default=1_000_000)
    arguments = parser.parse_args()
    time_per_row(arguments.rows, arguments.rounds)
    memory(arguments.units)


if __name__ == "__main__":
    main()
