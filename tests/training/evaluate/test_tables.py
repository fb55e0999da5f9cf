"""Plain tables through the score stage, beside others' detectors."""

import numpy as np
import pytest
from river import anomaly, preprocessing

from operators.score.table import Table as Models
from operators.score.table import TableConfig
from training.evaluate.baselines import isolation_forest
from training.evaluate.figures import roc_auc
from training.evaluate.table_page import table_page
from training.evaluate.tables import (
    EVERYTHING,
    FIRST_TENTH,
    METHODS,
    RIVER,
    TableError,
    assess_table,
    half_space_trees,
    load,
    scored,
)

CONFIG = TableConfig(window=200, refresh=50, half_life=5_000)


def quickly(x, seed):
    """Score as `scored` does, after a shorter warm-up."""
    found = Models(x.shape[1], seed=seed, config=CONFIG).score_then_learn(x)
    return dict(zip(METHODS, (found.score, found.forest, found.evidence), strict=True))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.Generator(np.random.PCG64(2))
    x = rng.normal(size=(3_000, 3))
    risky = rng.random(3_000) < 0.02
    x[risky] += 6.0
    return x, risky


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.npz"
    np.savez(path, X=rows[0], y=rows[1].astype(int))
    return load(path)


@pytest.fixture(scope="module")
def found(table):
    return assess_table(table, ("<t>.npz", "ab"), [1, 2, 3], score=quickly, baselines=(FIRST_TENTH, EVERYTHING, RIVER))


def test_every_method_has_a_run_for_each_seed(found):
    assert [one.name for one in found.methods] == [*METHODS, FIRST_TENTH, EVERYTHING, RIVER]
    assert {len(one.runs) for one in found.methods} == {3}
    assert all(one.roc_auc == sorted(one.runs)[1] for one in found.methods)


def test_isolation_forest_is_fitted_on_the_first_tenth_and_on_everything(rows, found):
    x, risky = rows
    runs = {one.name: one.runs for one in found.methods}
    tenth, whole = isolation_forest(x[:300], x, 1), isolation_forest(x, x, 1)

    assert runs[FIRST_TENTH][0] == roc_auc(tenth[found.unknown :], risky[found.unknown :])
    assert runs[EVERYTHING][0] == roc_auc(whole[found.unknown :], risky[found.unknown :])


def test_what_lies_far_out_is_found(found):
    # Three shifts of six standard deviations: any detector that works is near 1.
    assert all(one.roc_auc > 0.97 for one in found.methods if one.name != RIVER)


def test_the_methods_are_the_models_at_their_defaults(rows):
    found = Models(3, seed=7).score_then_learn(rows[0])

    assert np.array_equal(scored(rows[0], 7)["forest alone"], found.forest, equal_nan=True)
    assert np.array_equal(scored(rows[0], 7)["evidence alone"], found.evidence, equal_nan=True)
    assert np.array_equal(scored(rows[0], 7)["combination"], found.score, equal_nan=True)


def test_rows_of_the_warm_up_are_left_out(rows, found):
    unknown = np.isnan(quickly(rows[0], 1)["combination"]).sum()

    assert 200 <= unknown < 3_000  # a window at least
    assert (found.unknown, found.compared) == (unknown, 3_000 - unknown)


def test_half_space_trees_are_rivers(rows):
    pipeline = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=4)
    expected = []
    for row in rows[0][:600].tolist():
        point = dict(enumerate(row))
        pipeline["MinMaxScaler"].learn_one(point)
        expected.append(pipeline.score_one(point))
        pipeline["HalfSpaceTrees"].learn_one(pipeline["MinMaxScaler"].transform_one(point))

    assert half_space_trees(rows[0][:600], 4).tolist() == expected


def test_the_page_holds_every_method_and_loads_nothing(found):
    text = table_page(found)

    assert all(name.split("'")[0] in text for name in METHODS)
    assert "&lt;t&gt;.npz" in text
    assert not [word for word in ("<script", "http", "url(", "@import") if word in text]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((3, 2))}, "expected arrays X and y, got X"),
        ({"X": np.ones((3, 2)), "y": np.zeros(4)}, r"got \(3, 2\) and \(4,\)"),
        ({"X": np.ones((3, 2)), "y": np.zeros(3)}, "expected both classes in y, got legitimate rows only"),
        ({"X": np.full((2, 1), np.nan), "y": np.array([0, 1])}, "expected finite numbers in X, got 2 others"),
        ({"X": np.array([[{}]], object), "y": np.zeros(1)}, "expected an npz file of numbers, got something else"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)

    with pytest.raises(TableError, match=message):
        load(tmp_path / "t.npz")


def test_a_file_that_is_no_npz_is_said(tmp_path):
    (tmp_path / "t.npz").write_bytes(b"PK\x03\x04 no")

    with pytest.raises(TableError, match="expected an npz file of numbers"):
        load(tmp_path / "t.npz")


def test_a_table_shorter_than_the_warm_up_is_said(table):
    short = table._replace(x=table.x[:100], risky=table.risky[:100])

    with pytest.raises(TableError, match="expected both classes after the warm-up of 100 rows"):
        assess_table(short, ("t", ""), [1], score=quickly)
