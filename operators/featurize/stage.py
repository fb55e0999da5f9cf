"""The featurize stage: per-user features of every event of a partition, in one pass over each batch.

Three compiled loops follow each other: `sequence.judge` (which events count), `_assign` (a row for each event) and
`_features` (panes, habits, history, values). They are separate so that each stays readable, many look-ups are in
flight at once, and the rows of the next events are known early enough to be fetched ahead. Since a flag never depends
on a row, nor a row on a feature, the result is that of one loop.

Values are as they are once the event has been counted. A flagged event (late, duplicate, ahead) sees the values it
would have caused, worked out on a copy of its user's row; it stores nothing and does not count as use of the row.
"""

from collections.abc import Iterable
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, U8, U64, Bool, Decoded, Featured, Own
from operators.compiled import Int, borrowing
from operators.entities import Entities, Table, find, touch
from operators.featurize.catalogue import LOG1P, NOVELTIES, catalogue, limits, map_into
from operators.featurize.config import FeaturizeConfig
from operators.featurize.dedup import Dedup
from operators.featurize.habits import amount_print, habits
from operators.featurize.history import Scratch, diversity, new_scratch, remember_event
from operators.featurize.own import OwnRows, Plan, follow, plan
from operators.featurize.own import allocate as allocate_own
from operators.featurize.own import arrays as own_arrays
from operators.featurize.own import copy as copy_own
from operators.featurize.own import fetch_ahead as fetch_own
from operators.featurize.own import grown as grown_own
from operators.featurize.own import reset as reset_own
from operators.featurize.rhythm import rhythm
from operators.featurize.rows import Rows, allocate, copy, fetch_ahead, grown, reset
from operators.featurize.sequence import KNOWN, N_AHEAD, N_DUPLICATE, N_LATE, TIME_MS, Sequence, fresh_sequence, judge
from operators.featurize.windows import count_event
from operators.own_feature import OwnFeature
from operators.parts import Sweep
from operators.state import Measurement, State, part_of

_LAYOUT = 2  # version of what `dump` returns; raise it whenever the meaning of a state changes
_AHEAD = 4  # events between asking for a row and using it
_HOUR_S = 3_600
_OUTPUT_ONLY = ("min_history", "teach_cap_per_hour")  # the state does not depend on these


@borrowing
def _assign(table: Table, user: U64, stream_ms: I64, flags: U8, row: I64, fresh: U8) -> None:
    """Write the row of each event's user, -1 for a flagged event of an unknown one, and whether the row is fresh."""
    for i in range(len(user)):
        if flags[i] != 0:
            row[i], fresh[i] = find(table, user[i]), 0
        else:
            row[i], fresh[i] = touch(table, user[i], stream_ms[i])


@borrowing
def _features(
    rows: Rows,
    row: I64,
    fresh: U8,
    flags: U8,
    time_ms: I64,
    amount: F64,
    amount_bits: U64,
    attributes: U64,
    numbers: F64,
    values: U64,
    plan: Plan,
    own: OwnRows,
    windows_ms: I64,
    panes_ms: I64,
    scratch: Scratch,
    min_history: Int,
    teach_window: Int,
    teach_cap: Int,
    raw: F64,
    teach: Bool,
    changed: Bool,
) -> None:
    """Count each event in its row and write its features, shape (n, features), and which rows changed."""
    windows, declared = len(windows_ms), len(plan.steps)
    variation = 12 * windows + len(
        NOVELTIES
    )  # then gap_entropy, hour_deviation, counterparty_new_share, amount_repeats
    spare = rows.u8.shape[0] - 1
    for i in range(len(row)):
        if i + _AHEAD < len(row):
            fetch_ahead(rows, row[i + _AHEAD])
            if declared > 0:
                fetch_own(own, row[i + _AHEAD])
        at = row[i]
        if flags[i] != 0:
            if at >= 0:
                copy(rows, at, spare)
                copy_own(own, at, spare)
            else:
                reset(rows, spare)
                reset_own(own, spare)
            at = spare
        elif fresh[i] != 0:
            reset(rows, at)
            reset_own(own, at)
        changed[at] = True
        count_event(rows, at, time_ms[i], amount[i], panes_ms, min_history, raw, i)
        if declared > 0:
            follow(own, rows, at, time_ms[i], numbers, values, plan, raw, i, variation + 5)
        paid = amount_print(amount_bits[i], amount[i])
        habits(rows, at, time_ms[i], paid, windows_ms[windows - 1], raw, i, variation + 2, variation + 4)
        remember_event(rows, at, time_ms[i], attributes, paid, scratch, raw, i, 12 * windows)
        diversity(rows, at, windows_ms, scratch, raw, i, 4 * windows)
        within = scratch.within[windows - 1]
        rhythm(rows, at, within, scratch.octaves, raw, i, variation, variation + 3)
        teach[i] = flags[i] == 0 and raw[i, teach_window] <= teach_cap


class Featurize:
    """State of the stage for one partition.

    Attributes:
        config: as given.
        catalogue: the features, in column order.
        fingerprint: of the state's layout and the configuration it depends on.
    """

    def __init__(self, config: FeaturizeConfig, declared: tuple[OwnFeature, ...] = ()) -> None:
        """Set up the empty state.

        Args:
            config: windows and bounds.
            declared: the features that the user declared, in the order of `Decoded.own`.
        """
        self.config = config
        self.catalogue = catalogue(config.windows_s, declared)
        self._declared = declared
        shaping = {name: value for name, value in asdict(config).items() if name not in _OUTPUT_ONLY}
        followed = [feature.shaping for feature in declared]
        self.fingerprint = blake2b(msgspec.json.encode([_LAYOUT, shaping, followed]), digest_size=8).hexdigest()
        self._windows_ms = np.array(config.windows_s, np.int64) * 1_000
        self._panes_ms = self._windows_ms // 5
        self._teach_window = min(
            range(len(config.windows_s)), key=lambda w: abs(config.windows_s[w] - _HOUR_S)
        )  # the shorter one of two equally close
        self._scratch = new_scratch(len(config.windows_s))
        self._plan = plan(declared)
        self._limits = limits(self.catalogue)
        self._sequence = fresh_sequence()
        self._dedup = Dedup(config.dedup_max, config.dedup_window_s * 1_000)
        self._entities = Entities(config.max_users, config.promote_after_s * 1_000)
        self._rows = allocate(self._entities.capacity, len(config.windows_s))
        self._own = allocate_own(self._entities.capacity, declared)
        self._changed = self._unchanged()

    def _unchanged(self) -> Bool:
        """Return marks for every row and the spare one: nothing changed since `changes` was last called."""
        return np.zeros(self._entities.capacity + 1, np.bool_)

    def process(self, batch: Decoded) -> Featured:
        """Answer a batch and count its events.

        Raises:
            ValueError: `Decoded.own` is not of the declared features.
        """
        n = len(batch.time_ms)
        own = self._followed(batch)
        self._reserve(n)
        flags, fresh, teach = np.empty(n, np.uint8), np.empty(n, np.uint8), np.empty(n, np.bool_)
        stream_ms, row = np.empty(n, np.int64), np.empty(n, np.int64)
        raw, mapped = np.empty((n, len(self.catalogue))), np.empty((n, len(self.catalogue)))
        config = self.config
        judge(
            self._sequence,
            self._dedup.seen,
            batch.user,
            batch.id_hash,
            batch.time_ms,
            config.allowed_lateness_s * 1_000,
            config.max_gap_s * 1_000,
            flags,
            stream_ms,
        )
        _assign(self._entities.table, batch.user, stream_ms, flags, row, fresh)
        _features(
            self._rows,
            row,
            fresh,
            flags,
            batch.time_ms,
            batch.amount,
            batch.amount.view(np.uint64),
            batch.attributes,
            own.numbers,
            own.values,
            self._plan,
            self._own,
            self._windows_ms,
            self._panes_ms,
            self._scratch,
            config.min_history,
            self._teach_window,
            config.teach_cap_per_hour,
            raw,
            teach,
            self._changed,
        )
        map_into(raw, len(config.windows_s), self._limits, LOG1P, mapped)
        return Featured(decoded=batch, raw=raw, features=mapped, flags=flags, teach=teach)

    def _followed(self, batch: Decoded) -> Own:
        """Return the columns of the declared features; without any, whatever decode read is ignored."""
        shape = (len(batch.time_ms), len(self._declared))
        if not self._declared:
            return Own(np.empty(shape), np.empty(shape, np.uint64))
        if batch.own is None or batch.own.numbers.shape != shape:
            got = "none" if batch.own is None else batch.own.numbers.shape[1]
            raise ValueError(f"expected columns of {shape[1]} declared features, got {got}")
        return batch.own

    def _reserve(self, more: int) -> None:
        """Make room between batches, so that no compiled loop has to grow an array."""
        self._dedup.reserve(more)
        before = self._entities.capacity
        used = len(self._entities)
        capacity = self._entities.reserve(more)
        if capacity > before:
            self._rows = grown(self._rows, capacity, used, len(self.config.windows_s))
            self._own = grown_own(self._own, capacity, used, self._declared)
            marks, self._changed = self._changed, self._unchanged()
            self._changed[:used] = marks[:used]

    def dump(self) -> State:
        """Return a copy of the state, trimmed to what is in use."""
        used = len(self._entities)
        state: State = {name: array[:used].copy() for name, array in self._arrays().items()}
        return state | self._rest(self._dedup.dump(), self._entities.dump())

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        used = len(self._entities)
        state = sweep.choose(self._changed[:used], **self._arrays())
        self._changed[:] = False
        return state | self._rest(self._dedup.changes(sweep), self._entities.changes(sweep))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return the large arrays, a row for each user, by their names in the state."""
        return {f"rows.{name}": array for name, array in self._rows._asdict().items()} | own_arrays(self._own)

    def _rest(self, dedup: State, entities: State) -> State:
        state: State = {f"sequence.{name}": array.copy() for name, array in self._sequence._asdict().items()}
        state |= {f"dedup.{name}": value for name, value in dedup.items()}
        return state | {f"entities.{name}": value for name, value in entities.items()}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint."""
        self._dedup.load(part_of(state, "dedup."))
        self._entities.load(part_of(state, "entities."))
        self._sequence = Sequence(**{name: np.array(value) for name, value in part_of(state, "sequence.").items()})
        self._rows = allocate(self._entities.capacity, len(self.config.windows_s))
        self._own = allocate_own(self._entities.capacity, self._declared)
        for name, array in self._arrays().items():
            array[: len(self._entities)] = state[name]
        self._changed = self._unchanged()

    def measurements(self) -> Iterable[Measurement]:
        """Return users and ids held and evicted, flagged events, and stream time once there is one."""
        yield Measurement("tidegate_entities", len(self._entities))
        yield Measurement("tidegate_entities_evicted_total", self._entities.evicted)
        yield Measurement("tidegate_dedup_entries", len(self._dedup))
        yield Measurement("tidegate_dedup_evicted_total", self._dedup.evicted)
        clock, flagged = self._sequence.clock, self._sequence.flagged
        for flag, at in (("late", N_LATE), ("duplicate", N_DUPLICATE), ("ahead", N_AHEAD)):
            yield Measurement("tidegate_events_flagged_total", int(flagged[at]), {"flag": flag})
        if clock[KNOWN]:
            yield Measurement("tidegate_stream_time_seconds", int(clock[TIME_MS]) / 1_000)

    @property
    def nbytes_per_user(self) -> float:
        """Bytes of state per user at the present capacity, entity table included."""
        rows = sum(array.nbytes for array in self._arrays().values())
        return (rows + self._entities.nbytes) / self._entities.capacity
