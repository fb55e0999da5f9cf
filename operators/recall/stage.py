"""The recall stage of the ranking flow, for one partition: requests in, lists of candidates with their features out.

Interactions and items come as side topics. Requests and interactions have one stream time: what is flagged late,
duplicate or ahead changes nothing, but a request is answered all the same, as of stream time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from operators.batches import I64, Span
from operators.fingerprint import Field, fingerprint
from operators.lists import SOURCES, Lists
from operators.noticed import Interactions, Noticed, Requests, who_of
from operators.parts import Sweep
from operators.recall.candidates import Finder
from operators.recall.catalogue import Catalogue
from operators.recall.catalogue import warm_up as catalogue_loops
from operators.recall.config import RecallConfig
from operators.recall.features import matrix, names_of, taken
from operators.recall.item_records import SIGNALS, TOPIC
from operators.recall.loop import REASONS
from operators.recall.memory import FLAGS, Memory
from operators.side import Side
from operators.state import Measurement, State, part_of

INTERACTIONS: Final = "interactions"

_LAYOUT: Final = 1  # version of what `dump` returns; raise it whenever the meaning of a state changes


class Recall:
    """State of the stage for one partition.

    Attributes:
        config: as given.
        names: of the features.
        fingerprint: of the state's layout and the configuration it depends on: not on where candidates come from.
    """

    def __init__(self, config: RecallConfig) -> None:
        """Set up the empty state."""
        self.config = config
        numbers = config.catalogue.number_fields
        self._catalogue = Catalogue(config.catalogue)
        self.names = names_of(config.features, SIGNALS, numbers)
        self.fingerprint = fingerprint(
            _LAYOUT,
            self._catalogue.fingerprint,
            **_flat("users", asdict(config.users)),
            **_flat("covisits", asdict(config.covisits)),
            **_flat("time", asdict(config.time)),
        )
        self._memory = Memory(config.users, config.covisits, config.time, len(numbers))
        self._finder = self._finds()
        self._groups = {name: number for number, name in enumerate(config.user_groups.names, 1)}
        self._flagged = np.zeros(len(FLAGS), np.int64)  # of each flag
        self._sources = np.zeros(len(SOURCES), np.int64)

    def _finds(self) -> Finder:
        config = self.config
        return Finder(config.candidates, config.users.recent, config.covisits.others, self._catalogue)

    @property
    def nbytes(self) -> int:
        """Bytes of the tables of users, of items visited together, and of the catalogue without its texts."""
        return self._memory.nbytes + self._catalogue.nbytes

    @property
    def stream_ms(self) -> int | None:
        """Stream time, epoch milliseconds; None before the first row."""
        return self._memory.stream_ms

    def take_side(self, side: Side) -> None:
        """Take interactions or records of the catalogue in; other topics say nothing here."""
        if side.topic == TOPIC:
            self._catalogue.take(side)
        elif side.topic == INTERACTIONS and isinstance(side.noticed, Interactions):
            rows = self._catalogue.find(side.noticed.item)
            numbers = taken(self._catalogue.numbers, rows, np.nan)
            self._memory.take(side.noticed, numbers, taken(self._catalogue.categories, rows, 0))

    def process(self, batch: Noticed) -> Lists:
        """Answer requests.

        Raises:
            TypeError: the batch is of other records.
        """
        requests = batch.rows
        if not isinstance(requests, Requests):
            raise TypeError(f"expected requests, got {type(requests).__name__}")
        who = who_of(requests)
        flags, now_ms = self._memory.judge(requests, who)
        world, catalogue = self._memory.world, self._catalogue
        found = self._finder.of(requests, who, now_ms, world)
        features = matrix(self.config.features, requests, found, who, now_ms, world, catalogue)
        self._flagged += [np.count_nonzero(flags & bit) for bit in FLAGS.values()]
        self._sources += np.count_nonzero(found.source[:, None] >> _BITS & 1, axis=0)
        offers = catalogue.offer
        return Lists(
            span=batch.span,
            topic=batch.topic,
            requests=requests,
            flags=flags,
            count=np.minimum(np.where(requests.count > 0, requests.count, self.config.count), np.diff(found.starts)),
            starts=found.starts,
            item=found.item,
            items=found.items,
            source=found.source,
            signals_ms=taken(catalogue.as_of_ms, found.rows, -1),
            names=self.names,
            features=features,
            popularity=taken(catalogue.popularity, found.rows, 0.0),
            group=taken(catalogue.group, found.rows, 0),
            risk=taken(catalogue.risk, found.rows, np.nan),
            offer=[offers[row] if row >= 0 else "" for row in found.rows.tolist()],
            value=taken(catalogue.value, found.rows, 0.0),
            user_group=self._user_groups(requests),
            versions=dict(catalogue.versions),
            rejected=batch.rejected,
        )

    def _user_groups(self, requests: Requests) -> I64:
        name = self.config.user_groups.field
        if not name:
            return np.zeros(len(requests.ids), np.int64)
        told = [fields.get(name) for fields in requests.fields]
        found = [self._groups.get(value, 0) if isinstance(value, str) else 0 for value in told]
        return np.array(found, np.int64)

    def dump(self) -> State:
        """Return a copy of the state, trimmed to what is in use."""
        return self._state(self._memory.dump(), self._catalogue.dump())

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        return self._state(self._memory.changes(sweep), self._catalogue.changes(sweep))

    def _state(self, memory: State, catalogue: State) -> State:
        state: State = {f"memory.{name}": value for name, value in memory.items()}
        state |= {f"catalogue.{name}": value for name, value in catalogue.items()}
        return state | {"flagged": self._flagged.copy(), "sources": self._sources.copy()}

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._memory.load(part_of(state, "memory."))
        self._catalogue.load(part_of(state, "catalogue."))
        self._finder = self._finds()
        self._flagged[:] = np.asarray(state["flagged"])
        self._sources[:] = np.asarray(state["sources"])

    def measurements(self) -> Iterable[Measurement]:
        """Return what is held, what was asked and found, what did not count, and stream time."""
        memory = self._memory
        yield from self._catalogue.measurements()
        yield Measurement("tidegate_ranking_users", len(memory.users))
        yield Measurement("tidegate_ranking_users_evicted_total", memory.users.evicted)
        yield Measurement("tidegate_covisited_items", len(memory.items))
        yield Measurement("tidegate_covisited_items_evicted_total", memory.items.evicted)
        for flag, number in zip(FLAGS, self._flagged, strict=True):
            yield Measurement("tidegate_ranking_requests_flagged_total", int(number), {"flag": flag})
        for source, number in zip(SOURCES, self._sources, strict=True):
            yield Measurement("tidegate_candidates_total", int(number), {"source": source})
        for reason, number in zip(REASONS, memory.world.refused, strict=True):
            yield Measurement("tidegate_interactions_refused_total", int(number), {"reason": reason})
        yield Measurement("tidegate_dedup_entries", len(memory.dedup))
        yield Measurement("tidegate_dedup_evicted_total", memory.dedup.evicted)
        if self.stream_ms is not None:
            yield Measurement("tidegate_stream_time_seconds", self.stream_ms / 1_000)


_BITS: Final = np.arange(len(SOURCES), dtype=np.uint8)


def _flat(prefix: str, settings: Mapping[str, Any]) -> dict[str, Field]:
    return {f"{prefix}.{name}": value for name, value in settings.items()}


def warm_up(config: RecallConfig | None = None) -> None:
    """Compile every loop, or load it."""
    config = config or RecallConfig()
    catalogue_loops()
    stage, whole, bits = Recall(config), np.zeros(1, np.int64), np.ones(1, np.uint64)
    clicked = Interactions(whole, whole, np.ones(1, np.uint8), bits, bits, bits, ["-"], bits, whole, bits)
    stage.take_side(Side(0, INTERACTIONS, 0, 0, 1, [b""], [b""], [0], [0], noticed=clicked))
    ends, nothing = np.zeros(2, np.int64), np.zeros(0)
    one = ["-"]
    asked = Requests(whole, whole, one, bits, one, bits, bits, bits, [{}], whole, ends, bits[:0], [], nothing, [])
    stage.process(Noticed(Span(0, 0, 1), "", asked))
    stage.load(stage.dump())
