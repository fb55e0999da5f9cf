"""Encode: what a partition's experiments add up to becomes parts; dead letters and changes become records as ever.

A part is whole: it stands for all parts of that experiment and partition before it. So it does no harm if a kill makes
one be written twice, or a later one in its place.
"""

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec
import numpy as np

from operators.accumulate.answers import Accumulated, Totals
from operators.audit import Chain
from operators.batches import F64, Encoded, Outgoing, Span
from operators.dead_letter import dead_letter
from operators.partitioner import murmur2
from operators.side import Applied, Side, audited
from operators.state import Measurement, State
from schemas.part import Part

PARTS: Final = "experiments.parts"
INPUT: Final = "exposures"

_encode = msgspec.json.Encoder().encode


class HasTotals(Protocol):
    """The accumulate stage of the same partition."""

    def changed(self) -> list[str]:
        """Return the experiments whose totals changed since this was last asked; after a restore all of them did."""
        ...

    def totals(self, experiment: str) -> Totals:
        """Return what is known of an experiment; raises KeyError if there is none."""
        ...


class EncodeParts:
    """The last stage, for one partition. Its snapshot says how far the topics were read; the chain's head is elsewhere.

    Attributes:
        flow: name of the flow, written into dead letters.
        fingerprint: empty; there is no state to belong to a configuration.
    """

    def __init__(
        self, flow: str, chain: Chain, of: HasTotals, partitions: int, parts: int, most: int = 200, *, tiers: bool
    ) -> None:
        """Begin.

        Args:
            flow: name of the flow.
            chain: where changes are written.
            of: the accumulate stage of the same partition.
            partitions: how many the input has.
            parts: how many partitions `experiments.parts` has.
            most: parts written at one flush; the others wait their turn.
            tiers: whether risk tiers are read.
        """
        self.flow = flow
        self.fingerprint = ""
        self._chain = chain
        self._of = of
        self._partitions = partitions
        self._parts = parts
        self._most = most
        self._tiers = tiers
        self._offsets: dict[str, int] = {}
        self._waiting: dict[str, None] = {}  # in the order in which they changed; after a restore all did
        self._written = 0

    def process(self, batch: Accumulated) -> Encoded:
        """Return a dead letter for every record that could not be read; a muted batch gives none.

        The configuration, if it is not the one told last, comes before everything.
        """
        span = batch.span
        self._offsets[INPUT] = span.next
        if span.muted:
            return Encoded(span, [])
        letters = [dead_letter(self.flow, batch.topic, span.partition, each) for each in batch.rejected]
        told = self._chain.configuration(_first_ms(batch))
        return Encoded(span, told + letters, self._chain.beside, ("configuration",) * len(told))

    def end_side(self, side: Side) -> Applied:
        """Return dead letters likewise, and an audit record for each definition that is new, changed or taken back."""
        self._offsets[side.topic] = side.next
        self._offsets.setdefault(INPUT, side.at)  # nothing of the input was read yet: a part says that, too
        return audited(self.flow, side, self._chain, side.changes)

    def at_flush(self, partition: int) -> Encoded | None:
        """Return the parts of experiments that changed since they were written, those that wait longest first."""
        for name in self._of.changed():
            self._waiting.setdefault(name)
        records: list[Outgoing] = []
        for name in list(self._waiting):
            if len(records) == self._most:
                break  # whoever was told something asks again, who was told nothing does not
            del self._waiting[name]
            try:
                totals = self._of.totals(name)
            except KeyError:  # taken back meanwhile
                continue
            records.append(self._part(partition, totals))
        if not records:
            return None
        self._written += len(records)
        return Encoded(Span(partition, 0, 0), records, self._chain.beside)  # the caller knows where it stands

    def recall(self, text: str) -> None:
        """Go on with the audit chain from the text committed beside the input offset; "" begins a new one.

        Raises:
            ValueError: the text is not one that an `Encoded.beside` had.
        """
        self._chain.recall(text)

    def dump(self) -> State:
        """Return how far each topic was read."""
        return dict(self._offsets)

    def load(self, state: State) -> None:
        """Replace the state."""
        self._offsets = {topic: int(offset) for topic, offset in state.items()}  # type: ignore[arg-type]

    def measurements(self) -> Iterable[Measurement]:
        """Yield how long the audit chain is, how many parts were written and how many wait."""
        yield Measurement("tidegate_audit_sequence", float(self._chain.sequence))
        yield Measurement("tidegate_parts_written_total", self._written)
        yield Measurement("tidegate_parts_waiting", len(self._waiting))

    def _part(self, partition: int, totals: Totals) -> Outgoing:
        definition = totals.definition
        key = definition.id.encode()
        stream_ms = totals.stream_ms or 0
        part = Part(
            experiment=definition.id,
            version=definition.version,
            partition=partition,
            partitions=self._partitions,
            timestamp=stream_ms,
            offsets=dict(sorted(self._offsets.items())),
            metrics=totals.metrics,
            arms=definition.variations,
            phases=len(definition.phases),
            tiers=self._tiers,
            matured=_bytes(totals.matured),
            matured_low=_bytes(totals.matured_low),
            open=_bytes(totals.open),
            exposed=_bytes(totals.exposed),
            several=_bytes(totals.several),
            first_exposure=totals.first_ms,
            refused=totals.refused,
        )
        to = int(murmur2([key], self._parts)[0])
        return Outgoing(PARTS, key, _encode(part), max(stream_ms, 1), to)


def _first_ms(batch: Accumulated) -> int:
    """Return the time of a batch's first record: its own, or Kafka's where it could not be read."""
    rejected = batch.rejected[:1]
    if rejected and rejected[0].offset == batch.span.first:
        return rejected[0].timestamp_ms
    return int(batch.observations.observed.time_ms[0])


def _bytes(array: F64) -> bytes:
    return np.ascontiguousarray(array, "<f8").tobytes()
