"""The loop of the shop: lists are asked for, ranked by whoever it is, shown, and clicked.

Time is the shop's: in each round the lists of a quarter of an hour are asked for, and what users do with the answers is
published before the next round.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from flows.shop.shop import Record, Shop
from ranking.gain import ranking
from schemas.ranked import RankedList
from schemas.served import Served

ROUND_S: Final = 900
"""Shop time of a round, seconds."""

Told = Callable[[str], str]
"""From a list's id to the offer that its user is told of."""


class Answered(NamedTuple):
    """One list, and how good it is.

    Attributes:
        answer: as the flow wrote it.
        ndcg: by the truth of the shop, against all items that may be in it.
        clicks: that it brings on the average.
    """

    answer: RankedList
    ndcg: float
    clicks: float


@dataclass(frozen=True, slots=True)
class Means:
    """Means over lists.

    Attributes:
        lists: how many.
        ndcg: by the truth.
        clicks: expected of a list.
        small: share of the exposure that items of small sellers have.
        risky: likewise, of risky sellers.
        costs: NDCG of the ranker's own scores, by step.
    """

    lists: int
    ndcg: float
    clicks: float
    small: float
    risky: float
    costs: dict[str, float]


def by_popularity(shop: Shop, served: Served) -> float:
    """Return the NDCG, by the truth, of a list had its candidates been ordered by popularity."""
    order = ranking(np.array(served.popularity))[: served.shown]
    return shop.ndcg(served.id, [served.items[at] for at in order])


class Loop(ABC):
    """A shop whose lists somebody ranks.

    Attributes:
        shop: as given.
        next: number of the next list that is asked for.
        now_ms: time of the shop, epoch milliseconds.
    """

    def __init__(self, shop: Shop) -> None:
        """Take the shop; `open` begins."""
        self.shop = shop
        self.next = 0
        self.now_ms = 0
        self._requests = shop.requests()
        self._items = shop.items()
        self._fraud = shop.fraud()

    @abstractmethod
    def publish(self, records: Sequence[Record]) -> None:
        """Publish records, in their order."""

    @abstractmethod
    def answers(self, asked: Sequence[str]) -> list[RankedList]:
        """Return the answers to the requests that were just published, given their ids, in any order."""

    def open(self) -> None:
        """Publish what is known and was done before the first list."""
        self._until(self.shop.config.start_ms)
        self.publish(self.shop.history())

    def go(self, lists: int, told: Told = lambda _: "") -> list[Answered]:
        """Ask for the next lists, round by round, and let users answer them.

        Args:
            lists: how many, at the most as many as there are left.
            told: which offer the user of a list is told of.
        """
        found: list[Answered] = []
        end = min(self.next + lists, self.shop.config.lists)
        while self.next < end:
            last_ms = self._requests[self.next].timestamp_ms + ROUND_S * 1_000
            asked = [each for each in self._requests[self.next : end] if each.timestamp_ms < last_ms]
            ids = [f"list-{number}" for number in range(self.next, self.next + len(asked))]
            self.next += len(asked)
            self._until(last_ms)
            self.publish(asked)
            answers = self.answers(ids)
            found += [self._judged(answer) for answer in answers]
            done = [
                record
                for answer in answers
                for record in self.shop.respond(answer.id, [one.item for one in answer.items], told=told(answer.id))
            ]
            self.publish(sorted(done, key=lambda record: record.timestamp_ms))
        return found

    def means(self, answered: Sequence[Answered]) -> Means:
        """Return means over lists."""
        world, exposed = self.shop.world, np.zeros(len(self.shop.world.price))
        costs: dict[str, float] = {}
        for one in answered:
            numbers = [int(item.item.rpartition("-")[2]) for item in one.answer.items]
            exposed[numbers] += 1.0 / np.log2(np.arange(2, len(numbers) + 2))
            for step in one.answer.steps:
                costs[step.name] = costs.get(step.name, 0.0) + step.cost / len(answered)
        return Means(
            lists=len(answered),
            ndcg=float(np.mean([one.ndcg for one in answered])),
            clicks=float(np.mean([one.clicks for one in answered])),
            small=float(exposed[world.small].sum() / exposed.sum()),
            risky=float(exposed[world.risk > 0.5].sum() / exposed.sum()),
            costs=costs,
        )

    def _until(self, time_ms: int) -> None:
        """Publish what comes by itself up to a time: new items, and what bots do."""
        for waiting in (self._items, self._fraud):
            come = [record for record in waiting if record.timestamp_ms <= time_ms]
            del waiting[: len(come)]
            self.publish(come)
        self.now_ms = time_ms

    def _judged(self, answer: RankedList) -> Answered:
        items = [one.item for one in answer.items]
        return Answered(answer, self.shop.ndcg(answer.id, items), self.shop.clicks(answer.id, items))
