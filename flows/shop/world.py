"""Items and users of a made-up shop, and how relevant each item is to each user."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Share = Annotated[float, Ge(0), Le(1)]

DAY_MS = 86_400_000
SEGMENTS = ("member", "guest")
SIZES = ("large", "small")
OFFERS = ("", "coupon", "gift")
COUPON = 1
TRUSTED, RISKY = 0.05, 0.8
"""What is said of the risk of most sellers, and of some."""


@dataclass(frozen=True, slots=True)
class ShopConfig:
    """What the shop looks like.

    Attributes:
        seed: decides every draw.
        users: at least 1. A fifth of them are guests, whose taste is harder to tell.
        items: at least 1.
        categories: of items; each user prefers two of them.
        sellers: at least 1.
        start_ms: when lists begin to be asked for, epoch milliseconds.
        days: for how long.
        lists: how many, in that time.
        past_days: time before the start of which there are interactions.
        past_lists: how many lists were shown in it.
        shown: places of a list.
        given: share of the requests that name their candidates, as a search or a shelf does; of the others Tidegate
            finds them.
        candidates: how many these name, drawn among those there are.
        eta: place j from 1 is seen with a chance of j ** -eta (Joachims, Swaminathan, Schnabel, WSDM 2017).
        small: share of the sellers that are small. What they sell is as good as what others sell.
        small_seen: how likely their items were in the lists of the past, against the others'.
        risky: share of the sellers with a high risk.
        new: share of the items that come after the start.
        offers: share of the items that come with an offer, half of them with a coupon, half with a gift.
        coupon: how much a coupon adds to the log-odds of a click by a member who is told of it. Guests do not care,
            and nobody cares for gifts.
        bots: accounts that push one item, the worst, in the middle of the days.
    """

    seed: int = 7
    users: Annotated[int, Ge(1)] = 200
    items: Annotated[int, Ge(1)] = 240
    categories: Annotated[int, Ge(1)] = 16
    sellers: Annotated[int, Ge(1)] = 40
    start_ms: int = 1_767_592_800_000  # Monday, 5 January 2026, 06:00 UTC
    days: Annotated[float, Gt(0)] = 0.5
    lists: Annotated[int, Ge(0)] = 4_000
    past_days: Annotated[float, Gt(0)] = 0.5
    past_lists: Annotated[int, Ge(0)] = 3_000
    shown: Annotated[int, Ge(1), Le(1_000)] = 10
    given: Share = 0.5
    candidates: Annotated[int, Ge(1), Le(1_000)] = 40
    eta: Annotated[float, Ge(0)] = 0.5
    small: Share = 0.25
    small_seen: Annotated[float, Gt(0)] = 0.25
    risky: Share = 0.1
    new: Share = 0.1
    offers: Share = 0.0
    coupon: float = 1.0
    bots: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, slots=True)
class World:
    """Columns of items (n), of sellers and of users (u).

    Attributes:
        category: of each item, shape (n,).
        price: in euros, shape (n,).
        seller: shape (n,).
        quality: standard normal, never published, shape (n,).
        since_ms: when it comes, shape (n,).
        offer: index into `OFFERS`, shape (n,).
        small: whether the item's seller is small, shape (n,).
        risk: what is said of the item's seller, shape (n,).
        guest: shape (u,).
        relevance: chance of a click on an item that is seen, of one who is told of no offer, shape (u, n).
        popular: weight of an item in the lists of the past, shape (n,).
        active: share of each user in all visits, shape (u,).
    """

    category: I64
    price: F64
    seller: I64
    quality: F64
    since_ms: I64
    offer: I64
    small: Bool
    risk: F64
    guest: Bool
    relevance: F64
    popular: F64
    active: F64


def draw(config: ShopConfig) -> World:
    """Return the world of a configuration."""
    rng = np.random.default_rng([config.seed, 0])
    n, users = config.items, config.users
    # Numbers of sellers and items say nothing: who is small, risky or new is drawn among all, in exact shares.
    small_seller, risky_seller = _some(rng, config.sellers, config.small), _some(rng, config.sellers, config.risky)
    seller = rng.integers(0, config.sellers, n)
    category = rng.integers(0, config.categories, n)
    dear = rng.normal(0.0, 0.6, n)
    level = rng.normal(3.2, 0.5, config.categories)
    late = _some(rng, n, config.new)
    came = config.start_ms + (rng.uniform(0.05, 0.6, n) * config.days * DAY_MS).astype(np.int64)
    before = config.start_ms - int(config.past_days * DAY_MS)
    guest = _some(rng, users, 0.2)
    taste = np.full((users, config.categories), -1.0)
    for of, strength in ((0, 3.0), (1, 2.4)):
        at = rng.integers(0, config.categories, users)
        taste[np.arange(users), at] = np.where(guest, 0.4, 1.0) * strength - of * 0.1
    thrift = rng.gamma(2.0, 0.4, users)
    small = small_seller[seller]
    quality = np.zeros(n)
    for group in (small, ~small):
        quality[group] = _normal(rng, int(group.sum()))
    odds = -2.2 + 0.6 * quality + taste[:, category] - thrift[:, None] * dear
    weight = rng.lognormal(0.0, 0.5, n) * np.where(small, config.small_seen, 1.0)
    offered = rng.permutation(n)[: round(config.offers * n)]
    offer = np.zeros(n, np.int64)
    offer[offered] = COUPON + np.arange(len(offered)) % 2
    active = rng.gamma(1.5, 1.0, users) + 0.1
    return World(
        category=category,
        price=np.asarray(np.round(np.exp(level[category] + dear), 2), np.float64),
        seller=seller,
        quality=quality,
        since_ms=np.where(late, came, before),
        offer=offer,
        small=small,
        risk=np.where(risky_seller, RISKY, TRUSTED)[seller],
        guest=guest,
        relevance=1.0 / (1.0 + np.exp(-odds)),
        popular=weight,
        active=active / active.sum(),
    )


def _normal(rng: np.random.Generator, n: int) -> F64:
    """Return n quantiles of the normal distribution, shuffled: two groups are equally good."""
    return rng.permutation([NormalDist().inv_cdf((at + 0.5) / n) for at in range(n)])


def _some(rng: np.random.Generator, n: int, share: float) -> Bool:
    """Return which of n are among a share of them, rounded."""
    found = np.zeros(n, np.bool_)
    found[rng.permutation(n)[: round(share * n)]] = True
    return found
