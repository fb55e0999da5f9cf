"""What flows between the stages: micro-batches of one Kafka partition, as columns, each stage adding its own.

A batch is packaging only. Inside it every event sees the state left by the event before it, and the outputs of a stage
do not depend on where batches are cut. Rejected input travels in the batch that read it: the sink commits offsets and
dead letters together, and a stream of its own could be overtaken by the commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
I32 = NDArray[np.int32]
Bool = NDArray[np.bool_]

ATTRIBUTES = ("ip", "device", "counterparty", "type")
"""Columns of `Decoded.attributes`, in order."""

LATE, DUPLICATE, AHEAD = 1, 2, 4
"""Bits of `Featured.flags`: later than allowed; an `id` seen before; a jump of stream time not yet confirmed."""

TIERS = ("unknown", "low", "medium", "high", "critical")
"""Names of the codes in `Tiered.tier` and `Tiered.standing`. `standing` is never unknown."""


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of input one batch answers.

    Attributes:
        partition: Kafka partition of the input, and of every output derived from it.
        first: offset of the first record.
        next: the offset after the last record; becomes the committed offset.
        muted: true while rolling forward to the committed offset: the outputs are in Kafka already.
    """

    partition: int
    first: int
    next: int
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Messages:
    """Raw records of one partition, as read; all lists have one entry per record, in offset order."""

    span: Span
    topic: str
    values: list[bytes | None]
    keys: list[bytes | None]
    offsets: list[int]
    timestamps_ms: list[int]  # Kafka's own record timestamp

    @property
    def events(self) -> int:
        """Number of records."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be read: where it lies, and why. Never its bytes."""

    offset: int
    timestamp_ms: int  # Kafka's own record timestamp
    reason: str  # a schemas.dead_letter.Reason value; the metric label
    detail: str  # "expected X, got Y - at $.field", from closed templates: no value of the input


def first_ms(offsets: I64, time_ms: I64, rejected: Sequence[Rejected]) -> int | None:
    """Return the time of the first record of a batch: its own, or Kafka's where it could not be read; None: of none.

    Args:
        offsets: of what could be read, shape (n,).
        time_ms: event time of each, shape (n,).
        rejected: what could not be read.
    """
    if rejected and (not len(offsets) or rejected[0].offset < offsets[0]):
        return rejected[0].timestamp_ms
    return int(time_ms[0]) if len(offsets) else None


@dataclass(frozen=True, slots=True)
class Own:
    """What the declared features follow (`operators.own_feature`), one column for each.

    Attributes:
        numbers: shape (n, features); 1 where there is something to count; NaN where the feature does not follow the
            event.
        values: 64 bits of values to be told apart, shape (n, features); 0 where the feature does not follow the event.
    """

    numbers: F64
    values: U64


@dataclass(frozen=True, slots=True)
class Decoded:
    """Readable events as columns of length n, and the records that were not readable.

    Attributes:
        offsets: shape (n,).
        time_ms: event time, epoch milliseconds, shape (n,).
        ids: the publisher's event ids.
        users: pseudonyms as written to the outputs (`h1:...`).
        user: 64 bits of the user's pseudonym, shape (n,); never 0.
        id_hash: 64-bit hash of (user, id), shape (n,); never 0.
        attributes: 64 bits of the pseudonyms of `ATTRIBUTES`, shape (n, 4); 0 where absent.
        amount: shape (n,); NaN where absent.
        own: what the declared features follow; None where none are declared.
    """

    span: Span
    topic: str
    offsets: I64
    time_ms: I64
    ids: list[str]
    users: list[str]
    user: U64
    id_hash: U64
    attributes: U64
    amount: F64
    rejected: list[Rejected]
    own: Own | None = None

    @property
    def events(self) -> int:
        """Number of readable events."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Featured:
    """Features of every event, as they are once the event has been counted.

    Attributes:
        raw: values in their own units, shape (n, features), columns as in the catalogue.
        features: the same mapped into [0, 1] by the catalogue's limits, shape (n, features).
        flags: bits `LATE`, `DUPLICATE`, `AHEAD`, shape (n,). A flagged event changed no state here and must change
            none further down.
        teach: whether models of what is normal may learn from the event (not flagged, and within the cap per user),
            shape (n,).
    """

    decoded: Decoded
    raw: F64
    features: F64
    flags: U8
    teach: Bool

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.decoded.span

    @property
    def events(self) -> int:
        """Number of events."""
        return self.decoded.events


@dataclass(frozen=True, slots=True)
class Change:
    """Something about a stage that became different with an event, for the audit trail.

    Attributes:
        offset: of the event; the change holds for those after it.
        time_ms: event time of the event.
        kind: `model`, `threshold` or `drift`; of a definition that was applied, `experiment`; of an alarm on exposure,
            `fairness`.
        detail: the change by name. Holds no identifier, and nothing that depends on where batches are cut.
    """

    offset: int
    time_ms: int
    kind: str
    detail: dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Masses:
    """What the forest knew from one event on: the leaf masses of the window that it scores by.

    Attributes:
        offset: of the first event scored by it; in a batch's first entry, of the batch's first event.
        leaf: mass of each leaf, shape (trees, 2^height). Never written to again.
        split_feature: column that each inner node looks at, shape (trees, 2^height), as in `operators.score.forest`.
    """

    offset: int
    leaf: I32
    split_feature: I32


@dataclass(frozen=True, slots=True)
class Walks:
    """How the scores came about: what a later explanation needs and nothing else remembers.

    Attributes:
        leaf: the leaf that each event fell on, from 0, in each tree, shape (n, trees); 0 where the forest did not look.
        masses: what was in force, in the order of their offsets. Empty where there are no events.
    """

    leaf: U16
    masses: list[Masses]


@dataclass(frozen=True, slots=True)
class Scored:
    """How unusual every event is; NaN while the stage is warming.

    Attributes:
        forest: Half-Space Trees, higher is more unusual, shape (n,).
        evidence: directional evidence in nats, higher is riskier, shape (n,).
        score: the stated combination of the two, shape (n,).
        feature_tail: tail probability of each feature in its risky direction, shape (n, features).
        learn: whether models further down may learn from the event: `Featured.teach`, less what was held back here,
            shape (n,).
        changes: of the models, in the order of their offsets.
        walks: how the scores came about; None from a stage that does not say.
    """

    featured: Featured
    forest: F64
    evidence: F64
    score: F64
    feature_tail: F64
    learn: Bool
    changes: list[Change] = field(default_factory=list)
    walks: Walks | None = None

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.featured.decoded.span

    @property
    def events(self) -> int:
        """Number of events."""
        return self.featured.events


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How rare every score is, and how likely it means fraud.

    Attributes:
        tail: the share of past scores at least as high as this one, shape (n,); NaN while warming.
        changes: of thresholds and drift, in the order of their offsets.
        probability: of fraud, by the labels so far, shape (n,); NaN before there are enough of them. None from a stage
            that takes no labels.
    """

    scored: Scored
    tail: F64
    changes: list[Change] = field(default_factory=list)
    probability: F64 | None = None

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.scored.featured.decoded.span

    @property
    def events(self) -> int:
        """Number of events."""
        return self.scored.events


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an event's tier is medium or above: one feature's share in it.

    Attributes:
        feature: name in the catalogue.
        value: the event's value, in the feature's unit.
        baseline: what is usual for this user, in the same unit.
        contribution: evidence of this feature in nats (minus log of its tail probability).
    """

    feature: str
    value: float
    baseline: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Tiered:
    """Decisions: codes into `TIERS`, shape (n,), and the reasons of events from medium up, by index."""

    calibrated: Calibrated
    tier: U8
    standing: U8
    reasons: dict[int, tuple[Reason, ...]]

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.calibrated.scored.featured.decoded.span

    @property
    def events(self) -> int:
        """Number of events."""
        return self.calibrated.events


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One record to be written: to the output partition that equals the batch's input partition, unless it says so."""

    topic: str  # the name in schemas.registry, without prefix
    key: bytes
    value: bytes | None  # None: on a compacted topic, that there is no such key any more
    timestamp_ms: int
    partition: int = -1  # where to, if not to the partition that the batch came from


@dataclass(frozen=True, slots=True)
class Encoded:
    """Everything one stretch of input leads to.

    Attributes:
        span: the stretch.
        records: in the order in which they are to be written.
        beside: at most 200 characters to be committed beside the offset `span.next`, in the transaction of the records:
            the head of the audit chain; see `operators.state.Recalls`. Empty if muted.
        audited: kinds of the audit records among `records`, for the metric alone.
    """

    span: Span
    records: list[Outgoing]
    beside: str = ""
    audited: tuple[str, ...] = ()
