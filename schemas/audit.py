"""What Tidegate writes on `audit`: changes of model, thresholds, drift and configuration, one HMAC chain per task."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1

Mac = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Audit(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One change, chained to the one before. The record's key is `<flow>-<partition>`.

    Attributes:
        schema: version of this record, 1.
        flow: the flow that changed.
        partition: the input partition whose task changed, >= 0; every flow and partition has a chain of its own.
        sequence: place in the chain, from 0 without gaps.
        timestamp: event time at which it changed, milliseconds since 1970-01-01 UTC.
        kind: what changed, such as `threshold` or `drift`.
        detail: the change in numbers and words, by name. Holds no identifier.
        previous: `mac` of the record before, 64 hexadecimal digits; 64 zeros in the first.
        mac: keyed hash over everything above, 64 hexadecimal digits.
    """

    schema: Literal[1] = field(default_factory=version_1)
    flow: str
    partition: Annotated[int, Meta(ge=0)]
    sequence: Annotated[int, Meta(ge=0)]
    timestamp: Annotated[int, Meta(ge=0)]
    kind: Annotated[str, Meta(min_length=1)]
    detail: dict[str, str | int | float | bool | None]
    previous: Mac
    mac: Mac
