"""The name of a stage's configuration, as it matters to the stage's state."""

import hashlib

import msgspec

Field = int | float | str | bool | None | tuple["Field", ...]


def fingerprint(layout: int, upstream: str, **fields: Field) -> str:
    """Return 16 hex digits that change when the state of a stage can no longer be read or no longer means the same.

    Args:
        layout: version of the state's layout; raised when `dump` changes.
        upstream: fingerprint, or other name, of what the stage's input depends on.
        fields: the configuration the state depends on. Their order does not matter.

    Returns:
        BLAKE2b with a digest of 8 bytes over a canonical MessagePack encoding.
    """
    written = msgspec.msgpack.encode([layout, upstream, sorted(fields.items())])
    return hashlib.blake2b(written, digest_size=8).hexdigest()
