"""What users publish on `metrics`: one number of one unit."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.event import Identifier, Time


class MetricRecord(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One number of one unit, at one time. The record's key is the user; unknown fields are ignored.

    Attributes:
        user: the unit, 1 to 1024 characters. Replaced by a pseudonym before anything is stored or written.
        metric: which number; what an experiment's metric names as its `event`.
        value: the number. Absent: it counts where records are counted, and nowhere else.
        timestamp: when it was so, in the forms of an event's time.
        pre_value: the same metric of this unit before its exposure, for CUPED. Absent: not known.
        id: a duplicate of the same user and id within the deduplication window changes nothing. Absent: no two records
            are taken for one.
        fields: what else is known, for `where` and for dotted paths. Absent: nothing.
    """

    user: Identifier
    metric: Annotated[str, Meta(min_length=1, max_length=256)]
    value: float | None = None
    timestamp: Time
    pre_value: float | None = None
    id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    fields: dict[str, Any] | None = None
