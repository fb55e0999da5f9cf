"""What is counted: interactions of users with items, as columns."""

from dataclasses import dataclass, field

from operators.batches import F64, I64, U8, U64, Bool, Rejected, Span


@dataclass(frozen=True, slots=True)
class Interactions:
    """One stretch of `interactions`, read; columns of length n, a record may make several rows or none.

    Attributes:
        span: the stretch.
        topic: its full name.
        offsets: of the record that each row is of, shape (n,).
        kind: as in `operators.noticed`, shape (n,). `OTHER` moves stream time, and is no signal.
        item: 64-bit key of the item, never 0, shape (n,).
        user: 64-bit hash of the pseudonym of the user, or of the session where none is told, shape (n,); 0 where
            neither is: all of these are one user of an audience, and each by its id confirms jumps of time.
        time_ms: event time, epoch milliseconds, 0 or more, shape (n,).
        id_hash: 64-bit hash of (user, id, item), for duplicates; 0 where there is no id, shape (n,).
        position: place in the list, from 0; -1 where it is not known, shape (n,).
        weight: what an interaction of this user counts, by the newest risk tier, in [0, 1], shape (n,).
        risky: whether that tier is high or critical, shape (n,).
        rejected: records that could not be read.
    """

    span: Span
    topic: str
    offsets: I64
    kind: U8
    item: U64
    user: U64
    time_ms: I64
    id_hash: U64
    position: I64
    weight: F64
    risky: Bool
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def events(self) -> int:
        """Number of rows."""
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class Counted:
    """The same, counted.

    Attributes:
        interactions: as given.
        flags: `operators.batches.LATE`, `DUPLICATE` or `AHEAD` where a row does not count (one ahead: not yet), else 0,
            shape (n,).
    """

    interactions: Interactions
    flags: U8

    @property
    def span(self) -> Span:
        """The stretch of input this batch answers."""
        return self.interactions.span

    @property
    def rejected(self) -> list[Rejected]:
        """Records that could not be read."""
        return self.interactions.rejected

    @property
    def events(self) -> int:
        """Number of rows."""
        return self.interactions.events
