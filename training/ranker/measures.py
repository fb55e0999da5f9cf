"""How good orders of graded lists are, and whether one is better than another by more than chance.

Measures are those of `ranking.gain`; lists without a grade above 0 say nothing and are left out, and counted.

**Clicks favour the order that was shown**, and whatever resembles it: an item far down is clicked less because it is
seen less. `pooled` counts each gain by one over its place's chance to be seen (Agarwal, Takatsu, Zaitsev, Joachims,
SIGIR 2019), so its DCG is without bias if chances are right and none is clipped, and adds lists up before it divides by
the best there is: in a list with one click, NDCG is the same whatever the click counts. Orders are compared by it.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, Bool
from ranking.gain import average_precision, dcg, exponential, linear, mean_known, ndcg, ranking, reciprocal_rank
from training.ranker.lists import GradedLists

Gain = Literal["linear", "exponential"]

ALIKE: F64 = np.ones(1)
"""What a click counts if all places are alike."""

AT_A_TIME = 1_000
"""Lists of one matrix: the longest of them gives its width."""


class ByList(NamedTuple):
    """Measures of each list, NaN where it says nothing, shape (n,).

    Attributes:
        linear: NDCG whose gain is the grade.
        exponential: NDCG whose gain is 2^grade - 1.
        counted: DCG whose gain is one of these, over the chance of the place to be seen.
        best: the same of the best order; 0 where the list says nothing.
        reciprocal_rank: one over the first place with a grade above 0.
        average_precision: of these.
    """

    linear: F64
    exponential: F64
    counted: F64
    best: F64
    reciprocal_rank: F64
    average_precision: F64


class Measured(NamedTuple):
    """Means over the lists that say something.

    Attributes:
        lists: how many they are.
        ndcg_linear: mean NDCG, linear gain.
        ndcg_exponential: mean NDCG, exponential gain.
        ndcg_pooled: of all lists together, over chances to be seen.
        mrr: mean reciprocal rank.
        map: mean average precision.
    """

    lists: int
    ndcg_linear: float
    ndcg_exponential: float
    ndcg_pooled: float
    mrr: float
    map: float


class Difference(NamedTuple):
    """Of two orders of the same lists, in pooled NDCG.

    Attributes:
        mean: first minus second.
        low: end of the 95 % interval.
        high: its other end.
    """

    mean: float
    low: float
    high: float


def by_list(lists: GradedLists, score: F64, at: int, gain: Gain = "linear", worth: F64 = ALIKE) -> ByList:
    """Measure the order of falling score in each list; equal scores stay as the log has them.

    Args:
        lists: with grades.
        score: of each row, shape (m,), finite.
        at: places that count.
        gain: of a grade, for `counted`.
        worth: what a click at each place counts, one over its chance to be seen, shape (places,); further down the last
            one holds.
    """
    weight = worth[np.minimum(lists.place, len(worth) - 1)]
    found: list[ByList] = []
    for first in range(0, lists.count, AT_A_TIME):
        starts = lists.starts[first : first + AT_A_TIME + 1]
        sizes = np.diff(starts)
        rows = slice(int(starts[0]), int(starts[-1]))
        inside = np.arange(int(sizes.max())) < sizes[:, None]
        order = ranking(_filled(inside, score[rows], -np.inf))
        grades = np.take_along_axis(_filled(inside, lists.grade[rows], 0.0), order, axis=-1)
        weights = np.take_along_axis(_filled(inside, weight[rows], 0.0), order, axis=-1)
        gains = {"linear": linear(grades), "exponential": exponential(grades)}
        counted = gains[gain] * weights
        found.append(
            ByList(
                ndcg(gains["linear"], at),
                ndcg(gains["exponential"], at),
                dcg(counted, at),
                dcg(-np.sort(-counted, axis=-1), at),
                reciprocal_rank(grades > 0, at),
                average_precision(grades > 0, at),
            )
        )
    return ByList(*map(np.concatenate, zip(*found, strict=True))) if found else ByList(*[np.zeros(0)] * 6)


def _filled(inside: Bool, values: NDArray[Any], rest: float) -> F64:
    """Return values of rows as one list a line, shape `inside`'s."""
    found = np.full(inside.shape, rest)
    found[inside] = values
    return found


def pooled(of: ByList) -> float:
    """Return the NDCG of all lists together; NaN where none says anything."""
    best = float(of.best.sum())
    return float(of.counted.sum()) / best if best > 0.0 else float("nan")


def measured(of: ByList) -> Measured:
    """Return means, and what is pooled."""
    plain, lists = mean_known(of.linear)
    exponential_mean, _ = mean_known(of.exponential)
    mrr, _ = mean_known(of.reciprocal_rank)
    return Measured(lists, plain, exponential_mean, pooled(of), mrr, mean_known(of.average_precision)[0])


def difference(first: ByList, second: ByList, seed: int, draws: int = 2_000) -> Difference:
    """Return the difference in pooled NDCG with its 95 % percentile interval, by drawing lists with replacement.

    A paired bootstrap (Efron, Ann. Statist. 1979; for retrieval: Sakai, SIGIR 2006). Lists of one user may be alike, of
    which it knows nothing: then the interval is too short.

    Args:
        first: measures of each list.
        second: of the same lists in another order.
        seed: of the draws.
        draws: how many.
    """
    known = first.best > 0.0
    each, best = (first.counted - second.counted)[known], first.best[known]
    if not each.size:
        return Difference(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, each.size, each.size) for _ in range(draws))
    low, high = np.quantile([each[lists].sum() / best[lists].sum() for lists in drawn], (0.025, 0.975))
    return Difference(float(each.sum() / best.sum()), float(low), float(high))
