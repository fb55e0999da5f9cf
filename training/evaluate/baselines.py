"""What the flow is held against: each feature by itself, and scikit-learn's Isolation Forest.

Isolation Forest (Liu, Ting and Zhou, ICDM 2008) is a batch method. It gets the same mapped features, fitted twice: on
the first tenth of the stream, as somebody would who trains once and deploys; and on everything, which looks ahead, so
that its figure is one that no stream can have. Neither sees a label.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from operators.batches import F64, Bool
from operators.featurize.catalogue import Feature
from training.evaluate.figures import roc_auc

FIRST = 0.1
"""Share of the stream that the deployable Isolation Forest is fitted on."""

INSTALL = "Isolation Forest needs scikit-learn: pip install 'tidegate[evaluate]', or leave it out with --no-baselines"


class MissingExtra(RuntimeError):
    """An optional package is not installed; the text says which, and what to do."""


class FeatureAuc(NamedTuple):
    """One feature as if it were the whole detector.

    Attributes:
        name: in the catalogue.
        auc: ROC-AUC of its raw value in its declared direction; of its absolute value if both ways are risky.
    """

    name: str
    auc: float


def by_feature(raw: Any, catalogue: Sequence[Feature], risky: Bool) -> list[FeatureAuc]:
    """Return every feature's own ROC-AUC, best first.

    Args:
        raw: shape (n, features), in the features' units.
        catalogue: of the columns.
        risky: shape (n,).
    """
    found = []
    for column, feature in enumerate(catalogue):
        value = raw[:, column].astype(np.float64)
        readable = ~np.isnan(value)
        if feature.direction == "down":
            value = -value
        elif feature.direction == "both":
            value = np.abs(value)
        auc = roc_auc(value[readable], risky[readable]) if readable.any() else float("nan")
        found.append(FeatureAuc(feature.name, auc))
    return sorted(found, key=lambda one: (-np.nan_to_num(one.auc, nan=-1.0), one.name))


def isolation_forest(fit: Any, score: Any, seed: int) -> F64:
    """Return how unusual each row is, higher is more, shape (n,).

    Args:
        fit: rows to learn from, shape (m, features).
        score: rows to judge, shape (n, features).
        seed: of its random trees.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415  an optional package
    except ImportError as error:
        raise MissingExtra(INSTALL) from error
    model = IsolationForest(random_state=seed).fit(fit)  # defaults: 100 trees, 256 points each
    unusual: F64 = -model.score_samples(score)
    return unusual
