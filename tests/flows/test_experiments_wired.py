"""The experiments flow as it is wired, without a broker: what comes out against counting by hand, in plain Python."""

import dataclasses
import gc
import json
import weakref

import msgspec
import numpy as np
import pytest
from bytewax.testing import TestingSink, TestingSource, run_main
from shoppers import BUTTON, NOW, by_hand, people, sums

from flows import experiments
from flows.sections import Experiments
from flows.settings import SettingsError, load_settings
from operators.accumulate.config import REASONS, AccumulateConfig
from operators.batches import Encoded, Messages, Span
from operators.control import Barrier, Flush, Restore, StageSnapshot
from operators.observe import ObserveConfig
from operators.parts import Assembly
from operators.side import Side
from operators.state import pack, unpack
from schemas.definition import Metric
from schemas.part import Part

LATENESS_S = 60
ENVIRON = {
    "TIDEGATE_PSEUDONYM_KEY": "k" * 32,
    "TIDEGATE_EXPERIMENTS__ACCUMULATE__ALLOWED_LATENESS_S": str(LATENESS_S),
    "TIDEGATE_EXPERIMENTS__ACCUMULATE__MAX_UNITS": "1000",
    "TIDEGATE_EXPERIMENTS__ACCUMULATE__MAX_PENDING": "1000",
    "TIDEGATE_EXPERIMENTS__ACCUMULATE__DEDUP_MAX": "1000",
}
SETTINGS = load_settings(None, ENVIRON, needs_key=True)


def messages(values, first, partition=0):
    n = len(values)
    wire = [json.dumps(value).encode() if isinstance(value, dict) else value for value in values]
    times = [value["timestamp"] if isinstance(value, dict) else NOW for value in values]
    offsets = list(range(first, first + n))
    return Messages(Span(partition, first, first + n), "exposures", wire, [b"k"] * n, offsets, times)


def side(topic, values, first, at, keys=None, partition=0):
    n = len(values)
    wire = [json.dumps(value).encode() if isinstance(value, dict) else value for value in values]
    times = [value["timestamp"] if isinstance(value, dict) else NOW for value in values]
    return Side(partition, topic, at, first, first + n, wire, keys or [b"k"] * n, list(range(first, first + n)), times)


def defined(*those):
    values, keys = [msgspec.json.encode(each) for each in those], [each.id.encode() for each in those]
    return side("experiments.definitions", values, 0, 0, keys)


def run(items, settings=SETTINGS):
    found = []
    fresh = experiments.Stages(settings, partitions=4, parts=4)
    run_main(experiments.build(fresh, TestingSource(items, batch_size=3), TestingSink(found)))
    return found


def parts(found):
    """Return the newest part of each experiment."""
    flushes = [item for item in found if isinstance(item, Flush)]
    records = [record for flush in flushes for answer in flush.encoded for record in answer.records]
    wires = [msgspec.json.decode(record.value, type=Part) for record in records if record.topic == "experiments.parts"]
    return {part.experiment: part for part in wires}


def read_back(barrier):
    """Return the stages' states by way of their written form, as a snapshot that stands alone has them."""
    found = {}
    for step, snapshot in barrier.snapshots.items():
        state = unpack(pack(snapshot.state))
        whole = Assembly(state)
        whole.add(state)
        found[step] = StageSnapshot(snapshot.fingerprint, whole.finish())
    return found


def interleaved(exposures, records, size=20):
    """Return both as items, in stretches of time."""
    items, done, said = [], 0, 0
    for at in range(NOW, NOW + 1_900_000, 60_000):
        stretch = [each for each in exposures if at <= each["timestamp"] < at + 60_000]
        beside = [each for each in records if at - 60_000 <= each["timestamp"] < at]
        if stretch:
            items.append(messages(stretch, done))
            done += len(stretch)
        if beside:
            items.append(side("metrics", beside, said, done))
            said += len(beside)
    return items, done


def tick(at, first):
    value = {"experiment_id": "tidegate.time", "variation_id": "tick", "user": "tidegate.time", "timestamp": at}
    return messages([value], first)


LATER = NOW + 3_000_000


@pytest.mark.parametrize("seed", [1, 2])
def test_the_totals_are_those_counted_by_hand(seed):
    exposures, records = people(seed)
    items, done = interleaved(exposures, records)
    found = run([Restore(0, {}), defined(BUTTON), *items, tick(LATER, done), Flush(live={0: done + 1})])
    part = parts(found)["button"]

    assert sums(part) == pytest.approx(by_hand(exposures, records), rel=1e-12)
    assert np.frombuffer(part.open, "<f8").any() == np.False_
    assert (part.timestamp, part.offsets) == (
        LATER,
        {"experiments.definitions": 1, "exposures": done + 1, "metrics": len(records)},
    )


def test_windows_stay_open_until_time_goes_on():
    exposures, records = people(1)
    items, done = interleaved(exposures, records)
    part = parts(run([Restore(0, {}), defined(BUTTON), *items[:12], Flush(live={0: done})]))["button"]
    opened = np.frombuffer(part.open, "<f8").reshape(2, 5, 2, 3)[0, ..., 0].sum()

    assert opened + sums(part)[0, :, 0].sum() == np.frombuffer(part.exposed, "<f8").sum() > 0
    assert opened > 0


def test_a_flow_that_goes_on_from_a_snapshot_says_the_same():
    exposures, records = people(3)
    items, done = interleaved(exposures, records)
    half = len(items) // 2
    at = max(item.span.next for item in items[:half])
    whole = run([Restore(0, {}), defined(BUTTON), *items, tick(LATER, done), Flush(live={0: done + 1})])
    first = run([Restore(0, {}), defined(BUTTON), *items[:half], Flush(), Barrier(0, at)])
    [barrier] = [item for item in first if isinstance(item, Barrier)]
    beside = [item.beside for item in first if isinstance(item, Encoded)][-1]
    again = [Restore(0, read_back(barrier), beside=beside), *items[half:]]
    second = run([*again, tick(LATER, done), Flush(live={0: done + 1})])

    assert parts(second) == parts(whole)


def test_decisions_make_strata_and_the_risk_metric_and_events_are_measured():
    settings = load_settings(
        None,
        ENVIRON | {"TIDEGATE_EXPERIMENTS__TIERS": "true", "TIDEGATE_EXPERIMENTS__EVENTS": "true"},
        needs_key=True,
    )
    orders = Metric(name="orders", kind="mean", event="pay", value="amount", where={"country": ("DE",)})
    definition = msgspec.structs.replace(BUTTON, primary=orders, secondary=())
    pseudonyms = experiments.Stages(settings, 1, 1).observe(0).pseudonymizer
    ada = pseudonyms.pseudonym("user", "ada")
    shown = {"experiment_id": "button", "variation_id": "green", "user": "ada", "timestamp": NOW + 5_000}
    decisions = [
        {"id": "e-0", "timestamp": NOW, "user": ada, "tier": "medium"},
        {"id": "e-1", "timestamp": NOW + 9_000, "user": ada, "tier": "critical"},
    ]
    events = [
        {"id": "e-1", "timestamp": NOW + 9_000, "user": "ada", "type": "pay", "amount": 7, "country": "DE"},
        {"id": "e-1", "timestamp": NOW + 9_000, "user": "ada", "type": "pay", "amount": 7, "country": "DE"},
        {"id": "e-2", "timestamp": NOW + 9_000, "user": "ada", "type": "pay", "amount": 9, "country": "FR"},
    ]
    sides = [side("risk.tiers", decisions, 0, 1), side("events", events, 0, 1)]
    items = [Restore(0, {}), defined(definition), messages([shown], 0), *sides, tick(LATER, 1), Flush(live={0: 2})]
    part = parts(run(items, settings))["button"]
    matured = np.frombuffer(part.matured, "<f8").reshape(2, 1, 5, 2, 15)

    assert (part.metrics, part.tiers) == (("orders", "tidegate.risk"), True)
    assert np.argwhere(matured[..., 0]).tolist() == [[0, 0, 2, 1], [1, 0, 2, 1]]  # stratum medium, green
    assert matured[:, 0, 2, 1, 1].tolist() == [7.0, 1.0]


def test_what_is_written_at_a_flush_is_of_live_partitions_alone():
    assert parts(run([Restore(0, {}), defined(BUTTON), tick(NOW, 0), Flush(live={})])) == {}


def test_every_record_that_cannot_be_read_leaves_as_a_dead_letter():
    broken = side("metrics", [b"{"], 0, 1)
    found = run([Restore(0, {}), defined(BUTTON), messages([b"{", tick(NOW, 0).values[0]], 0), broken])
    topics = [record.topic for answer in found if isinstance(answer, Encoded) for record in answer.records]

    assert sorted(topics) == ["audit", "audit", "dead-letters", "dead-letters"]


def test_what_the_warm_up_compiles_is_what_is_needed():
    experiments.warm_up(load_settings(None, {}))


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("ACCUMULATE__TIERS", "true", "experiments: accumulate.tiers follows tiers: set tiers = true instead"),
        (
            "MERGE_SLACK_S",
            "301",
            "experiments: expected merge_slack_s <= accumulate.allowed_lateness_s, got 301 and 300",
        ),
        ("SNAPSHOT_STORE", "directory", 'experiments: snapshot_store = "directory" needs snapshot_directory'),
    ],
)
def test_settings_that_do_not_go_together_are_a_mistake(variable, value, complaint):
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {f"TIDEGATE_EXPERIMENTS__{variable}": value})

    assert caught.value.mistakes[0].startswith(complaint)


def test_pseudonymised_topics_are_known_by_the_names_that_records_come_under():
    environ = {
        **ENVIRON,
        "TIDEGATE_KAFKA__PREFIX": "acme.",
        "TIDEGATE_PRIVACY__PSEUDONYMISED_TOPICS": '["exposures", "metrics"]',
    }
    stages = experiments.Stages(load_settings(None, environ, needs_key=True), 4, 4)

    assert stages.observe(0).pseudonymizer.pseudonymised_topics == {"acme.exposures", "metrics"}


def test_the_page_names_every_setting_and_every_reason(repository):
    text = (repository / "docs" / "experiments.md").read_text(encoding="utf-8")
    names = {
        *Experiments.model_fields,
        *(field.name for config in (ObserveConfig, AccumulateConfig) for field in dataclasses.fields(config)),
        *REASONS,
    }

    assert sorted(name for name in names if f"`{name}`" not in text and f"experiments.{name}]" not in text) == []


def test_the_totals_of_a_partition_that_moved_away_are_let_go():
    fresh = experiments.Stages(SETTINGS, partitions=4, parts=4)
    totals = weakref.ref(fresh.accumulate(0))
    fresh.encode(0)
    gc.collect()

    assert totals() is None
