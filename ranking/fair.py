"""FA*IR: enough protected items in every prefix of a list, by a test corrected for its many prefixes.

Zehlike, Bonchi, Castillo, Hajian, Megahed, Baeza-Yates, CIKM 2017 (arXiv 1706.06368). A list is fair if none of its
prefixes has so few protected items that a draw of each place, protected with probability p, would have so few with
probability alpha or less. Over k prefixes such draws fail more often than alpha, so a smaller alpha is used for each:
that whose chance to fail anywhere is nearest alpha (the published rule), or the largest that fails no more often.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ranking.gain import F64, I64

Bool = NDArray[np.bool_]

MOST_PLACES = 1_000
"""Longest prefix of a table: the work on an adjusted table grows with the square."""


class Adjusted(NamedTuple):
    """A table with its correction.

    Attributes:
        table: fewest protected items of each prefix, shape (k,).
        least_alpha: of the tests of single prefixes: the same table results from least_alpha <= alpha < end_alpha.
        end_alpha: see there.
        fail_probability: that draws with probability p fail at any prefix.
    """

    table: I64
    least_alpha: float
    end_alpha: float
    fail_probability: float


def minimum_protected(k: int, p: float, alpha: float) -> I64:
    """Return the fewest protected items of prefixes 1..k: the smallest m with P(Binomial(i, p) <= m) > alpha.

    Args:
        k: places, 1..`MOST_PLACES`.
        p: share of protected items that is due, 0 < p < 1.
        alpha: of each single prefix, 0 <= alpha < 1.

    Raises:
        ValueError: an argument out of its range.
    """
    _check(k, p, alpha)
    return _table(_distributions(k, p), alpha)


def fail_probability(table: I64, p: float) -> float:
    """Return the exact probability that a draw of each place, protected with probability p, fails at any prefix.

    By dynamic programming over the number of protected items: what fails is taken out at each place. The authors'
    library (fairsearchcore 1.0.4) errs where a table rises at its last place: for k = 20, p = .25, alpha = .1 without
    correction its README prints .11517 where .146887 is exact, and for k = 30, p = .3, alpha = .15 it takes a table
    for the nearest, of fail probability .1525, that has .1663; tests hold both against draws.

    Args:
        table: fewest protected items of each prefix, shape (k,).
        p: as in `minimum_protected`.
    """
    alive = np.zeros(len(table) + 1)
    alive[0] = 1.0
    for least in table:
        _step(alive, p)
        alive[:least] = 0.0
    return float(max(0.0, 1.0 - alive.sum()))


def nearest_adjusted(k: int, p: float, alpha: float) -> Adjusted:
    """Return the table whose chance to fail is nearest alpha, the smaller one of two: as published. May exceed alpha.

    Arguments and errors as in `minimum_protected`; the alpha of single prefixes is never above this one.
    """
    below, above = _around(k, p, alpha)
    if above is None or alpha - below.fail_probability <= above.fail_probability - alpha:
        return below
    return above


def cautious_adjusted(k: int, p: float, alpha: float) -> Adjusted:
    """Return the strictest table that fails with probability alpha at most. Arguments as in `nearest_adjusted`."""
    return _around(k, p, alpha)[0]


def _around(k: int, p: float, alpha: float) -> tuple[Adjusted, Adjusted | None]:
    """Return the strictest table that fails with probability alpha at most, and the next one, if it is not too strict.

    A table changes only where alpha passes a value of the distributions, and fails the more often the larger alpha is:
    so a search among these values is exact, where halving an interval of alphas is not.
    """
    _check(k, p, alpha)
    distributions = _distributions(k, p)
    values = distributions[np.tri(k, k + 1, 1, dtype=np.bool_)]
    steps = np.concatenate([[0.0], np.unique(values[values <= alpha])])
    low, high = 0, len(steps)  # steps[low] is good: at 0 every table is 0. From steps[high] on they fail too often.
    while high - low > 1:
        middle = (low + high) // 2
        good = fail_probability(_table(distributions, steps[middle]), p) <= alpha
        low, high = (middle, high) if good else (low, middle)

    def adjusted(at: int) -> Adjusted:
        table = _table(distributions, steps[at])
        later = values[values > steps[at]]
        return Adjusted(table, float(steps[at]), float(later.min()), fail_probability(table, p))

    return adjusted(low), adjusted(high) if high < len(steps) else None


def _check(k: int, p: float, alpha: float) -> None:
    if not 1 <= k <= MOST_PLACES:
        raise ValueError(f"expected 1..{MOST_PLACES} places, got {k} - at k")
    if not 0.0 < p < 1.0:
        raise ValueError(f"expected a share above 0 and below 1, got {p} - at p")
    if not 0.0 <= alpha < 1.0:
        raise ValueError(f"expected a probability below 1, got {alpha} - at alpha")


def _step(law: F64, p: float) -> None:
    """Let one more place be drawn: law[m] is the probability of m protected items."""
    law[1:] = law[1:] * (1.0 - p) + law[:-1] * p
    law[0] *= 1.0 - p


def _distributions(k: int, p: float) -> F64:
    """Return P(Binomial(i, p) <= m) for i = 1..k and m = 0..k, shape (k, k + 1)."""
    law, cumulated = np.zeros(k + 1), np.empty((k, k + 1))
    law[0] = 1.0
    for row in cumulated:
        _step(law, p)
        np.cumsum(law, out=row)
    return cumulated


def _table(distributions: F64, alpha: float) -> I64:
    return np.asarray((distributions > alpha).argmax(axis=1), np.int64)


def satisfies(protected: Bool, table: I64) -> Bool:
    """Return for each prefix whether it has enough protected items.

    Args:
        protected: in the list's order, shape (n,).
        table: fewest of each prefix, shape (k,), k <= n.
    """
    return np.asarray(np.cumsum(protected[: len(table)]) >= table, np.bool_)


def reorder(protected: Bool, table: I64) -> I64:
    """Return the order with the least change that has enough protected items in each prefix of the table.

    As the algorithm of the paper: whoever is next, unless a protected item is due, then the next of these. In closed
    form: with c_i protected items in the list's first i, the result has max(c_i, m_i). So the order within a group
    stays; and no order with enough protected items turns around fewer pairs (tests, by counting all). Where protected
    items run out the others follow: `satisfies` then says from which place on there are too few.

    Args:
        protected: of the candidates in the order that is to be changed, shape (n,).
        table: fewest of each prefix, shape (k,); further places are free, and so is a table beyond the list.

    Returns:
        Positions in the old order, shape (n,).
    """
    n, all_protected = len(protected), int(protected.sum())
    count = np.cumsum(protected)
    least = np.zeros(n, np.int64)
    least[: len(table)] = table[:n]
    least[len(table) :] = table[-1] if 0 < len(table) < n else 0
    count = np.minimum(np.maximum(count, least), all_protected)
    here = np.diff(count, prepend=0) > 0
    order = np.empty(n, np.int64)
    order[here] = np.flatnonzero(protected)
    order[~here] = np.flatnonzero(~protected)
    return order
