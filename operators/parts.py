"""Snapshots in parts: a part holds what changed since the part before it, and a turning slice of what did not.

Written whole, the state of a million users would be 1.6 GB every time. So a part holds only the rows that changed; and
so that old parts do not stay needed for ever, it also holds the rows of the next few of 64 slices (row i belongs to
slice i mod 64). Once the slices have turned round after a part, every row of it has been written again: it can go.
Never must everything be written at once, a restore reads at most the parts of one turn, and a part whose sweep covers
all slices stands alone. Values that are not rows belong to slice 0.

The idea is that of log-structured storage with incremental cleaning (Rosenblum, Ousterhout 1992).
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from operators.batches import Bool
from operators.state import SomeRows, State, Value

SLICES = 64


class Sweep(NamedTuple):
    """The slices that one part writes whatever changed.

    Attributes:
        first: the first of them, 0 to 63.
        slices: how many follow each other, round the end; 64 is everything.
    """

    first: int = 0
    slices: int = SLICES

    @property
    def whole(self) -> bool:
        """Whether the part stands alone."""
        return self.slices >= SLICES

    @property
    def next(self) -> int:
        """Where the next sweep begins."""
        return (self.first + self.slices) % SLICES

    def covers(self, number: int) -> bool:
        """Whether a slice is among them."""
        return (number - self.first) % SLICES < self.slices

    def choose(self, changed: Bool, **arrays: NDArray[Any]) -> State:
        """Return of each array the rows to write: those that changed, and those of the slices.

        Args:
            changed: shape (length,).
            arrays: the first `length` rows of each are meant.
        """
        numbers, length = self.rows(changed), len(changed)
        if self.whole:
            return {name: SomeRows(numbers, array[:length], length) for name, array in arrays.items()}
        return {name: SomeRows(numbers, array[numbers], length) for name, array in arrays.items()}

    def rows(self, changed: Bool) -> NDArray[np.uint32]:
        """Return the numbers of the rows to write, ascending."""
        if self.whole:
            return np.arange(len(changed), dtype=np.uint32)
        chosen = changed.copy()
        for number in range(self.first, self.first + self.slices):
            chosen[number % SLICES :: SLICES] = True
        return np.flatnonzero(chosen).astype(np.uint32)


EVERYTHING = Sweep()


@runtime_checkable
class Tracked(Protocol):
    """A stage that knows which of its rows changed. The others' dumps are compared with the one before."""

    def changes(self, sweep: Sweep) -> State:
        """Return the state as `load` takes it, of large arrays only the rows that `sweep` wants.

        Rows that changed are those changed since the last call, or since `load`. Every large array is in every answer,
        even with no row. Arrays may be the stage's own: they are written down before it processes anything again.
        """
        ...


class Changes:
    """What of one stage's state goes into the next part."""

    def __init__(self) -> None:
        self._last: State = {}

    def of(self, stage: object, sweep: Sweep) -> State:
        """Return the stage's share of the next part; a value that did not change is left out."""
        state: State = stage.changes(sweep) if isinstance(stage, Tracked) else stage.dump()  # type: ignore[attr-defined]
        before, self._last = self._last, {name: each for name, each in state.items() if not isinstance(each, SomeRows)}
        if sweep.covers(0):
            return state
        return {
            name: each
            for name, each in state.items()
            if isinstance(each, SomeRows) or name not in before or not _same(before[name], each)
        }


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one is other and not one.flags.writeable:  # nobody wrote in it since; of one that can be, nobody knows
            return True
        # By bytes: NaN equals itself here, and -0.0 is not 0.0.
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


class Assembly:
    """One stage's state put together again from its share of the parts.

    Args:
        newest: the newest part's share: it says how long every array is.
    """

    def __init__(self, newest: State) -> None:
        self._lengths = {name: each.length for name, each in newest.items() if isinstance(each, SomeRows)}
        self._state: State = {}
        self._known: dict[str, Bool] = {}

    def add(self, part: State) -> None:
        """Add a part's share; oldest first, the newest last.

        Raises:
            ValueError: rows that cannot be of this state.
        """
        for name, value in part.items():
            if isinstance(value, SomeRows):
                self._add_rows(name, value)
            else:
                self._state[name] = value

    def _add_rows(self, name: str, rows: SomeRows) -> None:
        length = self._lengths.get(name)
        if length is None or rows.length > length:
            raise ValueError(f"expected at most {length or 0} rows, got {rows.length} - at {name}")
        whole = self._state.get(name)
        if whole is None:
            whole = self._state[name] = np.zeros((length, *rows.values.shape[1:]), rows.values.dtype)
            self._known[name] = np.zeros(length, np.bool_)
        if not isinstance(whole, np.ndarray) or whole.shape[1:] != rows.values.shape[1:]:
            raise ValueError(f"expected rows of one shape, got {rows.values.shape} - at {name}")
        whole[rows.numbers] = rows.values
        self._known[name][rows.numbers] = True

    def finish(self) -> State:
        """Return the state.

        Raises:
            ValueError: rows are in none of the parts.
        """
        for name, known in self._known.items():
            if not known.all():
                raise ValueError(f"{int(np.count_nonzero(~known))} rows are in none of the parts - at {name}")
        return self._state


def whole_size(state: State) -> int:
    """Return the bytes a part would have if it held every row, as far as its share tells."""
    size = 0
    for value in state.values():
        if isinstance(value, SomeRows):
            size += value.length * value.values.dtype.itemsize * int(np.prod(value.values.shape[1:]))
        elif isinstance(value, np.ndarray):
            size += value.nbytes
    return size
