"""Parts of items as records of `ranking.parts` (`schemas.item_part`): how they are written, and read defensively."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, U64, Outgoing
from operators.decode.explain import EMPTY_VALUE, Fault, fault
from operators.noticed import item_key
from operators.partitioner import murmur2
from operators.signals.config import PANES, CountItemsConfig
from operators.signals.items import AUDIENCE, COLUMNS
from operators.signals.totals import Sums
from schemas.dead_letter import Reason
from schemas.item_part import ItemPart

TOPIC: Final = "ranking.parts"

EVERYTHING: Final = np.uint64(0)
"""Key of all items together; no item has it."""

_C_LOG_C: Final = AUDIENCE.index("weighted_c_log_c")  # the one column that may be below 0

_MOST: Final = 2**53  # up to here a double counts one by one, and sums over partitions do not run over

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ItemPart).decode

_OTHER: Final = fault(Reason.WRONG_TYPE, "a record of ranking.parts, version 1", "another")
_OTHER_KEY: Final = fault(Reason.OUT_OF_RANGE, "the item as key, empty for all items", "another key, or none")
_OTHER_WINDOWS: Final = fault(Reason.OUT_OF_RANGE, "windows as in interactions.count", "others", "windows_s")
_NO_SUCH_PARTITION: Final = fault(Reason.OUT_OF_RANGE, "a partition of interactions", "another", "partition")
_LENGTHS: Final = fault(Reason.OUT_OF_RANGE, "arrays as long as windows and columns say", "others", "sums")
_NUMBERS: Final = fault(Reason.OUT_OF_RANGE, "finite numbers from 0 to 2^53", "others", "sums")
_PANES: Final = fault(Reason.OUT_OF_RANGE, "places of panes, ascending", "others", "filled")


class Source(NamedTuple):
    """What all parts of one partition have in common.

    Attributes:
        partition: of `interactions`.
        partitions: how many there are.
        windows_s: lengths of the windows, seconds.
        half_life_s: in which what fades halves, seconds.
        audience_s: length of the periods of audiences, seconds.
    """

    partition: int
    partitions: int
    windows_s: tuple[int, ...]
    half_life_s: int
    audience_s: int


class Parts(NamedTuple):
    """Parts as columns of length n, in their order.

    Attributes:
        partition: of `interactions`, shape (n,).
        stream_ms: stream time of the partition, shape (n,).
        since_ms: when it first heard of the item, shape (n,).
        items: keys, `EVERYTHING` for all items together, shape (n,).
        sums: of these.
    """

    partition: I64
    stream_ms: I64
    since_ms: I64
    items: U64
    sums: Sums


def source_of(config: CountItemsConfig, partition: int, partitions: int) -> Source:
    """Return what all parts of a partition have in common, counted under these settings."""
    return Source(partition, partitions, config.windows_s, config.half_life_s, config.audience_s)


def written(
    source: Source, stream_ms: int, offset: int, ids: Sequence[bytes | None], since: Sequence[int], sums: Sums
) -> list[bytes]:
    """Return one value for each row of some sums.

    Args:
        source: of the partition.
        stream_ms: its stream time.
        offset: next record of `interactions` that is not in the sums.
        ids: of the items, as published; None for all items together.
        since: when each was first heard of, epoch milliseconds.
        sums: of these.
    """
    n = len(ids)
    panes = sums.sums.reshape(n, -1, len(COLUMNS))
    filled = np.asarray(panes.any(axis=2))
    seen = np.asarray(sums.audience.any(axis=(1, 2)))
    found = []
    for row, item in enumerate(ids):
        at = np.flatnonzero(filled[row])
        part = ItemPart(
            item=None if item is None else item.decode(),
            partition=source.partition,
            partitions=source.partitions,
            timestamp=stream_ms,
            offset=offset,
            since=since[row],
            windows_s=source.windows_s,
            half_life_s=source.half_life_s,
            audience_s=source.audience_s,
            pane=_bytes(sums.pane[row], "<i8"),
            filled=at.astype(np.uint8).tobytes(),
            sums=_bytes(panes[row, at], "<f8"),
            decayed=_bytes(sums.decayed[row], "<f8"),
            as_of=int(sums.as_of_ms[row]),
            audience=_bytes(sums.audience[row], "<f8") if seen[row] else b"",
            period=int(sums.period[row]),
        )
        found.append(_encode(part))
    return found


def to_partitions(ids: Sequence[bytes], values: Sequence[bytes], partitions: int, time_ms: int) -> list[Outgoing]:
    """Return records of items, each to the partition of its item."""
    places = murmur2(ids, partitions).tolist()
    return [
        Outgoing(TOPIC, item, value, max(time_ms, 1), place)
        for item, value, place in zip(ids, values, places, strict=True)
    ]


def to_all(value: bytes, partitions: int, time_ms: int) -> list[Outgoing]:
    """Return the record of all items together, once for each partition."""
    return [Outgoing(TOPIC, b"", value, max(time_ms, 1), place) for place in range(partitions)]


def read_part(key: bytes | None, value: bytes | None, source: Source) -> ItemPart | Fault:
    """Return a part that can be added up with others, or what is wrong with the record.

    Args:
        key: of the record.
        value: of the record.
        source: what parts must have in common with this, but for the partition.
    """
    if not value:
        return EMPTY_VALUE
    try:
        found = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _OTHER
    if key != (b"" if found.item is None else found.item.encode()):
        return _OTHER_KEY
    if (found.windows_s, found.half_life_s, found.audience_s) != source[2:]:
        return _OTHER_WINDOWS
    if not found.partition < found.partitions == source.partitions:
        return _NO_SUCH_PARTITION
    return _misfit(found) or found


def _misfit(part: ItemPart) -> Fault | None:
    windows, audience = len(part.windows_s), 2 * len(AUDIENCE)
    places = np.frombuffer(part.filled, np.uint8).astype(np.int64)
    lengths = [len(each) for each in (part.pane, part.sums, part.decayed, part.audience)]
    if len(part.audience) not in (0, 8 * audience) or lengths[:3] != [
        8 * windows,
        8 * len(places) * len(COLUMNS),
        8 * len(COLUMNS),
    ]:
        return _LENGTHS
    if len(places) and (places[-1] >= windows * PANES or bool((np.diff(places) <= 0).any())):
        return _PANES
    told = np.frombuffer(part.audience, "<f8").reshape(-1, len(AUDIENCE))
    counts = [np.frombuffer(part.sums, "<f8"), np.frombuffer(part.decayed, "<f8"), np.delete(told, _C_LOG_C, axis=1)]
    if not (np.abs(told) <= _MOST).all() or not all(bool(((each >= 0.0) & (each <= _MOST)).all()) for each in counts):
        return _NUMBERS
    panes = np.frombuffer(part.pane, "<i8")
    return _NUMBERS if ((panes < 0) | (panes > _MOST)).any() or part.period > _MOST else None


def columns_of(parts: Sequence[ItemPart], windows: int) -> Parts:
    """Return parts that were read as columns.

    Args:
        parts: n of them.
        windows: how many there are.
    """
    n = len(parts)
    sums = np.zeros((n, windows * PANES, len(COLUMNS)))
    audience = np.zeros((n, 2 * len(AUDIENCE)))
    for row, part in enumerate(parts):
        at = np.frombuffer(part.filled, np.uint8)
        sums[row, at] = np.frombuffer(part.sums, "<f8").reshape(len(at), len(COLUMNS))
        if part.audience:
            audience[row] = np.frombuffer(part.audience, "<f8")
    keys = [EVERYTHING if part.item is None else item_key(part.item) for part in parts]
    return Parts(
        _whole([part.partition for part in parts]),
        _whole([part.timestamp for part in parts]),
        _whole([part.since for part in parts]),
        np.array(keys, np.uint64),
        Sums(
            np.frombuffer(b"".join([part.pane for part in parts]), "<i8").reshape(n, windows).astype(np.int64),
            sums.reshape(n, windows, PANES, len(COLUMNS)),
            np.frombuffer(b"".join([part.decayed for part in parts]), "<f8").reshape(n, -1).astype(np.float64)
            if n
            else np.zeros((0, len(COLUMNS))),
            _whole([part.as_of for part in parts]),
            audience.reshape(n, 2, len(AUDIENCE)),
            _whole([part.period for part in parts]),
        ),
    )


def _whole(numbers: Sequence[int]) -> I64:
    return np.array(numbers, np.int64)


def _bytes(array: F64 | I64 | NDArray[np.generic], kind: str) -> bytes:
    return np.ascontiguousarray(array, kind).tobytes()
