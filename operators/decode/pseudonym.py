"""Identifiers become pseudonyms before anything is remembered or written.

A pseudonym is keyed BLAKE2b (RFC 7693) of the identifier's UTF-8 bytes: 128 bits, under the secret key, with the
identifier's kind as personalisation, so that a user and an address of the same text have nothing in common. Whoever
holds the key can make the same pseudonyms at the edge, in any language:
`h<key version>:` + hex(BLAKE2b(identifier, digest 16 bytes, key, person <kind>)).
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, Generic, Literal, TypeVar

from xxhash import xxh3_64_intdigest

Kind = Literal["user", "ip", "device", "counterparty", "session", "field"]

KINDS: Final[tuple[Kind, ...]] = ("user", "ip", "device", "counterparty", "session", "field")
KEY_BYTES: Final = (16, 64)
"""Fewest and most bytes of a key; the most is BLAKE2b's own limit."""
LONGEST_REMEMBERED: Final = 128
"""Characters. Longer values are worked out each time, so that entries times this bounds the memory of a cache."""

Raw = TypeVar("Raw", bound=str | bytes | None)
Result = TypeVar("Result")


class Pseudonymizer:
    """Pseudonyms under one key. Pure: the same value under the same key is the same pseudonym for ever.

    Attributes:
        version: of the key, written into each pseudonym.
        pseudonymised_topics: topics whose identifiers are pseudonyms already and pass through as they are. A setting,
            never recognised by the look of a value: else anyone could choose his pseudonym by sending one.
        fingerprint: changes with key and version and tells nothing about the key. State built under another
            fingerprint is about other users.
        seed: of XXH3, drawn from the key.
    """

    def __init__(self, key: bytes, version: int = 1, pseudonymised_topics: Iterable[str] = ()) -> None:
        """Take the key.

        Args:
            key: 16 to 64 bytes; 32 random ones are right.
            version: of the key, >= 1.
            pseudonymised_topics: names as they stand in `Messages.topic` and `Side.topic`.

        Raises:
            ValueError: the key is too short or too long, or the version is below 1.
        """
        least, most = KEY_BYTES
        if not least <= len(key) <= most:
            raise ValueError(
                f"expected a pseudonym key of {least} to {most} bytes, got {len(key)}; make one with "
                "`openssl rand -hex 32`"
            )
        if version < 1:
            raise ValueError(f"expected a key version >= 1, got {version}")
        self.version = version
        self.pseudonymised_topics = frozenset(pseudonymised_topics)
        self._prefix = f"h{version}:"
        # A keyed hash starts with a block that holds the key: copying the object is cheaper than making it anew.
        self._hashers = {kind: blake2b(digest_size=16, key=key, person=kind.encode()) for kind in KINDS}
        self.seed = int.from_bytes(blake2b(digest_size=8, key=key, person=b"bits").digest(), "little")
        self.fingerprint = blake2b(str(version).encode(), digest_size=8, key=key, person=b"fingerprint").hexdigest()

    def __repr__(self) -> str:
        return f"Pseudonymizer(version={self.version})"

    def pseudonym(self, kind: Kind, identifier: str) -> str:
        """Return `h<version>:` and 32 hexadecimal digits."""
        hasher = self._hashers[kind].copy()
        hasher.update(identifier.encode())
        return self._prefix + hasher.hexdigest()

    def bits(self, text: str) -> int:
        """Return 64 bits of a pseudonym or of an event's id, never 0: XXH3, its seed drawn from the key.

        They depend on the pseudonym's text alone: a user whose pseudonym was made at the edge, or is read back from
        one of our own topics, meets the user whose identifier was replaced here.
        """
        return xxh3_64_intdigest(text.encode(), self.seed) or 1

    def user(self, identifier: str) -> tuple[str, int]:
        """Return a user's pseudonym and its 64 bits."""
        pseudonym = self.pseudonym("user", identifier)
        return pseudonym, self.bits(pseudonym)

    def user_as_given(self, pseudonym: str) -> tuple[str, int]:
        """Return the same for a user who is a pseudonym already."""
        return pseudonym, self.bits(pseudonym)

    def attribute(self, kind: Kind) -> Callable[[str | None], int]:
        """Return the function from an optional identifier to 64 bits of its pseudonym; 0 if absent or empty."""

        def bits(identifier: str | None) -> int:
            return self.bits(self.pseudonym(kind, identifier)) if identifier else 0

        return bits

    def attribute_as_given(self, pseudonym: str | None) -> int:
        """Return the same for an optional text that is a pseudonym already, or needs none."""
        return self.bits(pseudonym) if pseudonym else 0


class Memo(Generic[Raw, Result]):
    """A pure function's newest results, in bounded memory; results never depend on what is remembered.

    Two generations: results enter the young one. When it is full it becomes the old one and the old one goes, so what
    was not asked for over a whole generation is forgotten, without any bookkeeping per look-up.

    Attributes:
        asked: look-ups so far.
        missed: look-ups that had to be worked out.
    """

    def __init__(self, function: Callable[[Raw], Result], entries: int) -> None:
        """Remember results of `function`, which never returns None; at most `entries` of them, >= 2."""
        self._function = function
        self._most = entries // 2
        self._young: _Young[Raw, Result] = _Young(self._work_out)
        self._old: dict[Raw, Result] = {}
        self.asked = 0
        self.missed = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __call__(self, values: Sequence[Raw]) -> list[Result]:
        """Return the function's result for each value."""
        self.asked += len(values)
        return list(map(self._young.__getitem__, values))

    def _work_out(self, value: Raw) -> Result:
        result = self._old.get(value)
        if result is None:
            self.missed += 1
            result = self._function(value)
        if value is None or len(value) <= LONGEST_REMEMBERED:
            if len(self._young) >= self._most:
                self._old = dict(self._young)
                self._young.clear()  # in place: a look-up of many values may be under way
            self._young[value] = result
        return result


class _Young(dict[Raw, Result]):
    """A dictionary that works out what it does not hold: one look-up per value, all of them without Python code."""

    __slots__ = ("_work_out",)

    def __init__(self, work_out: Callable[[Raw], Result]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, value: Raw) -> Result:
        return self._work_out(value)
