"""What was said of items: newest record by event time first, field by field; bounded for each item."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import msgspec
from annotated_types import Ge, Le
from msgspec import Struct

from operators.decode.explain import Fault, fault
from operators.decode.reading import Reader
from operators.notice import wire
from operators.notice.explain import NO_ITEM_KEY, explain_item
from operators.noticed import Fields
from schemas.dead_letter import Reason
from schemas.item import Field, Value

TOO_MUCH: Final = fault(Reason.OUT_OF_RANGE, "at most max_item_bytes of properties of an item", "more", "fields")
ELSEWHERE: Final = fault(Reason.OUT_OF_RANGE, "the partition that murmur2 gives the item", "another", "item")


@dataclass(frozen=True, slots=True)
class ItemsConfig:
    """What a record of `items` may be.

    Attributes:
        max_message_bytes: larger records are not parsed; bytes, >= 1.
        max_clock_skew_s: how far a record's time may lie beyond its Kafka timestamp; seconds, 0 to one year.
        max_item_bytes: most bytes that the id and the properties of an item may take, with about 10 for each property;
            a record with which they would take more is refused; 1,100 to 65,536.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_message_bytes: Annotated[int, Ge(1)] = 1_048_576
    max_clock_skew_s: Annotated[float, Ge(0), Le(31_536_000)] = 300.0
    max_item_bytes: Annotated[int, Ge(1_100), Le(65_536)] = 4_096


class Said(Struct, frozen=True, gc=False, array_like=True):
    """One property.

    Attributes:
        name: which.
        time_ms: since when, epoch milliseconds.
        value: null where it was taken back: what is older must not bring it again.
    """

    name: str
    time_ms: int
    value: Value


class Description(Struct, frozen=True, array_like=True):
    """What is known of an item.

    Attributes:
        item: its id, as published.
        said: its properties, in the order in which they were first heard of.
    """

    item: str
    said: tuple[Said, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Description).decode
_plain = msgspec.msgpack.Encoder().encode


def reader(config: ItemsConfig) -> Reader[wire.Told]:
    """Return what reads records of `items`."""
    skew_ms = round(config.max_clock_skew_s * 1_000)
    return Reader(wire.item, explain_item, config.max_message_bytes, skew_ms, NO_ITEM_KEY)


def text_of(item: str, said: Sequence[Said] = ()) -> bytes:
    """Return a description in the form in which it is kept."""
    return _encode(Description(item, tuple(said)))


def description_of(text: bytes) -> Description:
    """Return a description that was kept."""
    return _decode(text)


def told(text: bytes, item: str, time_ms: int, fields: Fields, most: int) -> bytes | Fault:
    """Return a description with what a record says of it; of one time the later record counts.

    Args:
        text: as it was kept; empty if nothing was.
        item: id of the item.
        time_ms: since when it is so.
        fields: what the record says.
        most: bytes that it may take.
    """
    said = {each.name: each for each in description_of(text).said} if text else {}
    for name, value in fields.items():
        if name not in said or said[name].time_ms <= time_ms:
            said[name] = Said(name, time_ms, value)
    found = text_of(item, tuple(said.values()))
    return TOO_MUCH if len(found) > most else found


def alike(one: bytes, other: bytes) -> bool:
    """Return whether two descriptions that were kept say the same, whenever it was said; 1 is not true here."""
    return one == other or _plain(fields_of(description_of(one))) == _plain(fields_of(description_of(other)))


def fields_of(description: Description) -> tuple[Field, ...]:
    """Return the properties that are known, by name."""
    known = [each for each in description.said if each.value is not None]
    return tuple(Field(name=each.name, value=each.value) for each in sorted(known, key=lambda each: each.name))
