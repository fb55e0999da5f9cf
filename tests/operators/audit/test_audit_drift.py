"""What calibrate remembers of its own telling is in its snapshot."""

import numpy as np
from decisions import tiered

from operators.calibrate import Calibrate, CalibrateConfig

BATCH = tiered(["low"]).calibrated.scored


def told(stage, psi):
    """Return what one completed drift window with this index leads to."""
    return [change.detail["event"] for change in stage._changes(BATCH, np.array([0.0, psi]))]


def test_a_drift_that_began_before_a_snapshot_is_not_begun_again_after_it():
    before, after = (Calibrate(CalibrateConfig(), "", {}) for _ in range(2))
    assert told(before, 0.3) == ["began"]
    after.load(before.dump())

    assert (told(after, 0.3), told(after, 0.05)) == ([], ["ended"])
