"""Parts of items as they are written: read back they are what was counted, and what is none is refused."""

import dataclasses

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signals_reference import CONFIG, START, Row, batch, stream

from operators.audit import Chain
from operators.batches import Rejected, Span
from operators.decode.explain import Fault
from operators.noticed import CLICK, item_key
from operators.partitioner import murmur2
from operators.side import EndsSides, Side
from operators.signals.encode import EncodeItems
from operators.signals.merge import MergeItems, MergeItemsConfig
from operators.signals.parts import columns_of, read_part, source_of, written
from operators.signals.rows import Counted
from operators.signals.stage import CountItems
from operators.stage import WritesAtFlush
from operators.state import Recalls, Stage, pack, unpack
from schemas.audit import Audit
from schemas.dead_letter import DeadLetter
from schemas.event import LAST_TIME_MS
from schemas.item_part import ItemPart

PARTITIONS = 3
SOURCE = source_of(CONFIG, 1, PARTITIONS)
SEEDS = (1, 2)


class Shop:
    """What the count stage says: sums of items by key, with ids made of the keys."""

    def __init__(self, listed=()):
        self.stage = CountItems(CONFIG)
        self.changed, self.totals, self.since = self.stage.changed, self.stage.totals, self.stage.since
        self.names = {}
        self.see(listed)

    def see(self, listed, first=0):
        """Count rows; items are told apart by the keys of their ids, as everywhere."""
        ids = {row.item: f"item-{row.item}" for row in listed}
        self.names |= {item_key(name): name.encode() for name in ids.values()}
        rows = batch([row._replace(item=item_key(ids[row.item])) for row in listed], first)
        return self.stage.process(rows)

    @property
    def waiting(self):
        return self.stage.waiting

    def ids(self, items):
        return [self.names[int(item)] for item in items]


def values_of(shop, offset=9):
    totals = shop.totals(shop.stage.keys)
    ids, since = shop.ids(totals.items), shop.since(totals.items)
    values = written(SOURCE, totals.stream_ms, offset, ids, since, totals.sums)
    return (
        totals,
        [*zip(ids, values, strict=True)],
        written(SOURCE, totals.stream_ms, offset, [None], [0], totals.everything),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_read_is_what_was_counted(seed):
    totals, items, everything = values_of(Shop(stream(seed)))
    read = [read_part(key, value, SOURCE) for key, value in [*items, (b"", everything[0])]]
    columns = columns_of(read, len(CONFIG.windows_s))

    assert columns.items.tolist() == [*totals.items.tolist(), 0]
    for name, got in columns.sums._asdict().items():
        expected = np.concatenate([getattr(totals.sums, name), getattr(totals.everything, name)])
        assert (got.dtype, got.tolist()) == (expected.dtype, expected.tolist())
    assert {each.partition for each in read} == {1}
    assert {each.timestamp for each in read} == {totals.stream_ms}


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_that_were_written_and_read_add_up_to_the_same_signals(seed):
    shop = Shop(stream(seed))
    totals, items, everything = values_of(shop)
    parts = [read_part(key, value, SOURCE) for key, value in [(b"", everything[0]), *items]]
    one, other = (MergeItems(MergeItemsConfig(), CONFIG, PARTITIONS) for _ in range(2))
    one.take(1, totals)
    other.take_parts(columns_of(parts, len(CONFIG.windows_s)))

    assert other.due().values.tobytes() == one.due().values.tobytes()


def test_a_part_is_small():
    _, full, _ = values_of(Shop(stream(1, 4_000, items=3)))
    _, new, _ = values_of(Shop([Row(CLICK, 1, 1, START)]))

    assert max(len(value) for _, value in full) < 1_400
    assert max(len(value) for _, value in new) < 500


def one():
    _, [(key, value)], _ = values_of(Shop([Row(CLICK, 1, 1, START)]))
    return key, msgspec.msgpack.decode(value, type=ItemPart)


def changed(**fields):
    key, part = one()
    return read_part(key, msgspec.msgpack.encode(msgspec.structs.replace(part, **fields)), SOURCE)


def doubles(*numbers):
    return np.array(numbers, "<f8").tobytes()


SUMS = 2 * 10


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"item": "other"}, "expected the item as key"),
        ({"item": None}, "expected the item as key"),
        ({"partition": PARTITIONS}, "a partition of interactions"),
        ({"partitions": PARTITIONS + 1}, "a partition of interactions"),
        ({"windows_s": (60, 600)}, "windows as in interactions.count"),
        ({"windows_s": (3_600,)}, "windows as in interactions.count"),
        ({"half_life_s": 7}, "windows as in interactions.count"),
        ({"audience_s": 7}, "windows as in interactions.count"),
        ({"pane": b"1"}, "arrays as long as"),
        ({"sums": b""}, "arrays as long as"),
        ({"decayed": doubles(1)}, "arrays as long as"),
        ({"audience": doubles(1)}, "arrays as long as"),
        ({"filled": bytes([1, 1])}, "places of panes"),
        ({"filled": bytes([7, 2])}, "places of panes"),
        ({"filled": bytes([0, 12])}, "places of panes"),
        ({"sums": doubles(*[-1.0] * SUMS)}, "finite numbers from 0"),
        ({"sums": doubles(*[np.nan] * SUMS)}, "finite numbers from 0"),
        ({"sums": doubles(*[np.inf] * SUMS)}, "finite numbers from 0"),
        ({"decayed": doubles(*[np.nan] * 10)}, "finite numbers from 0"),
        ({"audience": doubles(*[np.inf] * 12)}, "finite numbers from 0"),
        ({"pane": np.array([-1, 0], "<i8").tobytes()}, "finite numbers from 0"),
        ({"pane": np.array([2**62, 0], "<i8").tobytes()}, "finite numbers from 0"),
        ({"sums": doubles(*[1e300] * SUMS)}, "finite numbers from 0"),
        ({"audience": doubles(*[-1e300] * 12)}, "finite numbers from 0"),
        ({"period": 2**60}, "finite numbers from 0"),
        ({"offset": 2**63}, "a record of ranking.parts"),
        ({"timestamp": 2**63}, "a record of ranking.parts"),
        ({"timestamp": LAST_TIME_MS + 1}, "a record of ranking.parts"),
        ({"since": LAST_TIME_MS + 1}, "a record of ranking.parts"),
        ({"as_of": 2**64 - 1}, "a record of ranking.parts"),
        ({"period": 2**64 - 1}, "a record of ranking.parts"),
    ],
)
def test_what_is_no_part_is_refused_with_its_reason(fields, detail):
    assert detail in changed(**fields).detail


def test_a_sum_of_c_ln_c_with_weights_may_be_below_0():
    shop = Shop([Row(CLICK, 1, 1, START, weight=0.5)])
    _, [(key, value)], _ = values_of(shop)

    assert shop.totals(shop.stage.keys).sums.audience[0, 0, 5] < 0.0
    assert not isinstance(read_part(key, value, SOURCE), Fault)


@given(st.binary(max_size=40))
def test_other_bytes_are_refused_and_stop_nothing(value):
    assert isinstance(read_part(b"k", value, SOURCE), Fault)


@given(st.data())
def test_a_part_with_changed_bytes_is_refused_or_can_be_added_up(data):
    key, part = one()
    wire = bytearray(msgspec.msgpack.encode(part))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    found = read_part(key, bytes(wire), SOURCE)
    if not isinstance(found, Fault):
        merge = MergeItems(MergeItemsConfig(), CONFIG, PARTITIONS)
        merge.take_parts(columns_of([found], len(CONFIG.windows_s)))
        assert len(merge.due().items) == 1


BROKEN = Rejected(0, START - 9, "not_json", "expected JSON, got something else")


def encode(shop, most=100, configuration="1"):
    chain = Chain(bytes(32), "interactions", 1, {"count": configuration})
    return EncodeItems(chain, shop, SOURCE, 4, most)


def counted(shop, listed, first=0, rejected=(), *, muted=False):
    found = shop.see(listed, first)
    rows = dataclasses.replace(
        found.interactions, span=dataclasses.replace(found.span, muted=muted), rejected=list(rejected)
    )
    return Counted(rows, found.flags)


def told(found):
    return [(each.key, msgspec.msgpack.decode(each.value, type=ItemPart)) for each in found.records]


@pytest.mark.parametrize("kind", [Stage, EndsSides, WritesAtFlush, Recalls])
def test_the_last_stage_is_one_that_writes_at_flushes(kind):
    assert isinstance(encode(Shop()), kind)


def test_each_part_goes_to_the_partition_of_its_item_and_all_items_together_to_every_one():
    shop = Shop()
    stage = encode(shop)
    stage.process(counted(shop, stream(1, 300)))
    found = stage.at_flush(1).records
    items = [each for each in found if each.key]

    assert [each.partition for each in items] == murmur2([each.key for each in items], 4).tolist()
    assert [(each.key, each.partition) for each in found[len(items) :]] == [(b"", place) for place in range(4)]


def test_all_items_say_up_to_where_every_one_was_told():
    shop = Shop()
    stage = encode(shop, most=2)
    stage.process(counted(shop, [Row(CLICK, item, 1, START) for item in range(5)]))
    found = [told(stage.at_flush(1)) for _ in range(3)]
    complete = [[part.offset for key, part in each if not key] for each in found]

    assert [sum(bool(key) for key, _ in each) for each in found] == [2, 2, 1]
    assert complete == [[0] * 4, [], [5] * 4]
    assert stage.at_flush(1) is None


def test_what_moves_stream_time_alone_is_told_of_all_items():
    shop = Shop()
    stage = encode(shop)
    stage.process(counted(shop, [Row(CLICK, 1, 1, START)]))
    stage.at_flush(1)
    stage.process(counted(shop, [Row(3, 2, 1, START + 5)], 1))

    assert [(key, part.timestamp, part.offset) for key, part in told(stage.at_flush(1))] == [(b"", START + 5, 2)] * 4


def test_a_record_that_could_not_be_read_is_a_dead_letter_after_the_configuration():
    shop = Shop()
    stage = encode(shop)
    first = stage.process(counted(shop, [], rejected=[BROKEN]))
    second = stage.process(counted(shop, [Row(CLICK, 1, 1, START)], rejected=[BROKEN]))
    trail = msgspec.json.decode(first.records[0].value, type=Audit)
    letter = msgspec.json.decode(first.records[1].value, type=DeadLetter)

    assert (trail.kind, trail.timestamp, letter.flow, letter.topic) == (
        "configuration",
        BROKEN.timestamp_ms,
        "interactions",
        "interactions",
    )
    assert (first.audited, [each.topic for each in second.records]) == (("configuration",), ["dead-letters"])


def test_muted_records_give_nothing_and_count_all_the_same():
    shop = Shop()
    stage = encode(shop)
    found = stage.process(counted(shop, [Row(CLICK, 1, 1, START)], rejected=[BROKEN], muted=True))

    assert (found.records, found.beside) == ([], "")
    assert [part.offset for _, part in told(stage.at_flush(1))] == [1] * 5


def test_after_a_restart_everything_is_told_again():
    shop = Shop()
    stage, again = encode(shop), encode(shop)
    stage.process(counted(shop, [Row(CLICK, 1, 1, START)]))
    before = told(stage.at_flush(1))
    again.load(unpack(pack(stage.dump())))
    shop.stage.load(shop.stage.dump())

    assert told(again.at_flush(1)) == before


def test_decisions_that_could_not_be_read_are_dead_letters_of_their_own_topic():
    side = Side(1, "risk.tiers", 0, 0, 1, [b"{"], [b"k"], [0], [START], source="acme.risk.tiers")
    side.rejected = [BROKEN]
    [letter] = encode(Shop()).end_side(side).records

    assert msgspec.json.decode(letter.value, type=DeadLetter).topic == "acme.risk.tiers"


def test_an_empty_stretch_is_answered_and_tells_nothing():
    shop = Shop()
    found = encode(shop).process(counted(shop, []))

    assert (found.span, found.records) == (Span(0, 0, 0), [])


def test_the_first_record_after_a_gap_may_be_one_that_cannot_be_read():
    shop = Shop()
    later = dataclasses.replace(BROKEN, offset=7)
    [trail, _] = encode(shop).process(counted(shop, [], rejected=[later])).records

    assert msgspec.json.decode(trail.value, type=Audit).timestamp == BROKEN.timestamp_ms
