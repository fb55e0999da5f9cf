"""Snapshots: how a set of states is written as bytes, and the two places it can be kept.

The default place is an internal Kafka topic with as many partitions as the input: any machine can restore, and no
volume is needed. A directory is the alternative. Either way the committed offset's text says where the newest ones lie
(connectors/progress.py), so a snapshot counts from the moment the commit that names it does.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.progress import KEPT, SnapshotPlace
from operators.control import StageSnapshot
from operators.state import pack, unpack

MAGIC = b"TGSNAP01"
PIECE_BYTES = 900_000
READ_TIMEOUT_S = 30.0


class SnapshotUnusable(RuntimeError):
    """A snapshot is missing, damaged or of another version; the message says which and what to do."""


class _Stage(msgspec.Struct, frozen=True):
    step: str
    fingerprint: str
    size: int


class _Header(msgspec.Struct, frozen=True):
    flow: str
    partition: int
    offset: int
    stages: list[_Stage]


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(_Header).decode


def checksum(data: bytes) -> str:
    """BLAKE2b, 128 bits, as 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def write(flow: str, partition: int, offset: int, snapshots: Mapping[str, StageSnapshot]) -> bytes:
    """A set of states as bytes: magic, header length, header, then each stage's packed state."""
    packed = {step: pack(snapshot.state) for step, snapshot in snapshots.items()}
    stages = [_Stage(step, snapshots[step].fingerprint, len(data)) for step, data in packed.items()]
    header = _encode_header(_Header(flow, partition, offset, stages))
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, *packed.values()])


def read(data: bytes, flow: str, partition: int, place: SnapshotPlace) -> dict[str, StageSnapshot]:
    """Read what `write` wrote.

    Raises:
        SnapshotUnusable: not these bytes, another version, another flow or partition.
    """
    where = f"snapshot of {flow}[{partition}] at offset {place.offset}"
    if len(data) != place.size:
        raise SnapshotUnusable(f"{where}: expected {place.size} bytes, got {len(data)}")
    if checksum(data) != place.checksum:
        raise SnapshotUnusable(f"{where}: its checksum does not match: it is damaged")
    if data[: len(MAGIC)] != MAGIC:
        raise SnapshotUnusable(f"{where}: expected version {MAGIC!r}, got {data[: len(MAGIC)]!r}")
    at = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : at], "little")
    try:
        header = _decode_header(data[at : at + length])
        if (header.flow, header.partition, header.offset) != (flow, partition, place.offset):
            raise SnapshotUnusable(f"{where}: it is of {header.flow}[{header.partition}] at offset {header.offset}")
        at += length
        found = {}
        for stage in header.stages:
            found[stage.step] = StageSnapshot(stage.fingerprint, unpack(data[at : at + stage.size]))
            at += stage.size
    except (msgspec.MsgspecError, ValueError) as error:
        raise SnapshotUnusable(f"{where}: {error}") from error
    return found


class DirectoryStore:
    """Snapshots as files, one folder per partition, the newest `KEPT` of them."""

    def __init__(self, directory: Path, flow: str) -> None:
        """Use a directory; it is made when needed."""
        self._directory = directory / flow

    def save(self, partition: int, offset: int, data: bytes) -> SnapshotPlace:
        """Write a file that is either whole or absent, even across a power cut."""
        place = SnapshotPlace(offset, checksum(data), len(data))
        path = self._path(partition, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        return place

    def tidy(self, partition: int, kept: tuple[SnapshotPlace, ...]) -> None:
        """Remove what no committed offset names any more."""
        names = {self._path(partition, place).name for place in kept}
        for path in self._path(partition, kept[0]).parent.glob("*.snapshot"):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def load(self, partition: int, place: SnapshotPlace, progress: Callable[[float], None]) -> bytes:
        """Read a file. Raises SnapshotUnusable."""
        path = self._path(partition, place)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SnapshotUnusable(f"{path}: {error.strerror}; was the volume kept?") from error
        progress(1.0)
        return data

    def any(self, partition: int) -> bool:
        """Whether a snapshot of this partition was ever stored here."""
        return any((self._directory / str(partition)).glob("*.snapshot"))

    def _path(self, partition: int, place: SnapshotPlace) -> Path:
        return self._directory / str(partition) / f"{place.offset:020d}-{place.checksum}.snapshot"


class TopicStore:
    """Snapshots as records under 1 MB in a compacted topic; the keys rotate over `KEPT` slots, so old ones go away."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        """Use a topic; `config` is librdkafka's, for reading."""
        self.topic = topic
        self._config = dict(config)

    def pieces(self, data: bytes, slot: int) -> list[tuple[bytes, bytes]]:
        """Keys and values of the records of one snapshot; each value starts with the snapshot's 16-byte name."""
        name = bytes.fromhex(checksum(data))
        cuts = range(0, max(1, len(data)), PIECE_BYTES)
        return [(b"%d/%d" % (slot, index), name + data[at : at + PIECE_BYTES]) for index, at in enumerate(cuts)]

    def load(self, partition: int, place: SnapshotPlace, progress: Callable[[float], None]) -> bytes:
        """Read the pieces of a snapshot. Raises SnapshotUnusable."""
        # The place comes from a committed offset, so the pieces are committed too: reading uncommitted only avoids
        # being held back by some dead owner's open transaction.
        consumer = Consumer(
            {
                "fetch.queue.backoff.ms": 5,
                **self._config,
                "group.id": f"{self.topic}-reader",
                "isolation.level": "read_uncommitted",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
            }
        )
        try:
            return self._collect(consumer, partition, place, progress)
        finally:
            consumer.close()

    def _collect(
        self, consumer: Consumer, partition: int, place: SnapshotPlace, progress: Callable[[float], None]
    ) -> bytes:
        where = f"{self.topic}[{partition}] at {place.at}"
        name = bytes.fromhex(place.checksum)
        found: list[bytes] = []
        consumer.assign([TopicPartition(self.topic, partition, place.at)])
        deadline = time.monotonic() + READ_TIMEOUT_S
        while len(found) < place.pieces:
            messages = consumer.consume(place.pieces - len(found), 0.2)
            for message in messages:
                if message.error() is not None:
                    raise SnapshotUnusable(f"{where}: piece {len(found)} of {place.pieces}: {_plain(message.error())}")
                value = message.value() or b""
                if value[:16] == name:
                    found.append(value[16:])
            if messages:
                deadline = time.monotonic() + READ_TIMEOUT_S
                progress(len(found) / place.pieces)
            elif time.monotonic() > deadline:
                raise SnapshotUnusable(
                    f"{where}: piece {len(found)} of {place.pieces} did not arrive in {READ_TIMEOUT_S:.0f} s"
                )
        return b"".join(found)

    def any(self, partition: int) -> bool:
        """Whether a snapshot of this partition was ever stored here."""
        consumer = Consumer({**self._config, "group.id": f"{self.topic}-reader"})
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=10)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):  # noqa: SLF001
                return False
            raise
        else:
            return bool(high > 0)
        finally:
            consumer.close()


def _plain(error: Any) -> str:
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        return "the log ends before it; was the topic made anew or its retention changed?"
    return str(error.str())


Store = DirectoryStore | TopicStore
__all__ = ["KEPT", "DirectoryStore", "SnapshotUnusable", "Store", "TopicStore", "checksum", "read", "write"]
