"""What is kept of an arm: a count, four sums and their ten products, which add up over units, batches and partitions.

Per unit there are four numbers (`VALUES`): the metric y, the denominator d of a ratio, and both before the experiment,
x and w. For a mean or a proportion d and w are 1; where nothing is known of before, x is 0 for all units alike.

Every sum is a pair of floats, high and low, added as in Dekker, A floating-point technique for extending the available
precision, Numerische Mathematik 18 (1971), with the error-free sum of Knuth (TAOCP 2, 4.2.2) and Dekker's product:
about 106 bits. So a variance is right though the mean is a million times the deviation, and the order of addition does
not reach the 16 digits that are read.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.compiled import compiled
from operators.doubles import add_unit
from operators.state import State

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

VALUES = ("y", "d", "x", "w")
PAIRS = tuple((i, j) for i in range(4) for j in range(i, 4))
COLUMNS = 1 + len(VALUES) + len(PAIRS)
"""Column 0 counts units, 1 to 4 hold the sums, 5 to 14 the products in the order of `PAIRS`."""

GREATEST = 1e75
"""Greatest size of a value: its square, summed and multiplied again, must stay finite."""

_SPLIT = 134217729.0  # 2^27 + 1


class Moments(NamedTuple):
    """What the sums of a set of arms say.

    Attributes:
        n: units, shape (...).
        means: of y, d, x and w, shape (..., 4); NaN without units.
        covariance: of the four, with n - 1, shape (..., 4, 4); NaN below two units.
    """

    n: F64
    means: F64
    covariance: F64


@compiled
def _accumulate(high: F64, low: F64, cells: I64, values: F64) -> None:
    for i in range(len(cells)):
        add_unit(high, low, cells[i], values, i)


def _two_sum(a: F64, b: F64) -> tuple[F64, F64]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: F64, b: F64) -> tuple[F64, F64]:
    product = a * b
    big_a, big_b = _SPLIT * a, _SPLIT * b
    a_high, b_high = big_a - (big_a - a), big_b - (big_b - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


class Sums:
    """Sums of any number of arms: of an experiment, or of many, over metrics, phases and strata.

    Args:
        shape: how the arms are laid out, such as (experiments, metrics, arms).

    Attributes:
        high: shape (*shape, COLUMNS).
        low: what `high` leaves out, same shape.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.high: F64 = np.zeros((*shape, COLUMNS))
        self.low: F64 = np.zeros((*shape, COLUMNS))

    def add(self, cells: I64, values: F64) -> None:
        """Add units.

        Args:
            cells: the arm of each unit, as an index into the flattened `shape` (`numpy.ravel_multi_index`), shape (m,).
            values: y, d, x and w of each, shape (m, 4).

        Raises:
            ValueError: shapes do not fit, a cell does not exist, or a value is not finite or larger than `GREATEST`;
                then nothing was added.
        """
        arms = int(np.prod(self.shape))
        if cells.ndim != 1 or values.shape != (len(cells), len(VALUES)):
            raise ValueError(f"expected cells (m,) and values (m, 4), got {cells.shape} and {values.shape}")
        if len(cells) and not (cells.min() >= 0 and cells.max() < arms):
            raise ValueError(f"expected cells from 0 to {arms - 1}, got {cells.min()} to {cells.max()}")
        if not bool((np.abs(values) <= GREATEST).all()):
            raise ValueError(f"expected finite values of size {GREATEST} at most, got others")
        high, low = self.high.reshape(arms, COLUMNS), self.low.reshape(arms, COLUMNS)
        _accumulate(high, low, cells.astype(np.int64), np.ascontiguousarray(values, np.float64))

    def __add__(self, other: "Sums") -> "Sums":
        """Return the sums of all units of both.

        Raises:
            ValueError: the shapes differ.
        """
        if self.shape != other.shape:
            raise ValueError(f"expected sums of shape {self.shape}, got {other.shape}")
        both = Sums(self.shape)
        high, error = _two_sum(self.high, other.high)
        low, rest = _two_sum(self.low, other.low)
        high, error = _two_sum(high, error + low)
        both.high, both.low = _two_sum(high, error + rest)
        return both

    def moments(self) -> Moments:
        """Return counts, means and covariances; of each arm, or of several as `(one + other).moments()`."""
        n = self.high[..., 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.where(n[..., None] > 0, (self.high[..., 1:5] + self.low[..., 1:5]) / n[..., None], np.nan)
            covariance = np.empty((*self.shape, 4, 4))
            for column, (i, j) in enumerate(PAIRS, 5):
                spread = self._spread(column, 1 + i, 1 + j) / n / (n - 1)
                covariance[..., i, j] = covariance[..., j, i] = np.where(n > 1, spread, np.nan)
        return Moments(n.copy(), means, covariance)

    def _spread(self, product: int, i: int, j: int) -> F64:
        """Return n * sum(ab) - sum(a) * sum(b) in double-double arithmetic: both may agree to many digits."""
        n = self.high[..., 0]
        left, left_low = _two_product(n, self.high[..., product])
        left_low = left_low + n * self.low[..., product]
        a, b = self.high[..., i], self.high[..., j]
        right, right_low = _two_product(a, b)
        right_low = right_low + (a * self.low[..., j] + b * self.low[..., i])
        total, error = _two_sum(left, -right)
        return total + (error + (left_low - right_low))

    def dump(self) -> State:
        """Return a copy of the sums."""
        return {"sums.high": self.high.copy(), "sums.low": self.low.copy()}

    def load(self, state: State) -> None:
        """Replace the sums by dumped ones of the same shape.

        Raises:
            ValueError: the shapes differ.
        """
        high, low = np.asarray(state["sums.high"]), np.asarray(state["sums.low"])
        if high.shape != self.high.shape or low.shape != self.low.shape:
            raise ValueError(f"expected sums of shape {self.high.shape}, got {high.shape} and {low.shape}")
        self.high[:], self.low[:] = high, low
