"""Units of one experiment with their attributes and their primary metric, joined from records in bounded memory.

Exposures come first, all of them; then the records the metric is made of. The first exposure of a unit counts, with the
attributes it had then: what is known later may be an effect. Its outcome is the sum over records from its exposure to
the end of the attribution window, or whether there was one; units whose window is open are left out.

At most so many units are kept: when there are more, those whose hash is in the lower half, and so on. Which ones does
not depend on the order of records. Users are kept as hashes, and nothing of them is written.
"""

import math
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import xxhash

from experiments.sums import GREATEST
from operators.batches import F64, U64, Bool
from operators.decode.explain import milliseconds, time_fault
from schemas.definition import Definition, Metric, Scalar
from training.uplift.tables import Attributes

TICK = "tidegate.time"
"""An `experiment_id` that says that time goes on, and nothing else."""

MOST_BYTES = 8_192
"""Longest attributes of a unit, as JSON; longer ones are not known."""

MOST_IDS = 1_000_000
"""Ids of records that are remembered, so that a duplicate changes nothing."""

_NOTHING = msgspec.Raw()
_Moment = int | float | Annotated[datetime, msgspec.Meta(tz=True)]


class _Exposure(msgspec.Struct, gc=False):
    """Of an exposure, what is needed."""

    experiment_id: str
    variation_id: str
    user: str
    timestamp: _Moment
    phase: int | None = None
    attributes: msgspec.Raw = _NOTHING


class _Measured(msgspec.Struct, gc=False):
    """Of a record of the metric, what says whether it counts."""

    user: str
    timestamp: _Moment
    metric: str | None = None
    type: str | None = None
    id: str | None = None


class _Unit(msgspec.Struct, gc=False):
    """What is kept of a unit.

    Attributes:
        time_ms: of its first exposure.
        arm: index into the variations.
        phase: index into the phases.
        attributes: as JSON, or nothing.
        records: how many count.
        total: of their values.
    """

    time_ms: int
    arm: int
    phase: int
    attributes: bytes
    records: int = 0
    total: float = 0.0


class Sample(NamedTuple):
    """Units of a variation and of the control.

    Attributes:
        attributes: of each unit.
        outcome: of each, shape (n,).
        treated: whether it has the variation, shape (n,).
        code: hash of each, shape (n,).
        left_out: units of the two that were assigned in other shares, in other phases.
    """

    attributes: list[Attributes]
    outcome: F64
    treated: Bool
    code: U64
    left_out: int


_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_exposure = msgspec.json.Decoder(_Exposure).decode
_measured = msgspec.json.Decoder(_Measured).decode
_any = msgspec.json.Decoder().decode
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Units:
    """Units of one experiment.

    Args:
        definition: of the experiment.
        most: units that are kept.

    Attributes:
        stream_ms: time of the newest record; 0 without any.
        refused: records that did not count, by reason.
        several: units that were shown more than one variation; the first counts.
        sampled: share of units that are kept.
    """

    def __init__(self, definition: Definition, most: int) -> None:
        self._definition = definition
        self._arms = {name: at for at, name in enumerate(definition.variations)}
        self._window_ms = 1_000 * definition.attribution_window_s
        self._most = most
        self._below = 1 << 64  # hashes under it are kept
        self._units: dict[int, _Unit] = {}
        self._several: set[int] = set()
        self._ids: dict[int, None] = {}
        self.stream_ms = 0
        self.refused: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many units are kept."""
        return len(self._units)

    @property
    def several(self) -> int:
        """Units that were shown more than one variation."""
        return len(self._several)

    @property
    def sampled(self) -> float:
        """Share of units that are kept."""
        return self._below / (1 << 64)

    def expose(self, value: bytes, kafka_ms: int) -> None:
        """Take note of a record of `exposures`.

        Args:
            value: the record.
            kafka_ms: Kafka's time of it: no clock is believed that goes ahead of it.
        """
        try:
            one = _exposure(value)
        except _UNREADABLE:
            self.refused["exposures that cannot be read"] += 1
            return
        if (time_ms := self._time(one.timestamp, kafka_ms)) is None:
            self.refused["exposures that cannot be read"] += 1
            return
        if one.experiment_id != self._definition.id:
            return
        arm, phase = self._arms.get(one.variation_id), self._phase(one.phase, time_ms)
        if arm is None or phase is None:
            self.refused["exposures of no variation or phase of the definition"] += 1
            return
        code = xxhash.xxh3_64_intdigest(one.user.encode())
        if code < self._below:
            self._add(code, _Unit(time_ms, arm, phase, self._attributes(one.attributes)))

    def _add(self, code: int, new: _Unit) -> None:
        old = self._units.get(code)
        if old is not None and old.arm != new.arm:
            self._several.add(code)
        # Of two at one time the one with the lower arm: which was read first depends on partitions.
        if old is None or (new.time_ms, new.arm) < (old.time_ms, old.arm):
            self._units[code] = new
        while len(self._units) > self._most:
            self._below >>= 1
            self._units = {code: unit for code, unit in self._units.items() if code < self._below}
            self._several = {code for code in self._several if code < self._below}

    def _attributes(self, raw: msgspec.Raw) -> bytes:
        found = bytes(raw)
        if len(found) > MOST_BYTES:
            self.refused[f"attributes of more than {MOST_BYTES:,} bytes"] += 1
            return b""
        return found

    def _phase(self, told: int | None, time_ms: int) -> int | None:
        phases = self._definition.phases
        at = told if told is not None else sum(phase.start <= time_ms for phase in phases) - 1
        return at if 0 <= at < len(phases) else None

    def _time(self, moment: Any, kafka_ms: int) -> int | None:
        """Return event time, and let stream time go on; None if it is no time."""
        time_ms = milliseconds(moment) if isinstance(moment, datetime) else moment
        if time_fault(time_ms):
            return None
        self.stream_ms = max(self.stream_ms, min(int(time_ms), kafka_ms))
        return int(time_ms)

    def measure(self, value: bytes, kafka_ms: int) -> None:
        """Take note of a record of the topic that the primary metric is read from; arguments as `expose`."""
        metric = self._definition.primary
        try:
            one = _measured(value)
        except _UNREADABLE:
            self.refused[f"{metric.topic} that cannot be read"] += 1
            return
        if (time_ms := self._time(one.timestamp, kafka_ms)) is None:
            self.refused[f"{metric.topic} that cannot be read"] += 1
            return
        if (one.metric if metric.topic == "metrics" else one.type) != metric.event:
            return
        code = xxhash.xxh3_64_intdigest(one.user.encode())
        unit = self._units.get(code)
        if unit is None or not 0 <= time_ms - unit.time_ms < self._window_ms:
            return
        try:
            number = number_of(value, metric)
        except _UNREADABLE:  # in a part that nothing has looked at so far
            self.refused[f"{metric.topic} that cannot be read"] += 1
            return
        if number is None:
            return
        if math.isnan(number):
            self.refused["values that are no number"] += 1
        elif not one.id or self._is_new(one.user, one.id):
            unit.records += 1
            unit.total += number

    def _is_new(self, user: str, name: str) -> bool:
        key = xxhash.xxh3_64_intdigest(f"{user}\0{name}".encode())
        if key in self._ids:
            return False
        self._ids[key] = None
        if len(self._ids) > MOST_IDS:
            del self._ids[next(iter(self._ids))]
        return True

    def open(self) -> int:
        """Return how many units' windows are open."""
        return sum(not self._over(unit) for unit in self._units.values())

    def _over(self, unit: _Unit) -> bool:
        return unit.time_ms + self._window_ms <= self.stream_ms

    def sample(self, variation: str) -> Sample:
        """Return the units of a variation and of the control, the first variation, whose windows are over.

        Where phases assign in different shares, all units are of the phases that assign as the one with most units
        does: over others, who came when would be taken for an effect.
        """
        arm = self._arms[variation]
        chosen = {code: unit for code, unit in self._units.items() if unit.arm in (0, arm) and self._over(unit)}
        weights = [phase.weights for phase in self._definition.phases]
        shares = [each[arm] / max(each[arm] + each[0], 1e-300) for each in weights]
        units = Counter(round(shares[unit.phase], 9) for unit in chosen.values())
        most = max(sorted(units), key=lambda share: units[share], default=0.0)
        kept = {code: unit for code, unit in sorted(chosen.items()) if round(shares[unit.phase], 9) == most}
        return Sample(
            [_decoded(unit.attributes) for unit in kept.values()],
            np.array([self._outcome(unit) for unit in kept.values()], np.float64),
            np.array([unit.arm == arm for unit in kept.values()], np.bool_),
            np.array(list(kept), np.uint64),
            len(chosen) - len(kept),
        )

    def _outcome(self, unit: _Unit) -> float:
        metric = self._definition.primary
        if metric.kind == "proportion":
            return float(unit.records > 0)
        return unit.total if metric.cap is None else min(unit.total, metric.cap)


def number_of(value: bytes, metric: Metric) -> float | None:
    """Return the number of a record of the metric's event; NaN if it should have one, None if it does not count.

    Args:
        value: the record.
        metric: says where the number is, and which records count.
    """
    path = metric.value or ("value" if metric.topic == "metrics" and metric.kind != "proportion" else None)
    if path is None and not metric.where:
        return 1.0
    record = _any(value)
    if not all(
        any(_same(_at(record, dotted), wanted) for wanted in allowed) for dotted, allowed in metric.where.items()
    ):
        return None
    if path is None or metric.kind == "proportion":
        return 1.0
    found = _at(record, path)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= GREATEST:
        return math.nan
    return float(found)


def _at(record: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _same(found: Any, wanted: Scalar) -> bool:
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


def _decoded(attributes: bytes) -> Attributes:
    try:
        return _object(attributes) if attributes else {}
    except _UNREADABLE:
        return {}
