"""Tier: from a tail probability to a decision, its user's standing, and its reasons.

An event's tier is the highest whose budget its tail probability is within, and `unknown` without one: not knowing is
not low risk. If there are costs and the event has a probability of fraud, these alone decide instead: its tier is the
highest that its probability warrants (`operators.tier.costs`), whatever the budgets. It depends on nothing else. What
lasts is the user's standing (`operators.tier.standing`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray

from operators.batches import F64, I64, TIERS, U8, Calibrated, Tiered
from operators.compiled import compiled
from operators.featurize.catalogue import Feature
from operators.fingerprint import Field, fingerprint
from operators.state import Measurement, State
from operators.tier.costs import CostsConfig
from operators.tier.reasons import Reasons
from operators.tier.standing import MEDIUM, Standings

LAYOUT = 1
RATE_BLOCK = 1000  # events between two decays of the alert rates
ALERTS = TIERS[MEDIUM:]
_NONE: F64 = np.zeros(0)


@dataclass(frozen=True, slots=True)
class TierConfig:
    """Settings of the tier stage.

    Attributes:
        medium: alert budget of medium and above: the share of events, and the tail probability; between 0 and 1.
        high: alert budget of high and above, below `medium`.
        critical: alert budget of critical, below `high`.
        standing_hold_s: event time after which an unconfirmed standing falls by one level, seconds, at least 1.
        max_reasons: reasons per decision, 0 to 16.
        max_users: users above low whose standing is kept per partition, 1 to 2^24.
        rate_half_life: events after which an alert counts half in the observed rate, at least 1000.

    Raises:
        ValueError: the budgets do not strictly decrease.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    medium: Annotated[float, Gt(0), Lt(1)] = 1e-2
    high: Annotated[float, Gt(0), Lt(1)] = 1e-3
    critical: Annotated[float, Gt(0), Lt(1)] = 1e-4
    standing_hold_s: Annotated[int, Gt(0)] = 3600
    max_reasons: Annotated[int, Ge(0), Le(16)] = 3
    max_users: Annotated[int, Gt(0), Le(1 << 24)] = 100_000
    rate_half_life: Annotated[int, Ge(1000)] = 100_000

    def __post_init__(self) -> None:
        """Check the order of the budgets."""
        if not self.medium > self.high > self.critical:
            raise ValueError(
                f"expected medium > high > critical, got medium = {self.medium}, high = {self.high}, "
                f"critical = {self.critical}: a higher tier must have the smaller alert budget"
            )

    @property
    def budgets(self) -> dict[str, float]:
        """Alert budget by tier, from medium up."""
        return {"medium": self.medium, "high": self.high, "critical": self.critical}


@compiled
def assign(
    tail: F64,
    given: F64,
    flags: U8,
    budgets: F64,
    warrants: F64,
    settled: F64,
    pending: I64,
    block: int,
    decay: float,
    tier: U8,
) -> None:
    """Write the tier of each event, and count the tiers of unflagged ones with a decay every `block` of them.

    Args:
        tail: shape (n,), NaN where not known.
        given: probability of fraud, NaN where not known, shape (n,); shape (0,) where costs do not decide.
        flags: shape (n,).
        budgets: falling, from medium up, shape (3,).
        warrants: rising, from medium up, shape (3,).
        settled: decayed counts of events and of those within each budget, shape (4,).
        pending: the same since the last decay, whole, shape (4,).
        block: events between two decays.
        decay: factor per block.
        tier: output, codes into `TIERS`, shape (n,).
    """
    for i in range(len(tail)):
        p = tail[i]
        if np.isnan(p):
            tier[i] = 0
            continue
        within = 0
        by_cost = len(given) > 0 and not np.isnan(given[i])
        for k in range(len(budgets)):
            if given[i] >= warrants[k] if by_cost else p <= budgets[k]:
                within = k + 1
        tier[i] = 1 + within
        if flags[i] != 0:
            continue
        for k in range(within + 1):
            pending[k] += 1
        if pending[0] == block:
            for k in range(len(pending)):
                settled[k] = settled[k] * decay + pending[k]
                pending[k] = 0


class Tier:
    """Decisions of one partition, and the standings of its users.

    Args:
        config: the settings.
        catalogue: the features, in the order of the columns.
        upstream_fingerprint: of the stage that makes the tails.
        costs: what mistakes cost; None where budgets decide.
    """

    def __init__(
        self,
        config: TierConfig,
        catalogue: Sequence[Feature],
        upstream_fingerprint: str,
        costs: CostsConfig | None = None,
    ) -> None:
        warrants = list(costs.warrants.values()) if costs else []
        further: dict[str, Field] = {"warrants": tuple(warrants)} if costs else {}
        self.fingerprint = fingerprint(
            LAYOUT,
            upstream_fingerprint,
            budgets=tuple(config.budgets.values()),
            standing_hold_s=config.standing_hold_s,
            max_users=config.max_users,
            rate_half_life=config.rate_half_life,
            **further,
        )
        self.config = config
        self._budgets: F64 = np.array(list(config.budgets.values()))
        self._warrants: F64 = np.array(warrants)
        self._by_cost = False  # whether costs decided last: shown, and on nothing's way
        self._reasons = Reasons(catalogue, config.max_reasons)
        self._standings = Standings(hold_s=config.standing_hold_s, max_users=config.max_users)
        self._settled: F64 = np.zeros(4)
        self._pending: I64 = np.zeros(4, np.int64)
        self._decay = 0.5 ** (RATE_BLOCK / config.rate_half_life)

    def process(self, batch: Calibrated) -> Tiered:
        """Decide on the events of a batch, one after the other."""
        featured = batch.scored.featured
        decoded = featured.decoded
        tier: U8 = np.empty(len(batch.tail), np.uint8)
        given = batch.probability
        if given is None or not len(self._warrants):
            given = _NONE
        elif len(given):
            self._by_cost = not np.isnan(given[-1])
        assign(
            batch.tail,
            given,
            featured.flags,
            self._budgets,
            self._warrants,
            self._settled,
            self._pending,
            RATE_BLOCK,
            self._decay,
            tier,
        )
        standing = self._standings.follow(tier, decoded.user, decoded.time_ms, featured.flags)
        alerts: NDArray[np.int64] = np.flatnonzero(tier >= MEDIUM)
        reasons = self._reasons.explain(alerts, batch.scored.feature_tail, featured.raw) if len(alerts) else {}
        return Tiered(batch, tier, standing, reasons)

    def alert_rates(self) -> dict[str, float]:
        """Return the decayed share of unflagged, known events at or above each tier; 0 before there are any."""
        events, *alerts = (self._settled + self._pending).tolist()
        return {tier: count / events if events else 0.0 for tier, count in zip(ALERTS, alerts, strict=True)}

    def dump(self) -> State:
        """Return standings and rates."""
        return {
            **self._standings.dump(),
            "rate.settled": self._settled.copy(),
            "rate.pending": self._pending.copy(),
        }

    def load(self, state: State) -> None:
        """Replace the state by a dumped one."""
        self._standings.load(state)
        self._settled[:] = np.asarray(state["rate.settled"])
        self._pending[:] = np.asarray(state["rate.pending"])

    def measurements(self) -> Iterable[Measurement]:
        """Yield rates beside budgets, and how many standings are held and were evicted."""
        for tier, rate in self.alert_rates().items():
            yield Measurement("tidegate_alert_rate", rate, {"tier": tier})
        for tier, budget in self.config.budgets.items():
            # Where costs decide there is none to be over.
            yield Measurement("tidegate_alert_budget", math.nan if self._by_cost else budget, {"tier": tier})
        yield Measurement("tidegate_standings", float(len(self._standings)))
        yield Measurement("tidegate_standings_evicted_total", float(self._standings.evicted))
