"""How good the probabilities were that events were given, before anybody knew what came of them."""

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, Bool
from operators.calibrate import quality
from training.evaluate.evaluation import Probabilities, ProbabilityBin


def judged(given: F64, truth: NDArray[np.int8], delay_s: float) -> Probabilities | None:
    """Hold probabilities against the truth; None if no event with a known truth was given one.

    Args:
        given: probability of fraud, NaN where there was none, shape (n,).
        truth: 1 risky, 0 legitimate, -1 nobody knows, shape (n,).
        delay_s: event time from an event to its label.
    """
    rows: Bool = ~np.isnan(given) & (truth >= 0)
    if not rows.any():
        return None
    p, risky = given[rows], truth[rows] == 1
    sums = np.zeros((quality.BINS, 4))
    for one, fraud in zip(p.tolist(), risky.tolist(), strict=True):
        quality.judge(sums, one, float(fraud), 1.0)
    share = float(risky.mean())
    return Probabilities(
        delay_s=delay_s,
        events=int(rows.sum()),
        risky=int(risky.sum()),
        brier=quality.brier(sums),
        brier_base=share * (1.0 - share),
        error=quality.expected_calibration_error(sums),
        bins=[
            ProbabilityBin(
                events=int(weight), given=float(total / weight), risky=float(frauds / weight), frauds=int(frauds)
            )
            for weight, total, frauds, _ in sums[::-1].tolist()
            if weight > 0.0
        ],
    )
