"""Exposure: what a place is worth, which group gets it, in relation to merit, and an order that shares it out.

The exposure of place j is 1 / log2(1 + j), a group's the mean over its items (Singh and Joachims, KDD 2018, section 3;
the same in fairlearn#959). Two targets, both shares of the whole: by size, so that all groups have equal mean exposure
(demographic parity), or by merit, so that exposure per merit is equal (disparate treatment).

`reorder` is greedy, not the linear programme of that paper: it decides one list, not a lottery over lists, in
O(places x groups), and its guarantee is stated there.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ranking.gain import F64, I64, position_weights


def sums_by_group(values: F64, group: I64, groups: int) -> F64:
    """Return the sum of values of each group, shape (groups,); for values and group numbers of shape (n,)."""
    return np.bincount(group, weights=values, minlength=groups).astype(np.float64)


def means_by_group(values: F64, group: I64, groups: int) -> F64:
    """Return the mean of values of each group, shape (groups,); NaN of one without items."""
    with np.errstate(invalid="ignore"):
        means = sums_by_group(values, group, groups) / np.bincount(group, minlength=groups)
    return np.asarray(means, np.float64)


def group_exposure(group: I64, groups: int) -> F64:
    """Return each group's mean exposure in a list; NaN of one without items.

    Args:
        group: of the items in the list's order, 0..groups - 1, shape (n,).
        groups: how many there are.
    """
    return means_by_group(position_weights(len(group)), group, groups)


def exposure_per_merit(group: I64, merit: F64, groups: int) -> F64:
    """Return each group's exposure over its merit, both means over its items; equal values are fair treatment.

    Args:
        group: as in `group_exposure`.
        merit: of the items in the list's order, such as calibrated relevance, 0 or more, shape (n,).
        groups: how many there are.

    Returns:
        Shape (groups,). NaN of a group without items, infinite of one without merit.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(group_exposure(group, groups) / means_by_group(merit, group, groups), np.float64)


def pair_difference(group: I64, merit: F64 | None = None) -> float:
    """Return by how much group 0 is exposed above what is fair beside group 1, in [-1, 1]; NaN if a list lacks one.

    Without merit, e_0 - e_1 with e the groups' mean exposures; with it, e_0 m_1 - e_1 m_0, which is 0 where exposure
    per merit is equal and needs no division. What `betting` bets on.

    Args:
        group: 0, 1, or another number for items of neither, in the list's order, shape (n,).
        merit: of the same items, in [0, 1]; NaN is not allowed.
    """
    ours = (group == 0) | (group == 1)
    if not ((group == 0).any() and (group == 1).any()):
        return float("nan")
    weights = position_weights(len(group))[ours]
    exposure = means_by_group(weights, group[ours], 2)
    due = np.ones(2) if merit is None else means_by_group(merit[ours], group[ours], 2)
    return float(exposure[0] * due[1] - exposure[1] * due[0])


def shares_by_size(group: I64, groups: int) -> F64:
    """Return the share of all exposure that makes mean exposures equal: that of the items, shape (groups,)."""
    return np.asarray(np.bincount(group, minlength=groups) / max(len(group), 1), np.float64)


def shares_by_merit(group: I64, merit: F64, groups: int) -> F64:
    """Return the share of all exposure that makes exposure per merit equal: that of the merit; without any, by size.

    Arguments as in `exposure_per_merit`.
    """
    total = float(merit.sum())
    return sums_by_group(merit, group, groups) / total if total > 0.0 else shares_by_size(group, groups)


def excess(group: I64, share: F64) -> F64:
    """Return by how much each group's exposure is above its share of the exposure given out, at each prefix.

    Args:
        group: in the list's order, shape (n,).
        share: of each group, sum 1, shape (groups,).

    Returns:
        Shape (n, groups), rows sum to 0; in the unit of exposure: the first place is worth 1.
    """
    weights = position_weights(len(group))
    mine = weights[:, None] * (group[:, None] == np.arange(len(share)))
    return np.asarray(np.cumsum(mine, axis=0) - np.cumsum(weights)[:, None] * share, np.float64)


def reorder(group: I64, share: F64, tolerance: float, k: int) -> I64:
    """Return an order in which no group of the first k places has more than its share of exposure and the tolerance.

    At each place the item that stands next in the old order is taken, unless its group would have more than its share
    of the exposure given out so far by more than the tolerance: then the next of another group; if this holds of all
    groups, that of the group with the least excess. So the order within a group stays, and a list that is within the
    tolerance stays as it is.

    Guarantee, at every prefix of the first k places up to the first where a group has no items left: the excess of each
    group is max(tolerance, 1 - 1/G) at most for G groups, and so is, for two groups, what the other one lacks. For the
    excesses of the next place sum to 0, so with exposure v at stake the least is v (1 - 1/G) at most, and it only falls
    until the group is taken again. Once a group has run out the others share what is left.

    Args:
        group: of the candidates in the order that is to be changed, 0..len(share) - 1, shape (n,).
        share: that is due to each group, sum 1, shape (groups,).
        tolerance: exposure above its share that a group may have, 0 or more; the first place is worth 1.
        k: places that are decided; what is left follows in the old order.

    Returns:
        Positions in the old order, shape (n,).
    """
    groups, n = len(share), len(group)
    waiting = [np.flatnonzero(group == g).tolist()[::-1] for g in range(groups)]
    due = share.tolist()
    # What a group has above its share, and what its next item would add, are both against all exposure so far.
    above = [0.0] * groups
    order: list[int] = []
    for weight in position_weights(min(k, n)).tolist():
        first, chosen = n, -1
        least = float("inf")
        fallback = -1
        for g in range(groups):
            if not waiting[g]:
                continue
            would = above[g] + weight * (1.0 - due[g])
            if would <= tolerance and waiting[g][-1] < first:
                first, chosen = waiting[g][-1], g
            if would < least:
                least, fallback = would, g
        chosen = chosen if chosen >= 0 else fallback
        order.append(waiting[chosen].pop())
        for g in range(groups):
            above[g] -= weight * due[g]
        above[chosen] += weight
    return np.asarray(order + _left(waiting), np.int64)


def _left(waiting: Sequence[list[int]]) -> list[int]:
    return sorted(position for positions in waiting for position in positions)


def within(group: I64, share: F64, k: int) -> NDArray[np.bool_]:
    """Return for each of the first k prefixes whether all groups had an item left for its last place.

    There the guarantee of `reorder` holds. A group with neither items nor a share is none of them. Arguments as in
    `excess`, in the new order.
    """
    mine = group[:, None] == np.arange(len(share))
    size = mine.sum(axis=0)
    before = np.cumsum(mine, axis=0) - mine
    left = (before < size) | ((size == 0) & (share == 0.0))
    return np.asarray(left[:k].all(axis=1), np.bool_)
