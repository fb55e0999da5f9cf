"""What interactions of a user count: by the tier of the newest decision about him."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le

from operators.batches import F64, I64, TIERS, U8, U64, Bool
from operators.compiled import borrowing
from operators.entities import Entities, Table, find, touch
from operators.parts import Sweep
from operators.state import State

Weight = Annotated[float, Ge(0), Le(1)]

_UNKNOWN = TIERS.index("unknown")
_RISKY = TIERS.index("high")


@dataclass(frozen=True, slots=True)
class WeightsConfig:
    """What each click, purchase and impression of a user counts in what is weighted, by his tier; in [0, 1].

    Attributes:
        unknown: of users of whom nothing is known, or not enough.
        low: of tier low.
        medium: likewise.
        high: likewise.
        critical: likewise; with 0 they move nothing.
        max_users: users whose tier is remembered, for each partition, 1 to 100,000,000; 70 bytes each.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    unknown: Weight = 1.0
    low: Weight = 1.0
    medium: Weight = 1.0
    high: Weight = 0.2
    critical: Weight = 0.0
    max_users: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000

    @property
    def by_tier(self) -> F64:
        """The weights in the order of `operators.batches.TIERS`, shape (5,)."""
        return np.array([getattr(self, tier) for tier in TIERS], np.float64)


@borrowing
def _decide(table: Table, tiers: U8, news: Bool, by_tier: F64, user: U64, time_ms: I64, tier: U8) -> None:
    """Take in decisions; of a user without a place those by which he counts as if nothing was known take none."""
    for i in range(len(user)):
        if tier[i] < _RISKY and by_tier[tier[i]] == by_tier[_UNKNOWN] and find(table, user[i]) < 0:
            continue
        row, _ = touch(table, user[i], time_ms[i])
        tiers[row] = tier[i]
        news[row] = True


@borrowing
def _weigh(table: Table, tiers: U8, by_tier: F64, user: U64, weight: F64, risky: Bool) -> None:
    for i in range(len(user)):
        row = find(table, user[i]) if user[i] != 0 else np.int64(-1)
        tier = np.int64(tiers[row]) if row >= 0 else np.int64(_UNKNOWN)
        weight[i] = by_tier[tier]
        risky[i] = tier >= _RISKY


class Weights:
    """Tiers of users, for one partition, in a bounded table.

    Args:
        config: the weights, and how many users.
        promote_after_s: age at which a user who comes again is no newcomer any more, seconds.
    """

    def __init__(self, config: WeightsConfig, promote_after_s: int) -> None:
        self._by_tier = config.by_tier
        self._users = Entities(config.max_users, promote_after_s * 1_000)
        self._tiers = np.zeros(self._users.capacity, np.uint8)
        self._news = np.zeros(self._users.capacity, np.bool_)
        self._latest_ms = 0  # of decisions that came before the first interaction

    def __len__(self) -> int:
        return len(self._users)

    @property
    def evicted(self) -> int:
        """Users whose tier had to go."""
        return self._users.evicted

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._users.nbytes + self._tiers.nbytes + self._news.nbytes

    def decide(self, user: U64, tier: U8, time_ms: I64, stream_ms: int) -> None:
        """Take in decisions in their order; of each user the last one counts.

        Low tiers that weigh what unknown does take no place, so a flood of harmless users pushes out no risky one.
        Under other weights later such users count as unknown until the next decision about them.

        Args:
            user: whom about, shape (n,).
            tier: code in `TIERS`, shape (n,).
            time_ms: when each was taken, shape (n,). Only before the first interaction do newcomers age by it.
            stream_ms: stream time of the interactions, which never goes back; 0 before the first.
        """
        if stream_ms:
            now_ms = np.full(len(user), stream_ms, np.int64)
        else:
            now_ms = np.maximum(np.maximum.accumulate(time_ms), self._latest_ms)
            self._latest_ms = int(now_ms[-1]) if len(now_ms) else self._latest_ms
        capacity = self._users.reserve(len(user))
        if capacity > len(self._tiers):
            more = capacity - len(self._tiers)
            self._tiers = np.concatenate([self._tiers, np.zeros(more, np.uint8)])
            self._news = np.concatenate([self._news, np.zeros(more, np.bool_)])
        _decide(self._users.table, self._tiers, self._news, self._by_tier, user, now_ms, tier)

    def of(self, user: U64) -> tuple[F64, Bool]:
        """Return what interactions of users count, and whether they are of high or critical risk, each shape (n,)."""
        weight, risky = np.empty(len(user)), np.empty(len(user), np.bool_)
        _weigh(self._users.table, self._tiers, self._by_tier, user, weight, risky)
        return weight, risky

    def dump(self) -> State:
        """Return a copy of the state."""
        state = self._named(self._users.dump()) | {"weights.tier": self._tiers[: len(self)].copy()}
        return state | {"weights.latest_ms": self._latest_ms}

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the table only the rows that `sweep` wants (see `operators.parts`)."""
        used = len(self)
        state = sweep.choose(self._news[:used], **{"weights.tier": self._tiers[:used]})
        self._news[:] = False
        return state | self._named(self._users.changes(sweep)) | {"weights.latest_ms": self._latest_ms}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned; it may hold more.

        Raises:
            ValueError: it cannot be such a state.
        """
        prefix = "weights.users."
        self._users.load({name[len(prefix) :]: each for name, each in state.items() if name.startswith(prefix)})
        told = np.asarray(state["weights.tier"])
        if told.shape != (len(self),) or bool((told >= len(TIERS)).any()):
            raise ValueError(f"expected {len(self)} tiers, got others - at weights.tier")
        self._latest_ms = int(str(state["weights.latest_ms"]))
        self._tiers = np.zeros(self._users.capacity, np.uint8)
        self._tiers[: len(self)] = told
        self._news = np.zeros(self._users.capacity, np.bool_)

    def _named(self, users: State) -> State:
        return {f"weights.users.{name}": each for name, each in users.items()}
