"""Calibration: tails against counting by hand, alert rates as promised on seeded streams, drift, and the laws."""

import dataclasses
import math

import laws
import numpy as np
import pytest
from cutting import cut, evenly, random_cuts
from pydantic import TypeAdapter, ValidationError
from streams import decoded, habits

from operators.batches import LATE, Decoded, Featured, Scored, Span
from operators.calibrate import GREATEST_SCORE, Calibrate, CalibrateConfig, ReviewConfig
from operators.calibrate.loop import NEWEST_MS
from operators.calibrate.review import Review
from operators.calibrate.thresholds import FREE_UNTIL_MS
from operators.state import Measurement

SMALL = CalibrateConfig(half_life=1000, refresh=20, warmup=50, drift_window=150)
STILL = {"adapt_events": 10**15, "max_rise_nats_per_hour": 1e6, "drift_action": "record"}
"""The histogram alone: no correction, no step limit, nothing forgotten."""

NO_DECAY = CalibrateConfig(half_life=10**12, refresh=20, warmup=60, drift_window=10**9, **STILL)


def make(config=SMALL):
    return lambda: Calibrate(config, "upstream")


def bare(score, flags=None):
    """Scores alone, 4,000 an hour: what the statistics need, without a million ids."""
    n = len(score)
    none = np.zeros(0)
    base = Decoded(Span(0, 0, n), "events", np.arange(n), np.arange(n) * 900, [], [], none, none, none, none, [])
    flags = np.zeros(n, np.uint8) if flags is None else flags
    return Scored(Featured(base, none, none, flags, flags == 0), none, none, np.asarray(score, float), none, flags == 0)


def full(seed, n, *, flags=0):
    """Whole batches, for the laws; now and then a score is NaN, and not every event may teach."""
    rng = np.random.default_rng(seed)
    score = rng.exponential(1.0, n)
    score[rng.random(n) < 0.05] = np.nan
    features = rng.random((n, 2))
    base = Featured(
        decoded(habits(seed, n)), features, features, np.full(n, flags, np.uint8), (rng.random(n) < 0.9) & (flags == 0)
    )
    return Scored(base, score, score.copy(), score, features, base.teach)


def test_the_tail_equals_counting_the_earlier_scores():
    rng = np.random.default_rng(3)
    score = np.concatenate([rng.exponential(1.0, 500), rng.integers(0, 4, 300).astype(float)])
    tail = Calibrate(NO_DECAY, "").process(bare(score)).tail

    bins = np.floor(score * 128)
    assert np.isnan(tail[:60]).all()
    for i in range(60, 800):
        past = bins[: i - i % 20]  # the table is made every 20 scores
        reached = (past >= bins[i]).sum()
        if reached > 10 or len(past) < 100:  # below, the tail is fitted: test_calibrate_tail
            assert tail[i] == pytest.approx((reached + 1) / (len(past) + 1), rel=1e-9)


def test_equal_scores_all_lie_in_the_tail():
    tail = Calibrate(NO_DECAY, "").process(bare(np.full(500, 2.5))).tail

    assert (tail[60:] == 1.0).all()


def test_a_score_above_all_others_has_the_smallest_tail_there_is():
    stage = Calibrate(NO_DECAY, "")
    stage.process(bare(np.linspace(0, 5, 80)))  # too few for a fit

    assert stage.process(bare([5.5, 30.0, 39.99, 1e9, math.inf])).tail == pytest.approx([1 / 81] * 5)


def test_there_is_no_tail_before_the_warm_up():
    tail = Calibrate(CalibrateConfig(), "").process(bare(np.linspace(0, 5, 1200))).tail

    assert np.isnan(tail).tolist() == [True] * 1000 + [False] * 200


def share(tail, alpha):
    known = ~np.isnan(tail)
    return (tail[known] <= alpha).mean(), int(known.sum())


def assert_holds(tail, alpha):
    """Within 10 %, and 3.3 standard deviations of a binomial share: one in a thousand for a fixed seed."""
    found, n = share(tail, alpha)
    assert n * alpha >= 1000
    margin = 0.1 * alpha + 3.3 * math.sqrt(alpha / n)
    assert abs(found - alpha) <= margin, f"expected {alpha} within {margin:.2g}, got {found:.6f} of {n}"


STREAMS = {
    "exponential": lambda rng, n: rng.exponential(1.0, n),
    "narrow": lambda rng, n: 5 + 0.5 * np.abs(rng.standard_normal(n)),
    "two kinds": lambda rng, n: np.where(rng.random(n) < 0.98, rng.exponential(0.5, n), 6 + rng.exponential(1.0, n)),
    "drifting up": lambda rng, n: rng.exponential(1.0, n) + np.linspace(0, 0.5, n),
    "drifting down": lambda rng, n: rng.exponential(1.0, n) + np.linspace(0.5, 0, n),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(("alpha", "n"), [(1e-1, 200_000), (1e-2, 400_000), (1e-3, 2_000_000)])
def test_the_share_of_alerts_is_the_budget(name, alpha, n):
    # Drift of half a nat over the stream: with a half-life of 100,000 the table lags by 0.036 nats at 2,000,000
    # events; the shorter streams drift as fast per event.
    stretch = 2_000_000 if "drifting" in name else n
    score = STREAMS[name](np.random.default_rng(17), stretch)[:n]

    assert_holds(Calibrate(CalibrateConfig(), "").process(bare(score)).tail, alpha)


@pytest.mark.slow
def test_scores_that_rise_by_three_nats_alert_twenty_times_as_often():
    # Exponential scores: P(s + 3 >= t) = e^3 P(s >= t), so a budget of 1e-3 becomes 0.02.
    rng = np.random.default_rng(5)
    stage = Calibrate(CalibrateConfig(), "")
    stage.process(bare(rng.exponential(1.0, 500_000)))
    tail = stage.process(bare(rng.exponential(1.0, 5000) + 3)).tail

    assert share(tail, 1e-3)[0] == pytest.approx(1e-3 * math.e**3, rel=0.25)


def test_the_threshold_divides_what_is_within_the_budget():
    stage = Calibrate(SMALL, "")
    stage.process(bare(np.random.default_rng(2).exponential(1.0, 1000)))
    asked = np.linspace(0, 12, 4001)

    tail = stage.process(bare(asked, np.full(4001, LATE, np.uint8))).tail

    for budget in (0.9, 0.3, 0.1, 0.03, 0.01, 0.005):
        assert ((asked >= stage.threshold(budget)) == (tail <= budget)).all()
        assert 0 < (tail <= budget).sum() < 4001


def test_the_threshold_is_never_undefined():
    stage = Calibrate(NO_DECAY, "")
    assert stage.threshold(0.01) == GREATEST_SCORE  # warming: nothing alerts
    stage.process(bare(np.linspace(0, 5, 80)))

    budgets = np.geomspace(1.0, 1e-12, 400)
    thresholds = [stage.threshold(budget) for budget in budgets]

    assert thresholds == sorted(thresholds)
    assert thresholds[0] == 0.0
    assert stage.threshold(1 / 80.9) == pytest.approx(5, abs=2 / 128)  # 1 / 81 is the smallest tail there is
    assert stage.threshold(1 / 82) == GREATEST_SCORE


def slow_psi(reference, newest):
    """By the definition, over the reference's deciles as Calibrate groups them: runs of bins of 1/32."""
    p_bins, q_bins = (np.bincount(np.floor(each * 32).astype(int), minlength=1280) for each in (reference, newest))
    cumulated = np.cumsum(p_bins)
    group = np.zeros(1280, int)
    for b in range(1, 1280):
        group[b] = min(9, math.floor(10 * cumulated[b - 1] / len(reference)))
    kept = np.unique(group, return_inverse=True)[1]
    p, q = (np.bincount(kept, weights=bins) + 0.5 for bins in (p_bins, q_bins))
    p, q = p / p.sum(), q / q.sum()
    return ((q - p) * np.log(q / p)).sum()


def test_the_drift_is_the_population_stability_index_of_the_last_two_windows():
    rng = np.random.default_rng(8)
    first, second, third = (rng.exponential(scale, 150) for scale in (1.0, 1.0, 1.6))
    stage = Calibrate(SMALL, "")

    stage.process(bare(first))
    assert stage.drift_psi == 0.0
    stage.process(bare(second))
    assert stage.drift_psi == pytest.approx(slow_psi(first, second), rel=1e-9)
    stage.process(bare(third[:149]))
    assert stage.drift_psi == pytest.approx(slow_psi(first, second), rel=1e-9)
    stage.process(bare(third[149:]))
    assert stage.drift_psi == pytest.approx(slow_psi(second, third), rel=1e-9)


def test_drift_is_small_on_one_distribution_and_large_after_a_shift():
    # The usual reading of the index: below 0.1 stable, above 0.25 shifted.
    rng = np.random.default_rng(8)
    stage = Calibrate(CalibrateConfig(), "")
    stage.process(bare(rng.exponential(1.0, 20_000)))
    assert stage.drift_psi < 0.01
    stage.process(bare(rng.exponential(1.0, 10_000) + 1))
    assert stage.drift_psi > 0.25


def test_drift_of_scores_that_are_all_equal_is_none():
    stage = Calibrate(SMALL, "")
    stage.process(bare(np.full(400, 3.0)))

    assert stage.drift_psi == 0.0


def test_a_nan_score_has_no_tail_and_reaches_no_state():
    stage, other = Calibrate(SMALL, ""), Calibrate(SMALL, "")
    score = np.random.default_rng(1).exponential(1.0, 300)
    with_nan = np.insert(score, [0, 7, 299], np.nan)

    tail, expected = stage.process(bare(with_nan)).tail, other.process(bare(score)).tail

    assert np.isnan(tail[np.isnan(with_nan)]).all()
    assert np.array_equal(tail[~np.isnan(with_nan)], expected, equal_nan=True)
    states = [stage.dump(), other.dump()]
    for state in states:
        # The other's clock stands at another event.
        state["block.tally"] = state["block.tally"][:NEWEST_MS]
        state["score.clock"] = state["score.clock"][:FREE_UNTIL_MS]
    one, two = ({name: np.asarray(value).tobytes() for name, value in state.items()} for state in states)
    laws.same(two, one, "state without NaN")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cuts_do_not_matter(seed):
    laws.does_not_care_about_cuts(make(), full(seed, 700), random_cuts(seed, 0, 700, 20))


def test_a_snapshot_at_any_time_changes_nothing():
    laws.survives_a_snapshot(make(), evenly(full(9, 700), 35), at=range(1, 20))


def test_the_input_and_earlier_answers_are_left_alone():
    laws.leaves_its_input_alone(make(), evenly(full(10, 400), 50))


def test_two_runs_are_equal():
    laws.repeats_itself(make(), evenly(full(11, 400), 100))


def test_flagged_events_teach_nothing():
    before, after = cut(full(12, 600), [400])
    laws.learns_nothing_from(make(), [before], full(13, 80, flags=LATE), [after])


def test_busy_users_are_counted_though_they_may_not_teach():
    """A budget is a share of all events: with half of them barred from teaching, it holds all the same."""
    rng = np.random.default_rng(8)
    score = np.where(np.arange(60_000) % 2, rng.exponential(1.0, 60_000), 6 + rng.exponential(1.0, 60_000))
    batch = bare(score)
    batch.featured.teach[score > 6] = False

    tail = Calibrate(NO_DECAY, "").process(batch).tail

    assert (tail[10_000:] <= 0.05).mean() == pytest.approx(0.05, rel=0.1)


def test_an_event_is_ranked_before_it_is_counted():
    score = np.random.default_rng(14).exponential(1.0, 240)
    tail = Calibrate(SMALL, "").process(bare(score)).tail
    # Every row: what a score changes shows at once only where it completes a table. A flag is what keeps it out.
    for row in range(240):
        flags = np.zeros(240, np.uint8)
        flags[row] = LATE
        kept_out = Calibrate(SMALL, "").process(bare(score, flags)).tail
        assert np.array_equal(kept_out[: row + 1], tail[: row + 1], equal_nan=True)


def test_a_dump_with_too_many_bins_is_refused():
    stage = Calibrate(SMALL, "")
    with pytest.raises(ValueError, match=r"expected at most 1280 bins, got shape \(1281,\) - at drift.newest"):
        stage.load(stage.dump() | {"drift.newest": np.zeros(1281, np.int32)})


def test_the_fingerprint_follows_configuration_and_upstream():
    fingerprints = {
        Calibrate(SMALL, "a").fingerprint,
        Calibrate(SMALL, "b").fingerprint,
        Calibrate(dataclasses.replace(SMALL, refresh=21), "a").fingerprint,
    }
    assert len(fingerprints) == 3
    assert Calibrate(SMALL, "a", {"medium": 0.1}).fingerprint == Calibrate(SMALL, "a").fingerprint


def test_thresholds_and_drift_are_measured():
    stage = Calibrate(NO_DECAY, "", {"medium": 0.25, "high": 1e-9})
    stage.process(bare(np.repeat([0.0, 1.0, 2.0, 3.0], 20)))

    # At 3 the tail is 21/81 = 0.259, above the budget of 0.25; above 3 it is 1/81.
    found = list(stage.measurements())
    assert found[:2] == [
        Measurement("tidegate_threshold_score", 3 + 1 / 128, {"tier": "medium"}),
        Measurement("tidegate_threshold_score", 40.0, {"tier": "high"}),
    ]
    assert [(each.metric, each.value) for each in found[2:]] == [
        ("tidegate_threshold_shift_nats", pytest.approx(0.0, abs=1e-9)),
        ("tidegate_threshold_rise_limited", 0.0),
        ("tidegate_teaching_held", 0.0),
        ("tidegate_rate_out_of_control", 0.0),
        ("tidegate_score_drift_psi", 0.0),
        ("tidegate_score_drifts_total", 0.0),
        ("tidegate_feature_drift_psi", 0.0),
        ("tidegate_features_shifted", 0.0),
    ]


@pytest.mark.parametrize(("field", "value"), [("half_life", 999), ("refresh", 0), ("warm_up", 1)])
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(CalibrateConfig).validate_python({field: value})


BUDGETS = {"medium": 0.1, "high": 0.001}


def told(score, *, config=SMALL, review=None, cuts=(), budgets=BUDGETS):
    """Return the changes that scores lead to, as (offset, kind, detail)."""
    stage = Calibrate(config, "", budgets, review)
    batch = bare(score)
    pieces = [part for part in np.split(np.arange(len(score)), list(cuts)) if len(part)]
    answers = []
    for rows in pieces:
        piece = bare(batch.score[rows])
        offsets = dataclasses.replace(piece.featured.decoded, offsets=rows, time_ms=rows * 10)
        featured = dataclasses.replace(piece.featured, decoded=offsets)
        answers += stage.process(dataclasses.replace(piece, featured=featured)).changes
    return [(each.offset, each.kind, each.detail) for each in answers]


def test_the_first_table_is_told_with_the_event_that_completes_it():
    # Warm after 60 scores, which are 0, 5/199, 10/199 ... Within 0.1 of 61 are 6.1: the five highest and one for the
    # score itself. So the threshold is the bin after that of the sixth highest, 5 * 54 / 199 = 1.3568: 174 / 128.
    (change,) = told(np.linspace(0, 5, 200), config=NO_DECAY)

    at, kind, detail = change
    assert (at, kind, detail["event"], detail["high"]) == (59, "threshold", "ready", None)
    assert detail["medium"] == 174 / 128


def test_no_score_is_no_change():
    assert told(np.full(500, np.nan)) == []


def test_thresholds_that_stay_are_told_once():
    score = np.random.default_rng(3).exponential(1.0, 30_000)
    config = CalibrateConfig(half_life=10_000, refresh=20, warmup=1000, drift_window=1000, **STILL)

    kinds = [kind for _, kind, _ in told(score, config=config, budgets={"medium": 0.1})]

    assert kinds == ["threshold"]


def test_a_threshold_that_moves_by_more_than_the_factor_is_told_with_what_it_was():
    # All scores rise by one nat, a factor of e > 2: with a half-life of 1,000 the threshold of 0.1 follows soon.
    rng = np.random.default_rng(3)
    score = np.concatenate([rng.exponential(1.0, 3000), 1 + rng.exponential(1.0, 5000)])
    config = CalibrateConfig(half_life=1000, refresh=20, warmup=1000, drift_window=1000, **STILL)
    found = told(score, config=config, budgets={"medium": 0.1})
    ready, *moved = (each for each in found if each[2]["event"] in ("ready", "moved"))

    # -ln(0.1) = 2.3 before; it is told once it is more than ln 2 = 0.69 higher, and not before 3,000.
    assert ready[2]["medium"] == pytest.approx(2.3, abs=0.25)
    assert [detail["event"] for _, _, detail in moved] == ["moved"]
    assert moved[0][0] >= 3999
    assert moved[0][2]["medium_before"] == ready[2]["medium"]
    assert moved[0][2]["medium"] - ready[2]["medium"] > math.log(2)


def shifted(levels, window=150):
    """Scores of one shape, at another level in each window."""
    rng = np.random.default_rng(6)
    return np.concatenate([rng.exponential(1.0, window) + level for level in levels])


def test_drift_is_told_when_it_begins_and_when_it_has_ended():
    # The third window differs from the second, and no other from the one before it. Without a shift the index of ten
    # groups is about 2 * 9 / 1000.
    config = dataclasses.replace(SMALL, drift_window=1000)
    changes = told(shifted([0, 0, 3, 3, 3], 1000), config=config)
    drift = [(at, each["event"], each["limit"]) for at, kind, each in changes if kind == "drift" and "psi" in each]

    assert drift == [(2999, "began", 0.25), (3999, "ended", 0.1)]


def test_an_index_between_the_limits_is_not_told_again():
    indices = [0.3, 0.2, 0.3, 0.2, 0.3, 0.05, 0.2, 0.3]  # began, ..., ended, then began again

    review = Review(ReviewConfig(), {}, [])
    found = [detail["event"] for psi in indices for detail in review.scores(psi)]

    assert found == ["began", "ended", "began"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_changes_do_not_depend_on_cuts(seed):
    score = shifted([0, 0, 3, 3, 0, 0, 1, 1])
    whole = told(score)

    assert {kind for _, kind, _ in whole} == {"threshold", "drift"}
    assert told(score, cuts=random_cuts(seed, 0, len(score), 30)) == whole
    assert told(score, cuts=range(len(score))) == whole


def test_what_is_told_is_no_part_of_the_fingerprint():
    assert Calibrate(SMALL, "a", None, ReviewConfig(drift_limit=9.0)).fingerprint == Calibrate(SMALL, "a").fingerprint
