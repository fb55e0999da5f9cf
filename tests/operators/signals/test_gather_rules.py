"""The stage of the signals flow under made-up ids, descriptions said again, parts out of order, and after a restore."""

from signals_reference import START, Row
from test_gather import batch, fields, flushed, made, parts, said, side, signals
from test_item_parts import Shop

from operators.noticed import CLICK, IMPRESSION


def test_an_item_that_is_ahead_of_all_items_together_has_all_impressions_and_no_more():
    stage = made()
    shop = Shop([Row(IMPRESSION, 1, 1, START)])
    stage.process(batch(parts(shop)))
    shop.see([Row(IMPRESSION, 1, user, START + 1) for user in range(50)], 1)
    stage.process(batch(parts(shop, 51)[:-1], 2))
    [record] = signals(stage).values()

    assert [(of.impressions, of.exposure_share) for of in record.windows] == [(51, 1.0)] * 2


def test_ids_that_somebody_made_up_push_out_no_item_that_is_described():
    stage = made(max_items=1_000)
    stage.take_side(side(*(said(f"real-{number}", price=1) for number in range(500))))
    shop = Shop()
    for first in range(0, 1_500, 50):
        shop.see([Row(CLICK, 1 + first + k, 1, START) for k in range(50)], first)
        stage.process(batch(parts(shop, first), first))
    found = {}
    while told := signals(stage):
        found |= told

    assert [name for name in found if found[name] is None and name.startswith("real")] == []
    assert sum(each is not None for each in found.values()) == 1_000


def test_a_description_that_is_published_again_is_not_written_again():
    stage = made()
    stage.take_side(side(said("a", START, price=1, new=1.0), said("b", START)))
    assert list(signals(stage)) == ["a", "b"]

    stage.take_side(side(said("a", START + 9, new=1.0, price=1), said("b", START + 9), first=2))
    assert signals(stage) == {}
    stage.take_side(side(said("a", START + 8, price=2), first=4))  # an older record than what was said again
    assert signals(stage) == {}
    stage.take_side(side(said("a", START + 10, new=True), first=5))
    assert fields(signals(stage)["a"]) == {"price": 1.0, "new": True}
    stage.take_side(side(said("a", START - 1, price=1), first=6))  # first heard of earlier than it seemed
    assert signals(stage)["a"].since == START - 1


def test_one_flush_after_a_restore_does_not_look_at_all_items(monkeypatch):
    stage = made(most=2, look_again=1)
    stage.process(batch(parts(Shop([Row(CLICK, item, 1, START) for item in range(1, 41)]))))
    while flushed(stage):
        pass
    again = made(most=2, look_again=1)
    again.load(stage.dump())
    asked = []
    due = again._merge.due
    monkeypatch.setattr(again._merge, "due", lambda most: asked.append(most) or due(most))
    flushes = 0
    while again._merge.waiting:
        assert flushed(again) == []
        flushes += 1

    assert (len(asked) <= 3 * flushes, 3 < flushes < 15) == (True, True)


def test_items_that_too_many_others_followed_out_are_counted():
    stage = made(max_items=2)
    for first in range(0, 6, 2):
        stage.take_side(side(said(f"i{first}"), said(f"i{first + 1}"), first=first))
    assert sum(each is None for each in signals(stage).values()) == 2
    measured = {each.labels["reason"]: each.value for each in stage.measurements() if "forgotten" in each.metric}

    assert measured == {"taken": 2, "left": 2}
