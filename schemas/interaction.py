"""What users publish on `interactions`: Metarank's interaction events."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import Identifier
from schemas.item import EventId, Field, ItemId, Stamp


class Interaction(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One thing one user did with one item. The record's key is the user; unknown fields are ignored.

    Attributes:
        event: `interaction`.
        id: the publisher's name for it, 1 to 256 characters, the same at every retry.
        ranking: `id` of the list that the item was shown in. Absent or empty: in none.
        timestamp: when, in the forms of an item's time.
        user: who, 1 to 1024 characters. Replaced by a pseudonym before anything is stored or written. Absent: not told.
        session: in which session, 1 to 1024 characters. Becomes a pseudonym. Absent: not told.
        type: what was done, such as `click` or `purchase`; at least 1 character.
        item: with which item, 1 to 256 characters.
        fields: anything else, by name, such as its `position` in the list, from 1. Absent: nothing else.
    """

    event: Literal["interaction"]
    id: EventId
    ranking: Annotated[str, Meta(max_length=256)] | None = None
    timestamp: Stamp
    user: Identifier | None = None
    session: Identifier | None = None
    type: Annotated[str, Meta(min_length=1)]
    item: ItemId
    fields: tuple[Field, ...] | None = None
