import random

import numpy as np
import pytest

from connectors import snapshots
from connectors.progress import SnapshotPlace
from connectors.snapshots import DirectoryStore, Part, SnapshotUnusable, TopicStore, needed
from operators.control import StageSnapshot
from operators.parts import EVERYTHING, Sweep
from operators.state import SomeRows

STATES = {
    "featurize": StageSnapshot("f1", {"rows": np.arange(12, dtype=np.int64).reshape(3, 4), "time_ms": 17}),
    "score": StageSnapshot("s1", {"mass": np.linspace(0, 1, 5)}),
}


def written(offset: int = 42) -> tuple[bytes, SnapshotPlace]:
    return part(offset, 1, EVERYTHING, (), STATES)


def part(offset, number, sweep, before, states):
    data = snapshots.write("risk", 3, Part(offset, number, sweep, tuple(before), states))
    return data, SnapshotPlace(offset, snapshots.checksum(data), len(data), number=number, swept=sweep.slices)


def test_a_snapshot_comes_back_as_it_was_written():
    data, place = written()

    found = snapshots.read(data, "risk", 3, place).stages

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
    data = written()[0].replace(b"TGSNAP02", b"TGSNAP99")
    place = SnapshotPlace(42, snapshots.checksum(data), len(data))
    with pytest.raises(SnapshotUnusable, match=r"TGSNAP02.*TGSNAP99"):
        snapshots.read(data, "risk", 3, place)


@pytest.mark.parametrize(("flow", "partition", "offset"), [("ranking", 3, 42), ("risk", 4, 42), ("risk", 3, 43)])
def test_a_snapshot_of_something_else_is_refused(flow, partition, offset):
    data, place = written()
    place = SnapshotPlace(offset, place.checksum, place.size)
    with pytest.raises(SnapshotUnusable, match=r"it is of risk\[3\] at offset 42"):
        snapshots.read(data, flow, partition, place)


@pytest.mark.parametrize(("swept", "expected"), [([64, 30, 30, 34], [2, 3]), ([64, 30, 30, 33], [1, 2, 3])])
def test_the_parts_needed_reach_back_until_all_slices_are_covered(swept, expected):
    """30 + 34 = 64: the last two parts hold every row; 30 + 33 = 63: they do not."""
    parts = [SnapshotPlace(number, "", 1, number=number, swept=slices) for number, slices in enumerate(swept)]

    assert [each.number for each in needed(parts)] == expected


def rows(values, numbers, length):
    return {"rows": SomeRows(np.array(numbers, np.uint32), np.array(values), length)}


def stored(store, *shares):
    """Store one part per (sweep, state, fingerprint), each naming those before it."""
    places = []
    for number, (sweep, state, fingerprint) in enumerate(shares):
        data, place = part(100 + number, number, sweep, places, {"featurize": StageSnapshot(fingerprint, state)})
        store.save(3, place, data)
        places.append(place)
    return places


def test_a_snapshot_in_parts_is_put_together(tmp_path):
    store = DirectoryStore(tmp_path, "risk")
    places = stored(
        store,
        (EVERYTHING, rows([1, 2, 3], [0, 1, 2], 3), "f"),
        (Sweep(1, 1), rows([22], [1], 3), "f"),
        (Sweep(2, 1), rows([4], [3], 4), "f"),
    )

    found = snapshots.restore(store, "risk", 3, places[-1], lambda _: None)

    assert found.states["featurize"].state["rows"].tolist() == [1, 22, 3, 4]
    assert found.parts == tuple(places)


def test_what_a_stage_kept_under_another_configuration_is_left_out(tmp_path):
    store = DirectoryStore(tmp_path, "risk")
    places = stored(
        store,
        (EVERYTHING, rows([1, 2, 3], [0, 1, 2], 3), "old"),
        (Sweep(1, 1), rows([9], [0], 1), "new"),
    )

    found = snapshots.restore(store, "risk", 3, places[-1], lambda _: None)

    assert found.states["featurize"].state["rows"].tolist() == [9]


def test_a_missing_older_part_makes_the_snapshot_unusable(tmp_path):
    store = DirectoryStore(tmp_path, "risk")
    places = stored(store, (EVERYTHING, rows([1, 2], [0, 1], 2), "f"), (Sweep(1, 1), rows([22], [1], 2), "f"))
    next(tmp_path.rglob("*100-*.snapshot")).unlink()

    with pytest.raises(SnapshotUnusable, match="was the volume kept"):
        snapshots.restore(store, "risk", 3, places[-1], lambda _: None)


def test_rows_that_are_in_no_part_make_the_snapshot_unusable(tmp_path):
    store = DirectoryStore(tmp_path, "risk")
    places = stored(store, (EVERYTHING, rows([1], [0], 2), "f"))

    with pytest.raises(SnapshotUnusable, match="1 rows are in none of the parts - at rows"):
        snapshots.restore(store, "risk", 3, places[-1], lambda _: None)


def test_a_directory_keeps_what_is_named_and_removes_the_rest(tmp_path):
    store = DirectoryStore(tmp_path, "risk")
    places = stored(store, *[(EVERYTHING, rows([1], [0], 1), "f")] * 4)

    store.tidy(3, places[1:])

    assert sorted(int(path.name.split("-")[0]) for path in tmp_path.rglob("*.snapshot")) == [101, 102, 103]
    with pytest.raises(SnapshotUnusable, match="was the volume kept"):
        next(store.load(3, places[:1], lambda _: None))


def test_a_file_that_could_not_be_finished_is_not_left_behind(tmp_path, monkeypatch):
    store = DirectoryStore(tmp_path, "risk")
    data, place = written()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(OSError, match="No space left"):
        store.save(3, place, data)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not store.any(3)


def test_pieces_stay_under_a_megabyte_and_join_to_the_whole():
    data = random.Random(1).randbytes(2_500_000)
    place = SnapshotPlace(1, snapshots.checksum(data), len(data), number=257)
    pieces = [TopicStore.piece(data, place, index) for index in range(TopicStore.count(data))]
    assert [key for key, _ in pieces] == [b"1/0", b"1/1", b"1/2"]
    assert max(len(value) for _, value in pieces) < 1_000_000
    assert b"".join(value[16:] for _, value in pieces) == data
