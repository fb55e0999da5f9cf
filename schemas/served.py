"""What the ranking flow writes on the internal `ranking.served`: what the ranker saw of one list, for training."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.item import EventId, ItemId

Count = Annotated[int, Meta(ge=0)]


class Served(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One list as it was served. The record's key is `user`, or `id` where none is told.

    Of a list that shows nothing, or would take more than 900,000 bytes, there is none.

    Attributes:
        schema: version of this record, 1.
        id: the request's own `id`.
        timestamp: the request's time, milliseconds since 1970-01-01 UTC.
        user: pseudonym of the user. Absent: the request names none.
        partition: partition of the request on its input topic, >= 0.
        offset: offset of the request in that partition, >= 0.
        names: of the features.
        items: the candidates, in the order of `features`.
        features: little-endian float32, C order, shape (items, names); NaN: not known.
        place: of each item in the order that was answered, from 0.
        shown: places that were answered; the others were not shown.
        score: of the ranker, or of the fallback, by item.
        popularity: the fallback's score, by item.
        source: how each came among the candidates, bits of `operators.lists.SOURCES`.
        model: version of the ranker, or `fallback`.
    """

    schema: Literal[1] = field(default_factory=version_1)
    id: EventId
    timestamp: Count
    user: Annotated[str, Meta(min_length=1)] | None = None
    partition: Count
    offset: Count
    names: tuple[str, ...]
    items: tuple[ItemId, ...]
    features: bytes
    place: tuple[Count, ...]
    shown: Count
    score: tuple[float, ...]
    popularity: tuple[float, ...]
    source: tuple[Count, ...]
    model: Annotated[str, Meta(min_length=1)]
