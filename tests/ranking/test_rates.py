"""Rates of items: Metarank's figures, sums by hand, the laws of parts, and a planted attack."""

import csv
import gzip
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.rates import (
    COLUMNS,
    c_log_c,
    debiased_rate,
    entropy_nats,
    inverse_propensity,
    part,
    place_propensities,
    risky_share,
    smoothed_rate,
)


@pytest.mark.parametrize(
    ("all_impressions", "all_clicks", "impressions", "clicks", "weight", "rate"),
    [(100, 10, 2, 1, 10, 0.1078), (100, 10, 2, 1, 1, 0.1667), (100, 10, 10, 3, 10, 0.1182), (20, 5, 10, 3, 10, 0.26)],
)
def test_smoothed_rates_are_metaranks(all_impressions, all_clicks, impressions, clicks, weight, rate):
    """Figures from Metarank's documentation of `rate`."""
    found = smoothed_rate(clicks, impressions, all_clicks, all_impressions, weight)

    assert found == pytest.approx(rate, abs=5e-5)


def test_an_item_that_was_never_shown_has_the_rate_of_all():
    assert smoothed_rate(0, 0, 10, 100, 5.0) == pytest.approx(0.1)


def test_without_any_click_no_rate_is_known():
    assert np.isnan(smoothed_rate([0, 0], [0, 9], 0, 50, 5.0)).all()


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 100), st.integers(0, 900), st.floats(0.1, 100))
def test_a_smoothed_rate_lies_between_that_of_the_item_and_that_of_all(clicks, more, all_clicks, all_more, weight):
    impressions, all_impressions = clicks + more, all_clicks + all_more
    mine = clicks / impressions if impressions else all_clicks / all_impressions
    ends = sorted((mine, all_clicks / all_impressions))
    rate = smoothed_rate(clicks, impressions, all_clicks, all_impressions, weight)

    assert ends[0] - 1e-12 <= rate <= ends[1] + 1e-12


def test_a_click_counts_one_over_its_chance_but_no_more_than_the_clip():
    assert inverse_propensity([1.0, 0.5, 0.01, 0.0], 10.0).tolist() == [1.0, 2.0, 10.0, 10.0]


def test_chances_to_be_seen_of_shuffled_lists_are_the_ratios_of_their_rates():
    """.2, .1 and .05, against the first; a place with more than the first has 1."""
    assert place_propensities([20, 10, 5], [100, 100, 100]).tolist() == [1.0, 0.5, 0.25]
    assert place_propensities([10, 20], [100, 100]).tolist() == [1.0, 1.0]
    assert np.isnan(place_propensities([0, 3], [100, 100])).all()
    assert np.isnan(place_propensities([5, 0], [100, 0])).tolist() == [False, True]


def shown(item, clicked, weight=1.0, propensity=1.0, risky=0, *, items=2, clip=100.0):
    item = np.asarray(item, np.int64)
    fill = [np.broadcast_to(np.asarray(value), item.shape) for value in (clicked, weight, propensity, risky)]
    clicked, weight, propensity, risky = fill
    return part(items, item, clicked.astype(bool), weight * 1.0, propensity, risky.astype(bool), clip=clip)


def test_the_sums_of_an_item_by_hand():
    """Item 1: two impressions of weights 1 and .5; the second clicked, seen with chance .25, by a risky user."""
    sums = shown([1, 1, 0], [0, 1, 0], [1.0, 0.5, 1.0], [1.0, 0.25, 1.0], [False, True, False])

    assert dict(zip(COLUMNS, sums[1], strict=True)) == {
        "impressions": 2,
        "clicks": 1,
        "weighted_impressions": 1.5,
        "weighted_clicks": 0.5,
        "debiased_clicks": 2.0,
        "risky": 1,
    }
    assert risky_share(sums).tolist() == [0.0, 0.5]


def test_places_do_not_bias_the_debiased_rate():
    """Seen with chances 1, .5 and .25, clicked in .4 of those: of 100 impressions each, 40, 20 and 10 clicks."""
    clicked = np.concatenate([np.arange(100) < clicks for clicks in (40, 20, 10)])
    sums = shown(np.zeros(300), clicked, propensity=np.repeat([1.0, 0.5, 0.25], 100))

    assert debiased_rate(sums)[0] == pytest.approx(0.4)
    assert np.isnan(debiased_rate(sums)[1])


def test_a_clip_makes_the_debiased_rate_smaller():
    """At most 2 a click: 40 + 2 x 20 + 2 x 10 = 100 of 300."""
    clicked = np.concatenate([np.arange(100) < clicks for clicks in (40, 20, 10)])
    sums = shown(np.zeros(300), clicked, propensity=np.repeat([1.0, 0.5, 0.25], 100), clip=2.0)

    assert debiased_rate(sums)[0] == pytest.approx(1 / 3)


rows = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 0.2, 1.0]), st.floats(0.1, 1), st.booleans()),
    min_size=1,
    max_size=30,
)


@given(rows, st.data())
def test_parts_add_up_to_the_whole_however_they_are_cut(rows, data):
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    where = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    parts = [shown(*(column[where == p] for column in columns), items=4) for p in range(3)]

    assert sum(parts) == pytest.approx(shown(*columns, items=4), rel=1e-12)


@given(rows, st.integers(0, 3), st.integers(1, 500), st.booleans())
def test_whoever_has_weight_0_moves_no_weighted_rate(rows, item, times, clicked):
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    before = shown(*columns, items=4)
    after = before + shown([item] * times, clicked, 0.0, 0.5, True, items=4)
    weighted = [COLUMNS.index(name) for name in ("weighted_impressions", "weighted_clicks", "debiased_clicks")]

    assert (after[:, weighted] == before[:, weighted]).all()


def test_clicks_of_risky_users_do_not_lift_an_item_over_a_better_one():
    """Item 0: 30 of 1,000 clicked by honest users. Item 1: 20 of 1,000, and 500 clicks of risky users, of weight .02.

    As they are, 520 of 1,500 beats all. Weighted, 20 + 10 of 1,000 + 10 is .0297, still below .03.
    """
    honest = shown(np.repeat([0, 1], 1_000), np.concatenate([np.arange(1_000) < 30, np.arange(1_000) < 20]))
    sums = honest + shown([1] * 500, True, 0.02, 1.0, True)
    raw = sums[:, COLUMNS.index("clicks")] / sums[:, COLUMNS.index("impressions")]

    assert raw.argmax() == 1
    assert debiased_rate(sums) == pytest.approx([0.03, 30 / 1_010])
    assert risky_share(sums)[1] == pytest.approx(1 / 3)


users = st.lists(st.integers(0, 5), min_size=1, max_size=60)


@given(users)
def test_the_entropy_of_an_audience_is_shannons(users):
    counts = np.array(list(Counter(users).values()))
    shares = counts / counts.sum()

    assert entropy_nats(len(users), c_log_c(counts).sum()) == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-12)


@given(users)
def test_entropy_adds_up_over_partitions_of_users(users):
    counts = Counter(users)
    parts = [sum(float(c_log_c(c)) for user, c in counts.items() if user % 3 == p) for p in range(3)]
    whole = c_log_c(list(counts.values())).sum()

    assert sum(parts) == pytest.approx(whole)


def test_an_audience_of_equals_counts_its_heads_and_one_of_one_user_has_0():
    assert np.exp(entropy_nats(8, 4 * c_log_c(2))) == pytest.approx(4)
    assert entropy_nats(7, c_log_c(7)) == 0
    assert math.isnan(entropy_nats(0, 0.0))


@pytest.fixture(scope="module")
def bandit(real_data):
    """Return a function that reads clicks and propensities of a policy's log of the Open Bandit sample."""
    found = real_data("obd_sample")

    def read(policy, campaign):
        with gzip.open(found / policy / campaign / f"{campaign}.csv.gz", "rt") as lines:
            log = list(csv.DictReader(lines))
        return np.array([row["click"] == "1" for row in log]), np.array([float(row["propensity_score"]) for row in log])

    return read


@pytest.mark.parametrize(("campaign", "items"), [("all", 80), ("men", 34)])
def test_a_log_of_thompson_sampling_tells_the_rate_of_the_random_policy(bandit, campaign, items):
    """Each impression counts by the chance the random policy has of it over that of the logged one.

    Then impressions sum to their number, and clicks to the random policy's, within three standard errors of each.
    """
    clicked, chance = bandit("bts", campaign)
    random, _ = bandit("random", campaign)
    weight = inverse_propensity(chance, np.inf) / items
    debiased = weight * clicked
    error = math.hypot(debiased.std(), random.std()) / math.sqrt(len(clicked))

    assert weight.mean() == pytest.approx(1.0, abs=3 * weight.std() / math.sqrt(len(weight)))
    assert debiased.mean() == pytest.approx(random.mean(), abs=3 * error)


def test_a_clip_tames_the_log_whose_chances_are_one_in_a_million(bandit):
    """Women: one impression counts 21,739 without a clip, 10 with one; the error of the rate is halved."""
    clicked, chance = bandit("bts", "women")
    wild, tame = (inverse_propensity(chance, clip) / 46 * clicked for clip in (np.inf, 46 * 10.0))

    assert inverse_propensity(chance, np.inf).max() / 46 > 20_000
    assert tame.std() < wild.std() / 2
    assert tame.mean() <= wild.mean()
