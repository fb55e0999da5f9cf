"""Each user's standing: how risky the user's recent events were, with hysteresis.

Definition. At event time t the standing is the highest, over the user's earlier counted events e, of

    tier(e) - floor((t - time(e)) / hold),   and never below low:

it rises at once, and falls one level for each `hold` without an event at or above the level. Because a rise or a
confirmation outlasts all earlier events, a level and the time it was reached or last confirmed are all there is to
keep. A counted event that is older than that time counts at that time. Users at low are not kept.

The table is bounded. When it is full, the lowest standing goes first, and of equal ones the one that changed or was
confirmed longest ago: a flood of new suspects cannot push out those that are worse. What has been at low for a whole
`hold` is dropped without being counted as evicted.
"""

import math

import numpy as np
from numpy.typing import NDArray

from operators.batches import AHEAD, I64, U8, U64
from operators.compiled import compiled, inlined
from operators.state import State

I32 = NDArray[np.int32]
I8 = NDArray[np.int8]

LOW, MEDIUM, HIGH, CRITICAL = 1, 2, 3, 4
NONE = -1

HELD, EVICTED, FREE = range(3)
"""Cells of `counts`: users held; evicted so far; first unused row of the free list (its links run through `after`)."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hashing, 2^64 / golden ratio
_HALF = np.uint64(32)


@inlined
def _home(user: np.uint64, mask: int) -> int:
    return int(np.int64((user * _GOLDEN) >> _HALF)) & mask


@inlined
def _slot_of(slots: I32, users: U64, user: np.uint64) -> int:
    """Return the slot that holds `user`, or the empty one where it belongs; a slot holds row + 1, 0 is empty."""
    mask = len(slots) - 1
    at = _home(user, mask)
    while slots[at] != 0 and users[slots[at] - 1] != user:
        at = (at + 1) & mask
    return at


@inlined
def _clear_slot(slots: I32, users: U64, hole: int) -> None:
    """Empty a slot by backward shift (Knuth, TAOCP 6.4, algorithm R): no tombstones."""
    mask = len(slots) - 1
    at = hole
    while True:
        at = (at + 1) & mask
        if slots[at] == 0:
            break
        if ((at - _home(users[slots[at] - 1], mask)) & mask) >= ((at - hole) & mask):
            slots[hole] = slots[at]
            hole = at
    slots[hole] = 0


@inlined
def _unlink(row: int, level: int, before: I32, after: I32, ends: I32) -> None:
    if before[row] == NONE:
        ends[level, 0] = after[row]
    else:
        after[before[row]] = after[row]
    if after[row] == NONE:
        ends[level, 1] = before[row]
    else:
        before[after[row]] = before[row]


@inlined
def _append(row: int, level: int, before: I32, after: I32, ends: I32) -> None:
    before[row], after[row] = ends[level, 1], NONE
    if ends[level, 1] == NONE:
        ends[level, 0] = row
    else:
        after[ends[level, 1]] = row
    ends[level, 1] = row


@inlined
def _remove(row: int, users: U64, levels: I8, slots: I32, before: I32, after: I32, ends: I32, counts: I64) -> None:
    _clear_slot(slots, users, _slot_of(slots, users, users[row]))
    _unlink(row, levels[row], before, after, ends)
    after[row] = counts[FREE]
    counts[FREE] = row
    counts[HELD] -= 1


@inlined
def _fallen(level: int, since_ms: int, now_ms: int, hold_ms: int) -> int:
    """Return the level left at `now_ms`."""
    if now_ms <= since_ms:
        return level
    return max(LOW, level - (now_ms - since_ms) // hold_ms)


@inlined
def _make_room(
    now_ms: int,
    hold_ms: int,
    max_users: int,
    users: U64,
    levels: I8,
    since_ms: I64,
    slots: I32,
    before: I32,
    after: I32,
    ends: I32,
    counts: I64,
) -> None:
    """Drop the longest unconfirmed of each level if it is long at low; then evict one if the table is still full."""
    for level in range(MEDIUM, CRITICAL + 1):
        row = ends[level, 0]
        # One hold longer than it takes to reach low, so that events slightly out of order still find their user.
        if row != NONE and now_ms - since_ms[row] >= level * hold_ms:
            _remove(row, users, levels, slots, before, after, ends, counts)
    if counts[HELD] < max_users:
        return
    victim = NONE
    lowest = CRITICAL + 1
    for level in range(MEDIUM, CRITICAL + 1):
        row = ends[level, 0]
        if row == NONE:
            continue
        left = _fallen(level, since_ms[row], now_ms, hold_ms)
        if left < lowest or (left == lowest and since_ms[row] < since_ms[victim]):
            victim, lowest = row, left
    _remove(victim, users, levels, slots, before, after, ends, counts)
    if lowest > LOW:
        counts[EVICTED] += 1


@compiled
def follow(
    tier: U8,
    user: U64,
    time_ms: I64,
    flags: U8,
    hold_ms: int,
    max_users: int,
    users: U64,
    levels: I8,
    since_ms: I64,
    slots: I32,
    before: I32,
    after: I32,
    ends: I32,
    counts: I64,
    standing: U8,
) -> None:
    """Write the standing of each event's user, the event included; flagged events read it and change nothing.

    Args:
        tier: codes of the events, shape (n,).
        user: shape (n,), never 0.
        time_ms: event time, shape (n,).
        flags: bits of `operators.batches`, shape (n,).
        hold_ms: event time per level of fall.
        max_users: bound of the table.
        users: user of each row, shape (max_users,).
        levels: standing of each row as of `since_ms`, shape (max_users,).
        since_ms: when the level was reached or last confirmed, shape (max_users,).
        slots: open addressing to rows, a power of two above max_users.
        before: neighbours of each row in its level's list, in the order of their last change; shape (max_users,).
        after: see above.
        ends: first and last row of each level's list, shape (5, 2).
        counts: see `HELD`, `EVICTED` and `FREE`.
        standing: output, codes from low up, shape (n,).
    """
    for i in range(len(tier)):
        slot = _slot_of(slots, users, user[i])
        row = slots[slot] - 1
        if row < 0 and (tier[i] <= LOW or flags[i] != 0):
            standing[i] = LOW
            continue
        now_ms = time_ms[i]
        level = LOW
        since = now_ms
        if row >= 0:
            # An event ahead of time is not believed about the time either.
            left = levels[row] if flags[i] & AHEAD else _fallen(levels[row], since_ms[row], now_ms, hold_ms)
            if flags[i] != 0:
                standing[i] = left
                continue
            since = since_ms[row] + (levels[row] - left) * hold_ms
            level = left
        if tier[i] >= level and tier[i] > LOW:
            level = int(tier[i])
            since = max(since, now_ms)
        standing[i] = level
        if row < 0:
            if counts[HELD] > 0:
                _make_room(now_ms, hold_ms, max_users, users, levels, since_ms, slots, before, after, ends, counts)
                slot = _slot_of(slots, users, user[i])  # a removal may have shifted slots
            row = counts[FREE]
            counts[FREE] = after[row]
            counts[HELD] += 1
            users[row] = user[i]
            slots[slot] = row + 1
        elif level == LOW:
            _remove(row, users, levels, slots, before, after, ends, counts)
            continue
        elif level == levels[row] and since == since_ms[row]:
            continue
        else:
            _unlink(row, levels[row], before, after, ends)
        levels[row] = level
        since_ms[row] = since
        _append(row, level, before, after, ends)


class Standings:
    """The standings of at most `max_users` users above low.

    Args:
        hold_s: event time after which an unconfirmed level falls by one, in seconds.
        max_users: bound; 33 to 41 bytes each, taken from the system as they are used.
    """

    def __init__(self, *, hold_s: int, max_users: int) -> None:
        self._hold_ms = hold_s * 1000
        self._max_users = max_users
        self._reset()

    def _reset(self) -> None:
        size = self._max_users
        self._users: U64 = np.zeros(size, np.uint64)
        self._levels: I8 = np.zeros(size, np.int8)
        self._since_ms: I64 = np.zeros(size, np.int64)
        self._slots: I32 = np.zeros(1 << math.ceil(math.log2(2 * size)), np.int32)
        self._before: I32 = np.zeros(size, np.int32)
        self._after: I32 = np.arange(1, size + 1, dtype=np.int32)  # the free list
        self._ends: I32 = np.full((CRITICAL + 1, 2), NONE, np.int32)
        self._counts: I64 = np.zeros(3, np.int64)

    def __len__(self) -> int:
        return int(self._counts[HELD])

    @property
    def evicted(self) -> int:
        """Users above low that had to go."""
        return int(self._counts[EVICTED])

    def follow(self, tier: U8, user: U64, time_ms: I64, flags: U8) -> U8:
        """Return the standing of each event's user, shape (n,), and keep what changed.

        Args:
            tier: codes of the events, shape (n,).
            user: shape (n,), never 0.
            time_ms: event time, epoch milliseconds, shape (n,).
            flags: bits of `operators.batches`, shape (n,); an event with any changes nothing.
        """
        standing: U8 = np.empty(len(tier), np.uint8)
        follow(
            tier,
            user,
            time_ms,
            flags,
            self._hold_ms,
            self._max_users,
            self._users,
            self._levels,
            self._since_ms,
            self._slots,
            self._before,
            self._after,
            self._ends,
            self._counts,
            standing,
        )
        return standing

    def dump(self) -> State:
        """Return users, levels and times, level by level, longest unchanged first."""
        rows = in_order(self._ends, self._after, len(self))
        return {
            "standing.users": self._users[rows],
            "standing.levels": self._levels[rows],
            "standing.since_ms": self._since_ms[rows],
            "standing.evicted": self.evicted,
        }

    def load(self, state: State) -> None:
        """Replace the standings by dumped ones."""
        users, levels, since_ms = (np.asarray(state[f"standing.{name}"]) for name in ("users", "levels", "since_ms"))
        if not len(users) == len(levels) == len(since_ms) <= self._max_users:
            raise ValueError(f"expected at most {self._max_users} users, got {len(users)} - at standing.users")
        self._reset()
        evicted = state["standing.evicted"]
        enter(
            users.astype(np.uint64),
            levels.astype(np.int8),
            since_ms.astype(np.int64),
            self._users,
            self._levels,
            self._since_ms,
            self._slots,
            self._before,
            self._after,
            self._ends,
            self._counts,
        )
        self._counts[EVICTED] = np.asarray(evicted)


@compiled
def in_order(ends: I32, after: I32, held: int) -> I64:
    """Return the rows level by level, in the order of the lists."""
    rows = np.empty(held, np.int64)
    at = 0
    for level in range(MEDIUM, CRITICAL + 1):
        row = ends[level, 0]
        while row != NONE:
            rows[at] = row
            at += 1
            row = after[row]
    return rows


@compiled
def enter(
    dumped_users: U64,
    dumped_levels: I8,
    dumped_since_ms: I64,
    users: U64,
    levels: I8,
    since_ms: I64,
    slots: I32,
    before: I32,
    after: I32,
    ends: I32,
    counts: I64,
) -> None:
    """Enter dumped standings into an empty table, in their order; see `follow` for the arrays."""
    for i in range(len(dumped_users)):
        row = counts[FREE]
        counts[FREE] = after[row]
        counts[HELD] += 1
        users[row] = dumped_users[i]
        levels[row] = dumped_levels[i]
        since_ms[row] = dumped_since_ms[i]
        slots[_slot_of(slots, users, users[row])] = row + 1
        _append(row, levels[row], before, after, ends)
