"""Served lists joined with interactions: which rows there are, and what they are graded."""

import msgspec
import numpy as np
import pytest
from served_worlds import NAMES, START_MS, interaction, interactions, pseudonym, served, user_of, world

from flows.served_lists import Rules, ServedLists
from schemas.event import LAST_TIME_MS
from schemas.served import Served

RULES = Rules({"click": 1, "purchase": 2}, 3_600.0, 1_000, frozenset({"click", "purchase"}), pseudonym)
LATER = START_MS + 10 * 3_600_000


@pytest.fixture
def few():
    return world(1, 3).lists


def joined(records, clicks=(), rules=RULES, tiers=()):
    found = ServedLists(rules)
    for each in tiers:
        found.suspect(each)
    for each in records:
        found.serve(each, LAST_TIME_MS)
    found.interact(interaction(0, 0, "impression", time_ms=START_MS), LAST_TIME_MS)
    for each in clicks:
        found.interact(each, LAST_TIME_MS)
    found.interact(interaction(0, 0, "impression", time_ms=LATER), LAST_TIME_MS)
    return found


def grades(found):
    lists, _ = found.graded()
    return [lists.grade[first:end].tolist() for first, end in zip(lists.starts[:-1], lists.starts[1:], strict=True)]


def changed(record, **fields):
    return msgspec.json.encode(msgspec.structs.replace(msgspec.json.decode(record, type=Served), **fields))


def test_the_world_comes_back_from_its_records():
    one = world(2, 200).lists
    found = ServedLists(RULES)
    for each in served(one):
        found.serve(each, LAST_TIME_MS)
    for each in interactions(one):
        found.interact(each, LAST_TIME_MS)
    lists, others = found.graded()

    assert (others, found.open(), +found.refused) == (0, 0, {})
    assert lists.names == NAMES
    for name in ("features", "starts", "time_ms", "grade", "place", "popularity", "click"):
        assert getattr(lists, name).tobytes() == np.ascontiguousarray(getattr(one, name)).tobytes(), name


def test_only_what_was_shown_is_a_row(few):
    lists, _ = joined(served(few, shown=4)).graded()

    assert np.diff(lists.starts).tolist() == [4, 4, 4]
    assert sorted(lists.place[:4].tolist()) == [0, 1, 2, 3]
    shown = np.flatnonzero(few.place[:10] < 4)
    assert lists.features[:4].tobytes() == few.features[shown].tobytes()
    assert lists.popularity[:4].tolist() == few.popularity[shown].tolist()


def test_the_highest_grade_of_an_item_counts(few):
    clicks = [interaction(1, 3, kind, time_ms=START_MS + 70_000) for kind in ("click", "purchase", "click", "view")]

    assert grades(joined(served(few), clicks))[1] == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0]


def test_the_attribution_time_begins_with_the_request_and_ends_after_it(few):
    at = int(few.time_ms[1])
    clicks = [
        interaction(1, place, time_ms=time_ms)
        for place, time_ms in enumerate((at - 1, at, at + 3_600_000, at + 3_600_001))
    ]
    found = joined(served(few), clicks)

    assert grades(found)[1][:4] == [0, 1, 1, 0]
    assert found.refused["graded interactions before the request, or after the attribution time"] == 2


def test_lists_whose_attribution_time_is_not_over_are_left_out(few):
    found = ServedLists(RULES)
    for each in served(few):
        found.serve(each, LAST_TIME_MS)
    for time_ms in (START_MS, int(few.time_ms[1]) + 3_600_000):
        found.interact(interaction(0, 0, "view", time_ms=time_ms), LAST_TIME_MS)

    assert (found.graded()[0].count, found.open()) == (2, 1)


def test_no_clock_is_believed_that_goes_ahead_of_kafkas(few):
    found = ServedLists(RULES)
    for each in served(few):
        found.serve(each, LAST_TIME_MS)
    found.interact(interaction(0, 0, "view", time_ms=LATER), int(few.time_ms[2]))

    assert found.graded()[0].count == 0


def test_interactions_that_cannot_be_joined_are_counted(few):
    unshown = interaction(0, int(np.argmax(few.place[:10])), time_ms=START_MS)
    unnamed = interaction(0, 1, time_ms=START_MS).replace(b'"ranking": "r-0"', b'"ranking": ""')
    elsewhere = interaction(9, 1, time_ms=START_MS)
    found = joined(served(few, shown=9), [unshown, unnamed, elsewhere, b"{", b'{"event": "interaction"}'])

    assert +found.refused == {
        "graded interactions with items that were not shown in their list": 1,
        "graded interactions that name no list": 1,
        "graded interactions with lists that are not known": 1,
        "interactions that cannot be read": 2,
    }
    assert sum(map(sum, grades(found))) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"features": b"\0" * 4},
        {"place": (0,) * 10},
        {"place": tuple(range(9))},
        {"popularity": (1.0,) * 9},
        {"shown": 0},
        {"items": (), "place": (), "popularity": (), "features": b"", "shown": 0},
    ],
)
def test_a_served_list_that_does_not_fit_together_is_counted(few, fields):
    first, *_ = served(few)
    found = joined([changed(first, **fields), b"", b"[]"])

    assert (len(found), +found.refused) == (0, {"served lists that cannot be read": 3})


def test_of_two_lists_of_one_id_the_newer_counts_whatever_the_order(few):
    first, second, _ = served(few)
    second = changed(second, id="r-0", user=user_of(0))
    for records in ([first, second], [second, first]):
        found = joined(records, [interaction(0, 2, time_ms=START_MS + 61_000)])

        assert found.graded()[0].time_ms.tolist() == [START_MS + 60_000]
        assert grades(found) == [[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]
        assert sum(found.refused.values()) == 1


def test_interactions_of_other_users_than_the_lists_do_not_count(few):
    first, second, _ = served(few)
    clicks = [interaction(k, 2, time_ms=START_MS + 61_000, user="somebody") for k in (0, 1)]
    found = joined([first, changed(second, user=None)], clicks)

    assert grades(found) == [[0] * 10, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]  # of the second no user is known
    assert +found.refused == {"graded interactions of other users than the list's": 1}


def test_an_interaction_that_names_no_user_counts(few):
    nameless = interaction(0, 2, time_ms=START_MS).replace(b'"user": "user-0", ', b"")

    assert b"user" not in nameless
    assert grades(joined(served(few), [nameless]))[0][2] == 1


def test_interactions_of_risky_users_do_not_count_if_tiers_are_read(few):
    nameless = [changed(each, user=None) for each in served(few)]
    tiers = [f'{{"user": "{pseudonym("bad")}", "tier": "high"}}'.encode()]
    found = joined(nameless, [interaction(0, 2, time_ms=START_MS, user="bad")], tiers=tiers)

    assert sum(map(sum, grades(found))) == 0
    assert +found.refused == {"graded interactions of users of high or critical risk": 1}


def test_an_item_is_clicked_whatever_the_grades_say(few):
    rules = RULES._replace(grades={"view": 3, "purchase": 1})
    kinds = ("view", "click", "purchase", "wish")
    clicks = [interaction(0, at, kind, time_ms=START_MS) for at, kind in enumerate(kinds)]
    lists, _ = joined(served(few), clicks, rules=rules).graded()

    assert lists.grade[:4].tolist() == [3, 0, 1, 0]
    assert lists.click[:4].tolist() == [False, True, True, False]


def test_lists_older_than_the_oldest_interaction_are_left_out_and_counted(few):
    found = ServedLists(RULES)
    for each in served(few):
        found.serve(each, LAST_TIME_MS)
    for time_ms in (LATER, int(few.time_ms[1])):
        found.interact(interaction(0, 0, "impression", time_ms=time_ms), LAST_TIME_MS)

    assert found.graded()[0].time_ms.tolist() == few.time_ms[1:].tolist()
    assert +found.refused == {"lists that are older than the oldest interaction": 1}


def test_lists_with_other_features_than_the_newest_are_left_out_and_counted(few):
    *older, newest = served(few)
    named = tuple(reversed(NAMES))
    lists, others = joined([*older, changed(newest, names=named)]).graded()

    assert (lists.names, lists.count, others) == (named, 1, 2)


def test_the_newest_lists_are_kept():
    one = world(3, 60).lists
    found = joined(served(one), rules=RULES._replace(most=10))

    assert found.graded()[0].time_ms.tolist() == one.time_ms[-10:].tolist()
    assert found.refused["lists that are older than the newest --lists"] == 50


def test_lists_of_users_who_were_of_high_risk_are_left_out_if_tiers_are_read(few):
    tiers = [
        f'{{"user": "{user_of(0)}", "tier": "critical"}}'.encode(),
        f'{{"user": "{user_of(0)}", "tier": "low"}}'.encode(),
        f'{{"user": "{user_of(1)}", "tier": "medium"}}'.encode(),
    ]
    found = joined(served(few), tiers=[*tiers, b"no"])

    assert found.graded()[0].time_ms.tolist() == few.time_ms[1:].tolist()
    assert +found.refused == {"lists of users of high or critical risk": 1, "decisions that cannot be read": 1}
