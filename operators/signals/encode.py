"""Encode: what a partition's items add up to becomes parts; dead letters become records as ever.

A part is whole: it stands for all parts of that item and partition before it. So it does no harm if a kill makes one be
written twice, or a later one in its place. The sums of all items together, which shares and smoothed rates are held
against, go to every partition of `ranking.parts`, after the items: they say up to where all items have been told.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from operators.audit import Chain
from operators.batches import U64, Encoded, Outgoing, Span, first_ms
from operators.dead_letter import dead_letter
from operators.side import Applied, Side, applied
from operators.signals.parts import Source, to_all, to_partitions, written
from operators.signals.rows import Counted
from operators.signals.totals import ItemTotals
from operators.state import Measurement, State

FLOW: Final = "interactions"
INPUT: Final = "interactions"


class HasItems(Protocol):
    """The count stage of the same partition."""

    @property
    def waiting(self) -> int:
        """Items whose sums changed and were not asked for yet."""
        ...

    def changed(self, most: int | None = None) -> U64:
        """Return so many items whose sums changed since they were last asked for; after a restore all of them did."""
        ...

    def totals(self, items: U64) -> ItemTotals:
        """Return what is known of some items."""
        ...

    def ids(self, items: U64) -> list[bytes]:
        """Return their ids."""
        ...

    def since(self, items: U64) -> list[int]:
        """Return when each was first heard of, epoch milliseconds."""
        ...


class EncodeItems:
    """The last stage, for one partition. Its snapshot says how far the topic was read; the chain's head is elsewhere.

    Attributes:
        fingerprint: empty; there is no state to belong to a configuration.
    """

    def __init__(self, chain: Chain, of: HasItems, source: Source, parts: int, most: int) -> None:
        """Begin.

        Args:
            chain: where the configuration is told.
            of: the count stage of the same partition.
            source: what all parts have in common.
            parts: how many partitions `ranking.parts` has.
            most: items written at one flush; the others wait their turn.
        """
        self.fingerprint = ""
        self._chain = chain
        self._of = of
        self._source = source
        self._parts = parts
        self._most = most
        self._next = self._complete = 0
        self._written = 0
        self._everything: tuple[int, int, bytes] | None = None  # as it was written last

    def process(self, batch: Counted) -> Encoded:
        """Return a dead letter for every record that could not be read; a muted batch gives none.

        The configuration, if it is not the one told last, comes before everything.
        """
        span = batch.span
        self._next = span.next
        if span.muted:
            return Encoded(span, [])
        records = [dead_letter(FLOW, batch.interactions.topic, span.partition, each) for each in batch.rejected]
        time_ms = first_ms(batch.interactions.offsets, batch.interactions.time_ms, batch.rejected)
        told = [] if time_ms is None else self._chain.configuration(time_ms)
        return Encoded(span, told + records, self._chain.beside, ("configuration",) * len(told))

    def end_side(self, side: Side) -> Applied:
        """Return a dead letter for every decision that could not be read."""
        return applied(FLOW, side, self._chain.beside)

    def at_flush(self, partition: int) -> Encoded | None:
        """Return the parts of items that changed since they were written, and of all items together."""
        of = self._of
        totals = of.totals(of.changed(self._most))
        records: list[Outgoing] = []
        if len(totals.items):
            ids = of.ids(totals.items)
            values = written(self._source, totals.stream_ms, self._next, ids, of.since(totals.items), totals.sums)
            records = to_partitions(ids, values, self._parts, totals.stream_ms)
        if of.waiting == 0:
            self._complete = self._next
        records += self._all(totals)
        self._written += len(records)
        return Encoded(Span(partition, 0, 0), records, self._chain.beside) if records else None

    def _all(self, totals: ItemTotals) -> Sequence[Outgoing]:
        """Return the part of all items together, if anything about it is new."""
        if totals.stream_ms == 0:  # nothing that counts has come
            return ()
        now = totals.stream_ms, self._complete, totals.everything.sums.tobytes()
        if now == self._everything:
            return ()
        self._everything = now
        [value] = written(self._source, totals.stream_ms, self._complete, [None], [0], totals.everything)
        return to_all(value, self._parts, totals.stream_ms)

    def recall(self, text: str) -> None:
        """Go on with the audit chain from the text committed beside the input offset; "" begins a new one.

        Raises:
            ValueError: the text is not one that an `Encoded.beside` had.
        """
        self._chain.recall(text)

    def dump(self) -> State:
        """Return how far the topic was read, and up to where all items were told."""
        return {"next": self._next, "complete": self._complete}

    def load(self, state: State) -> None:
        """Replace the state."""
        self._next, self._complete = (int(str(state[name])) for name in ("next", "complete"))

    def measurements(self) -> Iterable[Measurement]:
        """Yield how long the audit chain is, how many parts were written and how many items wait."""
        yield Measurement("tidegate_audit_sequence", float(self._chain.sequence))
        yield Measurement("tidegate_parts_written_total", self._written)
        yield Measurement("tidegate_parts_waiting", self._of.waiting)
