"""What Tidegate answers on `risk.tiers` (every event) and `risk.alerts` (high and critical only)."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Tier = Literal["unknown", "low", "medium", "high", "critical"]
Standing = Literal["low", "medium", "high", "critical"]
Flag = Literal["late", "duplicate", "ahead"]


def version_1() -> Literal[1]:
    """Return 1. A factory, since fields that equal a plain default are left out of the message."""
    return 1


class Reason(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One feature's share in a tier.

    Attributes:
        feature: name in the feature catalogue.
        value: the feature's value at this event, in the feature's own unit. Absent: not a finite number.
        baseline: what is usual for this user, in the same unit. Absent: not known yet.
        contribution: evidence of this feature in nats (minus log of its tail probability), >= 0. Absent: not finite.
    """

    feature: str
    value: float | None = None
    baseline: float | None = None
    contribution: float | None = None


class Decision(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The answer to one event. The record's key is `user`, its Kafka timestamp is the event time.

    Numbers are rounded to 6 significant digits. Input offset `offset` of input partition `partition` is answered
    exactly once, in order, on the output partition of the same number.

    Attributes:
        schema: version of this record, 1.
        id: the event's own `id`, 1 to 256 characters.
        timestamp: event time, milliseconds since 1970-01-01 UTC.
        user: pseudonym of the user, `h<key version>:` and 32 hexadecimal digits; as published if the topic's
            identifiers were pseudonyms already.
        tier: how risky this event is, by its tail probability alone. `unknown`: not enough history to say.
        standing: how risky the user is at the moment; it falls more slowly than tiers do.
        partition: partition of the event on its input topic, >= 0.
        offset: offset of the event in that partition, >= 0.
        tail_probability: share of past scores at least as high as this one, 0 to 1. Absent while warming.
        score: forest and evidence combined; higher is riskier. Absent while warming.
        forest: Half-Space Trees' score; higher is more unusual. Absent below medium.
        evidence: directional evidence in nats; higher is riskier. Absent below medium.
        reasons: why, strongest first, from tier medium up. Absent: none given.
        flags: why the event changed no state: `late` (behind the allowed lateness), `duplicate` (its id was seen
            before), `ahead` (a jump of time not yet confirmed). Absent: it counted.
        probability: of fraud, by the labels there were when the event came, 0 to 1. Absent: labels are off, or too few
            so far.
    """

    schema: Literal[1] = field(default_factory=version_1)
    id: Annotated[str, Meta(min_length=1, max_length=256)]
    timestamp: Annotated[int, Meta(ge=0)]
    user: Annotated[str, Meta(min_length=1)]
    tier: Tier
    standing: Standing
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    tail_probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    score: float | None = None
    forest: float | None = None
    evidence: float | None = None
    reasons: tuple[Reason, ...] = ()
    flags: tuple[Flag, ...] = ()
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
