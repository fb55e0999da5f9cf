"""What labels make of a tail: who is remembered, who teaches what and when, and how good it is."""

import dataclasses
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from label_streams import DAY_MS, batch, replay, side, stream

from operators.calibrate import Calibrate, CalibrateConfig, ProbabilityConfig, quality
from operators.calibrate.probability import Probability
from operators.calibrate.stage import LAYOUT
from operators.calibrate.teaching import OUTCOMES
from operators.fingerprint import fingerprint
from operators.state import pack

DAY_S = 86_400
BUDGET = 0.01
ALL = ProbabilityConfig(enabled=True, unlabelled="ignore", sample_share=1.0, half_life=1000, min_fraud=1, min_labels=2)


class Own:
    """A `Probability` fed with tails directly: blocks of as many events as are given."""

    def __init__(self, config=ALL, block=10):
        self.own = Probability(config, BUDGET, block)
        self.now = 0

    def give(self, hashes, tail=0.001, now_ms=None):
        n = len(hashes)
        self.now = self.now if now_ms is None else now_ms
        given = np.empty(n)
        self.own.reserve(n)
        tails = np.broadcast_to(np.asarray(tail, float), n)
        times = np.full(n, self.now)
        self.own.give(tails, np.ones(n, np.bool_), np.array(hashes, np.uint64), times, 0, n, given)
        return given

    def say(self, hashes, fraud):
        self.own.match(side(hashes, np.broadcast_to(fraud, len(hashes))).labels)

    def close(self, now_ms=None):
        self.now = self.now if now_ms is None else now_ms
        return self.own.close_block(self.now)

    def outcomes(self):
        return {each.labels["outcome"]: each.value for each in self.own.measurements() if "outcome" in each.labels}


def measured(stage):
    return {each.metric: each.value for each in stage.measurements() if not each.labels}


def test_a_label_shows_from_the_next_block_on():
    own = Own()
    own.give([1, 2, 3, 4, 5, 6])
    own.say([1, 2], fraud=True)
    own.say([3, 4, 5, 6], fraud=False)
    assert np.isnan(own.give([7])).all()

    own.close()

    # Two of six, and Platt's targets with F = 2 and L = 4, decayed by a block of 10 of 1000: times 2^-0.01.
    low, high = 1 / (4 * 2**-0.01 + 2), (2 * 2**-0.01 + 1) / (2 * 2**-0.01 + 2)
    assert own.give([8]) == pytest.approx(low + (high - low) / 3)


def test_there_is_no_probability_before_there_are_enough_labels_of_both_kinds():
    own = Own(dataclasses.replace(ALL, min_fraud=2, min_labels=4, half_life=10**9))
    own.give(list(range(1, 9)))
    ready = []
    for hashes, fraud in (([1, 2, 3, 4, 8], True), ([5], False), ([6, 7], False)):
        own.say(hashes, fraud=fraud)
        own.close()
        ready.append(own.own.ready)

    assert ready == [False, False, True]  # 5 + 0, 5 + 1: too few legit; 5 + 3, less a trifle


def test_the_probability_goes_when_labels_have_decayed_to_half_of_what_it_takes():
    own = Own(dataclasses.replace(ALL, min_fraud=2, min_labels=4))
    own.give([1, 2, 3, 4, 5, 6])
    own.say([1, 2, 3], fraud=True)
    own.say([4, 5, 6], fraud=False)
    turned = [block for block in range(1, 200) if own.close()]

    # 3 * 2^(-10 k / 1000) reaches 2 / 2 at k = 158.5, 6 * 2^(...) reaches 4 / 2 there too.
    assert turned == [1, 159]
    assert np.isnan(own.give([7])).all()


def test_each_label_has_its_outcome():
    own = Own(dataclasses.replace(ALL, sample_share=0.5))
    rng = np.random.default_rng(1)
    low = rng.integers(1, 1 << 62, 1000).astype(np.uint64)
    own.give([1, 2], tail=0.001)
    own.give(low, tail=0.5)
    own.say([1, 1, 1, 2], fraud=[True, True, False, False])
    own.say(low, fraud=False)
    sampled = own.outcomes()["matched"] - 2

    assert 440 <= sampled <= 560  # four standard deviations of 500
    assert own.outcomes() == {
        "matched": 2 + sampled, "repeated": 1, "corrected": 1, "unsampled": 1000 - sampled, "unmatched": 0,
    }  # fmt: skip


def test_a_label_of_an_event_that_never_was_changes_nothing_but_a_count():
    own = Own()
    own.give([1, 2, 3, 4])
    before = pack({name: value for name, value in own.own.dump().items() if "outcomes" not in name})
    own.say(list(range(100, 200)), fraud=True)

    assert own.outcomes()["unmatched"] == 100
    assert pack({name: value for name, value in own.own.dump().items() if "outcomes" not in name}) == before


@pytest.mark.parametrize("unlabelled", ["ignore", "legit"])
def test_a_later_label_corrects_as_if_it_had_been_the_first(unlabelled):
    config = dataclasses.replace(ALL, unlabelled=unlabelled, wait_s=1)
    states = []
    for first in (True, False):
        own = Own(config)
        own.give([1, 2, 3, 4], now_ms=0)
        own.say([1], fraud=first)
        own.say([2, 3], fraud=[True, False])
        own.close(now_ms=10_000)
        own.close()
        own.say([1], fraud=False)
        own.close()
        states.append(own.own.dump())

    for name in ("counts", "seen", "sums"):
        assert states[0][f"probability.{name}"] == pytest.approx(states[1][f"probability.{name}"], abs=1e-12)


def test_an_event_teaches_once_it_is_old_enough_what_was_said_by_then():
    own = Own(dataclasses.replace(ALL, unlabelled="legit", wait_s=100, half_life=10**9))
    own.give([1, 2, 3], now_ms=0)
    own.say([1], fraud=True)
    own.close(now_ms=99_999)
    assert own.own.labels == (0, 0)

    own.close(now_ms=100_000)
    assert own.own.labels == pytest.approx((1, 2))

    own.say([2], fraud=True)  # after it had counted as legit
    own.close()
    assert own.own.labels == pytest.approx((2, 1))


def test_an_event_that_must_go_before_it_is_old_enough_teaches_as_it_goes():
    own = Own(dataclasses.replace(ALL, unlabelled="legit", wait_s=100, max_remembered=4, half_life=10**9))
    own.give([1, 2], now_ms=0)
    own.say([1], fraud=True)
    own.give([3, 4, 5])  # the ring for alerts holds two
    own.close()

    assert own.own.labels == pytest.approx((1, 2))
    assert measured(own.own)["tidegate_remembered_unripe_total"] == 3
    assert measured(own.own)["tidegate_remembered_events"] == 2


def test_with_ignore_an_unlabelled_event_says_nothing_however_old():
    own = Own(dataclasses.replace(ALL, wait_s=1))
    own.give([1, 2, 3], now_ms=0)
    own.close(now_ms=10**9)

    assert own.own.labels == (0, 0)


def test_an_event_of_the_sample_counts_for_as_many_as_it_stands_for():
    own = Own(dataclasses.replace(ALL, sample_share=0.25, half_life=10**9))
    hashes = np.random.default_rng(2).integers(1, 1 << 62, 40_000).astype(np.uint64)
    own.give(hashes, tail=0.5)
    own.say(hashes, fraud=False)

    [[legit, fraud]] = [own.own.dump()["probability.counts"].sum(axis=1)]
    assert fraud == 0
    assert legit == pytest.approx(40_000, rel=0.03)  # 10,000 remembered, times 4; a standard deviation is 0.9 %


def test_a_late_event_or_one_without_a_tail_is_not_remembered():
    own = Own()
    given = np.empty(3)
    tail, count = np.array([0.001, np.nan, 0.001]), np.array([True, True, False])
    own.own.give(tail, count, np.array([1, 2, 3], np.uint64), np.zeros(3, np.int64), 0, 3, given)

    assert measured(own.own)["tidegate_remembered_events"] == 1


def test_quality_by_hand():
    """Two bins: 3/4 of fraud, legit; 1/8 of legit, weight 2."""
    sums = np.zeros((quality.BINS, 4))
    for given, fraud, weight in ((0.75, 1.0, 1.0), (0.75, 0.0, 1.0), (0.125, 0.0, 2.0)):
        quality.judge(sums, given, fraud, weight)

    assert quality.brier(sums) == pytest.approx((0.0625 + 0.5625 + 2 * 0.015625) / 4)
    assert quality.expected_calibration_error(sums) == pytest.approx((abs(1.5 - 1.0) + 2 * 0.125) / 4)


@pytest.mark.parametrize(
    ("given", "bin_"), [(1.0, 0), (0.51, 0), (0.5, 1), (0.26, 1), (0.25, 2), (2**-15, 15), (0.0, 15)]
)
def test_the_bins_of_quality_halve(given, bin_):
    assert quality.bin_of(given) == bin_


def test_a_label_is_held_against_the_probability_given_before_it_taught():
    own = Own(dataclasses.replace(ALL, half_life=10**9))
    own.give([1, 2, 3, 4])
    own.say([1, 2], fraud=True)
    own.say([3, 4], fraud=False)
    own.close()
    assert math.isnan(measured(own.own)["tidegate_probability_brier_score"])  # none had been given
    [given] = own.give([5])
    own.say([5], fraud=True)
    own.close()

    assert measured(own.own)["tidegate_probability_brier_score"] == pytest.approx((1 - given) ** 2, rel=1e-6)
    assert measured(own.own)["tidegate_probability_calibration_error"] == pytest.approx(1 - given, rel=1e-6)


def test_without_labels_the_fingerprint_and_the_state_are_what_they_were():
    config = CalibrateConfig()
    off = Calibrate(config, "up", {"medium": 0.02}, None, ["a"], ProbabilityConfig(method="beta"))

    assert off.fingerprint == fingerprint(LAYOUT, "up", features=("a",), **dataclasses.asdict(config))
    assert off.dump().keys() == Calibrate(config, "up", features=["a"]).dump().keys()
    plain = Calibrate(config, "", probability=ProbabilityConfig())
    assert plain.process(batch(stream(1, 100), 0, 100)).probability is None


def test_the_fingerprint_of_labels_covers_their_settings_and_the_budget():
    def of(budget=0.01, **changes):
        own = dataclasses.replace(ProbabilityConfig(enabled=True), **changes)
        return Calibrate(CalibrateConfig(), "", {"medium": budget}, probability=own).fingerprint

    settings = {
        "method": "beta",
        "unlabelled": "ignore",
        "wait_s": 1,
        "sample_share": 0.5,
        "max_remembered": 10,
        "half_life": 5000,
        "min_fraud": 1,
        "min_labels": 2,
    }
    assert len({of(), of(0.02), *(of(**{name: value}) for name, value in settings.items())}) == 2 + len(settings)
    assert settings.keys() | {"enabled"} == {field.name for field in dataclasses.fields(ProbabilityConfig)}


def test_labels_change_neither_tails_nor_what_is_told_of_thresholds():
    of = stream(6, 60_000, base=0.01)
    on = Calibrate(CalibrateConfig(), "", probability=ProbabilityConfig(enabled=True, wait_s=DAY_S, min_labels=100))
    off = Calibrate(CalibrateConfig(), "")

    tails, given = replay(on, of)
    without = np.concatenate([off.process(batch(of, first, first + 5_000)).tail for first in range(0, 60_000, 5_000)])

    assert not np.isnan(given).all()
    assert np.array_equal(tails, without, equal_nan=True)


def test_becoming_ready_is_told_with_the_labels_there_are():
    of = stream(7, 60_000, base=0.01)
    config = ProbabilityConfig(enabled=True, wait_s=DAY_S, min_labels=100, min_fraud=20)
    stage = Calibrate(CalibrateConfig(), "", probability=config)
    answers = []
    for first in range(0, 60_000, 5_000):
        rows = np.flatnonzero(of.said_ms[:first] <= of.time_ms[first])
        stage.take_side(side(of.id_hash[rows], of.fraud[rows]))
        answers.append(stage.process(batch(of, first, first + 5_000)))
    [change] = [one for each in answers for one in each.changes if "probability" in str(one.detail["event"])]
    ready = np.flatnonzero(~np.isnan(np.concatenate([each.probability for each in answers])))[0]

    assert (change.kind, change.detail["event"]) == ("threshold", "probability_began")
    assert min(change.detail["fraud_labels"], change.detail["legit_labels"]) >= 20
    assert change.offset == ready - 1  # it holds for those after


@pytest.mark.slow
@pytest.mark.parametrize("unlabelled", ["legit", "ignore"])
def test_probabilities_are_right_on_average_wherever_they_are(unlabelled):
    """Within each factor of two of the probability given, frauds are as many as expected: 25 %, or five deviations.

    With `ignore` a tenth of the legit events is labelled, so p is that of fraud among labelled events.
    """
    share = 0.1 if unlabelled == "ignore" else 0.0
    of = stream(8, 1_000_000, base=0.01, shift=6.0, legit_share=share)
    config = ProbabilityConfig(enabled=True, unlabelled=unlabelled, wait_s=5 * DAY_S)
    _, given = replay(Calibrate(CalibrateConfig(), "", {"medium": 0.01}, probability=config), of)
    late = np.arange(len(given)) > 500_000
    judged = late & (of.fraud | (of.said_ms < 1 << 60) if unlabelled == "ignore" else True)

    for low in (0.5, 0.25, 0.125, 0.0625, 0.03125):
        rows = judged & (given > low) & (given <= 2 * low)
        expected = given[rows].sum()
        assert rows.sum() > 100
        assert abs(of.fraud[rows].sum() - expected) <= 0.25 * expected + 5 * math.sqrt(expected)


@pytest.mark.slow
def test_frauds_that_are_reported_fast_do_not_count_double_while_traffic_grows():
    """At the tenth day of a wait of five, what taught is all that happened by the fifth, frauds as they were."""
    of = stream(9, 200_000, base=0.02, days=10, delay_days=0.2)
    config = ProbabilityConfig(
        enabled=True, wait_s=5 * DAY_S, half_life=10**9, sample_share=1.0, max_remembered=1 << 20
    )
    stage = Calibrate(CalibrateConfig(), "", {"medium": 0.01}, probability=config)
    replay(stage, of)
    legit, fraud = stage.dump()["probability.counts"].sum(axis=1)
    old = (of.time_ms <= of.time_ms[-1] - 5 * DAY_MS) & (np.arange(200_000) >= 1_000)

    assert fraud / (fraud + legit) == pytest.approx(of.fraud[old].mean(), rel=0.02)


COMPILED = """
import numpy as np
from label_streams import replay, stream
from operators.calibrate import Calibrate, CalibrateConfig, ProbabilityConfig, maps, teaching
own = ProbabilityConfig(enabled=True, method=METHOD, wait_s=3600, max_remembered=500, min_labels=10, min_fraud=2)
loops = [each for module in (maps, teaching) for each in vars(module).values() if hasattr(each, "signatures")]
calibrate = Calibrate(CalibrateConfig(), "", probability=own)

before = [len(each.signatures) for each in loops]
_, given = replay(calibrate, stream(1, 20_000, base=0.1, delay_days=0.01))
assert not np.isnan(given).all()
assert before == [len(each.signatures) for each in loops], before
"""


@pytest.mark.parametrize("method", ["isotonic", "beta"])
def test_all_loops_are_compiled_once_the_stage_is_made(method):
    subprocess.run(
        [sys.executable, "-c", COMPILED.replace("METHOD", repr(method))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )


def test_every_outcome_has_a_name():
    assert OUTCOMES == ("matched", "repeated", "corrected", "unsampled", "unmatched")
