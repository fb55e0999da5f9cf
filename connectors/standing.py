"""Where the side inputs of partitions stand, and what is read of them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from connectors.journal import Entry


@dataclass(frozen=True, slots=True)
class SideTopics:
    """What a flow reads beside its input.

    Attributes:
        names: full names by short name.
        journal: full name of the journal.
        setting: what switches the reading on and off, for messages; empty: nothing does.
        interval_s: least time between two readings.
        most: records at once.
        at_end: whether a partition without a past begins at the end; not of topics that come ahead.
        ahead: short names of those that are read to their end, as it is when a partition goes live, before anything
            else is handed to the stages, and as usual from then on.
        merged: short names of those that are put in the order of time with the input (connectors/merge.py). They are
            read all the time, not once in `interval_s`.
        slack_s: how far one of them, or the input, may be ahead of another, in the time of Kafka's records. Each run
            of records within it is a batch of its own: the less, the more and the smaller batches.
        wait_s: how long one that is at its end holds the others back.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    journal: str = ""
    setting: str = ""
    interval_s: float = 1.0
    most: int = 5_000
    at_end: bool = False
    ahead: frozenset[str] = frozenset()
    merged: frozenset[str] = frozenset()
    slack_s: float = 1.0
    wait_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: a topic is to be read ahead, or merged, that is not read, or both.
        """
        if unknown := (self.ahead | self.merged) - self.names.keys():
            raise ValueError(f"expected topics that are read, got {', '.join(sorted(unknown))}")
        if both := self.ahead & self.merged:
            raise ValueError(f"expected topics to be read ahead or merged, got both: {', '.join(sorted(both))}")

    def begins_at_end(self, topic: str) -> bool:
        """Whether a partition without a past begins at the end: what comes ahead is needed whenever it was said."""
        return self.at_end and topic not in self.ahead

    @property
    def ordered(self) -> bool:
        """Whether records are kept here until others were handed out."""
        return bool(self.ahead or self.merged)


@dataclass(frozen=True, slots=True)
class SidePlaces:
    """Where the side inputs of a partition stand; all offsets by short name of the topic.

    Attributes:
        committed: next to be applied.
        begin: where the flow began.
        journal_begin: from where in the journal to roll forward from `begin`.
        journal: from where in the journal to roll forward from any later snapshot.
        entries: what is to be applied while rolling forward, in order.
    """

    committed: Mapping[str, int] = field(default_factory=dict)
    begin: Mapping[str, int] = field(default_factory=dict)
    journal_begin: int = 0
    journal: int = 0
    entries: tuple[Entry, ...] = ()


class Standing:
    """Where the side inputs of one partition stand while it is this process's.

    Attributes:
        positions: next to be read, by topic.
        written: next to be committed: what lies below was applied, and lies in a transaction.
        journal: from where in the journal to roll forward from a snapshot taken now.
        entries: still to be applied while rolling forward.
        at_barrier: positions at the newest barrier.
    """

    __slots__ = ("at_barrier", "entries", "journal", "positions", "written")

    def __init__(self, places: SidePlaces) -> None:
        self.positions = dict(places.committed)
        self.written = dict(places.committed)
        self.journal = places.journal
        self.entries = deque(places.entries)
        self.at_barrier: dict[str, int] = {} if places.entries else dict(places.committed)

    @property
    def moved(self) -> bool:
        """Whether anything was applied since the newest barrier."""
        return self.positions != self.at_barrier


class HasSides(Protocol):
    """One partition of the input.

    Attributes:
        sides: where its side inputs stand.
        position: the next record of the input to be handed to the stages.
        live: whether it is no longer rolled forward.
    """

    sides: Standing
    position: int
    live: bool
