"""The cross-fitted T-learner."""

import builtins
import sys

import numpy as np
import pytest
from uplift_worlds import World

from training.uplift.learner import MissingExtra, Settings, cross_fit, folds_of, load_lightgbm, ranks
from training.uplift.tables import table_of

SETTINGS = Settings(trees=40)


def fitted(world, settings=SETTINGS):
    return cross_fit(table_of(world.attributes), world.outcome, world.treated, world.code, settings)


@pytest.fixture(scope="module")
def world():
    return World(1, 4_000)


@pytest.fixture(scope="module")
def predicted(world):
    return fitted(world)


def test_a_planted_effect_is_found(world, predicted):
    assert np.corrcoef(predicted.uplift, world.effect)[0, 1] > 0.8


def test_the_attribute_that_moves_the_effect_or_the_outcome_matters_and_noise_does_not(predicted):
    shares = predicted.importance

    assert shares.sum() == pytest.approx(1.0)
    assert shares[3] < 0.5 * min(shares[:3])


def test_the_same_units_give_the_same_bits_in_any_order(world, predicted):
    turn = np.random.default_rng(5).permutation(len(world.code))
    table = table_of([world.attributes[at] for at in turn])
    again = cross_fit(table, world.outcome[turn], world.treated[turn], world.code[turn], SETTINGS)

    assert np.array_equal(again.uplift, predicted.uplift[turn])
    assert np.array_equal(again.importance, predicted.importance)


def test_no_unit_has_a_part_in_its_own_prediction(world, predicted):
    """One unit's outcome is a million: predictions of its own fold stay, all others move."""
    outcome = world.outcome.copy()
    outcome[7] = 1e6
    again = cross_fit(table_of(world.attributes), outcome, world.treated, world.code, SETTINGS)
    own = predicted.fold == predicted.fold[7]

    assert np.array_equal(again.uplift[own], predicted.uplift[own])
    assert (again.uplift[~own] != predicted.uplift[~own]).any()


def test_folds_are_of_like_size_and_depend_on_the_seed():
    code = np.arange(50_000, dtype=np.uint64)
    folds = folds_of(code, Settings())

    assert np.bincount(folds) == pytest.approx([10_000] * 5, abs=400)  # four binomial deviations are 358
    assert 0.1 < (folds == folds_of(code, Settings(seed=2))).mean() < 0.3


def test_outcomes_of_0_and_1_are_predicted_as_probabilities(world):
    binary = World(2, 2_000)
    binary.outcome = (binary.outcome > 0.5).astype(float)
    found = fitted(binary)

    assert min(found.treated.min(), found.control.min()) > 0.0
    assert max(found.treated.max(), found.control.max()) < 1.0


def test_an_arm_with_one_outcome_is_predicted_to_have_it():
    flat = World(2, 2_000)
    flat.outcome[~flat.treated] = 3.0

    assert set(fitted(flat).control) == {3.0}


def test_categories_are_split_as_sets_and_missing_values_are_known():
    draws = np.random.default_rng(3)
    kinds = draws.integers(0, 6, 4_000)
    attributes = [{} if kind == 5 else {"kind": "uvwxyz"[kind]} for kind in kinds]
    treated = draws.random(4_000) < 0.5
    effect = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])[kinds]
    outcome = treated * effect + draws.normal(0.0, 0.1, 4_000)
    found = cross_fit(table_of(attributes), outcome, treated, draws.permutation(4_000).astype(np.uint64), Settings())

    assert np.abs(found.uplift - effect).max() < 0.1


def test_work_is_told_model_by_model(world):
    told = []
    small = World(1, 600)
    cross_fit(
        table_of(small.attributes),
        small.outcome,
        small.treated,
        small.code,
        Settings(folds=2, trees=2),
        lambda done, of: told.append((done, of)),
    )

    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_ranks_are_within_folds_with_ties_in_the_middle():
    score, fold = np.array([1.0, 9.0, 5.0, 5.0, 5.0, 7.0]), np.array([0, 1, 0, 0, 1, 1])

    # Fold 0: 1, 5, 5 of three; fold 1: 5, 7, 9.
    assert ranks(score, fold) == pytest.approx([1 / 6, 5 / 6, 4 / 6, 4 / 6, 1 / 6, 3 / 6])


def test_without_lightgbm_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tidegate\[uplift\]'"):
        load_lightgbm()


def test_without_its_library_it_is_said_which_one(monkeypatch):
    real = builtins.__import__

    def broken(name, *more):
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(MissingExtra, match=r"install libgomp1 .*: libgomp.so.1: cannot open"):
        load_lightgbm()
