"""The accumulate stage: of each unit and experiment what counts within the window, and what all of it adds up to.

Exactly once: a unit enters the sums when its window is over in stream time, with the lateness that is allowed, and
never again. Until then it is among the open ones, with what it has so far.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators import waiting as waits
from operators.accumulate import ledger as books
from operators.accumulate import pairs as pairs_of
from operators.accumulate import pool as pool_of
from operators.accumulate import queue as queues
from operators.accumulate import units as units_of
from operators.accumulate.answers import Accumulated, Totals
from operators.accumulate.config import DEFINITION, REASONS, AccumulateConfig
from operators.accumulate.counting import Tiers, World, forget_experiment
from operators.accumulate.definitions import Change, Slots, read, written
from operators.accumulate.loop import run
from operators.accumulate.observed import Observations, Observed
from operators.accumulate.pending import Buffer, room_for
from operators.accumulate.plan import NEVER, Plan, Shape, names_of, plan_of, shape_of
from operators.batches import U8, Bool, Span
from operators.entities import Entities
from operators.featurize.dedup import Dedup
from operators.featurize.sequence import KNOWN, TIME_MS, Sequence, fresh_sequence
from operators.fingerprint import fingerprint
from operators.parts import Sweep
from operators.side import Side
from operators.state import Measurement, State, part_of
from schemas.definition import Definition, Metric, Phase

_LAYOUT = 1  # version of what `dump` returns; raise it whenever the meaning of a state changes


class Accumulate:
    """State of the stage for one partition.

    Attributes:
        config: as given.
        fingerprint: of the state's layout and the configuration it depends on.
    """

    def __init__(self, config: AccumulateConfig) -> None:
        """Set up the empty state: no experiment is known."""
        self.config = config
        self.fingerprint = fingerprint(_LAYOUT, "", **asdict(config))
        self._slots: Slots = ()
        self._text = written(())
        self._sequence = fresh_sequence()
        self._dedup = Dedup(config.dedup_max, config.dedup_window_s * 1_000)
        self._records = Buffer("records", config.max_pending)
        self._decisions = Buffer("decisions", config.max_pending)
        self._tiered = Entities(config.max_units, config.allowed_lateness_s * 1_000)
        self._relaid = True  # whether cells lie elsewhere than when they were written last
        self._world = World(
            self._plan(),
            units_of.fresh(),
            pairs_of.fresh(config.max_units),
            pool_of.fresh(),
            queues.fresh(),
            self._records.ring,
            self._decisions.ring,
            self._tiers_of(0),
            waits.nothing(),
            books.empty([]),
        )

    def _plan(self) -> Plan:
        lateness_ms, gap_ms = self.config.allowed_lateness_s * 1_000, self.config.max_gap_s * 1_000
        return plan_of(self._slots, tiers=self.config.tiers, lateness_ms=lateness_ms, gap_ms=gap_ms)

    def _shapes(self) -> list[Shape]:
        return [shape_of(each, tiers=self.config.tiers) for each in self._slots]

    def _tiers_of(self, used: int, old: Tiers | None = None) -> Tiers:
        """Return arrays for the tiers of the table's units, with the first `used` rows of the old ones."""
        capacity = self._tiered.capacity
        tiers = Tiers(
            self._tiered.table,
            np.zeros(capacity, np.int64),
            np.zeros(capacity, np.uint8),
            np.zeros(capacity, np.bool_),
        )
        if old is not None:
            for name in ("time_ms", "stratum", "news"):
                getattr(tiers, name)[:used] = getattr(old, name)[:used]
        return tiers

    @property
    def stream_ms(self) -> int | None:
        """Stream time, epoch milliseconds; None before the first record."""
        return int(self._sequence.clock[TIME_MS]) if self._sequence.clock[KNOWN] else None

    @property
    def definitions(self) -> list[Definition]:
        """Definitions in force."""
        return [each for each in self._slots if each is not None]

    @property
    def nbytes(self) -> int:
        """Bytes of all tables of units, records and decisions; sums and ids for duplicates are not in it."""
        world = self._world
        tables = (world.units, world.pairs, world.pool, world.queue, world.records, world.decisions, world.tiers[1:])
        return sum(array.nbytes for table in tables for array in table) + self._tiered.nbytes

    def process(self, batch: Observations) -> Accumulated:
        """Count a batch."""
        return Accumulated(batch, self._run(batch.observed))

    def take_side(self, side: Side) -> None:
        """Take definitions, and count rows, that lie between two records of the input."""
        if side.definitions is not None:
            # Taken back and applied again is counted anew, also where both were read at once.
            gone = [str(each.detail["experiment"]) for each in side.changes if each.detail["version"] is None]
            self.define(dict.fromkeys(gone))
            self.define(side.definitions)
        if side.observed is not None:
            self._run(side.observed)

    def _run(self, rows: Observed) -> U8:
        self._reserve(len(rows.kind))
        flags = np.empty(len(rows.kind), np.uint8)
        columns = (
            rows.kind,
            rows.unit,
            rows.time_ms,
            rows.id_hash,
            rows.what,
            rows.arm,
            rows.phase,
            rows.value,
            rows.pre,
        )
        run(self._world, self._sequence, self._dedup.seen, self.config.tiers, *columns, flags)
        return flags

    def _reserve(self, more: int) -> None:
        """Make room between batches, so that no compiled loop has to grow an array."""
        world = self._world
        more += int(world.waiting.meta[0])  # which may all come in
        widest = int(world.plan.experiments["numbers"].max())
        self._dedup.reserve(more)
        self._records.reserve(more)
        tiers, queue = world.tiers, world.queue
        if self.config.tiers:
            self._decisions.reserve(more)
            used, capacity = len(self._tiered), self._tiered.capacity
            if self._tiered.reserve(more + len(self._decisions)) > capacity:
                tiers = self._tiers_of(used, tiers)
        if int(queue.meta[0]) + more > len(queue.pair):
            opened = int(np.count_nonzero(world.pairs.rows["state"] == pairs_of.OPEN))
            if int(queue.meta[0]) > 2 * opened:
                queues.rebuild(queue, world.plan, world.pairs)
            queue = queues.grown(queue, more)
        self._world = world._replace(
            units=units_of.grown(world.units, more),
            pairs=pairs_of.grown(world.pairs, more),
            pool=pool_of.grown(world.pool, more * widest),
            queue=queue,
            records=self._records.ring,
            decisions=self._decisions.ring,
            tiers=tiers,
        )

    def define(self, definitions: Mapping[str, Definition | None]) -> None:
        """Add, change or drop experiments.

        A change that does not fit what has been counted (other variations, metrics or windows, or a phase that has
        units) leaves the definition as it was, and is counted as refused.

        Args:
            definitions: newest one by experiment; None drops it with all that was counted.
        """
        world, shapes = self._world, self._shapes()
        change = Change(self._slots, [self._phases_with_units(slot) for slot in range(len(self._slots))], definitions)
        for slot in change.dropped:
            forget_experiment(world, slot)
            world.ledger.refused[0] += world.ledger.refused[1 + slot]  # or the metric would fall
            world.ledger.refused[1 + slot] = 0
        for slot in change.misfits:
            books.refuse(world.ledger, slot, DEFINITION)
        for _ in change.unplaced:
            books.refuse(world.ledger, -1, DEFINITION)
        if world.pairs.meta[pairs_of.HELD] == 0:
            world.pairs.meta[pairs_of.THRESHOLD] = pairs_of.EVERYONE
        if change.slots == self._slots:
            return
        before, self._slots = self._slots, change.slots
        self._text = written(self._slots)
        ledger = books.empty(self._shapes(), len(world.ledger.high), len(world.ledger.counts))
        books.carried(world.ledger, shapes, ledger, self._shapes(), change.kept)
        for slot, old in enumerate(before):
            if old is not None and old == self._slots[slot]:
                ledger.touched[slot] = world.ledger.touched[slot] | books.WRITTEN
        self._relaid = True
        self._world = world._replace(plan=self._plan(), ledger=ledger)

    def _phases_with_units(self, slot: int) -> int:
        definition = self._slots[slot]
        if definition is None:
            return 0
        counts = books.counts_of(
            self._world.ledger, self._world.plan, slot, shape_of(definition, tiers=self.config.tiers)
        )
        phases = np.flatnonzero(counts[..., books.EXPOSED].any(axis=(1, 2)))
        return int(phases[-1]) + 1 if len(phases) else 0

    def changed(self) -> list[str]:
        """Return the experiments whose totals changed since this was last asked; after `load` all of them did."""
        touched = self._world.ledger.touched
        found = [each.id for each, bits in zip(self._slots, touched, strict=True) if each and bits & books.ASKED]
        touched &= books.WRITTEN
        return found

    def totals(self, experiment: str) -> Totals:
        """Return what is known of an experiment.

        Raises:
            KeyError: there is no such experiment.
        """
        slot = next((at for at, each in enumerate(self._slots) if each is not None and each.id == experiment), -1)
        definition = self._slots[slot] if slot >= 0 else None
        if definition is None:
            raise KeyError(experiment)
        ledger, plan = self._world.ledger, self._world.plan
        shape = shape_of(definition, tiers=self.config.tiers)
        counts = books.counts_of(ledger, plan, slot, shape).astype(np.float64)
        sums = books.block_of(ledger, "open_high", plan, slot, shape)
        opened = np.empty((*sums.shape[:-1], 3))
        opened[..., 0], opened[..., 1:] = counts[..., books.OPEN], sums
        row = plan.experiments[slot]
        for metric in range(shape.metrics):  # only a ratio divides by something that was added up
            if plan.metrics[int(row["first_metric"]) + metric]["d"] < 0:
                opened[metric, ..., 2] = counts[..., books.OPEN]
        first_ms = int(ledger.first_ms[slot])
        return Totals(
            definition,
            names_of(definition, tiers=self.config.tiers),
            self.stream_ms,
            books.block_of(ledger, "high", plan, slot, shape),
            books.block_of(ledger, "low", plan, slot, shape),
            opened,
            counts[..., books.EXPOSED],
            counts[..., books.SEVERAL],
            None if first_ms == NEVER else first_ms,
            {name: int(n) for name, n in zip(REASONS, ledger.refused[1 + slot], strict=True) if n},
        )

    def dump(self) -> State:
        """Return a copy of the state, trimmed to what is in use."""
        state: State = {name: array[:used].copy() for name, (array, used, _) in self._arrays().items()}
        units = self._world.units
        state |= self._records.dump(units) | self._decisions.dump(units)
        return state | self._rest(self._dedup.dump(), self._tiered.dump())

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        world = self._world
        state: State = {}
        for name, (array, used, news) in self._arrays().items():
            state |= sweep.choose(news[:used], **{name: array[:used]})
        for table in (world.pairs, world.pool, world.tiers):
            table.news[:] = False
        world.ledger.touched[:] &= books.ASKED
        self._relaid = False
        state |= self._records.changes(sweep, world.units) | self._decisions.changes(sweep, world.units)
        return state | self._rest(self._dedup.changes(sweep), self._tiered.changes(sweep))

    def _arrays(self) -> dict[str, tuple[NDArray[Any], int, Bool]]:
        """Return each large array, how many of its rows are in use, and which of these changed."""
        world = self._world
        pairs, pool, ledger, tiers = world.pairs, world.pool, world.ledger, world.tiers
        used = int(pairs.meta[pairs_of.USED])
        found = {f"pairs.{name}": (pairs.rows[name], used, pairs.news) for name in pairs_of.COLUMNS}
        for name in ("values", "told"):
            found[f"pool.{name}"] = (getattr(pool, name), int(pool.meta[0]), pool.news)
        for name in ("time_ms", "stratum"):
            found[f"tiers.{name}"] = (getattr(tiers, name), len(self._tiered), tiers.news)
        shapes = self._shapes()
        cells = self._news([shape.metrics * shape.cells for shape in shapes], len(ledger.high))
        found |= {f"ledger.{name}": (getattr(ledger, name), len(cells), cells) for name in books.PER_CELL}
        counts = self._news([shape.cells for shape in shapes], len(ledger.counts))
        return found | {"ledger.counts": (ledger.counts, len(counts), counts)}

    def _news(self, lengths: list[int], length: int) -> Bool:
        """Return which rows of the ledger are of experiments that changed."""
        news = np.full(length, self._relaid, np.bool_)
        if not self._relaid:
            news[: sum(lengths)] = np.repeat((self._world.ledger.touched & books.WRITTEN) != 0, lengths)
        return news

    def _rest(self, dedup: State, tiered: State) -> State:
        world = self._world
        state: State = {f"sequence.{name}": array.copy() for name, array in self._sequence._asdict().items()}
        state |= {f"dedup.{name}": value for name, value in dedup.items()}
        state |= {f"tiered.{name}": value for name, value in tiered.items()}
        state |= waits.dump(world.waiting)
        return state | {
            "definitions": self._text,
            "pairs.meta": world.pairs.meta.copy(),
            "pool.meta": world.pool.meta.copy(),
            "ledger.refused": world.ledger.refused.copy(),
            "ledger.first_ms": world.ledger.first_ms.copy(),
        }

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._slots = read(str(state["definitions"]))
        self._text = written(self._slots)
        self._dedup.load(part_of(state, "dedup."))
        self._tiered.load(part_of(state, "tiered."))
        self._sequence = Sequence(**{name: np.array(value) for name, value in part_of(state, "sequence.").items()})
        loaded = {name: np.asarray(value) for name, value in state.items() if isinstance(value, np.ndarray)}
        pairs = pairs_of.allocate(max(1, len(loaded["pairs.unit"])), loaded["pairs.meta"].astype(np.int64))
        pool = pool_of.allocate(max(1, len(loaded["pool.told"])), loaded["pool.meta"].astype(np.int64))
        ledger = books.empty(self._shapes(), len(loaded["ledger.high"]), len(loaded["ledger.counts"]))
        plan, tiers = self._plan(), self._tiers_of(0)
        ledger.refused[:], ledger.first_ms[:] = loaded["ledger.refused"], loaded["ledger.first_ms"]
        if int(pairs.meta[pairs_of.MAX]) != self.config.max_units:
            raise ValueError(f"expected a bound of {self.config.max_units}, got {pairs.meta[pairs_of.MAX]}")
        room = len(pairs.rows) + room_for(state, "records") + room_for(state, "decisions")
        units = units_of.grown(units_of.fresh(), room)
        queue = queues.grown(queues.fresh(), len(pairs.rows))
        self._world = World(
            plan, units, pairs, pool, queue, self._records.ring, self._decisions.ring, tiers, waits.load(state), ledger
        )
        self._relaid = False
        for name, (array, used, _) in self._arrays().items():
            array[:used] = loaded[name]
        pairs_of.place_all(pairs)
        queues.rebuild(queue, plan, pairs)
        pairs_of.link_all(pairs, units)
        self._records.load(state, units, decisions=False)
        self._decisions.load(state, units, decisions=True)
        self._world = self._world._replace(records=self._records.ring, decisions=self._decisions.ring)
        ledger.touched[:] = books.ASKED

    def measurements(self) -> Iterable[Measurement]:
        """Return units counted and open, what does not count, what is pending and remembered, and stream time."""
        ledger = self._world.ledger
        yield Measurement("tidegate_units", int(ledger.counts[:, books.EXPOSED].sum()))
        yield Measurement("tidegate_units_open", int(ledger.counts[:, books.OPEN].sum()))
        for reason, number in zip(REASONS, ledger.refused.sum(axis=0), strict=True):
            yield Measurement("tidegate_units_refused_total", int(number), {"reason": reason})
        waiting = int(self._world.waiting.meta[0])
        yield Measurement("tidegate_pending_records", len(self._records) + len(self._decisions) + waiting)
        yield Measurement("tidegate_dedup_entries", len(self._dedup))
        yield Measurement("tidegate_dedup_evicted_total", self._dedup.evicted)
        if self.stream_ms is not None:
            yield Measurement("tidegate_stream_time_seconds", self.stream_ms / 1_000)


def warm_up() -> None:
    """Compile every loop, or load it."""
    phase = Phase(start=0, coverage=1.0, weights=(0.5, 0.5))
    any_one = Definition(
        id="any", version=1, timestamp=0, seed="any", variations=("a", "b"), phases=(phase,),
        primary=Metric(name="any", kind="mean", event="any"), alpha=0.05, tuning_n=1, attribution_window_s=1,
        minimum_run_s=0, mde=1.0, cuped=False,
    )  # fmt: skip
    stage = Accumulate(AccumulateConfig(tiers=True))
    stage.define({"any": any_one})
    whole, keys, numbers = np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0)
    nothing = Observed(whole, keys, whole, keys, keys, whole, whole, numbers, numbers)
    stage.process(Observations(Span(0, 0, 0), "", nothing))
    stage.load(stage.dump())
    units_of.grown(units_of.fresh(), units_of.FIRST_CAPACITY + 1)
    stage.define({"any": None})
