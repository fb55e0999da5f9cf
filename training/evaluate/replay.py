"""Replay: a file's events through the stages of the flow, without a broker.

Events are divided over partitions as publishers do, by murmur2 of the user, or lie in one already; each partition has
stages of its own, fresh ones, and its events pass them in the order of the file, in batches as in the flow. So what
comes out is what the flow would have decided, event by event, with nothing known that came later. `encode` runs too, as
it does in the flow; its records are counted and thrown away.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

import operators
from operators.batches import F64, I64, U8, Bool, Encoded, Messages, Span, Tiered
from operators.partitioner import murmur2
from operators.side import TakesSides
from operators.state import Stage
from training.evaluate.late import LateLabels

TOPIC = "events"
CHUNK = 20_000
"""Events read before each partition gets its share: results do not depend on it."""

Make = Callable[[int], Stage[Any, Any]]


class Line(NamedTuple):
    """One event to be replayed.

    Attributes:
        key: the user.
        value: its JSON.
        timestamp_ms: Kafka's time of it, epoch milliseconds.
        label: `fraud` or `legit`, empty where nothing is said.
        partition: where it is to be replayed; -1 to go by the key.
    """

    key: bytes
    value: bytes
    timestamp_ms: int
    label: str = ""
    partition: int = -1


class Replayed(NamedTuple):
    """What the flow said, in the order of the file; n decided events, m read.

    Attributes:
        line: which of the m events read each row is, ascending, shape (n,).
        partition: shape (n,).
        user: number of the event's user, by first appearance, shape (n,).
        time_ms: event time, shape (n,).
        forest: shape (n,); NaN while warming, as the next three.
        evidence: nats, shape (n,).
        score: their combination, shape (n,).
        tail: calibrated tail probability, shape (n,).
        tier: codes into `operators.batches.TIERS`, shape (n,).
        flags: bits of `operators.batches`, shape (n,).
        raw: features in their units, shape (n, features), rounded to 32 bits, which is what keeps a million events
            small enough.
        unit: the same mapped into [0, 1], shape (n, features).
        read: m.
        rejected: events that `decode` refused, by reason.
        audited: audit records by kind, over all partitions.
        probability: of fraud, NaN where there was none, shape (n,).
    """

    line: I64
    partition: I64
    user: I64
    time_ms: I64
    forest: F64
    evidence: F64
    score: F64
    tail: F64
    tier: U8
    flags: U8
    raw: np.ndarray[Any, np.dtype[np.float32]]
    unit: np.ndarray[Any, np.dtype[np.float32]]
    read: int
    rejected: dict[str, int]
    audited: dict[str, int]
    probability: F64 | None = None

    @property
    def known(self) -> Bool:
        """Which events were decided by warm models, shape (n,)."""
        known: Bool = self.tier > 0
        return known


class Replay:
    """One run over one stream of events.

    Args:
        make: verb -> factory of that stage for a partition; every verb of `operators.__all__`.
        partitions: at least 1.
        batch_max: most events in one batch.
        topic: full name of the topic that the events lie in, or would.
        label_delay_ms: event time after which labels come; None for never.
    """

    def __init__(
        self,
        make: dict[str, Make],
        partitions: int,
        batch_max: int,
        topic: str = TOPIC,
        label_delay_ms: int | None = None,
    ) -> None:
        self._topic = topic
        self._partitions = partitions
        self._batch_max = batch_max
        *front, last = operators.__all__
        self._front = [[make[verb](partition) for verb in front] for partition in range(partitions)]
        self._last = [make[last](partition) for partition in range(partitions)]
        self._users: dict[str, int] = {}
        self._kept: list[tuple[np.ndarray[Any, Any], ...]] = []
        self._rejected: Counter[str] = Counter()
        self._audited: Counter[str] = Counter()
        self._read = 0
        delay = label_delay_ms
        self._late = [] if delay is None else [LateLabels(partition, delay) for partition in range(partitions)]

    def run(self, lines: Iterable[Line], progress: Callable[[int], None] = lambda _read: None) -> Replayed:
        """Replay all events.

        Args:
            lines: in the order in which they were published.
            progress: is told how many have been read.
        """
        chunk: list[Line] = []
        for line in lines:
            chunk.append(line)
            if len(chunk) == CHUNK:
                self._take(chunk)
                chunk = []
                progress(self._read)
        self._take(chunk)
        progress(self._read)
        return self._result()

    def _take(self, chunk: list[Line]) -> None:
        if not chunk:
            return
        if chunk[0].partition >= 0:
            place = np.array([line.partition for line in chunk])
        else:
            place = murmur2([line.key for line in chunk], self._partitions)
        for partition in range(self._partitions):
            mine = np.flatnonzero(place == partition)
            if not self._late:
                self._batches(partition, chunk, mine)
                continue
            times = np.array([chunk[row].timestamp_ms for row in mine.tolist()], np.int64)
            for tick, first, end in self._late[partition].stretches(times):
                self._label(partition, tick, int(mine[first]) + self._read)
                self._batches(partition, chunk, mine[first:end])
        self._read += len(chunk)

    def _batches(self, partition: int, chunk: list[Line], rows: I64) -> None:
        for start in range(0, len(rows), self._batch_max):
            self._batch(partition, chunk, rows[start : start + self._batch_max])
        for line in (chunk[row] for row in rows.tolist()) if self._late else ():
            if line.label:
                self._late[partition].note(line.key, line.value, line.label, line.timestamp_ms)

    def _label(self, partition: int, tick: int, at: int) -> None:
        side = self._late[partition].arrived(tick, at)
        if side is None:
            return
        for stage in self._front[partition]:
            if isinstance(stage, TakesSides):
                stage.take_side(side)

    def _batch(self, partition: int, chunk: list[Line], rows: I64) -> None:
        # An event's place in the file serves as its offset: it ascends within a partition, with gaps, as in Kafka.
        offsets = (rows + self._read).tolist()
        chosen = [chunk[row] for row in rows.tolist()]
        batch: Any = Messages(
            Span(partition, offsets[0], offsets[-1] + 1),
            self._topic,
            [line.value for line in chosen],
            [line.key for line in chosen],
            offsets,
            [line.timestamp_ms for line in chosen],
        )
        for stage in self._front[partition]:
            batch = stage.process(batch)
        self._keep(batch)
        written: Encoded = self._last[partition].process(batch)
        self._audited.update(written.audited)

    def _keep(self, batch: Tiered) -> None:
        calibrated = batch.calibrated
        scored = calibrated.scored
        featured = scored.featured
        decoded = featured.decoded
        self._rejected.update(one.reason for one in decoded.rejected)
        if not decoded.events:
            return
        numbers = [self._users.setdefault(user, len(self._users)) for user in decoded.users]
        self._kept.append(
            (
                decoded.offsets,
                np.full(decoded.events, decoded.span.partition),
                np.array(numbers, np.int64),
                decoded.time_ms,
                scored.forest,
                scored.evidence,
                scored.score,
                calibrated.tail,
                batch.tier,
                featured.flags,
                featured.raw.astype(np.float32),
                featured.features.astype(np.float32),
                np.full(decoded.events, np.nan) if calibrated.probability is None else calibrated.probability,
            )
        )

    def _result(self) -> Replayed:
        if not self._kept:
            why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self._rejected.items()))
            raise ValueError(f"expected events that can be decided on, got none{f' ({why})' if why else ''}")
        order = np.argsort(np.concatenate([part[0] for part in self._kept]), kind="stable")
        columns: list[Any] = [np.concatenate(column)[order] for column in zip(*self._kept, strict=True)]
        self._kept.clear()
        # Numbered anew, by first appearance in the file: before, the numbers told where the chunks were cut.
        _, first, number = np.unique(columns[2], return_index=True, return_inverse=True)
        columns[2] = np.argsort(np.argsort(first))[number]
        counts = dict(sorted(self._rejected.items())), dict(sorted(self._audited.items()))
        *columns, probability = columns
        return Replayed(*columns, self._read, *counts, probability)  # type: ignore[call-arg]  # in their order
