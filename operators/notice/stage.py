"""Notice: records of the ranking flow's topics in, columns out; every record leaves by exactly one door.

Nothing is remembered: a row depends on its own record alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import nan
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from annotated_types import Ge, Le

from operators.batches import I64, TIERS, U64, Messages
from operators.decode.identifiers import Identifiers
from operators.decode.pseudonym import Memo, Pseudonymizer
from operators.decode.reading import Read, Reader
from operators.notice import wire
from operators.notice.explain import NO_ITEM_KEY, explain_interaction, explain_item, explain_request
from operators.notice.wire import Decision, Told
from operators.noticed import (
    CLICK,
    IMPRESSION,
    OTHER,
    PURCHASE,
    Fields,
    Interactions,
    Items,
    Noticed,
    Requests,
    Rows,
    Tiers,
    item_key,
)
from operators.observe.explain import explain_decision
from operators.side import Side
from operators.state import Measurement, State
from schemas.interaction import Interaction
from schemas.ranking_request import RankingRequest

INTERACTIONS: Final = "interactions"
ITEMS: Final = "items"
REQUESTS: Final = "ranking.requests"
DECISIONS: Final = "risk.tiers"

Main = Literal["interactions", "ranking.requests"]

_LAYOUT: Final = 2
_MOST_POSITION: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class NoticeConfig:
    """What a record may be, and what it is taken for.

    Attributes:
        max_message_bytes: larger records are not parsed; bytes, >= 1.
        max_clock_skew_s: how far a record's time may lie beyond its Kafka timestamp; seconds, 0 to one year.
        cache_entries: pseudonyms and item keys remembered per partition, each a few hundred bytes; >= 2. Changes
            speed, never results.
        impressions: types of interactions that say that an item was shown.
        clicks: types that are clicks.
        purchases: types that are purchases.
        position_field: name of the field that says at which place of its list the item was.
        first_position: what it says of the first place: 0 or 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_message_bytes: Annotated[int, Ge(1)] = 1_048_576
    max_clock_skew_s: Annotated[float, Ge(0), Le(31_536_000)] = 300.0
    cache_entries: Annotated[int, Ge(2)] = 65_536
    impressions: tuple[str, ...] = ("impression", "view")
    clicks: tuple[str, ...] = ("click",)
    purchases: tuple[str, ...] = ("purchase",)
    position_field: str = "position"
    first_position: Annotated[int, Ge(0), Le(1)] = 1


class Notice:
    """The first stage of the flow, for one partition. Its snapshot is empty.

    Attributes:
        config: what a record may be.
        pseudonymizer: makes the pseudonyms.
        main: the topic of the flow's own input; the others come as side topics.
        fingerprint: changes with the pseudonym key, and with what types and fields mean: the state of later stages is
            about other things then.
    """

    def __init__(self, config: NoticeConfig, pseudonymizer: Pseudonymizer, main: Main = INTERACTIONS) -> None:
        """Set up the caches.

        Args:
            config: what a record may be.
            pseudonymizer: makes the pseudonyms.
            main: the topic of the flow's own input.
        """
        self.config = config
        self.pseudonymizer = pseudonymizer
        self.main = main
        kinds = (config.impressions, config.clicks, config.purchases)
        meaning = f"{_LAYOUT} {pseudonymizer.fingerprint} {kinds} {config.position_field!r} {config.first_position}"
        self.fingerprint = blake2b(meaning.encode(), digest_size=8).hexdigest()
        numbered = zip((IMPRESSION, CLICK, PURCHASE), kinds, strict=True)
        self._kinds = {name: kind for kind, names in numbered for name in names}
        most = config.cache_entries
        self._raw = Identifiers(pseudonymizer, most, given=False)
        self._given = Identifiers(pseudonymizer, most, given=True)
        self._sessions = Memo(pseudonymizer.attribute("session"), most)
        self._sessions_given = Memo(pseudonymizer.attribute_as_given, most)
        self._items: Memo[str, int] = Memo(item_key, most)
        bounds = config.max_message_bytes, round(config.max_clock_skew_s * 1000)
        self._readers: dict[str, tuple[Reader[Any], Callable[..., Rows]]] = {
            INTERACTIONS: (Reader(wire.interaction, explain_interaction, *bounds), self._interacted),
            ITEMS: (Reader(wire.item, explain_item, *bounds, NO_ITEM_KEY), self._described),
            REQUESTS: (Reader(wire.request, explain_request, *bounds), self._requested),
            DECISIONS: (Reader(wire.decision, explain_decision, *bounds), self._decided),
        }

    def process(self, batch: Messages) -> Noticed:
        """Answer records of the flow's own input: for every one a row or a rejection, both in its order."""
        reader, made = self._readers[self.main]
        read = reader(batch.keys, batch.values, batch.timestamps_ms)
        return Noticed(
            span=batch.span,
            topic=batch.topic,
            rows=made(read, batch.offsets, batch.topic),
            rejected=read.rejected(batch.offsets, batch.timestamps_ms),
            events=batch.events,
        )

    def take_side(self, side: Side) -> None:
        """Answer records of a side topic: rows and rejections. Topics of other names say nothing here."""
        if side.topic in self._readers:
            reader, made = self._readers[side.topic]
            read = reader(side.keys, side.values, side.timestamps_ms)
            side.noticed = made(read, side.offsets, side.topic)
            side.rejected = read.rejected(side.offsets, side.timestamps_ms)

    def dump(self) -> State:
        """Return nothing: there is no state."""
        return {}

    def load(self, state: State) -> None:
        """Take nothing."""

    def measurements(self) -> Iterable[Measurement]:
        """Return how often the pseudonym caches helped."""
        memos = (self._raw, self._given, self._sessions, self._sessions_given)
        asked, missed = sum(each.asked for each in memos), sum(each.missed for each in memos)
        yield Measurement("tidegate_pseudonym_cache_hits_total", asked - missed)
        yield Measurement("tidegate_pseudonym_cache_misses_total", missed)

    def _interacted(self, read: Read[Told], offsets: Sequence[int], topic: str) -> Interactions:
        records = [each.record for each in read.records]
        # With the lengths in front no three texts can be taken for three others; any sign between them might be in one.
        names = [f"{len(each.id)} {len(each.type)} {each.id}{each.type}{each.item}" for each in records]
        _, user, session, id_hash = self._who(records, names, topic)
        items = [record.item for record in records]
        return Interactions(
            offsets=np.array(offsets, np.int64)[read.places],
            time_ms=read.time_ms,
            kind=np.array([self._kinds.get(record.type, OTHER) for record in records], np.uint8),
            user=user,
            session=session,
            item=np.array(self._items(items), np.uint64),
            items=items,
            ranking=self._ids([record.ranking for record in records]),
            position=self._positions([each.fields for each in read.records]),
            id_hash=id_hash,
        )

    def _described(self, read: Read[Told], offsets: Sequence[int], _topic: str) -> Items:
        items = [each.record.item for each in read.records]
        return Items(
            offsets=np.array(offsets, np.int64)[read.places],
            time_ms=read.time_ms,
            item=np.array(self._items(items), np.uint64),
            items=items,
            fields=[each.fields for each in read.records],
        )

    def _requested(self, read: Read[Told], offsets: Sequence[int], topic: str) -> Requests:
        records = [each.record for each in read.records]
        ids = [record.id for record in records]
        users, user, session, id_hash = self._who(records, ids, topic)
        asked = [candidate for each in read.records for candidate in each.asked]
        items = [each.item for each in asked]
        relevancy = np.array([nan if each.relevancy is None else each.relevancy for each in asked], np.float64)
        return Requests(
            offsets=np.array(offsets, np.int64)[read.places],
            time_ms=read.time_ms,
            ids=ids,
            ranking=self._ids(ids),
            users=users,
            user=user,
            session=session,
            id_hash=id_hash,
            fields=[each.fields for each in read.records],
            count=np.array([record.count or 0 for record in records], np.int64),
            starts=np.cumsum([0, *(len(each.asked) for each in read.records)], dtype=np.int64),
            item=np.array(self._items(items), np.uint64),
            items=items,
            relevancy=relevancy + 0.0,  # -0.0 becomes 0.0
            item_fields=[each.fields for each in asked],
        )

    def _decided(self, read: Read[Decision], offsets: Sequence[int], _topic: str) -> Tiers:
        # Users of our own topics are pseudonyms, whatever the settings say of others.
        _, user = self._given.users([each.user for each in read.records])
        return Tiers(
            offsets=np.array(offsets, np.int64)[read.places],
            time_ms=read.time_ms,
            user=user,
            tier=np.array([TIERS.index(each.tier) for each in read.records], np.uint8),
        )

    def _who(
        self, records: Sequence[Interaction | RankingRequest], ids: Sequence[str], topic: str
    ) -> tuple[list[str], U64, U64, U64]:
        """Return pseudonyms of users, their 64 bits, those of sessions, and hashes of who it was and an id.

        Who is not told is "" and 0. A record without a user is its session's, if it names one.
        """
        given = topic in self.pseudonymizer.pseudonymised_topics
        sessions = self._sessions_given if given else self._sessions
        session = np.array(sessions([record.session for record in records]), np.uint64)
        told = [record.user for record in records]
        known = [at for at, user in enumerate(told) if user is not None]
        texts, bits = (self._given if given else self._raw).users([user for user in told if user is not None])
        users, user = [""] * len(records), np.zeros(len(records), np.uint64)
        user[known] = bits
        for at, text in zip(known, texts, strict=True):
            users[at] = text
        who = np.where(user != 0, user, session)
        return users, user, session, self._raw.id_hash(ids, who)

    def _ids(self, ids: Sequence[str | None]) -> U64:
        """Return 64 bits of ids of requests, 0 where there is none, shape (n,)."""
        bits = self.pseudonymizer.bits
        return np.array([bits(each) if each else 0 for each in ids], np.uint64)

    def _positions(self, fields: Sequence[Fields]) -> I64:
        """Return positions from 0, -1 where no possible one is told, shape (n,)."""
        name, first = self.config.position_field, self.config.first_position
        return np.array([_position(each.get(name), first) if each else -1 for each in fields], np.int64)


def _position(value: object, first: int) -> int:
    if isinstance(value, float) and first <= value <= _MOST_POSITION and value.is_integer():
        return int(value) - first
    return -1
