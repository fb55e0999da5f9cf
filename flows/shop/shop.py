"""The made-up shop as records of Metarank: items, requests, and what users do with the lists that they are shown.

A loop is closed by whoever drives it: it publishes `requests`, reads what the ranking flow answers, and publishes what
`respond` says of each list. Whether a user clicks an item that is seen is drawn once for each list and item: two
orders of one list differ by what was seen, not by luck.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from flows.shop import visits as visits_of
from flows.shop.world import COUPON, DAY_MS, F64, I64, OFFERS, SEGMENTS, SIZES, Bool, ShopConfig, draw
from ranking.gain import linear, ndcg, ranking

ITEMS, INTERACTIONS, REQUESTS = "items", "interactions", "ranking.requests"

CLICK_S = 1.5
"""A user needs so long for each place up to the one that is clicked, seconds."""
BUY_S = 20.0
"""From a click to the purchase, seconds."""
BURST, BURSTS_MS = 25, 3_600_000
"""Pushes of a bot, one after the other, and the time in which all bots begin."""
_ASKED, _PAST, _DONE, _PUSHED = 1, 2, 3, 4  # streams of draws; 0 is the world's

_encode = msgspec.json.Encoder().encode


class Record(NamedTuple):
    """One record to be published.

    Attributes:
        topic: without prefix.
        key: the item, or the user.
        value: Metarank's event as JSON.
        timestamp_ms: its time, epoch milliseconds.
    """

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int


class Shop:
    """The shop of one configuration.

    Attributes:
        config: as given.
        world: what it is made of.
        asked: the lists that are asked for; list k has the id `list-k`.
        past: the lists of the past; list k has the id `past-k`.
        pushed: number of the item that bots push.
    """

    def __init__(self, config: ShopConfig) -> None:
        """Draw it."""
        self.config = config
        self.world = draw(config)
        active, start, days = self.world.active, config.start_ms, config.days
        self.asked = visits_of.draw(self._rng(_ASKED), active, start, days, config.lists)
        before = start - int(config.past_days * DAY_MS)
        self.past = visits_of.draw(self._rng(_PAST), active, before, config.past_days, config.past_lists)
        self.pushed = int(np.argmin(np.where(self.world.since_ms < start, self.world.quality, np.inf)))

    def items(self) -> list[Record]:
        """Return what is known of each item, in the order in which they come."""
        return [self._item(at) for at in np.argsort(self.world.since_ms, kind="stable").tolist()]

    def requests(self) -> list[Record]:
        """Return the lists that are asked for, in the order of time."""
        return [self._request(number) for number in range(self.config.lists)]

    def history(self) -> list[Record]:
        """Return what users did with the lists of the past, in the order of time.

        These were drawn by chance, popular items more likely, items of small sellers less.
        """
        found = []
        for number in range(self.config.past_lists):
            rng = self._rng(_PAST, number)
            there = self.world.since_ms <= self.past.time_ms[number]
            key = np.where(there, np.log(self.world.popular) + rng.gumbel(size=len(there)), -np.inf)
            shown = ranking(key)[: min(self.config.shown, int(there.sum()))]
            found += self.respond(f"past-{number}", [f"item-{at}" for at in shown])
        return sorted(found, key=_time)

    def fraud(self) -> list[Record]:
        """Return what the bots do, in the order of time: each a burst of clicks and purchases of one item."""
        found: list[Record] = []
        half_ms = int(self.config.days * DAY_MS / 2)
        for bot in range(self.config.bots):
            rng = self._rng(_PUSHED, bot)
            begin = self.config.start_ms + half_ms + int(rng.uniform(0.0, BURSTS_MS))
            for at in begin + np.cumsum(rng.uniform(5_000.0, 15_000.0, BURST)).astype(np.int64):
                said, name = f"push-{bot}-{at}", f"bot-{bot}"
                found += [self._did(said, name, "", kind, self.pushed, int(at), "") for kind in ("click", "purchase")]
        return sorted(found, key=_time)

    def respond(self, list_id: str, items: Sequence[str], *, told: str = "") -> list[Record]:
        """Return what the user does with a list, in the order of time.

        Each item is shown; the one at place j from 1 is seen with a chance of j ** -eta, and clicked then with
        that of its relevance; some of what is clicked is bought, the good items sooner.

        Args:
            list_id: its id.
            items: ids of the items that are shown, the first place first.
            told: which offers the user is told of, one of `OFFERS`; "" for none.
        """
        shown, (visit, number, stream) = _numbers(items), self._visit(list_id)
        time_ms, user = int(visit.time_ms[number]), int(visit.user[number])
        session = f"{list_id.partition('-')[0]}-{visit.session[number]}"
        draws = self._rng(_DONE, stream, number).random((3, len(self.world.price)))[:, shown]
        place = np.arange(1, len(shown) + 1, dtype=np.float64)
        seen = draws[0] < place**-self.config.eta
        clicked = seen & (draws[1] < self._relevance(user, told)[shown])
        bought = clicked & (draws[2] < 0.1 + 0.3 / (1.0 + np.exp(-self.world.quality[shown])))
        name, found = f"user-{user}", []
        for at, item in enumerate(shown.tolist()):
            place_is, said = at + 1, f"{list_id}-{at + 1}"
            found.append(self._did(said, name, session, "impression", item, time_ms + 300, list_id, place_is))
            click_ms = time_ms + 300 + int(CLICK_S * 1_000) * place_is
            if clicked[at]:
                found.append(self._did(said, name, session, "click", item, click_ms, list_id, place_is))
            if bought[at]:
                bought_ms = click_ms + int(BUY_S * 1_000)
                found.append(self._did(said, name, session, "purchase", item, bought_ms, list_id, place_is))
        return sorted(found, key=_time)

    def given(self, number: int) -> I64 | None:
        """Return the candidates that request `list-number` names, in its order; None if it names none."""
        rng, there = self._rng(_ASKED, number), self.world.since_ms <= self.asked.time_ms[number]
        if rng.random() >= self.config.given:
            return None
        return np.asarray(rng.permutation(np.flatnonzero(there))[: self.config.candidates])

    def there(self, list_id: str) -> Bool:
        """Return which items may be in a list: those that its request names, or all there are by then, shape (n,)."""
        visit, number, stream = self._visit(list_id)
        given = self.given(number) if stream == _ASKED else None
        if given is None:
            return np.asarray(self.world.since_ms <= visit.time_ms[number])
        return np.isin(np.arange(len(self.world.price)), given)

    def relevance(self, list_id: str) -> F64:
        """Return the truth: how likely the user clicks each item that is seen, shape (n,); 0 if it is not there."""
        visit, number, _ = self._visit(list_id)
        return np.where(self.there(list_id), self._relevance(int(visit.user[number])), 0.0)

    def ndcg(self, list_id: str, items: Sequence[str]) -> float:
        """Return the NDCG of a list at as many places as it has; gain: the relevance, against all that may be in it."""
        truth = linear(self.relevance(list_id))
        return float(ndcg(truth[_numbers(items)], len(items), truth))

    def clicks(self, list_id: str, items: Sequence[str]) -> float:
        """Return how many clicks a list brings on the average."""
        place = np.arange(1, len(items) + 1, dtype=np.float64)
        return float(self.relevance(list_id)[_numbers(items)] @ place**-self.config.eta)

    def best(self, list_id: str) -> list[str]:
        """Return the list that nobody could better."""
        return [f"item-{at}" for at in ranking(self.relevance(list_id))[: self.config.shown]]

    def user(self, list_id: str) -> str:
        """Return who asked for a list."""
        visit, number, _ = self._visit(list_id)
        return f"user-{visit.user[number]}"

    def _relevance(self, user: int, told: str = "") -> F64:
        usual: F64 = self.world.relevance[user]
        if OFFERS.index(told) != COUPON or self.world.guest[user]:
            return usual
        odds = np.log(usual / (1.0 - usual)) + np.where(self.world.offer == COUPON, self.config.coupon, 0.0)
        return np.asarray(1.0 / (1.0 + np.exp(-odds)))

    def _visit(self, list_id: str) -> tuple[visits_of.Visits, int, int]:
        """Return among which visits a list is, its number, and the stream of its draws."""
        kind, _, number = list_id.partition("-")
        visits, stream = {"list": (self.asked, _ASKED), "past": (self.past, _PAST)}[kind]
        return visits, int(number), stream

    def activity(self, record: Record) -> Record | None:
        """Return what an interaction is to the flow of risk, an event.

        None of an impression, which nobody does, and of a bot's click: it opens no page. A user has one device and
        address; all bots share theirs.
        """
        did = msgspec.json.decode(record.value)
        user, bot = did["user"], did["user"].startswith("bot-")
        if did["type"] == "impression" or (bot and did["type"] == "click"):
            return None
        event = {
            "id": f"{did['id']}-{did['type']}",
            "timestamp": did["timestamp"],
            "user": user,
            "type": "payment" if did["type"] == "purchase" else "view",
            "ip": "203.0.113.7" if bot else f"198.51.100.{user.rpartition('-')[2]}",
            "device": "emulator" if bot else f"device of {user}",
        }
        if did["type"] == "purchase":
            event["amount"] = float(self.world.price[int(did["item"].rpartition("-")[2])])
        return Record("events", record.key, _encode(event), record.timestamp_ms)

    def _item(self, at: int) -> Record:
        world, name, when = self.world, f"item-{at}", int(self.world.since_ms[at])
        fields: dict[str, Any] = {
            "category": f"category-{world.category[at]}",
            "price": float(world.price[at]),
            "seller": f"seller-{world.seller[at]}",
            "seller_size": SIZES[int(world.small[at])],
            "seller_risk": float(world.risk[at]),
        }
        if world.offer[at]:
            fields["offer"] = OFFERS[world.offer[at]]
        said = {"event": "item", "id": f"{name}-1", "item": name, "timestamp": when, "fields": _fields(fields)}
        return Record(ITEMS, name.encode(), _encode(said), when)

    def _request(self, number: int) -> Record:
        when, user = int(self.asked.time_ms[number]), int(self.asked.user[number])
        said: dict[str, Any] = {
            "event": "ranking",
            "id": f"list-{number}",
            "timestamp": when,
            "user": f"user-{user}",
            "session": f"list-{self.asked.session[number]}",
            "fields": _fields({"segment": SEGMENTS[int(self.world.guest[user])]}),
            "count": self.config.shown,
        }
        if (given := self.given(number)) is not None:
            said["items"] = [{"id": f"item-{at}", "relevancy": float(-place)} for place, at in enumerate(given)]
        return Record(REQUESTS, said["user"].encode(), _encode(said), when)

    def _did(
        self, said: str, user: str, session: str, kind: str, item: int, when: int, list_id: str, place: int = 0
    ) -> Record:
        event: dict[str, Any] = {"event": "interaction", "id": said, "timestamp": when, "user": user}
        event |= {"session": session} if session else {}
        event |= {"type": kind, "item": f"item-{item}"}
        event |= {"ranking": list_id, "fields": _fields({"position": place})} if list_id else {}
        return Record(INTERACTIONS, user.encode(), _encode(event), when)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *stream])


def by_chance(shop: Shop, list_id: str) -> list[str]:
    """Return items drawn by chance: the floor of all policies."""
    number = int(list_id.partition("-")[2])
    there = np.flatnonzero(shop.there(list_id))
    drawn = np.random.default_rng([shop.config.seed, 9, number]).permutation(there)
    return [f"item-{at}" for at in drawn[: shop.config.shown]]


def _fields(named: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in named.items()]


def _numbers(items: Sequence[str]) -> I64:
    return np.array([int(item.rpartition("-")[2]) for item in items], np.int64)


def _time(record: Record) -> int:
    return record.timestamp_ms
