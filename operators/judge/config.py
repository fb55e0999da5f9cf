"""Configuration of the judge stage: how long a list is waited for, what is measured, and what is still fair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt, MaxLen

Seconds = Annotated[int, Ge(1), Le(31 * 86_400)]
Between = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """Settings of `operators.judge.stage.Judge`.

    Attributes:
        within_s: how long after a list its user's interactions count for it, seconds.
        lateness_s: how long after that they are waited for, seconds of stream time.
        window_s: length of the stretches of event time, aligned to it, that one record is about, seconds.
        k: places that NDCG, MRR and the tests of minimum proportions look at.
        max_lists: lists waited for at once, per partition; when there are more, the oldest go, unjudged. About 21
            bytes for each candidate kept, and 150 for each list.
        max_kept: candidates kept of each list: those shown, then by score.
        max_gap_s: an interaction farther ahead of stream time waits until three users confirm the jump, seconds.
        bins: inner edges of the bins of probabilities, ascending. A probability on an edge is in the bin above it.
        alpha: how often the alarm of one group may ever go off in one partition where all lists are fair.
        tolerance: mean difference of exposure that is still called fair, in [0, 1).
        by_merit: whether exposure is due by merit, the mean calibrated probability (a click rate over the places shown,
            `schemas.ranked.Ranked`, so what was shown far down has less of it); else it is due to all alike.
        minimum_alpha: of the tests of minimum proportions.
        minimum_adjusted: whether a whole list fails with this probability at most; else each of its prefixes.
        shares: what share of places is due to a group, by its name. Of others it is their share of the candidates,
            rounded down to a hundredth.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    within_s: Seconds = 1_800
    lateness_s: Annotated[int, Ge(0), Le(86_400)] = 60
    window_s: Annotated[int, Ge(60), Le(31 * 86_400)] = 3_600
    k: Annotated[int, Ge(1), Le(100)] = 10
    max_lists: Annotated[int, Ge(1), Le(1_000_000)] = 10_000
    max_kept: Annotated[int, Ge(1), Le(1_000)] = 200
    max_gap_s: Seconds = 6 * 3_600
    bins: Annotated[tuple[Between, ...], MaxLen(100)] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
    alpha: Between = 0.05
    tolerance: Annotated[float, Ge(0), Lt(1)] = 0.05
    by_merit: bool = False
    minimum_alpha: Between = 0.1
    minimum_adjusted: bool = True
    shares: dict[str, Between] = field(default_factory=dict)

    def mistakes(self, groups: Sequence[str]) -> Iterable[str]:
        """Yield what does not fit together or the groups of items; a line each.

        Args:
            groups: their names.
        """
        known = ", ".join(groups) or "no group"
        yield from (f"expected judge.shares of {known}, got {name}" for name in self.shares if name not in groups)
        if any(low >= high for low, high in pairwise(self.bins)):
            yield f"expected judge.bins that ascend, got {', '.join(map(str, self.bins))}"
