"""Side inputs: records of another topic, applied between two records of a partition's own log.

They have no place in that log, so the place where they were applied is decided once, by the running task, and written
to the flow's journal in the transaction of the records around it. Whoever takes over applies the same records at the
same place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from operators.accumulate.observed import Observed
from operators.audit import Chain
from operators.batches import I64, U64, Bool, Change, Encoded, Rejected, Span
from operators.dead_letter import dead_letter
from operators.noticed import Rows
from schemas.definition import Definition


@dataclass(frozen=True, slots=True)
class Labels:
    """What people, or chargebacks, said of events, as columns of length n, in the order of the topic.

    Attributes:
        id_hash: 64-bit hash of (user, id), as in `Decoded`, shape (n,).
        fraud: shape (n,).
        time_ms: when it was said, epoch milliseconds, shape (n,).
    """

    id_hash: U64
    fraud: Bool
    time_ms: I64


@dataclass(slots=True)
class Side:
    """Records of a side topic's partition p, for the task of partition p of the input.

    Attributes:
        partition: Kafka partition, of the input and of the side topic.
        topic: short name of the side topic, as `labels`; that of the registry, without prefix.
        at: input offset: all records below it were answered before, none from it on.
        first: side offset from which was read: that of the first record, or of what lies before it and is no record.
        next: side offset after the last record.
        values: one per record, as read.
        keys: one per record.
        offsets: side offsets, one per record.
        timestamps_ms: Kafka's own, one per record.
        muted: whether this is a roll-forward, so that nothing is written or measured.
        labels: filled by the decode stage, for the topic `labels`.
        observed: filled by the observe stage, for topics of the experiments flow.
        definitions: newest definition by experiment, filled by the observe stage for `experiments.definitions`; None
            where an experiment was taken back (a tombstone).
        changes: what of `definitions` is different now, filled by the observe stage; offsets are side offsets.
        rejected: records that could not be read, filled by the decode stage; offsets are side offsets.
        source: the side topic's full name, for dead letters.
        noticed: filled by the notice stage, for topics of the ranking flow.
    """

    partition: int
    topic: str
    at: int
    first: int
    next: int
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    muted: bool = False
    labels: Labels | None = None
    observed: Observed | None = None
    definitions: Mapping[str, Definition | None] | None = None
    changes: list[Change] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    source: str = ""
    noticed: Rows | None = None

    @property
    def span(self) -> Span:
        """The stretch of input that this answers: none, at `at`."""
        return Span(self.partition, self.at, self.at, self.muted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Encoded):
    """What side records lead to, after the last stage: the sink writes the journal's record beside `records`.

    Attributes:
        side: they, as all stages have seen them.
    """

    side: Side


def applied(flow: str, side: Side, beside: str = "") -> Applied:
    """Return what the last stage makes of side records: a dead letter for each that could not be read.

    Args:
        flow: that read them.
        side: they.
        beside: as in `Encoded`; empty if muted.
    """
    if side.muted:
        return Applied(side.span, [], side=side)
    topic = side.source or side.topic
    letters = [dead_letter(flow, topic, side.partition, rejected) for rejected in side.rejected]
    return Applied(side.span, letters, beside, side=side)


def audited(flow: str, side: Side, chain: Chain, changes: Sequence[Change]) -> Applied:
    """Return the same with an audit record of each change; the configuration, if it is new, comes before everything.

    Args:
        flow: that read them.
        side: they.
        chain: where changes are written.
        changes: what became different with them.
    """
    answer = applied(flow, side, chain.beside)
    if side.muted or not changes:
        return answer
    told = chain.configuration(changes[0].time_ms)
    trail = [chain.record(change.kind, change.time_ms, change.detail) for change in changes]
    kinds = ("configuration",) * len(told) + tuple(change.kind for change in changes)
    return replace(answer, records=[*told, *answer.records, *trail], beside=chain.beside, audited=kinds)


@runtime_checkable
class TakesSides(Protocol):
    """A stage that side inputs say something to. All other stages pass them on."""

    def take_side(self, side: Side) -> None:
        """Apply the records, and fill in what the stages after this one need."""
        ...


@runtime_checkable
class EndsSides(Protocol):
    """The last stage of a flow with side inputs: it says what is written."""

    def end_side(self, side: Side) -> Applied:
        """Return the records, of which a muted one has none."""
        ...
