"""The score stage as a whole: the rule that joins forest and evidence, warming, and the laws."""

import dataclasses
import math

import laws
import numpy as np
import pytest
from cutting import cut, evenly, random_cuts
from pydantic import TypeAdapter, ValidationError
from streams import decoded, habits

from operators.batches import AHEAD, DUPLICATE, LATE, Featured
from operators.featurize.catalogue import catalogue
from operators.score import Score, ScoreConfig
from operators.score.stage import EVIDENCE_BINS_PER_NAT, FOREST_BINS
from operators.state import Measurement

CATALOGUE = catalogue((60, 3600))
SMALL = ScoreConfig(trees=7, height=5, window=60, half_life=1000, refresh=25, warmup=80)


def make(config=SMALL):
    return lambda: Score(config, CATALOGUE)


def featured(seed, n, *, flags=0, first=0):
    rng = np.random.default_rng(seed)
    features = rng.beta(2, 6, (n, len(CATALOGUE)))
    features[::29] = rng.random((len(features[::29]), len(CATALOGUE)))
    teach = (rng.random(n) < 0.9) & (flags == 0)
    return Featured(decoded(habits(seed, n), first=first), features * 9, features, np.full(n, flags, np.uint8), teach)


def test_the_score_follows_its_rule_at_every_event():
    config = dataclasses.replace(SMALL, forest_weight=0.3, half_life=10**9)
    batch = featured(1, 900)
    batch.flags[::11] = DUPLICATE  # not ranked
    batch.teach[::11] = False
    scored = Score(config, CATALOGUE).process(batch)

    past, made, checked = [], [], 0
    for forest, evidence, score, flags in zip(
        scored.forest, scored.evidence, scored.score, scored.featured.flags, strict=True
    ):
        if math.isnan(forest) or math.isnan(evidence):
            assert math.isnan(score)
            continue
        place = (min(math.floor(forest * FOREST_BINS), FOREST_BINS - 1), math.floor(evidence * EVIDENCE_BINS_PER_NAT))
        if made:
            p_forest, p_evidence = ((sum(other[k] >= place[k] for other in made) + 1) / (len(made) + 1) for k in (0, 1))
            assert score == pytest.approx(-math.log(1 / (0.3 / p_forest + 0.7 / p_evidence)), abs=1e-4)
            checked += 1
        else:
            assert math.isnan(score)
        if flags == 0:
            past.append(place)
            if len(past) % config.refresh == 0:
                made = list(past)
    assert checked > 600


def test_either_alarm_alone_raises_the_score():
    # Harmonic mean: with p = 1e-3 for one and 1 for the other, 1/p = (1000 + 1) / 2.
    stage = Score(SMALL, CATALOGUE)
    stage.process(featured(1, 900))
    for a, b in ((0, 1), (1, 0)):
        for sketch, tail in ((stage._forest_sketch, (1e-3, 1.0)[a]), (stage._evidence_sketch, (1e-3, 1.0)[b])):
            sketch.tails[:] = tail
        score = stage._combine(np.array([0.5]), np.array([3.0]), np.array([False]))
        assert score[0] == pytest.approx(math.log(1001 / 2), rel=1e-12)


def test_nothing_is_scored_before_every_part_is_warm():
    batch = featured(3, 400)
    batch = dataclasses.replace(batch, teach=np.ones(400, bool))
    scored = Score(SMALL, CATALOGUE).process(batch)

    # Forest: one window of 60. Evidence: 80 rounded up to 100. The ranks: one refresh of 25 more.
    assert int(np.isnan(scored.forest).sum()) == 60
    assert int(np.isnan(scored.evidence).sum()) == 100
    assert np.isnan(scored.feature_tail).any(axis=1).sum() == 100
    assert np.isnan(scored.score).tolist() == [True] * 125 + [False] * 275


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

    assert (scored.feature_tail[0, one_sided] == 1.0).all()


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


def test_an_event_is_scored_before_it_is_ranked():
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
        Score(dataclasses.replace(SMALL, forest_weight=0.4), CATALOGUE).fingerprint,
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
    assert list(stage.measurements()) == [Measurement("tidegate_forest_warm", 0.0)]
    stage.process(second)
    assert list(stage.measurements()) == [Measurement("tidegate_forest_warm", 1.0)]


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
