"""Trees are walked as LightGBM walks them, and what are no trees is refused."""

import lightgbm
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rankers import trees

from operators.rank.trees import MOST_TREES, BadTrees, forest_of, score
from training.ranker.export import Inexportable, trees_of

QUIET = {"verbosity": -1, "num_threads": 1, "seed": 1, "min_data_in_leaf": 3, "min_data_in_bin": 1}


def trained(objective="lambdarank", rows=400, missing=0.0, number=20, seed=1, **parameters):
    """Return a booster, and rows to try it on: numbers as trained on, NaN, zeros, huge ones and the thresholds."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=(rows, 4)), 2)
    x[rng.random(x.shape) < missing] = np.nan
    y = rng.integers(0, 3, rows)
    data = lightgbm.Dataset(x, y, group=[10] * (rows // 10) if objective == "lambdarank" else None, params=QUIET)
    booster = lightgbm.train(QUIET | {"objective": objective} | parameters, data, number)
    tried = np.concatenate([x, rng.normal(size=(200, 4)) * 3, np.zeros((1, 4)), np.full((1, 4), 1e300)])
    tried[rng.random(tried.shape) < 0.1] = np.nan
    tried = np.concatenate([tried, np.full((1, 4), np.nan), np.full((1, 4), -np.inf), np.full((1, 4), 5e-36)])
    return booster, np.ascontiguousarray(tried)


def ours(booster, rows, number=None):
    return score(forest_of(trees_of(booster, number), np.arange(rows.shape[1])), rows)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("use_missing", [True, False])
@pytest.mark.parametrize("leaves", [2, 7, 63])
def test_scores_are_those_of_lightgbm_to_the_last_bit(missing, use_missing, leaves):
    booster, rows = trained(missing=missing, use_missing=use_missing, num_leaves=leaves)

    assert ours(booster, rows).tolist() == booster.predict(rows, raw_score=True).tolist()


@given(st.integers(0, 2**31 - 1), st.floats(0, 0.9), st.integers(2, 40), st.sampled_from(["lambdarank", "regression"]))
@settings(max_examples=25)
def test_scores_of_random_models_are_those_of_lightgbm(seed, missing, leaves, objective):
    booster, rows = trained(objective, 200, missing, 8, seed, num_leaves=leaves, bagging_fraction=0.8, bagging_freq=1)

    expected = booster.predict(rows, raw_score=True)
    np.testing.assert_allclose(ours(booster, rows), expected, rtol=1e-12, atol=0.0)


def test_the_first_trees_alone_can_be_taken():
    booster, rows = trained()

    assert ours(booster, rows, 7).tolist() == booster.predict(rows, raw_score=True, num_iteration=7).tolist()


def test_a_tree_that_never_splits_is_its_one_leaf():
    booster, rows = trained("regression", min_data_in_leaf=1_000, number=3)

    assert set(ours(booster, rows)) == set(booster.predict(rows, raw_score=True))
    assert forest_of(trees_of(booster), np.arange(4)).root.tolist() == [-1, -2, -3][: booster.num_trees()]


def test_features_are_found_in_the_columns_that_they_stand_in():
    booster, rows = trained()
    wide = np.full((len(rows), 9), 7.0)
    wide[:, [8, 2, 5, 0]] = rows

    found = score(forest_of(trees_of(booster), np.array([8, 2, 5, 0])), np.ascontiguousarray(wide))

    assert found.tolist() == booster.predict(rows, raw_score=True).tolist()


def test_what_the_record_cannot_say_is_refused_at_export():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, (300, 2)).astype(float), rng.normal(size=300) + 1.0

    def of(parameters, **more):
        data = lightgbm.Dataset(x, y + 3.0 * (x[:, 0] == 2), params=QUIET, **more)
        return lightgbm.train(QUIET | {"objective": "regression"} | parameters, data, 3)

    with pytest.raises(Inexportable, match="got categories"):
        trees_of(of({}, categorical_feature=[0]))
    with pytest.raises(Inexportable, match="got 0 "):
        trees_of(of({"zero_as_missing": True}))
    with pytest.raises(Inexportable, match="linear ones"):
        trees_of(of({"linear_tree": True}))
    with pytest.raises(Inexportable, match="another kind of model"):
        trees_of(of({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}))


GOOD = trees(2)

BAD = {
    "nothing": {"nodes": b""},
    "no trees": {"nodes": np.zeros(1, "<i4").tobytes(), "leaves": np.zeros(1, "<i4").tobytes()},
    "too many": {"nodes": bytes(4 * (MOST_TREES + 2)), "leaves": bytes(4 * (MOST_TREES + 2))},
    "half an entry": {"feature": GOOD.feature + b"\0"},
    "an entry too few": {"threshold": GOOD.threshold[:8]},
    "a leaf too many": {"leaves": np.array([0, 2, 5], "<i4").tobytes(), "value": np.zeros(5).tobytes()},
    "nodes that do not begin at 0": {"nodes": np.array([1, 1, 2], "<i4").tobytes()},
    "nodes that fall": {"nodes": np.array([0, 3, 2], "<i4").tobytes()},
    "a feature that is not there": {"feature": np.array([0, 3], "<i4").tobytes()},
    "a feature below 0": {"feature": np.array([0, -1], "<i4").tobytes()},
    "a threshold that is none": {"threshold": np.array([0.0, np.nan]).tobytes()},
    "an infinite threshold": {"threshold": np.array([0.0, np.inf]).tobytes()},
    "a side that is none": {"missing_left": b"\0\2"},
    "an infinite leaf": {"value": np.array([0, 1, 2, np.inf]).tobytes()},
    "leaves whose sum is infinite": {"value": np.array([1e300, 1, 1e300, 1]).tobytes()},
    "a root below itself": {"left": np.array([0, -1], "<i4").tobytes()},
    "a node of another tree": {"left": np.array([1, -1], "<i4").tobytes()},
    "a leaf of another tree": {"right": np.array([-3, -2], "<i4").tobytes()},
    "a leaf far away": {"right": np.array([-(2**31), -2], "<i4").tobytes()},
    "a leaf that two lead to": {"right": np.array([-1, -2], "<i4").tobytes()},
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
def test_what_are_no_trees_is_refused(given):
    assert forest_of(GOOD, np.arange(1)).root.tolist() == [0, 1]
    with pytest.raises(BadTrees, match=r"^expected .*, got .* - at \$\.trees\.\w+$"):
        forest_of(msgspec.structs.replace(GOOD, **given), np.arange(3)[: 1 if "feature" not in given else 3])


def test_a_ring_of_nodes_away_from_the_root_is_refused():
    one = msgspec.structs.replace(
        GOOD,
        nodes=np.array([0, 3], "<i4").tobytes(),
        leaves=np.array([0, 4], "<i4").tobytes(),
        feature=bytes(12),
        threshold=bytes(24),
        missing_left=bytes(3),
        left=np.array([-1, 2, 1], "<i4").tobytes(),
        right=np.array([-2, -3, -4], "<i4").tobytes(),
        value=bytes(32),
    )

    with pytest.raises(BadTrees, match="a later node"):
        forest_of(one, np.arange(1))


@given(st.data())
@settings(max_examples=200)
def test_whatever_arrays_come_the_walk_ends_or_they_are_refused(data):
    n = data.draw(st.integers(1, 6))
    child = st.integers(-n - 2, n)
    one = msgspec.structs.replace(
        GOOD,
        nodes=np.array([0, n], "<i4").tobytes(),
        leaves=np.array([0, n + 1], "<i4").tobytes(),
        feature=bytes(4 * n),
        threshold=bytes(8 * n),
        missing_left=bytes(n),
        left=np.array(data.draw(st.lists(child, min_size=n, max_size=n)), "<i4").tobytes(),
        right=np.array(data.draw(st.lists(child, min_size=n, max_size=n)), "<i4").tobytes(),
        value=np.arange(1.0, n + 2).tobytes(),
    )
    try:
        forest = forest_of(one, np.arange(1))
    except BadTrees:
        return
    assert all(1.0 <= each <= n + 1 for each in score(forest, np.array([[-1.0], [1.0], [np.nan]])))
