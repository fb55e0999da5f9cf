"""Streaming Half-Space Trees (Tan, Ting and Liu, Fast anomaly detection for streaming data, IJCAI 2011), compiled.

A tree halves the feature space at random places, chosen before any data is seen. It counts how many points of a
window fall on each node: the node's mass. A point is scored by the masses of the *previous* window along its path,
and then counted into the present one. When `window` points have been counted, the present becomes the previous.

The walk stops at the first node whose mass is below `size_limit * window`, or at the leaf. Two scores, both higher for
the more unusual and within [0, 1]:

    river     1 - sum over trees of (sum along the walk of mass * 2^depth) / (trees * window * (2^(height+1) - 1));
              equal to `river.anomaly.HalfSpaceTrees` (0.26) to the last bit
    log_mass  1 - mean over trees of log2(mass * 2^depth + 1) where the walk stops / log2(window * 2^height + 1)

What makes it fast: a point adds 1 to every node on its path, so the mass of a node is the sum of its leaves' masses,
and where a walk stops and what it is worth depend on its leaf alone. So only leaves are counted, and once per window
each leaf gets its tree's share of the score in a table. Scoring and learning are then one walk and one cell per tree.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, U8, U16, U64, Bool
from operators.compiled import compiled
from operators.score.gate import (
    BINS,
    DRIFTING,
    HELD,
    HELD_SHARE,
    LEARNED,
    RELEARNED,
    Gate,
    GateConfig,
    dump_gate,
    forget,
    fresh_gate,
    holds,
    load_gate,
    shadow_turn,
)
from operators.score.trees import grow
from operators.sketch import TailSketch, bin_of
from operators.state import State

I32 = NDArray[np.int32]

Statistic = Literal["log_mass", "river"]

COUNT, WARM = range(2)
"""Cells of `clock`: points in the present window; whether there was a previous one."""

OPEN = GateConfig(share=0.0)
"""A gate that holds nothing: the forest of Tan et al."""


@compiled
def appraise(reference: I32, limit: float, river: bool, worth: F64) -> None:  # noqa: FBT001  a kernel takes scalars
    """Fill `worth`, shape (trees, leaves), with what a walk to each leaf adds to the sum over trees.

    Nodes are numbered as in a heap: 1 is the root, 2k and 2k + 1 are below k, leaves are numbered from `leaves` on.

    Args:
        reference: mass of each leaf in the previous window, shape (trees, leaves).
        limit: the walk stops at a node with less mass.
        river: which of the two scores.
        worth: output.
    """
    trees, leaves = reference.shape
    mass = np.empty(2 * leaves, np.int64)
    value = np.empty(2 * leaves)
    stopped = np.empty(2 * leaves, np.bool_)
    for t in range(trees):
        for leaf in range(leaves):
            mass[leaves + leaf] = reference[t, leaf]
        for k in range(leaves - 1, 0, -1):
            mass[k] = mass[2 * k] + mass[2 * k + 1]
        value[0] = 0.0
        stopped[0] = False
        first = 1  # of this depth; equals 2^depth
        while first <= leaves:
            for k in range(first, 2 * first):
                parent = k >> 1
                stopped[k] = stopped[parent] or mass[k] < limit
                if stopped[parent]:
                    value[k] = value[parent]
                elif river:
                    # Whole numbers below 2^53: the sum is exact in any order.
                    value[k] = value[parent] + mass[k] * first
                elif stopped[k] or first == leaves:
                    value[k] = math.log2(mass[k] * first + 1.0)
            first *= 2
        for leaf in range(leaves):
            worth[t, leaf] = value[leaves + leaf]


@compiled
def score_then_learn(
    features: F64,
    teach: Bool,
    split_feature: I32,
    split_at: F64,
    present: I32,
    reference: I32,
    worth: F64,
    clock: I64,
    height: int,
    window: int,
    limit: float,
    river: bool,  # noqa: FBT001  a kernel takes scalars
    greatest: float,
    user: U64,
    gate: Gate,
    share: float,
    drift_share: float,
    relearn_windows: int,
    relearn_users: int,
    refresh: int,
    decay: float,
    out: F64,
    learn: Bool,
    turn: U8,
    leaf: U16,
) -> int:
    """Score each row of `features` against the previous window, then count it into the present one.

    A row is counted if it may teach and the gate (`operators.score.gate`) does not hold it. It stops once the masses to
    score by have changed, so that the caller can keep those that the next rows are scored by.

    Args:
        features: mapped features, shape (n, features), without NaN where `teach` is true.
        teach: which rows may be learnt, shape (n,).
        split_feature: column each inner node looks at, shape (trees, 2^height); cell 0 is not used.
        split_at: a row goes left where its value is below, shape (trees, 2^height).
        present: leaf masses of the present window, shape (trees, 2^height).
        reference: leaf masses of the previous window, shape (trees, 2^height).
        worth: table of `appraise` for `reference`.
        clock: see `COUNT` and `WARM`.
        height: levels of inner nodes.
        window: points per window.
        limit: see `appraise`.
        river: see `appraise`.
        greatest: the greatest possible sum over trees; divides it.
        user: 64 bits of the user's pseudonym, shape (n,).
        gate: its state.
        share: see `GateConfig`, as are the next three.
        drift_share: see above.
        relearn_windows: see above.
        relearn_users: see above.
        refresh: of the gate's ranks.
        decay: of the gate's ranks.
        out: output, scores, shape (n,); NaN while there is no previous window.
        learn: output, which rows taught, shape (n,).
        turn: output, what each row made of the shadow forest, shape (n,).
        leaf: output, leaf of each row in each tree, from 0, shape (n, trees); 0 where there was no walk.

    Returns:
        How many rows are done.
    """
    trees, leaves = split_at.shape
    span = max(1.0, window / 4)
    log_greatest = math.log2(greatest / trees + 1.0)
    node = np.empty(trees, np.int64)
    for i in range(len(features)):
        warm = clock[WARM] == 1
        learn[i] = teach[i]
        turn[i] = 0
        if not (warm or teach[i]):
            out[i] = np.nan
            leaf[i, :] = 0
            continue
        node[:] = 1
        # Level by level through all trees, without branches: the steps of different trees do not wait for each other.
        for _ in range(height):
            for t in range(trees):
                k = node[t]
                node[t] = 2 * k + (0 if features[i, split_feature[t, k]] < split_at[t, k] else 1)
        total = 0.0
        for t in range(trees):
            at = node[t] - leaves
            leaf[i, t] = at
            total += worth[t, at]
        out[i] = 1.0 - total / greatest if warm else np.nan
        if not warm:
            leaf[i, :] = 0  # what is learnt shows in no answer
        if not teach[i]:
            continue
        if warm and share > 0.0:
            # River's score crowds at 1: on the scale of logarithms equal bins resolve it.
            unusual = 1.0 - math.log2(total / trees + 1.0) / log_greatest if river else out[i]
            held = holds(gate, bin_of(unusual, float(BINS), BINS), share, span, refresh, decay)
            if gate.counts[DRIFTING] == 1:
                for t in range(trees):
                    gate.shadow[t, node[t] - leaves] += 1
            made = shadow_turn(gate, held, user[i], drift_share, relearn_windows, relearn_users, window)
            turn[i] = made
            learn[i] = not held
            if made == LEARNED:
                learn[i] = True
                reference[:] = gate.shadow
                present[:] = 0
                clock[COUNT] = 0
                appraise(reference, limit, river, worth)
                forget(gate)
                gate.levels[HELD_SHARE] = 0.0
                gate.counts[RELEARNED] += 1
                return i + 1
            if held:
                continue
        for t in range(trees):
            present[t, node[t] - leaves] += 1
        clock[COUNT] += 1
        if clock[COUNT] == window:
            reference[:] = present
            present[:] = 0
            appraise(reference, limit, river, worth)
            clock[COUNT] = 0
            clock[WARM] = 1
            return i + 1
    return len(features)


class Answer(NamedTuple):
    """What a forest says of n points, each of shape (n,).

    Attributes:
        score: within [0, 1], higher for the more unusual; NaN until the first window is complete.
        learn: which points taught.
        turn: what each made of the shadow forest (`operators.score.gate`).
    """

    score: F64
    learn: Bool
    turn: U8


class Forest:
    """Half-Space Trees over the columns `names`, all within [0, 1].

    Args:
        names: of the columns.
        trees: how many.
        height: levels of inner nodes.
        window: points per window of masses.
        size_limit: share of the window below which a walk stops.
        padding: see `operators.score.trees.grow`.
        seed: see `operators.score.trees.grow`.
        statistic: which score.
        gate: which points are not learnt.
        half_life: of the gate's ranks.
        refresh: of the gate's ranks.

    Attributes:
        split_feature: see `operators.score.trees.grow`.
        split_at: see `operators.score.trees.grow`.
        present: leaf masses of the present window, shape (trees, 2^height).
        reference: leaf masses of the previous window, same shape.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        trees: int = 25,
        height: int = 8,
        window: int = 1000,
        size_limit: float = 0.1,
        padding: float = 0.15,
        seed: int = 1,
        statistic: Statistic = "log_mass",
        gate: GateConfig = OPEN,
        half_life: int = 100_000,
        refresh: int = 250,
    ) -> None:
        self.window = window
        self.height = height
        self.statistic = statistic
        self._limit = size_limit * window
        self.split_feature, self.split_at = grow(names, trees=trees, height=height, padding=padding, seed=seed)
        shape = (trees, 1 << height)
        self.present: I32 = np.zeros(shape, np.int32)
        self.reference: I32 = np.zeros(shape, np.int32)
        self._worth: F64 = np.zeros(shape)
        self._clock: I64 = np.zeros(2, np.int64)
        self._in_force: I32 = self.reference.copy()
        per_tree = window * (2 ** (height + 1) - 1) if statistic == "river" else math.log2(window * 2**height + 1)
        self._greatest = float(trees * per_tree)
        self._gating = gate
        self._ranks = TailSketch(
            ["up"], bins=BINS, bins_per_unit=BINS, half_life=half_life, refresh=refresh, warmup=refresh
        )
        self.gate = fresh_gate(self._ranks, trees, 1 << height)

    @property
    def warm(self) -> bool:
        """Whether the first window is complete."""
        return bool(self._clock[WARM])

    @property
    def held(self) -> int:
        """How many points the gate has held."""
        return int(self.gate.counts[HELD])

    @property
    def drifting(self) -> bool:
        """Whether a shadow forest is learning."""
        return bool(self.gate.counts[DRIFTING])

    @property
    def relearned(self) -> int:
        """How often a shadow has replaced the masses."""
        return int(self.gate.counts[RELEARNED])

    def score_then_learn(self, features: F64, teach: Bool, user: U64 | None = None) -> Answer:
        """Score the rows of `features`, and learn those that may teach and that the gate does not hold.

        Args:
            features: shape (n, columns), without NaN where `teach` is true.
            teach: shape (n,).
            user: 64 bits of each row's user, shape (n,); None without a gate.
        """
        return self.walk_then_learn(features, teach, user)[0]

    def walk_then_learn(
        self, features: F64, teach: Bool, user: U64 | None = None
    ) -> tuple[Answer, U16, list[tuple[int, I32]]]:
        """As `score_then_learn`; also return each row's leaf in each tree, shape (n, trees), 0 where there was no walk.

        And the leaf masses in force, each with the first row scored by it; they are never written to again.
        """
        n = len(features)
        out: F64 = np.empty(n)
        learn: Bool = np.empty(n, np.bool_)
        turn: U8 = np.empty(n, np.uint8)
        leaf: U16 = np.empty((n, len(self.reference)), np.uint16)
        masses = [(0, self._in_force)] if n else []
        gate, done, users = self._gating, 0, np.zeros(n, np.uint64) if user is None else user
        while done < n:
            done += score_then_learn(
                features[done:],
                teach[done:],
                self.split_feature,
                self.split_at,
                self.present,
                self.reference,
                self._worth,
                self._clock,
                self.height,
                self.window,
                self._limit,
                self.statistic == "river",
                self._greatest,
                users[done:],
                self.gate,
                gate.share,
                gate.drift_share,
                gate.relearn_windows,
                gate.relearn_users,
                self._ranks.refresh,
                self._ranks.decay,
                out[done:],
                learn[done:],
                turn[done:],
                leaf[done:],
            )
            if self._clock[COUNT] == 0 and self.warm and not np.array_equal(self._in_force, self.reference):
                self._in_force = self.reference.copy()
                if done < n:
                    masses.append((done, self._in_force))
        return Answer(out, learn, turn), leaf, masses

    def dump(self) -> State:
        """Return the trees, both windows and the gate. The trees are kept: Python may change how `choices` draws."""
        return {
            "forest.split_feature": self.split_feature.copy(),
            "forest.split_at": self.split_at.copy(),
            "forest.present": self.present.copy(),
            "forest.reference": self.reference.copy(),
            "forest.clock": self._clock.copy(),
            **dump_gate(self.gate, self._ranks),
        }

    def load(self, state: State) -> None:
        """Replace trees and windows by dumped ones."""
        for name, target in (
            ("split_feature", self.split_feature),
            ("split_at", self.split_at),
            ("present", self.present),
            ("reference", self.reference),
            ("clock", self._clock),
        ):
            dumped = np.asarray(state[f"forest.{name}"])
            if dumped.shape != target.shape:
                raise ValueError(f"expected shape {target.shape}, got {dumped.shape} - at forest.{name}")
            target[:] = dumped
        self._in_force = self.reference.copy()
        appraise(self.reference, self._limit, self.statistic == "river", self._worth)
        load_gate(self.gate, self._ranks, state)
