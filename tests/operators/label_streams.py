"""Streams of scores with a known probability of fraud, and labels that come late, for tests of probabilities."""

from typing import NamedTuple

import numpy as np
from streams import DAY_MS, START_MS

from operators.batches import Decoded, Featured, Scored, Span
from operators.side import Labels, Side


class Labelled(NamedTuple):
    """A stream; all arrays of length n.

    Attributes:
        score: shape (n,).
        fraud: shape (n,).
        id_hash: shape (n,).
        time_ms: shape (n,).
        said_ms: when the label of an event comes; beyond the end for none.
        likely: the true probability of fraud, given the score.
    """

    score: np.ndarray
    fraud: np.ndarray
    id_hash: np.ndarray
    time_ms: np.ndarray
    said_ms: np.ndarray
    likely: np.ndarray


def stream(seed, n, *, base=0.002, shift=5.0, spread=1.0, days=30.0, delay_days=1.0, legit_share=0.0, seen=1.0):
    """Return scores: of legit events exponential, of fraud normal around `shift`; density by Bayes.

    Args:
        seed: of everything drawn.
        n: events.
        base: share of fraud.
        shift: mean score of fraud.
        spread: its standard deviation.
        days: event time of all.
        delay_days: mean delay of a label, exponential.
        legit_share: share of legit events that are labelled too.
        seen: share of frauds that are ever labelled.
    """
    rng = np.random.default_rng(seed)
    fraud = rng.random(n) < base
    score = np.where(fraud, np.abs(rng.normal(shift, spread, n)), rng.exponential(1.0, n))
    normal = [np.exp(-0.5 * ((score + sign * shift) / spread) ** 2) for sign in (-1, 1)]
    dense = base * sum(normal) / (spread * np.sqrt(2 * np.pi))
    likely = dense / (dense + (1 - base) * np.exp(-score))
    time_ms = START_MS + (np.arange(n) * (days * DAY_MS / n)).astype(np.int64)
    said = np.where(fraud, rng.random(n) < seen, rng.random(n) < legit_share)
    said_ms = np.where(said, time_ms + rng.exponential(delay_days * DAY_MS, n).astype(np.int64), 1 << 60)
    return Labelled(score, fraud, rng.integers(1, 1 << 63, n).astype(np.uint64), time_ms, said_ms, likely)


def batch(of, first, end):
    """Return the events from `first` to `end` as the calibrate stage gets them."""
    n, none = end - first, np.zeros(0)
    number, time_ms, id_hash = np.arange(first, end), of.time_ms[first:end], of.id_hash[first:end]
    base = Decoded(Span(0, first, end), "events", number, time_ms, [], [], none, id_hash, none, none, [])
    flags = np.zeros(n, np.uint8)
    return Scored(Featured(base, none, none, flags, flags == 0), none, none, of.score[first:end], none, flags == 0)


def side(id_hash, fraud, at=0):
    """Return labels as the decode stage leaves them."""
    n = len(id_hash)
    labels = Labels(np.asarray(id_hash, np.uint64), np.asarray(fraud, np.bool_), np.zeros(n, np.int64))
    return Side(0, "labels", at, 0, n, [b""] * n, [b""] * n, list(range(n)), [0] * n, labels=labels)


def replay(stage, of, every=5_000):
    """Run a stream through a calibrate stage, labels in between when they are due; return tails and probabilities."""
    n = len(of.score)
    order = np.argsort(of.said_ms, kind="stable")
    due = of.said_ms[order]
    said, tails, given = 0, [], []
    for first in range(0, n, every):
        end = min(n, first + every)
        until = int(np.searchsorted(due, of.time_ms[first]))
        if until > said:
            rows = order[said:until]
            stage.take_side(side(of.id_hash[rows], of.fraud[rows], first))
            said = until
        answer = stage.process(batch(of, first, end))
        tails.append(answer.tail)
        given.append(answer.probability)
    return np.concatenate(tails), np.concatenate(given)
