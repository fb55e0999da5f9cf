"""Served lists with grades, and their division by time.

Only what was shown is a row: whether an item that was not shown would have been clicked is not known, and taking it for
not clicked would teach the ranker the order that it is to improve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, Bool

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GradedLists:
    """Lists in the order of time; rows of list k lie from `starts[k]` up to `starts[k + 1]`, n lists and m rows.

    Attributes:
        names: of the features.
        features: as served, shape (m, features); NaN where not known.
        starts: shape (n + 1,).
        time_ms: of each list, not falling, shape (n,).
        grade: what became of each row, 0 for nothing, shape (m,).
        place: at which it was shown, from 0, shape (m,).
        popularity: the fallback's score, shape (m,).
        click: whether it was clicked or bought, whatever the grades, shape (m,).
    """

    names: tuple[str, ...]
    features: F32
    starts: I64
    time_ms: I64
    grade: I64
    place: I64
    popularity: F64
    click: Bool

    @property
    def count(self) -> int:
        """Number of lists."""
        return len(self.time_ms)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.grade)

    @property
    def sizes(self) -> I64:
        """Rows of each list, shape (n,)."""
        return np.diff(self.starts)

    @property
    def telling(self) -> Bool:
        """Which lists have rows of different grades: all others say nothing about an order, shape (n,)."""
        if not self.count:
            return np.zeros(0, np.bool_)
        first = self.starts[:-1]
        return np.maximum.reduceat(self.grade, first) > np.minimum.reduceat(self.grade, first)

    def chosen(self, lists: Bool) -> "GradedLists":
        """Return some of the lists, in their order.

        Args:
            lists: which, shape (n,).
        """
        rows = np.repeat(lists, self.sizes)
        return GradedLists(
            self.names,
            self.features[rows],
            np.concatenate([[0], np.cumsum(self.sizes[lists])]).astype(np.int64),
            self.time_ms[lists],
            self.grade[rows],
            self.place[rows],
            self.popularity[rows],
            self.click[rows],
        )


class Parts(NamedTuple):
    """Lists divided by time: every list of one part is older than every list of the next.

    Attributes:
        train: whose grades the trees are fitted to.
        validation: that say when to stop, and teach the probabilities.
        test: that nothing was learnt from.
    """

    train: GradedLists
    validation: GradedLists
    test: GradedLists


def divided(lists: GradedLists, shares: Sequence[float], within_ms: float = 0.0) -> Parts:
    """Divide lists by time, without shuffling; those of one millisecond stay together, in the older part.

    Lists of one part whose attribution time goes beyond the first list of the next are in none (an embargo: Lopez de
    Prado, Advances in Financial Machine Learning, 2018, section 7.4): their clicks were not known at that time.

    Args:
        lists: in the order of time.
        shares: of the lists, for training and validation; the rest is the test.
        within_ms: attribution time, milliseconds.
    """
    bounds, total = [0], 0.0
    for share in shares:
        total += share
        at = min(round(total * lists.count), lists.count)
        # All of the time of the last list that is in.
        bounds.append(int(np.searchsorted(lists.time_ms, lists.time_ms[at - 1], "right")) if at else 0)
    bounds.append(lists.count)
    number, until = np.arange(lists.count), lists.time_ms + within_ms
    parts = []
    for first, end in pairwise(bounds):
        known = until <= lists.time_ms[end] if end < lists.count else np.ones(lists.count, np.bool_)
        parts.append(lists.chosen((number >= first) & (number < end) & known))
    return Parts(*parts)
