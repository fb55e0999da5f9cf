"""What is remembered of a user: the items he had to do with lately, sums that fade, and the categories he clicked.

Recent items stand in the order in which interactions came, the newest first, each once. When there is no room, and at
least half of them were only shown, the oldest of these goes; else the oldest that was clicked or bought. So
impressions, of which there are many more, leave half of the places to clicks, and clicks leave half to impressions, or
one less.

What fades is held as of the user's newest interaction (forward decay, as in `operators.signals.items`).
"""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, U8, U64, Bool
from operators.compiled import Int, borrowing
from operators.entities import in_larger
from operators.fading import share_of
from operators.noticed import CLICK, IMPRESSION, PURCHASE
from operators.recall.item_fields import MOST_NUMBER

ARRAYS = ("items", "at_ms", "times", "sums", "as_of_ms", "session", "acted_ms", "categories")

MOST_TIMES = 255
IN_SESSION = 3
"""Column of `Users.times`: whether the item was clicked or bought in the present session."""

COUNTS = 3
"""Columns of `Users.sums` that are counts; then come, of each number of items, the faded count and sum over clicks."""

NEVER_MS = -(2**62)


class Users(NamedTuple):
    """The memory, by row of the user in his table.

    Attributes:
        items: recent ones, the newest first; 0 where there is none, shape (rows, recent).
        at_ms: time of the newest interaction with each, shape (rows, recent).
        times: how often each was shown, clicked, bought, 255 at the most; and `IN_SESSION`, shape (rows, recent, 4).
        sums: impressions, clicks, purchases; see `COUNTS`, shape (rows, 3 + 2 numbers).
        as_of_ms: time of the newest interaction, shape (rows,).
        session: the present one, 0 if it has no name, shape (rows,).
        acted_ms: time of the newest click or purchase; `NEVER_MS` before the first, shape (rows,).
        categories: of clicked items, the newest first, each once; 0 where there is none, shape (rows, categories).
        news: whether the row changed since it was written, shape (rows,).
    """

    items: U64
    at_ms: I64
    times: U8
    sums: F64
    as_of_ms: I64
    session: U64
    acted_ms: I64
    categories: U64
    news: Bool


@borrowing
def reset(users: Users, row: Int) -> None:
    """Forget what a row's former user left."""
    for k in range(users.items.shape[1]):
        users.items[row, k] = 0
        users.at_ms[row, k] = 0
        for c in range(4):
            users.times[row, k, c] = 0
    for c in range(users.sums.shape[1]):
        users.sums[row, c] = 0.0
    for c in range(users.categories.shape[1]):
        users.categories[row, c] = 0
    users.as_of_ms[row] = 0
    users.session[row] = 0
    users.acted_ms[row] = NEVER_MS


@borrowing
def place_of(users: Users, row: Int, item: np.uint64) -> Int:
    """Return where an item is among the recent ones of a row, or -1."""
    for k in range(users.items.shape[1]):
        if users.items[row, k] == item:
            return np.int64(k)
        if users.items[row, k] == 0:
            break
    return np.int64(-1)


@borrowing
def _place_to_take(users: Users, row: Int) -> Int:
    """Return the place that a new item takes from an old one, or the first free one."""
    places = users.items.shape[1]
    shown, last_shown, last_acted = 0, np.int64(-1), np.int64(-1)
    for k in range(places):
        if users.items[row, k] == 0:
            return np.int64(k)
        if users.times[row, k, CLICK] == 0 and users.times[row, k, PURCHASE] == 0:
            shown, last_shown = shown + 1, np.int64(k)
        else:
            last_acted = np.int64(k)
    return last_shown if 2 * shown >= places else last_acted


@borrowing
def _to_front(users: Users, row: Int, item: np.uint64) -> None:
    """Bring an item to the first place, from its own or from outside."""
    at = place_of(users, row, item)
    at_ms: Int = NEVER_MS
    shown, clicked, bought, in_session = 0, 0, 0, 0
    if at >= 0:
        times = users.times[row, at]
        at_ms, shown, clicked, bought, in_session = users.at_ms[row, at], times[0], times[1], times[2], times[3]
    else:
        at = _place_to_take(users, row)
    for k in range(at, 0, -1):
        users.items[row, k] = users.items[row, k - 1]
        users.at_ms[row, k] = users.at_ms[row, k - 1]
        for c in range(4):
            users.times[row, k, c] = users.times[row, k - 1, c]
    users.items[row, 0], users.at_ms[row, 0] = item, at_ms
    times = users.times[row, 0]
    times[0], times[1], times[2], times[3] = shown, clicked, bought, in_session


@borrowing
def _click_category(users: Users, row: Int, category: np.uint64) -> None:
    """Bring a category to the first place."""
    last = users.categories.shape[1] - 1
    at = np.int64(0)
    while at < last and users.categories[row, at] != category:
        at += 1
    for k in range(at, 0, -1):
        users.categories[row, k] = users.categories[row, k - 1]
    users.categories[row, 0] = category


@borrowing
def remember(
    users: Users,
    row: Int,
    kind: Int,
    item: np.uint64,
    time_ms: Int,
    numbers: F64,
    categories: U64,
    half_life_ms: float,
) -> None:
    """Take an interaction in.

    Args:
        users: of all users.
        row: of the user.
        kind: impression, click or purchase.
        item: with which item.
        time_ms: when.
        numbers: of the item, NaN where one is not known, shape (numbers,); beyond `MOST_NUMBER` none is.
        categories: of the item, 0 where there is none, shape (any,).
        half_life_ms: of what fades.
    """
    share = share_of(users.as_of_ms, users.sums, row, time_ms, half_life_ms)
    users.sums[row, kind] += share
    if kind == CLICK:
        for k in range(len(numbers)):
            if abs(numbers[k]) <= MOST_NUMBER:  # NaN is not
                users.sums[row, COUNTS + 2 * k] += share
                users.sums[row, COUNTS + 2 * k + 1] += share * numbers[k]
        for k in range(len(categories) - 1, -1, -1):
            if categories[k] != 0:
                _click_category(users, row, categories[k])
    _to_front(users, row, item)
    users.at_ms[row, 0] = max(users.at_ms[row, 0], time_ms)
    if users.times[row, 0, kind] < MOST_TIMES:
        users.times[row, 0, kind] += 1
    users.news[row] = True


@borrowing
def begins_to_act(users: Users, row: Int, kind: Int, time_ms: Int, session: np.uint64, gap_ms: Int) -> bool:
    """Return whether the item at the first place is clicked or bought for the first time in the present session.

    Call after `remember`. A session with a name goes on as long as its name comes; one without, as long as two clicks
    or purchases of the user are not further apart than the gap.
    """
    if kind == IMPRESSION:
        return False
    goes_on = session == users.session[row]
    if goes_on and session == 0:
        goes_on = users.acted_ms[row] != NEVER_MS and abs(time_ms - users.acted_ms[row]) <= gap_ms
    if not goes_on:
        users.session[row] = session
        for k in range(users.items.shape[1]):
            users.times[row, k, IN_SESSION] = 0
    users.acted_ms[row] = max(users.acted_ms[row], time_ms)
    first = users.times[row, 0, IN_SESSION] == 0
    users.times[row, 0, IN_SESSION] = 1
    return bool(first)


def empty(rows: int, recent: int, categories: int, numbers: int) -> Users:
    """Return rows of which nothing is known."""
    return Users(
        np.zeros((rows, recent), np.uint64),
        np.zeros((rows, recent), np.int64),
        np.zeros((rows, recent, 4), np.uint8),
        np.zeros((rows, COUNTS + 2 * numbers)),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.uint64),
        np.zeros(rows, np.int64),
        np.zeros((rows, categories), np.uint64),
        np.zeros(rows, np.bool_),
    )


def grown(users: Users, rows: int) -> Users:
    """Return a copy with so many rows."""
    numbers = (users.sums.shape[1] - COUNTS) // 2
    return in_larger(users, empty(rows, users.items.shape[1], users.categories.shape[1], numbers))
