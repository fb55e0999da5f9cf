"""How often the engine does what."""

from dataclasses import dataclass

BACKOFF_S = 1.0
"""Between two attempts to take partitions over."""

SPARE_AFTER_S = 1.0
"""A new member is told its partitions well within this."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen. Seconds on a monotonic clock; none of it reaches a result."""

    batch_max: int = 5000
    commit_interval_s: float = 0.1
    snapshot_interval_s: float = 10.0
    poll_s: float = 0.02
