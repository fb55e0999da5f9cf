"""The ranker's training: nothing leaks from later lists, places are taken out, probabilities are right."""

import math

import msgspec
import numpy as np
import pytest
from served_worlds import NAMES, START_MS, K, world

from operators.rank.model import model_of
from training.ranker.calibration import curve_of, judged, sigmoid
from training.ranker.learner import Learning, fit
from training.ranker.lists import GradedLists, divided
from training.ranker.train import Plan, Untrainable, score, train

SEEN = 1.0 + np.arange(K)
"""What a click at each place counts where a place is seen with chance 1 / place."""


@pytest.fixture(scope="module")
def one():
    return world()


@pytest.fixture(scope="module")
def trained(one):
    return train(one.lists, Plan(worth=SEEN))


def changed(lists, **given):
    """Return lists with other columns."""
    return GradedLists(*(given.get(name, getattr(lists, name)) for name in GradedLists.__slots__))


def test_a_ranker_finds_what_popularity_does_not_know(one, trained):
    test = trained.parts.test

    assert one.truth(trained.model.score(test.features.astype(float)), test) > 0.93
    assert one.truth(test.popularity, test) < 0.75
    assert trained.gain.low > 0.0
    assert [name for name, share in trained.importance if share > 0.1] == ["taste", "novelty"]


def test_training_twice_gives_the_same_bytes(one, trained):
    assert train(one.lists, Plan(worth=SEEN)).record == trained.record


def test_the_number_of_threads_changes_nothing(one):
    few = one.lists.chosen(np.arange(one.lists.count) >= 1_200)

    assert train(few, Plan(Learning(trees=5, threads=2))).record == train(few, Plan(Learning(trees=5))).record


def test_another_seed_may_give_another_ranker_and_names_it_so(one, trained):
    assert trained.record.version.startswith("20260102-")
    other = train(one.lists, Plan(Learning(leaves=7), SEEN)).record

    assert other.version != trained.record.version
    assert train(one.lists, Plan(worth=SEEN, version="mine")).record.version == "mine"


def test_the_record_is_one_that_a_flow_with_these_features_takes(trained):
    record = trained.record
    again = msgspec.json.decode(msgspec.json.encode(record), type=type(record))

    assert model_of(again, (*reversed(NAMES), "more")).record == record
    assert (record.features, record.lists) == (NAMES, trained.parts.train.count + trained.parts.validation.count)
    assert record.timestamp == int(trained.parts.validation.time_ms[-1])
    assert all(map(math.isfinite, record.figures.values()))
    assert record.figures["test_ndcg@10"] == trained.ranker.ndcg_linear


def test_parts_follow_each_other_in_time(trained):
    older, middle, newer = trained.parts

    assert older.time_ms.max() < middle.time_ms.min() <= middle.time_ms.max() < newer.time_ms.min()
    assert [part.count for part in trained.parts] == [1_200, 400, 400]


def test_lists_whose_attribution_time_crosses_a_cut_are_in_no_part(one):
    """Lists lie a minute apart: of those before a cut the last nine are not over when the next part begins."""
    cut = divided(one.lists, (0.6, 0.2), 600_000)
    found = train(one.lists, Plan(Learning(trees=5), SEEN, within_s=600.0))

    assert [part.count for part in cut] == [1_191, 391, 400]
    assert [part.time_ms.max() + 600_000 for part in cut[:2]] == [START_MS + 60_000 * each for each in (1_200, 1_600)]
    assert (found.crossing, found.record.lists) == (18, 1_582)


def test_lists_that_crossed_a_cut_are_named_where_too_few_are_left(one):
    few = one.lists.chosen(np.arange(one.lists.count) < 300)
    with pytest.raises(Untrainable, match=r"left out: 120 lists whose attribution time goes beyond the end of"):
        train(few, Plan(within_s=3_660.0))


def test_the_name_of_a_ranker_is_of_its_curve_too(one, trained):
    late = np.repeat(np.arange(one.lists.count) >= 1_200, K)
    other = train(changed(one.lists, click=one.lists.click & ~late), Plan(worth=SEEN)).record

    assert other.trees == trained.record.trees
    assert other.version != trained.record.version


def test_what_came_of_later_lists_changes_no_ranker(one, trained):
    """Grades and features of the test part may be anything: trees and curve stay."""
    rng = np.random.default_rng(2)
    late = np.repeat(np.arange(one.lists.count) >= 1_600, K)
    grade = np.where(late, rng.integers(0, 2, len(late)), one.lists.grade)
    features = np.where(late[:, None], np.float32(rng.normal(size=one.lists.features.shape)), one.lists.features)
    other = train(changed(one.lists, grade=grade, features=features), Plan(worth=SEEN))

    assert other.record.trees == trained.record.trees
    assert (other.record.curve, other.record.probability) == (trained.record.curve, trained.record.probability)
    assert other.ranker != trained.ranker


def test_grades_of_the_validation_part_do_not_choose_trees_but_their_number(one, trained):
    lists, rows = one.lists, np.repeat(np.arange(one.lists.count) >= 1_200, K)
    shuffled = np.where(rows, np.random.default_rng(3).permutation(lists.grade), lists.grade)
    other = train(changed(lists, grade=shuffled), Plan(worth=SEEN)).model.forest
    n = min(len(other.threshold), len(trained.model.forest.threshold), 14)

    assert other.threshold[:n].tolist() == trained.model.forest.threshold[:n].tolist()


def test_lists_of_one_millisecond_stay_in_one_part(one):
    lists = one.lists
    same = changed(lists, time_ms=np.repeat(lists.time_ms[::500], 500))
    parts = divided(same, (0.6, 0.2))

    assert [part.count for part in parts] == [1_500, 500, 0]
    assert [part.count for part in divided(lists.chosen(np.zeros(lists.count, bool)), (0.6, 0.2))] == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("disorder", [1.0, 0.2])
def test_without_the_bias_of_places_a_ranker_is_better_by_true_relevance(disorder):
    """Six worlds: on the mean, and in five of them at least; by more where the served order hardly varies."""
    found = []
    for seed in range(6):
        one = world(100 + seed, 4_000, disorder=disorder)
        both = [train(one.lists, Plan(Learning(debias=debias), SEEN)) for debias in (True, False)]
        found.append(
            [one.truth(each.model.score(each.parts.test.features.astype(float)), each.parts.test) for each in both]
        )
    gain = np.subtract(*np.transpose(found))

    assert gain.mean() > (0.01 if disorder == 1.0 else 0.03)
    assert (gain > 0.0).sum() >= 5


def test_where_places_do_not_matter_taking_them_out_does_no_harm():
    one = world(5, 4_000, seen=np.ones_like)
    with_, without = (train(one.lists, Plan(Learning(debias=debias))) for debias in (True, False))
    truths = [
        one.truth(each.model.score(each.parts.test.features.astype(float)), each.parts.test)
        for each in (with_, without)
    ]

    assert truths[0] > truths[1] - 0.01


def test_calibration_takes_the_error_out_of_scores(trained):
    assert trained.calibrated.ece < 0.02 < 0.2 < trained.uncalibrated.ece
    assert trained.calibrated.brier < trained.constant.brier < trained.uncalibrated.brier


def test_probabilities_of_a_calibrated_score_are_the_true_ones():
    """Clicks drawn with known chances: the curve comes back to them."""
    rng = np.random.default_rng(1)
    log_odds = rng.normal(-2.0, 1.0, 200_000)
    curve = curve_of(log_odds, rng.random(200_000) < sigmoid(log_odds))
    at = np.linspace(-4.0, 0.0, 9)

    assert np.abs(np.interp(at, *curve) - sigmoid(at)).max() < 0.02
    assert len(curve.score) < 1_000


def test_the_curve_is_scikit_learns_isotonic_fit_between_platts_targets():
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(2)
    scores = np.round(rng.normal(size=500), 1)
    click = rng.random(500) < sigmoid(scores - 1.0)
    curve = curve_of(scores, click)
    low, high = 1.0 / (np.sum(~click) + 2.0), (click.sum() + 1.0) / (click.sum() + 2.0)
    fitted = isotonic.IsotonicRegression().fit(scores, click.astype(float))
    at = np.linspace(scores.min(), scores.max(), 777)

    expected = low + (high - low) * fitted.predict(at)
    np.testing.assert_allclose(curve(at), expected, atol=1e-12)
    assert (np.diff(curve.score) > 0).all()
    assert (np.diff(curve.probability) >= 0).all()


def test_one_score_alone_has_one_probability():
    curve = curve_of(np.zeros(8), np.array([True] * 2 + [False] * 6))

    assert curve.score.tolist() == [0.0]
    assert curve.probability.tolist() == pytest.approx([1 / 8 + (3 / 4 - 1 / 8) * 0.25])  # (2+1)/(2+2), 1/(6+2)


def test_errors_of_probabilities_by_hand():
    found = judged(np.array([0.75, 0.75, 0.1, 0.1]), np.array([True, False, False, False]))

    assert found.brier == pytest.approx((0.0625 + 0.5625 + 0.01 + 0.01) / 4)
    assert found.ece == pytest.approx((0.5 + 0.2) / 4)  # |1.5 - 1| in (1/2, 1], |.2 - 0| in (1/16, 1/8]


def test_all_that_keeps_a_ranker_from_being_trained_is_said_at_once(one):
    few = one.lists.chosen(np.arange(one.lists.count) < 60)
    blind = changed(few, grade=np.zeros_like(few.grade))
    with pytest.raises(Untrainable) as found:
        train(blind, Plan())

    assert str(found.value).splitlines() == [
        "expected clicks on what was shown, got none in 60 lists",
        "expected at least 50 lists for training of which some items were clicked and others not, got 0 of 36",
        "expected at least 20 lists for validation of which some items were clicked and others not, got 0 of 12",
        "expected at least 20 lists for test of which some items were clicked and others not, got 0 of 12",
    ]


def test_the_score_of_a_record_is_lightgbms_own(trained):
    learnt, stopping = (part.chosen(part.telling) for part in trained.parts[:2])
    fitted = fit(learnt, stopping, Learning(), SEEN)

    assert score(trained.record, trained.parts.test).tolist() == fitted.score(trained.parts.test).tolist()
    assert len(trained.model.forest.root) == fitted.trees
