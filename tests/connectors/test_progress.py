import pytest

from connectors import progress
from connectors.progress import KEPT, Progress, SnapshotPlace, UnreadableProgress

PLACES = tuple(SnapshotPlace(10**15 + n, "f" * 32, 10**12, 10**15, 10**6) for n in range(KEPT))


def test_progress_comes_back_as_it_was_written():
    told = Progress("owner-1", 7, released=True, snapshots=PLACES)
    assert progress.read(progress.write(told)) == told


def test_the_longest_text_fits_beside_an_offset():
    """Kafka's offset.metadata.max.bytes is 4,096 by default."""
    longest = progress.write(Progress("p" * 249 + "x" * 60, 10**15, released=True, snapshots=PLACES))
    assert len(longest.encode()) < 4096


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
