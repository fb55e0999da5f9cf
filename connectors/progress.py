"""What is written beside a committed offset: who committed it, and where the snapshots lie that belong to it.

Kafka keeps a short text with every committed offset. Kept there, the place of the newest snapshot is found at once, is
atomic with the offset, and needs no scan. Kafka's default limit for the text is 4,096 bytes.
"""

import msgspec

VERSION = 1
KEPT = 3


class SnapshotPlace(msgspec.Struct, frozen=True, omit_defaults=True, rename={"offset": "S", "checksum": "h"}):
    """Where one snapshot lies.

    Attributes:
        offset: S: the snapshot is the state after all records below it.
        checksum: BLAKE2b of the bytes, 32 hex digits; also names the snapshot.
        size: bytes.
        at: offset of its first piece in the snapshots topic, or -1 when it is a file.
        pieces: number of pieces in the topic, or 0 when it is a file.
    """

    offset: int
    checksum: str
    size: int
    at: int = -1
    pieces: int = 0


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """The text beside a committed offset.

    Attributes:
        owner: transactional id of the committer; the next owner fences it unless `released`.
        begin: where the flow began on this partition; rolled forward from there while no snapshot exists.
        released: the committer let the partition go in good order, with nothing pending.
        snapshots: newest first, at most `KEPT`.
        version: of this record.
    """

    owner: str
    begin: int
    released: bool = False
    snapshots: tuple[SnapshotPlace, ...] = ()
    version: int = VERSION


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
    except msgspec.MsgspecError as error:
        raise UnreadableProgress(
            f"expected Tidegate's progress record beside the offset, got {len(text)} other characters"
        ) from error
    if progress.version != VERSION:
        raise UnreadableProgress(f"expected a progress record of version {VERSION}, got {progress.version}")
    return progress
