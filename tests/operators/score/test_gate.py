"""The gate: a burst teaches nothing, a true change is learnt in the stated time, and no gate stays closed for ever."""

import numpy as np
import pytest

from operators.score.forest import Forest
from operators.score.gate import BEGAN, DISCARDED, LEAK, LEARNED, MARKS, GateConfig

NAMES = ["a", "b", "c"]
WINDOW = 200
GATE = GateConfig(share=0.02, drift_share=0.25, relearn_windows=3, relearn_users=30)


def forest(gate=GATE, half_life=100_000):
    return Forest(NAMES, trees=15, height=6, window=WINDOW, gate=gate, half_life=half_life, refresh=50)


def crowd(seed, n, around=0.3):
    return np.clip(np.random.default_rng(seed).normal(around, 0.04, (n, 3)), 0, 1)


def users(n, of=500, seed=1):
    return np.random.default_rng(seed).integers(0, 2**63, of, dtype=np.uint64)[np.arange(n) % of]


def feed(one, rows, user):
    return one.score_then_learn(rows, np.ones(len(rows), bool), user)


def settled(gate=GATE, **more):
    one = forest(gate, **more)
    feed(one, crowd(1, 6000), users(6000))
    return one


def test_a_burst_cannot_teach_itself_normal():
    # 2,000 events of five users, ten windows of the forest: the last look as strange as the first.
    burst, by = crowd(2, 2000, around=0.8), users(2000, of=5)
    scores = feed(settled(), burst, by).score

    assert scores[-200:].mean() > scores[:200].mean() - 0.02
    # Without the gate the same burst is usual after a few windows.
    ungated = feed(settled(GateConfig(share=0.0)), burst, by).score
    assert ungated[-200:].mean() < ungated[:200].mean() - 0.3


def test_few_users_do_not_make_a_shadow_forest_take_over():
    one = settled()
    answer = feed(one, crowd(2, 3000, around=0.8), users(3000, of=29))

    assert (LEARNED in answer.turn, one.relearned, one.drifting) == (False, 0, True)


def test_a_change_among_many_users_is_learnt_within_the_stated_time():
    one = settled()
    answer = feed(one, crowd(2, 1500, around=0.8), users(1500))
    (learned,) = np.flatnonzero(answer.turn == LEARNED)

    # From a share of about 0.02 to 0.25 with a span of 50: -ln(0.75 / 0.98) * 50 = 13 events, then 3 windows of 200.
    assert 3 * WINDOW <= learned <= 3 * WINDOW + 20
    assert answer.score[learned + 1 :].mean() < answer.score[:learned].mean() - 0.3
    assert answer.learn[learned + 1 :].mean() > 0.9
    assert not one.drifting


def test_a_shadow_is_thrown_away_when_the_burst_ends():
    one = settled()
    answer = feed(one, np.vstack([crowd(2, 300, around=0.8), crowd(3, 600)]), users(900))

    assert answer.turn[answer.turn != 0].tolist() == [BEGAN, DISCARDED]
    assert (one.relearned, int(one.gate.shadow.sum()), int(one.gate.marks.sum())) == (0, 0, 0)


def test_the_gate_opens_by_its_leak_even_if_a_single_user_is_all_there_is():
    # About 5,800 scores are ranked: held ones reach a share of 0.02 after n / LEAK events, give or take a table.
    one = settled()
    answer = feed(one, crowd(2, 6000, around=0.8), users(6000, of=1))
    opened = int(np.flatnonzero(answer.learn)[0])

    assert 0.7 * 5800 / LEAK < opened < 1.3 * 5800 / LEAK
    assert answer.learn[-500:].mean() > 0.9


def test_few_of_usual_events_are_held():
    # P(tail <= 0.02) <= 0.02 for exchangeable scores; 4,000 events, 5 standard deviations of a binomial: 0.011.
    answer = feed(settled(), crowd(5, 4000), users(4000))

    assert 0.0 < 1 - answer.learn.mean() < 0.02 + 0.011


def test_the_held_are_counted_and_do_not_change_the_masses():
    one = settled()
    before = one.present.sum()
    answer = feed(one, crowd(2, 150, around=0.8), users(150))

    assert one.present.sum() - before == 15 * int(answer.learn.sum())
    assert one.held >= int((~answer.learn).sum()) > 140


def test_marks_never_outnumber_users():
    one = settled(GateConfig(share=0.02, relearn_users=MARKS // 2))
    feed(one, crowd(2, 1000, around=0.8), users(1000, of=7))

    assert int(one.gate.marks.sum()) <= 7


@pytest.mark.parametrize("at", [3, 250, 500, 640, 660])
def test_a_snapshot_during_a_drift_goes_on_as_if_nothing_had_happened(at):
    rows, by = crowd(2, 1000, around=0.8), users(1000)
    through, one, fresh = settled(), settled(), forest()
    expected = feed(through, rows, by)
    feed(one, rows[:at], by[:at])
    fresh.load(one.dump())
    got = feed(fresh, rows[at:], by[at:])

    for whole, part in zip(expected, got, strict=True):
        assert np.array_equal(whole[at:], part)


def test_a_dump_of_other_trees_is_refused():
    one = settled()
    feed(one, crowd(2, 300, around=0.8), users(300))
    dump = one.dump() | {"gate.shadow": np.zeros((15, 8), np.int32)}

    with pytest.raises(ValueError, match=r"expected shape \(15, 64\), got \(15, 8\) - at gate.shadow"):
        forest().load(dump)
