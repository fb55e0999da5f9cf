"""Observe: records of `exposures` and of the flow's side topics in, rows out; every record leaves by exactly one door.

What is read of `metrics` and `events` follows from the definitions applied so far, which are this stage's state: a
record that came before the definition that asks for it is not read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import nan
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
import numpy as np
from annotated_types import Ge, Le

from operators.accumulate.observed import EXPOSED, TICKED, Observations, Observed, key_of
from operators.batches import U64, Change, Messages, Rejected
from operators.decode.explain import EMPTY_VALUE, Fault, explain
from operators.decode.identifiers import Identifiers
from operators.decode.pseudonym import Memo, Pseudonymizer
from operators.decode.reading import REFUSED, Read, Reader, forbidden
from operators.decode.wire import WireEvent, WireExposure, WireMetric
from operators.observe.explain import (
    NO_KEY,
    OTHER_KEY,
    UNSOUND,
    explain_decision,
    explain_definition,
    explain_exposure,
    explain_metric,
)
from operators.observe.known import Known, changed_fields, is_sound
from operators.observe.rows import measured, tiered
from operators.side import Side
from operators.state import Measurement, State
from schemas.definition import Definition
from schemas.event import Identifier
from schemas.part import STRATA

TICK: Final = "tidegate.time"
"""`experiment_id` of a record that says nothing but what time it is."""

DEFINITIONS: Final = "experiments.definitions"

_LAYOUT: Final = 1
_MOST_PHASE: Final = 2**31 - 1
_TICK_ROW: Final = (TICKED, 0, 0, -1, nan)


@dataclass(frozen=True, slots=True)
class ObserveConfig:
    """What a record may be.

    Attributes:
        max_message_bytes: larger records are not parsed; bytes, >= 1.
        max_clock_skew_s: how far a record's time may lie beyond its Kafka timestamp; seconds, 0 to one year.
        cache_entries: pseudonyms remembered per partition, each a few hundred bytes; >= 2. Changes speed, never
            results.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_message_bytes: Annotated[int, Ge(1)] = 1_048_576
    max_clock_skew_s: Annotated[float, Ge(0), Le(31_536_000)] = 300.0
    cache_entries: Annotated[int, Ge(2)] = 65_536


class _Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is read of `schemas.decision.Decision`."""

    id: str
    timestamp: int
    user: Identifier
    tier: Literal["unknown", "low", "medium", "high", "critical"]


_decode_definition = msgspec.json.Decoder(Definition).decode


class Observe:
    """The first stage, for one partition.

    Attributes:
        config: what a record may be.
        pseudonymizer: makes the pseudonyms.
        fingerprint: changes with the pseudonym key: the state of later stages is about other users then.
        misassigned: exposures so far to another variation than their bucket has.
    """

    def __init__(self, config: ObserveConfig, pseudonymizer: Pseudonymizer) -> None:
        """Know no definition.

        Args:
            config: what a record may be.
            pseudonymizer: makes the pseudonyms.
        """
        self.config = config
        self.pseudonymizer = pseudonymizer
        self.fingerprint = blake2b(f"{_LAYOUT} {pseudonymizer.fingerprint}".encode(), digest_size=8).hexdigest()
        self.misassigned = 0
        self._known = Known()
        self._raw = Identifiers(pseudonymizer, config.cache_entries, given=False)
        self._given = Identifiers(pseudonymizer, config.cache_entries, given=True)
        self._unknown_keys: Memo[str, int] = Memo(lambda name: key_of("experiment", name), config.cache_entries)
        bounds = config.max_message_bytes, round(config.max_clock_skew_s * 1000)
        self._exposures = Reader(msgspec.json.Decoder(WireExposure).decode, explain_exposure, *bounds)
        self._metrics = Reader(msgspec.json.Decoder(WireMetric).decode, explain_metric, *bounds)
        self._events = Reader(msgspec.json.Decoder(WireEvent).decode, explain, *bounds)
        self._decisions = Reader(msgspec.json.Decoder(_Decision).decode, explain_decision, *bounds)

    def process(self, batch: Messages) -> Observations:
        """Answer records of `exposures`: for every one a row or a rejection, both in the order of the input."""
        read = self._exposures(batch.keys, batch.values, batch.timestamps_ms)
        return Observations(
            span=batch.span,
            topic=batch.topic,
            observed=self._exposed(read, batch.topic),
            rejected=read.rejected(batch.offsets, batch.timestamps_ms),
            events=batch.events,
        )

    def take_side(self, side: Side) -> None:
        """Answer records of a side topic: rows or definitions, and rejections."""
        if side.topic == DEFINITIONS:
            self._define(side)
        elif side.topic == "metrics":
            numbers = self._metrics(side.keys, side.values, side.timestamps_ms)
            of = self._known.measures["metrics"]
            found = [of.get(record.metric, ()) for record in numbers.records]
            self._measure(side, numbers, found, [record.pre_value for record in numbers.records])
        elif side.topic == "events":
            events = self._events(side.keys, side.values, side.timestamps_ms)
            of = self._known.measures["events"]
            self._measure(side, events, [of.get(record.type, ()) for record in events.records], None)
        elif side.topic == "risk.tiers":
            decisions = self._decisions(side.keys, side.values, side.timestamps_ms)
            # Users of our own topics are pseudonyms, whatever the settings say of others.
            _, unit = self._given.users([record.user for record in decisions.records])
            ids = self._given.id_hash([record.id for record in decisions.records], unit)
            arms = [STRATA.index(record.tier) for record in decisions.records]
            side.observed = tiered(arms, unit, decisions.time_ms, ids)
            side.rejected = decisions.rejected(side.offsets, side.timestamps_ms)

    def dump(self) -> State:
        """Return the definitions, and what was counted."""
        return {"definitions": self._known.write(), "misassigned": self.misassigned}

    def load(self, state: State) -> None:
        """Replace the state."""
        self._known = Known.read(str(state["definitions"]))
        self.misassigned = int(state["misassigned"])  # type: ignore[arg-type]

    def measurements(self) -> Iterable[Measurement]:
        """Return how many definitions there are, exposures off their assignment, and how often caches helped."""
        asked = self._raw.asked + self._given.asked
        missed = self._raw.missed + self._given.missed
        yield Measurement("tidegate_pseudonym_cache_hits_total", asked - missed)
        yield Measurement("tidegate_pseudonym_cache_misses_total", missed)
        yield Measurement("tidegate_experiments", len(self._known.definitions))
        yield Measurement("tidegate_exposures_misassigned_total", self.misassigned)

    def _exposed(self, read: Read[WireExposure], topic: str) -> Observed:
        records = read.records
        n = len(records)
        unit = self._users(topic, [record.user for record in records])
        rows = [self._row(record, time) for record, time in zip(records, read.time_ms.tolist(), strict=True)]
        kinds, whats, arms, phases, pres = zip(*rows, strict=True) if rows else ((),) * 5
        kind = np.array(kinds, np.int64)
        unit[kind == TICKED] = 0
        return Observed(
            kind=kind,
            unit=unit,
            time_ms=read.time_ms,
            id_hash=np.zeros(n, np.uint64),
            what=np.array(whats, np.uint64),
            arm=np.array(arms, np.int64),
            phase=np.array(phases, np.int64),
            value=np.zeros(n),
            pre=np.array(pres, np.float64) + 0.0,  # -0.0 becomes 0.0
        )

    def _row(self, record: WireExposure, time_ms: int) -> tuple[int, int, int, int, float]:
        """Return kind, what, arm, phase and what was before of an exposure, or of a tick."""
        name = record.experiment_id
        if name == TICK:
            return _TICK_ROW
        phase = -1 if record.phase is None else min(record.phase, _MOST_PHASE)
        pre = nan if record.pre_value is None else record.pre_value
        known = self._known.experiment(name)
        if known is None:
            return EXPOSED, self._unknown_keys([name])[0], -1, phase, pre
        arm = known.arms.get(record.variation_id, -1)
        if record.bucket is not None and known.owner(record.bucket, phase, time_ms) != arm:
            self.misassigned += 1
        return EXPOSED, known.key, arm, phase, pre

    def _measure(
        self, side: Side, read: Read[Any], measures: Sequence[Any], pre: Sequence[float | None] | None
    ) -> None:
        records = read.records
        unit = self._users(side.topic, [record.user for record in records])
        raws = [side.values[place] for place in read.places.tolist()]
        side.observed = measured(records, raws, measures, pre, unit, read.time_ms, self._ids(records, unit))
        side.rejected = read.rejected(side.offsets, side.timestamps_ms)

    def _users(self, topic: str, users: Sequence[str]) -> U64:
        """Return 64 bits of users; writable, shape (n,)."""
        given = topic in self.pseudonymizer.pseudonymised_topics
        return (self._given if given else self._raw).users(users)[1].copy()

    def _ids(self, records: Sequence[Any], unit: U64) -> U64:
        """Return 64-bit hashes of (user, id), 0 without an id, shape (n,)."""
        ids: list[str | None] = [record.id for record in records]
        hashes = np.zeros(len(ids), np.uint64)
        having = np.array([at for at, each in enumerate(ids) if each is not None], np.int64)
        if len(having):
            hashes[having] = self._raw.id_hash([each for each in ids if each is not None], unit[having])
        return hashes

    def _define(self, side: Side) -> None:
        applied: dict[str, Definition | None] = {}
        changes: list[Change] = []
        rejected: list[Rejected] = []
        known = dict(self._known.definitions)
        for offset, kafka_ms, key, value in zip(side.offsets, side.timestamps_ms, side.keys, side.values, strict=True):
            found = _definition(key, value, self.config.max_message_bytes)
            if isinstance(found, Fault):
                rejected.append(Rejected(offset, kafka_ms, *found))
                continue
            name, definition = found
            before = known.get(name)
            if definition == before:  # the same once more, or what is not there taken back
                continue
            applied[name] = definition
            if definition is None:
                known.pop(name)
                changes.append(_change(offset, max(kafka_ms, 0), name, None, "taken back"))
            else:
                known[name] = definition
                what = changed_fields(before, definition)
                changes.append(_change(offset, definition.timestamp, name, definition.version, what))
        self._known.apply(applied)
        side.definitions = applied
        side.changes = changes
        side.rejected = rejected


def _definition(key: bytes | None, value: bytes | None, max_bytes: int) -> tuple[str, Definition | None] | Fault:
    """Return an experiment's id and its definition, None for a tombstone."""
    if not key:
        return NO_KEY
    if value is None:
        return key.decode(errors="replace"), None
    if not value:
        return EMPTY_VALUE
    if found := forbidden(key, value, max_bytes):
        return found
    try:
        definition = _decode_definition(value)
    except REFUSED:
        return explain_definition(value)
    if definition.id.encode() != key:
        return OTHER_KEY
    return (definition.id, definition) if is_sound(definition) else UNSOUND


def _change(offset: int, time_ms: int, name: str, version: int | None, what: str) -> Change:
    return Change(offset, time_ms, "experiment", {"experiment": name, "version": version, "changed": what})
