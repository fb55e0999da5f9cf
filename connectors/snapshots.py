"""Snapshots: how a part of a set of states is written as bytes, and the two places it can be kept.

A snapshot is the newest part and those before it that are still needed (operators/parts.py). The default place is an
internal Kafka topic with as many partitions as the input: any machine can restore, and no volume is needed. A directory
is the alternative. Either way the committed offset's text says where the newest parts lie (connectors/progress.py), and
each part where the parts before it do; so a snapshot counts from the moment the commit that names it does.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.clients import groupless
from connectors.progress import KEPT, SnapshotPlace
from operators.control import StageSnapshot
from operators.parts import SLICES, Assembly, Sweep
from operators.state import chunks, unpack

MAGIC = b"TGSNAP02"
PIECE_BYTES = 900_000
READ_TIMEOUT_S = 30.0
SLOTS = 256
"""Keys of the topic are used again after so many parts: many more than are needed at once, 64 slices and a few."""


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
    number: int
    sweep: Sweep
    before: list[SnapshotPlace]
    stages: list[_Stage]


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(_Header).decode


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a snapshot.

    Attributes:
        offset: S, the offset that the states belong to.
        number: parts of a partition are counted through.
        sweep: the slices in it, whether or not they changed.
        before: the parts still kept when this one was written, oldest first.
        stages: by step id; states as `operators.parts.Changes` returned them.
    """

    offset: int
    number: int
    sweep: Sweep
    before: tuple[SnapshotPlace, ...]
    stages: dict[str, StageSnapshot]


def checksum(data: bytes) -> str:
    """BLAKE2b, 128 bits, as 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def write(flow: str, partition: int, part: Part) -> bytes:
    """A part as bytes: magic, header length, header, then each stage's packed state."""
    packed = {step: chunks(snapshot.state) for step, snapshot in part.stages.items()}
    stages = [
        _Stage(step, part.stages[step].fingerprint, sum(memoryview(each).nbytes for each in parts))
        for step, parts in packed.items()
    ]
    header = _encode_header(_Header(flow, partition, part.offset, part.number, part.sweep, list(part.before), stages))
    body = [each for parts in packed.values() for each in parts]
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, *body])


def read(data: bytes, flow: str, partition: int, place: SnapshotPlace) -> Part:
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
        if _encode_header(header) != data[at : at + length] or any(stage.size < 0 for stage in header.stages):
            raise SnapshotUnusable(f"{where}: expected the header as it is written, got another form")
        at += length
        found = {}
        for stage in header.stages:
            found[stage.step] = StageSnapshot(stage.fingerprint, unpack(data[at : at + stage.size]))
            at += stage.size
    except (msgspec.MsgspecError, ValueError) as error:
        raise SnapshotUnusable(f"{where}: {error}") from error
    if at != len(data) or len(found) != len(header.stages):
        raise SnapshotUnusable(f"{where}: expected {len(header.stages)} stages in {at} bytes, got {len(data)} bytes")
    return Part(header.offset, header.number, header.sweep, tuple(header.before), found)


def needed(parts: Sequence[SnapshotPlace]) -> tuple[SnapshotPlace, ...]:
    """Return those of the parts, oldest first, that the snapshot of the last one consists of."""
    covered, first = 0, len(parts)
    while first > 0 and covered < SLICES:
        first -= 1
        covered += parts[first].swept
    return tuple(parts[first:])


@dataclass(frozen=True, slots=True)
class Restored:
    """A snapshot put together.

    Attributes:
        states: by step id.
        parts: those still kept, this snapshot's newest last.
        sweep: of the newest.
        size: bytes read.
    """

    states: dict[str, StageSnapshot]
    parts: tuple[SnapshotPlace, ...]
    sweep: Sweep
    size: int


def restore(
    store: "Store", flow: str, partition: int, place: SnapshotPlace, progress: Callable[[float], None]
) -> Restored:
    """Read a snapshot, all parts of it.

    Args:
        store: where it lies.
        flow: whose it is.
        partition: of the input.
        place: of its newest part.
        progress: told the share read, 0 to 1, now and then.

    Raises:
        SnapshotUnusable: a part is; the message says which.
    """
    [data] = store.load(partition, [place], lambda _: None)
    newest = read(data, flow, partition, place)
    kept = (*newest.before, place)
    chain = needed(kept)
    total, done = sum(each.size for each in chain), len(data)
    assemblies = {step: Assembly(each.state) for step, each in newest.stages.items()}
    older_ones = store.load(partition, chain[:-1], lambda size: progress((done + size) / total))
    try:
        for each, older in zip(chain[:-1], older_ones, strict=True):
            done += len(older)
            _add(assemblies, newest, read(older, flow, partition, each))
        _add(assemblies, newest, newest)
        states = {
            step: StageSnapshot(newest.stages[step].fingerprint, each.finish()) for step, each in assemblies.items()
        }
    except ValueError as error:
        raise SnapshotUnusable(f"snapshot of {flow}[{partition}] at offset {place.offset}: {error}") from error
    progress(1.0)
    return Restored(states, kept, newest.sweep, total)


def _add(assemblies: dict[str, Assembly], newest: Part, part: Part) -> None:
    for step, snapshot in part.stages.items():
        # What a stage kept under another configuration is no part of its state now.
        if step in assemblies and snapshot.fingerprint == newest.stages[step].fingerprint:
            assemblies[step].add(snapshot.state)


class DirectoryStore:
    """Parts as files, one folder per partition; those no longer needed are removed."""

    def __init__(self, directory: Path, flow: str) -> None:
        """Use a directory; it is made when needed."""
        self._directory = directory / flow

    def save(self, partition: int, place: SnapshotPlace, data: bytes) -> None:
        """Write a file that is either whole or absent, even across a power cut. Raises OSError."""
        path = self._path(partition, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)  # of a full disk the half of it should not be kept

    def tidy(self, partition: int, kept: Sequence[SnapshotPlace]) -> None:
        """Remove what no committed offset names any more."""
        names = {self._path(partition, place).name for place in kept}
        for path in (self._directory / str(partition)).glob("*.snapshot"):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def load(self, partition: int, places: Sequence[SnapshotPlace], progress: Callable[[int], None]) -> Iterator[bytes]:
        """Read files, one after the other. Raises SnapshotUnusable."""
        for place in places:
            path = self._path(partition, place)
            try:
                data = path.read_bytes()
            except OSError as error:
                raise SnapshotUnusable(f"{path}: {error.strerror}; was the volume kept?") from error
            yield data
            progress(0)

    def any(self, partition: int) -> bool:
        """Whether a snapshot of this partition was ever stored here."""
        return any((self._directory / str(partition)).glob("*.snapshot"))

    def _path(self, partition: int, place: SnapshotPlace) -> Path:
        return self._directory / str(partition) / f"{place.offset:020d}-{place.checksum}.snapshot"


class TopicStore:
    """Parts as records under 1 MB in a compacted topic; those no longer needed get tombstones."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        """Use a topic; `config` is librdkafka's, for reading."""
        self.topic = topic
        self._config = dict(config)

    @staticmethod
    def count(data: bytes) -> int:
        """Number of records of one part."""
        return max(1, -(-len(data) // PIECE_BYTES))

    @staticmethod
    def piece(data: bytes, place: SnapshotPlace, index: int) -> tuple[bytes, bytes]:
        """Key and value of one record of a part; the value starts with the part's 16-byte name."""
        at = index * PIECE_BYTES
        return TopicStore.key(place.number, index), bytes.fromhex(place.checksum) + data[at : at + PIECE_BYTES]

    @staticmethod
    def key(number: int, index: int) -> bytes:
        """Key of one record of a part."""
        return b"%d/%d" % (number % SLOTS, index)

    def load(self, partition: int, places: Sequence[SnapshotPlace], progress: Callable[[int], None]) -> Iterator[bytes]:
        """Read parts, oldest first. Raises SnapshotUnusable."""
        if not places:
            return
        # The places come from a committed offset, so the pieces are committed too: reading uncommitted only avoids
        # being held back by some dead owner's open transaction.
        own = {"isolation.level": "read_uncommitted", "auto.offset.reset": "error"}
        consumer = groupless(self._config, f"{self.topic}-reader", **own)
        try:
            consumer.assign([TopicPartition(self.topic, partition, places[0].at)])
            for place in places:
                yield self._collect(consumer, partition, place, progress)
        finally:
            consumer.close()

    def _collect(
        self, consumer: Consumer, partition: int, place: SnapshotPlace, progress: Callable[[int], None]
    ) -> bytes:
        where = f"{self.topic}[{partition}] at {place.at}"
        name = bytes.fromhex(place.checksum)
        found: list[bytes] = []
        deadline = time.monotonic() + READ_TIMEOUT_S
        while len(found) < place.pieces:
            # Not more than are missing: what follows belongs to the next part.
            messages = consumer.consume(place.pieces - len(found), 0.2)
            for message in messages:
                if message.error() is not None:
                    raise SnapshotUnusable(f"{where}: piece {len(found)} of {place.pieces}: {_plain(message.error())}")
                value = message.value() or b""
                if value[:16] == name:
                    found.append(value[16:])
            if messages:
                deadline = time.monotonic() + READ_TIMEOUT_S
                progress(sum(map(len, found)))
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
__all__ = ["KEPT", "DirectoryStore", "Part", "Restored", "SnapshotUnusable", "Store", "TopicStore"]
