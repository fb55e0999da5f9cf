"""What is read back from Kafka or a disk under mutation: a snapshot, and the text beside an offset."""

import hashlib

import fuzzing
import numpy as np
import pytest

from connectors import progress, snapshots
from connectors.progress import KEPT, Progress, SnapshotPlace, UnreadableProgress
from connectors.snapshots import Part, SnapshotUnusable
from operators import state
from operators.control import StageSnapshot
from operators.parts import EVERYTHING, Sweep
from operators.state import SomeRows

STATES = {
    "featurize": StageSnapshot("f1", {"rows": np.arange(6).reshape(2, 3), "n": 2}),
    "score": StageSnapshot("s1", {"mass": np.ones(4)}),
    "encode": StageSnapshot("e1", {}),
}
ROWS = SomeRows(np.array([1, 5], np.uint32), np.ones((2, 3)), 9)
BEFORE = (SnapshotPlace(40, "a" * 32, 9, number=3),)
DATA = snapshots.write("risk", 3, Part(42, 4, Sweep(60, 8), BEFORE, STATES))
SHORT = snapshots.write("risk", 3, Part(42, 1, EVERYTHING, (), {"decode": StageSnapshot("d", {"a": ROWS})}))


def sealed(data, offset=42):
    """The place that a commit would name for these bytes; BLAKE2b by the standard library, not by the code."""
    return SnapshotPlace(offset, hashlib.blake2b(data, digest_size=16).hexdigest(), len(data))


def test_any_single_flipped_bit_of_a_snapshot_is_refused():
    place = sealed(DATA)
    for at in range(len(DATA)):
        for bit in range(8):
            damaged = DATA[:at] + bytes([DATA[at] ^ 1 << bit]) + DATA[at + 1 :]
            with pytest.raises(SnapshotUnusable, match="checksum"):
                snapshots.read(damaged, "risk", 3, place)


def check_snapshot(data):
    """The checksum is that of the bytes: only what they say can be wrong."""
    try:
        found = snapshots.read(data, "risk", 3, sealed(data))
    except SnapshotUnusable as error:
        return "refused", str(error).partition(": ")[2][:18]
    again = snapshots.write("risk", 3, found)
    assert again == data, f"accepted, but its own bytes are others: {again!r}"
    return "read", len(found.stages)


def test_a_snapshot_whose_header_lies_is_refused_or_read_as_exactly_those_bytes():
    tokens = (
        b"\xff",
        b"\xd0\xff",
        b"\xcd\xff\xff",
        b"\xce\xff\xff\xff\xff",
        b"\xa4size",
        b"\xa4step",
        b"\x90",
        b"\x91",
        b"\x00",
    )
    cases = fuzzing.fuzz(check_snapshot, [DATA, SHORT], (snapshots, state), 0.08, tokens)
    print(f"snapshots: {cases:,} cases")


PLACES = tuple(SnapshotPlace(10**9 + n, f"{n:032x}", 10**6, 7, 2) for n in range(KEPT))
TEXTS = (
    progress.write(Progress("owner-1", 7)).encode(),
    progress.write(Progress("owner-1", 0, released=True, snapshots=PLACES)).encode(),
    b'{"owner":"a","begin":0,"snapshots":[%s]}' % b",".join([b'{"S":1,"h":"%s","size":9}' % (b"0" * 32)] * (KEPT + 1)),
    b'{"owner":"a","begin":0,"more":' + b"[" * 5_000,
    progress.write(Progress("é", 10**15, snapshots=(SnapshotPlace(1, "f" * 32, 9),))).encode(),
)
WORDS = (
    b'"owner":', b'"begin":', b'"released":true', b'"snapshots":[', b'"S":', b'"h":', b'"size":', b'"at":',
    b'"pieces":', b'"version":1', b"-1", b"9223372036854775808", b"1e3", b'"' + b"g" * 32 + b'"',
    b'"' + b"F" * 32 + b'"', b'""', b"[" * 5_000,
)  # fmt: skip


def check_progress(data):
    """As Kafka's client hands it over: text. What is accepted can be acted upon without a second look."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = progress.read(text)
    except UnreadableProgress as error:
        return "refused", str(error)[:30]
    if found is None:
        assert text == ""
        return "none"
    assert progress.read(progress.write(found)) == found
    assert found.owner
    assert 0 <= found.begin < 2**63
    assert len(found.snapshots) <= KEPT
    for place in found.snapshots:
        assert len(bytes.fromhex(place.checksum)) == 16
        assert place.checksum == place.checksum.lower()
        assert 0 <= place.offset < 2**63
        assert place.size >= 0
        assert (place.at == -1 and place.pieces == 0) or (0 <= place.at < 2**63 and place.pieces >= 1)
    return "read", found.released, len(found.snapshots)


def test_a_text_beside_an_offset_is_refused_or_can_be_acted_upon():
    print(f"progress: {fuzzing.fuzz(check_progress, TEXTS, (progress,), 0.06, WORDS):,} cases")
