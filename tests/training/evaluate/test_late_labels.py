"""Labels come late, at the same places whatever the chunks, and are judged by what was given before them."""

import dataclasses
import itertools

import numpy as np
import pytest

import operators
from flows.demo.generator import Generator, GeneratorConfig
from flows.risk import Stages
from flows.settings import Settings, with_key
from training.evaluate import replay as module
from training.evaluate.late import LateLabels, tick_of
from training.evaluate.probabilities import judged
from training.evaluate.replay import Line, Replay

DELAY_MS = 600_000


@pytest.fixture(scope="module")
def lines():
    config = GeneratorConfig(seed=7, users=300, rate=2.0, speed=1.0, attack_share=0.05, quiet_s=1_800.0, garbage=0.001)
    stream = itertools.islice(Generator(config).events(), 8_000)
    return [Line(one.key, one.value, one.timestamp_ms, "fraud" if one.attack else "") for one in stream]


def replayed(lines, delay_ms=DELAY_MS, batch_max=5_000):
    settings = with_key(Settings(), bytes(range(32)))
    own = dataclasses.replace(
        settings.risk.probability,
        enabled=delay_ms is not None,
        wait_s=700,
        sample_share=1.0,
        min_fraud=10,
        min_labels=100,
    )
    risk = settings.risk.model_copy(update={"probability": own})
    stages = Stages(settings.model_copy(update={"risk": risk}))
    make = {verb: getattr(stages, verb) for verb in operators.__all__}
    return Replay(make, 1, batch_max, label_delay_ms=delay_ms).run(lines)


@pytest.fixture(scope="module")
def found(lines):
    return replayed(lines)


def test_labels_make_probabilities_and_change_no_decision(lines, found):
    without = replayed(lines, None)

    assert np.isnan(without.probability).all()
    assert not np.isnan(found.probability).all()
    for name in ("score", "tail", "tier", "flags"):
        assert np.array_equal(getattr(found, name), getattr(without, name), equal_nan=True), name


def test_chunks_and_batches_change_no_probability(lines, found, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 777)

    assert np.array_equal(found.probability, replayed(lines, batch_max=100).probability, equal_nan=True)


def test_a_label_comes_with_the_first_tick_that_begins_when_it_is_due():
    late = LateLabels(3, DELAY_MS)
    value = b'{"id":"e","user":"u","timestamp":0,"type":"t"}'
    late.note(b"u", value, "fraud", 30_000)
    late.note(b"u", b"{", "fraud", 0)  # no event

    assert tick_of(DELAY_MS) == 60_000
    assert late.arrived(10, at=5) is None  # 600,000: due at 630,000
    side = late.arrived(11, at=9)
    assert (side.partition, side.topic, side.at, side.offsets) == (3, "labels", 9, [0])
    assert side.values == [b'{"id":"e","user":"u","label":"fraud","timestamp":630000}']
    assert late.arrived(11, at=9) is None


def test_a_stretch_ends_where_a_tick_does_and_time_never_goes_back():
    late = LateLabels(0, DELAY_MS)

    assert list(late.stretches(np.array([0, 59_999, 60_000, 10, 130_000]))) == [(0, 0, 2), (1, 2, 4), (2, 4, 5)]
    assert list(late.stretches(np.array([5]))) == [(2, 0, 1)]
    assert list(late.stretches(np.zeros(0, np.int64))) == []


def test_probabilities_are_judged_as_by_hand():
    given = np.array([0.75, 0.75, 0.125, 0.125, np.nan, 0.9])
    verdict = judged(given, np.array([1, 0, 0, 0, 1, -1], np.int8), 60.0)

    assert (verdict.events, verdict.risky) == (4, 1)
    assert verdict.brier == pytest.approx((0.0625 + 0.5625 + 2 * 0.015625) / 4)
    assert verdict.brier_base == pytest.approx(0.25 * 0.75)
    assert verdict.error == pytest.approx((0.5 + 0.25) / 4)
    assert [(one.events, one.given, one.risky, one.frauds) for one in verdict.bins] == [
        (2, 0.125, 0.0, 0), (2, 0.75, 0.5, 1),
    ]  # fmt: skip


def test_without_a_probability_there_is_nothing_to_judge():
    assert judged(np.array([np.nan, 0.5]), np.array([1, -1], np.int8), 60.0) is None
