"""Qini and uplift curves, and areas under them. Libraries differ, so each figure says by its name how it is counted.

Of the units with the highest scores, t and c are those treated and not, Y_t and Y_c their summed outcomes:

- Qini curve (Radcliffe, Using Control Groups to Target on Predicted Lift, 2007): Y_t - Y_c t / c;
- uplift curve (Gutierrez and Gerardy, PMLR 67, 2017): (Y_t / t - Y_c / c) (t + c).

The straight line from nothing to everything is what a ranking by chance gives on average.

- `*_perfect_normalised`: area above that line, as a share of that of the perfect ranking: scikit-uplift's
  `qini_auc_score` (with negative effects) and `uplift_auc_score`. 1 is perfect, 0 chance, below it is worse. Units of
  one score come together, as one straight step.
- `qini_causalml`: mean height of the Qini curve above that line, over 0 to n units: causalml's `qini_score`; in the
  outcome's unit, or divided by the size of the curve's end (`_normalised`). Chance is the line since causalml#799;
  before, it was the mean of ten random rankings. `auuc_causalml_normalised`: mean height of the uplift curve, divided
  by the size of its end: causalml's `auuc_score`; chance is 1/2. In both, units of one score come in the order given,
  and points without treated units or without controls lie between their neighbours.
"""

from typing import NamedTuple

import numpy as np

from operators.batches import F64, Bool


class Curve(NamedTuple):
    """A curve, beginning at (0, 0).

    Attributes:
        units: how many of the best, ascending, shape (k,).
        gain: what they bring over the control, in the outcome's unit summed, shape (k,).
    """

    units: F64
    gain: F64


class _Best(NamedTuple):
    """Of the units with the highest scores, after each step: all, treated ones, outcomes summed; shape (k,)."""

    units: F64
    treated: F64
    y_treated: F64
    y_control: F64


def qini_curve(outcome: F64, score: F64, treated: Bool) -> Curve:
    """Return the Qini curve, one point for each score that occurs.

    Args:
        outcome: of each unit, shape (n,), n >= 1.
        score: higher is more uplift, finite, shape (n,).
        treated: whether it is in the arm that is tried, shape (n,).
    """
    best = _best(outcome, score, treated)
    control = best.units - best.treated
    with np.errstate(divide="ignore", invalid="ignore"):
        matched = np.where(control > 0, best.treated / control, 0.0)
    return _from_origin(best.units, best.y_treated - best.y_control * matched)


def uplift_curve(outcome: F64, score: F64, treated: Bool) -> Curve:
    """Return the uplift curve; arguments as `qini_curve`."""
    best = _best(outcome, score, treated)
    control = best.units - best.treated
    with np.errstate(divide="ignore", invalid="ignore"):
        y_treated = np.where(best.treated > 0, best.y_treated / best.treated, 0.0)
        y_control = np.where(control > 0, best.y_control / control, 0.0)
    return _from_origin(best.units, (y_treated - y_control) * best.units)


def perfect_qini_curve(outcome: F64, treated: Bool) -> Curve:
    """Return the Qini curve of the ranking that knows the outcomes: what the treated gained first, controls last."""
    return qini_curve(outcome, np.where(treated, outcome, -outcome), treated)


def perfect_uplift_curve(outcome: F64, treated: Bool) -> Curve:
    """Return the uplift curve of the ranking that knows the outcomes, which are 0 and 1.

    First treated units with the outcome and controls without it. Of these and of the others come first, if more
    controls have the outcome than treated units lack it, those with the outcome, else the treated: scikit-uplift's
    rule. It is a convention: this is not always the largest area there could be.
    """
    control_with = int(np.count_nonzero((outcome == 1) & ~treated))
    treated_without = int(np.count_nonzero((outcome == 0) & treated))
    then = outcome if control_with > treated_without else treated.astype(np.float64)
    return uplift_curve(outcome, 2.0 * (outcome == treated) + then, treated)


def qini_perfect_normalised(outcome: F64, score: F64, treated: Bool) -> float:
    """Return scikit-uplift's `qini_auc_score`; NaN if even the perfect ranking is no better than chance."""
    return _of_perfect(qini_curve(outcome, score, treated), perfect_qini_curve(outcome, treated))


def auuc_perfect_normalised(outcome: F64, score: F64, treated: Bool) -> float:
    """Return scikit-uplift's `uplift_auc_score`, meant for outcomes of 0 and 1; NaN as above."""
    return _of_perfect(uplift_curve(outcome, score, treated), perfect_uplift_curve(outcome, treated))


def qini_causalml(outcome: F64, score: F64, treated: Bool) -> float:
    """Return causalml's `qini_score(normalize=False)`, in the outcome's unit, summed over units."""
    gain = qini_causalml_gains(outcome, score, treated)
    return float(gain.mean() - gain[-1] / 2.0)


def qini_causalml_normalised(outcome: F64, score: F64, treated: Bool) -> float:
    """Return causalml's `qini_score`; NaN if the curve ends at 0."""
    gain = qini_causalml_gains(outcome, score, treated)
    return float(gain.mean() - gain[-1] / 2.0) / abs(float(gain[-1])) if gain[-1] else float("nan")


def auuc_causalml_normalised(outcome: F64, score: F64, treated: Bool) -> float:
    """Return causalml's `auuc_score`; NaN if the curve ends at 0."""
    best = _each(outcome, score, treated)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = best.y_treated / best.treated - best.y_control / (best.units - best.treated)
    gain = _between(lift) * np.append(0.0, best.units)
    return float(gain.mean()) / abs(float(gain[-1])) if gain[-1] else float("nan")


def qini_causalml_gains(outcome: F64, score: F64, treated: Bool) -> F64:
    """Return the height of causalml's Qini curve at 0, 1, ... n units, shape (n + 1,)."""
    best = _each(outcome, score, treated)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _between(best.y_treated - best.y_control * best.treated / (best.units - best.treated))


def _each(outcome: F64, score: F64, treated: Bool) -> _Best:
    """Return a step for each unit, those of one score in the order given."""
    order = np.argsort(-score, kind="stable")
    treated, outcome = treated[order], outcome[order]
    return _Best(
        np.arange(1.0, len(order) + 1.0),
        np.cumsum(treated, dtype=np.float64),
        np.cumsum(np.where(treated, outcome, 0.0)),
        np.cumsum(np.where(treated, 0.0, outcome)),
    )


def _best(outcome: F64, score: F64, treated: Bool) -> _Best:
    """Return a step for each score."""
    ordered = np.sort(-score)
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    return _Best(*(column[last] for column in _each(outcome, score, treated)))


def _between(values: F64) -> F64:
    """Put 0 before the values; where there is none, take the line between the neighbours, at the end the last."""
    values = np.append(0.0, values)
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known])


def _from_origin(units: F64, gain: F64) -> Curve:
    return Curve(np.append(0.0, units), np.append(0.0, gain))


def _area(curve: Curve) -> float:
    """Return the area above the line from the first point to the last."""
    under = float(np.sum(np.diff(curve.units) * (curve.gain[1:] + curve.gain[:-1])) / 2.0)
    return under - float(curve.units[-1] * curve.gain[-1]) / 2.0


def _of_perfect(curve: Curve, perfect: Curve) -> float:
    most = _area(perfect)
    return _area(curve) / most if most else float("nan")
