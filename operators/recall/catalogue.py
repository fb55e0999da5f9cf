"""The catalogue: a bounded table of what is known of each item, filled from `ranking.catalogue`.

Of an item the last record in the order of the topic counts: of each item there is one writer, and what a writer that
was superseded had not committed is not in the topic. A tombstone takes the item back, and any record after it counts
again. When the table is full, newcomers go first (`operators.entities`), but items that were taken back before them.
An item with published fields is no newcomer: anybody can make up ids, but only who publishes items describes them.

*Popularity*, the score of lists while there is no ranker, is the weighted click rate that fades, drawn towards that of
all items; 0 where no rate is known. It is in clicks by impression, so that an item that was shown a lot is not popular
for that alone, as it would be by its clicks, and lists would go on showing what they show; it remembers as long as
sums fade, not a day; risky users do not lift it. It is not the debiased rate, in which one click far down counts up to
ten and as much as what the rate is drawn by: of many items the luckiest would come first. *Trending* is Metarank's, a
sum, weighted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, U64, Bool
from operators.compiled import borrowing
from operators.entities import Entities, Table, find, promote, retire, touch
from operators.fingerprint import fingerprint
from operators.parts import Sweep
from operators.recall.catalogue_config import CatalogueConfig
from operators.recall.item_fields import reader_of
from operators.recall.item_records import F32, SIGNALS, TOPIC, ItemRecords, read_items
from operators.side import Side
from operators.state import Measurement, State, part_of
from operators.texts import Texts

_LAYOUT: Final = 2
_FIRST_ROWS: Final = 256
_TIME_MS, _EVICTED = 0, 1  # slots of the clock

_POPULARITY: Final = SIGNALS.index("weighted_fading_click_rate")
_TRENDING: Final = SIGNALS.index("weighted_trending")
_RISKY_SHARE: Final = SIGNALS.index("risky_share_long")


class Columns(NamedTuple):
    """What is written down of each row; see `Catalogue`."""

    signals: F32
    as_of_ms: I64
    since_ms: I64
    described: Bool
    numbers: F64
    categories: U64
    group: I64
    risk: F64
    value: F64


@borrowing
def _find_all(table: Table, as_of_ms: I64, keys: U64, rows: I64) -> None:
    for i in range(len(keys)):
        row = find(table, keys[i])
        rows[i] = row if row >= 0 and as_of_ms[row] >= 0 else -1


@borrowing
def _apply(
    table: Table,
    as_of_ms: I64,
    clock: I64,
    keys: U64,
    gone: Bool,
    described: Bool,
    time_ms: I64,
    rows: I64,
    takes: Bool,
) -> None:
    """Put records into the table one by one: the row of each, -1 if there is none, and whether it is to be taken."""
    for i in range(len(keys)):
        takes[i] = False
        if gone[i]:
            row = find(table, keys[i])
            if row >= 0 and as_of_ms[row] >= 0:
                as_of_ms[row] = -1
                retire(table, row)
            rows[i] = row
            continue
        clock[_TIME_MS] = max(clock[_TIME_MS], time_ms[i])
        row, fresh = touch(table, keys[i], clock[_TIME_MS])
        if fresh and as_of_ms[row] >= 0:
            clock[_EVICTED] += 1
        if described[i]:
            promote(table, row)
        as_of_ms[row] = time_ms[i]
        takes[i] = True
        rows[i] = row


class Catalogue:
    """What is known of each item, by row.

    Arrays are as long as there is room; read them at rows that `find` or `rows` returned, and after each `take` or
    `load` from the catalogue again, for they grow.

    Attributes:
        config: the settings.
        fingerprint: of the state's layout and the settings that it depends on.
        versions: next record of `ranking.catalogue`, by partition, that was not taken yet; replaced, never changed.
        generation: how often anything changed since the process began.
        key: `operators.noticed.item_key`, shape (rows,).
        signals: `SIGNALS`; NaN where one is not known, shape (rows, S).
        as_of_ms: `timestamp` of the record, shape (rows,); -1 where there is no item.
        since_ms: when the item was first heard of; -1 if that is not known, shape (rows,).
        described: whether it has fields, as published on `items`, shape (rows,).
        popularity: the fallback's score, finite, 0 or more, shape (rows,).
        trending: weighted; 0 if it is not known, shape (rows,).
        numbers: of `number_fields`; NaN where one is not known, shape (rows, n).
        categories: `category_key` of `category_fields`; 0 where one is not known, shape (rows, c).
        group: 0 for none, else 1 + index in `groups`, shape (rows,).
        risk: in [0, 1]; NaN if it is not known, shape (rows,).
        value: finite, shape (rows,).
    """

    def __init__(self, config: CatalogueConfig) -> None:
        self.config = config
        told: dict[str, Any] = asdict(config)
        groups = tuple((each.name, each.field, *map(repr, each.values)) for each in config.groups)
        told = {name: value for name, value in told.items() if name not in ("groups", "new_for_s", "new_undescribed")}
        self.fingerprint = fingerprint(_LAYOUT, "ranking.catalogue", **told, groups=groups, signals=SIGNALS)
        self.versions: Mapping[str, int] = {}
        self.generation = 0
        self._read_fields = reader_of(config)
        self._table = Entities(config.max_items, config.promote_after_s * 1_000)
        self._clock = np.zeros(2, np.int64)
        self._ids, self._offers = Texts("ids", str), Texts("offers", str)
        self._adopt(self._empty(_FIRST_ROWS))
        self._news = np.zeros(_FIRST_ROWS, np.bool_)  # changed since the last part of a snapshot
        self._moved = np.zeros(_FIRST_ROWS, np.bool_)  # changed since `moved` was asked
        self._reserve(0)

    def __len__(self) -> int:
        """Return how many items there are."""
        return int(np.count_nonzero(self.as_of_ms[: self.used] >= 0))

    @property
    def used(self) -> int:
        """Rows in use; those of items that were taken back are among them."""
        return len(self._table)

    @property
    def ids(self) -> list[str]:
        """Ids of the items, by row, as published; "" where there is no item. To be read only."""
        return self._ids.values

    @property
    def offer(self) -> list[str]:
        """Which variation of an experiment each item stands for, by row; "" for none. To be read only."""
        return self._offers.values

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; texts, some 80 bytes a row, are not in it."""
        arrays = (*self._columns, self.popularity, self.trending, self._news, self._moved)
        return sum(array.nbytes for array in arrays) + self._table.nbytes

    def take(self, side: Side) -> None:
        """Take in a side's records, in order, and fill in `side.rejected`. A side of another topic is left alone."""
        if side.topic != TOPIC:
            return
        records = read_items(side, self._read_fields)
        self.versions = {**self.versions, str(side.partition): side.next}
        n = len(records.key)
        if not n:
            return
        rows, takes = np.empty(n, np.int64), np.empty(n, np.bool_)
        self._reserve(n)
        told = records.key, records.gone, records.described, records.time_ms
        _apply(self._table.table, self.as_of_ms, self._clock, *told, rows, takes)
        last = {row: i for i, (row, taken) in enumerate(zip(rows.tolist(), takes.tolist(), strict=True)) if taken}
        self._write(last, records)
        left = np.unique(rows[records.gone & (rows >= 0)])
        left = left[self.as_of_ms[left] < 0]
        self._clear(left)
        touched = np.concatenate([np.array(list(last), np.int64), left])
        self._news[touched] = self._moved[touched] = True
        self.generation += 1

    def find(self, items: U64) -> I64:
        """Return the rows of items by `item_key`, -1 where there is none, shape of `items`: (n,)."""
        rows = np.empty(len(items), np.int64)
        _find_all(self._table.table, self.as_of_ms, items, rows)
        return rows

    def rows(self) -> I64:
        """Return the rows of all items, ascending."""
        return np.flatnonzero(self.as_of_ms[: self.used] >= 0)

    def moved(self) -> I64:
        """Return the rows that changed since this was asked last, ascending; after `load` all in use did."""
        rows = np.flatnonzero(self._moved[: self.used])
        self._moved[rows] = False
        return rows

    def dump(self) -> State:
        """Return a copy of the state, trimmed to what is in use."""
        used = self.used
        state: State = {f"columns.{name}": array[:used].copy() for name, array in self._columns._asdict().items()}
        return state | self._rest(self._table.dump())

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        used = self.used
        arrays = {f"columns.{name}": array[:used] for name, array in self._columns._asdict().items()}
        state = sweep.choose(self._news[:used], **arrays)
        self._news[:] = False
        return state | self._rest(self._table.changes(sweep))

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._table.load(part_of(state, "table."))
        used = self.used
        columns = self._empty(max(self._table.capacity, _FIRST_ROWS))
        for name, array in columns._asdict().items():
            told = np.asarray(state[f"columns.{name}"])
            if told.shape != (used, *array.shape[1:]):
                raise ValueError(f"expected shape {(used, *array.shape[1:])}, got {told.shape} - at columns.{name}")
            array[:used] = told
        self._adopt(columns)
        for name, texts in (("ids", self._ids), ("offers", self._offers)):
            texts.load(state)
            if len(texts) != used:
                raise ValueError(f"expected {used} texts, got {len(texts)} - at {name}")
        self._clock = np.array(state["clock"], np.int64)
        try:
            self.versions = msgspec.json.decode(str(state["versions"]), type=dict[str, int])
        except msgspec.MsgspecError as error:
            raise ValueError("expected offsets by partition - at versions") from error
        self._news = np.zeros(len(columns.group), np.bool_)
        self._moved = np.zeros(len(columns.group), np.bool_)
        self._moved[:used] = True
        self.generation += 1

    def measurements(self) -> Iterable[Measurement]:
        """Return what is held, and as of when."""
        yield Measurement("tidegate_catalogue_items", len(self))
        yield Measurement("tidegate_catalogue_items_evicted_total", int(self._clock[_EVICTED]))
        if self._clock[_TIME_MS]:
            yield Measurement("tidegate_catalogue_time_seconds", int(self._clock[_TIME_MS]) / 1_000)

    def _empty(self, rows: int) -> Columns:
        return Columns(
            np.full((rows, len(SIGNALS)), np.nan, np.float32),
            np.full(rows, -1, np.int64),
            np.full(rows, -1, np.int64),
            np.zeros(rows, np.bool_),
            np.full((rows, len(self.config.number_fields)), np.nan),
            np.zeros((rows, len(self.config.category_fields)), np.uint64),
            np.zeros(rows, np.int64),
            np.full(rows, np.nan),
            np.ones(rows),
        )

    def _adopt(self, columns: Columns) -> None:
        self._columns = columns
        self.signals, self.as_of_ms, self.since_ms = columns.signals, columns.as_of_ms, columns.since_ms
        self.described = columns.described
        self.numbers, self.categories, self.group = columns.numbers, columns.categories, columns.group
        self.risk, self.value = columns.risk, columns.value
        self.key: U64 = self._table.table.keys
        self.popularity: F64 = _known(columns.signals[:, _POPULARITY])
        self.trending: F64 = _known(columns.signals[:, _TRENDING])

    def _reserve(self, more: int) -> None:
        capacity, used = max(self._table.reserve(more), _FIRST_ROWS), self.used
        if capacity > len(self.as_of_ms):
            columns = self._empty(capacity)
            for name, array in columns._asdict().items():
                array[:used] = getattr(self._columns, name)[:used]
            self._adopt(columns)
            room = np.zeros(capacity - len(self._news), np.bool_)
            self._news, self._moved = np.concatenate([self._news, room]), np.concatenate([self._moved, room])

    def _write(self, last: Mapping[int, int], records: ItemRecords) -> None:
        """Write the record of each row that is taken last."""
        at, of = np.array(list(last), np.int64), np.array(list(last.values()), np.int64)
        told = [records.told[i] for i in last.values()]
        self.signals[at] = records.signals[of]
        self.since_ms[at] = records.since_ms[of]
        self.described[at] = records.described[of]
        for array, each in ((self.numbers, "numbers"), (self.categories, "categories")):
            array[at] = np.array([getattr(one, each) for one in told], array.dtype).reshape(len(told), array.shape[1])
        self.group[at] = [each.group for each in told]
        self.value[at] = [each.value for each in told]
        risk = np.array([each.risk for each in told], np.float64)
        if self.config.risk_from_signals:
            risk = np.where(np.isnan(risk), records.signals[of, _RISKY_SHARE], risk)
        self.risk[at] = risk
        self.popularity[at] = _known(self.signals[at, _POPULARITY])
        self.trending[at] = _known(self.signals[at, _TRENDING])
        for row, i in last.items():
            self._ids[row] = records.ids[i]
            self._offers[row] = records.told[i].offer

    def _clear(self, rows: I64) -> None:
        """Forget all of items that were taken back but the row's key."""
        nothing = self._empty(1)
        for name, array in self._columns._asdict().items():
            array[rows] = getattr(nothing, name)
        self.popularity[rows] = self.trending[rows] = 0.0
        for row in rows.tolist():
            self._ids[row] = self._offers[row] = ""

    def _rest(self, table: State) -> State:
        state: State = {f"table.{name}": value for name, value in table.items()}
        versions = msgspec.json.encode(self.versions, order="sorted").decode()
        return state | self._ids.dump() | self._offers.dump() | {"clock": self._clock.copy(), "versions": versions}


def _known(signal: NDArray[Any]) -> F64:
    """Return a signal, 0 where it is not known."""
    return np.nan_to_num(np.asarray(signal, np.float64), nan=0.0)


def warm_up() -> None:
    """Compile every loop, or load it."""
    catalogue = Catalogue(CatalogueConfig())
    catalogue.take(Side(0, TOPIC, 0, 0, 1, [None], [b"-"], [0], [0]))
    catalogue.find(np.zeros(1, np.uint64))
