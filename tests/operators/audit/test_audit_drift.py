"""What calibrate remembers of its own telling is in its snapshot."""

from operators.calibrate import Calibrate, CalibrateConfig


def told(stage, psi):
    """Return what one completed drift window with this index leads to."""
    return [detail["event"] for detail in stage._review.scores(psi)]


def test_a_drift_that_began_before_a_snapshot_is_not_begun_again_after_it():
    before, after = (Calibrate(CalibrateConfig(), "", {}) for _ in range(2))
    assert told(before, 0.3) == ["began"]
    after.load(before.dump())

    assert (told(after, 0.3), told(after, 0.05)) == ([], ["ended"])
