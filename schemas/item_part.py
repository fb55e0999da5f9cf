"""What the interactions flow writes on the internal `ranking.parts`: one partition's sums of one item, or of all.

The newest of a partition stands for all before it. Parts of different partitions have no interaction in common, so
their sums add up. They are MessagePack, and arrays in it bytes of little-endian numbers: a part is a few hundred bytes,
with two windows that are full 1,400.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.event import LAST_TIME_MS
from schemas.item import ItemId

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[int, Meta(ge=0, le=LAST_TIME_MS)]
Seconds = Annotated[int, Meta(ge=1)]


class ItemPart(Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """Sums of one item on one partition of `interactions`. The record's key is the item; empty for all items together.

    Each window is `operators.signals.config.PANES` panes, of a fifth of it: pane number n, of times from n panes on
    after 1970, is at place n modulo their number. Columns of sums are `operators.signals.items.COLUMNS`, those of
    audiences `operators.signals.items.AUDIENCE`.

    Attributes:
        schema: version of this record, 1.
        item: which item, as published; null: all of them together, without an audience.
        partition: of `interactions`.
        partitions: how many there are.
        timestamp: stream time of the partition, milliseconds since 1970-01-01 UTC.
        offset: next record of `interactions` that is not in these sums; of all items together, that is not in the sums
            of some item, as they were told until then.
        since: stream time at which the partition first heard of the item, or of any.
        windows_s: lengths of the windows, seconds, ascending; W of them.
        half_life_s: in which what fades halves, seconds.
        audience_s: length of the periods in which an audience is counted, seconds.
        pane: number of the newest pane of each window: int64, shape (W,).
        filled: panes with sums, ascending, as window x panes + place: uint8, shape (k,).
        sums: of these panes: float64, shape (k, columns). All others are 0.
        decayed: what fades, as of `as_of`: float64, shape (columns,).
        as_of: time of the newest interaction, milliseconds since 1970-01-01 UTC.
        audience: of `period`, and of the one before: float64, shape (2, columns); empty where all are 0.
        period: number of the newest period with clicks or purchases.
    """

    schema: Literal[1] = field(default_factory=version_1)
    item: ItemId | None
    partition: Count
    partitions: Annotated[int, Meta(ge=1)]
    timestamp: Time
    offset: Count
    since: Time
    windows_s: tuple[Seconds, ...]
    half_life_s: Seconds
    audience_s: Seconds
    pane: bytes
    filled: bytes
    sums: bytes
    decayed: bytes
    as_of: Time
    audience: bytes
    period: Count
