"""LightGBM's own learning-to-rank sample: our trees are LightGBM's, and so is how good they are."""

import gzip

import lightgbm
import numpy as np
import pytest

from operators.rank.trees import forest_of, score
from training.ranker.export import trees_of
from training.ranker.learner import Learning, fit
from training.ranker.lists import GradedLists
from training.ranker.measures import by_list, measured

AT = 10


def loaded(folder, part):
    """Return the lists of a part, whose queries are numbered instead of timed."""
    rows = gzip.decompress((folder / f"rank.{part}.gz").read_bytes()).decode().splitlines()
    sizes = np.array((folder / f"rank.{part}.query").read_text().split(), np.int64)
    features, grade = np.zeros((len(rows), 301), np.float32), np.zeros(len(rows), np.int64)
    for at, row in enumerate(rows):
        label, *entries = row.split()
        grade[at] = int(float(label))
        for entry in entries:
            column, _, value = entry.partition(":")
            features[at, int(column)] = float(value)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    place = np.concatenate([np.arange(size) for size in sizes])
    names = tuple(f"f{column}" for column in range(features.shape[1]))
    return GradedLists(names, features, starts, np.arange(len(sizes)), grade, place, np.zeros(len(rows)), grade > 0)


@pytest.fixture(scope="module")
def sample(real_data):
    folder = real_data("lightgbm_rank")
    return loaded(folder, "train"), loaded(folder, "test")


@pytest.mark.parametrize("gain", ["linear", "exponential"])
def test_ndcg_is_at_least_that_of_lightgbms_own_training_with_the_same_parameters(sample, gain):
    train, test = sample
    settings = Learning(trees=60, patience=60, rate=0.1, leaves=31, leaf_rows=50, at=AT, gain=gain, debias=False)
    fitted = fit(train, test, settings)
    ours = score(forest_of(trees_of(fitted.booster, fitted.trees), np.arange(301)), test.features.astype(np.float64))

    data = lightgbm.Dataset(train.features.astype(float), train.grade, group=train.sizes, params={"verbosity": -1})
    own = lightgbm.train(
        {
            "objective": "lambdarank",
            "label_gain": [0, 1, 2, 3, 4] if gain == "linear" else [0, 1, 3, 7, 15],
            "lambdarank_truncation_level": 30,
            "learning_rate": 0.1,
            "num_leaves": 31,
            "min_data_in_leaf": 50,
            "seed": 1,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        data,
        fitted.trees,
    )
    theirs = own.predict(test.features.astype(float))
    mine, other = (measured(by_list(test, each, AT)) for each in (ours, theirs))

    print(f"{gain}: NDCG@{AT} linear {mine.ndcg_linear:.4f}, exponential {mine.ndcg_exponential:.4f}")
    assert ours.tolist() == theirs.tolist()
    assert mine.ndcg_linear >= other.ndcg_linear
    assert mine.ndcg_exponential >= other.ndcg_exponential > 0.6
    assert mine.lists == 50


def test_our_ndcg_is_the_one_that_lightgbm_reports(sample):
    """LightGBM's metric has exponential gain and counts lists without a grade 1; there are none here."""
    train, test = sample
    data = lightgbm.Dataset(train.features.astype(float), train.grade, group=train.sizes, params={"verbosity": -1})
    seen = lightgbm.Dataset(test.features.astype(float), test.grade, group=test.sizes, reference=data)
    found = {}
    own = lightgbm.train(
        {"objective": "lambdarank", "metric": ["ndcg", "map"], "eval_at": [5, AT], "verbosity": -1, "num_threads": 1},
        data,
        20,
        valid_sets=[seen],
        callbacks=[lightgbm.record_evaluation(found)],
    )
    scores = own.predict(test.features.astype(float))
    for at in (5, AT):
        one = measured(by_list(test, scores, at))
        assert one.ndcg_exponential == pytest.approx(found["valid_0"][f"ndcg@{at}"][-1], abs=1e-9)
        assert one.map == pytest.approx(found["valid_0"][f"map@{at}"][-1], abs=1e-9)
