"""The parts of a partition's snapshots: which are kept, and how much the next one writes."""

import random

from connectors.partition import WHOLE_BELOW, Partition, Parts
from connectors.progress import KEPT, SnapshotPlace
from connectors.takeover import Opened
from operators.parts import EVERYTHING, SLICES, Sweep

LARGE = 100 * WHOLE_BELOW


def store(parts: Parts, written: int, sweep: Sweep | None = None, size: int = LARGE) -> tuple[SnapshotPlace, ...]:
    sweep = sweep or parts.next_sweep()
    parts.number += 1
    place = SnapshotPlace(parts.number, f"{parts.number:032x}", written, number=parts.number, swept=sweep.slices)
    return parts.stored(place, sweep, size)


def test_the_first_part_stands_alone():
    assert Parts().next_sweep() == EVERYTHING


def test_a_small_state_is_written_whole_every_time():
    parts = Parts()
    store(parts, 1000, size=WHOLE_BELOW - 1)
    assert parts.next_sweep() == EVERYTHING


def test_a_large_state_is_swept_as_much_as_it_changes():
    parts = Parts()
    store(parts, LARGE)
    store(parts, LARGE // 4 + LARGE // 8)  # a quarter was swept, so an eighth had changed
    assert parts.next_sweep() == Sweep(16, SLICES // 8)


def test_a_part_that_was_lost_makes_the_next_one_stand_alone():
    parts = Parts()
    store(parts, LARGE)
    parts.broken = True
    assert parts.next_sweep() == EVERYTHING


def test_three_snapshots_are_kept_and_every_part_that_they_need():
    """By brute force: a part is needed while the sweeps after it, up to a kept snapshot, leave a slice out."""
    rng = random.Random(7)
    parts, history = Parts(), []
    for _ in range(90):
        sweep = parts.next_sweep()
        store(parts, round(LARGE * (sweep.slices / SLICES + rng.choice([0.01, 0.05, 0.2, 0.7]))), sweep)
        history.append((parts.number, sweep))
        wanted = set()
        for last, _ in history[-KEPT:]:
            for number, _ in history[:last]:
                later = {(each.first + k) % SLICES for at, each in history[number:last] for k in range(each.slices)}
                if len(later) < SLICES:
                    wanted.add(number)
        assert [each.number for each in parts.places] == [number for number, _ in reversed(history[-KEPT:])]
        assert wanted <= {each.number for each in parts.kept}
        assert len(parts.kept) <= SLICES + KEPT


def test_parts_that_nobody_needs_are_told_once():
    parts = Parts()
    dropped = [each.number for _ in range(10) for each in store(parts, LARGE, EVERYTHING)]
    assert dropped == [1, 2, 3, 4, 5, 6, 7]


def test_a_snapshot_that_was_lost_is_due_again_though_nothing_has_happened_since():
    partition = Partition.of(Opened(0, 5, 5, 5, ()), "risk", 0.0)
    partition.position = 9
    assert partition.moved
    partition.note_barrier(1.0)
    assert not partition.moved

    partition.parts.broken = True
    assert partition.moved
