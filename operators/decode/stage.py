"""Decode: raw records of one partition in, events as columns out; every record leaves by exactly one door."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np
from annotated_types import Ge, Le

from operators.batches import Decoded, Messages
from operators.decode import labels
from operators.decode.explain import explain
from operators.decode.identifiers import Identifiers
from operators.decode.own import OwnColumns
from operators.decode.pseudonym import Pseudonymizer
from operators.decode.reading import Reader
from operators.decode.wire import WireEvent
from operators.own_feature import OwnFeature
from operators.side import Side
from operators.state import Measurement, State

_LAYOUT: Final = 1


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """What a record may be.

    Attributes:
        max_message_bytes: larger records are not parsed; bytes, >= 1.
        max_clock_skew_s: how far an event's time may lie beyond its record's Kafka timestamp; seconds, 0 to one year.
        cache_entries: pseudonyms remembered per partition and kind of identifier (user, ip, device, counterparty),
            each a few hundred bytes; >= 2. Changes speed, never results.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_message_bytes: Annotated[int, Ge(1)] = 1_048_576
    max_clock_skew_s: Annotated[float, Ge(0), Le(31_536_000)] = 300.0
    cache_entries: Annotated[int, Ge(2)] = 65_536


_decode = msgspec.json.Decoder(WireEvent).decode


class Decode:
    """The first stage, for one partition. It keeps nothing that a result depends on: its snapshot is empty.

    Attributes:
        config: what a record may be.
        pseudonymizer: makes the pseudonyms.
        fingerprint: changes with the pseudonym key: the state of later stages is about other users then.
    """

    def __init__(self, config: DecodeConfig, pseudonymizer: Pseudonymizer, features: Sequence[OwnFeature] = ()) -> None:
        """Set up the caches.

        Args:
            config: what a record may be.
            pseudonymizer: makes the pseudonyms.
            features: whose values are read, as declared.
        """
        self.config = config
        self.pseudonymizer = pseudonymizer
        self.fingerprint = blake2b(f"{_LAYOUT} {pseudonymizer.fingerprint}".encode(), digest_size=8).hexdigest()
        self._raw = Identifiers(pseudonymizer, config.cache_entries, given=False)
        self._given = Identifiers(pseudonymizer, config.cache_entries, given=True)
        self._own = self._own_given = None
        if features:
            self._own = OwnColumns(features, pseudonymizer, config.cache_entries, given=False)
            self._own_given = OwnColumns(features, pseudonymizer, config.cache_entries, given=True)
        self._skew_ms = round(config.max_clock_skew_s * 1000)
        self._read = Reader(_decode, explain, config.max_message_bytes, self._skew_ms)

    def process(self, batch: Messages) -> Decoded:
        """Answer a batch: for every record an event or a rejection, both in the order of the input."""
        found = self._read(batch.keys, batch.values, batch.timestamps_ms)
        events = found.records
        given = batch.topic in self.pseudonymizer.pseudonymised_topics
        identifiers, own = (self._given, self._own_given) if given else (self._raw, self._own)
        users, user = identifiers.users([event.user for event in events])
        ids = [event.id for event in events]
        amount = np.array([event.amount for event in events], dtype=np.float64)  # None becomes NaN
        attributes = identifiers.attributes(events)
        return Decoded(
            span=batch.span,
            topic=batch.topic,
            offsets=np.array(batch.offsets, dtype=np.int64)[found.places],
            time_ms=found.time_ms,
            ids=ids,
            users=users,
            user=user,
            id_hash=identifiers.id_hash(ids, user),
            attributes=attributes,
            amount=amount + 0.0,  # -0.0 becomes 0.0
            rejected=found.rejected(batch.offsets, batch.timestamps_ms),
            own=own.read(events, amount, attributes) if own else None,
        )

    def take_side(self, side: Side) -> None:
        """Answer records of `labels`: for every record a label or a rejection. Other topics say nothing here."""
        if side.topic == labels.TOPIC:
            given = labels.TOPIC in self.pseudonymizer.pseudonymised_topics
            identifiers = self._given if given else self._raw
            labels.read(side, identifiers, self.config.max_message_bytes, self._skew_ms)

    def dump(self) -> State:
        """Return nothing: there is no state."""
        return {}

    def load(self, state: State) -> None:
        """Take nothing."""

    def measurements(self) -> Iterable[Measurement]:
        """Return how often the pseudonym caches helped."""
        asked = self._raw.asked + self._given.asked
        missed = self._raw.missed + self._given.missed
        yield Measurement("tidegate_pseudonym_cache_hits_total", asked - missed)
        yield Measurement("tidegate_pseudonym_cache_misses_total", missed)
