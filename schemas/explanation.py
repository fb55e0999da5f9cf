"""What Tidegate writes on `risk.explanations`: why an event's tier is medium or above, worked out off the hot path."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.evidence import Direction, Explained


class Contribution(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One feature's part in a score.

    Attributes:
        feature: name in the feature catalogue.
        unit: of `value` and `baseline`.
        direction: which way is risky.
        value: the feature's value at this event. Absent: not a finite number.
        baseline: what is usual for this user. Absent: nothing to hold against.
        tail_probability: share of earlier events at least as far on the risky side, 0 to 1.
        evidence: nats that it adds to the evidence, >= 0; 0 where another feature of its family is the stronger.
        forest: what it adds to the forest's score; below 0 where it makes the event more usual.
        share: its part in what led the decision, 0 to 1; the features are in this order.
    """

    feature: str
    unit: str
    direction: Direction
    value: float | None = None
    baseline: float | None = None
    tail_probability: Annotated[float, Meta(ge=0, le=1)]
    evidence: Annotated[float, Meta(ge=0)]
    forest: float
    share: Annotated[float, Meta(ge=0, le=1)]


class Explanation(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Why one event is risky. The record's key is `user`, its Kafka timestamp is the event time.

    There is one for every decision of tier medium and above, on the partition of the same number, in order. Numbers
    are rounded to 6 significant digits. Up to that, both sums are exact:

        evidence = sum of the features' `evidence` + `evidence_rest`
        forest = `forest_base` + sum of the features' `forest` + `forest_rest`

    Attributes:
        schema: version of this record, 1.
        id: the event's own `id`, 1 to 256 characters.
        timestamp: event time, milliseconds since 1970-01-01 UTC.
        user: pseudonym of the user, as in the decision.
        tier: how risky the event is, as in the decision.
        partition: partition of the event on its input topic, >= 0.
        offset: offset of the event in that partition, >= 0.
        tail_probability: share of past scores at least as high as this one, 0 to 1.
        score: forest and evidence combined.
        forest: Half-Space Trees' score, 0 to 1.
        evidence: directional evidence in nats.
        forest_share: how much the forest led the decision, 0 to 1; the evidence led the rest.
        forest_base: the forest's score of a point that no split tells anything about.
        features: what contributed, most first. Absent: nothing did.
        evidence_rest: nats of the features that are not listed. Absent: none.
        forest_rest: what the features that are not listed add to the forest's score. Absent: none.
        error: the greater distance by which the two sums, before rounding, miss the scores that the decision was made
            by. Absent: exactly none.
        sentences: the same in words, most important first.
    """

    schema: Literal[1] = field(default_factory=version_1)
    id: Annotated[str, Meta(min_length=1, max_length=256)]
    timestamp: Annotated[int, Meta(ge=0)]
    user: Annotated[str, Meta(min_length=1)]
    tier: Explained
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    tail_probability: Annotated[float, Meta(ge=0, le=1)]
    score: float
    forest: float
    evidence: float
    forest_share: Annotated[float, Meta(ge=0, le=1)]
    forest_base: float
    features: tuple[Contribution, ...] = ()
    evidence_rest: float = 0.0
    forest_rest: float = 0.0
    error: Annotated[float, Meta(ge=0)] = 0.0
    sentences: tuple[str, ...] = ()
