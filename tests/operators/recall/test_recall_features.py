"""Features: by hand, against brute force over all interactions, and with nothing of the future in them."""

import dataclasses
import math

import numpy as np
import pytest
from catalogue_streams import record, side, window
from recall_reference import COVISITS, HOUR, SECOND, START, TIME, USERS, Row, counting, of_pair, of_user, stream
from recall_stories import CATALOGUE, acted, answered, asked, described, features, made

from operators.lists import SOURCES
from operators.noticed import CLICK, IMPRESSION
from operators.recall.config import FeaturesConfig, RecallConfig, UserGroupConfig
from operators.recall.features import names_of
from operators.recall.lookups import OF_PAIR, OF_USER

CONFIG = RecallConfig(catalogue=CATALOGUE, users=USERS, covisits=COVISITS, time=TIME)


def asks(stage, *items, **told):
    """Return the features of some items for one request."""
    return features(stage.process(asked({"user": 7, "items": items, **told})))


def same(found, expected):
    """Compare some of the features by name."""
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_known_of_users_and_items_is_that_of_brute_force(seed):
    listed = stream(seed, 500)
    counted, stream_ms, _ = counting(listed)
    stage = made(CONFIG)
    stage.take_side(described(range(1, 15), START))
    stage.take_side(acted(listed))
    now_ms = stream_ms + 40 * SECOND

    for user in sorted({row.user or row.session for row in counted})[::4]:
        found = asks(stage, *(f"i{n}" for n in range(1, 15)), time_ms=now_ms, user=user, id=f"r{user}")
        of_this = dict(zip((f"user_{name}" for name in OF_USER), of_user(counted, user, now_ms), strict=True))
        for number, row in enumerate(found, 1):
            pair = of_pair(counted, user, number, now_ms)
            names = [*(f"pair_{name}" for name in OF_PAIR), "pair_price_minus_mean"]
            same(row, of_this | dict(zip(names, pair, strict=True)))


def test_features_do_not_see_the_future():
    """What comes after a request changes nothing of its answer, which stays what it was."""
    listed = stream(3, 400)
    one, other = made(CONFIG), made(CONFIG)
    for stage in (one, other):
        stage.take_side(described(range(1, 15), START))
        stage.take_side(acted(listed[:300]))
    request = asked({"time_ms": one.stream_ms, "user": listed[299].user, "items": ["i1", "i2"]})
    answer, expected = one.process(request), other.process(request)

    one.take_side(acted(listed[300:], 300))
    one.take_side(described(range(1, 15), one.stream_ms, first=14))

    assert answer.features.tobytes() == expected.features.tobytes()
    assert answer.signals_ms.tolist() == expected.signals_ms.tolist()
    assert answered(made(CONFIG), [request])[0]["features"] != answered(one, [request])[0]["features"]


def test_one_number_beyond_all_bounds_does_not_spoil_a_users_mean():
    stage = made(dataclasses.replace(CONFIG, features=FeaturesConfig(request_numbers=("basket",))))
    told = {"i1": 1e308, "i2": 1e308, "i3": 4.0}
    stage.take_side(side(*(record(item, START, {"price": told[item]}) for item in told)))
    stage.take_side(acted([Row(CLICK, number, 7, START + number, number) for number in (1, 2, 3)]))
    [found] = asks(stage, "i3", time_ms=START + 9, fields={"basket": 1e308})

    assert found["pair_price_minus_mean"] == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(found["request_number_basket"])


def test_signals_and_fields_of_an_item_by_hand():
    stage = made(CONFIG)
    windows = (window(3_600, impressions=12, weighted_clicks=3.0), window(86_400, impressions=100, risky_share=0.25))
    told = {"price": 9.5, "brand": "x"}
    stage.take_side(side(record("a", START, told, 0.125, trending=4.0, windows=windows, since=START - 6 * HOUR)))

    known, unknown = asks(stage, "a", "b", time_ms=START + 30 * 60 * SECOND)

    same(known, {
        "item_impressions_short": 12, "item_weighted_clicks_short": 3, "item_impressions_long": 100,
        "item_risky_share_long": 0.25, "item_weighted_fading_click_rate": 0.125, "item_weighted_trending": 4,
        "item_weighted_click_rate_short": math.nan, "item_age_h": 6.5, "item_number_price": 9.5,
    })  # fmt: skip
    assert all(math.isnan(value) for name, value in unknown.items() if name.startswith("item_"))


def test_an_item_that_nobody_has_heard_of_before_the_request_has_no_age_below_0():
    stage = made(CONFIG)
    stage.take_side(side(record("a", START, since=START + HOUR), record("b", START)))

    one, other = asks(stage, "a", "b", time_ms=START)

    assert one["item_age_h"] == 0
    assert math.isnan(other["item_age_h"])


def test_users_and_their_items_by_hand():
    """Half-life an hour: two impressions and a click an hour ago, a click now: counts 1, 1.5, 0."""
    stage = made(CONFIG)
    stage.take_side(described((1, 2, 3, 4), START))
    stage.take_side(acted([
        Row(IMPRESSION, 1, 7, START, 1), Row(IMPRESSION, 2, 7, START, 2), Row(CLICK, 1, 7, START, 3),
        Row(CLICK, 3, 7, START + HOUR, 4),
    ]))  # fmt: skip

    found = asks(stage, "i1", "i2", "i4", time_ms=START + HOUR)

    user = {"user_impressions": 1, "user_clicks": 1.5, "user_purchases": 0, "user_click_rate": 1.5}
    user |= {"user_idle_s": 0, "user_since_action_s": 0, "user_recent_items": 3}
    for row in found:
        same(row, user)
    mean = (0.5 * 1.25 + 3.25) / 1.5  # prices 1.25 and 3.25
    same(found[0], {
        "pair_shown": 1, "pair_clicked": 1, "pair_bought": 0, "pair_since_s": 3_600, "pair_same_category": 1,
        "pair_co_visit_max": 0, "pair_co_visit_sum": 0, "pair_price_minus_mean": 1.25 - mean,
    })  # fmt: skip
    same(found[1], {"pair_shown": 1, "pair_clicked": 0, "pair_same_category": 0, "pair_price_minus_mean": 2.25 - mean})
    same(found[2], {"pair_shown": 0, "pair_since_s": math.nan, "pair_same_category": math.nan})


def test_of_whom_nothing_is_known_nothing_is_told():
    stage = made(CONFIG)
    stage.take_side(described((1,), START))
    stage.take_side(acted([Row(CLICK, 1, 7, START, 3)]))

    for user in (0, 8):
        (row,) = asks(stage, "i1", time_ms=START, user=user, id=f"r{user}")
        assert all(math.isnan(value) for name, value in row.items() if name.startswith(("user_", "pair_")))


def test_a_session_stands_for_a_user_who_is_not_told():
    stage = made(CONFIG)
    stage.take_side(acted([Row(CLICK, 1, 0, START, 3, session=55)]))

    (row,) = asks(stage, "i1", time_ms=START, user=0, session=55)
    (other,) = asks(stage, "i1", time_ms=START, user=7, session=55, id="other")

    assert (row["user_clicks"], row["pair_clicked"]) == (1, 1)
    assert math.isnan(other["user_clicks"])


def test_what_the_request_tells_by_hand():
    config = FeaturesConfig(request_numbers=("basket", "vip"), candidate_numbers=("discount",), place=True)
    stage = made(dataclasses.replace(CONFIG, features=config))
    noon = START - START % (24 * HOUR) + 18 * HOUR
    items = (("a", 0.5, {"discount": 0.2}), ("b", math.nan, {"discount": "much"}), ("c", 2.0, {}))

    found = asks(stage, *items, time_ms=noon, fields={"basket": 31.5, "vip": True, "query": "shoes"})

    of_request = {
        "request_candidates": 3, "request_hour_sin": -1, "request_hour_cos": 0, "request_number_basket": 31.5,
        "request_number_vip": 1, "source_given": 1,
    }  # fmt: skip
    for row in found:
        same(row, of_request | {f"source_{name}": 0 for name in SOURCES[1:]})
    assert [row["request_relevancy"] for row in found] == pytest.approx([0.5, math.nan, 2.0], nan_ok=True)
    assert [row["candidate_number_discount"] for row in found] == pytest.approx([0.2, math.nan, math.nan], nan_ok=True)
    assert [row["request_place"] for row in found] == [0, 1, 2]


def test_the_place_in_the_publishers_list_is_no_feature_unless_it_is_wanted():
    plain, placed = (names_of(FeaturesConfig(place=each), ("s",), ()) for each in (False, True))

    assert set(placed) - set(plain) == {"request_place"}


def test_the_matrix_has_a_column_for_each_name():
    config = FeaturesConfig(request_numbers=("a", "b"), candidate_numbers=("c",), place=True)
    stage = made(dataclasses.replace(CONFIG, features=config))

    lists = stage.process(asked({"time_ms": START, "items": ["x", "y"]}, {"time_ms": START, "items": ["z"], "id": "o"}))

    assert lists.features.shape == (3, len(lists.names))
    assert lists.features.dtype == np.float64
    assert len(set(lists.names)) == len(lists.names)


def test_a_jump_of_one_clock_moves_no_feature():
    stage = made(CONFIG)
    stage.take_side(described((1,), START))
    stage.take_side(acted([Row(CLICK, 1, 7, START, 3)]))

    ahead = stage.process(asked({"user": 7, "items": ["i1"], "time_ms": START + 9 * HOUR}))

    assert ahead.flags.tolist() == [4]
    same(features(ahead)[0], {"user_idle_s": 0, "user_clicks": 1, "pair_since_s": 0})
    assert stage.stream_ms == START


def test_groups_of_users_follow_a_field_of_the_request():
    groups = UserGroupConfig(field="country", names=("de", "fr"))
    stage = made(dataclasses.replace(CONFIG, user_groups=groups))
    told = [{"country": "fr"}, {"country": "de"}, {"country": "it"}, {}, {"country": 2.0}]

    lists = stage.process(asked(*({"time_ms": START, "fields": fields} for fields in told)))

    assert lists.user_group.tolist() == [2, 1, 0, 0, 0]
