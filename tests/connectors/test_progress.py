import pytest
from msgspec.structs import replace

from connectors import progress
from connectors.progress import KEPT, MOST_SIDES, Progress, SnapshotPlace, UnreadableProgress

PLACES = tuple(SnapshotPlace(10**15 + n, "f" * 32, 10**12, 10**15, 10**6) for n in range(KEPT))
SIDES = {f"a-topic-of-a-longer-name-{number}": 10**15 + number for number in range(MOST_SIDES)}


def test_progress_comes_back_as_it_was_written():
    told = Progress("owner-1", 7, released=True, snapshots=PLACES)
    assert progress.read(progress.write(told)) == told


def test_the_longest_text_fits_beside_an_offset():
    """Kafka's offset.metadata.max.bytes is 4,096 by default."""
    places = tuple(replace(place, number=10**9, sides=SIDES, journal=10**15) for place in PLACES)
    longest = progress.write(
        Progress(
            "p" * 249 + "x" * 60, 10**15, True, places, beside="b" * 200, partitions=10_000,
            sides=SIDES, sides_begin=SIDES, journal=10**15,
        )
    )  # fmt: skip
    assert len(longest.encode()) < 4096


def test_side_offsets_come_back_as_they_were_written():
    places = tuple(replace(place, sides={"labels": 5}, journal=3) for place in PLACES)
    told = Progress("owner-1", 7, snapshots=places, sides={"labels": 9}, sides_begin={"labels": 0}, journal=2)
    assert progress.read(progress.write(told)) == told


def test_a_text_from_before_side_inputs_reads_as_before():
    """Written by hand after the version that had none."""
    text = '{"owner":"o","begin":7,"snapshots":[{"S":9,"h":"%s","size":5,"at":3,"pieces":1,"n":4}],"partitions":2}'
    told = progress.read(text % ("f" * 32))
    assert told == Progress(
        "o", 7, snapshots=(SnapshotPlace(9, "f" * 32, 5, 3, 1, 4),), partitions=2, sides={}, sides_begin={}, journal=0
    )
    assert progress.write(told) == text % ("f" * 32)


def test_a_side_topic_without_a_beginning_is_refused():
    with pytest.raises(UnreadableProgress, match="expected a beginning for every side topic"):
        progress.read('{"owner":"o","begin":7,"sides":{"labels":4}}')


@pytest.mark.parametrize("text", [None, ""])
def test_no_text_means_another_tool_set_the_offset(text):
    assert progress.read(text) is None


@pytest.mark.parametrize("text", ["hello", "{}", '{"owner":1,"begin":0}'])
def test_a_text_that_is_not_ours_is_refused(text):
    with pytest.raises(UnreadableProgress, match="expected Tidegate's progress record"):
        progress.read(text)


def test_a_text_of_another_version_is_refused():
    with pytest.raises(UnreadableProgress, match="version 1, got 2"):
        progress.read('{"owner":"a","begin":0,"version":2}')
