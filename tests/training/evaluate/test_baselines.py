"""What the flow is held against."""

import sys

import numpy as np
import pytest

from operators.featurize.catalogue import catalogue
from training.evaluate.baselines import MissingExtra, by_feature, isolation_forest

FEATURES = catalogue((60,))
RISKY = np.array([0, 0, 1, 1], bool)


def test_each_feature_is_taken_in_its_risky_direction():
    raw = np.zeros((4, len(FEATURES)), np.float32)
    names = [feature.name for feature in FEATURES]
    raw[:, names.index("event_count_1m")] = [1, 2, 3, 4]  # up: right
    raw[:, names.index("gap_deviation_1m")] = [4, 3, 2, 1]  # down: right too
    raw[:, names.index("amount_deviation_1m")] = [1, -2, -3, 4]  # both: by size
    found = dict(by_feature(raw, FEATURES, RISKY))

    assert found["event_count_1m"] == found["gap_deviation_1m"] == found["amount_deviation_1m"] == 1.0
    assert found["ip_novelty"] == 0.5


def test_isolation_forest_finds_what_lies_apart():
    rows = np.random.Generator(np.random.PCG64(1)).normal(0.5, 0.01, (300, 3))
    rows[0] = 0.0

    assert np.argmax(isolation_forest(rows, rows, 0)) == 0


def test_isolation_forest_repeats_itself():
    rows = np.random.Generator(np.random.PCG64(1)).random((300, 3))

    assert np.array_equal(isolation_forest(rows, rows, 4), isolation_forest(rows, rows, 4))


def test_without_scikit_learn_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tidegate\[evaluate\]'"):
        isolation_forest(np.zeros((2, 1)), np.zeros((2, 1)), 0)
