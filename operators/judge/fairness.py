"""Fairness of one list as it is shown: exposure by group, tests of minimum proportions, and what the alarm bets on.

Exposure of a candidate is 1 / log2(1 + place) if it is shown and 0 if it is not (`ranking.exposure`), so of the list as
the user gets it, whatever was ranked behind what he sees.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64
from ranking import fair
from ranking.exposure import means_by_group
from ranking.gain import position_weights

HUNDREDTHS = 100


class Least(NamedTuple):
    """A test of minimum proportions.

    Attributes:
        table: fewest of the group in each prefix, shape (k,).
        fails: the exact probability that a fair list fails it.
    """

    table: I64
    fails: float


@lru_cache(maxsize=4_096)
def least(k: int, p: float, alpha: float, *, adjusted: bool) -> Least:
    """Return the test of the first k places, with share p due.

    Args:
        k: places.
        p: share of places that is due to the group, above 0 and below 1.
        alpha: see `adjusted`.
        adjusted: a whole list fails with probability alpha at most (`ranking.fair.cautious_adjusted`); else each of its
            prefixes, and the whole list more often.
    """
    if adjusted:
        found = fair.cautious_adjusted(k, p, alpha)
        return Least(found.table, found.fail_probability if found.table.any() else 0.0)
    table = fair.minimum_protected(k, p, alpha)
    return Least(table, fair.fail_probability(table, p) if table.any() else 0.0)


def due_share(of_group: int, of_all: int) -> float:
    """Return the share of a group among candidates, rounded down to a hundredth: few tests, and none too strict."""
    return (HUNDREDTHS * of_group // of_all) / HUNDREDTHS if of_all else 0.0


def exposures(candidates: int, after: I64, shown: int) -> F64:
    """Return the exposure of each candidate, shape (candidates,): 0 of those not shown.

    Args:
        candidates: how many there are.
        after: candidates in the order that is shown.
        shown: places that are.
    """
    found = np.zeros(candidates)
    found[after[:shown]] = position_weights(shown)
    return found


def differences(exposure: F64, group: I64, groups: int, merit: F64 | None = None) -> F64:
    """Return by how much each group is exposed above what is fair beside all other items, shape (groups,).

    With means over items, e of the group and f of all others: e - f; with merit m and n: e n - f m, which is 0 where
    exposure per merit is equal. In [-1, 1]. NaN where a list lacks one of both, or merit is not known of all its items.

    Args:
        exposure: of the candidates, in [0, 1], shape (n,).
        group: of the same, 1..groups, 0 for none, shape (n,).
        groups: how many there are, without that of number 0.
        merit: of the same, in [0, 1], NaN where it is not known.
    """
    found = np.full(groups, np.nan)
    if merit is not None and bool(np.isnan(merit).any()):
        return found
    size = np.bincount(group, minlength=groups + 1)
    for number in np.flatnonzero(size[1:]) + 1:
        if size[number] == len(group):
            continue
        others = (group != number).astype(np.int64)
        shown = means_by_group(exposure, others, 2)
        due = np.ones(2) if merit is None else means_by_group(merit, others, 2)
        found[number - 1] = shown[0] * due[1] - shown[1] * due[0]
    return np.asarray(np.clip(found, -1.0, 1.0), np.float64)  # rounding alone can be outside
