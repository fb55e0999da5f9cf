"""What a partition remembers of users and of items visited together: growth, snapshots and figures of the tables."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.batches import AHEAD, DUPLICATE, F64, I64, LATE, U8, U64, Bool
from operators.entities import Entities
from operators.featurize.dedup import Dedup
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, fresh_sequence, judge
from operators.noticed import Interactions, Requests, who_of
from operators.parts import Sweep
from operators.recall import covisits as covisits_of
from operators.recall import users as users_of
from operators.recall.config import CoVisitsConfig, TimeConfig, UsersConfig
from operators.recall.loop import REASONS, Plan, World, run
from operators.state import State, part_of

FLAGS = {"late": LATE, "duplicate": DUPLICATE, "ahead": AHEAD}


class Memory:
    """State of users, of items visited together, and of time.

    Args:
        users: bounds.
        covisits: bounds.
        time: what counts.
        numbers: how many numbers an item has.

    Attributes:
        world: the tables, for compiled loops; another one after `take`.
    """

    def __init__(self, users: UsersConfig, covisits: CoVisitsConfig, time: TimeConfig, numbers: int) -> None:
        self._users, self._covisits, self._time, self._numbers = users, covisits, time, numbers
        self._plan = Plan(
            covisits.session_gap_s * 1_000,
            users.half_life_s * 1_000.0,
            covisits.half_life_s * 1_000.0,
            covisits.damping,
        )
        self._sequence = fresh_sequence()
        self._dedup = Dedup(time.dedup_max, time.dedup_window_s * 1_000)
        self._user_table = Entities(users.max_users, users.promote_after_s * 1_000)
        self._item_table = Entities(covisits.max_items, covisits.promote_after_s * 1_000)
        self.world = self._fresh(np.zeros(len(REASONS), np.int64))

    def _fresh(self, refused: I64) -> World:
        users, covisits = self._users, self._covisits
        return World(
            self._plan,
            self._user_table.table,
            users_of.empty(self._user_table.capacity, users.recent, users.categories, self._numbers),
            self._item_table.table,
            covisits_of.empty(self._item_table.capacity, covisits.others),
            refused,
        )

    @property
    def users(self) -> Entities:
        """Users that are remembered."""
        return self._user_table

    @property
    def items(self) -> Entities:
        """Items that were visited."""
        return self._item_table

    @property
    def dedup(self) -> Dedup:
        """Ids that are remembered."""
        return self._dedup

    @property
    def stream_ms(self) -> int | None:
        """Stream time, epoch milliseconds; None before the first row."""
        return int(self._sequence.clock[TIME_MS]) if self._sequence.clock[KNOWN] else None

    @property
    def pairs(self) -> int:
        """Places of the lists of items that are taken."""
        return int(np.count_nonzero(self.world.lists.others[: len(self._item_table)]))

    @property
    def nbytes(self) -> int:
        """Bytes of the tables; ids for duplicates are not in it."""
        tables = (self.world.users, self.world.lists)
        own = sum(array.nbytes for table in tables for array in table)
        return own + self._user_table.nbytes + self._item_table.nbytes

    def judge(self, rows: Interactions | Requests, who: U64) -> tuple[U8, I64]:
        """Let time go on over some rows; return the flag of each, and stream time after it."""
        n = len(who)
        self._dedup.reserve(n)
        flags, stream_ms = np.empty(n, np.uint8), np.empty(n, np.int64)
        limits = self._time.allowed_lateness_s * 1_000, self._time.max_gap_s * 1_000
        judge(self._sequence, self._dedup.seen, who, rows.id_hash, rows.time_ms, *limits, flags, stream_ms)
        return flags, stream_ms

    def take(self, rows: Interactions, numbers: F64, categories: U64) -> None:
        """Take interactions in.

        Args:
            rows: n of them.
            numbers: of the items, NaN where one is not known, shape (n, numbers).
            categories: of the items, 0 where there is none, shape (n, any).
        """
        who = who_of(rows)
        flags, stream_ms = self.judge(rows, who)
        self._reserve(len(who))
        run(self.world, flags, stream_ms, rows.kind, who, rows.session, rows.item, rows.time_ms, numbers, categories)

    def _reserve(self, more: int) -> None:
        """Make room between batches, so that no compiled loop has to grow an array."""
        users, lists = self.world.users, self.world.lists
        if self._user_table.reserve(more) > len(users.news):
            users = users_of.grown(users, self._user_table.capacity)
        if self._item_table.reserve(more) > len(lists.news):
            lists = covisits_of.grown(lists, self._item_table.capacity)
        tables = self._user_table.table, self._item_table.table
        self.world = self.world._replace(user_table=tables[0], users=users, item_table=tables[1], lists=lists)

    def dump(self) -> State:
        """Return a copy of the state, trimmed to what is in use."""
        state: State = {name: array.copy() for name, (array, _) in self._arrays().items()}
        return state | self._rest(self._dedup.dump(), self._user_table.dump(), self._item_table.dump())

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        state: State = {}
        for name, (array, news) in self._arrays().items():
            state |= sweep.choose(news, **{name: array})
        self.world.users.news[:] = False
        self.world.lists.news[:] = False
        tables = self._user_table.changes(sweep), self._item_table.changes(sweep)
        return state | self._rest(self._dedup.changes(sweep), *tables)

    def _arrays(self) -> dict[str, tuple[NDArray[Any], Bool]]:
        """Return the used rows of each large array, and which of them changed."""
        users, lists = self.world.users, self.world.lists
        used, visited = len(self._user_table), len(self._item_table)
        found = {f"users.{name}": (getattr(users, name)[:used], users.news[:used]) for name in users_of.ARRAYS}
        return found | {
            f"lists.{name}": (getattr(lists, name)[:visited], lists.news[:visited]) for name in covisits_of.ARRAYS
        }

    def _rest(self, dedup: State, users: State, items: State) -> State:
        state: State = {f"sequence.{name}": array.copy() for name, array in self._sequence._asdict().items()}
        state |= {f"dedup.{name}": value for name, value in dedup.items()}
        state |= {f"user_table.{name}": value for name, value in users.items()}
        state |= {f"item_table.{name}": value for name, value in items.items()}
        return state | {"refused": self.world.refused.copy()}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same configuration.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._dedup.load(part_of(state, "dedup."))
        self._user_table.load(part_of(state, "user_table."))
        self._item_table.load(part_of(state, "item_table."))
        self._sequence = Sequence(**{name: np.array(value) for name, value in part_of(state, "sequence.").items()})
        self.world = self._fresh(np.array(state["refused"], np.int64))
        for name, (array, _) in self._arrays().items():
            told = np.asarray(state[name])
            if told.shape != array.shape:
                raise ValueError(f"expected shape {array.shape}, got {told.shape} - at {name}")
            array[:] = told
