"""Decode: raw records of one partition in, events as columns out; every record leaves by exactly one door."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import compress, filterfalse
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np
from annotated_types import Ge, Le

from operators.batches import I64, Bool, Decoded, Messages, Rejected
from operators.decode import labels
from operators.decode.explain import (
    DEEPEST,
    EMPTY_VALUE,
    FROM_THE_FUTURE,
    MISSING_KEY,
    NOT_JSON,
    TOO_LARGE,
    Fault,
    depth,
    explain,
    is_utf8,
    last_counts,
    milliseconds,
    time_fault,
    unreadable,
)
from operators.decode.identifiers import Identifiers
from operators.decode.own import OwnColumns
from operators.decode.pseudonym import Pseudonymizer
from operators.own_feature import OwnFeature
from operators.side import Side
from operators.state import Measurement, State
from schemas.event import LAST_TIME_MS, Event

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


class _Wire(Event, frozen=True, kw_only=True, gc=False):
    """`Event` as it is read: times parsed at once, whole numbers also when written `1.7e12`, `fields` not built."""

    timestamp: int | float | Annotated[datetime, msgspec.Meta(tz=True)]  # type: ignore[assignment]
    fields: dict[str, msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Wire).decode


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
        # A record with more than DEEPEST levels has at least that many opening and as many closing brackets.
        self._harmless_bytes = min(config.max_message_bytes, 2 * DEEPEST)
        depth(b"{}")  # compiled now, not at the first bad record

    def process(self, batch: Messages) -> Decoded:
        """Answer a batch: for every record an event or a rejection, both in the order of the input."""
        faults: dict[int, Fault] = {}
        events, places = _parse(self._screen(batch, faults), faults)
        times = _times(events)
        kafka_ms = np.array(batch.timestamps_ms, dtype=np.int64)[places]
        good = self._plausible(times, kafka_ms)
        if not good.all():
            for at in np.flatnonzero(~good):
                faults[int(places[at])] = time_fault(_number(events[at].timestamp)) or FROM_THE_FUTURE
            events, places, times = list(compress(events, good.tolist())), places[good], times[good]
        given = batch.topic in self.pseudonymizer.pseudonymised_topics
        identifiers, own = (self._given, self._own_given) if given else (self._raw, self._own)
        users, user = identifiers.users([event.user for event in events])
        ids = [event.id for event in events]
        amount = np.array([event.amount for event in events], dtype=np.float64)  # None becomes NaN
        attributes = identifiers.attributes(events)
        return Decoded(
            span=batch.span,
            topic=batch.topic,
            offsets=np.array(batch.offsets, dtype=np.int64)[places],
            time_ms=times,
            ids=ids,
            users=users,
            user=user,
            id_hash=identifiers.id_hash(ids, user),
            attributes=attributes,
            amount=amount + 0.0,  # -0.0 becomes 0.0
            rejected=[
                Rejected(batch.offsets[place], batch.timestamps_ms[place], found.reason, found.detail)
                for place, found in sorted(faults.items())
            ],
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

    def _screen(self, batch: Messages, faults: dict[int, Fault]) -> list[bytes | None]:
        """Return the values to be parsed, None in place of those that must not be."""
        values = batch.values
        small = all(values) and max(map(len, filter(None, values)), default=0) <= self._harmless_bytes
        # The decoder does not look at the bytes of texts that it skips; nearly all records are ASCII.
        if small and all(batch.keys) and all(map(is_utf8, filterfalse(bytes.isascii, values))):  # type: ignore[arg-type]
            return values
        for place, (key, value) in enumerate(zip(batch.keys, values, strict=True)):
            found = self._forbidden(key, value)
            if found is not None:
                faults[place] = found
        return [None if place in faults else value for place, value in enumerate(values)]

    def _forbidden(self, key: bytes | None, value: bytes | None) -> Fault | None:
        if not value:
            return EMPTY_VALUE
        if not key:
            return MISSING_KEY
        if len(value) > self.config.max_message_bytes:
            return TOO_LARGE
        return unreadable(value)

    def _plausible(self, times: I64, kafka_ms: I64) -> Bool:
        """Return which times are possible and not from the future.

        A negative Kafka timestamp means that the record has none: nothing can be held against it then.
        """
        good: Bool = (times >= 0) & (times <= LAST_TIME_MS) & ((times - self._skew_ms <= kafka_ms) | (kafka_ms < 0))
        return good


def _parse(values: list[bytes | None], faults: dict[int, Fault]) -> tuple[list[_Wire], I64]:
    """Return the records that are events, and their places among `values`; the others' faults are added."""
    found: list[_Wire | None] = []
    rest = iter(values)
    while True:
        try:
            # One call for as many as go well. What `extend` took before an error stays, and `rest` stands behind the
            # value that failed.
            found.extend(map(_decode, rest))  # type: ignore[arg-type]  # None fails, as it should
            break
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
            place = len(found)
            value = values[place]
            found.append(None if value is None else _second_look(value, place, faults))
    if not faults:
        return found, np.arange(len(found))  # type: ignore[return-value]  # no None is left in it
    events = [event for event in found if event is not None]
    return events, np.array([place for place, event in enumerate(found) if event is not None], dtype=np.int64)


def _second_look(value: bytes, place: int, faults: dict[int, Fault]) -> _Wire | None:
    """Return the event of a record that the decoder refused for a field that a later one of its name replaces."""
    found = explain(value)
    if found is NOT_JSON:
        try:
            return _decode(last_counts(value))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    faults[place] = found
    return None


def _times(events: list[_Wire]) -> I64:
    """Return event times, shape (n,); below 0 or above `LAST_TIME_MS` where they are impossible."""
    stamps = [event.timestamp for event in events]
    try:
        return np.array(array("q", stamps))  # type: ignore[type-var]  # refuses all that is not an integer
    except (TypeError, OverflowError):
        values = map(_number, stamps)
        return np.array([-1 if time_fault(value) else int(value) for value in values], dtype=np.int64)


def _number(stamp: float | datetime) -> float:
    return milliseconds(stamp) if isinstance(stamp, datetime) else stamp
