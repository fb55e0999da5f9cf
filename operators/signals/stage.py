"""The stage that counts interactions by item, for one partition of `interactions`: what adds up of them.

Each interaction counts once, with and without its user's weight, in the windows of its item and in what fades. The
items that came and went lately take each other's places when there are more than fit; what a partition told of an item
that had to go stays what it told last, and fades where parts are merged.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators import waiting as waits
from operators.batches import I64, U64, Bool, Span
from operators.entities import Entities
from operators.featurize.dedup import Dedup
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, fresh_sequence
from operators.fingerprint import fingerprint
from operators.parts import Sweep
from operators.signals import audience as audiences
from operators.signals import items as items_of
from operators.signals.config import CountItemsConfig
from operators.signals.loop import REASONS, Plan, World, run
from operators.signals.rows import Counted, Interactions
from operators.signals.totals import ItemTotals, in_turn, sums_of
from operators.state import Measurement, State, part_of

_LAYOUT = 1  # version of what `dump` returns; raise it whenever the meaning of a state changes


class CountItems:
    """State of the stage for one partition.

    Attributes:
        config: as given.
        fingerprint: of the state's layout and the configuration it depends on.
    """

    def __init__(self, config: CountItemsConfig) -> None:
        """Set up the empty state."""
        self.config = config
        self.fingerprint = fingerprint(_LAYOUT, "", **asdict(config))
        self._plan = Plan(
            config.panes_ms,
            np.array([config.allowed_lateness_s, config.max_gap_s, config.audience_s], np.int64) * 1_000,
            config.worth,
            config.half_life_s * 1_000.0,
        )
        self._sequence = fresh_sequence()
        self._dedup = Dedup(config.dedup_max, config.dedup_window_s * 1_000)
        self._items = Entities(config.max_items, config.promote_after_s * 1_000)
        self._pairs = Entities(config.max_pairs, config.promote_after_s * 1_000)
        self._next = np.zeros(1, np.int64)  # where the turn of items that changed is; no part of the state
        self._world = World(
            self._plan,
            self._items.table,
            items_of.empty(self._items.capacity + 1, len(config.windows_s)),
            self._pairs.table,
            audiences.empty(self._pairs.capacity),
            waits.nothing(),
            np.zeros(len(REASONS), np.int64),
            np.zeros(1, np.int64),
        )

    def __len__(self) -> int:
        return len(self._items)

    @property
    def stream_ms(self) -> int | None:
        """Stream time, epoch milliseconds; None before the first row."""
        return int(self._sequence.clock[TIME_MS]) if self._sequence.clock[KNOWN] else None

    @property
    def nbytes(self) -> int:
        """Bytes of the tables of items and pairs; ids for duplicates are not in it."""
        tables = (self._world.items, self._world.pairs)
        return sum(array.nbytes for table in tables for array in table) + self._items.nbytes + self._pairs.nbytes

    def process(self, batch: Interactions) -> Counted:
        """Count a batch."""
        self._reserve(batch.events)
        flags = np.empty(batch.events, np.uint8)
        columns = (
            batch.kind,
            batch.item,
            batch.user,
            batch.time_ms,
            batch.id_hash,
            batch.position,
            batch.weight,
            batch.risky,
        )
        run(self._world, self._sequence, self._dedup.seen, *columns, flags)
        return Counted(batch, flags)

    def _reserve(self, more: int) -> None:
        """Make room between batches, so that no compiled loop has to grow an array."""
        world = self._world
        more += int(world.waiting.meta[0])  # which may all come in
        self._dedup.reserve(more)
        items, pairs = world.items, world.pairs
        if self._items.reserve(more) + 1 > len(items.life):
            items = items_of.grown(items, self._items.capacity + 1)
        if self._pairs.reserve(more) > len(pairs.life):
            pairs = audiences.grown(pairs, self._pairs.capacity)
        self._world = world._replace(table=self._items.table, items=items, pair_table=self._pairs.table, pairs=pairs)

    def changed(self, most: int | None = None) -> U64:
        """Return the items whose sums changed since they were last asked for; after `load` all of them did.

        Args:
            most: return so many of them at the most; the others are asked for next.
        """
        touched = self._world.items.touched
        rows = in_turn(touched[1 : len(self) + 1], self._next, most)
        touched[rows + 1] = False
        return self._items.table.keys[rows].copy()

    def totals(self, items: U64) -> ItemTotals:
        """Return what is known of some items; those that had to go are left out."""
        rows = self.rows(items)
        known = rows >= 0
        return ItemTotals(
            self.stream_ms or 0,
            items[known],
            sums_of(self._world.items, rows[known] + 1),
            sums_of(self._world.items, np.zeros(1, np.int64)),
        )

    @property
    def waiting(self) -> int:
        """Items whose sums changed and were not asked for yet."""
        return int(np.count_nonzero(self._world.items.touched[1 : len(self) + 1]))

    @property
    def ahead(self) -> U64:
        """Items of the rows that wait until stream time has come to them; with repetitions."""
        waiting = self._world.waiting
        return waiting.keys[: int(waiting.meta[0]), 2].copy()

    @property
    def keys(self) -> U64:
        """The items that are kept, by row."""
        return self._items.table.keys[: len(self)].copy()

    def rows(self, items: U64) -> I64:
        """Return the row of each item, -1 where it is not kept, shape (n,)."""
        return self._items.rows(items)

    def since(self, items: U64) -> list[int]:
        """Return the stream time at which each of some items that are kept was first heard of, milliseconds."""
        since: list[int] = self._items.table.first_ms[self.rows(items)].tolist()
        return since

    def dump(self) -> State:
        """Return a copy of the state, trimmed to what is in use."""
        state: State = {name: array.copy() for name, (array, _) in self._arrays().items()}
        return state | self._rest(self._dedup.dump(), self._items.dump(), self._pairs.dump())

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        state: State = {}
        for name, (array, news) in self._arrays().items():
            state |= sweep.choose(news, **{name: array})
        self._world.items.news[:] = False
        self._world.pairs.news[:] = False
        return state | self._rest(self._dedup.changes(sweep), self._items.changes(sweep), self._pairs.changes(sweep))

    def _arrays(self) -> dict[str, tuple[NDArray[Any], Bool]]:
        """Return the used rows of each large array, and which of them changed."""
        items, pairs = self._world.items, self._world.pairs
        used, paired = len(self._items) + 1, len(self._pairs)
        found = {f"items.{name}": (getattr(items, name)[:used], items.news[:used]) for name in items_of.ARRAYS}
        return found | {
            f"pairs.{name}": (getattr(pairs, name)[:paired], pairs.news[:paired]) for name in audiences.ARRAYS
        }

    def _rest(self, dedup: State, items: State, pairs: State) -> State:
        world = self._world
        state: State = {f"sequence.{name}": array.copy() for name, array in self._sequence._asdict().items()}
        state |= {f"dedup.{name}": value for name, value in dedup.items()}
        state |= {f"table.{name}": value for name, value in items.items()}
        state |= {f"pair_table.{name}": value for name, value in pairs.items()}
        state |= waits.dump(world.waiting)
        return state | {"refused": world.refused.copy(), "lives": world.lives.copy()}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._dedup.load(part_of(state, "dedup."))
        self._items.load(part_of(state, "table."))
        self._pairs.load(part_of(state, "pair_table."))
        self._sequence = Sequence(**{name: np.array(value) for name, value in part_of(state, "sequence.").items()})
        self._world = World(
            self._plan,
            self._items.table,
            items_of.empty(self._items.capacity + 1, len(self.config.windows_s)),
            self._pairs.table,
            audiences.empty(self._pairs.capacity),
            waits.load(state),
            np.array(state["refused"], np.int64),
            np.array(state["lives"], np.int64),
        )
        for name, (array, _) in self._arrays().items():
            told = np.asarray(state[name])
            if told.shape != array.shape:
                raise ValueError(f"expected shape {array.shape}, got {told.shape} - at {name}")
            array[:] = told
        self._world.items.touched[: len(self) + 1] = True

    def measurements(self) -> Iterable[Measurement]:
        """Return what is held, what did not count, and stream time."""
        yield Measurement("tidegate_items", len(self._items))
        yield Measurement("tidegate_items_evicted_total", self._items.evicted)
        yield Measurement("tidegate_audience_pairs", len(self._pairs))
        yield Measurement("tidegate_audience_pairs_evicted_total", self._pairs.evicted)
        for reason, number in zip(REASONS, self._world.refused, strict=True):
            yield Measurement("tidegate_interactions_refused_total", int(number), {"reason": reason})
        yield Measurement("tidegate_dedup_entries", len(self._dedup))
        yield Measurement("tidegate_dedup_evicted_total", self._dedup.evicted)
        if self.stream_ms is not None:
            yield Measurement("tidegate_stream_time_seconds", self.stream_ms / 1_000)


def warm_up() -> None:
    """Compile every loop, or load it."""
    whole, keys = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    kinds, nothing = np.zeros(0, np.uint8), np.zeros(0, np.bool_)
    stage = CountItems(CountItemsConfig())
    stage.process(Interactions(Span(0, 0, 0), "", whole, kinds, keys, keys, whole, keys, whole, np.zeros(0), nothing))
    stage.totals(stage.changed())
    stage.load(stage.dump())
