"""Stream time of a partition, and whether each event counts: normal, duplicate, late or ahead, asked in that order.

- Stream time is the largest time of an accepted event. The first event ever is accepted and sets it.
- *Duplicate*: the id is remembered (`dedup`). Expiry is by stream time as it stands when the event arrives.
- *Late*: time < stream time - allowed lateness.
- *Ahead*: time > stream time + max gap. Such an event proposes a jump. Three distinct users proposing one make stream
  time jump to the smallest of their proposals (each user's newest), and the event that was third is judged again.
- Anything else is *accepted*: stream time becomes its time if that is larger, and its id is remembered.

The ids of late and ahead events are not remembered: a flagged event changes no state, so it cannot make another event a
duplicate either.

Proposals are held in three slots, and three users must also be able to contradict them: once three distinct users have
had events accepted while proposals were pending, the proposals are forgotten. Without that, three broken clocks spread
over a year would move the partition to wherever they point, and everybody else would be late for ever. With it a real
gap (nobody speaks for long, then everybody is ahead) is over at the third user, one broken clock can neither cause a
jump nor, by lagging behind, prevent one. Proposals that stream time has come within `max_gap` of are dropped.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import AHEAD, DUPLICATE, I64, LATE, U8, U64
from operators.compiled import Int, borrowing
from operators.featurize.dedup import EVENTS_AHEAD, Seen, fetch_ahead, forget_expired, holds, remember

CONFIRMATIONS = 3

KNOWN, TIME_MS, _PROPOSALS, _OBJECTORS = 0, 1, 2, 3  # slots of `Sequence.clock`
N_LATE, N_DUPLICATE, N_AHEAD = 0, 1, 2  # slots of `Sequence.flagged`


class Sequence(NamedTuple):
    """State of the sequence.

    Attributes:
        clock: whether stream time is known, stream time (ms), numbers of proposals and of objectors, shape (4,).
        proposers: users who proposed a jump, shape (3,).
        proposed_ms: each one's newest proposal, shape (3,).
        objectors: users with an accepted event since the first proposal, shape (3,).
        flagged: late, duplicate and ahead events so far, shape (3,); for the metrics alone.
    """

    clock: I64
    proposers: U64
    proposed_ms: I64
    objectors: U64
    flagged: I64


def fresh_sequence() -> Sequence:
    """Return the state before the first event."""
    return Sequence(
        np.zeros(4, np.int64),
        np.zeros(CONFIRMATIONS, np.uint64),
        np.zeros(CONFIRMATIONS, np.int64),
        np.zeros(CONFIRMATIONS, np.uint64),
        np.zeros(3, np.int64),
    )


@borrowing
def _object(state: Sequence, user: np.uint64) -> None:
    clock = state.clock
    for k in range(clock[_OBJECTORS]):
        if state.objectors[k] == user:
            return
    state.objectors[clock[_OBJECTORS]] = user
    clock[_OBJECTORS] += 1
    if clock[_OBJECTORS] == CONFIRMATIONS:
        _withdraw_all(state)


@borrowing
def _withdraw_all(state: Sequence) -> None:
    state.clock[_PROPOSALS] = state.clock[_OBJECTORS] = 0
    state.proposers[:] = 0
    state.proposed_ms[:] = 0
    state.objectors[:] = 0


@borrowing
def _drop_reached(state: Sequence, max_gap_ms: Int) -> None:
    """Drop the proposals that are no longer ahead."""
    clock = state.clock
    kept = 0
    for k in range(clock[_PROPOSALS]):
        if state.proposed_ms[k] - clock[TIME_MS] > max_gap_ms:
            state.proposers[kept], state.proposed_ms[kept] = state.proposers[k], state.proposed_ms[k]
            kept += 1
    if kept == 0:
        _withdraw_all(state)
    clock[_PROPOSALS] = kept


@borrowing
def _propose(state: Sequence, user: np.uint64, time_ms: Int, max_gap_ms: Int) -> bool:
    """Take a proposal; return whether stream time jumped."""
    clock = state.clock
    _drop_reached(state, max_gap_ms)
    at = 0
    while at < clock[_PROPOSALS] and state.proposers[at] != user:
        at += 1
    if at == clock[_PROPOSALS]:
        clock[_PROPOSALS] += 1
    state.proposers[at], state.proposed_ms[at] = user, time_ms
    if clock[_PROPOSALS] < CONFIRMATIONS:
        return False
    clock[TIME_MS] = min(state.proposed_ms[0], state.proposed_ms[1], state.proposed_ms[2])
    _drop_reached(state, max_gap_ms)
    return True


@borrowing
def within_reach(state: Sequence, user: np.uint64, time_ms: Int, max_gap_ms: Int) -> bool:
    """Propose a jump for an event that is ahead; return whether it no longer is, stream time having jumped or not."""
    while time_ms > state.clock[TIME_MS] + max_gap_ms:
        if not _propose(state, user, time_ms, max_gap_ms):
            return False
    return True


@borrowing
def advance(state: Sequence, user: np.uint64, time_ms: Int, max_gap_ms: Int) -> bool:
    """Move stream time on to an event that is not late; return False if it is ahead and waits to be confirmed."""
    if not within_reach(state, user, time_ms, max_gap_ms):
        return False
    clock = state.clock
    clock[TIME_MS] = max(clock[TIME_MS], time_ms)
    if clock[_PROPOSALS] > 0:
        _object(state, user)
    return True


@borrowing
def _judge(
    state: Sequence, seen: Seen, user: np.uint64, id_hash: np.uint64, time_ms: Int, lateness_ms: Int, max_gap_ms: Int
) -> Int:
    clock = state.clock
    if clock[KNOWN] == 0:
        clock[KNOWN], clock[TIME_MS] = 1, time_ms
    forget_expired(seen, clock[TIME_MS])
    if holds(seen, id_hash):
        return DUPLICATE
    if time_ms < clock[TIME_MS] - lateness_ms:
        return LATE
    if not advance(state, user, time_ms, max_gap_ms):
        return AHEAD
    forget_expired(seen, clock[TIME_MS])  # before the bound is asked: what has expired is not evicted
    remember(seen, id_hash, clock[TIME_MS])
    return 0


@borrowing
def judge(
    state: Sequence,
    seen: Seen,
    user: U64,
    id_hash: U64,
    time_ms: I64,
    lateness_ms: Int,
    max_gap_ms: Int,
    flags: U8,
    stream_ms: I64,
) -> None:
    """Judge a batch: write the flag of each event, and stream time after it."""
    clock, flagged = state.clock, state.flagged
    for i in range(len(time_ms)):
        if i + EVENTS_AHEAD < len(time_ms):
            fetch_ahead(seen, id_hash[i + EVENTS_AHEAD])
        flag = _judge(state, seen, user[i], id_hash[i], time_ms[i], lateness_ms, max_gap_ms)
        flagged[N_LATE] += flag == LATE
        flagged[N_DUPLICATE] += flag == DUPLICATE
        flagged[N_AHEAD] += flag == AHEAD
        flags[i] = flag
        stream_ms[i] = clock[TIME_MS]
