"""States as bytes under mutation: refused, or read back as exactly those bytes; and no size in them is believed."""

import struct
import tracemalloc

import fuzzing
import msgspec
import numpy as np

from operators import state
from operators.state import pack, unpack

SEEDS = (
    pack({}),
    pack({"rows": np.arange(12, dtype=np.uint64).reshape(3, 4), "flag": np.array([True, False]), "n": 3, "f": 0.5}),
    pack({"empty": np.zeros((0, 3)), "one": np.array(7, np.int32), "text": "forest", "none": None}),
    pack({"a": np.ones(2, np.uint8), "b": np.ones(2, np.uint8)}),
)
TOKENS = (
    b"\xce\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xd3" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7,
    b"\xcf\0\0\1\0" + b"\0" * 4, b"\x00", b"\x01", b"\xff", b"\xa3<f8", b"\xa3<i8", b"\xa3|u1", b"\xa3|b1", b"\xa2|O",
    b"\xa3>f8", b"\xa7scalars", b"\xa7columns", b"\xa4name", b"\xa5dtype", b"\xa5shape", b"\x90", b"\x91", b"\x92",
    b"\x80", b"\x81", b"\x82", b"\xc0", b"\xcb" + b"\0" * 8,
)  # fmt: skip


def restructure(rng, data):
    """Half the time, if there is a header, it is changed as what it means, and its length put right."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = msgspec.msgpack.decode(data[8 : 8 + length])
        columns, scalars = header["columns"], header["scalars"]
        if rng.random() < 0.5 or not isinstance(columns, list):
            return data
        kind = rng.randrange(6)
        if kind == 0:
            columns.insert(rng.randrange(len(columns) + 1), dict(rng.choice(columns)))
        elif kind == 1:
            rng.choice(columns)["name"] = rng.choice([*scalars, *(each["name"] for each in columns)])
        elif kind == 2:
            rng.choice(columns)["shape"] = rng.choices([0, 1, 2, 3, -1, -2, 2**31, 2**61, 2**63], k=rng.randrange(4))
        elif kind == 3:
            rng.choice(columns)["dtype"] = rng.choice(["|u1", "<f8", ">f8", "|b1", "|O", "<M8[s]", "f8", "<U2", "|V8"])
        elif kind == 4:
            header = dict(reversed(header.items()))
        else:
            rng.choice([header, scalars, rng.choice(columns)])[rng.choice(["more", "name", "a"])] = rng.choice([0, "x"])
        written = msgspec.msgpack.encode(header)
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return data
    return len(written).to_bytes(8, "little") + written + data[8 + length :]


def check(data):
    try:
        read = unpack(data)
    except ValueError as error:
        return "refused", str(error)[:18]
    again = pack(read)
    assert again == data, f"accepted, but its own bytes are others: {again!r}"
    return "read", tuple(sorted(type(value).__name__ for value in read.values()))[:4]


def test_what_is_accepted_as_a_state_is_written_again_as_the_same_bytes():
    cases = fuzzing.fuzz(check, SEEDS, (state,), 0.10, TOKENS, restructure)
    print(f"state: {cases:,} cases")


def test_a_size_that_lies_takes_no_memory():
    tracemalloc.start()
    try:
        for shape in ([2**40], [2**20, 2**20], [2**62], [3, 2**33], [0, 2**62]):
            column = {"name": "a", "dtype": "<f8", "shape": shape}
            header = msgspec.msgpack.encode({"scalars": {}, "columns": [column]})
            for length in (len(header), 2**40, 2**63, 2**64 - 1):
                check(struct.pack("<Q", length) + header + b"\0" * 64)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
