"""Figures on real data, with margins: one pass, no look-ahead, no labels, rows without a score left out."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from flows.event_files import EventFile, Ready
from flows.mapping import load_mapping
from flows.risk import Stages
from flows.settings import load_settings
from operators.batches import Messages, Span
from operators.score import Table

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def data(real_data):
    return real_data()


def roc_auc(score, label):
    """The Mann-Whitney statistic, with ties counted half, of what has a score."""
    known = ~np.isnan(score)
    score, label = score[known], label[known].astype(bool)
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(label.sum())
    return (rank[label].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive))


def test_the_area_is_that_counted_by_hand():
    # Of 2 x 3 pairs the positive is above in 4 and tied in 1.
    assert roc_auc(np.array([3.0, 1.0, 2.0, 1.0, 0.0]), np.array([1, 1, 0, 0, 0])) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize(
    ("file", "rows", "forest", "score"),
    [("34_smtp.npz", None, 0.86, 0.88), ("32_shuttle.npz", None, 0.975, 0.99), ("16_http.npz", 330_000, 0.99, 0.99)],
)
def test_a_table_tells_anomalies_apart(data, file, rows, forest, score):
    archive = np.load(data / "adbench" / file)
    found = Table(archive["X"].shape[1]).score_then_learn(archive["X"][:rows].astype(float))
    label = archive["y"][:rows]

    assert roc_auc(found.forest, label) >= forest
    assert roc_auc(found.score, label) >= score


def test_bots_are_told_from_people_and_by_both_better_than_by_either(data):
    # One partition, the default seed; `isRobot`, names and comments are no features.
    path = data / "wikiticker" / "wikiticker-2015-09-12.repaired.json.gz"
    with EventFile(path, load_mapping(ROOT / "examples" / "wikiticker.mapping.toml")) as lines:
        events = [line for line in lines if isinstance(line, Ready)]
    with gzip.open(path) as records:
        robots = [json.loads(record)["isRobot"] for record in records]
    label = np.array([robots[event.line - 1] for event in events])
    n = len(events)
    batch = Messages(
        Span(0, 0, n),
        "events",
        [event.value for event in events],
        [event.key for event in events],
        list(range(n)),
        [event.timestamp_ms for event in events],
    )
    fresh = Stages(load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": "0123456789abcdef0123"}, needs_key=True))
    scored = fresh.score(0).process(fresh.featurize(0).process(fresh.decode(0).process(batch)))
    both = roc_auc(scored.score, label)

    assert both >= 0.96
    assert both > max(roc_auc(scored.forest, label), roc_auc(scored.evidence, label))
