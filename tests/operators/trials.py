"""Simulated experiments for tests: units, counted as the experiments flow counts them, as parts of partitions."""

import dataclasses

import msgspec
import numpy as np

from experiments.sums import Sums
from operators.batches import Messages, Span
from operators.side import Side
from schemas.definition import Definition, Guardrail, Metric, Phase
from schemas.part import RISK, STRATA, Part

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
BUYERS = Metric(name="buyers", kind="proportion", event="purchase")
SPENDING = Metric(name="spending", kind="mean", event="purchase", value="amount")
PAGES = Metric(name="pages", kind="ratio", event="visit", value="pages")


def definition(**changes):
    """Return a definition; `margin` gives it the guardrail `refunds`, of which fewer is better."""
    given = {
        "id": "button",
        "version": 1,
        "timestamp": START_MS,
        "seed": "button",
        "variations": ("control", "green"),
        "phases": (Phase(start=START_MS, coverage=1.0, weights=(0.5, 0.5)),),
        "primary": SPENDING,
        "alpha": 0.05,
        "tuning_n": 5_000,
        "attribution_window_s": 3_600,
        "minimum_run_s": 86_400,
        "mde": 0.1,
        "cuped": False,
    }
    margin = changes.pop("margin", None)
    if margin is not None:
        refunds = Metric(name="refunds", kind="proportion", event="refund", better="down")
        given["guardrails"] = (Guardrail(metric=refunds, margin=margin),)
    return Definition(**given | changes)


@dataclasses.dataclass
class Units:
    """Units of one batch; `values` are y, d, x, w by metric, shape (n, metrics, 4); all others have shape (n,)."""

    arm: np.ndarray
    values: np.ndarray
    stratum: np.ndarray | None = None
    phase: np.ndarray | None = None
    open: np.ndarray | None = None

    def __post_init__(self):
        for name in ("stratum", "phase", "open"):
            if getattr(self, name) is None:
                setattr(self, name, np.zeros(len(self.arm), np.int64))


def values(*metrics):
    """Return the values of units of which y alone is known, one array a metric; or (y, d) or (y, d, x, w)."""
    rows = []
    for each in metrics:
        given = each if isinstance(each, tuple) else (each,)
        ones, nothing = np.ones(len(given[0])), np.zeros(len(given[0]))
        rows.append(np.stack([*given, *(ones, nothing, ones)[len(given) - 1 :]], axis=1))
    return np.stack(rows, axis=1)


class Trial:
    """One partition's totals of an experiment.

    Args:
        of: the definition.
        tiers: whether tiers are read; then the last of the units' metrics is `RISK`.
    """

    def __init__(self, of, partition=0, partitions=1, *, tiers=False):
        self.of = of
        self.partition, self.partitions, self.tiers = partition, partitions, tiers
        guarded = [guardrail.metric.name for guardrail in of.guardrails]
        self.metrics = (of.primary.name, *(each.name for each in of.secondary), *guarded) + (RISK,) * tiers
        self.shape = (len(self.metrics), len(of.phases), len(STRATA), len(of.variations))
        self.sums = Sums(self.shape)
        self.open = np.zeros((*self.shape, 3))
        self.exposed, self.several = np.zeros(self.shape[1:]), np.zeros(self.shape[1:])
        self.offset = 0

    def add(self, units):
        """Count units."""
        cells = (units.phase, units.stratum, units.arm)
        np.add.at(self.exposed, cells, 1)
        self.offset += len(units.arm)
        for metric in range(len(self.metrics)):
            where = np.ravel_multi_index((np.full(len(units.arm), metric), *cells), self.shape)
            done = units.open == 0
            self.sums.add(where[done], np.ascontiguousarray(units.values[done, metric]))
            y, d = units.values[~done, metric, :2].T
            flat = self.open.reshape(-1, 3)
            np.add.at(flat, where[~done], np.stack([np.ones(len(y)), y, d], axis=1))
        return self

    def part(self, time_ms=START_MS + 2 * DAY_MS, **changes):
        """Return the totals so far."""
        given = {
            "experiment": self.of.id,
            "version": self.of.version,
            "partition": self.partition,
            "partitions": self.partitions,
            "timestamp": time_ms,
            "offsets": {"exposures": self.offset},
            "metrics": self.metrics,
            "arms": self.of.variations,
            "phases": len(self.of.phases),
            "tiers": self.tiers,
            "matured": self.sums.high.tobytes(),
            "matured_low": self.sums.low.tobytes(),
            "open": self.open.tobytes(),
            "exposed": self.exposed.tobytes(),
            "several": self.several.tobytes(),
            "first_exposure": START_MS,
        }
        return Part(**given | changes)


def wire(record):
    """Return a record's bytes."""
    return msgspec.json.encode(record)


def spent(rng, arm, lift=0.0, size=1.0):
    """Draw spending: lognormal, with so much more of it in every arm but the first."""
    return size * (1.0 + lift * (arm > 0)) * np.exp(0.5 * rng.standard_normal(len(arm)))


def drawn(rng, n, lift=0.0, weights=(0.5, 0.5), **columns):
    """Draw units of one metric, spending."""
    arm = rng.choice(len(weights), n, p=weights)
    return Units(arm, values(spent(rng, arm, lift)), **columns)


QUICK = definition(minimum_run_s=0)


def batch(parts, first=0, *, muted=False):
    """Return parts, or bytes, as records from an offset on."""
    values = [each if isinstance(each, bytes | None) else wire(each) for each in parts]
    offsets = list(range(first, first + len(values)))
    span = Span(5, first, first + len(values), muted)
    return Messages(span, "experiments.parts", values, [b"k"] * len(values), offsets, [START_MS] * len(values))


def defined(*definitions, at=0, muted=False):
    """Return definitions, or (key, bytes) as they are, as side records."""
    records = [(each.id, wire(each)) if not isinstance(each, tuple) else each for each in definitions]
    return Side(
        partition=5,
        topic="experiments.definitions",
        at=at,
        first=0,
        next=len(records),
        values=[value for _, value in records],
        keys=[None if key is None else key.encode() for key, _ in records],
        offsets=list(range(len(records))),
        timestamps_ms=[START_MS] * len(records),
        muted=muted,
    )


def growing(of=QUICK, rounds=12, partitions=3, lift=0.15, each=60, seed=1):
    """Return the parts of an experiment as they are published: of each partition one a round."""
    rng = np.random.default_rng(seed)
    trials = [Trial(of, number, partitions) for number in range(partitions)]
    parts = []
    for at in range(rounds):
        for trial in trials:
            some = drawn(rng, each, lift)
            some.open[:2] = at < rounds - 1
            parts.append(trial.add(some).part(START_MS + (at + 1) * DAY_MS))
    return parts
