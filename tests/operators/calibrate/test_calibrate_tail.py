"""The fitted tail: against scipy's distributions, joined to the counts, and of use long before counting is."""

import math

import numpy as np
import pytest
from calibrate_streams import scored
from scipy import stats

from operators.calibrate import Calibrate, CalibrateConfig
from operators.calibrate.tail import (
    BINS,
    BINS_PER_NAT,
    ENOUGH,
    EXCESSES,
    FARTHEST,
    hold_back,
    raised,
    tabulate,
    tail_fit,
)


def histogram(score):
    return np.bincount((np.minimum(score, 39.99) * BINS_PER_NAT).astype(int), minlength=BINS).astype(float)


def above(counts):
    return counts[::-1].cumsum()[::-1]


def table(counts, nats=0.0):
    found = np.empty(BINS)
    tabulate(counts, nats, found)
    return found


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_shape_and_scale_are_those_of_the_distribution_drawn_from(shape):
    score = stats.genpareto.rvs(shape, scale=1.5, size=400_000, random_state=1)
    found, scale = tail_fit(above(histogram(score[score < 39])), 0)

    # Shrunk by N / (N + 100), nothing at this size; within 4 standard errors of about 1 / sqrt(N) and half a bin.
    assert found == pytest.approx(shape, abs=0.02)
    assert scale / BINS_PER_NAT == pytest.approx(1.5, rel=0.02)


def test_weighted_moments_by_hand():
    """Excesses of half a bin (30 times) and 10.5 bins (10 times).

    First moment (30 * 0.5 + 10 * 10.5) / 40 = 3. Second, with the share above and half one's own:
    (30 * 0.5 * 25 + 10 * 10.5 * 5) / 1600 = 0.5625. Shape 2 - 3 / (3 - 1.125) = 0.4; shrunk by 40 / 140 it is
    0.8 / 7; scale 3 * (1 - 0.8 / 7).
    """
    counts = np.zeros(BINS)
    counts[100], counts[110] = 30, 10

    assert tail_fit(above(counts), 100) == pytest.approx((0.8 / 7, 3 * (1 - 0.8 / 7)))


def test_too_few_scores_are_not_fitted():
    counts = np.zeros(BINS)
    counts[[100, 200, 300]] = 5
    assert tail_fit(above(counts), 100) == (0.0, 0.0)
    assert table(counts)[-1] == 1 / 16  # counted alone: nothing beyond 1 / (n + 1)


def test_counts_rule_where_they_are_enough_and_the_fit_goes_on_from_where_they_end():
    counts = histogram(np.random.default_rng(3).exponential(1.0, 5000))
    found, reached = table(counts), above(counts)

    enough = reached >= ENOUGH
    assert np.array_equal(found[enough], (reached[enough] + 1) / 5001)
    joint = int(np.argmin(enough))
    assert found[joint] == pytest.approx((reached[joint] + 1) / 5001)
    assert (np.diff(found) <= 0).all()
    assert found[joint + 1] / found[joint] > 0.98  # a bin is 0.8 %
    assert found[-1] == pytest.approx(1 / 5001 / FARTHEST)
    assert EXCESSES > ENOUGH


def test_scores_of_one_value_have_no_tail_to_fit():
    counts = np.zeros(BINS)
    counts[500] = 1000

    found = table(counts)

    assert found[500] == 1.0
    assert found[501] == found[-1] == 1 / 1001


@pytest.mark.parametrize("nats", [0.7, -1.3])
def test_a_raised_table_has_all_odds_of_a_tail_by_one_factor(nats):
    counts = histogram(np.random.default_rng(3).exponential(1.0, 5000))
    straight, found = table(counts), table(counts, nats)
    inner = straight < 1

    odds, before = (each[inner] / (1 - each[inner]) for each in (found, straight))
    assert odds == pytest.approx(before * math.exp(nats))
    assert (found[~inner] == 1).all()
    assert (np.diff(found) <= 0).all()


def test_raised_by_nothing_a_tail_is_the_same_to_the_last_bit():
    tails = np.random.default_rng(3).random(1000)

    assert [raised(tail, 1.0) for tail in tails] == tails.tolist()
    # Odds of 1:1 doubled are 2:1, those of 1:9 tripled 1:3.
    assert (raised(0.5, 2.0), raised(0.1, 3.0)) == (pytest.approx(2 / 3), pytest.approx(1 / 4))


def test_holding_back_limits_every_threshold_at_once():
    old = table(histogram(np.random.default_rng(3).exponential(1.0, 5000)))
    new = table(histogram(4 * np.random.default_rng(4).weibull(0.8, 5000)))
    limited = new.copy()
    hold_back(limited, old, math.log(3))

    for budget in np.geomspace(0.9, 1e-5, 60):
        wanted, found = (int((each > budget).sum()) for each in (new, limited))
        before = int((old > budget / (3 - 2 * budget)).sum())  # odds of a third
        assert found == min(wanted, before)
    assert (limited < new).any()
    assert (limited == new).any()


@pytest.mark.parametrize(
    ("draw", "bias"),
    [(lambda rng, n: rng.exponential(1.0, n), 2.0), (lambda rng, n: 5 + 0.5 * np.abs(rng.standard_normal(n)), 2.5)],
)
def test_critical_is_reached_by_2000_events_at_a_rate_near_its_budget(draw, bias):
    """Where counting alone would need 10,000 events: true probability above the threshold, over 200 partitions.

    Its mean is within the stated factor of 1e-4, and of the median partition within two.
    """
    config = CalibrateConfig(adapt_events=10**12, max_rise_nats_per_hour=1e6)
    rates = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        stage = Calibrate(config, "")
        stage.process(scored(draw(rng, 2000), per_hour=1e6))
        at = stage.threshold(1e-4)
        assert at < 40
        rates.append(stats.expon.sf(at) if bias == 2.0 else 2 * stats.norm.sf((at - 5) / 0.5))

    assert 1 / bias <= np.mean(rates) / 1e-4 <= bias
    assert 1 / 2 <= np.median(rates) / 1e-4 <= 2
