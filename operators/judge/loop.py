"""The compiled part: interactions find the lists they belong to. They only borrow the arrays."""

from typing import Final, NamedTuple

import numpy as np

from operators.batches import F64, I64, U8, U16, U64, Bool
from operators.compiled import Int, borrowing
from operators.entities import Table, find, touch
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, advance
from operators.noticed import CLICK, PURCHASE

CLICKED, BOUGHT = 1, 2
"""Bits of `Kept.grade`."""

HEAD, TAIL = 0, 1
"""Slots of `Kept.ends`: numbers of the oldest list that is kept, and of the next one to come."""

SAME_USER: Final = 16
"""Newest lists of one user that an interaction is the next one for, at most: else one who asks all the time would cost
every click a walk through all his lists."""


class Kept(NamedTuple):
    """Lists whose time is not over. List number s, counted from 0, is in row s modulo the capacity.

    Attributes:
        ends: see `HEAD` and `TAIL`, shape (2,).
        time_ms: of the list, shape (capacity,).
        user: 64 bits of its user's pseudonym, 0 where none is told, shape (capacity,).
        older: number of the same user's list before it, -1 where there is none, shape (capacity,).
        next_ms: time of the user's next interaction, -1 while there is none, shape (capacity,).
        next_found: whether its item was among the candidates, shape (capacity,).
        next_source: by which sources, shape (capacity,).
        kept: candidates kept, shape (capacity,).
        shown: of these, those shown; they come first, in their order, shape (capacity,).
        user_group: number of the user's group, shape (capacity,).
        item: key of each candidate, shape (capacity, width), as all that follow.
        source: bits of `operators.lists.SOURCES`.
        grade: bits `CLICKED` and `BOUGHT`, of those shown.
        probability: of a click; NaN where it is not known, of those shown.
        group: number of the item's group, of those shown.
        by_popularity: places of those shown, in the order of falling popularity.
    """

    ends: I64
    time_ms: I64
    user: U64
    older: I64
    next_ms: I64
    next_found: Bool
    next_source: U8
    kept: I64
    shown: I64
    user_group: I64
    item: U64
    source: U8
    grade: U8
    probability: F64
    group: U8
    by_popularity: U16


class Known(NamedTuple):
    """Which list a key means: the newest one.

    Attributes:
        table: keys.
        number: of the list, by row of the table.
        news: whether the row changed since it was last written down.
    """

    table: Table
    number: I64
    news: Bool


class Times(NamedTuple):
    """In milliseconds: how long interactions count, how long they are waited for, and what is a jump."""

    within: int
    lateness: int
    gap: int


@borrowing
def enter(known: Known, key: Int, number: Int) -> Int:
    """Let a key mean this list from now on; return the number of the list it meant before, or -1."""
    row, fresh = touch(known.table, key, 0)
    before = np.int64(-1) if fresh else known.number[row]
    known.number[row] = number
    known.news[row] = True
    return before


@borrowing
def _grade(kept: Kept, row: Int, item: Int, bit: Int) -> bool:
    for place in range(kept.shown[row]):
        if kept.item[row, place] == item:
            before = kept.grade[row, place]
            kept.grade[row, place] = before | bit
            return bool(kept.grade[row, place] != before)
    return False


@borrowing
def _is_next(kept: Kept, row: Int, time_ms: Int, item: Int) -> None:
    kept.next_ms[row] = time_ms
    kept.next_found[row] = False
    kept.next_source[row] = 0
    for place in range(kept.kept[row]):
        if kept.item[row, place] == item:
            kept.next_found[row] = True
            kept.next_source[row] = kept.source[row, place]
            return


@borrowing
def counts(kept: Kept, number: Int, time_ms: Int, now_ms: Int, times: Times) -> bool:
    """Return whether an interaction of this time counts for a list: it is kept, not over, and the time is within."""
    if number < kept.ends[HEAD]:
        return False
    began = kept.time_ms[number % len(kept.time_ms)]
    return bool(began <= time_ms <= began + times.within and now_ms <= began + times.within + times.lateness)


@borrowing
def notice_all(
    kept: Kept,
    news: Bool,
    rankings: Known,
    users: Known,
    sequence: Sequence,
    times: Times,
    kind: U8,
    time_ms: I64,
    user: U64,
    session: U64,
    ranking: U64,
    item: U64,
) -> None:
    """Take in interactions, in their order: each moves stream time, and counts for the lists it belongs to."""
    clock, capacity = sequence.clock, len(kept.time_ms)
    for i in range(len(time_ms)):
        who = user[i] if user[i] != 0 else session[i]
        # Before the first list nothing can count, and a single bad clock must not set the time.
        if clock[KNOWN] == 0 or not advance(sequence, who, time_ms[i], times.gap):
            continue
        now = clock[TIME_MS]
        if kind[i] != CLICK and kind[i] != PURCHASE:
            continue
        if ranking[i] != 0:
            at = find(rankings.table, ranking[i])
            if at >= 0 and counts(kept, rankings.number[at], time_ms[i], now, times):
                row = rankings.number[at] % capacity
                if kept.user[row] == 0 or user[i] == 0 or kept.user[row] == user[i]:
                    bit = CLICKED if kind[i] == CLICK else BOUGHT
                    if _grade(kept, row, item[i], bit):
                        news[row] = True
        if who == 0:
            continue
        at = find(users.table, who)
        number: Int = users.number[at] if at >= 0 else np.int64(-1)
        for _ in range(SAME_USER):
            if number < kept.ends[HEAD]:
                break
            row = number % capacity
            first = kept.next_ms[row] < 0 or time_ms[i] < kept.next_ms[row]
            if first and counts(kept, number, time_ms[i], now, times):
                _is_next(kept, row, time_ms[i], item[i])
                news[row] = True
            number = kept.older[row]
