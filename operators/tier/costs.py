"""Which tier is worth its cost: the decision by expected cost, where there are probabilities and the user gives costs.

Each tier is a decision by itself: do what tier t asks, or not. Doing it to a legitimate event costs `t` (a review, a
customer put off), to a fraud nothing; not doing it costs nothing on a legitimate event, and `missed` on a fraud. With p
the probability of fraud, doing it costs no more in expectation where (1 - p) t <= p missed, that is, where p reaches

    warrant(t) = t / (t + missed)

(Elkan, The Foundations of Cost-Sensitive Learning, IJCAI 2001, eq. 2, with no cost of being right). An event's tier is
the highest that is warranted. Dearer tiers have the higher warrants, so costs must rise with the tier, and all tiers
below one that is warranted are too. What is right on average needs p to be right: see docs/calibration.md on what is
only measured.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le


@dataclass(frozen=True, slots=True)
class CostsConfig:
    """What mistakes cost, all in one unit of the user's choice; only ratios matter.

    Attributes:
        missed: cost of a fraud that nothing is done about, above 0.
        medium: cost of acting as tier medium asks on a legitimate event, above 0.
        high: the same for high, above `medium`.
        critical: the same for critical, above `high`.

    Raises:
        ValueError: the costs of acting do not strictly increase.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    missed: Annotated[float, Gt(0), Le(1e12)]
    medium: Annotated[float, Gt(0), Le(1e12)]
    high: Annotated[float, Gt(0), Le(1e12)]
    critical: Annotated[float, Gt(0), Le(1e12)]

    def __post_init__(self) -> None:
        """Check the order of the costs."""
        if not self.medium < self.high < self.critical:
            raise ValueError(
                f"expected medium < high < critical, got medium = {self.medium}, high = {self.high}, "
                f"critical = {self.critical}: a higher tier must cost more on a legitimate event"
            )

    @property
    def warrants(self) -> dict[str, float]:
        """Least probability that warrants each tier, from medium up."""
        costs = {"medium": self.medium, "high": self.high, "critical": self.critical}
        return {tier: cost / (cost + self.missed) for tier, cost in costs.items()}
