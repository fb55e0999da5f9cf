"""Exposure by group, by hand and against all orders; the guarantee of an order that shares it out."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.exposure import (
    excess,
    exposure_per_merit,
    group_exposure,
    pair_difference,
    reorder,
    shares_by_merit,
    shares_by_size,
    within,
)
from ranking.gain import kept, position_weights

SECOND = 1 / math.log2(3)

lists = st.lists(st.integers(0, 2), min_size=1, max_size=25).map(np.array)
tolerances = st.floats(0, 2)


def test_exposure_is_the_mean_of_what_the_places_are_worth():
    """Places are worth 1, .631, .5 and .431: group 0 has the first and third."""
    assert group_exposure(np.array([0, 1, 0, 1]), 2) == pytest.approx([0.75, (SECOND + 1 / math.log2(5)) / 2])


def test_a_group_without_items_has_no_exposure_that_is_known():
    assert np.isnan(group_exposure(np.array([0, 0]), 2)[1])


def test_exposure_over_merit_by_hand():
    """Group 0: exposure .75 over merit .6 = (.8 + .4) / 2; group 1: .631 over .5."""
    ratio = exposure_per_merit(np.array([0, 1, 0]), np.array([0.8, 0.5, 0.4]), 2)

    assert ratio == pytest.approx([0.75 / 0.6, SECOND / 0.5])


def test_the_example_of_singh_and_joachims():
    """Their figure 1: six people of relevance .82, .81, .80 (men) and .79, .78, .77 (women) in this order.

    They give mean exposures of .71 and .39 for a difference of .03 in mean relevance.
    """
    exposure = group_exposure(np.array([0, 0, 0, 1, 1, 1]), 2)

    assert exposure.round(2).tolist() == [0.71, 0.39]


def test_a_pair_is_fair_where_exposure_per_merit_is_equal():
    """Exposures 1 and .631 of merits in the same ratio; and .75 against .631 without merit."""
    assert pair_difference(np.array([0, 1]), np.array([1.0, SECOND])) == pytest.approx(0.0)
    assert pair_difference(np.array([0, 1, 0])) == pytest.approx(0.75 - SECOND)


def test_items_of_neither_group_take_their_place_and_count_for_nobody():
    assert pair_difference(np.array([2, 0, 1])) == pytest.approx(SECOND - 0.5)


def test_a_list_without_one_of_the_groups_says_nothing():
    assert math.isnan(pair_difference(np.array([0, 0, 2])))


@given(lists, st.randoms(use_true_random=False))
def test_a_pair_lies_between_minus_1_and_1_and_turns_its_sign_with_the_groups(group, random):
    merit = np.array([random.random() for _ in group])
    difference = pair_difference(group, merit)
    other = pair_difference(np.array([1, 0, 2])[group], merit)

    if not math.isnan(difference):
        assert -1 <= difference <= 1
        assert other == pytest.approx(-difference)


def test_over_all_orders_a_pair_is_fair_on_average():
    orders = list(itertools.permutations([0, 0, 1, 1, 1, 2]))

    assert np.mean([pair_difference(np.array(order)) for order in orders]) == pytest.approx(0.0, abs=1e-12)


def test_shares_of_exposure_are_those_of_the_items_or_of_their_merit():
    group, merit = np.array([0, 1, 1, 1]), np.array([0.6, 0.1, 0.2, 0.1])

    assert shares_by_size(group, 2).tolist() == [0.25, 0.75]
    assert shares_by_merit(group, merit, 2) == pytest.approx([0.6, 0.4])
    assert shares_by_merit(group, np.zeros(4), 2).tolist() == [0.25, 0.75]


def test_with_shares_by_size_no_excess_in_the_whole_list_is_equal_mean_exposure():
    group = np.array([0, 1, 1, 0])
    last = excess(group, shares_by_size(group, 2))[-1]
    exposure = group_exposure(group, 2)

    assert last == pytest.approx(2 * (exposure - position_weights(4).mean()))


@given(lists, tolerances, st.integers(1, 30))
def test_no_group_has_more_than_its_share_and_the_tolerance(group, tolerance, k):
    share = shares_by_size(group, 3)
    new = group[reorder(group, share, tolerance, k)]
    limit = max(tolerance, 1 - 1 / len(set(group)))
    held = within(new, share, k)

    assert (excess(new, share)[:k][held] <= limit + 1e-9).all()


@given(st.lists(st.booleans(), min_size=2, max_size=25).map(np.array), st.integers(1, 19), tolerances)
def test_of_two_groups_none_lacks_more_than_the_limit(second, twentieths, tolerance):
    group = second.astype(int)
    share = np.array([twentieths / 20, 1 - twentieths / 20])
    new = group[reorder(group, share, tolerance, len(group))]
    held = within(new, share, len(group))

    assert (np.abs(excess(new, share)[held]) <= max(tolerance, 0.5) + 1e-9).all()


@given(lists, tolerances, st.integers(1, 30))
def test_the_order_within_a_group_stays_and_nobody_is_lost(group, tolerance, k):
    order = reorder(group, shares_by_size(group, 3), tolerance, k)

    assert sorted(order) == list(range(len(group)))
    for g in range(3):
        assert (np.diff(order[group[order] == g]) > 0).all()


@given(lists, st.integers(1, 30))
def test_a_list_within_the_tolerance_stays_as_it_is(group, k):
    share = shares_by_size(group, 3)
    tolerance = float(excess(group, share)[:k].max()) + 1e-9

    assert reorder(group, share, tolerance, k).tolist() == list(range(len(group)))


def test_the_guarantee_ends_where_a_group_has_nothing_left_to_take():
    """The only item of group 0 stands first: the second place has no choice."""
    assert within(np.array([0, 1, 1]), np.array([0.5, 0.5]), 3).tolist() == [True, False, False]


def test_what_is_beyond_the_decided_places_follows_in_the_old_order():
    """All of group 0 first; of two places the second goes to group 1, then 0, 0, 1 as they stood."""
    group = np.array([0, 0, 0, 1, 1])

    assert reorder(group, np.array([0.5, 0.5]), 0.5, 2).tolist() == [0, 3, 1, 2, 4]


def test_two_groups_apart_by_hand():
    """At tolerance .5: 0 (excess .5), then another 0 would have .815, so 1, and 0 is .185 above.

    The third place adds .25 to whoever gets it: .434 for 0, which comes first; the fourth .215: 0 would have .65, so 1.
    """
    group = np.array([0, 0, 0, 1, 1, 1])
    order = reorder(group, np.array([0.5, 0.5]), 0.5, 6)

    assert order.tolist() == [0, 3, 1, 4, 2, 5]


def test_sharing_out_narrows_the_gap_and_costs_less_than_turning_the_list_around():
    """Half an exposure too much and half too little, over 20 items each: means differ by 2 * .5 / 20 at most."""
    rng = np.random.default_rng(5)
    score = np.sort(rng.random(40))[::-1]
    group = (np.arange(40) >= 20).astype(int)
    order = reorder(group, np.array([0.5, 0.5]), 0.5, 40)
    before, after = group_exposure(group, 2), group_exposure(group[order], 2)

    assert abs(before[0] - before[1]) == pytest.approx(0.149, abs=0.001)
    assert abs(after[0] - after[1]) <= 0.05
    assert kept(score, np.arange(40)[::-1], 40) < kept(score, order, 40) < 1
