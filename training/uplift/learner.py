"""A T-learner (Kuenzel, Sekhon, Bickel and Yu, PNAS 116, 2019) of LightGBM models, cross-fitted.

One model of the outcome is learnt from the treated units, another from the controls; predicted uplift is the difference
of what they say of one unit. Cross-fitted: units are cut into folds by their hash, and each fold is predicted by models
learnt from the others, so no unit's outcome has a part in its own prediction.

Predictions of different folds come from different models, whose levels lean against the fold they leave out: what is
high by chance there is low elsewhere. So units are ranked within their folds, and ranks put together (`ranks`).

Everything is fixed: seeds, one thread, rows in the order of their hashes, `deterministic`. LightGBM's own defaults are
taken back: few leaves of many units, a low rate, as effects are small beside the outcome's noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from operators.batches import F64, I64, U64, Bool
from training.uplift.tables import Table

INSTALL = "uplift needs LightGBM: pip install 'tidegate[uplift]'"
LIBRARY = (
    "LightGBM is installed, but the OpenMP library it needs is not: install libgomp1 (Debian, Ubuntu), libgomp (Fedora)"
    " or libomp (macOS, brew)"
)


class MissingExtra(RuntimeError):
    """LightGBM cannot be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How models are learnt.

    Attributes:
        folds: at least 2.
        trees: of each model.
        rate: share of what each tree says that counts.
        leaves: of a tree.
        leaf_units: fewest units in a leaf.
        leaf_share: fewest, as a share of the units of the arm; the larger of both counts.
        seed: of folds and models.
    """

    folds: int = 5
    trees: int = 100
    rate: float = 0.03
    leaves: int = 4
    leaf_units: int = 20
    leaf_share: float = 0.05
    seed: int = 1


class Predicted(NamedTuple):
    """What models said that never saw the unit.

    Attributes:
        treated: its outcome if treated, shape (n,).
        control: if not, shape (n,).
        fold: the fold it is in, shape (n,).
        importance: by column, its share of what splits gained in all models, shape (columns,), sum 1; all 0 without
            a split.
    """

    treated: F64
    control: F64
    fold: I64
    importance: F64

    @property
    def uplift(self) -> F64:
        """Predicted uplift, shape (n,)."""
        return self.treated - self.control


def load_lightgbm() -> Any:
    """Import LightGBM, where it is needed and not before.

    Raises:
        MissingExtra: it is not installed, or its library is not.
    """
    try:
        import lightgbm  # noqa: PLC0415  an optional package
    except ImportError as error:
        raise MissingExtra(INSTALL) from error
    except OSError as error:  # what ctypes raises for libgomp.so.1
        raise MissingExtra(f"{LIBRARY}: {error}") from error
    return lightgbm


def folds_of(code: U64, settings: Settings) -> I64:
    """Return the fold of each unit, shape (n,); it depends on the unit and the seed alone.

    Args:
        code: hash of each unit, shape (n,).
        settings: how many folds, and the seed.
    """
    # Fibonacci hashing; the high bits, as the low ones of a product depend on the low ones of the code alone.
    mixed = (code ^ np.uint64(settings.seed)) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(33)) % np.uint64(settings.folds)).astype(np.int64)


def cross_fit(
    table: Table,
    outcome: F64,
    treated: Bool,
    code: U64,
    settings: Settings,
    told: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Predict every unit by models of the other folds.

    Args:
        table: attributes of the units.
        outcome: 0 and 1, or any finite numbers, shape (n,).
        treated: whether a unit is in the arm that is tried, shape (n,).
        code: hash of each unit, shape (n,).
        settings: how models are learnt.
        told: called after each model: how many are done, of how many.

    Raises:
        MissingExtra: LightGBM cannot be used.
    """
    order = np.argsort(code, kind="stable")
    values, outcome, treated = table.values[order], outcome[order], treated[order]
    fold = folds_of(code[order], settings)
    predicted = np.empty((2, len(order)))
    importance = np.zeros(len(table.columns))
    done = 0
    for each in range(settings.folds):
        held = fold == each
        for arm in (0, 1):
            learnt = ~held & (treated == bool(arm))
            model = Model(table, values[learnt], outcome[learnt], settings)
            predicted[arm, held] = model.predict(values[held])
            importance += model.importance
            done += 1
            if told is not None:
                told(done, 2 * settings.folds)
    back = np.argsort(order, kind="stable")
    total = float(importance.sum())
    share = importance / total if total > 0.0 else importance
    return Predicted(predicted[1, back], predicted[0, back], fold[back], share)


class Model:
    """One model of an outcome: logistic for 0 and 1, least squares for other numbers, a constant if all are the same.

    Args:
        table: whose columns the values are.
        values: shape (m, columns), m >= 1.
        outcome: shape (m,).
        settings: how it is learnt.

    Attributes:
        importance: what splits on each column gained, shape (columns,).
    """

    def __init__(self, table: Table, values: F64, outcome: F64, settings: Settings) -> None:
        self.importance: F64 = np.zeros(len(table.columns))
        self._constant = float(outcome[0])
        self._booster: Any = None
        if (outcome == outcome[0]).all():
            return
        lightgbm = load_lightgbm()
        binary = bool(np.isin(outcome, (0.0, 1.0)).all())
        categorical = [at for at, column in enumerate(table.columns) if column.categories is not None]
        data = lightgbm.Dataset(values, outcome, categorical_feature=categorical, params={"verbosity": -1})
        parameters = {
            "objective": "binary" if binary else "regression",
            "learning_rate": settings.rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": max(settings.leaf_units, int(settings.leaf_share * len(outcome))),
            "seed": settings.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        self._booster = lightgbm.train(parameters, data, settings.trees)
        self.importance = np.asarray(self._booster.feature_importance("gain"), np.float64)

    def predict(self, values: F64) -> F64:
        """Return what the outcome of each row is likely to be, shape (k,)."""
        if self._booster is None or not len(values):
            return np.full(len(values), self._constant)
        return np.asarray(self._booster.predict(values, num_threads=1), np.float64)


def ranks(score: F64, fold: I64) -> F64:
    """Return where units stand within their folds, > 0 and < 1, the highest score highest; ties in the middle."""
    found = np.empty(len(score))
    for each in np.unique(fold):
        held = fold == each
        _, inverse, counts = np.unique(score[held], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - counts / 2.0
        found[held] = middle[inverse] / len(inverse)
    return found
