"""The steps after a ranker: by incremental value, by risk, for fairness; each switchable, with reasons and its cost.

They come in one order, fairness last: what it promises of the list is then true of the list that is shown. A step
starts from the list of the step before it. Its cost is what it takes from the NDCG of the ranker's own scores
(`gain.kept`): 0 if it changes nothing, below 0 if it happens to undo another's change; the costs add up to the list's.

Scores count by their place in the range of the list's scores, from 0 for the least to 1 for the largest, so all weights
are of no unit and a ranker's scale plays no part. Work is bounded: O(n log n + n groups) for `MOST_CANDIDATES` at most.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ranking import exposure, fair
from ranking.gain import F64, I64, in_range, kept, ranking

MOST_CANDIDATES = 1_000

REASONS = (
    "kept",  # its place did not change
    "made_way",  # others moved past it; nothing speaks against it
    "closed_up",  # others above it sank
    "more_incremental",  # showing it changes more than its score says
    "less_incremental",  # showing it changes less than its score says
    "risky_seller",
    "risky_discount",
    "protected_due",  # FA*IR: too few protected items would have come first
    "group_due",  # exposure: another group would have had more than its share
)
KEPT, MADE_WAY, CLOSED_UP, MORE, LESS, SELLER, DISCOUNT, PROTECTED, GROUP = range(len(REASONS))

I8 = NDArray[np.int8]


class Candidates(NamedTuple):
    """What is ranked, in any order; all of shape (n,).

    Attributes:
        score: of the ranker, finite.
        incremental: expected incremental value of showing the item, uplift x value, in any unit; NaN or infinite: not
            known.
        seller_risk: in [0, 1]; NaN: not known.
        discount_risk: likewise, of the item's price or discount.
        group: number of its group, 0 or more.
        merit: 0 or more, such as a calibrated probability; for exposure by merit alone.
    """

    score: F64
    incremental: F64
    seller_risk: F64
    discount_risk: F64
    group: I64
    merit: F64 | None = None


class ByUplift(NamedTuple):
    """Order by (1 - weight) x score + weight x incremental value, the latter over its largest size in the list.

    So what does harm sinks below what does nothing. An unknown value counts as the mean of the known ones.

    Attributes:
        weight: in [0, 1]: 0 changes nothing, 1 goes by incremental value alone.
    """

    weight: float


class ByRisk(NamedTuple):
    """Lower each item by strength x risk, with the larger risk of seller and discount.

    Attributes:
        strength: 0 or more: at 1 a certain risk costs as much as the whole range of scores.
        unknown: risk of what is not known, in [0, 1].
    """

    strength: float
    unknown: float = 0.0


class FairTopK(NamedTuple):
    """FA*IR (`fair.reorder`): enough items of one group in every prefix.

    Attributes:
        table: fewest of each prefix, from `fair.cautious_adjusted` or `fair.nearest_adjusted`.
        protected: number of the group.
    """

    table: I64
    protected: int = 1


class FairExposure(NamedTuple):
    """No group above its share of exposure by more than a tolerance (`exposure.reorder`).

    Attributes:
        groups: how many there are.
        tolerance: exposure above its share, 0 or more; the first place is worth 1.
        by_merit: shares by merit, not by size.
    """

    groups: int
    tolerance: float
    by_merit: bool = False


class Move(NamedTuple):
    """Why an item is in another place after a step; places count from 0."""

    candidate: int
    before: int
    after: int
    reason: str


class Step(NamedTuple):
    """What one step did.

    Attributes:
        name: `uplift`, `risk` or `fairness`.
        before: candidates in the order that came in, shape (n,).
        after: in the order that went out, shape (n,).
        reason: of each candidate, an index of `REASONS`, shape (n,).
        cost: what it took from NDCG.
    """

    name: str
    before: I64
    after: I64
    reason: I8
    cost: float

    def moves(self, k: int) -> list[Move]:
        """Return what came into the first k places, left them or moved within them, in the new order."""
        was, now = places_of(self.before), places_of(self.after)
        moved = [c for c in self.after.tolist() if was[c] != now[c] and min(was[c], now[c]) < k]
        return [Move(c, int(was[c]), int(now[c]), REASONS[self.reason[c]]) for c in moved]


class Reranked(NamedTuple):
    """A list before and after, with the steps between.

    Attributes:
        before: candidates in the ranker's order, equal scores as they stood, shape (n,).
        after: in the order to be shown, shape (n,).
        steps: those switched on, in their order.
        cost: 1 - NDCG by the ranker's own scores, the sum of the steps' costs.
    """

    before: I64
    after: I64
    steps: tuple[Step, ...]
    cost: float


def rerank(
    candidates: Candidates,
    k: int,
    *,
    uplift: ByUplift | None = None,
    risk: ByRisk | None = None,
    fairness: FairTopK | FairExposure | None = None,
) -> Reranked:
    """Return the list after the steps that are switched on.

    Args:
        candidates: up to `MOST_CANDIDATES`.
        k: places that are shown; costs are of these.
        uplift: the step by incremental value. Absent: off.
        risk: the step by risk. Absent: off.
        fairness: the step for fairness. Absent: off.

    Raises:
        ValueError: too many candidates, a score that is not finite, a setting out of its range.
    """
    n = len(candidates.score)
    _check(candidates, uplift, risk, fairness)
    order = before = ranking(candidates.score)
    worth = in_range(candidates.score)
    steps: list[Step] = []

    def took(name: str, after: I64, up: I8, down: I8) -> I64:
        was, now = places_of(order), places_of(after)
        reason = np.where(now < was, up, np.where(now > was, down, KEPT)).astype(np.int8)
        cost = kept(candidates.score, order, k) - kept(candidates.score, after, k)
        steps.append(Step(name, order, after, reason, cost))
        return after

    if uplift is not None:
        value = _incremental(candidates.incremental, worth)
        more = value - worth
        more = more - (more.mean() if n else 0.0)
        worth = (1.0 - uplift.weight) * worth + uplift.weight * value
        up, down = np.where(more > 0.0, MORE, CLOSED_UP), np.where(more < 0.0, LESS, MADE_WAY)
        order = took("uplift", _sorted(order, worth), up.astype(np.int8), down.astype(np.int8))
    if risk is not None:
        seller, discount = (
            np.where(np.isnan(r), risk.unknown, r) for r in (candidates.seller_risk, candidates.discount_risk)
        )
        largest = np.maximum(seller, discount)
        worth = worth - risk.strength * largest
        down = np.where(largest > 0.0, np.where(seller >= discount, SELLER, DISCOUNT), MADE_WAY)
        order = took("risk", _sorted(order, worth), np.full(n, CLOSED_UP, np.int8), down.astype(np.int8))
    if isinstance(fairness, FairTopK):
        protected = candidates.group == fairness.protected
        after = order[fair.reorder(protected[order], fairness.table)]
        up = np.where(protected, PROTECTED, CLOSED_UP)
        order = took("fairness", after, up.astype(np.int8), np.full(n, MADE_WAY, np.int8))
    elif fairness is not None:
        after = order[_shared_out(candidates, fairness, order, k)]
        order = took("fairness", after, np.full(n, GROUP, np.int8), np.full(n, MADE_WAY, np.int8))
    return Reranked(before, order, tuple(steps), 1.0 - kept(candidates.score, order, k))


def _shared_out(candidates: Candidates, fairness: FairExposure, order: I64, k: int) -> I64:
    if fairness.by_merit and candidates.merit is not None:
        share = exposure.shares_by_merit(candidates.group, candidates.merit, fairness.groups)
    else:
        share = exposure.shares_by_size(candidates.group, fairness.groups)
    return exposure.reorder(candidates.group[order], share, fairness.tolerance, k)


def places_of(order: I64) -> I64:
    """Return the place of each candidate."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places


def _sorted(order: I64, worth: F64) -> I64:
    """Return the candidates by falling worth; equal ones in the order in which they came."""
    return order[ranking(worth[order])]


def _incremental(value: F64, worth: F64) -> F64:
    """Return incremental values over the largest size, in [-1, 1]; the worth itself if none is known or all are 0."""
    known = np.isfinite(value)
    largest = np.abs(value[known]).max(initial=0.0)
    if largest == 0.0:
        return worth
    scaled = value[known] / largest
    found = np.full(len(value), scaled.mean())
    found[known] = scaled
    return found


def _check(
    candidates: Candidates, uplift: ByUplift | None, risk: ByRisk | None, fairness: FairTopK | FairExposure | None
) -> None:
    if len(candidates.score) > MOST_CANDIDATES:
        raise ValueError(f"expected {MOST_CANDIDATES} candidates at most, got {len(candidates.score)} - at score")
    if not bool(np.isfinite(candidates.score).all()):
        raise ValueError("expected finite scores - at score")
    if uplift is not None and not 0.0 <= uplift.weight <= 1.0:
        raise ValueError(f"expected 0..1, got {uplift.weight} - at uplift.weight")
    if risk is not None and not 0.0 <= risk.strength < np.inf:
        raise ValueError(f"expected 0 or more, got {risk.strength} - at risk.strength")
    if risk is not None and not 0.0 <= risk.unknown <= 1.0:
        raise ValueError(f"expected 0..1, got {risk.unknown} - at risk.unknown")
    if isinstance(fairness, FairExposure):
        if not fairness.tolerance >= 0.0:
            raise ValueError(f"expected 0 or more, got {fairness.tolerance} - at fairness.tolerance")
        if fairness.by_merit and candidates.merit is None:
            raise ValueError("expected the candidates' merit, got none - at fairness.by_merit")
        if bool((candidates.group >= fairness.groups).any()):
            raise ValueError(f"expected groups below {fairness.groups}, got {candidates.group.max()} - at group")
