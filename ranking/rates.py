"""Rates of items, as parts that add up: interactions are keyed by user, so those of an item lie in many partitions.

Counts add up by themselves; so do sums of clicks over their chance to be seen, sums by risk, and sums of c ln c over
users, each of whom is in one partition. What fades is in `ranking/decay.py`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ranking.gain import F64, I64

COLUMNS = ("impressions", "clicks", "weighted_impressions", "weighted_clicks", "debiased_clicks", "risky")
"""Columns of `part`: counts; both again with each user's weight; weighted clicks over their chance to be seen; and
impressions to risky users."""

Bool = NDArray[np.bool_]


def smoothed_rate(
    clicks: ArrayLike, impressions: ArrayLike, all_clicks: ArrayLike, all_impressions: ArrayLike, weight: float
) -> F64:
    """Return the click rate of items, drawn towards that of all: Metarank's `rate` with `normalize`.

        (w + clicks) / (w impressions_g / clicks_g + impressions)

    It is the mean of the item's rate and the rate of all, the latter with the weight of w clicks' impressions. NaN
    where there is no click at all, for the rate of all is not known yet then.

    Args:
        clicks: of each item, 0 or more; weighted ones too.
        impressions: of the same items.
        all_clicks: of all items, clicks_g.
        all_impressions: of all items, impressions_g.
        weight: w in clicks, above 0.
    """
    total = np.asarray(all_clicks, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        prior = np.where(total > 0.0, np.asarray(all_impressions, np.float64) / total, np.nan)
    return np.asarray((weight + np.asarray(clicks)) / (weight * prior + np.asarray(impressions)), np.float64)


def inverse_propensity(propensity: ArrayLike, clip: float) -> F64:
    """Return what a click counts: one over the chance that it could happen, `clip` at most.

    Horvitz and Thompson (JASA 1952); for clicks and places, Joachims, Swaminathan and Schnabel (WSDM 2017). A clip
    makes the sum too small, never too large, and bounds what one click can do: the deviation of n impressions' mean is
    clip / sqrt(n) at most.

    Args:
        propensity: probability that the item was seen where it stood, or was shown at all, in (0, 1].
        clip: largest weight, 1 or more.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(1.0 / np.asarray(propensity, np.float64), clip), np.float64)


def place_propensities(clicks: ArrayLike, impressions: ArrayLike) -> F64:
    """Return the chance to be seen of each place against the first, from lists in random order.

    Joachims, Swaminathan and Schnabel (WSDM 2017, section 5.1): where items are shuffled, click rates of places differ
    by their chance to be seen alone. At most 1; NaN where a place has no impression or the first has no click.

    Args:
        clicks: of each place, the first place first, shape (places,).
        impressions: likewise.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.asarray(clicks, np.float64) / np.asarray(impressions, np.float64)
        return np.asarray(np.minimum(np.where(rate[:1] > 0.0, rate / rate[:1], np.nan), 1.0), np.float64)


def part(
    items: int, item: I64, clicked: Bool, weight: F64, propensity: F64, risky: Bool, *, clip: float
) -> NDArray[np.float64]:
    """Return the sums of each item over some impressions, shape (items, len(COLUMNS)). Parts add up.

    A user's weight counts clicks and impressions alike. So whoever has weight 0 moves no weighted rate at all, neither
    up by clicks nor down by looking away, and whoever has weight w moves it as w honest users do.

    Args:
        items: how many there are.
        item: number of the item that was shown, shape (n,).
        clicked: whether it was clicked.
        weight: of the user, by risk tier, in [0, 1].
        propensity: as in `inverse_propensity`.
        risky: whether the user is of high or critical risk.
        clip: as in `inverse_propensity`.
    """
    hit = clicked.astype(np.float64)
    each = (np.ones(len(item)), hit, weight, weight * hit, weight * hit * inverse_propensity(propensity, clip), risky)
    sums = np.zeros((items, len(COLUMNS)))
    for column, values in enumerate(each):
        sums[:, column] = np.bincount(item, weights=values, minlength=items)
    return sums


def debiased_rate(sums: F64) -> F64:
    """Return the click rate each item would have in the first place, from `part`s added up; NaN without impressions.

    Clicks over their chance to be seen, by impressions, both weighted: without bias if chances are right and none is
    clipped.
    """
    return _over(sums[..., COLUMNS.index("debiased_clicks")], sums[..., COLUMNS.index("weighted_impressions")])


def risky_share(sums: F64) -> F64:
    """Return the share of each item's impressions that risky users had; NaN without impressions."""
    return _over(sums[..., COLUMNS.index("risky")], sums[..., COLUMNS.index("impressions")])


def c_log_c(count: ArrayLike) -> F64:
    """Return c ln c, 0 for 0: summed over users, what `entropy_nats` needs. When a count grows, add the difference."""
    count = np.asarray(count, np.float64)
    return np.asarray(count * np.log(np.where(count > 0.0, count, 1.0)), np.float64)


def entropy_nats(n: ArrayLike, sum_c_log_c: ArrayLike) -> F64:
    """Return Shannon's entropy of an item's audience: ln n - sum c ln c / n, with c the interactions of each user.

    Its exponential is the number of users who, all alike, would be as many. 0: all from one user. NaN without
    interactions. Of the counts as they are, so it is low by about (users - 1) / (2 n) against that of the audience the
    counts are drawn from (Miller 1955).

    Args:
        n: interactions of an item.
        sum_c_log_c: sum of `c_log_c` over its users.
    """
    n = np.asarray(n, np.float64)
    mean = _over(np.asarray(sum_c_log_c, np.float64), n)
    return np.asarray(np.maximum(np.log(np.where(n > 0.0, n, 1.0)) - mean, 0.0), np.float64)


def _over(sums: F64, counts: F64) -> F64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(counts > 0.0, sums / counts, np.nan), np.float64)
