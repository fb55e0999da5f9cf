"""What Tidegate answers on `ranking.results`: the ranked list of one request, and why it is in this order."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import Flag, version_1
from schemas.item import EventId, ItemId

Count = Annotated[int, Meta(ge=0)]
Place = Annotated[int, Meta(ge=1)]
StepName = Literal["uplift", "risk", "fairness"]
Source = Literal["given", "popular", "trending", "co_visited", "recent", "new"]
Why = Literal[
    "made_way",
    "closed_up",
    "more_incremental",
    "less_incremental",
    "risky_seller",
    "risky_discount",
    "protected_due",
    "group_due",
]


class Move(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Why an item is in another place after one step.

    Attributes:
        step: which step.
        before: its place before, from 1.
        after: its place after, from 1.
        reason: `more_incremental`, `less_incremental`: showing it changes more, or less, than its score says;
            `risky_seller`, `risky_discount`; `protected_due`, `group_due`: its group had too little; `made_way`,
            `closed_up`: others moved past it, or sank.
    """

    step: StepName
    before: Place
    after: Place
    reason: Why


class Ranked(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One item of a list.

    Attributes:
        item: which, as published.
        before: its place by score alone, from 1.
        score: of the ranker, or of the fallback; higher comes first.
        probability: mean rate of clicks of its score over the places at which lists of the ranker's validation part
            were shown, not of a click at this place; 0 to 1. Absent: not known yet.
        sources: how it came among the candidates.
        signals: `timestamp` of its signals that were used. Absent: there were none.
        moves: why it is not where its score would have it, step by step. Absent: no step moved it, or the record
            would be too large.
    """

    item: ItemId
    before: Place
    score: float
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    sources: tuple[Source, ...] = ()
    signals: Count | None = None
    moves: tuple[Move, ...] = ()


class Step(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What one step after the ranker cost.

    Attributes:
        name: which step.
        cost: NDCG of the ranker's own scores that it took; below 0 if it undid another's change.
    """

    name: StepName
    cost: float


class RankedList(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The answer to one request. The record's key is `user`, or `id` where none is told.

    Input offset `offset` of input partition `partition` is answered exactly once, in order, on the output partition of
    the same number. Numbers are rounded to 6 significant digits. A record is at most 900,000 bytes: of one that would
    be larger all `moves` are left out, then `before`; if its items alone are too large, the request is a dead letter,
    `too_large`.

    Attributes:
        schema: version of this record, 1.
        id: the request's own `id`, 1 to 256 characters.
        timestamp: the request's time, milliseconds since 1970-01-01 UTC.
        user: pseudonym of the user. Absent: the request names none.
        partition: partition of the request on its input topic, >= 0.
        offset: offset of the request in that partition, >= 0.
        items: the list, first place first.
        before: the list as it would be by score alone, first place first, as long as `items`. Absent: the same, or the
            record would be too large; `before` of each item is there all the same.
        steps: what followed the ranker, in order. Absent: nothing did.
        candidates: how many items were ranked.
        model: version of the ranker, or `fallback` while there is none.
        signals: next record of `ranking.catalogue`, by partition, that was not known here yet. Absent: none was known.
        flags: `late`, `duplicate` or `ahead`, as of a decision. Absent: none.
    """

    schema: Literal[1] = field(default_factory=version_1)
    id: EventId
    timestamp: Count
    user: Annotated[str, Meta(min_length=1)] | None = None
    partition: Count
    offset: Count
    items: tuple[Ranked, ...]
    before: tuple[ItemId, ...] = ()
    steps: tuple[Step, ...] = ()
    candidates: Count
    model: Annotated[str, Meta(min_length=1)]
    signals: dict[str, Count] = {}
    flags: tuple[Flag, ...] = ()
