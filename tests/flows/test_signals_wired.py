"""The flows interactions and signals as they are wired, without a broker: signals against counting by hand."""

import dataclasses

import msgspec
import pytest
from bytewax.testing import TestingSink, TestingSource, run_main
from small_shop import MINUTE, NOW, by_partition, compare, counting, described, visit, visits, wire

from flows import interactions, signals
from flows.commands import CommandError
from flows.commands.run import FLOWS
from flows.ranking_sections import Interactions
from flows.ranking_sections import Signals as SignalsSection
from flows.settings import SettingsError, load_settings
from operators.batches import Encoded, Messages, Span
from operators.control import Barrier, Flush, Restore, StageSnapshot
from operators.metrics_of_ranking import OF_RANKING
from operators.notice import NoticeConfig
from operators.noticed import item_key
from operators.partitioner import murmur2
from operators.parts import Assembly
from operators.side import Side
from operators.signals.config import CountItemsConfig
from operators.signals.described import ItemsConfig
from operators.signals.loop import REASONS
from operators.signals.merge import MergeItemsConfig
from operators.signals.weights import WeightsConfig
from operators.state import pack, unpack
from schemas.signals import Signals, Window

PARTITIONS = 2
ENVIRON = {
    "TIDEGATE_PSEUDONYM_KEY": "k" * 32,
    "TIDEGATE_INTERACTIONS__COUNT__MAX_ITEMS": "100",
    "TIDEGATE_INTERACTIONS__COUNT__MAX_PAIRS": "1000",
    "TIDEGATE_INTERACTIONS__COUNT__DEDUP_MAX": "1000",
    "TIDEGATE_SIGNALS__MERGE__MAX_ITEMS": "100",
    "TIDEGATE_SIGNALS__MERGE__CHANGE": "1e-9",
}
SETTINGS = load_settings(None, ENVIRON, needs_key=True)
COUNT, MERGE = SETTINGS.interactions.count, SETTINGS.signals.merge


def messages(topic, partition, keys, values, times, first=0):
    n = len(values)
    span = Span(partition, first, first + n)
    return Messages(span, topic, list(values), list(keys), list(range(first, first + n)), list(times))


def done(records, partition=0, first=0):
    """Records of `interactions`, as one batch of a partition."""
    times = [int(each["timestamp"]) for each in records]
    return messages("interactions", partition, [each["user"].encode() for each in records], wire(records), times, first)


def beside(topic, partition, records, first=0, at=0):
    times = [int(each["timestamp"]) for each in records]
    n = len(records)
    return Side(partition, topic, at, first, first + n, wire(records), [b"k"] * n, list(range(first, first + n)), times)


@pytest.mark.parametrize("windows", [[3_600, 60], [60, 60], [*range(60, 69)], []])
def test_windows_that_do_not_ascend_or_are_too_many_are_refused_with_all_other_mistakes(windows):
    environ = {
        **ENVIRON,
        "TIDEGATE_INTERACTIONS__COUNT__WINDOWS_S": str(windows),
        "TIDEGATE_SIGNALS__MERGE__MAX_ITEMS": "0",
    }
    with pytest.raises(SettingsError) as found:
        load_settings(None, environ, needs_key=True)

    assert [each.partition(":")[0] for each in found.value.mistakes if "count" in each] != []
    assert any(each.startswith("signals.merge.max_items") for each in found.value.mistakes)


class Topics:
    """A broker that says how many partitions topics have."""

    def __init__(self, **changed):
        names = ("interactions", "ranking.parts", "ranking.catalogue", "items", "risk.tiers", "tidegate.snapshots")
        self.told = dict.fromkeys(names, 4) | {name.replace("_", "."): n for name, n in changed.items()}

    def partitions(self):
        return self.told


@pytest.mark.parametrize(
    ("flow", "changed", "refused"),
    [
        (interactions, {"ranking_parts": 3}, ["ranking.parts has 3"]),
        (signals, {"interactions": 3}, ["ranking.parts has 4", "items has 4"]),
        (signals, {"items": 5}, ["items has 5"]),
    ],
)
def test_topics_that_belong_together_need_equal_numbers_of_partitions(monkeypatch, flow, changed, refused):
    monkeypatch.setattr(flow, "Admin", lambda *_: Topics(**changed))
    with pytest.raises(CommandError, match="Make those that differ anew") as found:
        flow.plan(SETTINGS)

    assert [each for each in refused if each not in str(found.value)] == []
    monkeypatch.setattr(flow, "Admin", lambda *_: Topics(ranking_catalogue=2))
    assert flow.plan(SETTINGS).topic in ("interactions", "ranking.parts")


def count(items, settings=SETTINGS):
    found = []
    run_main(
        interactions.build(
            interactions.Stages(settings, PARTITIONS, PARTITIONS),
            TestingSource(items, batch_size=3),
            TestingSink(found),
        )
    )
    return found


def merge(items, settings=SETTINGS, catalogue=3):
    found = []
    fresh = signals.Stages(settings, PARTITIONS, catalogue, bytes(range(32)))
    run_main(signals.build(fresh, TestingSource(items, batch_size=3), TestingSink(found)))
    return found


def said(found, topic):
    """Return what was written at flushes on a topic."""
    flushes = [item for item in found if isinstance(item, Flush)]
    return [each for flush in flushes for answer in flush.encoded for each in answer.records if each.topic == topic]


def newest(found):
    """Return the newest signals by item; None where they were taken back."""
    return {
        each.key.decode(): None if each.value is None else msgspec.json.decode(each.value, type=Signals)
        for each in said(found, "ranking.signals")
    }


def parts_of(records, settings=SETTINGS):
    """Return the parts that two tasks write, after a few flushes, as batches of the topic `ranking.parts`."""
    written = []
    for partition, own in sorted(by_partition(records, PARTITIONS).items()):
        items = [Restore(partition, {})]
        for first in range(0, len(own), 200):
            items += [done(own[first : first + 200], partition, first), Flush(live={partition: 0})]
        written += said(count(items, settings), "ranking.parts")
    batches = []
    for number in range(PARTITIONS):
        own = [each for each in written if each.partition == number]
        columns = [each.key for each in own], [each.value for each in own], [each.timestamp_ms for each in own]
        batches.append(messages("ranking.parts", number, *columns))
    return batches


def gathered(records, settings=SETTINGS, items=(), at_end=()):
    """Return what is written of some interactions and descriptions."""
    found = []
    for number, batch in enumerate(parts_of(records, settings)):
        own = [each for each in items if murmur2([each["item"].encode()], PARTITIONS)[0] == number]
        sides = [beside("items", number, own)] if own else []
        found += merge([Restore(number, {}), *sides, batch, *at_end, Flush(live={number: 0})], settings)
    return found


CLOSER = visit(10**6, "user-1", "item-0", "search", NOW + 201 * MINUTE)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_signals_are_those_counted_by_hand(seed):
    records = [*visits(seed, 1_500), CLOSER]
    listed, streams = counting(records, PARTITIONS, COUNT)
    found = newest(gathered(records))

    assert {item_key(item) for item in found} == {row.item for row in listed}
    for each in found.values():
        assert each.timestamp == NOW + 201 * MINUTE == max(streams.values())
        compare(each, listed, each.timestamp, COUNT, MERGE)


def test_signals_say_up_to_where_interactions_are_in_them():
    records = visits(3, 400)
    lengths = {str(number): len(own) for number, own in by_partition(records, PARTITIONS).items()}

    assert {tuple(sorted(each.offsets.items())) for each in newest(gathered(records)).values()} == {
        tuple(sorted(lengths.items()))
    }


def test_the_catalogue_has_the_same_in_every_partition():
    found = gathered(visits(4, 300), items=[described("item-1", price=3.5)])
    once = [(each.key, each.value) for each in said(found, "ranking.signals")]
    copies = said(found, "ranking.catalogue")

    assert {each.partition for each in said(found, "ranking.signals")} == {-1}
    for number in range(3):
        assert [(each.key, each.value) for each in copies if each.partition == number] == once


def test_tiers_of_users_weigh_what_they_do_from_then_on():
    settings = load_settings(None, ENVIRON | {"TIDEGATE_INTERACTIONS__TIERS": "true"}, needs_key=True)
    own = by_partition(visits(5, 900, users=9), PARTITIONS)[0]
    half, whole = len(own) // 2, [*own, visit(10**6, own[0]["user"], "item-0", "search", NOW + 201 * MINUTE)]
    made = interactions.Stages(settings, PARTITIONS, PARTITIONS).notice(0).pseudonymizer
    users = sorted({each["user"] for each in own})
    words = ("low", "medium", "high", "critical", "unknown")
    tiers = {user: words[number % 5] for number, user in enumerate(users)}
    decided = [
        {"id": "e", "timestamp": NOW, "user": made.pseudonym("user", user), "tier": tier}
        for user, tier in tiers.items()
    ]
    weights = {"high": (0.2, True), "critical": (0.0, True)}

    def weigh(number, record):
        return weights.get(tiers[record["user"]], (1.0, False)) if number >= half else (1.0, False)

    listed, _ = counting(whole, PARTITIONS, COUNT, weigh)
    found = count(
        [
            Restore(0, {}),
            done(whole[:half]),
            beside("risk.tiers", 0, decided, at=half),
            done(whole[half:], first=half),
            Flush(live={0: 0}),
        ],
        settings,
    )
    records = said(found, "ranking.parts")
    for number in range(PARTITIONS):
        mine = [each for each in records if each.partition == number]
        batch = messages(
            "ranking.parts", number, [e.key for e in mine], [e.value for e in mine], [e.timestamp_ms for e in mine]
        )
        for each in newest(merge([Restore(number, {}), batch, Flush(live={number: 0})], settings)).values():
            compare(each, listed, each.timestamp, COUNT, MERGE)


def test_later_tiers_take_the_place_of_earlier_ones_and_all_count_alike_if_they_are_not_read():
    own = by_partition(visits(6, 300, users=6), PARTITIONS)[0]
    user = own[0]["user"]
    made = interactions.Stages(SETTINGS, PARTITIONS, PARTITIONS).notice(0).pseudonymizer.pseudonym("user", user)
    decided = [{"id": "e", "timestamp": NOW, "user": made, "tier": tier} for tier in ("critical", "low")]
    alike = [
        count([Restore(0, {}), *some, done(own), Flush(live={0: 0})], settings)
        for settings, some in (
            (SETTINGS, [beside("risk.tiers", 0, decided[:1])]),
            (
                load_settings(None, ENVIRON | {"TIDEGATE_INTERACTIONS__TIERS": "true"}, needs_key=True),
                [beside("risk.tiers", 0, decided)],
            ),
            (SETTINGS, []),
        )
    ]

    assert said(alike[0], "ranking.parts") == said(alike[1], "ranking.parts") == said(alike[2], "ranking.parts")


def read_back(barrier):
    """Return the stages' states by way of their written form, as a snapshot that stands alone has them."""
    found = {}
    for step, snapshot in barrier.snapshots.items():
        state = unpack(pack(snapshot.state))
        whole = Assembly(state)
        whole.add(state)
        found[step] = StageSnapshot(snapshot.fingerprint, whole.finish())
    return found


def last(found, kind):
    return [item for item in found if isinstance(item, kind)][-1]


def test_the_interactions_flow_goes_on_from_a_snapshot_as_if_nothing_had_happened():
    own = by_partition(visits(7, 900), PARTITIONS)[0]
    half = len(own) // 2
    end = Flush(live={0: len(own)})
    whole = count([Restore(0, {}), done(own), end])
    first = count([Restore(0, {}), done(own[:half]), Flush(live={0: half}), Barrier(0, half)])
    again = [Restore(0, read_back(last(first, Barrier)), beside=last(first, Encoded).beside)]
    second = count([*again, done(own[half:], first=half), Flush(live={0: len(own)})])
    newest_parts = {each.key: each.value for each in said(second, "ranking.parts") if each.key}

    assert newest_parts == {each.key: each.value for each in said(whole, "ranking.parts") if each.key}


def test_the_signals_flow_goes_on_from_a_snapshot_as_if_nothing_had_happened():
    batch = parts_of(visits(8, 900))[0]
    half = batch.events // 2
    cut = [
        messages("ranking.parts", 0, batch.keys[some], batch.values[some], batch.timestamps_ms[some], first)
        for some, first in ((slice(half), 0), (slice(half, None), half))
    ]
    items = [described(f"item-{n}", price=n) for n in range(12)]
    sides = [beside("items", 0, [each for each in items if murmur2([each["item"].encode()], PARTITIONS)[0] == 0])]
    whole = merge([Restore(0, {}), *sides, *cut, Flush(live={0: 0})])
    first = merge([Restore(0, {}), *sides, cut[0], Barrier(0, half)])
    again = [Restore(0, read_back(last(first, Barrier)), beside=last(first, Encoded).beside)]
    second = merge([*again, cut[1], Flush(live={0: 0})])

    assert newest(second) == newest(whole)
    assert any(each.fields for each in newest(second).values())


def test_every_record_that_cannot_be_read_leaves_as_a_dead_letter():
    bad = done([CLOSER, CLOSER])
    bad.values[0] = b"{"
    topics = [each.topic for item in count([Restore(0, {}), bad]) if isinstance(item, Encoded) for each in item.records]
    broken = messages("ranking.parts", 0, [b"k"], [b"{"], [NOW])
    sides = beside("items", 0, [described("item-0")])
    sides.values[0] = b"{"
    found = merge([Restore(0, {}), broken, sides])

    assert topics == ["audit", "dead-letters"]
    assert [each.topic for item in found if isinstance(item, Encoded) for each in item.records] == [
        "audit",
        "dead-letters",
        "dead-letters",
    ]


def test_nothing_is_written_of_partitions_that_are_not_live():
    assert said(count([Restore(0, {}), done([CLOSER]), Flush(live={})]), "ranking.parts") == []


def test_what_the_warm_ups_compile_is_what_is_needed():
    for flow in (interactions, signals):
        flow.warm_up(load_settings(None, {}))


def test_interactions_need_a_pseudonym_key_and_signals_an_audit_key_alone():
    needs = [(FLOWS[name].needs_key, FLOWS[name].needs_audit_key) for name in ("interactions", "signals")]

    assert needs == [(True, False), (False, True)]


@pytest.mark.parametrize("flow", ["interactions", "signals"])
def test_a_store_without_its_directory_is_a_mistake(flow):
    with pytest.raises(SettingsError, match="needs snapshot_directory"):
        load_settings(None, {f"TIDEGATE_{flow.upper()}__SNAPSHOT_STORE": "directory"})


def test_the_page_names_every_setting_metric_and_signal(repository):
    text = (repository / "docs" / "signals.md").read_text(encoding="utf-8")
    configs = (NoticeConfig, CountItemsConfig, WeightsConfig, MergeItemsConfig, ItemsConfig)
    names = {
        *Interactions.model_fields,
        *SignalsSection.model_fields,
        *(field.name for config in configs for field in dataclasses.fields(config)),
        *(
            name
            for name, *_ in OF_RANKING
            if name.startswith(("tidegate_items", "tidegate_audience", "tidegate_signals"))
        ),
        *(name for name in Window.__struct_fields__ if not name.startswith("weighted_") and name != "window_s"),
        *REASONS,
    }
    sections = {"notice", "count", "weights", "merge", "items"}

    assert sorted(name for name in names - sections if f"`{name}`" not in text and f'"{name}"' not in text) == []
