"""Measures of graded lists, against brute force and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_worlds import world

from training.ranker import measures
from training.ranker.lists import GradedLists
from training.ranker.measures import ByList, by_list, difference, measured


def lists_of(grades, places=None):
    """Return lists of given grades; places are the order in which they stand."""
    sizes = [len(each) for each in grades]
    places = [range(size) for size in sizes] if places is None else places
    flat = [grade for each in grades for grade in each]
    return GradedLists(
        ("f",),
        np.zeros((len(flat), 1), np.float32),
        np.cumsum([0, *sizes]),
        np.arange(len(sizes)),
        np.array(flat, np.int64),
        np.array([place for each in places for place in each], np.int64),
        np.zeros(len(flat)),
        np.array(flat, np.int64) > 0,
    )


GRADES = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=6)


def brute(grades, scores, k, weights):
    """Return what `ByList` has of one list, by definition."""
    order = sorted(range(len(grades)), key=lambda at: (-scores[at], at))
    listed = [grades[at] for at in order]

    def dcg(gains):
        return sum(gain / math.log2(2 + at) for at, gain in enumerate(gains[:k]))

    def share(gains):
        best = dcg(sorted(gains, reverse=True))
        return dcg(gains) / best if best > 0 else math.nan

    hits = [grade > 0 for grade in listed]
    first = next((1 / (1 + at) for at, hit in enumerate(hits[:k]) if hit), 0.0) if any(hits) else math.nan
    precisions = [sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits[:k]) if hit]
    counted = [weights[at] * grades[at] for at in order]
    return (
        share(listed),
        share([2**grade - 1 for grade in listed]),
        dcg(counted),
        dcg(sorted(counted, reverse=True)),
        first,
        sum(precisions) / min(sum(hits), k) if any(hits) else math.nan,
    )


@given(GRADES, st.integers(1, 10), st.data())
def test_measures_are_what_they_are_by_definition(grades, k, data):
    lists = lists_of(grades)
    score = np.array(data.draw(st.lists(st.integers(0, 3), min_size=lists.rows, max_size=lists.rows)), float)
    worth = np.array([1.0, 2.0, 5.0])
    found = by_list(lists, score, k, worth=worth)
    each = [score[start:end].tolist() for start, end in zip(lists.starts[:-1], lists.starts[1:], strict=True)]
    weights = [worth[min(at, 2)] for at in range(8)]

    expected = [brute(one, scores, k, weights) for one, scores in zip(grades, each, strict=True)]
    np.testing.assert_allclose(np.array(found).T, expected, rtol=1e-12)


def test_matrices_of_many_lists_are_the_same_as_of_few(monkeypatch):
    lists = world(3, 50).lists
    expected = by_list(lists, lists.popularity, 5)
    monkeypatch.setattr(measures, "AT_A_TIME", 7)

    for one, other in zip(expected, by_list(lists, lists.popularity, 5), strict=True):
        assert one.tobytes() == other.tobytes()


def test_ndcg_and_average_precision_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    grades, score = rng.integers(0, 4, (40, 9)), rng.normal(size=(40, 9))
    grades[:, 0] = 1
    found = measured(by_list(lists_of(grades.tolist()), score.reshape(-1), 9))

    assert found.ndcg_linear == pytest.approx(metrics.ndcg_score(grades, score, k=9), abs=1e-12)
    assert found.ndcg_exponential == pytest.approx(metrics.ndcg_score(2.0**grades - 1, score, k=9), abs=1e-12)
    precisions = [metrics.average_precision_score(one > 0, two) for one, two in zip(grades, score, strict=True)]
    assert found.map == pytest.approx(np.mean(precisions), abs=1e-12)
    ranks = [
        metrics.label_ranking_average_precision_score([one > 0], [two]) for one, two in zip(grades, score, strict=True)
    ]
    assert len(ranks) == found.lists == 40


def test_no_lists_have_no_measures():
    empty = lists_of([[1]]).chosen(np.zeros(1, bool))
    found = measured(by_list(empty, np.zeros(0), 10))

    assert found.lists == 0
    assert all(math.isnan(each) for each in found[1:])
    assert all(
        math.isnan(each) for each in difference(by_list(empty, np.zeros(0), 10), by_list(empty, np.zeros(0), 10), 1)
    )


def test_a_single_click_far_down_counts_what_its_place_is_worth():
    """Lists with one click each: NDCG alone cannot tell them apart, pooled it is 10 / 11 of the second list's."""
    lists = lists_of([[1, 0], [0, 1]])
    found = measured(by_list(lists, np.array([0.0, 1.0, 0.0, 1.0]), 2, worth=np.array([1.0, 10.0])))

    assert found.ndcg_linear == pytest.approx((1 / math.log2(3) + 1) / 2)
    assert found.ndcg_pooled == pytest.approx((1 / math.log2(3) + 10) / 11)


def test_clicks_over_their_chance_tell_the_true_dcg():
    """Seen with 1 / place, clicked if relevant: DCG of any order from weighted clicks is that of its relevance."""
    one = world(7, 40_000, purchases=0.0)
    lists = one.lists
    weighted = by_list(lists, lists.features[:, 3], 10, worth=1.0 + np.arange(10)).counted
    rank = np.argsort(
        np.argsort(-np.nan_to_num(lists.features[:, 3], nan=-9).reshape(-1, 10), axis=1, kind="stable"), axis=1
    )
    true = (one.chance.reshape(-1, 10) / np.log2(2 + rank)).sum(axis=1)
    error = (weighted - true).std() / math.sqrt(lists.count)

    assert abs(weighted.mean() - true.mean()) < 4 * error


def test_an_interval_holds_the_true_difference_about_as_often_as_it_says():
    """200 draws of 150 lists from one population; 95 % of intervals, less four standard errors."""
    rng = np.random.default_rng(1)
    everything = rng.normal(0.02, 0.2, 100_000), rng.uniform(0.5, 1.5, 100_000)
    true = everything[0].sum() / everything[1].sum()
    nothing, held = np.zeros(150), 0
    for seed in range(200):
        drawn = rng.integers(0, 100_000, 150)
        first = ByList(nothing, nothing, everything[0][drawn], everything[1][drawn], nothing, nothing)
        second = first._replace(counted=nothing)
        found = difference(first, second, seed, 400)
        held += found.low <= true <= found.high

    assert held >= 200 * 0.95 - 4 * math.sqrt(200 * 0.95 * 0.05)
