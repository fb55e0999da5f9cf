"""Scaling: the same stream over other numbers of partitions, compared on the events that both replays know.

With more partitions more events fall into the warm-up, so figures of whole replays are about different events.
"""

import numpy as np
from numpy.typing import NDArray

from training.evaluate.evaluation import Scaled
from training.evaluate.figures import roc_auc
from training.evaluate.replay import Replayed

METHODS = {"combination": "score", "forest alone": "forest", "evidence alone": "evidence"}
"""Name -> column of a replay."""


def scaled(one: Replayed, other: Replayed, truth: NDArray[np.int8], partitions: int) -> Scaled:
    """Compare two replays of one stream.

    Args:
        one: the replay that is evaluated.
        other: the one over another number of partitions.
        truth: of each event read: 1 risky, 0 legitimate, -1 nobody knows.
        partitions: of `other`.
    """
    mine, theirs = (replayed.line[replayed.known & (truth[replayed.line] >= 0)] for replayed in (one, other))
    both = np.intersect1d(mine, theirs)
    risky = truth[both] == 1
    rows = [np.searchsorted(replayed.line, both) for replayed in (one, other)]
    areas = [
        {
            name: roc_auc(getattr(replayed, column)[at], risky) if len(both) else float("nan")
            for name, column in METHODS.items()
        }
        for replayed, at in zip((one, other), rows, strict=True)
    ]
    return Scaled(partitions=partitions, compared=len(both), risky=int(risky.sum()), before=areas[0], after=areas[1])
