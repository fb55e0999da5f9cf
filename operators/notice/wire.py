"""Records of the ranking flow's topics as they are read.

What lies below the first level is read member by member, so that of a name that occurs twice the last counts there too;
a typed decoder would refuse the first if it is wrong.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from operators.noticed import Fields
from schemas.decision import Tier
from schemas.event import Identifier
from schemas.interaction import Interaction
from schemas.item import Field, Item, ItemId, Value
from schemas.ranking_request import MOST_ITEMS, RankingRequest

_Object = dict[str, msgspec.Raw]
_Stamp = int | float | str

NOTHING: Final[Fields] = {}


class _Whole(Interaction, frozen=True, kw_only=True, gc=False):
    """`Interaction`, as it nearly always is: its fields built at once."""

    timestamp: _Stamp  # type: ignore[assignment]
    fields: list[Field] | None = None  # type: ignore[assignment]


class _Interaction(Interaction, frozen=True, kw_only=True, gc=False):
    """`Interaction`, its fields not built."""

    timestamp: _Stamp  # type: ignore[assignment]
    fields: list[_Object] | None = None  # type: ignore[assignment]


class _Item(Item, frozen=True, kw_only=True, gc=False):
    """`Item`, its fields not built."""

    timestamp: _Stamp  # type: ignore[assignment]
    fields: list[_Object] | None = None  # type: ignore[assignment]


class _Request(RankingRequest, frozen=True, kw_only=True, gc=False):
    """`RankingRequest`, its fields and items not built."""

    timestamp: _Stamp  # type: ignore[assignment]
    fields: list[_Object] | None = None  # type: ignore[assignment]
    items: Annotated[list[_Object], Meta(max_length=MOST_ITEMS)] | None = None  # type: ignore[assignment]


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is read of `schemas.decision.Decision`."""

    id: str
    timestamp: int
    user: Identifier
    tier: Tier


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One candidate of a request."""

    item: str
    relevancy: float | None
    fields: Fields


class Told(msgspec.Struct, frozen=True, gc=False):
    """One record, whole.

    Attributes:
        timestamp: as it stands.
        record: the record itself.
        fields: its properties by name.
        asked: the candidates of a request.
    """

    timestamp: int | float | str
    record: Any
    fields: Fields
    asked: Sequence[Asked] = ()


_decode_whole = msgspec.json.Decoder(_Whole).decode
_decode_interaction = msgspec.json.Decoder(_Interaction).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_decode_request = msgspec.json.Decoder(_Request).decode
_name = msgspec.json.Decoder(Annotated[str, Meta(min_length=1)]).decode
_value: Callable[[msgspec.Raw], Value] = msgspec.json.Decoder(Value).decode
_item_id = msgspec.json.Decoder(ItemId).decode
_number = msgspec.json.Decoder(float | None).decode
_fields_of = msgspec.json.Decoder(list[_Object] | None).decode

_NULL: Final = msgspec.Raw(b"null")

decision: Final = msgspec.json.Decoder(Decision).decode
"""Reads a record of `risk.tiers`, which only Tidegate writes."""


def interaction(value: bytes) -> Told:
    """Read a record of `interactions`; raises as `operators.decode.reading.REFUSED` says, as those below do."""
    try:  # a third faster, and refuses all that member by member could be read otherwise
        whole = _decode_whole(value)
    except msgspec.ValidationError:
        pass
    else:
        return Told(whole.timestamp, whole, {each.name: each.value for each in whole.fields or ()} or NOTHING)
    record = _decode_interaction(value)
    return Told(record.timestamp, record, _fields(record.fields))


def item(value: bytes) -> Told:
    """Read a record of `items`."""
    record = _decode_item(value)
    return Told(record.timestamp, record, _fields(record.fields))


def request(value: bytes) -> Told:
    """Read a record of `ranking.requests`."""
    record = _decode_request(value)
    asked = [_asked(each) for each in record.items or ()]
    return Told(record.timestamp, record, _fields(record.fields), asked)


def _fields(entries: Sequence[_Object] | None) -> Fields:
    if not entries:
        return NOTHING
    # A missing name is refused as null would be; null is a value, so a missing one is looked for.
    return {_name(each.get("name", _NULL)): _value(_present(each, "value")) for each in entries}


def _asked(entry: _Object) -> Asked:
    _number(entry.get("label", _NULL))
    return Asked(
        _item_id(entry.get("id", _NULL)),
        _number(entry.get("relevancy", _NULL)),
        _fields(_fields_of(entry.get("fields", _NULL))),
    )


def _present(entry: _Object, name: str) -> msgspec.Raw:
    found = entry.get(name)
    if found is None:
        raise msgspec.ValidationError("a member is missing")
    return found
