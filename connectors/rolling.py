"""Rolling forward: what lies between a snapshot and the committed offset, side records where the journal has them."""

from bisect import bisect_left
from typing import Any

from connectors.journal import Entry
from connectors.partition import Partition
from connectors.reader import Run

SIDES_AT_ONCE = 40_000
"""Side records that are held in memory at once, but for the last stretch of them."""

STRETCHES_AT_ONCE = 256
"""Stretches that are given to the stages at once, however short."""


def _offset(message: Any) -> int:
    offset: int = message.offset()
    return offset


def roll_forward(partition: Partition, run: Run) -> tuple[list[list[Any] | Entry], bool]:
    """Return stretches of records below the committed offset, and the entries between them, in their order.

    What is returned is taken out of the run; the partition is live once there is nothing left. The second of what is
    returned says whether what is left of the run must be rolled forward over before anything else is read.

    Args:
        partition: that is not live; its position moves on.
        run: the next records.
    """
    goal, entries = partition.opened.committed, partition.sides.entries
    reached = max(partition.position, run.end or 0, run.messages[-1].offset() + 1 if run.messages else 0)
    below = run.messages[: bisect_left(run.messages, goal, key=_offset)]
    found: list[list[Any] | Entry] = []
    done = sides = stretches = 0
    while entries and entries[0].at <= reached and sides < SIDES_AT_ONCE and stretches < STRETCHES_AT_ONCE:
        cut = bisect_left(below, entries[0].at, done, key=_offset)
        if cut > done:
            found.append(below[done:cut])
        sides += entries[0].records
        stretches += 1
        found.append(entries.popleft())
        done = cut
    again = bool(entries) and entries[0].at <= reached
    if done < len(below) and not again:
        found.append(below[done:])
        done = len(below)
    if done:
        partition.position = below[done - 1].offset() + 1
    run.messages = run.messages[done:]
    if reached >= goal and not entries:
        partition.live = True
        partition.position = max(partition.position, goal)  # the last records may be gone: none is answered before it
    return found, again
