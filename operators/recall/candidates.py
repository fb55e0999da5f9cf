"""Where the items of a list come from: the request itself, or else what is popular, trending, near to the user, or new.

A request that lists items gets these, as they stand, each once, known or not. One that lists none gets a union, each
item once: first new items, drawn at random with the bits of the request's id as the seed, as many as their quota allows
whatever else there is; then, until there are `max_candidates`: items visited together with those that the user clicked
or bought lately, these themselves, popular items, trending items, each up to its own quota. Only items of the catalogue
are found: of others no id is known.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from operators.batches import F64, I64, U8, U64
from operators.lists import SOURCES
from operators.noticed import Fields, Requests
from operators.recall.catalogue import Catalogue
from operators.recall.config import CandidatesConfig
from operators.recall.lookups import co_visited, recent_items
from operators.recall.loop import World
from operators.recall.shelves import Shelves

GIVEN, POPULAR, TRENDING, CO_VISITED, RECENT, NEW = (1 << bit for bit in range(len(SOURCES)))

_NO_FIELDS: Final[Fields] = {}
_NO_ROWS: Final[I64] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates of all requests of a batch, one after the other, m of them.

    Attributes:
        starts: shape (n + 1,).
        item: shape (m,).
        items: ids, m of them.
        rows: of the catalogue, -1 where an item is not known, shape (m,).
        source: bits of `SOURCES`, shape (m,).
        relevancy: the publisher's, NaN where it is not told, shape (m,).
        place: in the publisher's list, from 0, NaN where there is none, shape (m,).
        fields: what the request says of each, m of them.
    """

    starts: I64
    item: U64
    items: list[str]
    rows: I64
    source: U8
    relevancy: F64
    place: F64
    fields: list[Fields]


class Finder:
    """Finds candidates in one catalogue. Make a new one once the catalogue was loaded.

    Args:
        config: how many, and from where.
        recent: how many items are remembered of a user.
        others: how many others are remembered of an item.
        catalogue: what is known of items.
    """

    def __init__(self, config: CandidatesConfig, recent: int, others: int, catalogue: Catalogue) -> None:
        self.config = config
        self._catalogue, self._shelves = catalogue, Shelves(catalogue)
        self._recent, self._bought = np.zeros(recent, np.uint64), np.zeros(recent, np.uint64)
        self._near, self._scores = np.zeros(recent * others, np.uint64), np.zeros(recent * others)

    def of(self, requests: Requests, who: U64, now_ms: I64, world: World) -> Found:
        """Return the candidates of some requests.

        Args:
            requests: n of them.
            who: user or session of each, 0 for nobody, shape (n,).
            now_ms: as of when, shape (n,).
            world: what is known of users.
        """
        catalogue = self._catalogue
        given = np.diff(requests.starts)
        if bool((given > 0).all()):
            return _as_given(requests, catalogue)
        config = self.config
        more = len(self._bought) if config.exclude_purchased else 0  # for those that are left out
        popular = self._shelves.popular(config.popular + more) if config.popular else _NO_ROWS
        trending = self._shelves.trending(config.trending + more) if config.trending else _NO_ROWS
        shelves = (POPULAR, popular.tolist(), config.popular), (TRENDING, trending.tolist(), config.trending)
        pieces, at = [], 0
        for k in np.flatnonzero(given == 0).tolist():
            if at < k:
                pieces.append(_as_given(_some(requests, at, k), catalogue))
            pieces.append(self._one(int(requests.ranking[k]), who[k], int(now_ms[k]), world, shelves))
            at = k + 1
        if at < len(given):
            pieces.append(_as_given(_some(requests, at, len(given)), catalogue))
        return _joined(pieces)

    def _one(
        self,
        seed: int,
        who: np.uint64,
        now_ms: int,
        world: World,
        shelves: Iterable[tuple[int, list[int], int]],
    ) -> Found:
        """Return what is found for one request."""
        config, catalogue = self.config, self._catalogue
        many, bought = recent_items(world, who, self._recent, self._bought)
        recent = self._recent[:many]
        excluded = set(_known(self._bought[:bought], catalogue)) if config.exclude_purchased else set()
        fresh = self._shelves.new(config.new + len(excluded), seed, now_ms).tolist() if config.new else []
        fresh = [row for row in fresh if row not in excluded][: min(config.new, config.max_candidates)]
        bits = dict.fromkeys(fresh, NEW)
        near, own = self._near_to(recent, now_ms, world), _known(recent, catalogue)
        for source, listed, quota in ((CO_VISITED, near, config.co_visited), (RECENT, own, config.recent), *shelves):
            wanted = [row for row in listed if row not in excluded] if excluded else listed
            for row in wanted[:quota]:
                if row in bits:
                    bits[row] |= source
                elif len(bits) < config.max_candidates:
                    bits[row] = source
        rows = np.fromiter(bits, np.int64, len(bits))
        unknown = np.full(len(bits), np.nan)
        return Found(
            starts=np.array([0, len(bits)], np.int64),
            item=catalogue.key[rows],
            items=[catalogue.ids[row] for row in bits],
            rows=rows,
            source=np.fromiter(bits.values(), np.uint8, len(bits)),
            relevancy=unknown,
            place=unknown,
            fields=[_NO_FIELDS] * len(bits),
        )

    def _near_to(self, recent: U64, now_ms: int, world: World) -> list[int]:
        """Return the items visited with recent ones, the highest score first, of equal ones the first that is found."""
        if not self.config.co_visited:
            return []
        many = co_visited(world, recent, now_ms, self._near, self._scores)
        order = np.argsort(-self._scores[:many], kind="stable")
        return _known(self._near[:many][order], self._catalogue)


def _known(items: U64, catalogue: Catalogue) -> list[int]:
    """Return the rows of those items that the catalogue has, in order."""
    rows = catalogue.find(items)
    found: list[int] = rows[rows >= 0].tolist()
    return found


def _as_given(requests: Requests, catalogue: Catalogue) -> Found:
    starts = requests.starts
    of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    place = np.arange(len(of)) - starts[of]
    kept = _first_of_each(of, requests.item)
    item, items, fields = requests.item, requests.items, requests.item_fields
    if len(kept) < len(of):
        item, items, fields = item[kept], [items[at] for at in kept], [fields[at] for at in kept]
    return Found(
        starts=np.searchsorted(of[kept], np.arange(len(starts))),
        item=item,
        items=items,
        rows=catalogue.find(item),
        source=np.full(len(kept), GIVEN, np.uint8),
        relevancy=requests.relevancy[kept],
        place=place[kept].astype(np.float64),
        fields=fields,
    )


def _first_of_each(of: I64, item: U64) -> I64:
    """Return the places of those that are no repetition within their request, in order."""
    order = np.lexsort((item, of))  # stable: of equal ones the first stays first
    again = np.zeros(len(of), np.bool_)
    again[order[1:]] = (item[order[1:]] == item[order[:-1]]) & (of[order[1:]] == of[order[:-1]])
    return np.flatnonzero(~again)


def _some(requests: Requests, first: int, end: int) -> Requests:
    """Return requests `first <= k < end`, of which only the columns of candidates count."""
    low, high = int(requests.starts[first]), int(requests.starts[end])
    return replace(
        requests,
        starts=requests.starts[first : end + 1] - low,
        item=requests.item[low:high],
        items=requests.items[low:high],
        relevancy=requests.relevancy[low:high],
        item_fields=requests.item_fields[low:high],
    )


def _joined(pieces: list[Found]) -> Found:
    ends = np.cumsum([0, *(len(piece.items) for piece in pieces)])
    starts = [piece.starts[1:] + end for piece, end in zip(pieces, ends[:-1], strict=True)]
    return Found(
        starts=np.concatenate([np.zeros(1, np.int64), *starts]),
        item=np.concatenate([piece.item for piece in pieces]),
        items=[item for piece in pieces for item in piece.items],
        rows=np.concatenate([piece.rows for piece in pieces]),
        source=np.concatenate([piece.source for piece in pieces]),
        relevancy=np.concatenate([piece.relevancy for piece in pieces]),
        place=np.concatenate([piece.place for piece in pieces]),
        fields=[fields for piece in pieces for fields in piece.fields],
    )
