"""Scores alone, with the hours in which they come, for the statistics of the calibrate stage."""

import numpy as np

from operators.batches import Decoded, Featured, Scored, Span

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
HOUR_MS = 3_600_000


def scored(score, *, per_hour, teach=None, features=None, first=0):
    """Return scores as a batch, evenly spaced in time.

    Args:
        score: shape (n,).
        per_hour: events an hour.
        teach: which are by users who may still teach; None for all.
        features: shape (n, features); None for none.
        first: number of the first event.
    """
    n = len(score)
    none = np.zeros(0)
    teach = np.ones(n, np.bool_) if teach is None else teach
    number = np.arange(first, first + n)
    time_ms = START_MS + (number * (HOUR_MS / per_hour)).astype(np.int64)
    base = Decoded(Span(0, first, first + n), "events", number, time_ms, [], [], none, none, none, none, [])
    features = none if features is None else features
    featured = Featured(base, features, features, np.zeros(n, np.uint8), teach)
    return Scored(featured, none, none, np.asarray(score, float), none, teach)


def events(answer):
    """Return (offset, event) of every change."""
    return [(change.offset, change.detail["event"]) for change in answer.changes]
