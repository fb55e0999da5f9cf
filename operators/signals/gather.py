"""Merge: parts of all partitions and descriptions of items in, signals out. The one stage of its flow.

A part stands for all before it of its item and partition, and a record of `items` for what it says, so what follows
from both is exact and the same wherever batches are cut, and after every restart. Signals are written at a flush, those
that are due (`operators.signals.merge`): which of them are written depends on the clock, so they are no part of what is
written again byte for byte; what they say follows from the state.

Each goes to `ranking.signals` once, and into every partition of `ranking.catalogue`. An item that had to go for others
leaves an empty record on both.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np

from operators.audit import Chain
from operators.batches import Encoded, Messages, Outgoing, Rejected, Span
from operators.dead_letter import dead_letter
from operators.decode.explain import Fault
from operators.merge import Merged
from operators.noticed import item_key
from operators.partitioner import murmur2
from operators.parts import Sweep
from operators.side import Applied, Side, applied
from operators.signals.config import CountItemsConfig
from operators.signals.described import ELSEWHERE, ItemsConfig, alike, description_of, fields_of, reader, text_of, told
from operators.signals.merge import MergeItems, MergeItemsConfig
from operators.signals.merge import Signals as Due
from operators.signals.parts import columns_of, read_part, source_of
from operators.signals.written import record, rounded
from operators.state import Measurement, State
from operators.texts import Texts
from schemas.item_part import ItemPart

FLOW: Final = "signals"
ITEMS: Final = "items"
SIGNALS: Final = "ranking.signals"
CATALOGUE: Final = "ranking.catalogue"

_ROUNDS: Final = 3
"""How often at one flush items are looked for that are due; the next one goes on."""

_encode = msgspec.json.Encoder().encode
_names = msgspec.json.Decoder(list[str]).decode


class GatherItems:
    """All items of one partition of `ranking.parts`.

    Attributes:
        fingerprint: of the state's layout and the configuration it depends on.
    """

    def __init__(
        self,
        config: MergeItemsConfig,
        counted: CountItemsConfig,
        items: ItemsConfig,
        partitions: int,
        catalogue: int,
        most: int,
        chain: Chain | None = None,
    ) -> None:
        """Set up the empty state.

        Args:
            config: of the signals.
            counted: settings under which interactions were counted.
            items: what a record of `items` may be.
            partitions: how many partitions `interactions`, `items` and `ranking.parts` have.
            catalogue: how many `ranking.catalogue` has.
            most: items written at one flush; the others wait their turn.
            chain: where the configuration is told; None: nowhere.
        """
        self._counted = counted
        self._items = items
        self._source = source_of(counted, 0, partitions)
        self._catalogue = catalogue
        self._most = most
        self._chain = chain
        self._merge = MergeItems(config, counted, partitions)
        self.fingerprint = self._merge.fingerprint
        self._read = reader(items)
        self._texts = Texts("described", bytes)
        self._complete = np.zeros(partitions, np.int64)  # up to where all items were told, by partition
        self._gone: dict[str, None] = {}  # items that had to go, in the order in which they went
        self._most_gone = config.max_items
        self._written = self._forgotten = self._left = 0

    def process(self, batch: Messages) -> Merged:
        """Take in parts; return a dead letter for each record that is none, and the configuration if it is new.

        A muted batch changes the state and gives none: its records are in Kafka already.
        """
        parts: list[ItemPart] = []
        rejected: list[Rejected] = []
        for key, value, offset, time_ms in zip(
            batch.keys, batch.values, batch.offsets, batch.timestamps_ms, strict=True
        ):
            found = read_part(key, value, self._source)
            if isinstance(found, Fault):
                rejected.append(Rejected(offset, time_ms, found.reason, found.detail))
            else:
                parts.append(found)
        if parts:
            self._take(parts)
        if batch.span.muted:
            return Merged(batch.span, [], "", (), rejected)
        written, kinds = self._configuration(batch)
        written += [dead_letter(FLOW, batch.topic, batch.span.partition, each) for each in rejected]
        return Merged(batch.span, written, self._beside(), kinds, rejected)

    def _take(self, parts: list[ItemPart]) -> None:
        rows, fresh = self._merge.take_parts(columns_of(parts, len(self._counted.windows_s)))
        for part, row, new in zip(parts, rows.tolist(), fresh.tolist(), strict=True):
            if part.item is None:
                self._complete[part.partition] = part.offset
            elif new:
                self._begin(row, part.item)
                self._texts[row] = text_of(part.item)

    def _begin(self, row: int, item: str) -> None:
        """Note that an item takes a row, which another may have to leave."""
        before = self._texts[row]
        if before:
            self._gone[description_of(before).item] = None
            if len(self._gone) > self._most_gone:
                del self._gone[next(iter(self._gone))]
                self._left += 1
        self._gone.pop(item, None)

    def take_side(self, side: Side) -> None:
        """Take in what is said of items, and fill in what could not be read."""
        if side.topic != ITEMS:
            return
        read = self._read(side.keys, side.values, side.timestamps_ms)
        side.rejected = read.rejected(side.offsets, side.timestamps_ms)
        ids = [each.record.item for each in read.records]
        homes = murmur2([item.encode() for item in ids], self._source.partitions).tolist()
        for each, item, home, place, time_ms in zip(
            read.records, ids, homes, read.places.tolist(), read.time_ms.tolist(), strict=True
        ):
            found: bytes | Fault = ELSEWHERE
            before = b""
            key = item_key(item)
            if home == side.partition:
                row = self._merge.find(key)
                before = self._texts[row] if row >= 0 else b""
                found = told(before, item, time_ms, each.fields, self._items.max_item_bytes)
            if isinstance(found, Fault):
                at, stamp = side.offsets[place], side.timestamps_ms[place]
                side.rejected.append(Rejected(at, stamp, found.reason, found.detail))
                continue
            # What is published again as it was, every night perhaps, is not written again.
            row, fresh = self._merge.describe(key, time_ms, differs=not before or not alike(before, found))
            if fresh:
                self._begin(row, item)
            self._texts[row] = found
        side.rejected.sort(key=lambda each: each.offset)

    def end_side(self, side: Side) -> Applied:
        """Return a dead letter for each record that could not be read."""
        return applied(FLOW, side, "" if side.muted else self._beside())

    def at_flush(self, partition: int) -> Encoded | None:
        """Return signals that are due, at most so many as are to be written, and empty ones of items that had to go."""
        written: list[Outgoing] = []
        # One call of `due` looks at so many items only; who says nothing is not asked again, though others may be due.
        # After a restore all items wait, and nearly none is due: the transaction must not wait for all of them.
        for _ in range(min(1 + self._merge.waiting // self._most, _ROUNDS)):
            written += self._signals(self._merge.due(self._most))
            if written:
                break
        gone = list(self._gone)[: self._most]
        for item in gone:
            del self._gone[item]
            written += self._everywhere(item.encode(), None, self._merge.stream_ms)
        self._forgotten += len(gone)
        return Encoded(Span(partition, 0, 0), written, self._beside()) if written else None

    def _signals(self, due: Due) -> list[Outgoing]:
        offsets = {str(number): offset for number, offset in enumerate(self._complete.tolist()) if offset}
        written: list[Outgoing] = []
        for row, version_ms, since_ms, exact, values in zip(
            due.rows.tolist(),
            due.version_ms.tolist(),
            due.since_ms.tolist(),
            due.values.tolist(),
            rounded(due.values).tolist(),
            strict=True,
        ):
            described = description_of(self._texts[row])
            found = record(
                self._counted,
                described.item,
                version_ms,
                exact,
                values,
                since_ms,
                offsets,
                fields_of(described),
            )
            written += self._everywhere(described.item.encode(), _encode(found), version_ms)
        self._written += len(due.rows)
        return written

    def _everywhere(self, key: bytes, value: bytes | None, time_ms: int) -> list[Outgoing]:
        stamp = max(time_ms, 1)  # to librdkafka 0 means now
        copies = [Outgoing(CATALOGUE, key, value, stamp, place) for place in range(self._catalogue)]
        return [Outgoing(SIGNALS, key, value, stamp), *copies]

    def recall(self, text: str) -> None:
        """Go on with the audit chain from the text committed beside the input offset; "" begins a new one.

        Raises:
            ValueError: the text is not one that an `Encoded.beside` had.
        """
        if self._chain is not None:
            self._chain.recall(text)

    def dump(self) -> State:
        """Return a copy of the state."""
        return self._merge.dump() | self._rest()

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the large arrays only the rows that `sweep` wants (see `operators.parts`)."""
        return self._merge.changes(sweep) | self._rest()

    def _rest(self) -> State:
        return self._texts.dump() | {
            "complete": self._complete.copy(),
            "gone": np.frombuffer(_encode(list(self._gone)), np.uint8),
        }

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` or `changes` returned under the same fingerprint.

        Raises:
            ValueError: it cannot be such a state.
        """
        self._merge.load(state)
        self._texts.load(state)
        if len(self._texts) != len(self._merge):
            raise ValueError(f"expected {len(self._merge)} texts, got {len(self._texts)} - at described")
        self._complete[:] = np.asarray(state["complete"])
        try:
            self._gone = dict.fromkeys(_names(np.asarray(state["gone"], np.uint8).tobytes()))
        except msgspec.MsgspecError as error:
            raise ValueError("expected a list of names - at gone") from error

    def measurements(self) -> Iterable[Measurement]:
        """Return what is held, what was written, and what waits."""
        yield from self._merge.measurements()
        yield Measurement("tidegate_signals_written_total", self._written)
        yield Measurement("tidegate_signals_forgotten_total", self._forgotten, {"reason": "taken"})
        yield Measurement("tidegate_signals_forgotten_total", self._left, {"reason": "left"})
        if self._chain is not None:
            yield Measurement("tidegate_audit_sequence", float(self._chain.sequence))

    def _configuration(self, batch: Messages) -> tuple[list[Outgoing], tuple[str, ...]]:
        told_ = [] if self._chain is None or not batch.values else self._chain.configuration(batch.timestamps_ms[0])
        return told_, ("configuration",) * len(told_)

    def _beside(self) -> str:
        return "" if self._chain is None else self._chain.beside
