"""The interactions of a batch, one after the other: what each changes of its user and of the items of his session."""

from typing import NamedTuple

import numpy as np

from operators.batches import AHEAD, DUPLICATE, F64, I64, LATE, U8, U64
from operators.compiled import Int, borrowing
from operators.entities import Table, fetch_ahead, find, first_guess, touch
from operators.noticed import IMPRESSION, PURCHASE
from operators.prefetch import LINE, prefetch
from operators.recall.covisits import CoVisits, visit, visit_beside
from operators.recall.users import IN_SESSION, Users, begins_to_act, remember, reset

REASONS = ("late", "duplicate", "ahead", "no_user")
"""Why an interaction does not count, in the order of `World.refused`."""

_FAR, _NEAR = 8, 4  # rows between asking for a place, or for what is kept of a user, and using it


class Plan(NamedTuple):
    """The configuration, for compiled loops.

    Attributes:
        gap_ms: after which a session without a name is over.
        user_half_life_ms: of what fades of users.
        item_half_life_ms: of what fades of items.
        damping: see `operators.recall.covisits`.
    """

    gap_ms: Int
    user_half_life_ms: float
    item_half_life_ms: float
    damping: float


class World(NamedTuple):
    """What the loop changes, but for the sequence and the ids.

    Attributes:
        plan: the configuration.
        user_table: of users.
        users: what is kept of them.
        item_table: of items.
        lists: which others came beside them.
        refused: see `REASONS`, shape (4,).
    """

    plan: Plan
    user_table: Table
    users: Users
    item_table: Table
    lists: CoVisits
    refused: I64


@borrowing
def _visit_all(world: World, row: Int, time_ms: Int, stream_ms: Int) -> None:
    """Count the item at the first place of a user, once for the session, and beside all others of the session."""
    users, lists, half_life_ms = world.users, world.lists, world.plan.item_half_life_ms
    item = users.items[row, 0]
    own = visit(world.item_table, lists, item, time_ms, stream_ms, half_life_ms)
    for k in range(1, users.items.shape[1]):
        if users.items[row, k] == 0:
            break
        if users.times[row, k, IN_SESSION] == 0:
            continue
        other = find(world.item_table, users.items[row, k])
        if other >= 0:  # else it had to go meanwhile
            visit_beside(lists, other, item, time_ms, half_life_ms)
            visit_beside(lists, own, users.items[row, k], time_ms, half_life_ms)


@borrowing
def _fetch_user(world: World, user: np.uint64) -> None:
    """Start loading what is kept of a user who will come in a moment: the first guess, which is right mostly."""
    row = first_guess(world.user_table, user)
    if row < 0:
        return
    users = world.users
    recent = users.items.shape[1]
    prefetch(world.user_table.keys, row * 8)
    for at in range(0, recent * 8, LINE):
        prefetch(users.items, row * recent * 8 + at)
        prefetch(users.at_ms, row * recent * 8 + at)
    prefetch(users.times, row * recent * 4)
    prefetch(users.sums, row * users.sums.shape[1] * 8)
    prefetch(users.as_of_ms, row * 8)


@borrowing
def run(
    world: World,
    flags: U8,
    stream_ms: I64,
    kind: U8,
    who: U64,
    session: U64,
    item: U64,
    time_ms: I64,
    numbers: F64,
    categories: U64,
) -> None:
    """Take a batch in; what is flagged, names nobody, or is of no known kind changes nothing.

    Args:
        world: is changed.
        flags: of each row, shape (n,).
        stream_ms: stream time after it, shape (n,).
        kind: as in `operators.noticed`, shape (n,).
        who: user, or the session of one who is not told; 0 for nobody, shape (n,).
        session: 0 where none is told, shape (n,).
        item: shape (n,).
        time_ms: shape (n,).
        numbers: of the item, NaN where one is not known, shape (n, numbers).
        categories: of the item, 0 where there is none, shape (n, categories).
    """
    plan, users = world.plan, world.users
    for i in range(len(kind)):
        if i + _FAR < len(kind):
            fetch_ahead(world.user_table, who[i + _FAR])
            _fetch_user(world, who[i + _NEAR])
        if flags[i] != 0:
            world.refused[0] += flags[i] == LATE
            world.refused[1] += flags[i] == DUPLICATE
            world.refused[2] += flags[i] == AHEAD
            continue
        if who[i] == 0:
            world.refused[3] += 1
            continue
        if not IMPRESSION <= kind[i] <= PURCHASE:
            continue
        row, fresh = touch(world.user_table, who[i], stream_ms[i])
        if fresh:
            reset(users, row)
        what = np.int64(kind[i])
        remember(users, row, what, item[i], time_ms[i], numbers[i], categories[i], plan.user_half_life_ms)
        if begins_to_act(users, row, what, time_ms[i], session[i], plan.gap_ms):
            _visit_all(world, row, time_ms[i], stream_ms[i])
