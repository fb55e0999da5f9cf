"""The whole estimate on simulated experiments: what is planted is found, and what is not there is not."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from uplift_worlds import World

from training.uplift.deciles import Decile, by_decile, calibration
from training.uplift.effects import Effect
from training.uplift.estimate import FEWEST, Inestimable, estimate
from training.uplift.figure import deciles_figure, deciles_image
from training.uplift.learner import Settings

QUICK = Settings(trees=30)


@pytest.fixture(scope="module")
def world():
    return World(11, 5_000)


@pytest.fixture(scope="module")
def found(world):
    return estimate(*world.parts())


def test_a_planted_effect_is_ranked_far_better_than_by_chance(found):
    assert found.areas.qini_perfect_normalised > 3 * found.areas.qini_chance_95 > 0
    assert found.areas.qini_chance_p == pytest.approx(1 / 201)


def test_the_first_decile_gains_more_than_the_last_and_the_attribute_behind_it_comes_first(found):
    assert found.calibration.spread_lower > 1.0  # the truth: at most 0.7 sqrt(12) 0.9 = 2.2 between the ends' means
    assert found.importance[0][0] in {"a", "b", "c"}
    assert dict(found.importance)["d"] < 0.1


def test_predictions_that_shrink_nothing_are_calibrated(found):
    assert 0.7 < found.calibration.slope < 1.2


def test_the_effect_of_all_units_is_the_difference_in_means(world, found):
    assert found.effect.value == pytest.approx(
        world.outcome[world.treated].mean() - world.outcome[~world.treated].mean()
    )
    assert found.effect.lower < world.effect.mean() < found.effect.upper


@pytest.mark.slow
def test_without_differences_the_qini_is_that_of_chance_as_often_as_it_should():
    """Effects the same for all: p <= 0.1 in about a tenth of 60 experiments; 13 or more has probability 0.6 %."""
    found = [estimate(*World(seed, 1_000, strength=0.0).parts(), QUICK).areas for seed in range(60)]

    assert sum(one.qini_chance_p <= 0.1 for one in found) <= 12
    mean = np.mean([one.qini_perfect_normalised for one in found])
    assert abs(mean) < 3 * np.std([one.qini_perfect_normalised for one in found]) / math.sqrt(60)


@pytest.mark.slow
def test_intervals_of_deciles_hold_the_truth_at_their_level():
    """40 experiments of ten deciles at 90 %: 400 intervals, of which 360 +- 3 x 6 hold the deciles' true effects."""
    held = 0
    for seed in range(40):
        world = World(100 + seed, 2_000)
        result = estimate(*world.parts(), QUICK, alpha=0.1)
        # The same deciles, of the truth: each unit's own effect for a treated one, nothing for a control.
        truth = true_effects(world, result)
        held += sum(
            one.effect.lower <= each <= one.effect.upper for one, each in zip(result.deciles, truth, strict=True)
        )

    assert 342 <= held <= 378


@pytest.mark.parametrize("seed", range(3))
def test_models_that_tell_nobody_apart_rank_nobody_by_the_level_of_his_fold(seed):
    """Leaves larger than half an arm: each model says its mean. Ranked over folds, a Qini of -0.06 on average."""
    found = estimate(*World(seed, 400, strength=0.0).parts(), Settings(trees=1, leaf_units=150))

    assert found.areas.qini_perfect_normalised == 0.0


def true_effects(world, result):
    """Mean true effect in each decile, cut by brute force: sort each fold, highest first, and cut it in ten."""
    number = np.empty(len(world.code), int)
    for fold in range(result.settings.folds):
        held = np.flatnonzero(result.predicted.fold == fold)
        order = held[np.argsort(-result.predicted.uplift[held], kind="stable")]
        number[order] = 10 * (np.arange(len(order)) + 0.5) // len(order)
    return [world.effect[number == decile].mean() for decile in range(10)]


def test_the_order_of_units_changes_nothing(world, found):
    turn = np.random.default_rng(2).permutation(len(world.code))
    again = estimate([world.attributes[at] for at in turn], world.outcome[turn], world.treated[turn], world.code[turn])

    assert again[:-1] == found[:-1]
    assert np.array_equal(again.predicted.uplift, found.predicted.uplift[turn])


def test_an_arm_that_is_nearly_empty_is_refused(world):
    treated = np.arange(5_000) < FEWEST - 1

    with pytest.raises(Inestimable, match="expected at least 100 treated units, got 99"):
        estimate(world.attributes, world.outcome, treated, world.code)
    with pytest.raises(Inestimable, match="expected at least 100 controls, got 99"):
        estimate(world.attributes, world.outcome, ~treated, world.code)


def test_an_outcome_that_is_the_same_for_all_is_refused(world):
    with pytest.raises(Inestimable, match="expected outcomes that differ, got 2 for all 5,000 units"):
        estimate(world.attributes, np.full(5_000, 2.0), world.treated, world.code)


@pytest.mark.parametrize("huge", [1e31, -math.inf, math.nan])
def test_an_outcome_that_no_model_can_take_is_refused(world, huge):
    outcome = world.outcome.copy()
    outcome[3] = huge

    with pytest.raises(Inestimable, match=r"expected outcomes of size 1e\+30 at most, got others"):
        estimate(world.attributes, outcome, world.treated, world.code)


def test_work_is_told_to_its_end(world):
    told = []
    estimate(*world.parts(), Settings(trees=2), told=lambda done, of: told.append((done, of)))

    assert told[-1][0] == told[-1][1]
    assert sorted(told) == told


def test_deciles_are_tenths_with_the_highest_rank_first():
    rank = (np.arange(100) + 0.5) / 100
    outcome = np.repeat(np.arange(10.0), 10)
    treated = np.arange(100) % 2 == 0
    found = by_decile(outcome + treated, treated, rank, 10 * rank)

    assert [one.control_mean for one in found] == list(range(9, -1, -1))
    assert [(one.effect.value, one.effect.treated, one.effect.control) for one in found] == [(1.0, 5, 5)] * 10
    assert [one.predicted for one in found] == pytest.approx([9.5 - at for at in range(10)])


def deciles_of(effects, predicted, error=0.5):
    return tuple(
        Decile(at + 1, Effect(effect, error, effect - 1, effect + 1, 10, 10), 0.0, said)
        for at, (effect, said) in enumerate(zip(effects, predicted, strict=True))
    )


def test_the_slope_is_that_of_effects_over_predictions():
    # Effects 2 + 0.5 x predicted, predicted 9 to 0: error of the slope 0.5 / sqrt(82.5), spread 4.5.
    found = calibration(deciles_of([2 + 0.5 * (9 - at) for at in range(10)], range(9, -1, -1)))

    assert found.slope == pytest.approx(0.5)
    assert found.upper - found.slope == pytest.approx(1.959964 * 0.5 / math.sqrt(82.5))
    assert (found.spread, found.falling) == (4.5, True)
    assert found.spread - found.spread_lower == pytest.approx(1.959964 * 0.5 * math.sqrt(2))


def test_one_decile_that_rises_is_seen():
    assert not calibration(deciles_of([9, 8, 7, 6, 5, 4, 3, 2, 0, 1], range(9, -1, -1))).falling


def test_predictions_that_do_not_differ_have_no_slope():
    assert math.isnan(calibration(deciles_of(range(10), [1.0] * 10)).slope)


def test_without_an_error_in_every_decile_there_is_no_calibration():
    assert calibration(deciles_of(range(10), range(10), math.nan)) is None


def test_the_figure_shows_every_decile_with_its_interval(found):
    drawn = deciles_figure(found)

    for one in found.deciles:
        said = f"decile {one.number}: {one.effect.value:.4g}, {one.effect.lower:.4g} to {one.effect.upper:.4g}"
        assert drawn.count(f"<title>{said}</title>") == 2  # the whisker and the mark
    assert drawn.count("<path") == 2 * 10 + 3


def test_a_decile_without_an_effect_is_left_out_of_the_figure(found):
    gone = found.deciles[3]._replace(effect=Effect(math.nan, math.nan, math.nan, math.nan, 0, 3))
    drawn = deciles_figure(found._replace(deciles=(*found.deciles[:3], gone, *found.deciles[4:])))

    assert "decile 4:" not in drawn
    assert "nan" not in drawn


def test_the_image_is_an_svg_file_of_its_own(found):
    root = ET.fromstring(deciles_image(found))

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--ours" in root.find("{http://www.w3.org/2000/svg}style").text
