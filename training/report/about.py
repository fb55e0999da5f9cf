"""About: the records that a page is made of, and what of them is the declared analysis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.definition import Definition
from schemas.readout import Comparison, Estimate, Interval, Readout
from schemas.uplift import Uplift
from schemas.verdict import Verdict


@dataclass(frozen=True, slots=True)
class About:
    """One experiment.

    Attributes:
        readout: its newest statistics.
        verdicts: its decisions, oldest first; empty if there is none yet.
        definition: None if it was not found.
        uplift: its effects by decile of predicted uplift; empty if they were not estimated.
        alarm: where the anytime p of the sample ratio of all units alarms.
    """

    readout: Readout
    verdicts: Sequence[Verdict] = ()
    definition: Definition | None = None
    uplift: Sequence[Uplift] = ()
    alarm: float = 0.01

    @property
    def primary(self) -> list[Comparison]:
        """Comparisons of the metric that decides, by variation."""
        return [one for one in self.readout.comparisons if one.role == "primary"]

    @property
    def strata(self) -> list[Comparison]:
        """Comparisons that were made by tier before exposure, too."""
        return [one for one in self.readout.comparisons if one.strata]

    def declared(self, one: Comparison) -> Estimate | None:
        """Return the estimate that decides: with the covariate if that was declared and something is known of before.

        None: nothing is known yet.
        """
        return one.adjusted if self.readout.cuped and one.adjusted is not None else one.unadjusted


def harmful(one: Comparison) -> bool:
    """Return whether harm is shown: a guardrail is worse by more than its margin, or there is more risk."""
    return one.bound_harm is not None and one.bound_harm > (one.margin or 0.0)


def ends(interval: Interval) -> tuple[float, float]:
    """Return both ends for a drawing: an absent one lies at infinity."""
    return (
        -math.inf if interval.lower is None else interval.lower,
        math.inf if interval.upper is None else interval.upper,
    )


def leaning(one: Comparison, interval: Interval) -> str:
    """Return what an interval of an effect says, as a CSS class: `good`, `bad` or, if 0 is inside, `open`."""
    lower, upper = ends(interval)
    if lower <= 0.0 <= upper or lower > upper:
        return "open"
    return "good" if (lower > 0.0) == (one.better == "up") else "bad"
