"""Drift: ADWIN against River's, control charts, stability of features; how often they are wrong and how late."""

import numpy as np
import pytest
from calibrate_streams import events, scored
from river import drift as river

from operators.calibrate import Calibrate, CalibrateConfig
from operators.calibrate.adwin import Adwin
from operators.calibrate.charts import Charts, Cusum
from operators.calibrate.drift import ScoreDrift

DAY = 48_000  # events, 2,000 an hour
DAYS = 10


@pytest.mark.parametrize(("delta", "clock"), [(0.002, 32), (0.05, 1), (0.3, 4)])
def test_adwin_decides_as_rivers_does_value_by_value(delta, clock):
    found = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pieces = zip(rng.normal(0, 0.5, 6), rng.random(6) + 0.05, rng.integers(50, 1500, 6), strict=True)
        reference, ours = river.ADWIN(delta=delta, clock=clock), Adwin(delta, clock)
        for value in np.concatenate([rng.normal(mean, sd, n) for mean, sd, n in pieces]).tolist():
            reference.update(value)
            changed = ours.update(value)
            assert (changed, ours.width) == (reference.drift_detected, reference.width)
            assert ours.mean == pytest.approx(reference.estimation, rel=1e-9, abs=1e-12)
            if changed:  # River's begins anew with the next value
                ours.clear()
                found += 1
    assert found >= 6


def sessions(rng, n, length=40):
    """Scores that share a part within sessions of `length` events on average."""
    starts = rng.random(n) < 1 / length
    part = rng.standard_normal(n)[np.maximum.accumulate(np.where(starts, np.arange(n), 0))]
    return np.abs(rng.exponential(1.0, n) + 0.7 * part)


def rhythm(rng, n):
    return rng.exponential(1.0, n) + 0.5 + 0.5 * np.sin(2 * np.pi * np.arange(n) / DAY)


CALM = {
    "independent": lambda rng, n: rng.exponential(1.0, n),
    "sessions": sessions,
    "daily": rhythm,
}


def drifts(score):
    answer = Calibrate(CalibrateConfig(), "").process(scored(score, per_hour=DAY / 24))
    return [offset for offset, event in events(answer) if event == "level_shifted"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CALM)
def test_at_most_one_false_drift_in_a_million_events(name):
    """Ten streams of ten days, 4,800,000 events: at most 5. River's ADWIN on single scores finds hundreds."""
    found = [len(drifts(CALM[name](np.random.default_rng(seed), DAYS * DAY))) for seed in range(10)]

    assert sum(found) <= 5


@pytest.mark.parametrize("name", CALM)
@pytest.mark.parametrize("nats", [0.5, -0.4])
def test_a_planted_drift_is_found_within_half_a_day_and_once(name, nats):
    n = 6 * DAY
    score = CALM[name](np.random.default_rng(2), n) + 0.5
    score[4 * DAY :] += nats
    found = drifts(score)

    assert len(found) == 1
    assert 4 * DAY < found[0] < 4.5 * DAY


def test_single_scores_with_a_rhythm_would_be_cried_over():
    """Why ADWIN is given block means without the rhythm: the plain one on the same stream."""
    plain = Adwin(0.002, 32)
    found = sum(plain.update(float(value)) for value in rhythm(np.random.default_rng(0), 3 * DAY))

    assert found > 10


def test_an_hour_that_was_not_there_on_an_earlier_day_gives_nothing():
    drift = ScoreDrift(0.002)
    for block in range(23 * 10):
        drift.add(float(block), block * 360_000)

    assert drift._adwin.width == 0


def test_recalibrating_makes_what_comes_next_weigh_more_and_recording_does_not():
    rng = np.random.default_rng(2)
    score = rng.exponential(1.0, 5 * DAY)
    score[4 * DAY :] *= 0.4
    weights = {}
    for action in ("recalibrate", "record"):
        stage = Calibrate(CalibrateConfig(drift_action=action, adapt_events=10**12), "")
        answer = stage.process(scored(score, per_hour=DAY / 24))
        assert [event for _, event in events(answer) if event == "level_shifted"] == ["level_shifted"]
        weights[action] = stage.threshold(1e-2)
        assert not np.isnan(answer.tail[4 * DAY :]).any()

    # Of the old scores 10,000 were kept, halved every 100,000; the new ones are a geometric series.
    old, new = 10_000 * 0.5**0.48, (1 - 0.5**0.48) * 100_000 / np.log(2)
    grid = np.linspace(0, 6, 6001)
    expected = grid[np.argmax((old * np.exp(-grid) + new * np.exp(-grid / 0.4)) / (old + new) <= 0.01)]
    assert weights["recalibrate"] == pytest.approx(expected, abs=0.2)
    assert weights["record"] > weights["recalibrate"] + 0.5


def test_the_chart_by_hand():
    """rho = 2, 5 expected: 30 hits add 30 ln 2 - 5 = 15.794, and 0 take 5."""
    chart = Cusum(2.0, 20.0)

    assert [chart.add(hits, 5.0) for hits in (30, 0, 30, 0, 0, 0, 0, 0, 0)] == [
        False, False, True, False, False, False, False, False, True,
    ]  # fmt: skip
    assert chart.sum == 0.0


def test_the_chart_is_quiet_at_the_budget_and_loud_at_twice_it():
    rng = np.random.default_rng(4)
    calm, twice = Cusum(2.0, 30.0), Cusum(2.0, 30.0)
    assert not any(calm.add(hits, 5.0) for hits in rng.poisson(5, 20_000))  # ten million events
    delay = next(block for block in range(1000) if twice.add(int(rng.poisson(10)), 5.0))

    assert delay < 60  # 30,000 events; 30 / (10 ln 2 - 5) = 15.5 blocks are expected


def test_busy_users_get_their_usual_share_during_a_hold_and_all_in_calm():
    charts = Charts(0.01, 7_200_000)
    for _ in range(40):  # 20,000 events, 4 of 500 by busy users
        charts.add(500, 5, 4, 0)
    assert (charts.held, charts.share(500, 4)) == (False, 1.0)

    assert ("threshold", "held") in charts.add(500, 150, 140, 1)
    assert charts.share(500, 140) == pytest.approx(4 / 140)
    assert charts.share(500, 3) == 1.0


def test_features_that_shift_are_told_with_the_name_of_the_one_that_moved_most():
    rng = np.random.default_rng(1)
    features = rng.random((60_000, 3))
    features[30_000:, 1] **= 4
    names = ["amount", "gap", "count"]
    stage = Calibrate(CalibrateConfig(), "", None, None, names)
    answer = stage.process(scored(rng.exponential(1.0, 60_000), per_hour=2000, features=features))
    told = [(change.offset, change.detail) for change in answer.changes if "feature" in change.detail]

    assert [(at, each["event"], each["feature"]) for at, each in told[:1]] == [(39_999, "features_began", "gap")]
    assert told[0][1]["features"] == 1
    # By the definition, over the deciles of a uniform: twenty bins of 1/20, two to a group.
    edges = np.linspace(0, 1, 11)
    p, q = (np.histogram(each, edges)[0] + 0.5 for each in (features[20_000:30_000, 1], features[30_000:40_000, 1]))
    p, q = p / p.sum(), q / q.sum()
    assert told[0][1]["psi"] == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=0.1)
    assert [each["event"] for _, each in told] == ["features_began", "features_ended"]
