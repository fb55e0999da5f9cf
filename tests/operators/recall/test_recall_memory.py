"""What is remembered of users and of items visited together, against brute force over all interactions."""

import numpy as np
import pytest
from recall_reference import (
    COVISITS,
    HOUR,
    SECOND,
    START,
    TIME,
    USERS,
    Row,
    category_of,
    counting,
    interactions,
    number_of,
    of_pair,
    of_user,
    stream,
    together,
    told,
)

from operators.batches import AHEAD
from operators.noticed import CLICK, IMPRESSION, PURCHASE
from operators.recall.config import CoVisitsConfig, UsersConfig
from operators.recall.lookups import OF_PAIR, OF_USER, co_visited, pair_columns, recent_items, user_columns
from operators.recall.memory import Memory

SEEDS = (1, 2, 3)


def filled(listed, users=USERS, covisits=COVISITS, time=TIME):
    memory = Memory(users, covisits, time, 1)
    memory.take(interactions(listed), *told(listed))
    return memory


def user_row(memory, who, now_ms):
    out = np.empty((1, len(OF_USER)))
    user_columns(memory.world, np.array([who], np.uint64), np.array([now_ms]), out)
    return out[0].tolist()


def pair_rows(memory, who, now_ms, items):
    """Return the columns of a user and some items."""
    keys = np.array(items, np.uint64)
    numbers = np.array([[number_of(each)] for each in items])
    categories = np.array([[category_of(each)] for each in items], np.uint64)
    out = np.empty((len(items), len(OF_PAIR) + 1))
    scratch = np.empty(memory.world.users.items.shape[1], np.int64)
    ends = np.array([0, len(items)])
    asked = np.array([who], np.uint64), np.array([now_ms])
    pair_columns(memory.world, *asked, ends, keys, numbers, categories, scratch, out)
    return out.tolist()


def recent(memory, who):
    """Return what a user clicked or bought lately, and what he bought."""
    room = memory.world.users.items.shape[1]
    items, bought = np.zeros(room, np.uint64), np.zeros(room, np.uint64)
    many, purchased = recent_items(memory.world, np.uint64(who), items, bought)
    return items[:many].tolist(), bought[:purchased].tolist()


def known(memory, who):
    """Return the recent items of a user, the newest first."""
    row = memory.users.table.keys.tolist().index(who)
    return [each for each in memory.world.users.items[row].tolist() if each]


def clicks(*items, who=1, start=START, step_s=1, session=0):
    return [
        Row(CLICK, item, who, start + k * step_s * SECOND, 1 + k + who * 1_000 + start, session)
        for k, item in enumerate(items)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_users_are_those_of_brute_force(seed):
    listed = stream(seed)
    memory, (counted, stream_ms, _) = filled(listed), counting(listed)
    now_ms = stream_ms + 10 * SECOND
    users = {row.user or row.session for row in counted}

    assert set(memory.users.table.keys[: len(memory.users)].tolist()) == users
    for user in users:
        assert user_row(memory, user, now_ms) == pytest.approx(of_user(counted, user, now_ms), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_users_and_items_are_those_of_brute_force(seed):
    listed = stream(seed, 700)
    memory, (counted, stream_ms, _) = filled(listed), counting(listed)
    now_ms = stream_ms + 10 * SECOND

    for user in sorted({row.user or row.session for row in counted})[::3]:
        found = pair_rows(memory, user, now_ms, range(1, 15))
        for item in range(1, 15):
            expected = of_pair(counted, user, item, now_ms)
            assert found[item - 1] == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), (user, item)


@pytest.mark.parametrize("seed", SEEDS)
def test_flags_and_stream_time_are_those_of_brute_force(seed):
    listed = stream(seed)
    rows = interactions(listed)
    memory = Memory(USERS, COVISITS, TIME, 1)

    flags, stream_ms = memory.judge(rows, np.where(rows.user != 0, rows.user, rows.session))

    _, expected_ms, expected = counting(listed)
    assert flags.tolist() == expected
    assert stream_ms[-1] == memory.stream_ms == expected_ms


@pytest.mark.parametrize("seed", SEEDS)
def test_a_full_list_of_items_errs_by_no_more_than_it_says(seed):
    """Space-Saving: count - error <= true <= count, and what comes often enough is in the list."""
    listed = stream(seed, items=40)
    covisits = CoVisitsConfig(max_items=1_000, others=4, session_gap_s=900, half_life_s=7_200)
    memory, (counted, *_) = filled(listed, covisits=covisits), counting(listed)
    single, both = together(counted, covisits)
    lists, full = memory.world.lists, 0

    for row, item in enumerate(memory.items.table.keys[: len(memory.items)].tolist()):
        at_ms, others = int(lists.as_of_ms[row]), lists.others[row].tolist()
        counts, errors = lists.sums[row, 1:5], lists.sums[row, 5:]
        true = {
            other: sum(0.5 ** ((at_ms - at) / (covisits.half_life_s * SECOND)) for at, _ in terms)
            for (one, other), terms in both.items()
            if one == item
        }
        total = sum(true.values())
        full += 0 not in others
        for other, count, error in zip(others, counts, errors, strict=True):
            if other:
                assert count - error <= true[other] + 1e-9
                assert count >= true[other] - 1e-9
                assert error <= total / 4 + 1e-9
        assert {other for other, each in true.items() if each > total / 4 + 1e-9} <= set(others)
        assert single[item]
    assert full > 10


def test_a_list_of_others_forgets_the_rarest_and_the_newcomer_has_its_count_as_error():
    rows = [
        row
        for who, other in enumerate((2, 2, 3, 4), 1)
        for row in clicks(1, other, who=who, start=START + who * 10 * SECOND)
    ]
    memory = filled(rows, covisits=CoVisitsConfig(others=2, half_life_s=366 * 86_400))
    row = memory.items.table.keys.tolist().index(1)

    assert memory.world.lists.others[row].tolist() == [2, 4]
    assert memory.world.lists.sums[row] == pytest.approx([4, 2, 2, 0, 1], rel=1e-4)


def test_the_score_is_the_cosine_drawn_towards_nothing():
    """Items 1 and 2 share two of their 3 and 2 sessions: 2 / sqrt(6) x 2 / (2 + .5)."""
    rows = [
        row
        for who, items in enumerate(((1, 2), (2, 1), (1, 3)), 1)
        for row in clicks(*items, who=who, start=START + who * SECOND, step_s=0)
    ]
    memory = filled(rows, covisits=CoVisitsConfig(half_life_s=366 * 86_400, damping=0.5))
    items, scores = np.zeros(40, np.uint64), np.zeros(40)

    many = co_visited(memory.world, np.array([1], np.uint64), START, items, scores)

    assert items[:many].tolist() == [2, 3]
    assert scores[:many] == pytest.approx([2 / 6**0.5 * 2 / 2.5, 1 / 3**0.5 * 1 / 1.5], rel=1e-5)


def test_an_item_that_had_to_go_and_came_again_has_no_larger_score_than_its_shared_sessions_say():
    """Item 2 met 1 in three sessions and came back alone: it counts as three, 1 as five: 3 / sqrt(5 x 3) x 3 / 4."""
    rows = [row for who in range(1, 4) for row in clicks(2, 1, who=who, start=START + who * SECOND, step_s=0)]
    rows += clicks(1, who=8, start=START + 8 * SECOND) + clicks(9, who=9, start=START + 9 * SECOND)  # 2 goes for 9
    rows += clicks(1, who=10, start=START + 10 * SECOND) + clicks(2, who=11, start=START + 11 * SECOND)
    memory = filled(rows, covisits=CoVisitsConfig(max_items=2, half_life_s=366 * 86_400))
    items, scores = np.zeros(40, np.uint64), np.zeros(40)

    many = co_visited(memory.world, np.array([1], np.uint64), START, items, scores)

    assert items[:many].tolist() == [2]
    assert scores[:many] == pytest.approx([3 / 15**0.5 * 3 / 4], rel=1e-5)


def test_within_a_session_a_pair_counts_once():
    once, again = filled(clicks(1, 2)), filled(clicks(1, 2, 1, 2, 1))

    assert again.world.lists.sums[:2] == pytest.approx(once.world.lists.sums[:2], rel=1e-3)


def test_items_of_different_sessions_are_not_visited_together():
    apart = clicks(1) + clicks(2, start=START + 901 * SECOND)
    named = clicks(1, session=5) + clicks(2, start=START + SECOND, session=6)
    back = clicks(1, session=5) + clicks(2, start=START + 950 * SECOND, session=5)

    assert filled(apart).pairs == 0
    assert filled(named).pairs == 0
    assert filled(back).pairs == 2


def test_what_is_only_shown_is_not_visited():
    rows = [row._replace(kind=IMPRESSION) for row in clicks(1, 2, 3)]

    assert filled(rows).pairs == len(filled(rows).items) == 0


def test_a_session_without_a_user_is_remembered_as_one():
    rows = [row._replace(user=0, session=77) for row in clicks(1, 2)]
    memory = filled(rows)

    assert memory.users.table.keys[: len(memory.users)].tolist() == [77]
    assert recent(memory, 77) == ([2, 1], [])


def test_nobody_is_not_remembered():
    memory = filled([row._replace(user=0) for row in clicks(1, 2)])

    assert len(memory.users) == memory.pairs == 0
    assert memory.world.refused.tolist() == [0, 0, 0, 2]
    assert np.isnan(user_row(memory, 0, START)).all()


def test_impressions_take_half_of_the_places_at_most():
    shown = [Row(IMPRESSION, 100 + k, 1, START + (10 + k) * SECOND, 9_000 + k) for k in range(50)]
    memory = filled(clicks(1, 2, 3, 4, 5) + shown, users=UsersConfig(recent=6))

    assert known(memory, 1) == [149, 148, 147, 5, 4, 3]


def test_clicks_leave_room_for_impressions():
    shown = [Row(IMPRESSION, 100 + k, 1, START + k * SECOND, 9_000 + k) for k in range(6)]
    memory = filled(shown + clicks(*range(1, 20), start=START + 10 * SECOND), users=UsersConfig(recent=6))

    assert known(memory, 1) == [19, 18, 17, 16, 105, 104]


def test_an_item_that_comes_again_comes_first_and_keeps_its_counts():
    rows = [*clicks(1, 2), Row(PURCHASE, 1, 1, START + 5 * SECOND, 5), Row(IMPRESSION, 1, 1, START + SECOND, 6)]
    memory = filled(rows)

    assert known(memory, 1) == [1, 2]
    assert pair_rows(memory, 1, START + 6 * SECOND, [1])[0][:4] == [1, 1, 1, 1.0]
    assert recent(memory, 1) == ([1, 2], [1])


def test_counts_of_an_item_stop_at_255():
    rows = [Row(IMPRESSION, 1, 1, START + k, 1 + k) for k in range(300)]

    assert pair_rows(filled(rows), 1, START, [1])[0][0] == 255


def test_a_row_far_ahead_counts_nothing_until_three_users_are_there():
    ahead = START + 10 * HOUR
    memory = filled([*clicks(1, 2), *(Row(CLICK, 9, who, ahead, who) for who in (5, 6))])

    assert memory.world.refused.tolist() == [0, 0, 2, 0]
    assert memory.stream_ms == START + SECOND
    memory.take(interactions([Row(CLICK, 9, 7, ahead, 7)]), *told([Row(CLICK, 9, 7, ahead, 7)]))
    assert memory.stream_ms == ahead
    assert recent(memory, 7) == ([9], [])
    assert AHEAD not in memory.judge(interactions([Row(CLICK, 9, 8, ahead, 8)]), np.array([8], np.uint64))[0]


def test_a_flood_of_users_takes_each_others_places():
    users = UsersConfig(max_users=100, promote_after_s=60)
    regulars = [Row(CLICK, who, who, START + t * 120 * SECOND, who * 10 + t) for t in range(3) for who in range(1, 41)]
    flood = [Row(CLICK, 1, 10_000 + k, START + 300 * SECOND, 10**6 + k) for k in range(5_000)]
    memory = filled(regulars + flood, users=users)

    assert len(memory.users) == 100
    assert all(recent(memory, who)[0] == [who] for who in range(1, 41))
    assert memory.users.evicted == 4_940


def test_a_user_who_had_to_go_leaves_nothing_to_the_next():
    users = UsersConfig(max_users=1)
    memory = filled([*clicks(1, 2, 3), Row(IMPRESSION, 9, 2, START + 9 * SECOND, 9)], users=users)

    assert user_row(memory, 2, START + 9 * SECOND) == pytest.approx([1, 0, 0, 0, 0, np.nan, 1], nan_ok=True)
    assert recent(memory, 2) == ([], [])
    assert np.isnan(user_row(memory, 1, START)).all()
