"""What the tables say of a user, and of a user and an item, as of a time: compiled, and changing nothing."""

from typing import Final

import numpy as np

from operators.batches import F64, I64, U64
from operators.compiled import Int, borrowing
from operators.entities import find
from operators.fading import left
from operators.noticed import CLICK, IMPRESSION, PURCHASE
from operators.recall.covisits import score, score_beside
from operators.recall.loop import World
from operators.recall.users import COUNTS, NEVER_MS, Users, place_of

OF_USER: Final = ("impressions", "clicks", "purchases", "click_rate", "idle_s", "since_action_s", "recent_items")
OF_PAIR: Final = ("shown", "clicked", "bought", "since_s", "co_visit_max", "co_visit_sum", "same_category")


@borrowing
def _acted(users: Users, row: Int, at: Int) -> bool:
    """Return whether a recent item was clicked or bought."""
    return bool(users.times[row, at, CLICK] > 0 or users.times[row, at, PURCHASE] > 0)


@borrowing
def user_columns(world: World, who: U64, now_ms: I64, out: F64) -> None:
    """Write `OF_USER` of each, NaN of nobody and of whom nothing is known.

    Args:
        world: as it is.
        who: shape (n,).
        now_ms: as of when, shape (n,).
        out: shape (n, len(OF_USER)).
    """
    users = world.users
    for i in range(len(who)):
        row = find(world.user_table, who[i]) if who[i] != 0 else np.int64(-1)
        if row < 0:
            out[i, :] = np.nan
            continue
        remains = left(now_ms[i] - users.as_of_ms[row], world.plan.user_half_life_ms)
        for kind in range(IMPRESSION, PURCHASE + 1):
            out[i, kind] = users.sums[row, kind] * remains
        shown = users.sums[row, IMPRESSION]
        out[i, 3] = users.sums[row, CLICK] / shown if shown > 0.0 else np.nan
        out[i, 4] = max(now_ms[i] - users.as_of_ms[row], 0) / 1_000.0
        acted_ms = users.acted_ms[row]
        out[i, 5] = max(now_ms[i] - acted_ms, 0) / 1_000.0 if acted_ms != NEVER_MS else np.nan
        recent = 0
        while recent < users.items.shape[1] and users.items[row, recent] != 0:
            recent += 1
        out[i, 6] = recent


@borrowing
def _same_category(users: Users, row: Int, categories: U64) -> float:
    """Return whether an item is of a category clicked lately; NaN if it has none, or none was clicked."""
    known = False
    for k in range(len(categories)):
        known |= categories[k] != 0
        for j in range(users.categories.shape[1]):
            if categories[k] != 0 and categories[k] == users.categories[row, j]:
                return 1.0
    return 0.0 if known and users.categories[row, 0] != 0 else np.nan


@borrowing
def _pair(world: World, row: Int, visited: I64, item: np.uint64, now_ms: Int, out: F64) -> None:
    """Write the columns of one user and item but for the last; `visited` are the item rows of his recent items."""
    users, plan = world.users, world.plan
    at = place_of(users, row, item)
    for kind in range(IMPRESSION, PURCHASE + 1):
        out[kind] = users.times[row, at, kind] if at >= 0 else 0.0
    out[3] = max(now_ms - users.at_ms[row, at], 0) / 1_000.0 if at >= 0 else np.nan
    most, total, acted = 0.0, 0.0, False
    for k in range(users.items.shape[1]):
        if users.items[row, k] == 0:
            break
        if not _acted(users, row, k):
            continue
        acted = True
        if visited[k] < 0 or users.items[row, k] == item:
            continue
        beside = score_beside(
            world.item_table, world.lists, visited[k], item, plan.damping, plan.item_half_life_ms, now_ms
        )
        most, total = max(most, beside), total + beside
    out[4] = most if acted else np.nan
    out[5] = total if acted else np.nan


@borrowing
def _visited(world: World, row: Int, rows: I64) -> None:
    """Write the item rows of a user's recent items, -1 where there is none."""
    for k in range(world.users.items.shape[1]):
        item = world.users.items[row, k]
        rows[k] = find(world.item_table, item) if item != 0 else np.int64(-1)


@borrowing
def pair_columns(
    world: World,
    who: U64,
    now_ms: I64,
    starts: I64,
    item: U64,
    numbers: F64,
    categories: U64,
    scratch: I64,
    out: F64,
) -> None:
    """Write `OF_PAIR` of each candidate, then each of its numbers minus the user's mean of it over clicked items.

    Args:
        world: as it is.
        who: of each request, shape (n,).
        now_ms: as of when, shape (n,).
        starts: where the candidates of each request begin, shape (n + 1,).
        item: shape (m,).
        numbers: of the items, NaN where one is not known, shape (m, numbers).
        categories: of the items, 0 where there is none, shape (m, any).
        scratch: shape (recent,).
        out: shape (m, len(OF_PAIR) + numbers).
    """
    users, fixed = world.users, len(OF_PAIR)
    for i in range(len(who)):
        row = find(world.user_table, who[i]) if who[i] != 0 else np.int64(-1)
        if row < 0:
            out[starts[i] : starts[i + 1], :] = np.nan
            continue
        _visited(world, row, scratch)
        for c in range(starts[i], starts[i + 1]):
            _pair(world, row, scratch, item[c], now_ms[i], out[c])
            out[c, fixed - 1] = _same_category(users, row, categories[c])
            for k in range(numbers.shape[1]):
                count = users.sums[row, COUNTS + 2 * k]
                mean = users.sums[row, COUNTS + 2 * k + 1] / count if count > 0.0 else np.nan
                out[c, fixed + k] = numbers[c, k] - mean


@borrowing
def recent_items(world: World, who: np.uint64, items: U64, bought: U64) -> tuple[Int, Int]:
    """Write the items that a user clicked or bought lately, the newest first, and those he bought.

    Args:
        world: as it is.
        who: 0 for nobody.
        items: shape (recent,).
        bought: shape (recent,).

    Returns:
        How many there are of each.
    """
    users = world.users
    row = find(world.user_table, who) if who != 0 else np.int64(-1)
    found, purchased = np.int64(0), np.int64(0)
    if row < 0:
        return found, purchased
    for k in range(users.items.shape[1]):
        if users.items[row, k] == 0:
            break
        if _acted(users, row, k):
            items[found] = users.items[row, k]
            found += 1
        if users.times[row, k, PURCHASE] > 0:
            bought[purchased] = users.items[row, k]
            purchased += 1
    return found, purchased


@borrowing
def co_visited(world: World, recent: U64, now_ms: Int, items: U64, scores: F64) -> Int:
    """Write the items that came beside some others, and the sum of their scores beside each of these.

    Args:
        world: as it is.
        recent: the others, shape (any,).
        now_ms: as of when.
        items: each once, in the order in which they are found, shape (len(recent) x places,).
        scores: shape likewise.

    Returns:
        How many there are.
    """
    lists, plan, found = world.lists, world.plan, np.int64(0)
    for i in range(len(recent)):
        row = find(world.item_table, recent[i])
        if row < 0:
            continue
        for k in range(lists.others.shape[1]):
            other = lists.others[row, k]
            if other == 0:
                break
            beside = score(lists, row, k, find(world.item_table, other), plan.damping, plan.item_half_life_ms, now_ms)
            if beside <= 0.0:
                continue
            at = np.int64(0)
            while at < found and items[at] != other:
                at += 1
            if at == found:
                items[at], scores[at] = other, 0.0
                found += 1
            scores[at] += beside
    return found
