"""How good an order is: NDCG with linear and with exponential gain, MRR, MAP, recall; and what a change of order costs.

All measures take values *in the order of the list*, the best place first, along the last axis; shorter lists are filled
up with 0, which changes no measure. A list without anything relevant says nothing about a ranker: its measures are NaN,
not the 0 of scikit-learn nor the 1 of LightGBM, and `mean_known` leaves it out and counts what it left in.

Ties have one rule each way. `by_score` keeps items of equal score in the order in which they stand, as LightGBM does:
rows must not be sorted by what is to be found out. `tied_ndcg` takes the mean over all orders of them (McSherry and
Najork, ECIR 2008), as scikit-learn does.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def linear(relevance: ArrayLike) -> F64:
    """Return the gain of Jarvelin and Kekalainen (TOIS 2002): the grade itself, 0 or more."""
    return np.asarray(relevance, np.float64)


def exponential(relevance: ArrayLike) -> F64:
    """Return the gain of Burges et al. (ICML 2005), LightGBM's own: 2^grade - 1."""
    return np.asarray(np.exp2(np.asarray(relevance, np.float64)) - 1.0, np.float64)


def position_weights(n: int) -> F64:
    """Return what each place is worth, 1 / log2(1 + j) for j = 1..n: NDCG's discount, and the exposure of a place."""
    return np.asarray(1.0 / np.log2(np.arange(2, n + 2)), np.float64)


def ranking(score: ArrayLike) -> I64:
    """Return the rows of a list in the order of falling score, shape (..., n); equal ones as they stand, NaN last."""
    return np.argsort(-np.asarray(score, np.float64), axis=-1, kind="stable").astype(np.int64)


def by_score(values: ArrayLike, score: ArrayLike) -> F64:
    """Return values in the order of falling score, shape (..., n); of equal scores the one that stands first."""
    return np.take_along_axis(np.asarray(values, np.float64), ranking(score), axis=-1)


def dcg(gain: F64, k: int) -> F64:
    """Return the discounted cumulative gain of the first k places: the sum of gain_j / log2(1 + j), shape (...)."""
    first = gain[..., :k]
    return np.asarray(first @ position_weights(first.shape[-1]), np.float64)


def ndcg(gain: F64, k: int, judged: F64 | None = None) -> F64:
    """Return DCG over that of the best order, shape (...); NaN where all gains are 0.

    Args:
        gain: `linear` or `exponential` of the grades, in the list's order, shape (..., n), none below 0.
        k: places that count, 1 or more.
        judged: gains of all items that could have been listed, shape (..., m), in any order. Absent: those listed.
    """
    best = dcg(-np.sort(-(gain if judged is None else judged), axis=-1), k)
    return _over(dcg(gain, k), best)


def tied_ndcg(gain: F64, score: ArrayLike, k: int) -> F64:
    """Return the mean NDCG over all orders of items of equal score; NaN where all gains are 0.

    Args:
        gain: of the items as they stand, shape (..., n).
        score: of the same items, no NaN; the list is by falling score.
        k: places that count.
    """
    score = np.asarray(score, np.float64)
    lists = np.broadcast_to(gain, score.shape).reshape(-1, score.shape[-1])
    shared = np.array([_shared(g, s) for g, s in zip(lists, score.reshape(lists.shape), strict=True)])
    return _over(dcg(shared.reshape(score.shape), k), dcg(-np.sort(-gain, axis=-1), k))


def _shared(gain: F64, score: F64) -> F64:
    """Return the gains by falling score, where those of equal score are all their mean."""
    _, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    return np.repeat(np.bincount(group, weights=gain) / size, size)


def reciprocal_rank(relevant: ArrayLike, k: int, total: ArrayLike | None = None) -> F64:
    """Return 1 / the place of the first relevant item among the first k, 0 if there is none; MRR is the mean of it.

    Args:
        relevant: 0 or 1, in the list's order, shape (..., n).
        k: places that count.
        total: relevant items there were, listed or not. Absent: those listed. NaN comes out where it is 0.
    """
    hit = np.asarray(relevant, np.bool_)
    first = hit[..., :k]
    found = np.where(first.any(axis=-1), 1.0 / (1.0 + np.argmax(first, axis=-1)), 0.0)
    return np.where(_total(hit, total) > 0, found, np.nan)


def average_precision(relevant: ArrayLike, k: int, total: ArrayLike | None = None) -> F64:
    """Return the sum of the precisions at the relevant places up to k over min(total, k); MAP is the mean of it.

    So the best list has 1 for every k, as in LightGBM. Arguments as in `reciprocal_rank`.
    """
    hit = np.asarray(relevant, np.bool_)
    first = hit[..., :k]
    precision = np.cumsum(first, axis=-1) / np.arange(1, first.shape[-1] + 1)
    return _over((precision * first).sum(axis=-1), np.minimum(_total(hit, total), k))


def recall(relevant: ArrayLike, k: int, total: ArrayLike | None = None) -> F64:
    """Return the share of the relevant items that are among the first k. Arguments as in `reciprocal_rank`."""
    hit = np.asarray(relevant, np.bool_)
    return _over(hit[..., :k].sum(axis=-1, dtype=np.float64), _total(hit, total))


def mean_known(values: F64) -> tuple[float, int]:
    """Return the mean over the lists that say something, and how many these are; NaN and 0 if none does."""
    known = values[~np.isnan(values)]
    return (float(known.mean()), known.size) if known.size else (float("nan"), 0)


def kept(score: ArrayLike, order: ArrayLike, k: int) -> float:
    """Return the NDCG of another order by the ranker's own scores, in [0, 1]; 1 minus it is what the change costs.

    A gain is by how much a score is above the list's least: scores of LambdaMART have no zero and no unit, and so the
    cost is the same for any that differ by a shift and a positive factor. Of equal scores every order keeps all.

    Args:
        score: of the candidates, shape (n,), finite.
        order: which candidates are listed, shape (m,) with m <= n, the first place first.
        k: places that count.
    """
    gain = in_range(np.asarray(score, np.float64))
    value = float(ndcg(gain[np.asarray(order, np.int64)], k, gain))
    return 1.0 if np.isnan(value) else value


def in_range(score: F64) -> F64:
    """Return the place of each score in their range, from 0 for the least to 1 for the largest, shape (n,); 0 without.

    Args:
        score: finite, shape (n,), however far apart: a range beyond that of a double is halved first.
    """
    if len(score) == 0:
        return score
    low, high = score.min(), score.max()
    if not high > low:
        return np.zeros(len(score))
    if high / 2.0 - low / 2.0 > np.finfo(np.float64).max / 2.0:
        score, low, high = score / 2.0, low / 2.0, high / 2.0
    return np.asarray((score - low) / (high - low), np.float64)


def _total(hit: NDArray[np.bool_], total: ArrayLike | None) -> F64:
    return hit.sum(axis=-1, dtype=np.float64) if total is None else np.asarray(total, np.float64)


def _over(part: ArrayLike, whole: ArrayLike) -> F64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(np.asarray(whole) > 0.0, np.divide(part, whole), np.nan), np.float64)
