import random

import numpy as np
import pytest

from connectors import snapshots
from connectors.progress import KEPT, SnapshotPlace
from connectors.snapshots import DirectoryStore, SnapshotUnusable, TopicStore
from operators.control import StageSnapshot

STATES = {
    "featurize": StageSnapshot("f1", {"rows": np.arange(12, dtype=np.int64).reshape(3, 4), "time_ms": 17}),
    "score": StageSnapshot("s1", {"mass": np.linspace(0, 1, 5)}),
}


def written(offset: int = 42) -> tuple[bytes, SnapshotPlace]:
    data = snapshots.write("risk", 3, offset, STATES)
    return data, SnapshotPlace(offset, snapshots.checksum(data), len(data))


def test_a_snapshot_comes_back_as_it_was_written():
    data, place = written()

    found = snapshots.read(data, "risk", 3, place)

    assert {step: each.fingerprint for step, each in found.items()} == {"featurize": "f1", "score": "s1"}
    assert found["featurize"].state["time_ms"] == 17
    assert np.array_equal(found["featurize"].state["rows"], STATES["featurize"].state["rows"])
    assert np.array_equal(found["score"].state["mass"], STATES["score"].state["mass"])


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_truncated_snapshot_is_refused(cut):
    data, place = written()
    with pytest.raises(SnapshotUnusable, match="bytes, got"):
        snapshots.read(data[:cut], "risk", 3, place)


def test_any_flipped_bit_is_noticed():
    data, place = written()
    rng = random.Random(3)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with pytest.raises(SnapshotUnusable, match="checksum"):
            snapshots.read(bytes(damaged), "risk", 3, place)


def test_a_snapshot_of_another_version_is_refused_by_name():
    data = snapshots.write("risk", 3, 42, STATES).replace(b"TGSNAP01", b"TGSNAP99")
    place = SnapshotPlace(42, snapshots.checksum(data), len(data))
    with pytest.raises(SnapshotUnusable, match=r"TGSNAP01.*TGSNAP99"):
        snapshots.read(data, "risk", 3, place)


@pytest.mark.parametrize(("flow", "partition", "offset"), [("ranking", 3, 42), ("risk", 4, 42), ("risk", 3, 43)])
def test_a_snapshot_of_something_else_is_refused(flow, partition, offset):
    data, place = written()
    place = SnapshotPlace(offset, place.checksum, place.size)
    with pytest.raises(SnapshotUnusable, match=r"it is of risk\[3\] at offset 42"):
        snapshots.read(data, flow, partition, place)


def test_a_directory_keeps_what_is_named_and_removes_the_rest(tmp_path):
    store = DirectoryStore(tmp_path, "risk")
    places = [store.save(3, offset, written(offset)[0]) for offset in (1, 2, 3, 4)]

    store.tidy(3, tuple(reversed(places))[:KEPT])

    assert sorted(int(path.name.split("-")[0]) for path in tmp_path.rglob("*.snapshot")) == [2, 3, 4]
    assert store.load(3, places[3], lambda _: None) == written(4)[0]
    with pytest.raises(SnapshotUnusable, match="was the volume kept"):
        store.load(3, places[0], lambda _: None)


def test_an_unfinished_file_is_not_a_snapshot(tmp_path):
    store = DirectoryStore(tmp_path, "risk")
    folder = tmp_path / "risk" / "3"
    folder.mkdir(parents=True)
    (folder / "00000000000000000001-00.part").write_bytes(b"half")
    assert not store.any(3)


def test_pieces_stay_under_a_megabyte_and_join_to_the_whole():
    data = random.Random(1).randbytes(2_500_000)
    pieces = TopicStore({}, "snapshots").pieces(data, slot=1)
    assert [key for key, _ in pieces] == [b"1/0", b"1/1", b"1/2"]
    assert max(len(value) for _, value in pieces) < 1_000_000
    assert b"".join(value[16:] for _, value in pieces) == data
