"""What users publish on `ranking.requests`: Metarank's ranking events, each a list to be put in order."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import Identifier
from schemas.item import EventId, Field, ItemId, Stamp

MOST_ITEMS = 1_000
"""Items of one request, at the most."""


class Candidate(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One item to be ranked.

    Attributes:
        id: the item, 1 to 256 characters.
        fields: what is known of it in this list alone, by name. Absent: nothing.
        relevancy: score by which the publisher would rank. Absent: not told.
        label: how relevant it turned out to be, as Metarank's producers may tell; not read. Absent: not told.
    """

    id: ItemId
    fields: tuple[Field, ...] | None = None
    relevancy: float | None = None
    label: float | None = None


class RankingRequest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One list for one user. The record's key is the user; unknown fields are ignored.

    Attributes:
        event: `ranking`.
        id: the publisher's name for it, 1 to 256 characters; interactions name it as their `ranking`.
        timestamp: when, in the forms of an item's time.
        user: for whom, 1 to 1024 characters. Replaced by a pseudonym before anything is stored or written. Absent: not
            told.
        session: in which session, 1 to 1024 characters. Becomes a pseudonym. Absent: not told.
        fields: what is known of the request, by name, such as a query. Absent: nothing.
        items: what is to be ranked, in the publisher's order, 1,000 at most; of an item that is there twice the first
            counts. Absent or empty: what Tidegate finds.
        count: how many to answer, 1 to 1,000. Absent: as many as the settings say.
    """

    event: Literal["ranking"]
    id: EventId
    timestamp: Stamp
    user: Identifier | None = None
    session: Identifier | None = None
    fields: tuple[Field, ...] | None = None
    items: Annotated[tuple[Candidate, ...], Meta(max_length=MOST_ITEMS)] | None = None
    count: Annotated[int, Meta(ge=1, le=MOST_ITEMS)] | None = None
