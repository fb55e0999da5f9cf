"""The flow as it is wired, without a broker: what goes in, what comes out, and the barrier on its way."""

import itertools
import json

import pytest
from bytewax.testing import TestingSink, TestingSource, run_main
from msgspec.structs import astuple

from flows import risk
from flows.demo.generator import Generator, GeneratorConfig
from flows.settings import load_settings
from operators.batches import Encoded, Messages, Span
from operators.control import Barrier, Flush, Restore

SETTINGS = load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": "0123456789abcdef0123"}, needs_key=True)


def batches(count: int, partition: int, size: int = 300) -> list[Messages]:
    config = GeneratorConfig(seed=partition, users=50, garbage=0.02)
    planted = list(itertools.islice(Generator(config).events(), count))
    return [
        Messages(
            Span(partition, at, at + len(part)),
            "events",
            [each.value or None for each in part],
            [each.key for each in part],
            list(range(at, at + len(part))),
            [each.timestamp_ms for each in part],
        )
        for at in range(0, count, size)
        for part in [planted[at : at + size]]
    ]


def run(items: list[object]) -> list[object]:
    found: list[object] = []
    run_main(risk.build(SETTINGS, TestingSource(items, batch_size=3), TestingSink(found)))
    return found


def records(items: list[object]) -> list[tuple]:
    return [astuple(record) for item in items if isinstance(item, Encoded) for record in item.records]


def test_every_event_is_answered_once():
    found = records(run([Restore(0, {}), *batches(3_000, 0)]))
    answered = [json.loads(record[2])["offset"] for record in found if record[0] in ("risk.tiers", "dead-letters")]
    assert answered == list(range(3_000))


def test_alerts_are_the_tiers_of_high_and_critical():
    found = records(run([Restore(0, {}), *batches(6_000, 0)]))
    tiers = [record[1:] for record in found if record[0] == "risk.tiers"]
    alerts = [record[1:] for record in found if record[0] == "risk.alerts"]
    assert alerts == [record for record in tiers if json.loads(record[1])["tier"] in ("high", "critical")]


def test_control_items_come_out_where_they_went_in():
    first, second = batches(600, 0)
    found = run([Restore(0, {}), first, Flush(), second, Barrier(0, 600), Flush(final=True)])
    assert [type(item).__name__ for item in found] == ["Restore", "Encoded", "Flush", "Encoded", "Barrier", "Flush"]


def test_a_barrier_collects_every_stage_and_restores_to_the_same_answers():
    items = batches(3_000, 0)
    whole = run([Restore(0, {}), *items[:5], Barrier(0, 1_500), *items[5:]])
    barrier = next(item for item in whole if isinstance(item, Barrier))
    assert list(barrier.snapshots) == ["decode", "featurize", "score", "calibrate", "tier", "encode"]

    resumed = run([Restore(0, barrier.snapshots), *items[5:]])
    assert records(resumed) == records(whole[whole.index(barrier) :])


def test_a_partition_is_answered_the_same_whatever_another_does():
    alone = run([Restore(0, {}), *batches(1_200, 0)])
    mixed = [each for pair in zip(batches(1_200, 0), batches(1_200, 1), strict=True) for each in pair]
    both = run([Restore(0, {}), Restore(1, {}), *mixed])
    mine = [item for item in both if isinstance(item, Encoded) and item.span.partition == 0]
    assert records(mine) == records(alone)


def test_a_muted_batch_moves_the_state_and_writes_nothing():
    items = batches(900, 0)
    muted = Messages(Span(0, 0, 300, muted=True), *[getattr(items[0], name) for name in Messages.__slots__[1:]])
    found = [item for item in run([Restore(0, {}), muted, *items[1:]]) if isinstance(item, Encoded)]
    assert found[0].records == []
    assert records(found) == records(run([Restore(0, {}), *items]))[len(records(run([Restore(0, {}), items[0]]))) :]


def test_without_a_key_the_flow_is_refused():
    with pytest.raises(ValueError, match="pseudonym key"):
        risk.Stages(load_settings(None, {}))
