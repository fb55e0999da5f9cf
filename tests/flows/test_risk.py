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
from operators.control import Barrier, Flush, Restore, StageSnapshot
from operators.parts import Assembly
from operators.side import Applied, Side

KEY_TEXT = "0123456789abcdef0123"
SETTINGS = load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": KEY_TEXT}, needs_key=True)


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


def answers(items: list[object]) -> list[tuple]:
    """Everything but the audit chain, which goes on from the text beside the offset and not from a snapshot."""
    return [record for record in records(items) if record[0] != "audit"]


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


def put_together(barrier: Barrier) -> dict[str, StageSnapshot]:
    """The states as a restart from this one part would find them."""
    states = {}
    for step, snapshot in barrier.snapshots.items():
        assembly = Assembly(snapshot.state)
        assembly.add(snapshot.state)
        states[step] = StageSnapshot(snapshot.fingerprint, assembly.finish())
    return states


def test_a_barrier_collects_every_stage_and_restores_to_the_same_answers():
    items = batches(3_000, 0)
    whole = records(run([Restore(0, {}), *items]))
    *before, barrier = run([Restore(0, {}), *items[:5], Barrier(0, 1_500)])
    assert list(barrier.snapshots) == ["decode", "featurize", "score", "calibrate", "tier", "encode"]

    resumed = run([Restore(0, put_together(barrier), beside=before[-1].beside), *items[5:]])
    assert records(before) + records(resumed) == whole


def test_stages_that_are_kept_go_on_where_they_were():
    items = batches(3_000, 0)
    *before, barrier = run([Restore(0, {}), *items[:5], Barrier(0, 1_500, keep=True)])

    resumed = run([Restore(0, {}, barrier.kept), *items[5:]])
    assert records(before) + records(resumed) == records(run([Restore(0, {}), *items]))


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
    assert answers(found) == answers(run([Restore(0, {}), *items]))[len(answers(run([Restore(0, {}), items[0]]))) :]


def test_without_a_key_the_flow_is_refused():
    with pytest.raises(ValueError, match="pseudonym key"):
        risk.Stages(load_settings(None, {}))


def test_the_first_record_of_a_partition_tells_the_configuration():
    first = records(run([Restore(0, {}), *batches(300, 0)]))[0]
    told = json.loads(first[2])
    stages = risk.Stages(SETTINGS)
    fingerprints = {name: getattr(stages, name)(0).fingerprint for name in ("decode", "featurize", "score", "tier")}

    assert (first[0], told["kind"], told["detail"]["key_version"]) == ("audit", "configuration", "1")
    assert {name: told["detail"][name] for name in fingerprints} == {
        name: text[:12] for name, text in fingerprints.items()
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"TIDEGATE_AUDIT__DRIFT_LIMIT": "0.3"}, {"review"}),
        ({"TIDEGATE_RISK__TIER__CRITICAL": "0.0005"}, {"tier"}),
        ({"TIDEGATE_AUDIT_KEY": "sixteen letters!"}, {"audit_key"}),
        ({"TIDEGATE_RISK__BATCH_MAX": "77"}, set()),  # reaches no result
    ],
)
def test_what_was_configured_otherwise_is_told_with_what_it_was(change, told):
    before = risk.Stages(SETTINGS).encode(0)
    events = batches(300, 0)
    beside = run([Restore(0, {}), *events])[1].beside
    environ = {"TIDEGATE_PSEUDONYM_KEY": KEY_TEXT, **change}
    after = risk.Stages(load_settings(None, environ)).encode(0)
    after.recall(beside)
    before.recall(beside)

    assert not before._chain.must_tell
    detail = json.loads(after._chain.tell(1))["detail"] if after._chain.must_tell else {}
    assert {name.removesuffix("_before") for name in detail if name.endswith("_before")} == told


def labels(at: int, *, muted: bool = False) -> Side:
    return Side(0, "labels", at, 5, 7, [b"{", None], [b"u", b"u"], [5, 6], [1, 1], muted, source="acme.labels")


def test_labels_pass_all_stages_in_order_and_touch_neither_offset_nor_audit_chain():
    before, after = batches(2_000, 0)[:3], batches(2_000, 0)[3:]
    with_labels = run([Restore(0, {}), *before, labels(900), *after])
    [place] = [number for number, item in enumerate(with_labels) if isinstance(item, Applied)]
    item = with_labels.pop(place)
    assert (item.span, item.side.next) == (Span(0, 900, 900), 7)
    assert item.beside == with_labels[place - 1].beside != ""
    assert records(with_labels) == records(run([Restore(0, {}), *before, *after]))


def test_labels_that_are_rolled_forward_over_write_nothing():
    [_, item] = run([Restore(0, {}), labels(0, muted=True)])
    assert isinstance(item, Applied)
    assert (item.records, item.beside) == ([], "")
