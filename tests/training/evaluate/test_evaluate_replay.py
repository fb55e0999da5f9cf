"""The replay is the flow: the same decisions, one state per partition, whatever the chunks."""

import itertools

import msgspec
import numpy as np
import pytest
from bytewax.testing import TestingSink, TestingSource, run_main

import operators
from flows.demo.generator import Generator, GeneratorConfig
from flows.risk import Stages, build
from flows.settings import Settings, with_key
from operators.batches import TIERS, Messages, Span
from operators.control import Restore
from operators.partitioner import murmur2
from training.evaluate import replay as module
from training.evaluate.figures import roc_auc
from training.evaluate.replay import Line, Replay
from training.evaluate.scaling import scaled

SETTINGS = with_key(Settings(), bytes(range(32)))
EVENTS = 9_000
PARTITIONS = 2


@pytest.fixture(scope="module")
def lines():
    stream = Generator(GeneratorConfig(users=300, rate=5.0, speed=1.0, garbage=0.001, duplicates=0.001)).events()
    return [Line(one.key, one.value, one.timestamp_ms) for one in itertools.islice(stream, EVENTS)]


def replayed(lines, partitions=PARTITIONS, batch_max=5_000):
    stages = Stages(SETTINGS)
    return Replay({verb: getattr(stages, verb) for verb in operators.__all__}, partitions, batch_max).run(lines)


@pytest.fixture(scope="module")
def found(lines):
    return replayed(lines)


def test_the_decisions_are_those_of_the_flow(lines, found):
    place = murmur2([line.key for line in lines], PARTITIONS)
    items = [Restore(partition, {}) for partition in range(PARTITIONS)]
    for partition in range(PARTITIONS):
        rows = np.flatnonzero(place == partition).tolist()
        mine = [lines[row] for row in rows]
        span = Span(partition, rows[0], rows[-1] + 1)
        items.append(
            Messages(
                span, "events", [o.value for o in mine], [o.key for o in mine], rows, [o.timestamp_ms for o in mine]
            )
        )
    out = []
    run_main(build(SETTINGS, TestingSource(items), TestingSink(out)))
    records = [record for item in out for record in getattr(item, "records", ())]
    decisions = [msgspec.json.decode(record.value) for record in records if record.topic == "risk.tiers"]
    theirs = {each["offset"]: (each["partition"], each["tier"]) for each in decisions}
    ours = zip(found.line.tolist(), found.partition.tolist(), found.tier.tolist(), strict=True)

    assert {line: (partition, TIERS[tier]) for line, partition, tier in ours} == theirs
    assert len({tier for _, tier in theirs.values()}) > 2


def test_chunks_and_batches_change_nothing(lines, found, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 777)
    other = replayed(lines, batch_max=100)

    assert all(np.array_equal(one, two, equal_nan=True) for one, two in zip(found[:4], other[:4], strict=True))
    for name in ("forest", "evidence", "score", "tail", "tier", "flags", "raw", "unit"):
        assert np.array_equal(getattr(found, name), getattr(other, name), equal_nan=True), name


def test_every_event_read_is_decided_or_rejected(found):
    assert found.read == EVENTS
    assert len(found.line) + sum(found.rejected.values()) == EVENTS
    assert found.rejected


def test_a_user_stays_in_one_partition(found):
    homes = set(zip(found.user.tolist(), found.partition.tolist(), strict=True))

    assert len(homes) == len(set(found.user.tolist()))
    assert set(found.partition.tolist()) == {0, 1}


def test_rows_are_in_the_order_of_the_file(found):
    assert (np.diff(found.line) > 0).all()


def test_other_numbers_of_partitions_are_compared_on_what_both_know(lines, found):
    other = replayed(lines, partitions=1)
    truth = (np.arange(EVENTS) % 3 - 1).astype(np.int8)  # by turns: nobody knows, legitimate, risky
    known = [
        {line for line, yes in zip(one.line.tolist(), one.known.tolist(), strict=True) if yes} for one in (found, other)
    ]
    both = sorted(line for line in known[0] & known[1] if truth[line] >= 0)
    against = scaled(found, other, truth, 1)
    scores = dict(zip(other.line.tolist(), other.score.tolist(), strict=True))
    by_hand = roc_auc(np.array([scores[line] for line in both]), truth[both] == 1)

    assert len(known[0]) < len(known[1])
    assert (against.partitions, against.compared) == (1, len(both))
    assert against.after["combination"] == by_hand


def test_a_replay_compared_with_itself_differs_in_nothing(found):
    against = scaled(found, found, np.arange(EVENTS).astype(np.int8) % 2, PARTITIONS)

    assert against.before == against.after


def test_events_that_are_all_rejected_are_an_error():
    with pytest.raises(ValueError, match=r"expected events that can be decided on, got none \(3 not_json\)"):
        replayed([Line(b"u", b"{", 1)] * 3)
