"""What is published on `exposures`: a unit was shown a variation."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.definition import Name
from schemas.event import Identifier, Time


class Exposure(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One unit, shown one variation. The record's key is the user; unknown fields are ignored.

    Attributes:
        experiment_id: the definition's `id`.
        variation_id: one of its variations.
        user: the unit, 1 to 1024 characters. Replaced by a pseudonym before anything is stored or written.
        timestamp: when it was shown, in the forms of an event's time.
        phase: in which phase of the definition, from 0. Absent: by the time.
        bucket: where the unit's hash stands on the grid of 10,000. Absent: not told.
        attributes: what is known of the unit, by name, for uplift. Absent: nothing.
        pre_value: the primary metric of this unit before its exposure, for CUPED. Absent: not known.
    """

    experiment_id: Name
    variation_id: Name
    user: Identifier
    timestamp: Time
    phase: Annotated[int, Meta(ge=0)] | None = None
    bucket: Annotated[int, Meta(ge=0, lt=10_000)] | None = None
    attributes: dict[str, Any] | None = None
    pre_value: float | None = None
