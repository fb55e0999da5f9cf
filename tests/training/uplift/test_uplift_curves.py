"""Areas under Qini and uplift curves, held against scikit-uplift's and causalml's own numbers."""

import numpy as np
import pytest

from training.uplift.curves import (
    auuc_causalml_normalised,
    auuc_perfect_normalised,
    perfect_qini_curve,
    perfect_uplift_curve,
    qini_causalml,
    qini_causalml_gains,
    qini_causalml_normalised,
    qini_curve,
    qini_perfect_normalised,
    uplift_curve,
)


def of(outcome, score, treated):
    return np.array(outcome, float), np.array(score, float), np.array(treated, bool)


# scikit-uplift, sklift/tests/test_metrics.py: test_uplift_auc_score, test_qini_auc_score.
@pytest.mark.parametrize(
    ("outcome", "score", "treated", "auuc", "qini"),
    [
        ([1, 1], [0.1, 0.3], [0, 1], 1.0, 1.0),
        ([1, 1], [0.1, 0.3], [1, 0], -1.0, 0.0),
        ([0, 1], [0.1, 0.3], [1, 0], 0.0, 1.0),
        ([1, 0], [0.1, 0.3], [0, 1], 1.0, 1.0),
        ([0, 1, 2], [0.1, 0.3, 0.9], [0, 1, 0], -1.333333, -0.5),
        ([0, 1, 2], [0.1, 0.3, 0.9], [1, 0, 1], 1.333333, 0.75),
    ],
)
def test_areas_normalised_by_the_perfect_ranking_are_scikit_uplifts(outcome, score, treated, auuc, qini):
    assert auuc_perfect_normalised(*of(outcome, score, treated)) == pytest.approx(auuc, abs=1e-6)
    assert qini_perfect_normalised(*of(outcome, score, treated)) == pytest.approx(qini, abs=1e-6)


# The same file: test_uplift_curve, test_qini_curve and test_perfect_*; scores are tied, all three or the first two.
TIED = [([0, 1, 0], [0, 0, 0], [0, 1, 1]), ([0, 1, 2], [1, 1, 0], [0, 1, 1])]


@pytest.mark.parametrize(
    ("kind", "case", "units", "gain"),
    [
        (uplift_curve, TIED[0], [0, 3], [0, 1.5]),
        (qini_curve, TIED[0], [0, 3], [0, 1]),
        (uplift_curve, ([0, 0, 0], *TIED[0][1:]), [0, 3], [0, 0]),
        (qini_curve, ([1, 1, 1], *TIED[0][1:]), [0, 3], [0, 0]),
    ],
)
def test_units_of_one_score_are_one_step(kind, case, units, gain):
    found = kind(*of(*case))

    assert found.units.tolist() == units
    assert found.gain == pytest.approx(gain)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_order_of_units_of_one_score_does_not_matter(order):
    outcome, score, treated = of([3, 1, 4, 1, 5], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1])
    places = [*order, 3, 4]
    moved = (outcome[places], score[places], treated[places])

    assert qini_perfect_normalised(*moved) == qini_perfect_normalised(outcome, score, treated)
    assert uplift_curve(*moved).gain.tolist() == uplift_curve(outcome, score, treated).gain.tolist()


@pytest.mark.parametrize(
    ("outcome", "uplift", "qini"),
    [
        ([0, 1, 0], [[0, 1, 2, 3], [0, 1, 2, 1.5]], [[0, 1, 3], [0, 1, 1]]),
        ([0, 1, 2], [[0, 1, 2, 3], [0, 1, 2, 4.5]], [[0, 1, 2, 3], [0, 2, 3, 3]]),
        ([0, 0, 0], [[0, 1, 3], [0, 0, 0]], [[0, 3], [0, 0]]),
        ([1, 1, 1], [[0, 2, 3], [0, 2, 0]], [[0, 2, 3], [0, 2, 0]]),
    ],
)
def test_the_perfect_curves_are_scikit_uplifts(outcome, uplift, qini):
    outcome, _, treated = of(outcome, [0, 0, 0], [0, 1, 1])

    assert [column.tolist() for column in perfect_uplift_curve(outcome, treated)] == uplift
    assert [column.tolist() for column in perfect_qini_curve(outcome, treated)] == qini


def test_the_perfect_uplift_ranking_takes_outcomes_first_where_more_controls_have_it_than_treated_lack_it():
    # Two controls with the outcome, one treated unit without: scikit-uplift's scores are 1, 1 and 0.
    # After the controls (0 - 1) 2 = -2, after all (0 - 1) 3 = -3.
    assert perfect_uplift_curve(*of([1, 1, 0], [0, 0, 0], [0, 0, 1])[::2]).gain.tolist() == [0, -2, -3]
    # One of each: scores 0 and 1. After the treated unit 0, after both (0 - 1) 2 = -2.
    assert perfect_uplift_curve(*of([1, 0], [0, 0], [0, 1])[::2]).gain.tolist() == [0, 0, -2]


# causalml#519: its two models, each scored by itself.
OUTCOME, TREATED = np.array([0, 0, 0, 0, 1, 0, 0, 1, 1, 1], float), np.repeat([False, True], 5)
LEARNER_1 = np.array([0.0, 0.1, 0.2, 0.3, 0.4] * 2)


def test_causalmls_qini_before_799_is_its_issue_519s():
    # Until then chance was the mean of ten rankings, drawn one after the other from the seed 42.
    draws = np.random.RandomState(42)
    chance = np.mean([qini_causalml_gains(OUTCOME, draws.rand(10), TREATED) for _ in range(10)], axis=0)
    model = qini_causalml_gains(OUTCOME, LEARNER_1, TREATED)

    found = (model / abs(model[-1]) - chance / abs(chance[-1])).mean()

    assert found == pytest.approx(0.088636, abs=5e-7)


def test_causalmls_qini_since_799_is_that_above_the_line():
    # Heights by hand, as in the table of the issue: a treated unit comes after the control of its score.
    # Of 1, ... 10 units: 0 0 .5 1 4/3 2 2.25 2 2.2 2; ended by 2, less a line whose mean is 1/2 of the end.
    heights = [0, 0, 0, 0.5, 1, 4 / 3, 2, 2.25, 2, 2.2, 2]

    assert qini_causalml_gains(OUTCOME, LEARNER_1, TREATED) == pytest.approx(heights)
    assert qini_causalml(OUTCOME, LEARNER_1, TREATED) == pytest.approx(sum(heights) / 11 - 1)
    assert qini_causalml_normalised(OUTCOME, LEARNER_1, TREATED) == pytest.approx(sum(heights) / 22 - 1 / 2)


def test_causalmls_auuc_is_the_mean_of_its_normalised_gains():
    # Scores 3, 2, 1, 0; treated, control, treated, control with outcomes 1, 0, 0, 1: lifts are unknown, 1, 1/2, 0;
    # the unknown one between 0 and 1 is 1/2. Times units: 0, .5, 2, 1.5, 0: it ends at 0, so there is none.
    assert np.isnan(auuc_causalml_normalised(*of([1, 0, 0, 1], [3, 2, 1, 0], [1, 0, 1, 0])))
    # With the last outcome 0 the last lift is 1/2: gains 0, .5, 2, 1.5, 2 of 2, mean 6 / 5.
    assert auuc_causalml_normalised(*of([1, 0, 0, 0], [3, 2, 1, 0], [1, 0, 1, 0])) == pytest.approx(0.6)


def test_a_ranking_by_chance_has_no_area_on_average():
    draws = np.random.default_rng(3)
    treated = draws.random(400) < 0.5
    outcome = (draws.random(400) < 0.3 + 0.2 * treated).astype(float)
    found = [qini_perfect_normalised(outcome, draws.random(400), treated) for _ in range(2_000)]

    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(2_000)


def test_without_outcomes_no_ranking_is_perfect():
    assert np.isnan(qini_perfect_normalised(*of([0, 0], [1, 0], [1, 0])))
    assert np.isnan(qini_causalml_normalised(*of([0, 0], [1, 0], [1, 0])))
