"""The gate: an event that looks too unusual teaches nothing, so that a burst cannot teach itself normal.

What it decides, for each event that may teach, from the forest's score before the event is learnt:

    held      its tail probability among earlier scores (`operators.sketch`) is at most `share`
    drifting  the share of held events, an exponential average over `window` / 4 of them, has reached `drift_share`;
              until it has fallen below half of that

The danger of such a gate is that it never opens again once people have truly changed. Two rules open it:

1. **The leak.** The earlier scores are those of admitted events, and of held ones at most `LEAK` x `share` of all. Were
   all held events among them, a burst would soon be no rarity; were none, the gate would cut the tail off the tail for
   ever. So if everything is held, held scores make up more than `share` of the ranks, and the gate opens, after about
   n / `LEAK` events, n the decayed number of ranked ones: at most half_life / (`LEAK` ln 2).
2. **The shadow forest.** From the moment it drifts, a second set of masses learns what comes, held or not, window after
   window. If it still drifts at the end of a window, `relearn_windows` windows have passed, and held events came from
   at least `relearn_users` users, the newest window replaces the forest's masses and the gate begins anew. If the
   drift ends before, the shadow is thrown away.

Users are counted in a bitmap of `MARKS` cells, by the last bits of their pseudonyms: marks never outnumber users, so an
attack by fewer users than `relearn_users` cannot have the forest learn it (linear counting, Whang et al., TODS 1990,
without its correction, which could say too much).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from operators.batches import F64, I64, U8
from operators.compiled import Int, inlined
from operators.sketch import WARM, TailSketch, advance
from operators.state import State

I32 = NDArray[np.int32]

BINS = 2048  # over [0, 1]: 0.009 bits of log_mass at the default window and height
MARKS = 1024
LEAK = 1.5
LEAST_CREDIT = 16.0
"""Held events that are ranked at once when none has been for long."""

HELD_SHARE, CREDIT = range(2)
"""Cells of `Gate.levels`."""

HELD, DRIFTING, SHADOWED, WINDOWS, RELEARNED, USERS = range(6)
"""Cells of `Gate.counts`: events held ever; whether it drifts; events in the shadow's window; its complete windows;
forests replaced ever; users marked."""

NOTHING, BEGAN, LEARNED, DISCARDED = range(4)
"""What an event made of the shadow forest."""


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Settings of the gate.

    Attributes:
        share: tail probability from which an event is held, 0 (nothing is held) to 0.5.
        drift_share: share of held events from which a shadow forest learns, above 0, at most 1.
        relearn_windows: windows after which the shadow may replace the forest, at least 1.
        relearn_users: users among the held events that it takes, 1 to 512.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    share: Annotated[float, Ge(0), Le(0.5)] = 0.02
    drift_share: Annotated[float, Gt(0), Le(1)] = 0.25
    relearn_windows: Annotated[int, Ge(1)] = 3
    relearn_users: Annotated[int, Ge(1), Le(MARKS // 2)] = 30


class Gate(NamedTuple):
    """State of the gate, for compiled code.

    Attributes:
        settled: decayed counts of ranked scores, as are the next four; see `TailSketch`.
        pending: see above.
        direction: see above.
        tails: see above.
        clock: see above.
        levels: see `HELD_SHARE` and `CREDIT`.
        counts: see `HELD` and the rest.
        marks: 1 where a user of a held event fell since it drifts, shape (MARKS,).
        shadow: leaf masses of the shadow's present window, shape (trees, leaves).
    """

    settled: F64
    pending: I32
    direction: I32
    tails: F64
    clock: I64
    levels: F64
    counts: I64
    marks: U8
    shadow: I32


def fresh_gate(sketch: TailSketch, trees: int, leaves: int) -> Gate:
    """Return a gate that has seen nothing, with its ranks in `sketch`."""
    return Gate(
        sketch.settled,
        sketch.pending,
        sketch.direction,
        sketch.tails,
        sketch.clock,
        np.array([0.0, LEAST_CREDIT]),
        np.zeros(6, np.int64),
        np.zeros(MARKS, np.uint8),
        np.zeros((trees, leaves), np.int32),
    )


@inlined
def holds(gate: Gate, place: Int, share: float, span: float, refresh: Int, decay: float) -> bool:
    """Return whether an event that may teach is held, and rank its score.

    Args:
        gate: the state.
        place: bin of its score.
        share: see `GateConfig`.
        span: events over which the share of held ones is averaged.
        refresh: of the ranks.
        decay: of the ranks.
    """
    held = gate.clock[WARM] == 1 and gate.tails[0, place] <= share
    if gate.clock[WARM] == 1:
        gate.levels[HELD_SHARE] += ((1.0 if held else 0.0) - gate.levels[HELD_SHARE]) / span
        gate.levels[CREDIT] = min(gate.levels[CREDIT] + LEAK * share, LEAST_CREDIT)
    if held:
        gate.counts[HELD] += 1
        if gate.levels[CREDIT] < 1.0:
            return True
        gate.levels[CREDIT] -= 1.0
    gate.pending[0, place] += 1
    advance(gate.settled, gate.pending, gate.direction, gate.tails, gate.clock, refresh, refresh, decay)
    return bool(held)


@inlined
def forget(gate: Gate) -> None:
    """Empty the shadow and its counts."""
    gate.counts[DRIFTING] = gate.counts[SHADOWED] = gate.counts[WINDOWS] = gate.counts[USERS] = 0
    gate.marks[:] = 0
    gate.shadow[:] = 0


@inlined
def shadow_turn(
    gate: Gate,
    held: bool,  # noqa: FBT001  a kernel takes scalars
    user: Int,
    drift_share: float,
    windows: Int,
    users: Int,
    window: Int,
) -> int:
    """Say what an event makes of the shadow forest; whoever calls counts it into `shadow` while it drifts.

    Args:
        gate: the state, with the event's masses already in the shadow if it drifted before.
        held: whether the event was held.
        user: 64 bits of its user's pseudonym.
        drift_share: see `GateConfig`, as are the next two.
        windows: see above.
        users: see above.
        window: events per window.

    Returns:
        `NOTHING`, `BEGAN`, `LEARNED` (the caller takes the masses over, then calls `forget`) or `DISCARDED`.
    """
    level = gate.levels[HELD_SHARE]
    if gate.counts[DRIFTING] == 0:
        if level < drift_share:
            return NOTHING
        gate.counts[DRIFTING] = 1
        return BEGAN
    if level < 0.5 * drift_share:
        forget(gate)
        return DISCARDED
    if held:
        mark = np.int64(user & np.uint64(MARKS - 1))
        if gate.marks[mark] == 0:
            gate.marks[mark] = 1
            gate.counts[USERS] += 1
    gate.counts[SHADOWED] += 1
    if gate.counts[SHADOWED] < window:
        return NOTHING
    gate.counts[WINDOWS] += 1
    if level >= drift_share and gate.counts[WINDOWS] >= windows and gate.counts[USERS] >= users:
        return LEARNED
    gate.counts[SHADOWED] = 0
    gate.shadow[:] = 0
    return NOTHING


def dump_gate(gate: Gate, sketch: TailSketch) -> State:
    """Return the ranks, the counts and the shadow, which is left out while there is none."""
    shadow = gate.shadow if gate.counts[DRIFTING] else gate.shadow[:0]
    return {
        **sketch.dump("gate"),
        "gate.levels": gate.levels.copy(),
        "gate.counts": gate.counts.copy(),
        "gate.marks": np.packbits(gate.marks),
        "gate.shadow": shadow.copy(),
    }


def load_gate(gate: Gate, sketch: TailSketch, state: State) -> None:
    """Replace the state of the gate by a dumped one.

    Raises:
        ValueError: the shadow is of other trees.
    """
    sketch.load(state, "gate")
    gate.levels[:] = np.asarray(state["gate.levels"])
    gate.counts[:] = np.asarray(state["gate.counts"])
    gate.marks[:] = np.unpackbits(np.asarray(state["gate.marks"], np.uint8))
    shadow = np.asarray(state["gate.shadow"])
    if len(shadow) and shadow.shape != gate.shadow.shape:
        raise ValueError(f"expected shape {gate.shadow.shape}, got {shadow.shape} - at gate.shadow")
    gate.shadow[:] = 0
    gate.shadow[: len(shadow)] = shadow
