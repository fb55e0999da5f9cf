"""From a replay and its labels to figures: what is counted, what is left out, and what is refused."""

import math

import msgspec
import numpy as np
import pytest

from operators.featurize.catalogue import catalogue
from training.evaluate.assess import AssessConfig, Labels, Unassessable, assess
from training.evaluate.baselines import isolation_forest
from training.evaluate.evaluation import Run, to_json
from training.evaluate.figures import roc_auc
from training.evaluate.page import page
from training.evaluate.replay import Replayed

FEATURES = catalogue((60, 600))
BUDGETS = {"medium": 0.1, "high": 0.05, "critical": 0.01}
CONFIG = AssessConfig(budget=0.1, baselines=False)
TOLD = {"name": "<b>.json", "sha256": "ab", "labels": "a field", "partitions": 1, "settings": {}, "refused": 0}


def stream(count=1_000, warm=100, seed=3):
    """Return a replay in which the score is right but for some noise; the first `warm` events are unknown."""
    rng = np.random.Generator(np.random.PCG64(seed))
    risky = rng.random(count) < 0.2
    score = risky * 2.0 + rng.normal(size=count)
    tail = (np.argsort(np.argsort(-score)) + 1) / count
    tier = (1 + (tail <= 0.1) + (tail <= 0.05) + (tail <= 0.01)).astype(np.uint8)
    tier[:warm] = 0
    columns = {name: score.copy() for name in ("forest", "evidence", "score")} | {"tail": tail.copy()}
    for column in columns.values():
        column[:warm] = np.nan
    unit = rng.random((count, len(FEATURES))).astype(np.float32)
    replayed = Replayed(
        line=np.arange(count),
        partition=np.zeros(count, np.int64),
        user=np.arange(count) % 50,
        time_ms=1_000 * np.arange(count),
        tier=tier,
        flags=np.zeros(count, np.uint8),
        raw=unit.copy(),
        unit=unit,
        read=count,
        rejected={},
        audited={},
        **columns,
    )
    return replayed, risky


def labels(risky, kinds=("<i>drip</i>",)):
    return Labels(risky.astype(np.int8), np.where(risky, 0, -1), kinds)


def assessed(replayed, truth, config=CONFIG, told=TOLD):
    return assess(replayed, truth, FEATURES, BUDGETS, config, told, Run(seconds=1.0, events_per_s=1.0))


@pytest.fixture(scope="module")
def found():
    replayed, risky = stream()
    return assessed(replayed, labels(risky))


def test_events_of_the_warm_up_are_counted_and_left_out(found):
    _, risky = stream()

    assert (found.source.decided, found.source.unknown, found.source.compared) == (1_000, 100, 900)
    assert found.source.risky == risky[100:].sum()
    assert found.source.risky_unknown == risky[:100].sum()


def test_what_comes_after_the_warm_up_is_ranked_as_by_hand(found):
    replayed, risky = stream()
    score, truth = replayed.score[100:], risky[100:]
    in_order = np.mean([a > b for a in score[truth] for b in score[~truth]])  # no ties

    assert found.ours.roc_auc == pytest.approx(in_order)


def test_a_tier_counts_those_above_it(found):
    replayed, risky = stream()
    alert = replayed.tail[100:] <= 0.1
    medium = found.tiers[0]

    assert medium.alerts == alert.sum()
    assert medium.rate == pytest.approx(alert.mean())
    assert medium.recall == pytest.approx((alert & risky[100:]).sum() / risky[100:].sum())


def test_unlabelled_events_are_left_out_of_ranks_but_not_of_rates():
    replayed, risky = stream()
    truth = labels(risky)
    truth.truth[500:] = -1
    partly = assessed(replayed, truth)

    assert (partly.source.unlabelled, partly.source.compared) == (500, 400)
    assert partly.tiers[0].rate == pytest.approx((replayed.tail[100:] <= 0.1).mean())


def test_flagged_events_are_left_out_of_rates_but_not_of_ranks():
    replayed, risky = stream()
    replayed.flags[500:] = 1
    flagged = assessed(replayed, labels(risky))

    assert flagged.source.flagged == {"late": 500, "duplicate": 0, "ahead": 0}
    assert flagged.source.compared == 900
    assert flagged.tiers[0].rate == pytest.approx((replayed.tail[100:500] <= 0.1).mean())


def test_the_recall_of_a_kind_is_that_of_its_events_within_the_budget(found):
    replayed, risky = stream()
    [kind] = found.kinds

    assert kind.events == risky[100:].sum()
    assert kind.recall == pytest.approx((replayed.tail[100:] <= 0.1)[risky[100:]].mean())
    assert kind.recall_hindsight == pytest.approx(found.ours.recall_at_budget)


def test_isolation_forest_is_fitted_on_the_first_tenth_and_on_everything():
    replayed, risky = stream()
    both = assessed(replayed, labels(risky), AssessConfig(budget=0.1)).methods[-2:]
    unit = replayed.unit
    areas = [roc_auc(isolation_forest(fit, unit[100:], 0), risky[100:]) for fit in (unit[:100], unit)]

    assert [one.roc_auc for one in both] == areas
    assert [one.looks_ahead for one in both] == [False, True]


def test_where_a_feature_beats_the_flow_it_is_said():
    replayed, risky = stream()
    replayed.raw[:, 0] = risky  # event_count_1m, which tells everything
    lost = assessed(replayed, labels(risky)).losses()

    assert lost[0].startswith("event_count_1m: ROC-AUC 1.000 against 0.9")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda replayed, _: replayed.tier.fill(0), "after the warm-up, got none: all 1,000 fell into it, on 1 part"),
        (lambda _, truth: truth.fill(-1), "expected labelled events after the warm-up, got none"),
        (lambda _, truth: truth.fill(0), r"got legitimate ones only \(1,000 in the whole file\)"),
        (lambda _, truth: truth.fill(1), r"got risky ones only \(1,000 in the whole file\)"),
    ],
)
def test_what_cannot_be_assessed_is_said(change, message):
    replayed, risky = stream()
    truth = labels(risky)
    change(replayed, truth.truth)

    with pytest.raises(Unassessable, match=message):
        assessed(replayed, truth)


def test_the_json_holds_no_number_that_json_has_not(found):
    plain = msgspec.json.decode(to_json(found))

    assert (plain["format"], plain["schema"]) == ("tidegate.evaluation", 1)
    assert b"NaN" not in to_json(found)
    assert set(plain) >= {"source", "run", "methods", "tiers", "detection", "kinds", "over_time", "features"}


def test_the_page_holds_everything_and_loads_nothing(found):
    text = page(found)

    plots = ("ROC", "Precision and recall", "Alert rate over time", "Surprise over time", "Both classes", "Calibration")
    assert [
        title for title in (*plots, "Time to detection", "Drift by feature") if f"<h2>{title}</h2>" not in text
    ] == []
    assert text.count("<svg") == 8
    assert "<script" not in text
    assert not [word for word in ("http:", "https:", "url(", "@import", "<link", " src=") if word in text]
    assert "prefers-color-scheme: dark" in text


def test_text_from_the_file_is_not_taken_for_html(found):
    text = page(found)

    assert "<b>.json" not in text
    assert "&lt;b&gt;.json" in text
    assert "<i>drip" not in text


def test_the_page_can_be_made_of_little():
    replayed, risky = stream(count=160, warm=140)
    few = assessed(replayed, labels(risky))

    assert math.isnan(few.tiers[2].precision) or few.tiers[2].alerts > 0
    assert "nan" not in page(few).lower().replace("tenant", "")
