"""What a replay of dead letters is asked for, and what it answers."""

from collections import Counter
from dataclasses import dataclass, field

from connectors.fetching import Place
from schemas.dead_letter import DeadLetter

NAMED = 20
"""Places that are named one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters to replay.

    Attributes:
        reason: this one only.
        topics: those of records of these topics, full names.
        since_ms: those of records whose Kafka timestamp is not before this; epoch milliseconds.
        until_ms: those of records whose Kafka timestamp is before this.
        again: also those of records that were replayed before and refused again.
    """

    reason: str | None = None
    topics: frozenset[str] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    again: bool = False

    def kind(self, letter: DeadLetter) -> bool:
        """Whether letters of this reason and topic are chosen."""
        return self.reason in (None, letter.reason) and (self.topics is None or letter.topic in self.topics)

    def time(self, letter: DeadLetter) -> bool:
        """Whether letters of this time are chosen."""
        return (self.since_ms is None or letter.timestamp >= self.since_ms) and (
            self.until_ms is None or letter.timestamp < self.until_ms
        )


@dataclass(slots=True)
class Tally:
    """What became of the letters.

    Attributes:
        replayed: published again (or to be, in a dry run), by reason.
        gone: no longer in the log, by reason.
        gone_at: the first `NAMED` places of those.
        again: refused again after a replay, and left alone.
        before: replayed, or found gone, by an earlier run.
        left: outside the chosen reason, topic or times.
        too_large: places of records that their topic does not take back, for their size with the header.
        unreadable: records that are no dead letters.
    """

    replayed: Counter[str] = field(default_factory=Counter)
    gone: Counter[str] = field(default_factory=Counter)
    gone_at: list[Place] = field(default_factory=list)
    again: int = 0
    before: int = 0
    left: int = 0
    too_large: list[Place] = field(default_factory=list)
    unreadable: int = 0
