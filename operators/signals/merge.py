"""Parts of all partitions by item: what they come to, and which items are due to be written.

A part of an item stands for all that its partition told of it before, so the newest of each partition is kept, and all
of them are added up when asked: panes by their number, what fades as of stream time, audiences by period, for no user
is in two partitions. Stream time is the latest of all partitions; what lies outside its windows is gone, whoever told.

An item is due when it was never written; when any signal differs from what was written by more than `change` of it (or
of a floor, see `operators.signals.values.floors_of`); or when it was written `refresh_s` ago and differs at all. It is
not written twice at one time, which thus names a version of it: that is stream time, or, if only its description
changed while stream time stood, a millisecond after the version before. After a kill a time may be given once more:
what was written since the last snapshot is not remembered, so readers go by the order of the topic, not by time. Items
that nobody tells of any more fade nevertheless, so besides those with new parts some of the others are looked at each
time, in turns.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le

from operators.batches import F64, I64, U64, Bool
from operators.entities import Entities, find
from operators.fingerprint import fingerprint
from operators.parts import Sweep
from operators.signals import items as items_of
from operators.signals.config import LONGEST_S, PANES, CountItemsConfig
from operators.signals.held import Held, describe, nothing, take_all
from operators.signals.parts import EVERYTHING, Parts
from operators.signals.totals import SUMS, ItemTotals, Sums, in_turn, sums_of
from operators.signals.values import Added, changed_enough, floors_of, names_of, values_of
from operators.state import Measurement, State, part_of

_LAYOUT = 2
_FIRST_ROWS = 256

Price = Annotated[float, Ge(0), Le(1e6)]


@dataclass(frozen=True, slots=True)
class MergeItemsConfig:
    """Settings of `MergeItems`.

    Attributes:
        smoothing: how many clicks (or purchases) the rate of all items weighs in an item's rate, above 0.
        worth: what an impression, a click and a purchase are worth in `trending`.
        change: share by which a signal must differ to be written, above 0.
        refresh_s: an item that differs at all is written after so much stream time, seconds.
        look_again: items without new parts that are looked at each time, at least 1.
        max_items: items that are kept, at least 1; with two windows 1,170 bytes each for each partition of
            `interactions`, and 440 besides.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    smoothing: Annotated[float, Gt(0), Le(1e6)] = 10.0
    worth: tuple[Price, Price, Price] = (0.0, 1.0, 5.0)
    change: Annotated[float, Gt(0), Le(10)] = 0.05
    refresh_s: Annotated[int, Ge(1), Le(LONGEST_S)] = 3_600
    look_again: Annotated[int, Ge(1), Le(1_000_000)] = 1_000
    max_items: Annotated[int, Ge(1), Le(10_000_000)] = 100_000


@dataclass(frozen=True, slots=True)
class Signals:
    """Signals of some items.

    Attributes:
        stream_ms: as of when.
        items: keys, shape (n,).
        values: shape (n, columns), as `MergeItems.names` has them.
        rows: of the items in the table, shape (n,).
        version_ms: time that names this version of each, shape (n,).
        since_ms: event time at which each was first heard of, shape (n,).
    """

    stream_ms: int
    items: U64
    values: F64
    rows: I64
    version_ms: I64
    since_ms: I64


class MergeItems:
    """Parts by item, of one partition of the topic of parts.

    Attributes:
        config: as given.
        names: of the signals.
        fingerprint: of the state's layout and the configuration it depends on.
    """

    def __init__(self, config: MergeItemsConfig, counted: CountItemsConfig, partitions: int) -> None:
        """Set up the empty state.

        Args:
            config: the settings.
            counted: those of the stage that counted.
            partitions: how many partitions `interactions` has.
        """
        self.config = config
        self.names = names_of(counted.windows_s)
        told = {name: value for name, value in asdict(counted).items() if name.startswith(("windows", "half", "aud"))}
        self.fingerprint = fingerprint(_LAYOUT, "", max_items=config.max_items, partitions=partitions, **told)
        self._counted = counted
        self._panes_ms = counted.panes_ms
        self._floors = floors_of(counted.windows_s)
        self._partitions = partitions
        self._table = Entities(config.max_items, counted.promote_after_s * 1_000)
        self._held = self._empty(_FIRST_ROWS)
        self._everything = self._empty(1)
        self._news = np.zeros(_FIRST_ROWS, np.bool_)
        self._touched = np.zeros(_FIRST_ROWS, np.bool_)
        self._stream = np.zeros(1, np.int64)
        self._turn = 0
        self._next = np.zeros(1, np.int64)  # where the turn of items with new parts is; no part of the state

    def __len__(self) -> int:
        return len(self._table)

    @property
    def stream_ms(self) -> int:
        """The latest stream time of all partitions, epoch milliseconds; 0 before the first part."""
        return int(self._stream[0])

    @property
    def waiting(self) -> int:
        """Items with new parts, or a new description, that were not looked at yet."""
        return int(np.count_nonzero(self._touched[: len(self)]))

    @property
    def nbytes(self) -> int:
        """Bytes of the table and of what is held."""
        return self._table.nbytes + sum(array.nbytes for array in self._held)

    def _empty(self, rows: int) -> Held:
        return nothing(rows, self._partitions, len(self._panes_ms), len(self.names))

    def take(self, partition: int, totals: ItemTotals) -> None:
        """Take in what one partition knows of some items.

        Raises:
            ValueError: there is no such partition, or its windows are others.
        """
        n = len(totals.items) + 1
        both = [(getattr(totals.everything, name), getattr(totals.sums, name)) for name in SUMS]
        self.take_parts(
            Parts(
                np.full(n, partition, np.int64),
                np.full(n, totals.stream_ms, np.int64),
                np.full(n, totals.stream_ms, np.int64),
                np.concatenate([np.array([EVERYTHING]), totals.items]),
                Sums(*(np.concatenate(pair) for pair in both)),
            )
        )

    def take_parts(self, parts: Parts) -> tuple[I64, Bool]:
        """Take in parts of any partitions, in their order.

        Returns:
            The row of each, -1 of all items together, and whether it is one that another item had, or none.

        Raises:
            ValueError: there is no such partition, or its windows are others.
        """
        shape = self._held.sums.shape[2:]
        among = (parts.partition >= 0) & (parts.partition < self._partitions)
        if not among.all() or parts.sums.sums.shape[1:] != shape:
            raise ValueError(f"expected a partition below {self._partitions} and sums of shape {shape} - at totals")
        n = len(parts.items)
        rows, fresh = np.empty(n, np.int64), np.empty(n, np.bool_)
        self._reserve(n)
        world = (self._table.table, self._held, self._everything)
        take_all(*world, parts, self._stream, self._touched, self._news, rows, fresh)
        return rows, fresh

    def find(self, item: int) -> int:
        """Return the row of an item, -1 if it is not kept."""
        return int(find(self._table.table, np.uint64(item)))

    def describe(self, item: int, time_ms: int, *, differs: bool = True) -> tuple[int, bool]:
        """Note what is said of an item: from then on it is no newcomer.

        Args:
            item: its key.
            time_ms: since when it is so.
            differs: whether anything else is said than before; then it is to be written.

        Returns:
            Its row, and whether it is one that another item had, or none.
        """
        self._reserve(1)
        table, stream_ms = self._table.table, self._stream[0]
        row, fresh = describe(
            table, self._held, np.uint64(item), np.int64(time_ms), stream_ms, self._touched, self._news, differs
        )
        return int(row), bool(fresh)

    def _reserve(self, more: int) -> None:
        capacity, used = self._table.reserve(more), len(self._table)
        if capacity <= len(self._news):
            return
        before, self._held = self._held, self._empty(capacity)
        for old, new in zip(before, self._held, strict=True):
            new[:used] = old[:used]
        self._news = np.concatenate([self._news, np.zeros(capacity - len(self._news), np.bool_)])
        self._touched = np.concatenate([self._touched, np.zeros(capacity - len(self._touched), np.bool_)])

    def added(self, rows: I64) -> Added:
        """Return the sums of some rows over all partitions, as of stream time."""
        return self._add(self._held, rows)

    def _add(self, parts: Held, rows: I64) -> Added:
        newest = parts.pane[rows]  # (n, partitions, windows)
        number = newest[..., None] - (newest[..., None] - np.arange(PANES)) % PANES
        inside = number > (self.stream_ms // self._panes_ms)[:, None] - PANES
        windows = np.einsum("npwkc,npwk->nwc", parts.sums[rows], inside.astype(np.float64))
        age_ms = self.stream_ms - parts.as_of_ms[rows]
        left = np.exp2(-np.maximum(age_ms, 0) / (1_000.0 * self._counted.half_life_s))
        decayed = np.einsum("npc,np->nc", parts.decayed[rows], left)
        number = parts.period[rows][..., None] - np.arange(2)  # (n, partitions, 2)
        current = self.stream_ms // (1_000 * self._counted.audience_s)
        both = [
            np.einsum("npkc,npk->nc", parts.audience[rows], (number == current - ago).astype(np.float64))
            for ago in range(2)
        ]
        running = both[0][:, :1] >= both[1][:, :1]
        return Added(windows, decayed, np.where(running, both[0], both[1]))

    def signals(self, rows: I64) -> Signals:
        """Return the signals of some rows, as of stream time."""
        everything = self._add(self._everything, np.zeros(1, np.int64))
        values = values_of(
            self.added(rows),
            everything,
            self.stream_ms,
            self._counted.windows_s,
            self.config.smoothing,
            self.config.worth,
        )
        keys, held = self._table.table.keys, self._held
        version_ms = np.full(len(rows), self.stream_ms, np.int64)
        return Signals(self.stream_ms, keys[rows].copy(), values, rows, version_ms, held.since_ms[rows])

    def due(self, most: int = 1_000) -> Signals:
        """Return the items that are to be written now, so many at the most, and take them as written.

        Args:
            most: items with news that are looked at, too; the others have their turn next time.
        """
        used = len(self._table)
        turn = (self._turn + np.arange(min(self.config.look_again, used))) % max(used, 1)
        self._turn = int(self._turn + len(turn)) % max(used, 1)
        chosen = np.zeros(used, np.bool_)
        chosen[turn] = True
        chosen[in_turn(self._touched[:used], self._next, most)] = True
        rows = np.flatnonzero(chosen)
        found, held = self.signals(rows), self._held
        told, told_ms, unsaid = held.told[rows], held.told_ms[rows], held.unsaid[rows]
        moved = changed_enough(told, found.values, self._floors, self.config.change)
        old = found.stream_ms - told_ms >= 1_000 * self.config.refresh_s
        differs = ~((told == found.values) | (np.isnan(told) & np.isnan(found.values))).all(axis=1)
        wanted = (told_ms < 0) | moved | (old & differs) | unsaid
        # A time names one version of an item: others wait for the next, but for what has nothing to do with time.
        due = wanted & ((told_ms < found.stream_ms) | unsaid)
        due[np.flatnonzero(due)[most:]] = False
        at, versions = rows[due], np.maximum(found.stream_ms, told_ms + 1)[due]
        self._touched[rows] = wanted & ~due
        held.told[at], held.told_ms[at], held.unsaid[at] = found.values[due], versions, False
        self._news[at] = True
        return Signals(found.stream_ms, found.items[due], found.values[due], at, versions, found.since_ms[due])

    def dump(self) -> State:
        """Return a copy of the state, trimmed to what is in use."""
        used = len(self._table)
        state: State = {f"parts.{name}": array[:used].copy() for name, array in self._held._asdict().items()}
        return state | self._rest(self._table.dump())

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        used = len(self._table)
        arrays = {f"parts.{name}": array[:used] for name, array in self._held._asdict().items()}
        state = sweep.choose(self._news[:used], **arrays)
        self._news[:] = False
        return state | self._rest(self._table.changes(sweep))

    def _rest(self, table: State) -> State:
        state: State = {f"table.{name}": value for name, value in table.items()}
        state |= {f"everything.{name}": getattr(self._everything, name).copy() for name in SUMS}
        return state | {"stream_ms": self.stream_ms, "turn": self._turn}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        All items are looked at again next.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._table.load(part_of(state, "table."))
        used = len(self._table)
        rows = max(self._table.capacity, _FIRST_ROWS)
        self._held, self._everything = self._empty(rows), self._empty(1)
        for name, array in self._held._asdict().items():
            told = np.asarray(state[f"parts.{name}"])
            if told.shape != (used, *array.shape[1:]):
                raise ValueError(f"expected shape {(used, *array.shape[1:])}, got {told.shape} - at parts.{name}")
            array[:used] = told
        for name in SUMS:
            getattr(self._everything, name)[:] = np.asarray(state[f"everything.{name}"])
        self._news, self._touched = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
        self._touched[:used] = True
        self._stream[0], self._turn = int(str(state["stream_ms"])), int(str(state["turn"]))

    def measurements(self) -> Iterable[Measurement]:
        """Return what is held, and stream time."""
        yield Measurement("tidegate_items", len(self._table))
        yield Measurement("tidegate_items_evicted_total", self._table.evicted)
        yield Measurement("tidegate_signals_waiting", self.waiting)
        if self.stream_ms:
            yield Measurement("tidegate_stream_time_seconds", self.stream_ms / 1_000)


def warm_up() -> None:
    """Compile every loop, or load it."""
    counted = CountItemsConfig()
    some = items_of.empty(1, len(counted.windows_s))
    none = np.zeros(0, np.int64)
    totals = ItemTotals(0, np.zeros(0, np.uint64), sums_of(some, none), sums_of(some, np.zeros(1, np.int64)))
    merge = MergeItems(MergeItemsConfig(), counted, 1)
    merge.take(0, totals)
    merge.describe(1, 1)
    merge.find(1)
