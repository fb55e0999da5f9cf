"""The chain of one flow and partition: each record carries the mac of the one before, and a mac over all of itself.

    mac = hex(HMAC-SHA256(audit key, body))        RFC 2104, FIPS 180-4

The body is the record's bytes as they stand on the topic, without their last member: what is left when
`,"mac":"<64 hex digits>"` is cut out before the closing brace. So there is no second encoding to agree on: what is
verified is every byte that was written, and any language with an HMAC can do it.

The head of the chain is not in a snapshot: it is committed beside the input offset, in the transaction that carries the
records, as `<sequence>:<mac>:<configuration>`. A chain that is continued from there has neither gap nor repetition.
"""

import hmac
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from operators.batches import Outgoing
from schemas.audit import Audit

Detail = Mapping[str, str | int | float | bool | None]

ZEROS: Final = "0" * 64
"""`previous` of the first record."""

BESIDE_CHARACTERS: Final = 200
"""The most that may be committed beside an offset for this."""

_SEQUENCE_DIGITS: Final = 12
_MAC: Final = b',"mac":"'
_TAIL: Final = len(_MAC) + 64 + len(b'"}')

_encode = msgspec.json.Encoder().encode


class Head(NamedTuple):
    """The newest record of a chain.

    Attributes:
        sequence: its place, >= 0.
        mac: 64 hexadecimal digits.
    """

    sequence: int
    mac: str


def derive_key(pseudonym_key: bytes) -> bytes:
    """Return the 32 bytes of the audit key that belongs to a pseudonym key.

    Keyed BLAKE2b (RFC 7693) of the empty text with a personalisation of its own: whoever holds the audit key learns
    nothing about the pseudonym key.
    """
    return blake2b(digest_size=32, key=pseudonym_key, person=b"tidegate audit").digest()


def key_id(key: bytes) -> str:
    """Return 8 hexadecimal digits that name an audit key and tell nothing about it."""
    return hmac.digest(key, b"key id", "sha256")[:4].hex()


def mac_of(key: bytes, body: bytes) -> str:
    """Return the mac of a body (see the module's text), 64 hexadecimal digits."""
    return hmac.digest(key, body, "sha256").hex()


def split(wire: bytes) -> tuple[bytes, str] | None:
    """Return body and mac of a record's bytes; None if they do not end in a mac."""
    body, tail = wire[:-_TAIL], wire[-_TAIL:]
    if not (tail.startswith(_MAC) and tail.endswith(b'"}') and tail.isascii()):
        return None
    return body + b"}", tail[len(_MAC) : -2].decode()


def read_head(beside: str) -> Head | None:
    """Return the head from the text committed beside an offset; None from an empty one.

    Raises:
        ValueError: the text is not one of `Chain.beside`.
    """
    return _read(beside)[0]


def _read(beside: str) -> tuple[Head | None, tuple[str, ...]]:
    if not beside:
        return None, ()
    sequence, _, rest = beside.partition(":")
    mac, _, told = rest.partition(":")
    if not (sequence.isascii() and sequence.isdigit() and len(mac) == len(ZEROS)):
        raise ValueError(f"expected sequence:mac:configuration beside the offset, got {len(beside)} other characters")
    return Head(int(sequence), mac), tuple(told.split(","))


class Chain:
    """Writes one chain. A fresh one begins at 0; `recall` makes it go on.

    Args:
        key: the audit key.
        flow: name of the flow.
        partition: input partition, >= 0.
        configuration: what the flow is configured with, name -> fingerprint or number; short texts without commas.

    Raises:
        ValueError: the configuration does not fit beside an offset, or holds a comma.
    """

    def __init__(self, key: bytes, flow: str, partition: int, configuration: Mapping[str, str]) -> None:
        self._key = key
        self._flow = flow
        self._partition = partition
        self._configuration = {**configuration, "audit_key": key_id(key)}
        self._now = tuple(self._configuration.values())
        self._told: tuple[str, ...] = ()  # the configuration that the chain's newest record of it tells
        self._head: Head | None = None
        if any("," in value for value in self._now):
            raise ValueError(f"expected a configuration without commas, got {self._configuration}")
        longest = _SEQUENCE_DIGITS + len(ZEROS) + 2 + len(",".join(self._now))
        if longest > BESIDE_CHARACTERS:
            raise ValueError(f"expected at most {BESIDE_CHARACTERS} characters beside an offset, got {longest}")

    @property
    def sequence(self) -> int:
        """Place of the next record."""
        return 0 if self._head is None else self._head.sequence + 1

    @property
    def beside(self) -> str:
        """What is to be committed beside the offset; empty before the first record."""
        return "" if self._head is None else f"{self._head.sequence}:{self._head.mac}:{','.join(self._told)}"

    def recall(self, beside: str) -> None:
        """Go on from what was committed beside the offset; begin anew from an empty text.

        Raises:
            ValueError: the text is not one of `beside`.
        """
        self._head, self._told = _read(beside)

    @property
    def must_tell(self) -> bool:
        """Whether the configuration is not the one the chain tells of."""
        return self._told != self._now

    def configuration(self, time_ms: int) -> list[Outgoing]:
        """Return the record of the present configuration, unless it is the one the chain tells of.

        Args:
            time_ms: event time at which it is told.
        """
        return [self._outgoing(self.tell(time_ms), time_ms)] if self.must_tell else []

    def record(self, kind: str, time_ms: int, detail: Detail) -> Outgoing:
        """Return the next record, as it goes to its topic; see `append`."""
        return self._outgoing(self.append(kind, time_ms, detail), time_ms)

    def _outgoing(self, value: bytes, time_ms: int) -> Outgoing:
        key = f"{self._flow}-{self._partition}".encode()
        return Outgoing("audit", key, value, max(time_ms, 1))  # to librdkafka 0 means now

    def tell(self, time_ms: int) -> bytes:
        """Return the record of the present configuration, and what it was before where it changed."""
        detail: dict[str, str | None] = dict(self._configuration)
        if self._head is not None:
            known = len(self._told) == len(self._now)
            before = self._told if known else (None,) * len(self._now)
            detail |= {
                f"{name}_before": old
                for (name, new), old in zip(self._configuration.items(), before, strict=True)
                if old != new
            }
        self._told = self._now
        return self.append("configuration", time_ms, detail)

    def append(self, kind: str, time_ms: int, detail: Detail) -> bytes:
        """Return the next record as it is to be written.

        Args:
            kind: what changed.
            time_ms: event time of the change; before 1970 counts as 1970.
            detail: the change, by name.
        """
        record = Audit(
            flow=self._flow,
            partition=self._partition,
            sequence=self.sequence,
            timestamp=max(time_ms, 0),
            kind=kind,
            detail=dict(detail),
            previous=ZEROS if self._head is None else self._head.mac,
            mac=ZEROS,
        )
        stem = _encode(record)[:-_TAIL]
        mac = mac_of(self._key, stem + b"}")
        self._head = Head(record.sequence, mac)
        return stem + _MAC + mac.encode() + b'"}'
