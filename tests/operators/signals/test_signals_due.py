"""Which items are written when, and what of that survives a restart."""

import dataclasses

import numpy as np
import pytest
from cutting import canonical
from signals_reference import CONFIG, HOUR, START, Row, batch, stream

from operators.noticed import CLICK, IMPRESSION
from operators.parts import EVERYTHING, Assembly, Changes, Sweep
from operators.signals.merge import MergeItems, MergeItemsConfig
from operators.signals.stage import CountItems
from operators.signals.values import changed_enough, floors_of, label, names_of
from operators.state import pack, unpack


class Shop:
    """A stage that counts, and what merges its parts."""

    def __init__(self, **settings):
        self.stage = CountItems(CONFIG)
        self.merge = MergeItems(MergeItemsConfig(**settings), CONFIG, 1)

    def see(self, *rows):
        """Count rows, hand them on, and return the items that are due."""
        self.stage.process(batch(list(rows)))
        self.merge.take(0, self.stage.totals(self.stage.changed()))
        return self.merge.due().items.tolist()


def shown(item, n, at=START, kind=IMPRESSION):
    return [Row(kind, item, 1 + k, at) for k in range(n)]


def test_an_item_that_was_never_written_is_due():
    assert Shop().see(*shown(1, 3), *shown(2, 5)) == [1, 2]


def test_an_item_that_did_not_change_is_not_due():
    shop = Shop()
    shop.see(*shown(1, 100))

    assert shop.see() == []


def test_a_small_change_is_not_due_and_adds_up_with_the_next_until_it_is():
    """A twentieth of 100 impressions is 5, and 3 + 3 is more."""
    shop = Shop()
    shop.see(*shown(1, 100))

    assert [shop.see(*shown(1, 3, START + 1)), shop.see(*shown(1, 3, START + 2))] == [[], [1]]


def test_an_item_is_never_written_twice_at_one_stream_time():
    """The second time it has to wait until time goes on, whoever lets it."""
    shop = Shop(look_again=1)
    shop.see(*shown(1, 100))

    assert [shop.see(*shown(1, 100)), shop.see(*shown(2, 1)), shop.see(*shown(3, 1, START + 1))] == [[], [2], [1, 3]]


def test_an_item_is_written_after_a_while_however_little_it_changed():
    """Two weeks as half-life and windows of two weeks: an hour changes nothing by a twentieth."""
    config = dataclasses.replace(CONFIG, windows_s=(14 * 86_400,), half_life_s=14 * 86_400, audience_s=14 * 86_400)
    stage, merge = CountItems(config), MergeItems(MergeItemsConfig(change=10.0), config, 1)
    found = []
    for at in (0, 1_800_000, HOUR):
        stage.process(batch(shown(1, 20, START + at)))
        merge.take(0, stage.totals(stage.changed()))
        found.append(merge.due().items.tolist())

    assert found == [[1], [], [1]]


def test_an_item_that_nobody_tells_of_any_more_fades_nevertheless():
    shop = Shop()
    shop.see(*shown(1, 100))

    assert 1 in shop.see(*shown(2, 1, START + 5 * HOUR))


def test_all_items_without_new_parts_are_looked_at_in_turns():
    shop = Shop(look_again=3)
    shop.see(*(row for item in range(1, 11) for row in shown(item, 50)))
    seen = [shop.see(*shown(99, 1, START + 5 * HOUR))]
    seen += [shop.merge.due().items.tolist() for _ in range(3)]

    assert sorted({item for some in seen for item in some} - {99}) == list(range(1, 11))
    assert max(len(some) for some in seen) <= 4


def test_no_more_items_with_new_parts_are_looked_at_than_are_asked_for():
    shop = Shop(look_again=1)
    shop.stage.process(batch([row for item in range(1, 11) for row in shown(item, 5)]))
    shop.merge.take(0, shop.stage.totals(shop.stage.changed()))
    asked = [shop.merge.due(3).items.tolist() for _ in range(4)]

    assert max(len(some) for some in asked) <= 4
    assert sorted(item for some in asked for item in some) == list(range(1, 11))


def test_after_a_restart_it_is_known_what_was_written():
    shop = Shop()
    shop.see(*shown(1, 100))
    again = MergeItems(MergeItemsConfig(), CONFIG, 1)
    again.load(unpack(pack(shop.merge.dump())))

    assert again.due().items.tolist() == []
    assert canonical(again.dump()) == canonical(shop.merge.dump())


def test_a_restart_leads_to_the_same_signals():
    shop, listed = Shop(), stream(1, 600)
    shop.see(*listed[:400])
    again = MergeItems(MergeItemsConfig(), CONFIG, 1)
    again.load(unpack(pack(shop.merge.dump())))
    shop.stage.process(batch(listed[400:], 400))
    totals = shop.stage.totals(shop.stage.changed())
    for merge in (shop.merge, again):
        merge.take(0, totals)

    assert canonical(again.due()) == canonical(shop.merge.due())


def test_the_parts_of_one_turn_are_the_state():
    shop, changes, parts, listed = Shop(look_again=2), Changes(), [], stream(2, 800, items=60)
    for first in range(0, 800, 100):
        shop.see(*listed[first : first + 100])
        parts.append(unpack(pack(changes.of(shop.merge, Sweep(first // 100 * 8, 8) if parts else EVERYTHING))))
    assembly = Assembly(parts[-1])
    for part in parts:
        assembly.add(part)
    again = MergeItems(MergeItemsConfig(look_again=2), CONFIG, 1)
    again.load(assembly.finish())

    assert canonical(again.dump()) == canonical(shop.merge.dump())


def test_more_items_than_fit_take_each_others_places():
    shop = Shop(max_items=5)
    shop.see(*(row for item in range(1, 11) for row in shown(item, 5, START + item)))
    found = shop.merge.signals(np.arange(len(shop.merge)))

    assert sorted(found.items.tolist()) == [6, 7, 8, 9, 10]
    assert set(found.values[:, 0]) == {5.0}


def test_an_item_in_the_place_of_another_has_nothing_of_it():
    """Not what other partitions told of that one, nor that it was written already at this time."""
    shops = [Shop(max_items=1), Shop()]
    merge = MergeItems(MergeItemsConfig(max_items=1), CONFIG, 2)
    for number, (shop, item) in enumerate(zip(shops, (1, 2), strict=True)):
        shop.stage.process(batch(shown(item, 10 + number)))
        merge.take(number, shop.stage.totals(shop.stage.changed()))
        found = merge.due()
        assert (found.items.tolist(), found.values[0, 0]) == ([item], 10.0 + number)


@pytest.mark.parametrize("partition", [-1, 1])
def test_a_partition_that_does_not_exist_is_refused(partition):
    stage = CountItems(CONFIG)

    with pytest.raises(ValueError, match="expected a partition below 1"):
        MergeItems(MergeItemsConfig(), CONFIG, 1).take(partition, stage.totals(stage.changed()))


def test_parts_with_other_windows_are_refused():
    stage = CountItems(dataclasses.replace(CONFIG, windows_s=(60,)))

    with pytest.raises(ValueError, match="sums of shape"):
        MergeItems(MergeItemsConfig(), CONFIG, 1).take(0, stage.totals(stage.changed()))


def test_what_becomes_known_has_changed():
    assert changed_enough(np.array([[np.nan]]), np.array([[0.0]]), np.ones(1), 0.05).tolist() == [True]


def test_what_stays_unknown_has_not_changed():
    assert changed_enough(np.array([[np.nan]]), np.array([[np.nan]]), np.ones(1), 0.05).tolist() == [False]


@pytest.mark.parametrize(("now", "changed"), [(10.9, False), (11.1, True), (9.1, False), (8.9, True)])
def test_small_numbers_must_change_by_a_share_of_the_floor(now, changed):
    """A twentieth of 20 is 1, and the number is 10."""
    assert changed_enough(np.array([[10.0]]), np.array([[now]]), np.array([20.0]), 0.05).tolist() == [changed]


@pytest.mark.parametrize(
    ("name", "floor"), [("click_rate_1h", 0.01), ("risky_share_1d", 0.1), ("entropy", 0.5), ("clicks_1d", 20.0)]
)
def test_each_kind_of_signal_has_its_floor(name, floor):
    windows = (3_600, 86_400)

    assert floors_of(windows)[names_of(windows).index(name)] == floor


@pytest.mark.parametrize(("seconds", "name"), [(86_400, "1d"), (7_200, "2h"), (600, "10m"), (90, "90s")])
def test_windows_are_named_by_their_largest_whole_unit(seconds, name):
    assert label(seconds) == name


def test_a_click_moves_a_rate_as_metarank_says():
    """2 impressions and 1 click of 100 and 10, w = 10: .1078 (Metarank's documentation of `rate`)."""
    shop = Shop()
    shop.see(*shown(1, 2), *shown(1, 1, kind=CLICK), *shown(2, 98), *shown(2, 9, kind=CLICK))
    found = shop.merge.signals(np.array([0]))

    assert found.items.tolist() == [1]
    assert found.values[0, shop.merge.names.index("click_rate_1h")] == pytest.approx(0.1078, abs=5e-5)
