"""States written down and read back: exact, inert, and every damage is a ValueError."""

import contextlib
import pickle
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from operators.state import pack, unpack

DTYPES = st.sampled_from([np.dtype(kind) for kind in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8", "?")])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
SCALARS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=8), st.none())
STATES = st.dictionaries(st.text(max_size=8), ARRAYS | SCALARS, max_size=5)

SAMPLE = pack({"users": np.arange(6, dtype=np.uint64).reshape(2, 3), "sum": 1.5, "name": "forest", "none": None})


def exact(value):
    """A form in which `==` means equal to the last bit, so that NaN equals itself and 0.0 is not -0.0."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, float):
        return struct.pack("<d", value)
    return (type(value).__name__, value)


@given(STATES)
@example({"nan": float("nan"), "minus": -0.0, "empty": np.zeros((0, 3)), "one": np.array(7.0)})
def test_a_state_reads_back_equal_to_the_last_bit(state):
    read = unpack(pack(state))

    assert {name: exact(value) for name, value in read.items()} == {name: exact(v) for name, v in state.items()}


@given(STATES)
def test_equal_states_are_written_as_equal_bytes(state):
    assert pack(unpack(pack(state))) == pack(state)


def test_a_view_with_gaps_is_written_as_its_values():
    table = np.arange(12, dtype=np.int64).reshape(3, 4)

    read = unpack(pack({"column": table[:, 1], "turned": table.T}))

    assert read["column"].tolist() == [1, 5, 9]
    assert read["turned"].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


def test_arrays_that_were_read_can_be_written_to_and_share_nothing():
    read = unpack(SAMPLE)

    read["users"][0, 0] = 99

    assert unpack(SAMPLE)["users"][0, 0] == 0


@pytest.mark.parametrize("length", range(len(SAMPLE)))
def test_a_state_cut_short_is_a_value_error(length):
    with pytest.raises(ValueError, match="expected"):
        unpack(SAMPLE[:length])


@given(st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_a_value_error(tail):
    with pytest.raises(ValueError, match="expected"):
        unpack(SAMPLE + tail)


@pytest.mark.parametrize("place", range(len(SAMPLE)))
def test_a_flipped_bit_is_a_value_error_or_another_state_never_a_crash(place):
    for bit in range(8):
        damaged = bytearray(SAMPLE)
        damaged[place] ^= 1 << bit

        with contextlib.suppress(ValueError):
            pack(unpack(bytes(damaged)))


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x00" * 8)
@example(b"\xff" * 8)
def test_bytes_of_any_kind_are_a_value_error_or_a_state(data):
    for candidate in (data, len(data).to_bytes(8, "little") + data):  # as a whole, and as a header
        with contextlib.suppress(ValueError):
            pack(unpack(candidate))


def forged(dtype, shape, body=b"", name="array"):
    """A packed state whose header says what it likes."""
    header = msgspec.msgpack.encode({"scalars": {}, "columns": [{"name": name, "dtype": dtype, "shape": shape}]})
    return len(header).to_bytes(8, "little") + header + body


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("|O", [1]),  # Python objects: pointers taken from the bytes
        ("|V8", [1]),
        ("<U2", [1]),
        ("<M8[s]", [1]),
        ("<f2", [4]),
        (">f8", [1]),
        ("f8, O", [1]),
        ("nonsense", [1]),
        ("", [1]),
        ("<f8", [-1]),
        ("<f8", [-1, -1]),
        ("<f8", [2]),
        ("<f8", [2**40]),
        ("<f8", [2**63, 2**63]),
        ("<f8", [0, 2**63]),
        ("<f8", [1] * 100),
    ],
)
def test_a_header_that_lies_is_a_value_error(dtype, shape):
    with pytest.raises(ValueError, match=r"expected|dimension"):  # NumPy's own word for shapes it cannot hold
        unpack(forged(dtype, shape, b"\x00" * 8))


def test_an_honest_header_is_read():
    assert unpack(forged("<f8", [1], struct.pack("<d", 2.5)))["array"].tolist() == [2.5]


class Trap:
    """Unpickling it would run code: it would raise."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_run(protocol):
    trap = pickle.dumps(Trap(), protocol)

    for data in (trap, len(trap).to_bytes(8, "little") + trap, forged("|O", [1], trap)):
        with pytest.raises(ValueError, match="expected"):
            unpack(data)
