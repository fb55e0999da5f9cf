"""The values that declared features follow, read out of events: numbers as numbers, all else as 64 keyed bits.

A path leads to one value of an event's `fields` or to one of its own columns. What is not of the kind that the
operation needs is absent, never a dead letter: a text where a number is wanted, an array or object, null, an empty
text, a number that a double cannot hold, and a path that leads nowhere. For `distinct` and `entropy` numbers are values
too: 1 and 1.0 are one value, 1 and "1" are two.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from operators.batches import ATTRIBUTES, F64, U64, Bool, Own
from operators.decode.pseudonym import Memo, Pseudonymizer
from operators.own_feature import DISCRETE, NUMERIC, OwnFeature
from schemas.event import Event

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_NOT_A_NUMBER: Final = frozenset(b'"{[tfn')


class OwnColumns:
    """Reads the columns of the declared features of one kind of topic."""

    def __init__(
        self, features: Sequence[OwnFeature], pseudonymizer: Pseudonymizer, cache_entries: int, *, given: bool
    ) -> None:
        """Set up the caches.

        Args:
            features: as declared, at least one.
            pseudonymizer: makes the 64 bits.
            cache_entries: results remembered per kind of value, >= 2.
            given: whether identifiers are pseudonyms already; values in `fields` are hashed all the same.
        """
        as_given = pseudonymizer.attribute_as_given
        session = as_given if given else pseudonymizer.attribute("session")
        self._features = features
        self._where = [np.array([pseudonymizer.bits(kind) for kind in each.where], np.uint64) for each in features]
        self._texts = {
            name: Memo(session if name == "session" else as_given, cache_entries)
            for name in ("country", "currency", "session")
        }
        self._values = Memo(_hashed(pseudonymizer), cache_entries)

    def read(self, events: Sequence[Event], amount: F64, attributes: U64) -> Own:
        """Return what each declared feature follows.

        Args:
            events: of the batch, their `fields` not parsed.
            amount: shape (n,); NaN where absent.
            attributes: as in `Decoded`, shape (n, 4).
        """
        shape = (len(events), len(self._features))
        numbers, values = np.full(shape, np.nan), np.zeros(shape, np.uint64)
        raws: dict[str, list[bytes | None]] = {}
        for k, feature in enumerate(self._features):
            of = feature.of
            if of is not None and of.startswith("fields.") and of not in raws:
                raws[of] = _at(events, of.split(".")[1:])
            here = self._followed(k, attributes[:, 3])
            if feature.operation in NUMERIC:
                found = amount if of == "amount" else np.array([_number(raw) for raw in raws[str(of)]], np.float64)
                numbers[here, k] = found[here] + 0.0  # -0.0 becomes 0.0
                continue
            bits = None if of is None else self._bits(of, raws.get(of, ()), events, amount, attributes)
            if feature.operation in DISCRETE and bits is not None:
                values[here, k] = bits[here]
            else:
                numbers[here if bits is None else here & (bits != 0), k] = 1.0
        return Own(numbers, values)

    def _followed(self, k: int, kinds: U64) -> Bool:
        """Return which events are of a type that feature k follows, given the 64 bits of each event's type."""
        if not len(self._where[k]):
            return np.ones(len(kinds), np.bool_)
        return np.isin(kinds, self._where[k])

    def _bits(
        self, of: str, raws: Sequence[bytes | None], events: Sequence[Event], amount: F64, attributes: U64
    ) -> U64:
        """Return the 64 bits of each event's value at a path, 0 where absent."""
        if of == "amount":  # a number is no secret; multiplying keeps different amounts different
            odd = np.uint64(0x9E3779B97F4A7C15)
            bits: U64 = np.maximum((amount + 0.0).view(np.uint64) * odd, np.uint64(1))
            return np.where(np.isnan(amount), np.uint64(0), bits)
        if of in ATTRIBUTES:
            return attributes[:, ATTRIBUTES.index(of)]
        if of in self._texts:
            return np.array(self._texts[of]([getattr(event, of) for event in events]), np.uint64)
        return np.array(self._values(raws), np.uint64)


def _at(events: Sequence[Event], names: Sequence[str]) -> list[bytes | None]:
    """Return the raw JSON at a path into `fields` of each event, None where it leads nowhere."""
    first, *deeper = names
    found = [None if event.fields is None else event.fields.get(first) for event in events]
    raws = [None if raw is None else bytes(raw) for raw in found]
    for name in deeper:
        raws = [_below(raw, name) for raw in raws]
    return raws


def _below(raw: bytes | None, name: str) -> bytes | None:
    if raw is None or raw[:1] != b"{":
        return None
    member = _members(raw).get(name)
    return None if member is None else bytes(member)


def _number(raw: bytes | None) -> float:
    """Return a raw JSON number, NaN for everything else and for what a double cannot hold."""
    if raw is None or raw[0] in _NOT_A_NUMBER:
        return math.nan
    number = float(raw)
    return number if math.isfinite(number) else math.nan


def _hashed(pseudonymizer: Pseudonymizer) -> Callable[[bytes | None], int]:
    """Return the function from a raw JSON value to 64 bits, 0 for what is no value."""

    def bits(raw: bytes | None) -> int:
        told = _told(raw)
        return pseudonymizer.bits(pseudonymizer.pseudonym("field", told)) if told else 0

    return bits


def _told(raw: bytes | None) -> str:
    """Return a raw JSON text, number or boolean in its one form; empty for anything else."""
    if raw is None or raw[:1] in (b"{", b"[", b"n") or raw == b'""':
        return ""
    if raw[:1] == b'"':
        return f'"{_text(raw)}'
    if raw[:1] in (b"t", b"f"):
        return raw.decode()
    number = _number(raw)
    return "" if math.isnan(number) else repr(number + 0.0)
