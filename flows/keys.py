"""What a sample of records says of how a topic is keyed: by user or not, and by which partitioner. Pure.

A key proves something only by where it lies: under a wrong partitioner it lies right once in as many times as there are
partitions. So a partitioner is named when nearly all *different* keys lie where it would have put them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from operators.batches import I64
from operators.partitioner import crc32, murmur2

Partitioner = Literal["murmur2_random", "consistent_random", "unknown"]

NAMES: dict[Partitioner, str] = {
    "murmur2_random": "murmur2 (Java's default; murmur2_random in librdkafka)",
    "consistent_random": "CRC-32 (librdkafka's default, consistent_random)",
    "unknown": "none that is known",
}

NEARLY_ALL = 0.99
"""Share of different keys that must lie where a partitioner puts them; a record or two may come from elsewhere."""

FEWEST = 16
"""Different keys needed before a partitioner is named: at 2 partitions 16 lie right by chance once in 65,536."""

_HASHES: dict[Partitioner, Callable[[Sequence[bytes], int], I64]] = {
    "murmur2_random": murmur2,
    "consistent_random": crc32,
}


class Sample(NamedTuple):
    """One record: where it lies, its key, and the user in its value (None if there is none to be read)."""

    partition: int
    key: bytes | None
    user: str | None


class _Wire(msgspec.Struct, frozen=True, gc=False):
    user: str


_decode = msgspec.json.Decoder(_Wire).decode


def sample(message: Any) -> Sample:
    """Take a sample of a Kafka message; tombstones and garbage have no user."""
    try:
        user = _decode(message.value() or b"").user or None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        user = None
    return Sample(message.partition(), message.key() or None, user)


@dataclass(frozen=True, slots=True)
class Findings:
    """Counts, never identifiers.

    Attributes:
        partitions: of the topic.
        records: looked at.
        readable: of these, with a key and a user.
        keyed: of these, whose key is the user.
        keys: different keys.
        scattered: keys that lie in more than one partition.
        placed: share of places of keys that are a partitioner's, by its name.
    """

    partitions: int
    records: int
    readable: int
    keyed: int
    keys: int
    scattered: int
    placed: dict[Partitioner, float]

    @property
    def enough(self) -> bool:
        """Whether there are keys enough to name a partitioner."""
        return self.partitions > 1 and self.keys >= FEWEST

    @property
    def partitioner(self) -> Partitioner | None:
        """The partitioner that put the keys where they lie; None if there is too little to say."""
        if not self.enough:
            return None
        best = max(self.placed, key=lambda name: self.placed[name])
        return best if self.placed[best] >= NEARLY_ALL else "unknown"


def judge(samples: Iterable[Sample], partitions: int) -> Findings:
    """Look at the samples of one topic.

    Args:
        samples: of any number of records.
        partitions: how many the topic has.
    """
    records = readable = keyed = 0
    places: dict[bytes, set[int]] = {}
    for partition, key, user in samples:
        records += 1
        if key is None:
            continue
        places.setdefault(key, set()).add(partition)
        if user is not None:
            readable += 1
            keyed += user.encode() == key
    keys = list(places)
    lies = [(row, partition) for row, key in enumerate(keys) for partition in places[key]]
    placed: dict[Partitioner, float] = {}
    for name, hashed in _HASHES.items():
        chosen = hashed(keys, partitions).tolist()
        right = sum(chosen[row] == partition for row, partition in lies)
        placed[name] = right / len(lies) if lies else 0.0
    scattered = sum(len(found) > 1 for found in places.values())
    return Findings(partitions, records, readable, keyed, len(keys), scattered, placed)
