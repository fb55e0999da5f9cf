"""Configuration of the accumulate stage, and why something does not count."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from schemas.definition import LONGEST_S

REASONS = (
    "late",
    "ahead",
    "duplicate",
    "no_experiment",
    "no_variation",
    "no_phase",
    "before_start",
    "after_end",
    "sampled",
    "no_value",
    "too_large",
    "pending",
    "definition",
)
"""Why a row, or a unit, does not count; the metric's label, and the keys of `schemas.part.Part.refused`.

- `late`: an exposure older than the allowed lateness; a metric record of a unit that has been counted already.
- `ahead`: beyond a jump of stream time that others have not confirmed; it waited, and had to go for others.
- `duplicate`: an id that was seen within the deduplication window.
- `no_experiment`, `no_variation`, `no_phase`: the definition has no such one, or there is no definition yet.
- `before_start`, `after_end`: an exposure before the first phase, or from the end on.
- `sampled`: more units came than fit: this one's hash is not in the sample.
- `no_value`, `too_large`: a record without the number that a metric adds up, or beyond `experiments.sums.GREATEST`;
  counted for each metric that reads it, whoever's it is.
- `pending`: a record that had to be forgotten early, so that an exposure that comes after it may not find it.
- `definition`: a changed definition that does not fit what was counted: the old one stays in force.
"""

(
    LATE,
    AHEAD,
    DUPLICATE,
    NO_EXPERIMENT,
    NO_VARIATION,
    NO_PHASE,
    BEFORE_START,
    AFTER_END,
    SAMPLED,
    NO_VALUE,
    TOO_LARGE,
    PENDING,
    DEFINITION,
) = range(len(REASONS))


@dataclass(frozen=True, slots=True)
class AccumulateConfig:
    """The bounds of the state, per partition, and what disorder is borne.

    Attributes:
        max_units: pairs of unit and experiment that are remembered, whether their windows are open or over, 1 to
            100,000,000; about 200 bytes each while open, 60 afterwards. Beyond it units are sampled by hash.
        max_pending: records kept for exposures that come later, and as many decisions, 1 to 100,000,000; 100 bytes
            each.
        allowed_lateness_s: how far topics may be out of order among each other and within, seconds, 0 or more.
        max_gap_s: a record farther ahead of stream time waits until three units confirm the jump, seconds, from 1.
        dedup_window_s: how long an id is remembered, seconds of stream time, 0 or more.
        dedup_max: ids remembered, 1 to 100,000,000; 32 bytes each.
        tiers: whether decisions are read: without them all units are in the stratum `unknown`, and there is no metric
            `tidegate.risk`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_units: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000
    max_pending: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000
    allowed_lateness_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 300
    max_gap_s: Annotated[int, Ge(1), Le(LONGEST_S)] = 6 * 3_600
    dedup_window_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 600
    dedup_max: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000
    tiers: bool = False
