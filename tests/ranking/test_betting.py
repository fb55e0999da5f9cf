"""The fairness alarm: bets by hand, the martingale by counting, and error rates under a look after every list."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from operators.state import pack, unpack
from ranking.betting import FairnessAlarm
from ranking.gain import position_weights

ALPHA = 0.05
RUNS, LISTS, ITEMS = 2_000, 1_000, 10


def after(differences, tolerance=0.0):
    alarm = FairnessAlarm((), tolerance)
    for difference in differences:
        alarm.bet(difference)
    return alarm


def test_three_bets_by_hand():
    """The first stakes nothing. Then z = -1, A = 2, and 2 / (2 - ln 3) / 2 = 1.109 is clipped to a half: 1, 1.5, .75.

    The other gambler only ever sees that it would have lost, and stakes nothing until the third list: 1.
    """
    assert math.exp(after([1]).log_e) == pytest.approx(1.0)
    assert math.exp(after([1, 1]).log_e) == pytest.approx((1.5 + 1) / 2)
    assert math.exp(after([1, 1, -1]).log_e) == pytest.approx((0.75 + 1) / 2)
    assert after([1, 1]).side == 1


def test_the_stake_by_hand_where_it_is_not_clipped():
    """d = .3: z = -.3, A = 1.09, stake 2.218799 x .3 / 1.09 = .61068, clipped; d = .2: .44376 / 1.04 = .42669."""
    assert after([0.3]).fraction.tolist() == [0.5, 0.0]
    assert after([0.2]).fraction == pytest.approx([0.42669, 0.0], abs=5e-6)


def test_what_is_within_the_tolerance_never_pays():
    """At .25, d = .25 is x = 0 for the one gambler, and (-.25 - .25) / 1.25 = -.4 for the other, who stakes nothing."""
    assert after([0.25] * 50, 0.25).log_e == pytest.approx(0.0)


def test_a_tolerance_narrows_what_a_bet_pays():
    """At .25, d = 1 is x = .75 / 1.25 = .6: staked a half from the second on, 1.3, and the other gambler's 1."""
    assert math.exp(after([1, 1], 0.25).log_e) == pytest.approx((1.3 + 1) / 2)


@pytest.mark.parametrize("tolerance", [0.0, 0.2])
def test_over_all_sequences_of_a_fair_coin_the_mean_of_e_is_1_at_most(tolerance):
    """Heads with probability (1 + tolerance) / 2 have the mean that is just still fair; exactly 1 without tolerance."""
    heads = (1 + tolerance) / 2
    mean = sum(
        math.prod(heads if d > 0 else 1 - heads for d in draws) * math.exp(after(draws, tolerance).log_e)
        for draws in itertools.product((1, -1), repeat=9)
    )

    assert mean == pytest.approx(1.0) if tolerance == 0 else mean <= 1.0


differences = st.lists(st.floats(-1, 1), max_size=60)


@given(differences, st.floats(0, 0.9))
def test_wealth_never_runs_out_and_the_largest_is_remembered(values, tolerance):
    seen = [0.0]
    alarm = FairnessAlarm((), tolerance)
    for value in values:
        alarm.bet(value)
        seen.append(float(alarm.log_e))

    assert np.isfinite(seen).all()
    assert alarm.p == pytest.approx(math.exp(-max(seen)))


@given(differences)
def test_which_group_is_first_makes_no_difference_but_to_the_side(values):
    one, other = after(values), after([-value for value in values])

    assert other.log_e == pytest.approx(float(one.log_e))
    assert other.side == -one.side


@given(differences)
def test_a_list_without_one_of_the_groups_changes_nothing(values):
    with_gaps = after([gap for value in values for gap in (value, math.nan)])

    assert with_gaps.log_e == after(values).log_e
    assert with_gaps.lists == len(values)


def test_comparisons_do_not_mix():
    alarm = FairnessAlarm((2,))
    for d in ([0.5, -0.1], [0.5, math.nan], [0.2, 0.3]):
        alarm.bet(d)

    assert alarm.log_e == pytest.approx([float(after([0.5, 0.5, 0.2]).log_e), float(after([-0.1, 0.3]).log_e)])


def test_what_is_remembered_survives_a_snapshot():
    alarm, back = after([0.4, 0.3, -0.1]), FairnessAlarm(())
    dumped = alarm.dump()
    alarm.bet(0.9)
    back.load(unpack(pack(dumped)))
    back.bet(0.9)

    assert back.log_e == alarm.log_e
    assert back.log_largest == alarm.log_largest
    assert back.lists == 4


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"got 1\.5 - at difference"):
        after([1.5])
    with pytest.raises(ValueError, match=r"got 1\.0 - at tolerance"):
        FairnessAlarm((), 1.0)
    with pytest.raises(ValueError, match=r"expected shape \(2, 3\), got \(2,\) - at betting.log_wealth"):
        FairnessAlarm((3,)).load(FairnessAlarm(()).dump())


def exposures(rng, advantage, size):
    """Return differences of mean exposure in lists of ten by a noisy score; `advantage` is that of the first `size`."""
    score = rng.standard_normal((RUNS, ITEMS))
    score[:, :size] += advantage
    place = np.argsort(np.argsort(-score, axis=1), axis=1)
    exposure = position_weights(ITEMS)[place]
    return exposure[:, :size].mean(axis=1) - exposure[:, size:].mean(axis=1)


@cache
def monitored(advantage, tolerance=0.0):
    """Return each stream's anytime p-value after each list, and whether a z test looked at as often ever rejected."""
    rng = np.random.default_rng([3, int(100 * advantage)])
    alarm = FairnessAlarm((RUNS,), tolerance)
    p, rejected = [], np.zeros(RUNS, bool)
    total, squares = np.zeros(RUNS), np.zeros(RUNS)
    for n in range(1, LISTS + 1):
        difference = exposures(rng, advantage, 3)
        alarm.bet(difference)
        p.append(alarm.p)
        total += difference
        squares += difference**2
        if n >= 20:
            z = total / np.sqrt(squares - total**2 / n)
            rejected |= np.abs(z) >= norm.ppf(1 - ALPHA / 2)
    return np.array(p), rejected


@pytest.mark.slow
def test_fair_lists_alarm_seldom_though_they_are_looked_at_after_every_one():
    """A/A: 2,000 streams of 1,000 lists in random order, three items of one group among ten."""
    p, rejected = monitored(0.0)
    false = (p[-1] <= ALPHA).mean()
    print(f"false alarms at {ALPHA} in {LISTS} looks: betting {false:.4f}, z test {rejected.mean():.4f}")

    assert false <= ALPHA
    assert rejected.mean() > 5 * ALPHA


@pytest.mark.slow
def test_lists_that_follow_each_other_do_not_raise_false_alarms():
    """How many items the group has, and how much the lists spread, depends on who was ahead before."""
    rng = np.random.default_rng(11)
    alarm = FairnessAlarm((RUNS,))
    ahead = np.zeros(RUNS)
    for _ in range(LISTS):
        few, many = exposures(rng, 0.0, 1), exposures(rng, 0.0, 5)
        difference = np.where(ahead > 0, few, many)
        alarm.bet(difference)
        ahead += difference
    print(f"false alarms at {ALPHA}, dependent lists: {(alarm.p <= ALPHA).mean():.4f}")

    assert (alarm.p <= ALPHA).mean() <= ALPHA


@pytest.mark.slow
def test_unfair_lists_are_found():
    """Three items of a group with a score half a deviation higher."""
    p, _ = monitored(0.5)
    found = (p <= ALPHA).argmax(axis=0) + 1
    print(f"advantage .5: {(p[-1] <= ALPHA).mean():.3f} found; lists until then: median {np.median(found):.0f}")

    assert (p[-1] <= ALPHA).mean() > 0.99
    assert (p[199] <= ALPHA).mean() > 0.9


@pytest.mark.slow
def test_a_difference_that_is_tolerated_does_not_alarm_and_a_larger_one_does():
    """An advantage of .5 is a mean difference in exposure between .05 and .15."""
    rng = np.random.default_rng(5)
    mean = np.mean([exposures(rng, 0.5, 3).mean() for _ in range(50)])

    assert 0.05 < mean < 0.15
    assert (monitored(0.5, 0.15)[0][-1] <= ALPHA).mean() <= ALPHA
    assert (monitored(0.5, 0.05)[0][-1] <= ALPHA).mean() > 0.9


@pytest.mark.slow
def test_at_the_edge_of_the_tolerance_alarms_are_still_seldom():
    """Coins with a mean of exactly the tolerance: no fair stream is harder to tell from an unfair one."""
    rng = np.random.default_rng(6)
    alarm = FairnessAlarm((RUNS,), 0.1)
    for _ in range(LISTS):
        alarm.bet(np.where(rng.random(RUNS) < 0.55, 1.0, -1.0))
    print(f"false alarms at {ALPHA} at the edge of the tolerance: {(alarm.p <= ALPHA).mean():.4f}")

    assert (alarm.p <= ALPHA).mean() <= ALPHA
