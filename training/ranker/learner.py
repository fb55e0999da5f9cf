"""LambdaMART (Burges, From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82) by LightGBM.

What is minimised is LambdaLoss's bound of NDCG (Wang, Li, Golbandi, Bendersky, Najork, CIKM 2018): pairs of a list
count by how much turning them around would change NDCG.

**Places.** What stands first is clicked more, whatever it is. While it fits, LightGBM adds a term for each place to the
score, s = f(features) + g(place), learnt beside the trees and left out afterwards (its `position` and
`lambdarank_position_bias_regularization`, since 4.1: the additive decomposition of Guo et al., PAL, RecSys 2019, for
pairs). Where places follow from the features alone the two cannot be told apart (Zhang et al., KDD 2023).

When to stop is told by the validation part, whose clicks favour what was shown first just as much: so its NDCG counts
them over their places' chances to be seen (`training.ranker.measures`).

Everything is fixed: seed, threads, `deterministic`, rows in the order of time.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from operators.batches import F64
from training.ranker.export import trees_of
from training.ranker.lists import GradedLists
from training.ranker.measures import ALIKE, Gain, by_list, pooled
from training.uplift.learner import MissingExtra, load_lightgbm

OLDEST = (4, 1)
"""First LightGBM that knows of places."""


@dataclass(frozen=True, slots=True)
class Learning:
    """How trees are learnt.

    Attributes:
        trees: at the most.
        patience: trees without a better NDCG on the validation part, after which no more are made.
        rate: share of what each tree says that counts.
        leaves: of a tree.
        leaf_rows: fewest rows in a leaf.
        at: places of NDCG.
        gain: of a grade: the grade, or 2^grade - 1.
        debias: whether places are taken out.
        place_regularization: of the places' terms, 0 or more.
        seed: of everything.
        threads: of LightGBM; the model is the same with any number.
    """

    trees: int = 300
    patience: int = 30
    rate: float = 0.05
    leaves: int = 15
    leaf_rows: int = 20
    at: int = 10
    gain: Gain = "linear"
    debias: bool = True
    place_regularization: float = 0.0
    seed: int = 1
    threads: int = 1


class Fitted(NamedTuple):
    """A model.

    Attributes:
        booster: LightGBM's own.
        trees: of them count so many, the first.
        importance: by feature, what splits on it gained, as a share, shape (features,).
    """

    booster: Any
    trees: int
    importance: F64

    def score(self, lists: GradedLists) -> F64:
        """Return LightGBM's own score of each row, shape (m,)."""
        found = self.booster.predict(lists.features, num_iteration=self.trees, num_threads=1)
        return np.asarray(found, np.float64)


def load_ranker_library() -> Any:
    """Import LightGBM, where it is needed and not before.

    Raises:
        MissingExtra: it is not installed, its library is not, or it knows nothing of places.
    """
    try:
        lightgbm = load_lightgbm()
    except MissingExtra as error:
        raise MissingExtra(str(error).replace("uplift needs", "train needs", 1)) from error
    found = tuple(int(each) for each in lightgbm.__version__.split(".")[:2])
    if found < OLDEST:
        raise MissingExtra(
            f"train needs LightGBM 4.1 or newer, got {lightgbm.__version__}: pip install 'tidegate[uplift]'"
        )
    return lightgbm


def parameters(settings: Learning, greatest: int) -> dict[str, Any]:
    """Return LightGBM's parameters.

    Args:
        settings: as asked.
        greatest: grade.
    """
    grades = range(max(greatest, 1) + 1)
    return {
        "objective": "lambdarank",
        "metric": "None",
        "label_gain": [float(grade if settings.gain == "linear" else 2**grade - 1) for grade in grades],
        "lambdarank_truncation_level": settings.at + 20,
        "lambdarank_position_bias_regularization": settings.place_regularization,
        "learning_rate": settings.rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.leaf_rows,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": settings.threads,
        "verbosity": -1,
    }


def fit(train: GradedLists, validation: GradedLists, settings: Learning, worth: F64 = ALIKE) -> Fitted:
    """Fit trees to one part, and stop by the other.

    Args:
        train: lists to learn from; those with one grade alone only slow it down.
        validation: likewise.
        settings: how.
        worth: what a click at each place counts on the validation part, as in `measures.by_list`.

    Raises:
        MissingExtra: LightGBM cannot be used.
        Inexportable: trees that no record can hold.
    """
    lightgbm = load_ranker_library()
    greatest = max(int(train.grade.max(initial=0)), int(validation.grade.max(initial=0)))
    asked = parameters(settings, greatest)

    def data(lists: GradedLists, **more: Any) -> Any:
        return lightgbm.Dataset(lists.features, lists.grade, group=lists.sizes, params={"verbosity": -1}, **more)

    def stop_by(score: F64, _: Any) -> tuple[str, float, bool]:
        found = by_list(validation, np.asarray(score, np.float64), settings.at, settings.gain, worth)
        return "pooled", pooled(found), True

    learnt = data(train, position=train.place) if settings.debias else data(train)
    booster = lightgbm.train(
        asked,
        learnt,
        settings.trees,
        valid_sets=[data(validation, reference=learnt)],
        feval=stop_by,
        callbacks=[lightgbm.early_stopping(settings.patience, verbose=False)],
    )
    trees = booster.best_iteration or booster.num_trees()
    trees_of(booster, trees)  # what cannot be published is not worth measuring
    gained = np.asarray(booster.feature_importance("gain", iteration=trees), np.float64)
    total = float(gained.sum())
    return Fitted(booster, trees, gained / total if total > 0.0 else gained)
