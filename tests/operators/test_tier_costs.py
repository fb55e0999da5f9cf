"""Tiers by expected cost: where each is warranted, when costs decide and when budgets do, and what it saves."""

import dataclasses
import math

import numpy as np
import pytest
from label_streams import DAY_MS, batch, replay, side, stream
from pydantic import TypeAdapter, ValidationError
from stages import CATALOGUE

from operators.batches import TIERS, Calibrated
from operators.calibrate import Calibrate, CalibrateConfig, ProbabilityConfig
from operators.tier import CostsConfig, Tier, TierConfig

COSTS = CostsConfig(missed=100.0, medium=1.0, high=25.0, critical=300.0)  # warranted from 1/101, 1/5 and 3/4 on


def decided(tail, given, costs=COSTS):
    n = len(tail)
    scored = batch(stream(1, n), 0, n)
    featured = dataclasses.replace(scored.featured, raw=np.zeros((n, len(CATALOGUE))))
    decoded = dataclasses.replace(featured.decoded, user=np.arange(1, n + 1).astype(np.uint64))
    featured = dataclasses.replace(featured, decoded=decoded)
    scored = dataclasses.replace(scored, featured=featured, feature_tail=np.ones((n, len(CATALOGUE))))
    given = None if given is None else np.array(given, float)
    stage = Tier(TierConfig(), CATALOGUE, "up", costs)
    answer = stage.process(Calibrated(scored, np.array(tail, float), probability=given))
    return [TIERS[code] for code in answer.tier], stage


def test_each_tier_is_warranted_where_acting_costs_no_more_than_letting_pass():
    """Elkan 2001, eq. 2 with nothing for being right: t / (t + missed)."""
    assert COSTS.warrants == pytest.approx({"medium": 1 / 101, "high": 0.2, "critical": 0.75})
    for tier, cost in (("medium", 1.0), ("high", 25.0), ("critical", 300.0)):
        p = COSTS.warrants[tier]
        assert (1 - p) * cost == pytest.approx(p * COSTS.missed)


def test_with_a_probability_costs_alone_decide():
    tiers, _ = decided([1.0, 1.0, 1.0, 1.0, 1e-9], [0.0099, 0.01, 0.2, 0.75, 0.0])

    assert tiers == ["low", "medium", "high", "critical", "low"]


def test_without_a_probability_budgets_decide():
    tiers, _ = decided([0.5, 0.01, 0.001, 0.0001, math.nan], [math.nan] * 5)

    assert tiers == ["low", "medium", "high", "critical", "unknown"]
    assert decided([0.5, 0.01], None)[0] == ["low", "medium"]


def test_without_costs_a_probability_changes_no_tier():
    tiers, _ = decided([0.5, 0.01], [0.99, 0.0], costs=None)

    assert tiers == ["low", "medium"]


def test_a_budget_is_shown_only_where_it_decides():
    def budgets(given):
        _, stage = decided([0.5, 0.5], given)
        return [each.value for each in stage.measurements() if each.metric == "tidegate_alert_budget"]

    assert budgets([math.nan, math.nan]) == [0.01, 0.001, 0.0001]
    assert np.isnan(budgets([math.nan, 0.5])).all()


def test_costs_change_the_fingerprint_and_their_absence_does_not():
    other = dataclasses.replace(COSTS, missed=1.0)
    prints = {Tier(TierConfig(), (), "up", costs).fingerprint for costs in (None, COSTS, other)}

    assert len(prints) == 3
    assert Tier(TierConfig(), (), "up").fingerprint in prints


@pytest.mark.parametrize(
    "wrong",
    [{"medium": 25.0}, {"high": 300.0}, {"critical": 2.0}, {"missed": 0.0}, {"medium": -1.0}, {"medium": None}],
)
def test_costs_that_make_no_sense_are_refused(wrong):
    given = {**dataclasses.asdict(COSTS), **wrong}

    with pytest.raises(ValidationError):
        TypeAdapter(CostsConfig).validate_python(given)


def cost(acted, fraud, price):
    """What decisions of one tier cost: doing what it asks to the legitimate, not doing it to frauds."""
    return price * (acted & ~fraud).sum() + COSTS.missed * (fraud & ~acted).sum()


@pytest.mark.slow
def test_what_costs_decide_costs_less_than_what_budgets_do_and_little_more_than_the_truth_would():
    of = stream(11, 1_000_000, base=0.01, shift=6.0)
    probability = ProbabilityConfig(enabled=True, wait_s=3 * DAY_MS // 1000)
    tail, given = replay(Calibrate(CalibrateConfig(), "", {"medium": 0.01}, probability=probability), of)
    late = np.arange(len(tail)) >= 200_000
    assert not np.isnan(given[late]).any()
    fraud = of.fraud[late]
    for tier, warrant in COSTS.warrants.items():
        price = getattr(COSTS, tier)
        by_budget = cost(tail[late] <= TierConfig().budgets[tier], fraud, price)
        by_cost, by_truth = (cost(each[late] >= warrant, fraud, price) for each in (given, of.likely))
        print(f"{tier}: budgets {by_budget:,.0f}, costs {by_cost:,.0f}, truth {by_truth:,.0f}")
        assert by_cost < by_budget
        assert by_cost < 1.1 * by_truth


def test_the_switch_is_told_with_the_probabilities_that_decide_from_then_on():
    of = stream(12, 60_000, base=0.01)
    config = ProbabilityConfig(enabled=True, wait_s=DAY_MS // 1000, min_labels=100, min_fraud=20)
    stage = Calibrate(CalibrateConfig(), "", None, None, (), config, COSTS.warrants)
    changes = []
    for first in range(0, 60_000, 5_000):
        changes += stage.process(batch(of, first, first + 5_000)).changes
        rows = np.flatnonzero(of.fraud[:first])
        stage.take_side(side(of.id_hash[rows], of.fraud[rows]))
    [told] = [one.detail for one in changes if one.detail["event"] == "probability_began"]

    assert {name: told[name] for name in told if "labels" not in name} == {
        "event": "probability_began", "decides": "costs",
        "medium_probability": 1 / 101, "high_probability": 0.2, "critical_probability": 0.75,
    }  # fmt: skip
