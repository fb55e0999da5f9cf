"""The numbers of open pairs, in blocks as wide as an experiment has numbers: what counts, and what was before."""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, U8, Bool
from operators.compiled import Int, borrowing

NOBODY, RECORD, EXPOSURE = 0, 1, 2
"""Values of `told`: what was before exposure was observed, if at all; or a record said it; or the exposure did."""

WIDEST = 512
"""Most numbers that an experiment adds up; its metrics, and ratios twice."""

FIRST_CAPACITY = 256


class Pool(NamedTuple):
    """The numbers of open pairs, in blocks as wide as an experiment has numbers.

    Attributes:
        values: what counts so far, and the same before exposure, shape (capacity, 2). The first number of a free block
            is the row of the next free one of its width, -1: none.
        told: who told the second one, see `NOBODY`, shape (capacity,).
        news: whether a row changed since it was written last, shape (capacity,).
        meta: rows ever in use; then the first free block of each width, -1: none, shape (1 + WIDEST,).
    """

    values: F64
    told: U8
    news: Bool
    meta: I64


@borrowing
def take(pool: Pool, width: Int) -> Int:
    """Return the first row of a block of zeros, for which there is room."""
    block = pool.meta[width]
    if block >= 0:
        pool.meta[width] = np.int64(pool.values[block, 0])
    else:
        block = pool.meta[0]
        pool.meta[0] += width
    for row in range(block, block + width):
        pool.values[row, 0] = 0.0
        pool.values[row, 1] = 0.0
        pool.told[row] = NOBODY
        pool.news[row] = True
    return block


@borrowing
def give_back(pool: Pool, block: Int, width: Int) -> None:
    """Free a block."""
    for row in range(block, block + width):
        pool.values[row, 0] = 0.0
        pool.values[row, 1] = 0.0
        pool.told[row] = NOBODY
        pool.news[row] = True
    pool.values[block, 0] = np.float64(pool.meta[width])
    pool.meta[width] = block


def fresh() -> Pool:
    """Return an empty pool."""
    meta = np.full(1 + WIDEST, -1, np.int64)
    meta[0] = 0
    return allocate(FIRST_CAPACITY, meta)


def grown(pool: Pool, more: int) -> Pool:
    """Return the pool with so many free rows at its end: itself, or a copy."""
    used, capacity = int(pool.meta[0]), len(pool.values)
    if used + more <= capacity:
        return pool
    while capacity < used + more:
        capacity *= 2
    larger = allocate(capacity, pool.meta)
    larger.values[:used], larger.told[:used], larger.news[:used] = (
        pool.values[:used],
        pool.told[:used],
        pool.news[:used],
    )
    return larger


def allocate(capacity: int, meta: I64) -> Pool:
    """Return a pool of so many rows."""
    return Pool(np.zeros((capacity, 2)), np.zeros(capacity, np.uint8), np.zeros(capacity, np.bool_), meta)
