"""The made-up shop: sound records, the same for the same seed, and a truth that its users keep to."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flows.event_files import ready
from flows.record_lines import LINES
from flows.shop.shop import Shop, by_chance
from flows.shop.world import DAY_MS, ShopConfig

SMALL = ShopConfig(users=60, items=50, lists=300, past_lists=200, sellers=12)


@pytest.fixture(scope="module")
def shop():
    return Shop(SMALL)


def parsed(records):
    return [json.loads(record.value) for record in records]


def fields(event):
    return {each["name"]: each["value"] for each in event.get("fields", ())}


def everything(shop):
    lists = [f"list-{number}" for number in range(0, 300, 7)]
    answers = [record for name in lists for record in shop.respond(name, by_chance(shop, name))]
    return [*shop.items(), *shop.history(), *shop.requests(), *answers, *shop.fraud()]


def test_every_record_is_what_its_topic_holds_with_its_key_and_time():
    for record in everything(Shop(replace(SMALL, bots=3, candidates=20, offers=0.2))):
        ready = LINES[record.topic](record.value, 1)
        assert (ready.key, ready.timestamp_ms) == (record.key, record.timestamp_ms)


def test_the_same_seed_gives_the_same_bytes_in_any_order_of_asking(shop):
    other = Shop(SMALL)
    backwards = [other.respond(f"list-{at}", by_chance(other, f"list-{at}")) for at in (9, 4, 0)][::-1]

    assert backwards == [shop.respond(f"list-{at}", by_chance(shop, f"list-{at}")) for at in (0, 4, 9)]
    assert everything(Shop(SMALL)) == everything(shop) != everything(Shop(replace(SMALL, seed=8)))


def test_topics_are_in_the_order_of_time(shop):
    for records in (shop.items(), shop.history(), shop.requests()):
        times = [record.timestamp_ms for record in records]
        assert times == sorted(times)


def test_lists_are_asked_for_within_the_days_and_interactions_come_before_them(shop):
    requests, history = shop.requests(), shop.history()
    longest = 40 * 240_000  # of one session

    assert len(requests) == SMALL.lists
    assert SMALL.start_ms <= requests[0].timestamp_ms
    assert requests[-1].timestamp_ms < SMALL.start_ms + SMALL.days * DAY_MS + longest
    assert SMALL.start_ms - DAY_MS <= history[0].timestamp_ms
    assert history[-1].timestamp_ms < SMALL.start_ms + longest


def test_what_follows_a_list_is_over_before_the_session_asks_for_the_next(shop):
    asked = shop.asked
    again = {}
    for number in range(SMALL.lists):
        last = again.get(asked.session[number])
        if last is not None:
            done = shop.respond(f"list-{last}", shop.best(f"list-{last}"))
            assert done[-1].timestamp_ms < asked.time_ms[number]
        again[asked.session[number]] = number
    assert len(again) < SMALL.lists


def test_an_item_is_shown_only_once_it_is_there(shop):
    items = {each["item"]: each["timestamp"] for each in parsed(shop.items())}
    late = [name for name, since in items.items() if since > SMALL.start_ms]

    assert len(late) == 5  # a tenth of 50
    assert all(items[each["item"]] <= each["timestamp"] for each in parsed(shop.history()))
    assert not set(late) & set(shop.best("list-0"))
    assert set(late) <= {name for at in range(300) for name in by_chance(shop, f"list-{at}")}


def test_clicks_are_as_frequent_as_place_and_relevance_say():
    """1,000 lists by chance: clicks at each place within four standard errors of the sum of their chances."""
    shop = Shop(ShopConfig(lists=1_000, past_lists=0))
    expected, clicked = np.zeros(10), np.zeros(10)
    variance = np.zeros(10)
    for number in range(1_000):
        name = f"list-{number}"
        listed = by_chance(shop, name)
        numbers = [int(item.removeprefix("item-")) for item in listed]
        chance = shop.world.relevance[shop.asked.user[number], numbers] / np.arange(1, 11) ** 0.5
        expected += chance
        variance += chance * (1 - chance)
        for event in parsed(shop.respond(name, listed)):
            clicked[int(fields(event)["position"]) - 1] += event["type"] == "click"

    assert (np.abs(clicked - expected) < 4 * np.sqrt(variance)).all()


def test_what_is_bought_was_clicked_and_what_is_clicked_was_shown(shop):
    for number in range(100):
        done = {"impression": [], "click": [], "purchase": []}
        shown = by_chance(shop, f"list-{number}")
        for event in parsed(shop.respond(f"list-{number}", shown)):
            assert event["ranking"] == f"list-{number}"
            assert event["item"] == shown[int(fields(event)["position"]) - 1]
            done[event["type"]].append(event["item"])
        assert done["impression"] == shown
        assert set(done["purchase"]) <= set(done["click"])


def test_whether_an_item_is_liked_does_not_depend_on_its_list(shop):
    """At the first place everything is seen: alone there or with others behind it, the same click."""
    for number in range(50):
        name = f"list-{number}"
        first = by_chance(shop, name)[0]
        kinds = [
            sorted(each["type"] for each in parsed(shop.respond(name, listed)) if each["item"] == first)
            for listed in ([first], [first, *(item for item in shop.best(name) if item != first)])
        ]
        assert kinds[0] == kinds[1]


def test_the_best_list_has_an_ndcg_of_1_and_a_worse_one_less(shop):
    best = shop.best("list-3")

    assert shop.ndcg("list-3", best) == pytest.approx(1.0)
    assert shop.ndcg("list-3", best[::-1]) < 1.0
    assert shop.clicks("list-3", best) > shop.clicks("list-3", by_chance(shop, "list-3"))


def test_small_sellers_are_as_good_as_others_and_were_shown_less():
    shop = Shop(ShopConfig())
    world, shown = shop.world, np.zeros(240)
    for event in parsed(shop.history()):
        if event["type"] == "impression":
            shown[int(event["item"].removeprefix("item-"))] += 1

    assert world.quality[world.small].mean() == pytest.approx(world.quality[~world.small].mean(), abs=1e-9)
    assert shown[world.small].mean() < 0.5 * shown[~world.small].mean()


def test_bots_push_the_worst_item_and_nothing_else():
    shop = Shop(replace(SMALL, bots=5))
    pushed = parsed(shop.fraud())
    there = shop.world.since_ms < SMALL.start_ms

    assert {each["user"] for each in pushed} == {f"bot-{number}" for number in range(5)}
    assert {each["item"] for each in pushed} == {f"item-{shop.pushed}"}
    assert shop.world.quality[shop.pushed] == shop.world.quality[there].min()
    assert pushed[0]["timestamp"] >= SMALL.start_ms + SMALL.days * DAY_MS / 2


def test_a_coupon_brings_clicks_on_its_items_from_members_alone_and_a_gift_none():
    shop = Shop(replace(SMALL, offers=0.8, coupon=2.0))
    more = {("coupon", False): 0, ("coupon", True): 0, ("gift", False): 0, ("gift", True): 0}
    for number in range(300):
        name = f"list-{number}"
        listed, guest = by_chance(shop, name), bool(shop.world.guest[shop.asked.user[number]])
        clicked = {
            told: {each["item"] for each in parsed(shop.respond(name, listed, told=told)) if each["type"] == "click"}
            for told in ("", "coupon", "gift")
        }
        for told in ("coupon", "gift"):
            new = clicked[told] - clicked[""]
            assert clicked[""] <= clicked[told]
            assert all(shop.world.offer[int(item.removeprefix("item-"))] == 1 for item in new)
            more[told, guest] += len(new)

    assert more["coupon", False] > 20
    assert sum(more.values()) == more["coupon", False]


def test_what_is_clicked_and_bought_is_an_event_of_its_user_but_not_impressions_nor_clicks_of_bots():
    shop = Shop(replace(SMALL, bots=2))
    done = [*shop.history()[:800], *shop.fraud()[:50]]
    events = [event for record in done if (event := shop.activity(record))]

    people = sum(b'"impression"' not in record.value for record in done[:-50])
    assert len(events) == people + sum(b'"purchase"' in record.value for record in done[-50:])
    assert people > 20
    assert {event.topic for event in events} == {"events"}
    for event in events:
        found = ready(event.value, 1)
        assert (found.key, found.timestamp_ms) == (event.key, event.timestamp_ms)
    assert len({event.value for event in events}) == len(events)
