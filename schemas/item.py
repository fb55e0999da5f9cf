"""What users publish on `items`: Metarank's item events. Fields and times here are those of all its events."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import LAST_TIME_MS

Stamp = Annotated[int, Meta(ge=0, le=LAST_TIME_MS)] | Annotated[str, Meta(min_length=1, max_length=64)]
"""Time as Metarank takes it: milliseconds since 1970, as a number or as digits in a string, or RFC 3339."""

EventId = Annotated[str, Meta(min_length=1, max_length=256)]
ItemId = Annotated[str, Meta(min_length=1, max_length=256)]
Value = bool | float | str | tuple[bool | float | str, ...] | None


class Field(Struct, frozen=True, kw_only=True, gc=False):
    """One property, by name. Of two with one name the later counts.

    Attributes:
        name: which, at least 1 character.
        value: a truth value, number or text, or a list of them. Null: not known.
    """

    name: Annotated[str, Meta(min_length=1)]
    value: Value


class Item(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What is to be known of an item. The record's key is the item; unknown fields are ignored.

    A record need not repeat what earlier ones said: fields that it does not name stay as they are.

    Attributes:
        event: `item`, or `metadata` as older producers write.
        id: the publisher's name for this record, 1 to 256 characters.
        item: which item, 1 to 256 characters. No pseudonym is made of it: put no personal data in it.
        timestamp: since when it is so. Milliseconds since 1970-01-01 UTC, as a number or as digits in a string, or RFC
            3339 with an offset; years 1970 to 9999.
        fields: its properties. Absent: nothing but that there is one.
    """

    event: Literal["item", "metadata"]
    id: EventId
    item: ItemId
    timestamp: Stamp
    fields: tuple[Field, ...] | None = None
