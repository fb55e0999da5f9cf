"""Lists whose time is not over: kept in the order in which they came, found by their ranking and by their user.

A ring: list number s is in row s modulo the capacity, which doubles up to the bound. The oldest leaves first, when its
time is over or when there is no room. What looks a list up keeps its number, and knows by it whether it is still there.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, U8, U64, Bool
from operators.entities import Entities
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, fresh_sequence
from operators.judge.loop import HEAD, TAIL, Kept, Known, Times, enter, notice_all
from operators.noticed import Interactions
from operators.parts import Sweep
from operators.state import State

_FIRST_CAPACITY: Final = 64
_NEVER: Final = 2**62  # keys of `Known` never become regulars: the one used longest ago goes first
_COLUMNS = tuple(name for name in Kept._fields if name != "ends")
_TABLES = ("rankings", "users")


class Shown(NamedTuple):
    """One list that leaves.

    Attributes:
        time_ms: of the list.
        user_group: number of the user's group.
        next_ms: time of the user's next interaction; -1 if there was none.
        next_found: whether its item was among the candidates.
        next_source: by which sources.
        grade: bits of what happened, of those shown, in their order, as all that follow.
        probability: of a click, or NaN.
        group: number of the item's group.
        by_popularity: places of those shown, in the order of falling popularity.
    """

    time_ms: int
    user_group: int
    next_ms: int
    next_found: bool
    next_source: int
    grade: U8
    probability: F64
    group: U8
    by_popularity: I64


class Arriving(NamedTuple):
    """One list that comes: as in `Kept`, columns as long as they have to be.

    Attributes:
        who: 64 bits of the user, else of the session, 0 where neither is told.
        ranking: 64 bits of the request's id, never 0.
    """

    time_ms: int
    user: int
    who: int
    ranking: int
    user_group: int
    item: U64
    source: U8
    probability: F64
    group: I64
    by_popularity: I64


class _Found:
    """An owner of a `Known`: keys, each with the number of its newest list."""

    def __init__(self, most: int) -> None:
        self.entities = Entities(most, _NEVER)
        self.number: I64 = np.zeros(self.entities.capacity, np.int64)
        self.news: Bool = np.zeros(self.entities.capacity, np.bool_)

    @property
    def known(self) -> Known:
        return Known(self.entities.table, self.number, self.news)

    def enter(self, key: int, number: int) -> int:
        more = self.entities.reserve(1) - len(self.number)
        if more > 0:
            self.number = np.concatenate([self.number, np.zeros(more, np.int64)])
            self.news = np.concatenate([self.news, np.zeros(more, np.bool_)])
        return int(enter(self.known, np.uint64(key), number))

    def dump(self, prefix: str) -> State:
        state = {f"{prefix}.{name}": value for name, value in self.entities.dump().items()}
        return state | {f"{prefix}.number": self.number[: len(self.entities)].copy()}

    def changes(self, prefix: str, sweep: Sweep) -> State:
        state = {f"{prefix}.{name}": value for name, value in self.entities.changes(sweep).items()}
        used = len(self.entities)
        state |= sweep.choose(self.news[:used], **{f"{prefix}.number": self.number[:used]})
        self.news[:] = False
        return state

    def load(self, prefix: str, state: State) -> None:
        start = f"{prefix}."
        self.entities.load({name.removeprefix(start): value for name, value in state.items() if name.startswith(start)})
        self.number = np.zeros(self.entities.capacity, np.int64)
        self.news = np.zeros(self.entities.capacity, np.bool_)
        self.number[: len(self.entities)] = np.asarray(state[f"{prefix}.number"], np.int64)


class Pending:
    """Lists that are waited for.

    Args:
        max_lists: at once.
        width: candidates kept of each.
        times: how long.
    """

    def __init__(self, max_lists: int, width: int, times: Times) -> None:
        self.max_lists = max_lists
        self.width = width
        self.times = times
        self._sequence = fresh_sequence()
        self._rankings, self._users = _Found(max_lists), _Found(max_lists)
        self._kept = _empty(min(_FIRST_CAPACITY, max_lists), width, np.zeros(2, np.int64))
        self._news: Bool = np.zeros(len(self._kept.time_ms), np.bool_)

    def __len__(self) -> int:
        return int(self._kept.ends[TAIL] - self._kept.ends[HEAD])

    @property
    def now_ms(self) -> int:
        """Stream time, epoch milliseconds; 0 before the first list."""
        return int(self._sequence.clock[TIME_MS])

    @property
    def nbytes(self) -> int:
        """Bytes of the lists and of what finds them."""
        found = sum(each.entities.nbytes + each.number.nbytes for each in (self._rankings, self._users))
        return sum(array.nbytes for array in self._kept) + found

    def advance(self, time_ms: int) -> None:
        """Move stream time on to that of a request: whoever let it through has confirmed it."""
        clock = self._sequence.clock
        clock[TIME_MS] = max(int(clock[TIME_MS]), time_ms) if clock[KNOWN] else time_ms
        clock[KNOWN] = 1

    def over(self, time_ms: int) -> bool:
        """Return whether a list of this time is no longer waited for."""
        return time_ms + self.times.within + self.times.lateness < self.now_ms

    @property
    def oldest_ms(self) -> int | None:
        """Time of the list that leaves next; None if there is none."""
        kept = self._kept
        return int(kept.time_ms[kept.ends[HEAD] % len(kept.time_ms)]) if len(self) else None

    def take(self) -> Shown:
        """Let the oldest list leave."""
        kept = self._kept
        row = int(kept.ends[HEAD]) % len(kept.time_ms)
        kept.ends[HEAD] += 1
        shown = int(kept.shown[row])
        return Shown(
            int(kept.time_ms[row]),
            int(kept.user_group[row]),
            int(kept.next_ms[row]),
            bool(kept.next_found[row]),
            int(kept.next_source[row]),
            kept.grade[row, :shown].copy(),
            kept.probability[row, :shown].copy(),
            kept.group[row, :shown].copy(),
            kept.by_popularity[row, :shown].astype(np.int64),
        )

    def add(self, one: Arriving) -> None:
        """Keep a list; there must be room."""
        self._grow()
        kept, number = self._kept, int(self._kept.ends[TAIL])
        row = number % len(kept.time_ms)
        for array in kept[1:]:
            array[row] = 0
        here, shown = len(one.item), len(one.probability)
        kept.time_ms[row], kept.user[row], kept.user_group[row] = one.time_ms, one.user, one.user_group
        kept.next_ms[row], kept.kept[row], kept.shown[row] = -1, here, shown
        kept.item[row, :here], kept.source[row, :here] = one.item, one.source
        kept.probability[row, :shown], kept.group[row, :shown] = one.probability, one.group
        kept.by_popularity[row, :shown] = one.by_popularity
        self._rankings.enter(one.ranking, number)
        kept.older[row] = self._users.enter(one.who, number) if one.who else -1
        kept.ends[TAIL] += 1
        self._news[row] = True

    def _grow(self) -> None:
        old, capacity = self._kept, len(self._kept.time_ms)
        if len(self) < capacity:
            return
        self._kept = _empty(min(2 * capacity, self.max_lists), self.width, old.ends)
        numbers = np.arange(old.ends[HEAD], old.ends[TAIL])
        for name in _COLUMNS:
            getattr(self._kept, name)[numbers % len(self._kept.time_ms)] = getattr(old, name)[numbers % capacity]
        self._news = np.ones(len(self._kept.time_ms), np.bool_)

    def notice(self, rows: Interactions) -> None:
        """Take in interactions, in their order."""
        notice_all(
            self._kept,
            self._news,
            self._rankings.known,
            self._users.known,
            self._sequence,
            self.times,
            rows.kind,
            rows.time_ms,
            rows.user,
            rows.session,
            rows.ranking,
            rows.item,
        )

    def dump(self) -> State:
        """Return a copy of the state."""
        state: State = {f"kept.{name}": getattr(self._kept, name).copy() for name in _COLUMNS}
        return state | self._rest() | self._rankings.dump("rankings") | self._users.dump("users")

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        state = sweep.choose(self._news, **{f"kept.{name}": getattr(self._kept, name) for name in _COLUMNS})
        self._news[:] = False
        state |= self._rankings.changes("rankings", sweep) | self._users.changes("users", sweep)
        return state | self._rest()

    def _rest(self) -> State:
        state: State = {f"sequence.{name}": array.copy() for name, array in self._sequence._asdict().items()}
        return state | {"kept.ends": self._kept.ends.copy()}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same bounds.

        Raises:
            ValueError: it cannot be such a state.
        """
        capacity = len(np.asarray(state["kept.time_ms"]))
        ends = np.array(state["kept.ends"], np.int64)
        if not (1 <= capacity <= self.max_lists and 0 <= ends[TAIL] - ends[HEAD] <= capacity):
            raise ValueError(f"expected at most {self.max_lists} lists, got {capacity} - at kept")
        kept = _empty(capacity, self.width, ends)
        for name in _COLUMNS:
            told, mine = np.asarray(state[f"kept.{name}"]), getattr(kept, name)
            if told.shape != mine.shape:
                raise ValueError(f"expected shape {mine.shape}, got {told.shape} - at kept.{name}")
            mine[:] = told
        self._kept, self._news = kept, np.zeros(capacity, np.bool_)
        told_sequence = {name: np.array(state[f"sequence.{name}"]) for name in Sequence._fields}
        self._sequence = Sequence(**told_sequence)
        self._rankings.load("rankings", state)
        self._users.load("users", state)


def _empty(capacity: int, width: int, ends: I64) -> Kept:
    def rows(kind: Any) -> NDArray[Any]:
        return np.zeros(capacity, kind)

    def table(kind: Any) -> NDArray[Any]:
        return np.zeros((capacity, width), kind)

    return Kept(
        ends=ends,
        time_ms=rows(np.int64),
        user=rows(np.uint64),
        older=rows(np.int64),
        next_ms=rows(np.int64),
        next_found=rows(np.bool_),
        next_source=rows(np.uint8),
        kept=rows(np.int64),
        shown=rows(np.int64),
        user_group=rows(np.int64),
        item=table(np.uint64),
        source=table(np.uint8),
        grade=table(np.uint8),
        probability=table(np.float64),
        group=table(np.uint8),
        by_popularity=table(np.uint16),
    )
