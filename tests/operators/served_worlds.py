"""A small world of lists whose true relevance is known: what is seen depends on places, what is clicked on relevance.

Clicks follow the position model: an item is clicked if it is seen, with chance 1 / place, and if it is found relevant.
"""

import json
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from operators.decode.pseudonym import Pseudonymizer
from ranking.gain import by_score, mean_known, ndcg
from schemas.served import Served
from training.ranker.lists import GradedLists

NAMES = ("taste", "novelty", "colour", "noise", "gap")
KEY = bytes(range(32))
pseudonym = partial(Pseudonymizer(KEY).pseudonym, "user")
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
STEP_MS = 60_000
K = 10


class World(NamedTuple):
    """Lists and what is true of them.

    Attributes:
        lists: as served and clicked.
        chance: of a click on each row if it is seen, shape (m,).
    """

    lists: GradedLists
    chance: np.ndarray

    def truth(self, score, lists):
        """Return the mean NDCG by true relevance, of the last rows of the world, in the order of a score."""
        chance = self.chance[-lists.rows :].reshape(-1, K)
        return mean_known(ndcg(by_score(chance, np.reshape(score, (-1, K))), K))[0]


def world(seed=1, n=2_000, *, disorder=1.0, seen=lambda place: 1.0 / (1.0 + place), purchases=0.2):
    """Return n lists of ten items, one a minute.

    Args:
        seed: of everything.
        n: lists.
        disorder: noise in the order that is served; without it only popularity orders.
        seen: chance that a place is looked at.
        purchases: share of clicks that become purchases.
    """
    rng = np.random.default_rng(seed)
    m = n * K
    x = rng.normal(size=(m, len(NAMES))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    known = np.nan_to_num(x)
    # Popularity knows half of what is relevant, and something that is not.
    popularity = (0.5 * known[:, 0] + known[:, 2]).astype(np.float64)
    score = popularity + disorder * rng.normal(size=m)
    place = np.argsort(np.argsort(-score.reshape(n, K), axis=1), axis=1).reshape(-1).astype(np.int64)
    chance = 1.0 / (1.0 + np.exp(-2.0 * (known[:, 0] + 0.5 * known[:, 1] ** 2 - 2.0)))
    click = (rng.random(m) < seen(place)) & (rng.random(m) < chance)
    grade = click * (1 + (rng.random(m) < purchases))
    time_ms = START_MS + STEP_MS * np.arange(n)
    lists = GradedLists(NAMES, x, np.arange(0, m + 1, K), time_ms, grade.astype(np.int64), place, popularity, click)
    return World(lists, chance)


def user_of(k):
    """Return the pseudonym of the user of list k."""
    return pseudonym(f"user-{k % 50}")


def served(lists, *, shown=K, names=NAMES):
    """Return the records of `ranking.served`, as JSON, one for each list."""
    for k in range(lists.count):
        rows = slice(int(lists.starts[k]), int(lists.starts[k + 1]))
        yield msgspec.json.encode(
            Served(
                id=f"r-{k}",
                timestamp=int(lists.time_ms[k]),
                user=user_of(k),
                partition=0,
                offset=k,
                names=names,
                items=tuple(f"item-{at}" for at in range(rows.stop - rows.start)),
                features=lists.features[rows].astype("<f4").tobytes(),
                place=tuple(lists.place[rows].tolist()),
                shown=shown,
                score=tuple(lists.popularity[rows].tolist()),
                popularity=tuple(lists.popularity[rows].tolist()),
                source=(2,) * (rows.stop - rows.start),
                model="fallback",
            )
        )


def interaction(k, at, kind="click", *, time_ms, number=0, user=None):
    """Return a record of `interactions`: what was done with item `at` of list k, by its user or another."""
    found = {
        "event": "interaction",
        "id": f"i-{k}-{at}-{kind}-{number}",
        "ranking": f"r-{k}",
        "timestamp": str(time_ms),
    }
    return json.dumps(found | {"user": user or f"user-{k % 50}", "type": kind, "item": f"item-{at}"}).encode()


def interactions(lists, after_ms=30_000):
    """Return a click for each graded row, a purchase where the grade is 2, and impressions before and after all."""
    yield interaction(0, 0, "impression", time_ms=int(lists.time_ms[0]))
    of = np.repeat(np.arange(lists.count), lists.sizes)
    for row in np.flatnonzero(lists.grade).tolist():
        k = int(of[row])
        at, time_ms = row - int(lists.starts[k]), int(lists.time_ms[k]) + after_ms
        yield interaction(k, at, time_ms=time_ms)
        if lists.grade[row] == 2:
            yield interaction(k, at, "purchase", time_ms=time_ms + 1_000)
    yield interaction(0, 0, "impression", time_ms=int(lists.time_ms[-1]) + 7_200_000)
