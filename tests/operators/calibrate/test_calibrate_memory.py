"""What is remembered for labels: found again, bounded, and written down in parts."""

import tracemalloc

import numpy as np
import pytest
from label_streams import batch, side, stream

from operators.calibrate import Calibrate, CalibrateConfig, ProbabilityConfig
from operators.calibrate.memory import Memory, find, forget_oldest, remember
from operators.calibrate.probability import Probability
from operators.parts import Assembly, Changes, Sweep
from operators.state import pack, unpack

DAY_S = 86_400


def model(ring, bound):
    """Go through random arrivals and look-ups, beside a table that knows no hashing."""
    rng = np.random.default_rng(3)
    held = []
    for number in range(5_000):
        name = int(rng.integers(1, 200)) if rng.random() < 0.3 else number + 1_000
        if len(held) == bound:
            forget_oldest(ring.ring)
            held.pop(0)
        ring.reserve(1)
        remember(ring.ring, np.uint64(name), number, 0, 0.5)
        held.append((name, number))
        for other in (name, int(rng.integers(1, 200)), number + 900):
            row = int(find(ring.ring, np.uint64(other)))
            newest = [time for known, time in held if known == other][-1:]
            assert ([int(ring.ring.time_ms[row])] if row >= 0 else []) == newest


@pytest.mark.parametrize("bound", [1, 2, 7, 100])
def test_the_index_finds_the_newest_event_of_an_id_and_no_other(bound):
    model(Memory("m", bound), bound)


@pytest.mark.parametrize("method", ["isotonic", "beta"])
def test_a_snapshot_in_parts_restores_what_a_whole_one_does(method):
    of = stream(4, 40_000, base=0.02)
    config = ProbabilityConfig(
        enabled=True, method=method, wait_s=DAY_S, max_remembered=500, min_fraud=5, min_labels=50
    )
    stage = Calibrate(CalibrateConfig(), "", probability=config)
    written, parts, sweep = Changes(), [], Sweep()
    for first in range(0, 40_000, 2_000):
        rows = np.flatnonzero(of.fraud[max(0, first - 2_000) : first]) + max(0, first - 2_000)
        stage.take_side(side(of.id_hash[rows], of.fraud[rows]))
        stage.process(batch(of, first, first + 2_000))
        parts.append(unpack(pack(written.of(stage, sweep))))
        sweep = Sweep(sweep.next, 8)
    assembly = Assembly(parts[-1])
    for part in parts:
        assembly.add(part)
    restored = Calibrate(CalibrateConfig(), "", probability=config)
    restored.load(assembly.finish())

    assert pack(restored.dump()) == pack(stage.dump())
    assert sum(len(pack(part)) for part in parts[-5:]) < 5 * len(pack(stage.dump()))


def test_a_snapshot_that_cannot_be_is_refused():
    memory = Memory("m", 10)
    state = memory.dump()

    with pytest.raises(ValueError, match="expected columns of at most 10 events"):
        Memory("m", 10).load({**state, "m.place": np.zeros(11, np.uint16)})
    with pytest.raises(ValueError, match="expected places within 0 events"):
        Memory("m", 10).load({**state, "m.meta": np.array([3, 0])})


def test_memory_stays_flat_under_floods_of_events_and_labels():
    config = ProbabilityConfig(enabled=True, wait_s=3600, max_remembered=2_000)
    stage = Calibrate(CalibrateConfig(), "", probability=config)
    of = stream(5, 200_000, base=0.3, shift=12.0)  # nearly a third of all at once within the budget
    sizes, held = [], []
    tracemalloc.start()
    for first in range(0, 200_000, 5_000):
        stage.process(batch(of, first, first + 5_000))
        hashes = np.random.default_rng(first).integers(1, 1 << 62, 20_000).astype(np.uint64)
        stage.take_side(side(hashes, np.ones(20_000, np.bool_)))
        stage.take_side(side(of.id_hash[first : first + 5_000], of.fraud[first : first + 5_000]))
        sizes.append(len(pack(stage.dump())))
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert max(sizes[20:]) <= 1.02 * max(sizes[:20])
    assert max(held[20:]) <= 1.02 * max(held[:20]) + 65_536


def test_what_is_remembered_takes_as_many_bytes_as_stated():
    config = ProbabilityConfig(enabled=True, max_remembered=2_000, sample_share=1.0)
    probability = Probability(config, 0.01, 500)
    n = 5_000
    for tail in (0.001, 0.5):
        probability.reserve(n)
        hashes, times = np.arange(1, n + 1, dtype=np.uint64), np.zeros(n, np.int64)
        probability.give(np.full(n, tail), np.ones(n, np.bool_), hashes, times, 0, n, np.empty(n))
    rings = [probability._alerts.ring, probability._sample.ring]

    assert sum(len(ring.id_hash) for ring in rings) == 2_000
    columns = ("id_hash", "time_ms", "place", "given", "said", "taught")
    kept = sum(getattr(ring, name).nbytes for ring in rings for name in columns)
    assert kept == 27 * 2_000
    assert sum(ring.slots.nbytes for ring in rings) <= 16 * 2_000
