"""Where candidates come from: quotas, bounds, order, what is left out, and lists that are given."""

import dataclasses

import numpy as np
import pytest
from catalogue_streams import record, side
from hypothesis import given, settings
from hypothesis import strategies as st
from recall_reference import HOUR, SECOND, START, Row
from recall_stories import CATALOGUE, acted, answered, asked, described, made, story

from operators.lists import SOURCES
from operators.noticed import CLICK, IMPRESSION, PURCHASE, item_key
from operators.recall.candidates import CO_VISITED, GIVEN, NEW, POPULAR, RECENT, TRENDING
from operators.recall.config import CandidatesConfig, CoVisitsConfig, FeaturesConfig, RecallConfig

ME = 77
NOTHING = CandidatesConfig(popular=0, trending=0, co_visited=0, recent=0, new=0)


def shop(stage, items=60, *, new_from=40):
    """Sixty items: the lower the number the more popular, the higher the more trending; from 41 on they are new."""
    old = START - 30 * 24 * HOUR
    records = [
        record(f"i{n}", START, {"any": 1.0}, rate=1 / n, trending=float(n), since=START if n > new_from else old)
        for n in range(1, items + 1)
    ]
    stage.take_side(side(*records))
    return stage


def found(stage, **told):
    """Return what is found for one request: id -> bits, in order."""
    lists = stage.process(asked({"time_ms": START + 10 * SECOND, "user": ME, **told}))
    return dict(zip(lists.items, lists.source.tolist(), strict=True))


def recalls(**quotas):
    return shop(made(RecallConfig(catalogue=CATALOGUE, candidates=dataclasses.replace(NOTHING, **quotas))))


def of(listed, source):
    return [item for item, bits in listed.items() if bits & source]


def clicks(*items, who=ME, kind=CLICK, start=START):
    return acted([Row(kind, item, who, start + k, who * 100 + item * 7 + kind) for k, item in enumerate(items)])


def test_bits_are_those_of_the_sources():
    assert tuple(1 << k for k in range(len(SOURCES))) == (GIVEN, POPULAR, TRENDING, CO_VISITED, RECENT, NEW)


def test_a_given_list_is_taken_as_it_stands():
    stage = recalls(popular=10, new=5)
    stage.take_side(clicks(3))

    lists = stage.process(asked({"time_ms": START, "user": ME, "items": ["i9", "nobody-knows-it", "i3", "i2"]}))

    assert lists.items == ["i9", "nobody-knows-it", "i3", "i2"]
    assert lists.item.tolist() == [item_key(each) for each in lists.items]
    assert lists.source.tolist() == [GIVEN] * 4
    assert lists.signals_ms.tolist() == [START, -1, START, START]
    assert lists.popularity.tolist() == pytest.approx([1 / 9, 0, 1 / 3, 1 / 2])


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=6))
def test_of_an_item_that_is_given_twice_the_first_counts_alone(given_items):
    features = FeaturesConfig(candidate_numbers=("price",), place=True)
    stage = made(RecallConfig(catalogue=CATALOGUE, candidates=NOTHING, features=features))
    told = [[(f"i{item}", 0.5 + at, {"price": 100.0 + at}) for at, item in enumerate(each)] for each in given_items]
    lists = stage.process(asked(*({"time_ms": START, "id": f"r{k}", "items": each} for k, each in enumerate(told))))

    firsts = [{item: at for at, item in reversed(list(enumerate(each)))} for each in given_items]
    expected = [sorted(each.items(), key=lambda pair: pair[1]) for each in firsts]
    places = [at for each in expected for _, at in each]
    assert np.diff(lists.starts).tolist() == [len(each) for each in expected]
    assert lists.items == [f"i{item}" for each in expected for item, _ in each]
    assert lists.item.tolist() == [item_key(each) for each in lists.items]
    of = {name: lists.features[:, lists.names.index(name)].tolist() for name in lists.names}
    assert of["request_relevancy"] == [0.5 + at for at in places]
    assert of["candidate_number_price"] == [100.0 + at for at in places]
    assert of["request_place"] == places
    assert lists.count.tolist() == [len(each) for each in expected]


def test_popular_and_trending_items_come_up_to_their_quotas():
    listed = found(recalls(popular=4, trending=3))

    assert listed == {"i1": POPULAR, "i2": POPULAR, "i3": POPULAR, "i4": POPULAR} | dict.fromkeys(
        ("i60", "i59", "i58"), TRENDING
    )


def test_an_item_of_several_sources_comes_once_with_all_bits():
    stage = recalls(popular=2, trending=60, recent=5, new=60)
    stage.take_side(clicks(50))

    listed = found(stage)

    assert len(listed) == 60
    assert listed["i50"] == TRENDING | RECENT | NEW
    assert listed["i1"] == POPULAR | TRENDING


def test_recent_items_are_those_clicked_or_bought_the_newest_first():
    stage = recalls(recent=3)
    stage.take_side(clicks(1, 2, 3, 4))
    stage.take_side(clicks(9, kind=IMPRESSION, start=START + SECOND))
    stage.take_side(clicks(5, kind=PURCHASE, start=START + 2 * SECOND))

    assert list(found(stage)) == ["i5", "i4", "i3"]


def test_co_visited_items_come_by_their_summed_score():
    stage = recalls(co_visited=2)
    for who, items in enumerate(((1, 10), (1, 10), (1, 10, 11), (1, 11), (1, 12)), 1):
        stage.take_side(clicks(*items, who=who))
    stage.take_side(clicks(1))

    assert list(found(stage)) == ["i10", "i11"]
    assert found(stage, id="other", user=5_000) == {}


def test_items_that_the_catalogue_does_not_know_are_not_found():
    stage = recalls(co_visited=5, recent=5)
    stage.take_side(clicks(1, 1_000, who=3))
    stage.take_side(clicks(1, 1_001))

    assert list(found(stage)) == ["i1"]


def test_the_quota_of_new_items_is_kept_when_others_would_fill_the_list():
    listed = found(recalls(popular=100, trending=100, new=7, max_candidates=20))

    assert len(listed) == 20
    assert len(of(listed, NEW)) == 7
    assert all(int(item[1:]) > 40 for item in of(listed, NEW))


def test_the_users_own_items_come_before_popular_ones_when_there_is_no_room_for_all():
    stage = recalls(popular=100, trending=100, recent=10, co_visited=10, max_candidates=6)
    stage.take_side(clicks(30, 31, who=3))
    stage.take_side(clicks(30, 32))

    assert list(found(stage)) == ["i30", "i31", "i32", "i1", "i2", "i3"]


def test_a_quota_of_new_items_above_the_bound_fills_the_list_and_no_more():
    listed = found(recalls(new=20, popular=5, max_candidates=8))

    assert len(listed) == len(of(listed, NEW)) == 8


def test_new_items_follow_from_the_requests_id():
    one, again = found(recalls(new=5), id="a"), found(recalls(new=5), id="a")

    assert one == again
    assert len({tuple(found(recalls(new=5), id=f"r{k}")) for k in range(20)}) > 15


def test_every_new_item_is_shown_some_time():
    stage = recalls(new=5)
    drawn = [item for k in range(100) for item in found(stage, id=f"r{k}")]

    assert set(drawn) == {f"i{n}" for n in range(41, 61)}


def test_what_the_user_bought_lately_is_left_out_if_wanted():
    quotas = {"popular": 3, "new": 60, "recent": 5}
    for wanted in (False, True):
        stage = recalls(**quotas, exclude_purchased=wanted)
        stage.take_side(clicks(1, 50, kind=PURCHASE))
        stage.take_side(clicks(2))
        listed = found(stage)
        assert ("i1" in listed, "i50" in listed, "i2" in listed) == (not wanted, not wanted, True)


def test_what_is_left_out_takes_no_place_of_a_quota():
    stage = recalls(popular=3, new=19, exclude_purchased=True)
    stage.take_side(clicks(1, 50, kind=PURCHASE))

    listed = found(stage)

    assert of(listed, POPULAR) == ["i2", "i3", "i4"]
    assert set(of(listed, NEW)) == {f"i{n}" for n in range(41, 61) if n != 50}


def test_without_items_nothing_is_found():
    stage = made(RecallConfig())

    lists = stage.process(asked({"time_ms": START, "user": ME}))

    assert lists.items == []
    assert lists.features.shape == (0, len(lists.names))
    assert (lists.starts.tolist(), lists.count.tolist()) == ([0, 0], [0])


def test_an_empty_batch_is_answered():
    lists = made(RecallConfig()).process(asked())

    assert lists.events == len(lists.items) == 0
    assert lists.starts.tolist() == [0]


def test_given_and_found_lists_may_stand_in_one_batch_in_any_order():
    told = [{"time_ms": START, "id": f"r{k}", "user": ME} for k in range(6)]
    for k in (1, 2, 4):
        told[k]["items"] = ["i7", f"x{k}"]
    stage = recalls(popular=3, new=2)
    apart = [one for k, each in enumerate(told) for one in answered(stage, [asked(each, first=k)])]

    assert answered(recalls(popular=3, new=2), [asked(*told)]) == apart


def test_so_many_places_are_shown_as_the_request_says_or_else_the_settings_but_no_more_than_there_are():
    stage = recalls(popular=50)
    asks = [{"time_ms": START, "count": count, "id": f"r{count}"} for count in (0, 7, 500)]

    assert stage.process(asked(*asks)).count.tolist() == [20, 7, 50]


def test_a_shop_of_all_items_is_not_searched_by_users_that_nobody_knows():
    stage = recalls(popular=2, recent=5, co_visited=5)
    stage.take_side(clicks(3, 4, who=8))

    assert list(found(stage, user=0)) == ["i1", "i2"]


@settings(max_examples=25)
@given(
    seed=st.integers(1, 500),
    popular=st.integers(0, 20),
    recent=st.integers(0, 5),
    new=st.integers(0, 12),
    bound=st.integers(1, 25),
)
def test_bounds_hold_in_any_story(seed, popular, recent, new, bound):
    quotas = CandidatesConfig(popular, 5, 5, recent, new, bound)
    config = RecallConfig(catalogue=CATALOGUE, candidates=quotas, covisits=CoVisitsConfig(others=4))
    stage = made(config)
    stage.take_side(described(range(1, 31), START))
    stage.take_side(acted([each for kind, each in story(seed, 60) if kind == "acts"]))
    asks = [{"time_ms": stage.stream_ms, "id": f"r{k}", "user": 1 + k * 1_000_003} for k in range(10)]

    lists = stage.process(asked(*asks))

    for k in range(10):
        place = slice(lists.starts[k], lists.starts[k + 1])
        items, bits = lists.items[place], lists.source[place]
        assert len(items) == len(set(items)) <= bound
        counts = {source: int(np.count_nonzero(bits & source)) for source in (POPULAR, TRENDING, RECENT, NEW)}
        assert counts[NEW] == min(new, bound)  # all thirty are new
        assert counts[POPULAR] <= popular
        assert counts[RECENT] <= recent
        assert (bits > GIVEN).all()
        if max(popular, new) >= bound:
            assert len(items) == bound
