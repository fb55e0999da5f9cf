"""Texts of different lengths by row of a table, as ids of items are; in a snapshot in blocks of rows."""

from typing import Final, Generic, TypeVar

import msgspec
import numpy as np

from operators.batches import U8
from operators.state import State

BLOCK: Final = 256
"""Rows that are written together: what changed in one of them is written for all."""

T = TypeVar("T", str, bytes)

_encode = msgspec.msgpack.Encoder().encode


class Texts(Generic[T]):
    """One text for each row, empty where none was put.

    Args:
        name: of the texts in a snapshot.
        kind: `str` or `bytes`.

    Attributes:
        values: the texts of all rows up to the last that was put; to be read only.
    """

    def __init__(self, name: str, kind: type[T]) -> None:
        self._name = name
        self._empty: T = kind()
        self._decode = msgspec.msgpack.Decoder(list[kind]).decode  # type: ignore[valid-type]  # a variable on purpose
        self.values: list[T] = []
        self._blocks: dict[int, U8] = {}  # as they were written last, without those that changed since

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> T:
        """Return the text of a row; empty if it has none."""
        return self.values[row] if row < len(self.values) else self._empty

    def __setitem__(self, row: int, text: T) -> None:
        """Put a text in the place of what the row had."""
        if row >= len(self.values):
            first = len(self.values)
            self.values += [self._empty] * (row + 1 - first)
            for block in range(first // BLOCK, row // BLOCK + 1):
                self._blocks.pop(block, None)
        if self.values[row] != text:
            self.values[row] = text
            self._blocks.pop(row // BLOCK, None)

    def dump(self) -> State:
        """Return all, one array for each block: those that are as they were are left out of later parts."""
        for block in range(-(-len(self.values) // BLOCK)):
            if block not in self._blocks:
                listed = self.values[block * BLOCK : (block + 1) * BLOCK]
                self._blocks[block] = np.frombuffer(_encode(listed), np.uint8)
        state: State = {f"{self._name}.{block}": array for block, array in sorted(self._blocks.items())}
        return state | {f"{self._name}.rows": len(self.values)}

    def load(self, state: State) -> None:
        """Replace all by what `dump` returned; the state may hold more.

        Raises:
            ValueError: it cannot be such a state.
        """
        rows = state.get(f"{self._name}.rows")
        if not isinstance(rows, int) or rows < 0:
            raise ValueError(f"expected a number of rows, got {type(rows).__name__} - at {self._name}.rows")
        self.values, self._blocks = [], {}
        for block in range(-(-rows // BLOCK)):
            array = state.get(f"{self._name}.{block}")
            if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
                raise ValueError(f"expected texts as bytes - at {self._name}.{block}")
            try:
                self.values += self._decode(array.tobytes())
            except msgspec.MsgspecError as error:
                raise ValueError(f"expected a list of texts - at {self._name}.{block}") from error
            self._blocks[block] = np.asarray(array, np.uint8)
        if len(self.values) != rows:
            raise ValueError(f"expected {rows} texts, got {len(self.values)} - at {self._name}")
