"""What the ranking flow sees of its topics, as columns: interactions, items, requests, and tiers of users."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from operators.batches import F64, I64, U8, U64, Rejected, Span
from schemas.item import Value

IMPRESSION, CLICK, PURCHASE, OTHER = 0, 1, 2, 3
"""Kinds of interactions: an item was shown, clicked, bought; or of a type that the settings name nowhere."""

Fields = Mapping[str, Value]
"""Properties by name."""


def item_key(item: str) -> int:
    """Return 64 bits of an item's id, never 0: the same in every process, under every key of pseudonyms."""
    found = hashlib.blake2b(item.encode(), digest_size=8, person=b"item").digest()
    return int.from_bytes(found, "little") or 1


@dataclass(frozen=True, slots=True)
class Interactions:
    """What users did with items, as columns of length n, in the order of the topic.

    Attributes:
        offsets: shape (n,).
        time_ms: when, epoch milliseconds, shape (n,).
        kind: `IMPRESSION`, `CLICK`, `PURCHASE` or `OTHER`, shape (n,).
        user: 64 bits of the user's pseudonym, shape (n,); 0 where none is told.
        session: 64 bits of the session's pseudonym, shape (n,); 0 where none is told.
        item: `item_key` of the item, shape (n,).
        items: ids of the items, as published.
        ranking: 64 bits of the id of the request that the item was shown for, shape (n,); 0 where none is told.
        position: of the item in that list, from 0, shape (n,); -1 where it is not told.
        id_hash: 64-bit hash of who it was, the record's id, type and item, shape (n,); never 0. A purchase of several
            items may name one id.
    """

    offsets: I64
    time_ms: I64
    kind: U8
    user: U64
    session: U64
    item: U64
    items: list[str]
    ranking: U64
    position: I64
    id_hash: U64


@dataclass(frozen=True, slots=True)
class Items:
    """What was said of items, as columns of length n, in the order of the topic.

    Attributes:
        offsets: shape (n,).
        time_ms: since when it is so, epoch milliseconds, shape (n,).
        item: `item_key` of the item, shape (n,).
        items: ids of the items, as published.
        fields: properties of each; those of an item that are not among them stay as they are.
    """

    offsets: I64
    time_ms: I64
    item: U64
    items: list[str]
    fields: list[Fields]


@dataclass(frozen=True, slots=True)
class Requests:
    """Lists to be put in order, as columns of length n, in the order of the topic.

    Attributes:
        offsets: shape (n,).
        time_ms: when, epoch milliseconds, shape (n,).
        ids: the publisher's request ids.
        ranking: 64 bits of the id, as in `Interactions`, shape (n,); never 0.
        users: pseudonyms as written to the outputs (`h1:...`); empty where no user is told.
        user: 64 bits of the user's pseudonym, shape (n,); 0 where none is told.
        session: 64 bits of the session's pseudonym, shape (n,); 0 where none is told.
        id_hash: 64-bit hash of who asks and the record's id, shape (n,); never 0.
        fields: what is known of each request.
        count: how many items to answer, shape (n,); 0 where it is not told.
        starts: request k has the candidates from `starts[k]` up to `starts[k + 1]`, shape (n + 1,).
        item: `item_key` of each candidate, shape (m,).
        items: ids of the candidates, m of them, as published.
        relevancy: the publisher's score of each candidate, shape (m,); NaN where it is not told.
        item_fields: what is known of each candidate in its list alone, m of them.
    """

    offsets: I64
    time_ms: I64
    ids: list[str]
    ranking: U64
    users: list[str]
    user: U64
    session: U64
    id_hash: U64
    fields: list[Fields]
    count: I64
    starts: I64
    item: U64
    items: list[str]
    relevancy: F64
    item_fields: list[Fields]


@dataclass(frozen=True, slots=True)
class Tiers:
    """What was decided about users, as columns of length n, in the order of the topic.

    Attributes:
        offsets: shape (n,).
        time_ms: event time, epoch milliseconds, shape (n,).
        user: 64 bits of the user's pseudonym, as in `Interactions`, shape (n,); never 0.
        tier: code in `operators.batches.TIERS`, shape (n,).
    """

    offsets: I64
    time_ms: I64
    user: U64
    tier: U8


def who_of(rows: Interactions | Requests) -> U64:
    """Return the user of each row, or the session of one who is not told; 0 for nobody, shape (n,)."""
    return np.where(rows.user != 0, rows.user, rows.session)


Rows = Interactions | Items | Requests | Tiers


@dataclass(frozen=True, slots=True)
class Noticed:
    """Records of the flow's own input, read.

    Attributes:
        span: the stretch of input that this answers.
        topic: that it was read from.
        rows: what could be read.
        rejected: what could not.
        events: records of the stretch.
    """

    span: Span
    topic: str
    rows: Rows
    rejected: list[Rejected] = field(default_factory=list)
    events: int = 0
