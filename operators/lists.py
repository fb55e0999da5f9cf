"""What flows between the stages of the ranking flow once requests are read: lists, each stage adding its own columns.

Candidates of all requests of a batch lie one after the other: those of request k from `starts[k]` up to
`starts[k + 1]`. n is the number of requests, m that of candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.batches import F64, I64, U8, U64, Change, Rejected, Span
from operators.noticed import Requests
from ranking.rerank import Step
from schemas.quality import Quality

SOURCES = ("given", "popular", "trending", "co_visited", "recent", "new")
"""Bits of `Lists.source`, in order."""


@dataclass(frozen=True, slots=True)
class Lists:
    """Requests with their candidates and what is known of them, as of the request.

    Attributes:
        span: the stretch of input that this answers.
        topic: its full name.
        requests: as they were read; their own candidates are in the columns below, too.
        flags: `operators.batches.LATE`, `DUPLICATE` or `AHEAD` where a request is; it is answered all the same, shape
            (n,).
        count: how many places are shown, shape (n,).
        starts: shape (n + 1,).
        item: `operators.noticed.item_key` of each candidate, shape (m,).
        items: ids of the candidates, as published, m of them.
        source: how each came among the candidates, bits of `SOURCES`, shape (m,).
        signals_ms: `timestamp` of the signals that were used; -1 where there were none, shape (m,).
        names: of the features, F of them; the same for all lists of a configuration.
        features: what the ranker is given, shape (m, F); NaN where it is not known.
        popularity: the fallback's score while there is no ranker, finite, shape (m,).
        group: number of the item's group, 0 for all that are in none, shape (m,).
        risk: of the item's seller, in [0, 1]; NaN where it is not known, shape (m,).
        offer: which variation of an experiment the item stands for, "" for none, m of them.
        value: what one unit of that experiment's effect is worth for the item, shape (m,).
        user_group: number of the user's group, 0 for none, shape (n,).
        versions: next record of `ranking.catalogue`, by partition, that was not known yet.
        rejected: requests that could not be read.
    """

    span: Span
    topic: str
    requests: Requests
    flags: U8
    count: I64
    starts: I64
    item: U64
    items: list[str]
    source: U8
    signals_ms: I64
    names: tuple[str, ...]
    features: F64
    popularity: F64
    group: I64
    risk: F64
    offer: list[str]
    value: F64
    user_group: I64
    versions: Mapping[str, int] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def events(self) -> int:
        """Number of requests."""
        return len(self.requests.ids)


@dataclass(frozen=True, slots=True)
class Scored:
    """The same, with a score for each candidate.

    Attributes:
        lists: as given.
        score: of the ranker or the fallback, finite, shape (m,).
        probability: of a click, calibrated, in [0, 1]; NaN where it is not known, shape (m,).
        model: version of the ranker, or `fallback`: of the whole batch, for models change between batches only.
    """

    lists: Lists
    score: F64
    probability: F64
    model: str

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.lists.span

    @property
    def events(self) -> int:
        """Number of requests."""
        return self.lists.events


@dataclass(frozen=True, slots=True)
class Ordered:
    """The same, in order.

    Attributes:
        scored: as given.
        before: candidates by score alone: `before[starts[k]:starts[k + 1]]` are places in list k, from 0, shape (m,).
        after: in the order that is shown, likewise, shape (m,).
        steps: what followed the ranker, in order, n of them.
    """

    scored: Scored
    before: I64
    after: I64
    steps: list[tuple[Step, ...]]

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.scored.span

    @property
    def events(self) -> int:
        """Number of requests."""
        return self.scored.events


@dataclass(frozen=True, slots=True)
class Judged:
    """The same, and what became known meanwhile of lists shown before.

    Attributes:
        ordered: as given.
        quality: of stretches of time that are over now, oldest first.
        alarms: on exposure, each once, when it first fires, in the order of their offsets.
    """

    ordered: Ordered
    quality: list[Quality] = field(default_factory=list)
    alarms: list[Change] = field(default_factory=list)

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.ordered.span

    @property
    def events(self) -> int:
        """Number of requests."""
        return self.ordered.events
