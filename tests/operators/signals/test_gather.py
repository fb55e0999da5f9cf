"""The stage of the signals flow: parts and descriptions in, records out; what is bounded, refused, and kept."""

import dataclasses
import itertools
import json
import math
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from cutting import canonical, random_cuts
from hypothesis import given, settings
from hypothesis import strategies as st
from signals_reference import CONFIG, HOUR, START, Row, stream
from test_item_parts import Shop

from operators.audit import Chain
from operators.batches import Messages, Span
from operators.noticed import CLICK, IMPRESSION
from operators.parts import EVERYTHING, Assembly, Changes, Sweep
from operators.side import EndsSides, Side, TakesSides
from operators.signals.described import ItemsConfig
from operators.signals.gather import GatherItems
from operators.signals.merge import MergeItemsConfig
from operators.signals.parts import source_of, written
from operators.signals.written import rounded
from operators.stage import WritesAtFlush
from operators.state import Recalls, Stage, pack, unpack
from schemas.dead_letter import DeadLetter
from schemas.signals import Signals

PARTITIONS, CATALOGUE = 2, 3


def made(most=1_000, items=None, chain=None, **settings):
    config = MergeItemsConfig(**settings)
    return GatherItems(config, CONFIG, items or ItemsConfig(), 1, CATALOGUE, most, chain)


def batch(records, first=0, *, muted=False):
    """Return records of `ranking.parts`, given as (key, value)."""
    n = len(records)
    keys, values = [key for key, _ in records], [value for _, value in records]
    return Messages(
        Span(0, first, first + n, muted), "acme.ranking.parts", values, keys, list(range(first, first + n)), [START] * n
    )


def parts(shop, offset=1, only=None):
    """Return what a shop tells: all items together, and each item that changed."""
    source = source_of(CONFIG, 0, 1)
    totals = shop.totals(shop.changed() if only is None else only)
    ids, since = shop.ids(totals.items), shop.since(totals.items)
    values = written(source, totals.stream_ms, offset, ids, since, totals.sums)
    everything = written(source, totals.stream_ms, offset, [None], [0], totals.everything)
    return [*zip(ids, values, strict=True), (b"", everything[0])]


def said(item, at_ms=START, kafka_ms=None, **fields):
    listed = [{"name": name, "value": value} for name, value in fields.items()]
    value = {"event": "item", "id": "i", "timestamp": at_ms, "item": item, "fields": listed}
    return json.dumps(value).encode(), at_ms if kafka_ms is None else kafka_ms


def side(*records, first=0, muted=False):
    values, times = [value for value, _ in records], [at_ms for _, at_ms in records]
    n = len(records)
    offsets = list(range(first, first + n))
    return Side(0, "items", 0, first, first + n, values, [b"k"] * n, offsets, times, muted=muted, source="acme.items")


def flushed(stage):
    found = stage.at_flush(0)
    return [] if found is None else found.records


def signals(stage):
    """Return what is written on `ranking.signals`, by item; None where it is taken back."""
    return {
        each.key.decode(): None if each.value is None else msgspec.json.decode(each.value, type=Signals)
        for each in flushed(stage)
        if each.topic == "ranking.signals"
    }


def fields(record):
    return {each.name: each.value for each in record.fields}


@pytest.mark.parametrize("kind", [Stage, TakesSides, EndsSides, WritesAtFlush, Recalls])
def test_it_is_a_stage_with_sides_that_writes_at_flushes(kind):
    assert isinstance(made(), kind)


def test_an_item_goes_to_its_own_partition_once_and_to_every_one_of_the_catalogue():
    stage = made()
    stage.process(batch(parts(Shop([Row(CLICK, 1, 1, START)]))))
    found = flushed(stage)

    assert [(each.topic, each.partition) for each in found] == [
        ("ranking.signals", -1),
        *(("ranking.catalogue", number) for number in range(CATALOGUE)),
    ]
    assert len({(each.key, each.value, each.timestamp_ms) for each in found}) == 1
    assert (found[0].key, found[0].timestamp_ms) == (b"item-1", START)


def test_an_item_that_was_only_described_is_written_too():
    stage = made()
    stage.take_side(side(said("cat", color="black", sizes=["s", "m"], price=3)))
    [record] = signals(stage).values()

    assert (record.item, record.timestamp, record.since) == ("cat", 0, START)
    assert fields(record) == {"color": "black", "price": 3.0, "sizes": ("s", "m")}
    assert {(of.impressions, of.clicks, of.purchases, of.click_rate) for of in record.windows} == {(0, 0, 0, None)}


def test_the_newest_by_event_time_counts_field_by_field():
    stage = made()
    stage.take_side(side(said("cat", START + 9, price=2, color="red"), said("cat", START, price=1, size="s")))
    first = signals(stage)["cat"]
    stage.take_side(side(said("cat", START + 9, price=3), said("cat", START + 10, color=None), first=2))
    second = signals(stage)["cat"]
    stage.take_side(side(said("cat", START + 9, color="blue"), first=4))

    assert fields(first) == {"price": 2.0, "color": "red", "size": "s"}
    assert fields(second) == {"price": 3.0, "size": "s"}
    assert signals(stage) == {}  # nothing else is known than before


@given(st.lists(st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 9)))))
def test_fields_are_those_of_brute_force(records):
    stage, newest = made(), {}
    for at, told in records:
        stage.take_side(side(said("cat", START + at, **told)))
        for name, value in told.items():
            if at >= newest.get(name, (0, None))[0]:
                newest[name] = at, value
    found = signals(stage)

    assert found.keys() == ({"cat"} if records else set())
    for record in found.values():
        assert fields(record) == {name: value for name, (_, value) in newest.items() if value is not None}
        assert record.since == START + min(at for at, _ in records)


def test_a_description_that_changes_is_written_though_time_stands_still():
    stage = made()
    stage.process(batch(parts(Shop([Row(CLICK, 1, 1, START)]))))
    versions = [signals(stage)["item-1"].timestamp]
    for price in (1, 2):
        stage.take_side(side(said("item-1", START, price=price)))
        versions.append(signals(stage)["item-1"].timestamp)

    assert versions == [START, START + 1, START + 2]


def test_an_item_was_first_heard_of_when_either_topic_said_so():
    stage = made()
    stage.process(batch(parts(Shop([Row(CLICK, 1, 1, START), Row(CLICK, 2, 1, START)]))))
    stage.take_side(side(said("item-1", START - HOUR), said("item-2", START + HOUR)))

    assert {item: each.since for item, each in signals(stage).items()} == {"item-1": START - HOUR, "item-2": START}


def test_signals_say_up_to_where_interactions_are_in_them():
    stage, shop = made(), Shop([Row(CLICK, 1, 1, START)])
    stage.process(batch(parts(shop, 17)))

    assert signals(stage)["item-1"].offsets == {"0": 17}


def test_no_more_are_written_at_once_than_are_to_be_and_the_others_later():
    stage = made(most=3)
    stage.process(batch(parts(Shop([Row(CLICK, item, 1, START) for item in range(1, 9)]))))
    found = [list(signals(stage)) for _ in range(4)]

    assert [len(each) for each in found] == [3, 3, 2, 0]
    assert len({item for each in found for item in each}) == 8


def test_items_that_are_not_due_keep_none_behind_them_from_being_written():
    """Whoever says nothing at a flush is not asked again. One more of 99 changes nothing by a twentieth, 30 do."""
    stage = made(most=2, look_again=1)
    shop = Shop([Row(IMPRESSION, item, user, START) for item in range(1, 9) for user in range(99)])
    stage.process(batch(parts(shop)))
    while flushed(stage):
        pass
    shop.see([Row(IMPRESSION, item, 1, START + 1) for item in [*range(1, 8), *[8] * 30]], 999)
    stage.process(batch(parts(shop), 9))

    assert [item for _ in range(3) for item in signals(stage)] == ["item-8"]


def test_an_item_that_had_to_go_is_taken_from_the_topics():
    stage = made(max_items=2)
    stage.take_side(side(said("a"), said("b")))
    flushed(stage)
    stage.take_side(side(said("c"), first=2))
    found = flushed(stage)

    assert {each.key: each.value is None for each in found} == {b"c": False, b"a": True}
    assert sorted(each.partition for each in found if each.key == b"a") == [-1, 0, 1, 2]
    assert flushed(stage) == []


def test_an_item_that_comes_again_before_it_was_taken_back_stays():
    stage = made(max_items=2)
    stage.take_side(side(said("a"), said("b"), said("c"), said("a")))

    assert {item: each is None for item, each in signals(stage).items()} == {"a": False, "b": True, "c": False}


def test_an_item_in_the_place_of_another_has_nothing_of_it():
    stage, shop = made(max_items=1), Shop([Row(CLICK, 1, 1, START)])
    stage.take_side(side(said("item-1", price=1)))
    stage.process(batch(parts(shop)))
    stage.take_side(side(said("new", START + 5), first=1))
    record = signals(stage)["new"]

    assert (fields(record), record.since, record.windows[0].clicks, record.fading.clicks) == ({}, START + 5, 0, 0.0)


def letters(applied):
    found = [msgspec.json.decode(each.value, type=DeadLetter) for each in applied.records]
    return [(each.offset, each.reason.value, each.topic) for each in found]


def test_more_than_an_item_may_have_is_refused_and_changes_nothing():
    stage = made(items=ItemsConfig(max_item_bytes=1_100))
    records = side(
        said("a", small="x"), said("a", START + 1, small="y", large="x" * 1_100), said("b", text="x" * 2_000)
    )
    stage.take_side(records)
    applied = stage.end_side(records)
    detail = msgspec.json.decode(applied.records[0].value, type=DeadLetter).detail

    assert letters(applied) == [(1, "out_of_range", "acme.items"), (2, "out_of_range", "acme.items")]
    assert detail == "expected at most max_item_bytes of properties of an item, got more - at $.fields"
    assert {item: fields(each) for item, each in signals(stage).items()} == {"a": {"small": "x"}}


def test_items_in_another_partition_than_their_parts_are_refused():
    stage = GatherItems(MergeItemsConfig(), CONFIG, ItemsConfig(), 2, 1, 99, None)
    records = side(*(said(f"item-{number}") for number in range(20)))
    stage.take_side(records)
    details = {msgspec.json.decode(each.value, type=DeadLetter).detail for each in stage.end_side(records).records}

    assert 5 < len(records.rejected) < 15
    assert details == {"expected the partition that murmur2 gives the item, got another - at $.item"}
    assert len(signals(stage)) == 20 - len(records.rejected)


def test_what_is_no_item_is_a_dead_letter_in_the_order_of_the_topic():
    stage = made()
    records = side((b"{", START), said("a"), (b"", START), said("b", START + HOUR, kafka_ms=START), said("", START))
    stage.take_side(records)

    assert [each[:2] for each in letters(stage.end_side(records))] == [
        (0, "not_json"),
        (2, "empty_value"),
        (3, "from_the_future"),
        (4, "empty_field"),
    ]


def test_what_is_no_part_is_a_dead_letter():
    stage = made()
    found = stage.process(batch([(b"k", b"{"), *parts(Shop([Row(CLICK, 1, 1, START)])), (None, None)]))

    assert [(each.offset, each.reason) for each in found.rejected] == [(0, "wrong_type"), (3, "empty_value")]
    assert [each.topic for each in found.records] == ["dead-letters"] * 2
    assert list(signals(stage)) == ["item-1"]


def test_muted_records_give_nothing_and_count_all_the_same():
    stage, records = made(chain=Chain(bytes(32), "signals", 0, {"a": "1"})), side(said("a"), (b"{", START), muted=True)
    stage.take_side(records)
    found = stage.process(batch([*parts(Shop([Row(CLICK, 1, 1, START)])), (b"k", b"{")], muted=True))

    assert (found.records, found.beside, stage.end_side(records).records) == ([], "", [])
    assert signals(stage).keys() == {"a", "item-1"}


def test_the_configuration_is_told_once():
    stage = made(chain=Chain(bytes(32), "signals", 0, {"a": "1"}))
    found = [stage.process(batch(parts(Shop([Row(CLICK, 1, 1, START)])), first)) for first in (0, 9)]

    assert [each.audited for each in found] == [("configuration",), ()]
    assert found[1].beside == found[0].beside
    assert found[0].beside.startswith("0:")


def stretch(seed):
    """Return parts as several flushes tell them, more items than fit."""
    shop, records = Shop(), []
    listed = stream(seed, 500, items=14, users=30, step_s=20)
    for first in range(0, len(listed), 50):
        shop.see(listed[first : first + 50], first)
        records += parts(shop, first)
    return records


def fed(stage, records, cuts):
    edges = sorted({0, *cuts, len(records)})
    for low, high in itertools.pairwise(edges):
        stage.process(batch(records[low:high], low))
    return stage


@pytest.mark.parametrize("seed", [1, 2])
def test_it_does_not_care_about_cuts(seed):
    records = stretch(seed)
    whole, pieces = (fed(made(max_items=9), records, cuts) for cuts in ((), random_cuts(seed, 1, len(records) - 1, 30)))

    assert canonical(pieces.dump()) == canonical(whole.dump())
    assert signals(pieces) == signals(whole)


def test_it_survives_a_snapshot_anywhere():
    records, through, stage = stretch(3), made(max_items=9), made(max_items=9)
    for first in range(0, len(records), 13):
        for each in (through, stage):
            each.process(batch(records[first : first + 13], first))
            each.take_side(side(said(f"item-{first % 5}", START + first, price=first)))
        again = made(max_items=9)
        again.load(unpack(pack(stage.dump())))
        stage = again
        assert canonical(stage.dump()) == canonical(through.dump())
    assert signals(stage) == signals(through)


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_the_parts_of_one_turn_are_the_state(data):
    stage, changes, written_, first = made(max_items=9), Changes(), [], 0
    records = stretch(data.draw(st.integers(1, 9)))
    for at in range(0, len(records), 25):
        stage.process(batch(records[at : at + 25], at))
        stage.take_side(side(said(f"item-{at % 6}", START + at, price=at)))
        if data.draw(st.booleans()):
            stage.at_flush(0)
        sweep = Sweep(first, data.draw(st.integers(16, 64))) if written_ else EVERYTHING
        first = sweep.next
        written_.append(unpack(pack(changes.of(stage, sweep))))
    assembly = Assembly(written_[-1])
    for each in written_:
        assembly.add(each)
    again = made(max_items=9)
    again.load(assembly.finish())

    assert canonical(again.dump()) == canonical(stage.dump())


def test_a_part_told_twice_changes_nothing():
    records, once, twice = stretch(4), made(), made()
    fed(once, records, ())
    fed(twice, [each for each in records for _ in range(2)], ())

    assert signals(twice) == signals(once)


@pytest.mark.parametrize("change", [{"described.rows": 0}, {"gone": np.zeros(1, np.uint8)}])
def test_what_cannot_be_its_state_is_refused(change):
    stage = made()
    stage.take_side(side(said("a")))

    with pytest.raises(ValueError, match="expected"):
        made().load(stage.dump() | change)


def test_settings_that_make_its_state_useless_have_another_fingerprint():
    others = [dataclasses.replace(CONFIG, windows_s=(60,)), dataclasses.replace(CONFIG, max_items=7)]
    prints = [GatherItems(MergeItemsConfig(), each, ItemsConfig(), 1, 1, 1).fingerprint for each in (CONFIG, *others)]

    assert (prints[0] == prints[1], prints[0] == prints[2]) == (False, True)


@given(st.floats(1e-12, 1e15))
def test_rounded_numbers_have_six_digits_and_are_near(value):
    found = rounded(np.array([value])).item()

    assert math.isclose(found, value, rel_tol=5.1e-6)
    assert len(Decimal(repr(found)).normalize().as_tuple().digits) <= 6


def test_what_is_not_known_and_nothing_stay_as_they_are():
    assert np.isnan(rounded(np.array([np.nan]))).all()
    assert rounded(np.array([0.0, 5.0, 123_456_789.0])).tolist() == [0.0, 5.0, 123_457_000.0]


def test_what_is_held_written_and_waits_is_measured():
    stage = made(most=1)
    stage.process(batch(parts(Shop([Row(CLICK, item, 1, START) for item in (1, 2)]))))
    stage.at_flush(0)
    measured = {each.metric: each.value for each in stage.measurements()}

    assert (measured["tidegate_items"], measured["tidegate_signals_written_total"]) == (2, 1)
    assert measured["tidegate_signals_waiting"] == 1
