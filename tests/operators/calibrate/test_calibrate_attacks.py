"""An attack may exceed the budget, and the flow says so; it does not lift the thresholds that catch it."""

import math

import numpy as np
import pytest
from calibrate_streams import HOUR_MS, START_MS, events, scored

from operators.calibrate import Calibrate, CalibrateConfig

PER_HOUR = 5000
CALM = 125_000
"""A day and an hour: the step limit has begun."""
HOUR = slice(CALM, CALM + PER_HOUR)
RISE = CalibrateConfig().max_rise_nats_per_hour
BUDGETS = (1e-2, 1e-3, 1e-4)


def traffic(seed=3, hours=30):
    """Scores of calm traffic, 60 % of it by busy users who may not teach any more, as bots are."""
    rng = np.random.default_rng(seed)
    n = CALM + hours * PER_HOUR
    return rng.exponential(1.0, n), rng.random(n) < 0.4, rng


def one_user_with_a_third_of_the_traffic():
    score, teach, rng = traffic()
    attack = np.zeros(len(score), np.bool_)
    attack[HOUR] = rng.random(PER_HOUR) < 0.3
    score[attack], teach[attack] = 6 + rng.exponential(1.0, attack.sum()), False
    return score, teach, attack


def five_hundred_users_for_ten_minutes():
    score, teach, rng = traffic()
    attack = np.zeros(len(score), np.bool_)
    attack[CALM : CALM + PER_HOUR // 3] = rng.random(PER_HOUR // 3) < 0.5
    score[attack], teach[attack] = 6 + rng.exponential(1.0, attack.sum()), True
    return score, teach, attack


def stricter(budget, nats):
    """Return the budget whose odds are e^nats times smaller."""
    odds = budget / (1 - budget) * math.exp(-nats)
    return odds / (1 + odds)


def thresholds_by_the_block(score, teach, per_hour=PER_HOUR, config=CalibrateConfig()):  # noqa: B008  frozen
    """Return hour of event time and the thresholds in force, after every block of 500."""
    stage, found = Calibrate(config, ""), []
    for at in range(0, len(score), 500):
        stage.process(scored(score[at : at + 500], per_hour=per_hour, teach=teach[at : at + 500], first=at))
        found.append(((at + 499) // per_hour, [stage.threshold(budget) for budget in BUDGETS]))
    return found


def test_in_calm_busy_users_count_and_nobody_is_held():
    score, teach, _ = traffic()
    answer = Calibrate(CalibrateConfig(), "").process(scored(score, per_hour=PER_HOUR, teach=teach))

    assert {"held", "rate_over_budget"}.isdisjoint(event for _, event in events(answer))
    assert (answer.tail[50_000:] <= 0.01).mean() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("attack", [one_user_with_a_third_of_the_traffic, five_hundred_users_for_ten_minutes])
def test_an_attack_is_caught_to_its_last_event_and_the_flow_says_that_the_rate_is_over(attack):
    score, teach, attacks = attack()
    answer = Calibrate(CalibrateConfig(), "").process(scored(score, per_hour=PER_HOUR, teach=teach))

    assert (answer.tail[attacks] <= 0.01).mean() > 0.99
    over = [offset for offset, event in events(answer) if event == "rate_over_budget"]
    assert len(over) == 1
    assert CALM <= over[0] < CALM + 1000  # within two blocks


def test_a_burst_of_one_user_is_held_and_leaves_no_trace():
    score, teach, attacks = one_user_with_a_third_of_the_traffic()
    answer = Calibrate(CalibrateConfig(), "").process(scored(score, per_hour=PER_HOUR, teach=teach))
    clean = traffic()[0]

    held, resumed = (offset for offset, event in events(answer) if event in ("held", "resumed"))
    assert CALM <= held < CALM + 1000
    assert CALM + PER_HOUR <= resumed < CALM + 2 * PER_HOUR
    after = slice(CALM + PER_HOUR, CALM + 3 * PER_HOUR)
    expected = Calibrate(CalibrateConfig(), "").process(scored(clean, per_hour=PER_HOUR, teach=teach))
    rate, rate_without = ((each.tail[after] <= 0.01).mean() for each in (answer, expected))
    assert rate == pytest.approx(rate_without, rel=0.2)
    assert (answer.tail[HOUR][~attacks[HOUR]] <= 0.01).mean() < 0.02


def test_a_regime_in_which_busy_users_stay_risky_is_learnt_in_the_end():
    """The hold opens after `max_hold_s`; a gate that never opens would leave the rate where it is."""
    score, teach, rng = traffic(hours=30)
    regime = np.zeros(len(score), np.bool_)
    regime[CALM:] = rng.random(len(score) - CALM) < 0.1
    score[regime], teach[regime] = 5.5 + rng.exponential(1.0, regime.sum()), False
    answer = Calibrate(CalibrateConfig(), "").process(scored(score, per_hour=PER_HOUR, teach=teach))

    (released,) = (offset for offset, event in events(answer) if event == "released")
    assert released - CALM == pytest.approx(2 * PER_HOUR, abs=1000)
    assert (answer.tail[-30_000:] <= 0.01).mean() < 0.02
    assert (answer.tail[CALM : CALM + PER_HOUR] <= 0.01).mean() > 0.1


@pytest.mark.parametrize(("per_hour", "scale"), [(PER_HOUR, 1.0), (50_000, 1.0), (PER_HOUR, 0.1)])
def test_no_threshold_rises_by_more_than_the_step_in_an_hour_of_event_time(per_hour, scale):
    """All scores rise by three nats, everybody's: nothing but the step limit is in the way.

    The step is one of probability: what is within a budget after n hours was, as they began, within one whose odds are
    e^(n/2) times smaller.
    """
    rng = np.random.default_rng(5)
    stage, first = Calibrate(CalibrateConfig(settle_s=0), ""), CALM // per_hour * per_hour
    stage.process(scored(scale * rng.exponential(1.0, first), per_hour=per_hour))
    calm = [[stage.threshold(stricter(budget, RISE * hours)) for budget in BUDGETS] for hours in range(5)]
    for at in range(first, first + 4 * per_hour, 500):
        stage.process(scored(scale * (3.0 + rng.exponential(1.0, 500)), per_hour=per_hour, first=at))
        hours = (at + 499 - first) // per_hour + 1
        assert all(stage.threshold(budget) <= most for budget, most in zip(BUDGETS, calm[hours], strict=True))

    assert stage.threshold(BUDGETS[0]) > calm[0][0] + scale * RISE  # and they do rise


def test_in_the_first_day_nothing_limits_a_rise():
    """Windows of a day are filling, and everybody's scores rise with them."""
    rng = np.random.default_rng(5)
    score = np.concatenate([rng.exponential(1.0, 10 * PER_HOUR), 3.0 + rng.exponential(1.0, PER_HOUR)])
    config = CalibrateConfig(half_life=1000)
    found = thresholds_by_the_block(score, np.ones(len(score), np.bool_), config=config)

    (_, before), (_, after) = found[10 * PER_HOUR // 500 - 1], found[-1]
    assert after[0] - before[0] == pytest.approx(3.0, abs=0.5)


def test_a_jump_of_event_time_grants_one_step_only():
    rng = np.random.default_rng(5)
    stage = Calibrate(CalibrateConfig(half_life=1000), "")
    stage.process(scored(rng.exponential(1.0, CALM), per_hour=PER_HOUR))
    most = stage.threshold(stricter(1e-2, RISE))
    # A hundred hours later, six blocks within three milliseconds: the histogram is at 6 nats after them.
    stage.process(scored(3 + rng.exponential(1.0, 3000), per_hour=3_600_000_000, first=120 * 3_600_000_000))

    assert stage.threshold(1e-2) == most


def test_what_many_users_did_for_ten_minutes_does_not_mute_the_hours_after():
    """833 scores are more than 1 % of all that the histogram weighs: by itself it halves the rate."""
    score, teach, _ = five_hundred_users_for_ten_minutes()
    tail = Calibrate(CalibrateConfig(), "").process(scored(score, per_hour=PER_HOUR, teach=teach)).tail

    assert (tail[CALM + PER_HOUR : CALM + 7 * PER_HOUR] <= 0.01).mean() > 0.0035
    assert (tail[CALM + 12 * PER_HOUR :] <= 0.01).mean() > 0.008


def test_thresholds_may_fall_at_once():
    rng = np.random.default_rng(5)
    found = thresholds_by_the_block(
        np.concatenate([3 + rng.exponential(1.0, CALM), rng.exponential(0.2, 50_000)]),
        np.ones(CALM + 50_000, np.bool_), 100_000,
        CalibrateConfig(half_life=2000),
    )  # fmt: skip

    assert found[CALM // 500 + 30][1][0] < found[CALM // 500 - 1][1][0] - 2


def test_one_alert_does_not_mute_the_next():
    """An extreme score again and again, far apart: each is critical, however many there were before."""
    rng = np.random.default_rng(9)
    score = rng.exponential(1.0, 200_000)
    score[50_000::5000] = 12.0
    tail = Calibrate(CalibrateConfig(), "").process(scored(score, per_hour=PER_HOUR)).tail

    assert (tail[50_000::5000] <= 1e-3).all()
    assert (tail[50_000:75_001:5000] <= 1e-4).all()


def test_one_alert_hardly_moves_a_threshold():
    """The correction by 1 / (0.01 * 20,000) = 0.005 nats, two bins where they are thin; of 7 scores beyond critical's,
    by the gap to the next one.
    """
    rng = np.random.default_rng(9)
    score = rng.exponential(1.0, CALM)
    stage, other = Calibrate(CalibrateConfig(), ""), Calibrate(CalibrateConfig(), "")
    stage.process(scored(score, per_hour=PER_HOUR))
    score[-100] = 12.0
    other.process(scored(score, per_hour=PER_HOUR))

    moved = [other.threshold(budget) - stage.threshold(budget) for budget in BUDGETS]
    assert (np.abs(moved) <= [2 / 128, 4 / 128, 0.5]).all()
    assert other._thresholds.shift - stage._thresholds.shift == pytest.approx(0.005, abs=1e-9)


def test_times_of_the_streams_are_event_times():
    assert scored(np.zeros(2), per_hour=1).featured.decoded.time_ms.tolist() == [START_MS, START_MS + HOUR_MS]
