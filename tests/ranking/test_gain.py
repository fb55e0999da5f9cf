"""Measures of an order: by hand, by brute force, and by LightGBM and scikit-learn."""

import gzip
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from ranking.gain import (
    average_precision,
    by_score,
    dcg,
    exponential,
    in_range,
    kept,
    linear,
    mean_known,
    ndcg,
    position_weights,
    recall,
    reciprocal_rank,
    tied_ndcg,
)

GRADES = np.array([3, 2, 3, 0, 1, 2])

grades = st.lists(st.integers(0, 4), min_size=2, max_size=12).filter(any)
hits = st.lists(st.booleans(), min_size=1, max_size=12).filter(any)


def best(gain):
    return -np.sort(-gain)


@pytest.mark.parametrize(
    ("gain", "got", "ideal", "ratio"),
    [(linear, 6.861127, 7.140995, 0.960808), (exponential, 13.848264, 14.595391, 0.948811)],
)
def test_ndcg_of_the_grades_323012(gain, got, ideal, ratio):
    """Figures of both gains worked out from the formula: sum of gain / log2(1 + place)."""
    assert dcg(gain(GRADES), 6) == pytest.approx(got, abs=5e-7)
    assert dcg(best(gain(GRADES)), 6) == pytest.approx(ideal, abs=5e-7)
    assert ndcg(gain(GRADES), 6) == pytest.approx(ratio, abs=5e-7)


def test_the_first_place_is_worth_1_and_the_third_half():
    assert position_weights(3)[[0, 2]] == pytest.approx([1.0, 0.5])


@given(grades, st.integers(1, 14))
def test_no_order_is_better_than_the_ideal_one(values, k):
    gain = exponential(values)
    orders = itertools.islice(itertools.permutations(gain), 500)

    assert ndcg(best(gain), k) == pytest.approx(1.0)
    assert max(ndcg(np.array(order), k) for order in orders) <= 1.0 + 1e-12


@given(grades, st.integers(1, 14), st.integers(0, 4))
def test_filling_up_with_0_changes_no_measure(values, k, zeros):
    filled = values + [0] * zeros

    assert ndcg(linear(filled), k) == pytest.approx(float(ndcg(linear(values), k)))
    for measure in (reciprocal_rank, average_precision, recall):
        assert measure(filled, k) == pytest.approx(float(measure(values, k)))


def test_what_was_not_listed_counts_in_the_ideal():
    """The list has 1, 0; a 3 was left out. DCG 1, the ideal's 3 + 1 / log2(3)."""
    assert ndcg(linear([1, 0]), 2, linear([0, 1, 3])) == pytest.approx(1 / (3 + 1 / np.log2(3)))


@pytest.mark.parametrize("measure", [average_precision, recall, reciprocal_rank])
def test_a_list_without_anything_relevant_says_nothing(measure):
    assert np.isnan(measure([0, 0], 2))
    assert np.isnan(ndcg(linear([0, 0]), 2))
    assert np.isnan(tied_ndcg(linear([0, 0]), [1.0, 2.0], 2))


@pytest.mark.parametrize("measure", [average_precision, recall, reciprocal_rank])
def test_a_list_that_missed_what_there_was_has_0(measure):
    assert measure([0, 0], 2, total=1) == 0.0


def test_the_mean_leaves_out_lists_that_say_nothing():
    assert mean_known(np.array([0.5, np.nan, 1.0])) == (0.75, 2)
    assert mean_known(np.array([np.nan]))[1] == 0


def test_measures_by_hand():
    """Relevant at 2 and 4: first at 2; precisions 1/2 and 2/4; at 3 only the first is seen, of two."""
    relevant = [0, 1, 0, 1]

    assert reciprocal_rank(relevant, 4) == 0.5
    assert reciprocal_rank(relevant, 1) == 0.0
    assert average_precision(relevant, 4) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert average_precision(relevant, 3) == pytest.approx((1 / 2) / 2)
    assert recall(relevant, 3) == 0.5
    assert recall(relevant, 4, total=4) == 0.5


def test_lists_along_the_last_axis_do_not_mix():
    lists = np.array([[0, 1, 0], [1, 0, 1]])

    assert reciprocal_rank(lists, 3).tolist() == [0.5, 1.0]
    assert ndcg(linear(lists), 3) == pytest.approx([float(ndcg(linear(one), 3)) for one in lists])


def test_equal_scores_stay_as_they_stand_and_unknown_ones_go_last():
    assert by_score([1, 2, 3, 4], [0.5, np.nan, 0.5, 0.9]).tolist() == [4, 1, 3, 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=6), st.integers(1, 7))
def test_ndcg_with_ties_is_the_mean_over_all_orders_of_them(rows, k):
    gain, score = exponential([g for g, _ in rows]), np.array([s for _, s in rows], float)
    orders = [
        order
        for order in itertools.permutations(range(len(rows)))
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order))
    ]
    values = [ndcg(gain[list(order)], k) for order in orders]

    assert tied_ndcg(gain, score, k) == pytest.approx(np.mean(values), nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=15), st.integers(1, 20))
def test_ndcg_with_ties_is_that_of_scikit_learn(rows, k):
    relevance, score = np.array(rows).T
    if relevance.any():
        expected = ndcg_score(relevance[None], score[None], k=k)

        assert tied_ndcg(linear(relevance), score, k) == pytest.approx(expected)


@given(hits)
def test_average_precision_of_the_whole_list_is_that_of_scikit_learn(relevant):
    n = len(relevant)

    assert average_precision(relevant, n) == pytest.approx(average_precision_score(relevant, -np.arange(n)))


@given(hits, st.integers(1, 14))
def test_a_better_place_never_lowers_a_measure(relevant, k):
    for at in range(1, len(relevant)):
        if relevant[at] and not relevant[at - 1]:
            higher = [*relevant]
            higher[at - 1], higher[at] = True, False
            for measure in (reciprocal_rank, average_precision, recall):
                assert measure(higher, k) >= measure(relevant, k) - 1e-12


scores = st.lists(st.integers(-50, 50), min_size=2, max_size=8)


@given(scores, st.randoms(use_true_random=False), st.integers(1, 8))
def test_a_shift_and_a_factor_of_the_scores_change_no_cost(values, random, k):
    order = random.sample(range(len(values)), len(values))
    score = np.array(values, float)

    assert kept(score * 3.0 - 7.0, order, k) == pytest.approx(kept(score, order, k))


@given(scores, st.integers(1, 8))
def test_the_order_of_the_scores_costs_nothing(values, k):
    assert kept(values, np.argsort(-np.array(values)), k) == pytest.approx(1.0)


def test_what_a_change_keeps_by_hand():
    """Scores 5, 4, 3 count 2, 1, 0 above the least: 2 + 1 / log2(3) at best; swapped 1 + 2 / log2(3)."""
    discount = 1 / np.log2(3)

    assert kept([5, 4, 3], [1, 0, 2], 3) == pytest.approx((1 + 2 * discount) / (2 + discount))


@pytest.fixture(scope="module")
def lists(real_data):
    """Return grades and features 98 and 299 of LightGBM's test sample, one pair per query."""
    found = real_data("lightgbm_rank")
    with gzip.open(found / "rank.test.gz", "rt") as lines:
        rows = [line.split() for line in lines]
    sizes = [int(line) for line in (found / "rank.test.query").read_text().split()]
    grade = np.array([float(row[0]) for row in rows])
    features = [dict(pair.split(":") for pair in row[1:]) for row in rows]
    column = {c: np.array([float(row.get(str(c), 0.0)) for row in features]) for c in (98, 299)}
    ends = np.cumsum(sizes)[:-1]
    return np.split(grade, ends), {c: np.split(values, ends) for c, values in column.items()}


LIGHTGBM = [
    (98, 1, 0.5148571428571429, 0.63, 0.9),
    (98, 3, 0.5536505216501902, 0.6622505628057124, 0.8688888888888888),
    (98, 5, 0.5820721099049758, 0.6817650507167314, 0.8270666666666666),
    (98, 10, 0.6813846685113287, 0.7610626247927678, 0.825242044595616),
    (299, 1, 0.42, 0.5066666666666666, 0.74),
    (299, 3, 0.43350368677456674, 0.52015800661612, 0.662777777777778),
    (299, 5, 0.501348946252805, 0.5827695383561048, 0.6744166666666669),
    (299, 10, 0.6014569685377394, 0.6667001930825939, 0.6865919753086422),
]
"""Column as the score, k, and LightGBM 4.7.0's `ndcg` with its own `label_gain`, with 0,1,2,3,4, and `map`: one round
without a split, the column as `init_score`. Column 299 has four values only, so ties decide."""


@pytest.mark.parametrize(("column", "k", "exponential_gain", "linear_gain", "mean_precision"), LIGHTGBM)
def test_figures_are_those_of_lightgbm(lists, column, k, exponential_gain, linear_gain, mean_precision):
    grade, score = lists[0], lists[1][column]
    listed = [by_score(g, s) for g, s in zip(grade, score, strict=True)]

    assert np.mean([ndcg(exponential(one), k) for one in listed]) == pytest.approx(exponential_gain, rel=1e-12)
    assert np.mean([ndcg(linear(one), k) for one in listed]) == pytest.approx(linear_gain, rel=1e-12)
    assert np.mean([average_precision(one > 0, k) for one in listed]) == pytest.approx(mean_precision, rel=1e-12)


GREATEST = 1.7e308


def test_scores_however_far_apart_have_a_cost():
    """They count 0, 1 and 1/2: the best order has 1 + .5 / log2(3), this one 1 / log2(3) + .5 / 2."""
    score = np.array([-GREATEST, GREATEST, 0.0])

    assert in_range(score).tolist() == [0.0, 1.0, 0.5]
    assert kept(score, [1, 2, 0], 3) == 1.0
    assert kept(score, [0, 1, 2], 3) == pytest.approx((1 / np.log2(3) + 0.5 / 2) / (1 + 0.5 / np.log2(3)))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_the_places_in_the_range_of_scores_rise_with_them_from_0_to_1(values):
    score = np.array(values)
    found = in_range(score)

    assert len(found) == len(score)
    assert (np.diff(found[np.argsort(score, kind="stable")]) >= 0.0).all()
    if len(set(values)) > 1:
        assert (found.min(), found.max()) == (0.0, 1.0)
    else:
        assert not found.any()
