"""The score stage as a whole: the rule that joins forest and evidence, warming, and the laws."""

import dataclasses
import math

import laws
import numpy as np
import pytest
from cutting import cut, evenly, random_cuts, select
from pydantic import TypeAdapter, ValidationError
from streams import decoded, habits

from operators.batches import AHEAD, DUPLICATE, LATE, Featured
from operators.featurize.catalogue import catalogue
from operators.score import Score, ScoreConfig
from operators.score.combine import Combination
from operators.state import Measurement

CATALOGUE = catalogue((60, 3600))
SMALL = ScoreConfig(
    trees=7, height=5, window=60, half_life=1000, refresh=25, warmup=80, gate_share=0.05, relearn_users=3
)


def make(config=SMALL):
    return lambda: Score(config, CATALOGUE)


def featured(seed, n, *, flags=0, first=0):
    rng = np.random.default_rng(seed)
    features = rng.beta(2, 6, (n, len(CATALOGUE)))
    features[::29] = rng.random((len(features[::29]), len(CATALOGUE)))
    teach = (rng.random(n) < 0.9) & (flags == 0)
    return Featured(decoded(habits(seed, n), first=first), features * 9, features, np.full(n, flags, np.uint8), teach)


def test_the_score_follows_its_rule_at_every_event():
    config = dataclasses.replace(SMALL, forest_weight=0.3)
    scored = Score(config, CATALOGUE).process(featured(1, 900))

    families = len({one.family for one in CATALOGUE})
    # A window of 60 in one of 2^5 leaves is the densest there can be.
    expected = 0.3 * scored.forest * math.log(60 * 32 + 1) + 0.7 * scored.evidence / families
    assert scored.score[200:] == pytest.approx(expected[200:], rel=1e-12)


def test_rivers_score_joins_by_the_logarithm_of_its_walks():
    # Half of the greatest walk, window * (2^(height + 1) - 1) = 10 * 15: ln(151) - ln(76), and weight 1.
    score = Combination(1, 10, 3, "river", 1.0).join(np.array([0.5, 1.0, 0.0]), np.zeros(3))

    assert score == pytest.approx([math.log(151 / 76), math.log(151), 0.0], abs=1e-12)


def test_a_flagged_events_score_is_that_of_the_models_alone():
    # No ranks of what happened enter a score: an event twice as frequent scores the same until something learns it.
    batch = featured(1, 900)
    batch.flags[::11] = DUPLICATE
    batch.teach[::11] = False
    scored = Score(SMALL, CATALOGUE).process(batch)
    kept = np.arange(900) % 11 != 0
    others = Score(SMALL, CATALOGUE).process(select(batch, kept))

    assert np.array_equal(scored.score[kept], others.score, equal_nan=True)


def test_nothing_is_scored_before_every_part_is_warm():
    batch = featured(3, 400)
    batch = dataclasses.replace(batch, teach=np.ones(400, bool))
    scored = Score(dataclasses.replace(SMALL, gate_share=0.0), CATALOGUE).process(batch)

    # Forest: one window of 60. Evidence: 80 rounded up to 100.
    assert int(np.isnan(scored.forest).sum()) == 60
    assert int(np.isnan(scored.evidence).sum()) == 100
    assert np.isnan(scored.feature_tail).any(axis=1).sum() == 100
    assert np.isnan(scored.score).tolist() == [True] * 100 + [False] * 300


@pytest.mark.parametrize("statistic", ["log_mass", "river"])
def test_a_risky_burst_scores_above_almost_everything_else(statistic):
    stage = Score(dataclasses.replace(SMALL, statistic=statistic), CATALOGUE)
    usual = featured(4, 3000)
    scored = stage.process(usual)
    burst = featured(5, 1, first=3000)
    risky = [0.05 if one.direction == "down" else 0.98 for one in CATALOGUE]
    burst = dataclasses.replace(burst, features=np.array([risky]))

    score = stage.process(burst).score[0]

    assert (scored.score[1000:] >= score).mean() < 0.01
    assert np.unique(scored.forest[1000:]).size > 100
    assert np.unique(scored.score[1000:]).size > 100


def test_safe_extremes_bring_no_evidence():
    stage = Score(SMALL, CATALOGUE)
    stage.process(featured(4, 3000))
    calm = dataclasses.replace(
        featured(5, 1, first=3000),
        features=np.array(
            [[1.0 if one.direction == "down" else 0.5 if one.direction == "both" else 0.0 for one in CATALOGUE]]
        ),
    )
    scored = stage.process(calm)
    one_sided = np.array([one.direction != "both" for one in CATALOGUE])

    # Counts that decayed, summed downwards, may miss their sum upwards in the last bit.
    assert scored.feature_tail[0, one_sided] == pytest.approx(1.0, abs=1e-12)


def test_a_feature_that_is_not_a_number_is_not_scored_and_reaches_no_state():
    stage, other = Score(SMALL, CATALOGUE), Score(SMALL, CATALOGUE)
    batch = featured(6, 500)
    stage.process(batch)
    other.process(batch)
    broken = featured(7, 3, first=500)
    broken.features[1, 4] = math.nan

    scored = stage.process(broken)

    assert np.isnan(scored.score).tolist() == [False, True, False]
    assert np.isnan(scored.feature_tail).all(axis=1).tolist() == [False, True, False]
    expected = cut(broken, [501, 502])
    other.process(expected[0])
    other.process(expected[2])
    laws.same(
        {name: np.asarray(value).tobytes() for name, value in other.dump().items()},
        {name: np.asarray(value).tobytes() for name, value in stage.dump().items()},
        "state without the broken event",
    )
    assert all(np.isfinite(np.asarray(value)).all() for value in stage.dump().values())


@pytest.mark.parametrize("config", [SMALL, dataclasses.replace(SMALL, statistic="river")])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cuts_do_not_matter(config, seed):
    laws.does_not_care_about_cuts(make(config), featured(seed, 700), random_cuts(seed, 0, 700, 20))


def test_batches_of_one_event_give_the_same():
    laws.does_not_care_about_cuts(make(), featured(8, 300), range(300))


def test_a_snapshot_at_any_time_changes_nothing():
    laws.survives_a_snapshot(make(), evenly(featured(9, 700), 35), at=range(1, 20))


def test_the_input_and_earlier_answers_are_left_alone():
    laws.leaves_its_input_alone(make(), evenly(featured(10, 400), 50))


def test_two_runs_are_equal():
    laws.repeats_itself(make(), evenly(featured(11, 400), 100))


@pytest.mark.parametrize("flag", [LATE, DUPLICATE, AHEAD])
def test_flagged_events_teach_nothing(flag):
    before, after = cut(featured(12, 600), [400])
    laws.learns_nothing_from(make(), [before], featured(13, 80, flags=flag), [after])


def test_an_event_is_scored_before_it_is_learnt():
    batch = featured(14, 320)
    # Every row: what an event teaches shows at once only where it completes a window or a table.
    for row in range(320):
        laws.scores_before_it_learns(make(), batch, row)


def test_an_event_is_scored_before_it_is_counted():
    batch = featured(14, 320)
    score = Score(SMALL, CATALOGUE).process(batch).score
    # A flag keeps an event out of the ranks as well.
    for row in range(100, 320):
        flags, teach = batch.flags.copy(), batch.teach.copy()
        flags[row], teach[row] = LATE, False
        kept_out = Score(SMALL, CATALOGUE).process(dataclasses.replace(batch, flags=flags, teach=teach)).score
        assert np.array_equal(kept_out[: row + 1], score[: row + 1], equal_nan=True)


def test_no_answer_looks_ahead():
    batch = featured(15, 500)
    features = batch.features.copy()
    features[301:] = 1 - features[301:]
    laws.does_not_look_ahead(make(), batch, dataclasses.replace(batch, features=features), 300)


def test_an_empty_batch_is_answered():
    scored = Score(SMALL, CATALOGUE).process(featured(1, 0))

    assert [scored.score.shape, scored.feature_tail.shape] == [(0,), (0, len(CATALOGUE))]


def test_the_fingerprint_follows_configuration_and_catalogue():
    fingerprints = {
        Score(SMALL, CATALOGUE).fingerprint,
        Score(dataclasses.replace(SMALL, seed=2), CATALOGUE).fingerprint,
        Score(dataclasses.replace(SMALL, forest_weight=0.3), CATALOGUE).fingerprint,
        Score(SMALL, CATALOGUE[:-1]).fingerprint,
        Score(SMALL, (*CATALOGUE[:-1], dataclasses.replace(CATALOGUE[-1], direction="both"))).fingerprint,
    }
    assert len(fingerprints) == 5
    assert Score(SMALL, CATALOGUE).fingerprint == Score(SMALL, catalogue((60, 3600))).fingerprint


def test_the_forest_measures_warm_from_its_first_window_on():
    stage = Score(SMALL, CATALOGUE)
    batch = dataclasses.replace(featured(1, 60), teach=np.ones(60, bool))
    first, second = cut(batch, [59])
    stage.process(first)
    assert Measurement("tidegate_forest_warm", 0.0) in list(stage.measurements())
    stage.process(second)
    assert Measurement("tidegate_forest_warm", 1.0) in list(stage.measurements())


@pytest.mark.parametrize(
    ("field", "value"),
    [("trees", 0), ("height", 16), ("padding", 0.5), ("statistic", "other"), ("forest_weight", 1.1), ("tree", 3)],
)
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(ScoreConfig).validate_python({field: value})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_that_the_models_are_ready_is_told_once_wherever_batches_are_cut(seed):
    batch = featured(4, 400)
    batch.flags[::7] = LATE
    batch.teach[::7] = False
    whole = Score(SMALL, CATALOGUE).process(batch)
    stage = Score(SMALL, CATALOGUE)
    pieces = [stage.process(piece) for piece in cut(batch, random_cuts(seed, 0, 400, 30))]

    (change,) = whole.changes
    first_score = int(np.flatnonzero(~np.isnan(whole.score))[0])
    # With the event that completed the table: the next one has a score.
    assert (change.kind, change.offset, change.time_ms) == (
        "model",
        first_score - 1,
        int(batch.decoded.time_ms[first_score - 1]),
    )
    assert [each for piece in pieces for each in piece.changes] == [change]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_becomes_of_a_shadow_forest_is_told_with_its_event_wherever_batches_are_cut(seed):
    config = dataclasses.replace(SMALL, relearn_windows=1, drift_share=0.3)
    usual, changed = featured(4, 1500), featured(5, 900, first=1500)
    changed.features[:] = 1 - changed.features
    whole = Score(config, CATALOGUE)
    whole.process(usual)
    scored = whole.process(changed)
    stage = Score(config, CATALOGUE)
    stage.process(usual)
    pieces = [stage.process(piece) for piece in cut(changed, random_cuts(seed, 1500, 2400, 30))]

    assert [(one.kind, one.detail["event"]) for one in scored.changes[:2]] == [
        ("model", "relearning"),
        ("model", "relearned"),
    ]
    assert [each for piece in pieces for each in piece.changes] == scored.changes
    assert Measurement("tidegate_forests_relearned_total", 1) in list(whole.measurements())


def test_later_stages_may_learn_from_what_may_teach_and_was_not_held():
    stage = Score(SMALL, CATALOGUE)
    scored = stage.process(featured(4, 1500))
    held = scored.featured.teach & ~scored.learn

    assert not (scored.learn & ~scored.featured.teach).any()
    assert Measurement("tidegate_events_held_total", int(held.sum())) in list(stage.measurements())
    assert held.sum() > 10
    assert scored.forest[held].min() > np.median(scored.forest[200:])
