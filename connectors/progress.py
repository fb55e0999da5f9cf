"""What is written beside a committed offset: who committed it, and where the snapshots lie that belong to it.

Kafka keeps a short text with every committed offset. Kept there, the place of the newest snapshot is found at once, is
atomic with the offset, and needs no scan. Kafka's default limit for the text is 4,096 bytes.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

VERSION = 1
KEPT = 3

MOST_SIDES = 4

# What is read may have been written by anything: nothing that cannot be acted upon is taken for ours.
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
SideOffsets = Annotated[dict[Annotated[str, Meta(min_length=1, max_length=64)], Offset], Meta(max_length=MOST_SIDES)]


class SnapshotPlace(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"offset": "S", "checksum": "h", "number": "n", "swept": "w", "sides": "b", "journal": "j"},
):
    """Where one part of a snapshot lies (operators/parts.py); the newest part stands for the snapshot.

    Attributes:
        offset: S: the snapshot is the state after all records below it.
        checksum: BLAKE2b of the bytes, 32 hex digits; also names the part.
        size: bytes.
        at: offset of its first piece in the snapshots topic, or -1 when it is a file.
        pieces: number of pieces in the topic, or 0 when it is a file.
        number: parts of this partition are counted through.
        swept: slices written whether or not they changed; 64: the part stands alone.
        sides: next record of each side topic after those that the snapshot has in it.
        journal: lower bound of the journal's entries about what came after; if there are `sides`.
    """

    offset: Offset
    checksum: Annotated[str, Meta(pattern="^[0-9a-f]{32}$", max_length=32)]
    size: Offset
    at: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1
    pieces: Offset = 0
    number: Offset = 0
    swept: Annotated[int, Meta(ge=1, le=64)] = 64
    sides: SideOffsets = msgspec.field(default_factory=dict)
    journal: Offset = 0


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """The text beside a committed offset.

    Attributes:
        owner: transactional id of the committer; the next owner fences it unless `released`.
        begin: where the flow began on this partition; rolled forward from there while no snapshot exists.
        released: the committer let the partition go in good order, with nothing pending.
        snapshots: newest first, at most `KEPT`.
        version: of this record.
        beside: what a stage wants to find again at exactly this offset (`operators.batches.Encoded.beside`).
        partitions: of the input topic; 0 while unknown. With another number users are in other partitions.
        sides: next record of each side topic, by its short name: all before it are applied.
        sides_begin: where the flow began with each of them.
        journal: lower bound of the journal's entries about what was applied since it began; if there are `sides`.
    """

    owner: Annotated[str, Meta(min_length=1)]
    begin: Offset
    released: bool = False
    snapshots: Annotated[tuple[SnapshotPlace, ...], Meta(max_length=KEPT)] = ()
    version: int = VERSION
    beside: Annotated[str, Meta(max_length=200)] = ""
    partitions: Offset = 0
    sides: SideOffsets = msgspec.field(default_factory=dict)
    sides_begin: SideOffsets = msgspec.field(default_factory=dict)
    journal: Offset = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Progress).decode


class UnreadableProgress(ValueError):
    """The text beside a committed offset is not ours, or of another version."""


def write(progress: Progress) -> str:
    """The text to commit beside an offset."""
    return _encode(progress).decode()


def read(text: str | None) -> Progress | None:
    """Read the text beside a committed offset; None when there is none (the offset was set by another tool).

    Raises:
        UnreadableProgress: the text is not one of ours.
    """
    if not text:
        return None
    try:
        progress = _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnreadableProgress(
            f"expected Tidegate's progress record beside the offset, got {len(text)} other characters"
        ) from error
    if any((place.at < 0) != (place.pieces == 0) for place in progress.snapshots):
        raise UnreadableProgress("expected snapshots in a file or in pieces, got a mixture of both")
    if any(not told.keys() <= progress.sides_begin.keys() for told in (progress.sides, *_held(progress))):
        raise UnreadableProgress("expected a beginning for every side topic, got one without")
    if progress.version != VERSION:
        raise UnreadableProgress(f"expected a progress record of version {VERSION}, got {progress.version}")
    return progress


def _held(progress: Progress) -> list[dict[str, int]]:
    return [place.sides for place in progress.snapshots]
