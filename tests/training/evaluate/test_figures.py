"""The arithmetic of an evaluation, held against scikit-learn, brute force and calculations by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from training.evaluate.figures import (
    CURVE_POINTS,
    average_precision,
    budget_threshold,
    caught,
    delays,
    precision_recall_curve,
    reliability,
    roc_auc,
    roc_curve,
    stability_index,
    thinned,
)

# Few distinct scores, so that ties are the rule.
RANKED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60)


def columns(pairs):
    return np.array([float(score) for score, _ in pairs]), np.array([risky for _, risky in pairs])


@given(RANKED)
def test_roc_auc_is_the_share_of_pairs_in_order_and_half_of_the_ties(pairs):
    score, risky = columns(pairs)
    wins = [(a > b) + (a == b) / 2 for a in score[risky] for b in score[~risky]]

    assert roc_auc(score, risky) == pytest.approx(np.mean(wins)) if wins else math.isnan(roc_auc(score, risky))


@given(RANKED)
def test_average_precision_is_scikit_learns(pairs):
    score, risky = columns(pairs)
    if risky.any():
        assert average_precision(score, risky) == pytest.approx(metrics.average_precision_score(risky, score))
    else:
        assert math.isnan(average_precision(score, risky))


def test_the_roc_curve_passes_through_scikit_learns_points():
    rng = np.random.Generator(np.random.PCG64(5))
    score, risky = rng.integers(0, 30, 400).astype(float), rng.random(400) < 0.3
    x, y, _ = metrics.roc_curve(risky, score, drop_intermediate=False)
    curve = roc_curve(score, risky)

    assert np.allclose(curve.x, x)
    assert np.allclose(curve.y, y)


def test_the_precision_recall_curve_passes_through_scikit_learns_points():
    rng = np.random.Generator(np.random.PCG64(6))
    score, risky = rng.integers(0, 30, 400).astype(float), rng.random(400) < 0.3
    precision, recall, _ = metrics.precision_recall_curve(risky, score)
    curve = precision_recall_curve(score, risky)

    # scikit-learn begins at full recall and adds the point (0, 1), which no threshold has.
    assert np.allclose(curve.x, recall[::-1][1:])
    assert np.allclose(curve.y, precision[::-1][1:])


def test_a_thinned_curve_keeps_its_ends_and_its_area():
    x = np.linspace(0.0, 1.0, 50_000)
    curve = thinned(x, x**0.2)

    assert len(curve.x) <= CURVE_POINTS + 1
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(1 / 1.2, abs=1e-3)


@pytest.mark.parametrize(
    ("budget", "threshold"),
    [
        (0.2, 5.0),  # 1 of 5 events
        (0.4, 5.0),  # 2 of 5, but 4 occurs twice: not both fit, so neither is let in
        (0.6, 4.0),
        (0.1, math.inf),  # less than one event
        (1.0, 1.0),
    ],
)
def test_a_threshold_never_exceeds_its_budget(budget, threshold):
    assert budget_threshold(np.array([4.0, 1.0, 5.0, 4.0, 3.0]), budget) == threshold


def test_alerts_are_compared_with_labels():
    # 3 alerts of 5 events, 2 of them right, of 4 risky events
    found = caught(np.array([1, 1, 1, 0, 0], bool), np.array([1, 1, 0, 1, 1], bool))

    assert found == (3, 0.6, pytest.approx(2 / 3), 0.5)


def test_without_alerts_there_is_no_precision():
    found = caught(np.zeros(2, bool), np.array([True, False]))

    assert math.isnan(found.precision)
    assert found.recall == 0.0


def test_the_stability_index_is_the_one_worked_out_by_hand():
    # Quartiles of 1..8 are 2.75, 4.5 and 6.25: two values in each of four groups; after, 1, 1, 1 and 5. Half an event
    # is added everywhere: shares 2.5/10 four times, and 1.5/10 three times, 5.5/10.
    before, after = np.arange(1.0, 9.0), np.array([1.0, 3.0, 5.0, 7.0, 7.0, 8.0, 8.0, 8.0])
    by_hand = 3 * (0.15 - 0.25) * math.log(0.15 / 0.25) + (0.55 - 0.25) * math.log(0.55 / 0.25)

    assert stability_index(before, after, groups=4) == pytest.approx(by_hand)


def test_a_constant_has_a_stability_index_of_zero():
    assert stability_index(np.ones(50), np.ones(50)) == 0.0


def test_uniform_tails_are_reliable():
    tail = (np.arange(1000) + 1) / 1000

    assert reliability(tail, np.array([0.01, 0.1, 1.0])).tolist() == [0.01, 0.1, 1.0]


def test_a_delay_counts_the_users_events_from_the_first_risky_one_to_the_first_alert():
    user = np.array([1, 2, 1, 1, 2, 1])
    time_ms = np.array([0, 500, 1_000, 3_000, 4_000, 9_000])
    risky = np.array([0, 1, 1, 1, 0, 0], bool)
    # User 1: the alert on his first event came before the abuse and is no detection. Then events 2, 3 and 5: 3 events,
    # 8 s. User 2 is never noticed.
    alert = np.array([1, 0, 0, 0, 0, 1], bool)
    first, second = delays(user, time_ms, risky, alert)

    assert first == (1, 2, 3, 8.0)
    assert second[:3] == (2, 1, 0)
    assert math.isnan(second.seconds)


def test_users_without_abuse_have_no_delay():
    assert delays(np.array([1, 1]), np.array([0, 1]), np.zeros(2, bool), np.ones(2, bool)) == []


def test_no_events_are_no_area():
    with pytest.raises(ValueError, match="expected scores, got none"):
        roc_auc(np.empty(0), np.empty(0, bool))
