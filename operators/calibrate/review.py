"""What about thresholds and drift is worth an audit record: found once, told once."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from operators.batches import F64
from operators.calibrate.config import ReviewConfig
from operators.calibrate.tail import BINS, BINS_PER_NAT, GREATEST_SCORE
from operators.calibrate.thresholds import Thresholds
from operators.state import State

Detail = dict[str, str | int | float | bool | None]


class Review:
    """Remembers what was told of one partition.

    Args:
        config: which changes are told.
        budgets: alert budget by tier.
        features: their names, in the order of the columns.
    """

    def __init__(self, config: ReviewConfig, budgets: Mapping[str, float], features: Sequence[str]) -> None:
        self._config = config
        self._budgets = dict(budgets)
        self._features = list(features)
        self._told: F64 = np.full(len(self._budgets), np.nan)  # thresholds as told last; NaN before the first table
        self._drifted = False
        self._moved = False  # whether a feature's drift has begun

    def scores_of(self, thresholds: Thresholds) -> dict[str, float]:
        """Return the threshold of each tier; `GREATEST_SCORE` where no score reaches it."""
        bins = {tier: thresholds.threshold(budget) for tier, budget in self._budgets.items()}
        return {tier: b / BINS_PER_NAT if b < BINS else float(GREATEST_SCORE) for tier, b in bins.items()}

    def ready(self, thresholds: Thresholds) -> Detail:
        """Tell the first thresholds."""
        found = self.scores_of(thresholds)
        self._told = np.array(list(found.values()), np.float64)
        return {"event": "ready", **_told(found)}

    def thresholds(self, thresholds: Thresholds) -> Iterable[Detail]:
        """Tell the thresholds if one has moved, with what was told last."""
        if self._moved_away(thresholds):
            found = self.scores_of(thresholds)
            scores = np.array(list(found.values()), np.float64)
            before = {
                f"{tier}_before": score for tier, score in _told(dict(zip(found, self._told, strict=True))).items()
            }
            self._told = scores
            yield {"event": "moved", **_told(found), **before}

    def _moved_away(self, thresholds: Thresholds) -> bool:
        """Whether a threshold told last stands for a tail more than the factor away from its budget."""
        budgets, factor = np.array(list(self._budgets.values())), self._config.threshold_factor
        stand_for = thresholds.table[np.minimum(np.rint(self._told * BINS_PER_NAT), BINS - 1).astype(np.int64)]
        return bool(((stand_for > budgets * factor) | (stand_for < budgets / factor)).any())

    def scores(self, psi: float) -> Iterable[Detail]:
        """Tell that a drift of the scores began or ended, by their stability index."""
        limits = self._config
        if not self._drifted and psi > limits.drift_limit:
            self._drifted = True
            yield {"event": "began", "psi": psi, "limit": limits.drift_limit}
        elif self._drifted and psi < limits.drift_end:
            self._drifted = False
            yield {"event": "ended", "psi": psi, "limit": limits.drift_end}

    def features(self, indices: F64) -> Iterable[Detail]:
        """Tell that a drift of features began or ended, by their stability indices, shape (features,)."""
        if not len(indices):
            return
        limits = self._config
        most = int(np.argmax(indices))
        detail: Detail = {"feature": self._features[most], "psi": float(indices[most])}
        if not self._moved and indices[most] > limits.drift_limit:
            self._moved = True
            shifted = int((indices > limits.drift_limit).sum())
            yield {"event": "features_began", **detail, "features": shifted, "limit": limits.drift_limit}
        elif self._moved and indices[most] < limits.drift_end:
            self._moved = False
            yield {"event": "features_ended", **detail, "limit": limits.drift_end}

    def dump(self) -> State:
        """Return what was told."""
        return {
            "review.told": self._told.copy(),
            "review.drifted": int(self._drifted),
            "review.moved": int(self._moved),
        }

    def load(self, state: State, warm: bool) -> None:  # noqa: FBT001  a fact about the state, not a mode
        """Take back what was told; of other budgets than these nothing was."""
        told = np.asarray(state["review.told"], np.float64)
        nothing = np.full(len(self._budgets), GREATEST_SCORE if warm else np.nan)
        self._told = told.copy() if told.shape == nothing.shape and not np.isnan(told).any() else nothing
        self._drifted = bool(state["review.drifted"])
        self._moved = bool(state["review.moved"])


def _told(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {tier: float(score) if score < GREATEST_SCORE else None for tier, score in scores.items()}
