"""Where publishers put a key: the partitioners of Kafka's clients, so that topics can be joined and checked.

`murmur2` is the default of the Java client and of all that follow it; librdkafka calls it `murmur2_random`. Its own
default (`consistent_random`) is CRC-32. Topics of a flow must be published with the same one.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from operators.batches import I64, U8
from operators.compiled import compiled


def murmur2(keys: Sequence[bytes], partitions: int) -> I64:
    """Return the partition of each key as Java's client chooses it, shape (n,).

    `org.apache.kafka.common.utils.Utils.murmur2` without its sign bit, modulo the number of partitions.
    """
    ends = np.cumsum(np.fromiter(map(len, keys), dtype=np.int64, count=len(keys)))
    hashes = _murmur2(np.frombuffer(b"".join(keys), dtype=np.uint8), ends)
    return (hashes & 0x7FFFFFFF) % partitions


def crc32(keys: Sequence[bytes], partitions: int) -> I64:
    """Return the partition of each key as librdkafka's `consistent_random` chooses it, shape (n,); none is empty."""
    return np.fromiter((zlib.crc32(key) % partitions for key in keys), dtype=np.int64, count=len(keys))


@compiled
def _murmur2(data: U8, ends: I64) -> I64:
    """Return the 32-bit hash of each stretch of `data` that ends at `ends[i]`, unsigned.

    MurmurHash2 (Austin Appleby, public domain) with the seed that Kafka gave it. Words are little-endian; products of
    32 bits by 31 fit into the 64 that are used here.
    """
    factor = 0x5BD1E995
    low = 0xFFFFFFFF
    hashes = np.empty(len(ends), np.int64)
    start = 0
    for row in range(len(ends)):
        end = ends[row]
        length = end - start
        h = (0x9747B28C ^ length) & low
        at = start
        while at + 4 <= end:
            k = (
                np.int64(data[at])
                | (np.int64(data[at + 1]) << 8)
                | (np.int64(data[at + 2]) << 16)
                | (np.int64(data[at + 3]) << 24)
            )
            k = (k * factor) & low
            k ^= k >> 24
            k = (k * factor) & low
            h = ((h * factor) & low) ^ k
            at += 4
        rest = end - at
        if rest >= 3:
            h ^= np.int64(data[at + 2]) << 16
        if rest >= 2:
            h ^= np.int64(data[at + 1]) << 8
        if rest >= 1:
            h ^= np.int64(data[at])
            h = (h * factor) & low
        h ^= h >> 13
        h = (h * factor) & low
        h ^= h >> 15
        hashes[row] = h
        start = end
    return hashes
