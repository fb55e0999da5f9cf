"""What every stage with state can do, and how its state is written down.

A stage is plain Python over arrays: it knows no Kafka, no clock and no Bytewax. `dump` and `load` are its snapshot.
The written form is self-describing and inert (a table of names, types and shapes, then the bytes), so that reading a
snapshot can never run code, as unpickling could.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray


class SomeRows(NamedTuple):
    """Some rows of a large array: what a part of a snapshot holds of it (operators/parts.py).

    Attributes:
        numbers: which rows, ascending, shape (m,), u4.
        values: the rows, shape (m, ...).
        length: rows of the whole array.
    """

    numbers: NDArray[np.uint32]
    values: NDArray[Any]
    length: int


Value = NDArray[np.generic] | SomeRows | int | float | str | None
State = dict[str, Value]

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Measurement(NamedTuple):
    """A value a stage wants shown: the metric's name in `operators.metrics`, labels beyond flow and partition."""

    metric: str
    value: float
    labels: dict[str, str] = {}  # noqa: RUF012  a NamedTuple default is never written to


@runtime_checkable
class Stage(Protocol[In_contra, Out_co]):
    """State of one stage for one partition.

    Attributes:
        fingerprint: hash of the configuration and version that the state depends on. A snapshot whose fingerprint
            differs is not loaded: the stage starts warming.
    """

    fingerprint: str

    def process(self, batch: In_contra) -> Out_co:
        """Answer a batch and update the state, event by event."""
        ...

    def dump(self) -> State:
        """Return a copy of the state that later calls of `process` do not change."""
        ...

    def load(self, state: State) -> None:
        """Replace the state by one that `dump` returned."""
        ...

    def measurements(self) -> Iterable[Measurement]:
        """Return what operators should see of this state; called about once a second."""
        ...


@runtime_checkable
class Recalls(Protocol):
    """A stage that has a short text committed beside the offset, in the same transaction (`Encoded.beside`)."""

    def recall(self, text: str) -> None:
        """Take back the text committed beside the offset; empty when there is none. Called after `load`."""
        ...


class _Column(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    length: int | None = None  # of the whole array, where these are some of its rows; their numbers come first


class _Header(msgspec.Struct, frozen=True):
    scalars: dict[str, int | float | str | None]
    columns: list[_Column]


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(_Header).decode
_DTYPES = frozenset(np.dtype(kind).str for kind in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8", "?"))
_INDEX = np.dtype(np.uint32)


def pack(state: State) -> bytes:
    """Write a state as bytes: header length (8 bytes, little endian), header (msgpack), then the arrays.

    Of `SomeRows` the numbers of the rows come before the rows.
    """
    return b"".join(chunks(state))


def chunks(state: State) -> list[bytes | memoryview]:
    """Return what `pack` joins, so that a large state is copied once and not for every level it is packed in."""
    scalars: dict[str, int | float | str | None] = {}
    columns: list[_Column] = []
    arrays: list[bytes | memoryview] = []
    for name, value in state.items():
        if isinstance(value, SomeRows):
            columns.append(_Column(name, value.values.dtype.str, value.values.shape, value.length))
            arrays += [_contiguous(value.numbers), _contiguous(value.values)]
        elif isinstance(value, np.ndarray):
            columns.append(_Column(name, value.dtype.str, value.shape))
            arrays.append(_contiguous(value))
        else:
            scalars[name] = value
    header = _encode_header(_Header(scalars, columns))
    return [len(header).to_bytes(8, "little"), header, *arrays]


def _contiguous(array: NDArray[Any]) -> bytes | memoryview:
    # `tobytes` writes in C order whatever the memory layout; `ascontiguousarray` would turn a 0-d array into 1-d.
    return array.data if array.flags.c_contiguous else array.tobytes()


def unpack(data: bytes) -> State:
    """Read what `pack` wrote; arrays are fresh and writable.

    Raises:
        ValueError: the bytes are not a packed state, are cut short or are too long.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise ValueError(f"expected a header of {length} bytes, got {max(0, len(data) - 8)}")
    try:
        header = _decode_header(data[8 : 8 + length])
    except msgspec.MsgspecError as error:
        raise ValueError(f"expected a state header, got something else: {error}") from error
    names = [*header.scalars, *(column.name for column in header.columns)]
    if _encode_header(header) != data[8 : 8 + length] or len(set(names)) != len(names):
        raise ValueError("expected the header as it is written, each name once, got another form")
    state: State = dict(header.scalars)
    at = 8 + length
    for column in header.columns:
        if column.dtype not in _DTYPES or any(side < 0 for side in column.shape):
            raise ValueError(f"expected a numeric array, got {column.dtype} {column.shape} - at {column.name}")
        if column.length is None:
            values, at = _take(data, at, column.name, np.dtype(column.dtype), column.shape)
            state[column.name] = values
        else:
            if not column.shape:
                raise ValueError(f"expected rows, got a single value - at {column.name}")
            index, at = _take(data, at, column.name, _INDEX, column.shape[:1])
            values, at = _take(data, at, column.name, np.dtype(column.dtype), column.shape)
            if len(index) and (int(index[-1]) >= column.length or bool((index[1:] <= index[:-1]).any())):
                raise ValueError(f"expected ascending numbers of rows below {column.length} - at {column.name}")
            state[column.name] = SomeRows(index, values, column.length)
    if at != len(data):
        raise ValueError(f"expected {at} bytes, got {len(data)}")
    return state


def part_of(state: State, prefix: str) -> State:
    """Return the values whose names begin so, by the rest of their names: the state of one part of a stage."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _take(data: bytes, at: int, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[NDArray[Any], int]:
    """Return a fresh array of the bytes from `at` on, and where it ends."""
    size = dtype.itemsize
    for side in shape:
        size *= side
    if len(data) < at + size:
        raise ValueError(f"expected {size} bytes, got {len(data) - at} - at {name}")
    return np.frombuffer(data, dtype, size // dtype.itemsize, at).reshape(shape).copy(), at + size
