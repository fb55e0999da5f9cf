"""What every stage with state can do, and how its state is written down.

A stage is plain Python over arrays: it knows no Kafka, no clock and no Bytewax. `dump` and `load` are its snapshot.
The written form is self-describing and inert (a table of names, types and shapes, then the bytes), so that reading a
snapshot can never run code, as unpickling could.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

Value = NDArray[np.generic] | int | float | str | None
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


class _Column(msgspec.Struct, frozen=True):
    name: str
    dtype: str
    shape: tuple[int, ...]


class _Header(msgspec.Struct, frozen=True):
    scalars: dict[str, int | float | str | None]
    columns: list[_Column]


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(_Header).decode
_DTYPES = frozenset(np.dtype(kind).str for kind in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8", "?"))


def pack(state: State) -> bytes:
    """Write a state as bytes: header length (8 bytes, little endian), header (msgpack), then the arrays."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
    columns = [_Column(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    header = _encode_header(_Header(scalars, columns))
    # `tobytes` writes in C order whatever the memory layout; `ascontiguousarray` would turn a 0-d array into 1-d.
    return b"".join([len(header).to_bytes(8, "little"), header, *(array.tobytes() for array in arrays.values())])


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
    state: State = dict(header.scalars)
    at = 8 + length
    for column in header.columns:
        if column.dtype not in _DTYPES or any(side < 0 for side in column.shape):
            raise ValueError(f"expected a numeric array, got {column.dtype} {column.shape} - at {column.name}")
        dtype = np.dtype(column.dtype)
        size = dtype.itemsize
        for side in column.shape:
            size *= side
        if len(data) < at + size:
            raise ValueError(f"expected {size} bytes, got {len(data) - at} - at {column.name}")
        state[column.name] = np.frombuffer(data, dtype, size // dtype.itemsize, at).reshape(column.shape).copy()
        at += size
    if at != len(data):
        raise ValueError(f"expected {at} bytes, got {len(data)}")
    return state
