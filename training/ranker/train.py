"""All of it: lists divided by time, trees, probabilities, and how good they are on lists that were kept back."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np

from operators.batches import F64
from operators.rank.model import Model, model_of, sealed
from schemas.ranker import Ranker
from training.ranker.calibration import Calibration, curve_of, judged, sigmoid
from training.ranker.export import trees_of
from training.ranker.learner import Learning, fit
from training.ranker.lists import GradedLists, Parts, divided
from training.ranker.measures import ALIKE, Difference, Measured, by_list, difference, measured

FEWEST = (50, 20, 20)
"""Lists with different grades that training, validation and test need."""

PARTS = ("training", "validation", "test")

_encode = msgspec.json.Encoder().encode


class Untrainable(ValueError):
    """There is no ranker in these lists; one line for each reason."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained.

    Attributes:
        learning: how trees are learnt.
        worth: what a click at each place counts where orders are compared, one over its chance to be seen, shape
            (places,); further down the last one holds. Not used without `learning.debias`.
        shares: of the lists, for training and validation; the rest is the test.
        version: of the ranker; None: named after its newest list, its trees and its curve.
        within_s: attribution time, seconds: lists whose clicks were not all known where the next part begins are left
            out.
    """

    learning: Learning = field(default_factory=Learning)
    worth: F64 = field(default_factory=ALIKE.copy)
    shares: tuple[float, float] = (0.6, 0.2)
    version: str | None = None
    within_s: float = 0.0

    @property
    def counts(self) -> F64:
        """What a click at each place counts, shape (places,)."""
        return self.worth if self.learning.debias else ALIKE


class Trained(NamedTuple):
    """A ranker, and how good it is on the test part.

    Attributes:
        record: it, with its checksum.
        model: the same, as the flow has it.
        parts: what it was learnt from and is measured on.
        crossing: lists that are in no part, for their attribution time goes beyond its end.
        ranker: measures of its order.
        popularity: of the fallback's.
        served: of the order that was shown.
        gain: pooled NDCG of the ranker less that of popularity.
        calibrated: error of the probabilities.
        uncalibrated: that of the scores taken for log odds.
        constant: that of the share of clicks in the validation part, for every row.
        importance: of features, by name, the largest first; shares that add up to 1.
    """

    record: Ranker
    model: Model
    parts: Parts
    crossing: int
    ranker: Measured
    popularity: Measured
    served: Measured
    gain: Difference
    calibrated: Calibration
    uncalibrated: Calibration
    constant: Calibration
    importance: list[tuple[str, float]]


def train(lists: GradedLists, plan: Plan, told: Callable[[str], None] = lambda _: None) -> Trained:
    """Train a ranker and measure it.

    Args:
        lists: graded, in the order of time.
        plan: how.
        told: called before each step with its name.

    Raises:
        Untrainable: with all reasons.
        MissingExtra: LightGBM cannot be used.
    """
    parts = divided(lists, plan.shares, plan.within_s * 1_000)
    check(lists, parts)
    told("learning trees")
    learnt, stopping = (part.chosen(part.telling) for part in parts[:2])
    fitted = fit(learnt, stopping, plan.learning, plan.counts)
    draft = Ranker(
        version=plan.version or "draft",
        timestamp=int(parts.validation.time_ms[-1]),
        features=lists.names,
        trees=trees_of(fitted.booster, fitted.trees),
        lists=parts.train.count + parts.validation.count,
    )
    told("learning probabilities")
    # Of all lists: those without a click are most of them.
    curve = curve_of(score(draft, parts.validation), parts.validation.click)
    known = {"curve": tuple(curve.score.tolist()), "probability": tuple(curve.probability.tolist())}
    draft = msgspec.structs.replace(draft, **known)
    draft = msgspec.structs.replace(draft, version=plan.version or version_of(draft))
    told("measuring")
    importance = sorted(zip(lists.names, fitted.importance.tolist(), strict=True), key=lambda one: -one[1])
    crossing = lists.count - sum(part.count for part in parts)
    return _measured(draft, parts, plan, importance)._replace(crossing=crossing)


def check(lists: GradedLists, parts: Parts) -> None:
    """Say what keeps a ranker from being trained.

    Raises:
        Untrainable: with all reasons.
    """
    crossing = lists.count - sum(part.count for part in parts)
    problems = [] if lists.names else ["expected lists with features, got none"]
    if not (lists.grade > 0).any():
        problems.append(f"expected clicks on what was shown, got none in {lists.count:,} lists")
    for name, part, fewest in zip(PARTS, parts, FEWEST, strict=True):
        telling = int(part.telling.sum())
        if telling < fewest:
            problems.append(
                f"expected at least {fewest} lists for {name} of which some items were clicked and others not, got"
                f" {telling:,} of {part.count:,}"
            )
    if problems and crossing:
        problems.append(f"left out: {crossing:,} lists whose attribution time goes beyond the end of their part")
    if problems:
        raise Untrainable("\n".join(problems))


def version_of(record: Ranker) -> str:
    """Return a name: day of the newest list, and a hash of features, trees and curve."""
    day = datetime.fromtimestamp(record.timestamp / 1_000, UTC).strftime("%Y%m%d")
    learnt = (record.features, record.trees, record.curve, record.probability)
    return f"{day}-{blake2b(_encode(learnt), digest_size=4).hexdigest()}"


def usable(record: Ranker) -> Model:
    """Return a sealed record's ranker over its own features; raises `operators.rank.model.Refused`."""
    return model_of(record, record.features)


def score(record: Ranker, lists: GradedLists) -> F64:
    """Return the score of each row, shape (m,), as a flow would give it."""
    return usable(sealed(record)).score(lists.features.astype(np.float64))


def _measured(draft: Ranker, parts: Parts, plan: Plan, importance: list[tuple[str, float]]) -> Trained:
    test, at, by = parts.test, plan.learning.at, plan.learning.gain
    scores, click = score(draft, test), test.click
    served = -test.place.astype(np.float64)
    orders = [by_list(test, each, at, by, plan.counts) for each in (scores, test.popularity, served)]
    ranker, popularity, shown = (measured(each) for each in orders)
    gain = difference(orders[0], orders[1], plan.learning.seed)
    share = float(parts.validation.click.mean())
    calibrated = judged(usable(sealed(draft)).chance(scores), click)
    figures = _figures(dict(zip(("", "_popularity", "_served"), (ranker, popularity, shown), strict=True)), at)
    figures |= {"test_lists": float(ranker.lists), "test_ece": calibrated.ece, "test_brier": calibrated.brier}
    figures |= {"test_gain": gain.mean, "test_gain_low": gain.low, "test_gain_high": gain.high}
    known = {name: value for name, value in figures.items() if math.isfinite(value)}
    record = sealed(msgspec.structs.replace(draft, figures=known))
    return Trained(
        record,
        usable(record),
        parts,
        0,
        ranker,
        popularity,
        shown,
        gain,
        calibrated,
        judged(sigmoid(scores), click),
        judged(np.full(len(click), share), click),
        importance,
    )


def _figures(orders: dict[str, Measured], at: int) -> dict[str, float]:
    found = {}
    for suffix, one in orders.items():
        found[f"test_ndcg@{at}{suffix}"] = one.ndcg_linear
        found[f"test_ndcg_exponential@{at}{suffix}"] = one.ndcg_exponential
        found[f"test_ndcg_pooled@{at}{suffix}"] = one.ndcg_pooled
        found[f"test_mrr@{at}{suffix}"] = one.mrr
        found[f"test_map@{at}{suffix}"] = one.map
    return found
