"""Definitions and records for the tests of the observe stage."""

import dataclasses
import json

import msgspec
import numpy as np
from bad_records import MOST

from operators.batches import Messages, Span
from operators.decode import Pseudonymizer
from operators.observe import Observe, ObserveConfig
from operators.side import Side
from schemas.definition import Definition, Guardrail, Metric, Phase

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
KEY = b"k" * 32
PSEUDONYMS = Pseudonymizer(KEY)

REVENUE = Metric(name="revenue", kind="mean", event="revenue", topic="metrics")
BUYERS = Metric(name="buyers", kind="proportion", event="purchase")


def definition(name="button", primary=REVENUE, **given):
    """Return a definition of two arms, half and half."""
    fields = {
        "id": name,
        "version": 1,
        "timestamp": NOW - 1_000,
        "seed": name,
        "variations": ("control", "green"),
        "phases": (Phase(start=NOW - 1_000, coverage=1.0, weights=(0.5, 0.5)),),
        "primary": primary,
        "alpha": 0.05,
        "tuning_n": 1_000,
        "attribution_window_s": 60,
        "minimum_run_s": 0,
        "mde": 0.1,
        "cuped": False,
    }
    return Definition(**fields | given)


def guarded(metric):
    """Return a metric as a guardrail."""
    return Guardrail(metric=metric, margin=0.1)


def side(topic, values, keys=None, first=7, kafka_ms=NOW):
    """Return records of a side topic."""
    n = len(values)
    values = [json.dumps(each).encode() if isinstance(each, dict) else each for each in values]
    return Side(
        0, topic, 100, first, first + n, values, keys or [b"k"] * n, list(range(first, first + n)), [kafka_ms] * n
    )


def definitions(*those):
    """Return records of `experiments.definitions`."""
    return side(
        "experiments.definitions", [msgspec.json.encode(each) for each in those], [each.id.encode() for each in those]
    )


def exposures(*values, keys=None, first=10, kafka_ms=NOW, topic="exposures"):
    """Return records of `exposures`."""
    n = len(values)
    values = [json.dumps(each).encode() if isinstance(each, dict) else each for each in values]
    return Messages(
        Span(0, first, first + n), topic, values, keys or [b"k"] * n, list(range(first, first + n)), [kafka_ms] * n
    )


def observe(*those, pseudonyms=PSEUDONYMS):
    """Return a stage that has applied some definitions."""
    stage = Observe(ObserveConfig(max_message_bytes=MOST, cache_entries=8), pseudonyms)
    stage.take_side(definitions(*those))
    return stage


def taken(stage, topic, *values, **given):
    """Return records of a side topic as a stage has filled them in."""
    records = side(topic, list(values), **given)
    stage.take_side(records)
    return records


def exposed(**given):
    """Return an exposure."""
    return {"experiment_id": "button", "variation_id": "green", "user": "ada", "timestamp": NOW} | given


def number(**given):
    """Return a record of `metrics`."""
    return {"user": "ada", "metric": "revenue", "value": 2.5, "timestamp": NOW} | given


def event(**given):
    """Return an event."""
    return {"id": "e-1", "timestamp": NOW, "user": "ada", "type": "purchase"} | given


def decision(**given):
    """Return a record of `risk.tiers`."""
    user = PSEUDONYMS.pseudonym("user", "ada")
    return {"schema": 1, "id": "e-1", "timestamp": NOW, "user": user, "tier": "high", "standing": "low"} | given


def joined(answers):
    """Return the columns of consecutive rows, joined, as lists; every NaN is the same."""
    rows = [answer.observed for answer in answers]
    return {
        name: [repr(each) for row in rows for each in getattr(row, name).tolist()]
        for name in (field.name for field in dataclasses.fields(rows[0]))
    }


def hash_of(bits):
    """Return one number as an array of 64-bit ones."""
    return np.array([bits], np.uint64)
