"""Units of an experiment with what they do, and what a flow must make of them, counted by hand in plain Python."""

import random

import numpy as np

from schemas.definition import Definition, Metric, Phase

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
WINDOW_S = 600
BUTTON = Definition(
    id="button", version=1, timestamp=NOW, seed="s", variations=("control", "green"),
    phases=(Phase(start=NOW, coverage=1.0, weights=(0.5, 0.5)),),
    primary=Metric(name="revenue", kind="mean", event="revenue", topic="metrics"),
    secondary=(Metric(name="buyers", kind="proportion", event="revenue", topic="metrics"),),
    alpha=0.05, tuning_n=1_000, attribution_window_s=WINDOW_S, minimum_run_s=0, mde=0.1, cuped=False,
)  # fmt: skip


def sums(part):
    """Return of each metric and arm n, sum of y and sum of y squared, over phases and strata."""
    shape = (len(part.metrics), part.phases, 5, len(part.arms), 15)
    high, low = (np.frombuffer(each, "<f8").reshape(shape) for each in (part.matured, part.matured_low))
    return (high + low).sum(axis=(1, 2))[..., [0, 1, 5]]


def people(seed, n=120, start_ms=NOW):
    """Return exposures and records of units within ten minutes, in the order of time."""
    rng = random.Random(seed)
    exposures, records = [], []
    for number in range(n):
        user, arm, at = f"user-{number}", rng.choice(("control", "green")), start_ms + rng.randrange(600_000)
        exposures.append({"experiment_id": "button", "variation_id": arm, "user": user, "timestamp": at})
        for said in range(rng.randrange(4)):
            value, later = rng.randrange(100) / 4, at + rng.randrange(-50_000, 1_200_000)
            record = {"user": user, "metric": "revenue", "value": value, "timestamp": later, "id": f"{user}-{said}"}
            records.append(record)
    return sorted(exposures, key=lambda each: each["timestamp"]), sorted(records, key=lambda each: each["timestamp"])


def by_hand(exposures, records):
    """Return of each metric and arm n, sum and sum of squares: records of a unit within the window of its exposure."""
    found = np.zeros((2, 2, 3))
    for exposure in exposures:
        first = exposure["timestamp"]
        values = [
            each["value"]
            for each in records
            if each["user"] == exposure["user"] and first <= each["timestamp"] < first + 1_000 * WINDOW_S
        ]
        arm = ("control", "green").index(exposure["variation_id"])
        for metric, y in enumerate((sum(values), float(bool(values)))):
            found[metric, arm] += (1, y, y * y)
    return found
