"""Sums held as pairs of floats, high and low, inside compiled loops: about 106 bits (see `experiments.sums`).

Error-free sum: Knuth, TAOCP 2, 4.2.2. Error-free product, and the sum of pairs: Dekker, A floating-point technique for
extending the available precision, Numerische Mathematik 18 (1971).
"""

import numpy as np
from numpy.typing import NDArray

from operators.compiled import Int, borrowing

F64 = NDArray[np.float64]

_SPLIT = 134217729.0  # 2^27 + 1


@borrowing
def add_to(high: F64, low: F64, cell: Int, column: Int, value: float, rest: float) -> None:
    """Add value + rest to one sum; high and low have shape (cells, columns)."""
    before = high[cell, column]
    total = before + value
    part = total - before
    error = (before - (total - part)) + (value - part)
    error += low[cell, column] + rest
    high[cell, column] = total + error
    low[cell, column] = error - (high[cell, column] - total)


@borrowing
def add_unit(high: F64, low: F64, cell: Int, values: F64, row: Int) -> None:
    """Add a unit's y, d, x and w: its count, four sums and their ten products.

    Args:
        high: shape (cells, 15), columns as in `experiments.sums`.
        low: what `high` leaves out, same shape.
        cell: to which row of both.
        values: shape (rows, 4).
        row: which of them.
    """
    high[cell, 0] += 1.0
    column = 5
    for j in range(4):
        a = values[row, j]
        add_to(high, low, cell, 1 + j, a, 0.0)
        big = _SPLIT * a
        a_high = big - (big - a)
        a_low = a - a_high
        for k in range(j, 4):
            b = values[row, k]
            big = _SPLIT * b
            b_high = big - (big - b)
            b_low = b - b_high
            product = a * b
            error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
            add_to(high, low, cell, column, product, error)
            column += 1
