"""Typed records out of raw ones: every one is read, or has a fault, and none stops the others."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import compress, filterfalse
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np

from operators.batches import I64, Bool, Rejected
from operators.decode.explain import (
    DEEPEST,
    EMPTY_VALUE,
    FROM_THE_FUTURE,
    MISSING_KEY,
    NOT_JSON,
    TOO_LARGE,
    Fault,
    depth,
    is_utf8,
    last_counts,
    milliseconds,
    text_time,
    time_fault,
    unreadable,
)
from schemas.event import LAST_TIME_MS

REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for a record that it cannot read."""


class Stamped(Protocol):
    """A record as it is read: times parsed at once where all strings are RFC 3339, numbers as they stand."""

    @property
    def timestamp(self) -> int | float | str | datetime:
        """When it was; a string may be digits too."""
        ...


Record = TypeVar("Record", bound=Stamped)


class Read(NamedTuple, Generic[Record]):
    """The records of one batch that could be read, n of them, in its order.

    Attributes:
        records: they.
        places: which of the batch they are, ascending, shape (n,).
        time_ms: when they were, epoch milliseconds, shape (n,).
        faults: what is wrong with the others, by place.
    """

    records: list[Record]
    places: I64
    time_ms: I64
    faults: dict[int, Fault]

    def rejected(self, offsets: Sequence[int], timestamps_ms: Sequence[int]) -> list[Rejected]:
        """Return the others, given the offsets and Kafka timestamps of the whole batch."""
        return [
            Rejected(offsets[place], timestamps_ms[place], found.reason, found.detail)
            for place, found in sorted(self.faults.items())
        ]


class Reader(Generic[Record]):
    """Reads records of one form."""

    def __init__(
        self,
        decode: Callable[[bytes], Record],
        explain: Callable[[bytes], Fault],
        max_bytes: int,
        skew_ms: int,
        no_key: Fault = MISSING_KEY,
    ) -> None:
        """Set up.

        Args:
            decode: reads one record, or raises one of `REFUSED`.
            explain: says why it did.
            max_bytes: larger records are not parsed.
            skew_ms: how far a record's time may lie beyond its Kafka timestamp.
            no_key: what is wrong with a record without a key.
        """
        self._no_key = no_key
        self._decode = decode
        self._explain = explain
        self._max_bytes = max_bytes
        self._skew_ms = skew_ms
        # A record with more than DEEPEST levels has at least that many opening and as many closing brackets.
        self._harmless_bytes = min(max_bytes, 2 * DEEPEST)
        depth(b"{}")  # compiled now, not at the first bad record

    def __call__(
        self, keys: Sequence[bytes | None], values: Sequence[bytes | None], timestamps_ms: Sequence[int]
    ) -> Read[Record]:
        """Read a batch, given in columns; `timestamps_ms` are Kafka's own."""
        faults: dict[int, Fault] = {}
        records, places = self._parse(self._screen(keys, values, faults), faults)
        times = _times(records)
        kafka_ms = np.array(timestamps_ms, dtype=np.int64)[places]
        good = self._plausible(times, kafka_ms)
        if not good.all():
            for at in np.flatnonzero(~good):
                found = _time(records[at].timestamp)
                faults[int(places[at])] = found if isinstance(found, Fault) else FROM_THE_FUTURE
            records, places, times = list(compress(records, good.tolist())), places[good], times[good]
        return Read(records, places, times, faults)

    def _screen(
        self, keys: Sequence[bytes | None], values: Sequence[bytes | None], faults: dict[int, Fault]
    ) -> Sequence[bytes | None]:
        """Return the values to be parsed, None in place of those that must not be."""
        small = all(values) and max(map(len, filter(None, values)), default=0) <= self._harmless_bytes
        # The decoder does not look at the bytes of texts that it skips; nearly all records are ASCII.
        if small and all(keys) and all(map(is_utf8, filterfalse(bytes.isascii, values))):  # type: ignore[arg-type]
            return values
        for place, (key, value) in enumerate(zip(keys, values, strict=True)):
            found = forbidden(key, value, self._max_bytes, self._no_key)
            if found is not None:
                faults[place] = found
        return [None if place in faults else value for place, value in enumerate(values)]

    def _plausible(self, times: I64, kafka_ms: I64) -> Bool:
        """Return which times are possible and not from the future.

        A negative Kafka timestamp means that the record has none: nothing can be held against it then.
        """
        good: Bool = (times >= 0) & (times <= LAST_TIME_MS) & ((times - self._skew_ms <= kafka_ms) | (kafka_ms < 0))
        return good

    def _parse(self, values: Sequence[bytes | None], faults: dict[int, Fault]) -> tuple[list[Record], I64]:
        """Return the records that can be read, and their places among `values`; the others' faults are added."""
        found: list[Record | None] = []
        rest = iter(values)
        while True:
            try:
                # One call for as many as go well. What `extend` took before an error stays, and `rest` stands behind
                # the value that failed.
                found.extend(map(self._decode, rest))  # type: ignore[arg-type]  # None fails, as it should
                break
            except (*REFUSED, TypeError):
                place = len(found)
                value = values[place]
                found.append(None if value is None else self._second_look(value, place, faults))
        if not faults:
            return found, np.arange(len(found))  # type: ignore[return-value]  # no None is left in it
        kept = [(place, record) for place, record in enumerate(found) if record is not None]
        return [record for _, record in kept], np.array([place for place, _ in kept], dtype=np.int64)

    def _second_look(self, value: bytes, place: int, faults: dict[int, Fault]) -> Record | None:
        """Return a record that the decoder refused for a field that a later one of its name replaces."""
        found = self._explain(value)
        if found is NOT_JSON:
            try:
                return self._decode(last_counts(value))
            except REFUSED:
                pass
        faults[place] = found
        return None


def forbidden(key: bytes | None, value: bytes | None, max_bytes: int, no_key: Fault = MISSING_KEY) -> Fault | None:
    """Return why a value must not be parsed; None if it may."""
    if not value:
        return EMPTY_VALUE
    if not key:
        return no_key
    if len(value) > max_bytes:
        return TOO_LARGE
    return unreadable(value)


def _times(records: Iterable[Stamped]) -> I64:
    """Return times, shape (n,); below 0 or above `LAST_TIME_MS` where they are impossible."""
    stamps = [record.timestamp for record in records]
    try:
        return np.array(array("q", stamps))  # type: ignore[type-var]  # refuses all that is not an integer
    except (TypeError, OverflowError):
        found = _written(stamps)
    if found is None:
        times = map(_time, stamps)
        found = np.array([-1 if isinstance(each, Fault) else each for each in times], dtype=np.int64)
    return found


def _written(stamps: Sequence[object]) -> I64 | None:
    """Return times that are all digits in strings; None if there is anything else."""
    try:
        whole = "".join(stamps)  # type: ignore[arg-type]  # refuses all that is not a string
        if whole.isascii() and whole.isdigit():
            return np.array(array("q", map(int, stamps)))  # type: ignore[arg-type]  # empty or too long: refused
    except (TypeError, ValueError, OverflowError):
        pass
    return None


def _time(stamp: float | str | datetime) -> int | Fault:
    """Return epoch milliseconds, or what is wrong with a time."""
    if isinstance(stamp, str):
        return text_time(stamp)
    number: float = milliseconds(stamp) if isinstance(stamp, datetime) else stamp
    return time_fault(number) or int(number)
