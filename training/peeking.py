"""Peeking: what becomes of verdicts on real experiments if every look counts, by fixed tests and by always-valid ones.

The data are those of Liu, Cardoso, Couturier, McCoy, Datasets for Online Controlled Experiments, NeurIPS 2021 (arXiv
2111.10198): experiments of a shop, each arm's units, mean and variance of four metrics, written down every 12 or 24
hours. What the true effects are nobody knows, so no verdict is right or wrong here; but one that is given and taken
back again misled somebody at one of the two times. Nor is anything promised of them: a unit's metric goes on growing
after its exposure, so that neither test's assumptions hold (docs/experiments.md).
"""

import csv
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.effects import Arms, absolute
from experiments.intervals import TUNING, fixed_p, half_width, log_e_value, precision
from experiments.running import Running, conversions_missing, effective_missing, units_missing
from experiments.sums import F64

Bool = NDArray[np.bool_]

PROPORTION = "1"
"""The metric that is 0 or 1 for each unit: its variance is p (1 - p) to nine digits in every row."""


class Series(NamedTuple):
    """One metric of one variation beside its control, look by look.

    Attributes:
        experiment: its name.
        variation: its name.
        metric: its name.
        time: days since the start, shape (looks,), rising.
        control: fields of shape (looks,); variances that were not written down are NaN.
        arm: likewise.
    """

    experiment: str
    variation: str
    metric: str
    time: F64
    control: Arms
    arm: Arms


class Verdicts(NamedTuple):
    """What was said of a series at each look that counts: -1 down, 0 nothing, 1 up, shape (looks,).

    Attributes:
        fixed: Welch's test at alpha, as if each look were the only one.
        always: the always-valid interval of that look leaves out 0.
        changing: whether the intervals have nothing in common at the end.
    """

    fixed: NDArray[np.int8]
    always: NDArray[np.int8]
    changing: bool


class Tally(NamedTuple):
    """Of a number of series.

    Attributes:
        last: with a verdict at the last look.
        ever: with one at any look.
        lost: with one at some look and none, or the opposite, at the last: what a stop at that look would have got.
        changes: how often a verdict came, went or turned from one look to the next, in all series together.
        both: with a verdict for up and one for down.
    """

    last: int
    ever: int
    lost: int
    changes: int
    both: int


def read_series(path: Path) -> list[Series]:
    """Read the file of the data set, CSV, may be .gz; series in the file's order.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else.
    """
    rows: dict[tuple[str, str, str], list[list[float]]] = {}
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            try:
                key = (row["experiment_id"], row["variant_id"], row["metric_id"])
                found = [float(row[field] or "nan") for field in _FIELDS]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"expected the columns of the data set, got others in {path}: {error}") from error
            rows.setdefault(key, []).append(found)
    return [_series(key, np.array(found).T) for key, found in rows.items()]


_FIELDS = ("time_since_start", "count_c", "mean_c", "variance_c", "count_t", "mean_t", "variance_t")


def _series(key: tuple[str, str, str], columns: F64) -> Series:
    time, *figures = columns[:, np.argsort(columns[0], kind="stable")]
    nothing = np.zeros_like(time)
    arms = [
        Arms(n, mean, variance, nothing, nothing, nothing, n - 1.0) for n, mean, variance in (figures[:3], figures[3:])
    ]
    return Series(*key, time, *arms)


def judge(series: Series, alpha: float = 0.05, tuning: float = TUNING) -> Verdicts:
    """Return the verdicts at the looks after the burn-in at which both variances are known and not 0.

    Args:
        series: the looks.
        alpha: error rate: of each look for the fixed test, of all looks together for the always-valid one.
        tuning: N*, units of both arms at which the always-valid interval is narrowest.
    """
    effect = absolute(series.control, series.arm)
    ready = np.isfinite(effect.variance)
    for arm in (series.control, series.arm):
        ready &= (units_missing(arm.n) == 0.0) & (effective_missing(arm) == 0.0)
        if series.metric == PROPORTION:
            ready &= conversions_missing(arm.n, arm.mean) == 0.0
    rho2 = precision(alpha, tuning)
    half, log_e = half_width(effect, alpha, rho2), log_e_value(effect, rho2)
    memory = Running(())
    for at in np.flatnonzero(ready):
        lower, upper = effect.estimate[at] - half[at], effect.estimate[at] + half[at]
        memory.look(lower, upper, log_e[at], np.asarray(True))
    way = np.sign(effect.estimate).astype(np.int8)
    significant = fixed_p(effect) <= alpha
    outside = np.abs(effect.estimate) > half
    return Verdicts(
        np.where(significant, way, 0)[ready].astype(np.int8),
        np.where(outside, way, 0)[ready].astype(np.int8),
        bool(memory.changing),
    )


def tally(verdicts: Iterable[NDArray[np.int8]]) -> Tally:
    """Count what was said and taken back.

    Args:
        verdicts: of each series at each look; those without a look count as nothing said.
    """
    said: Sequence[NDArray[np.int8]] = [one for one in verdicts if len(one)]
    return Tally(
        last=sum(bool(one[-1]) for one in said),
        ever=sum(bool(one.any()) for one in said),
        lost=sum(bool((one[one != 0] != one[-1]).any()) for one in said),
        changes=sum(int((one[1:] != one[:-1]).sum()) for one in said),
        both=sum(bool((one > 0).any() and (one < 0).any()) for one in said),
    )


def growth(series: Series) -> float:
    """Return by what the control's mean has grown from the look at a quarter of all to the last one; NaN from 0.

    A metric whose units each count once, complete, would stay where it is.
    """
    mean = series.control.mean
    early = float(mean[len(mean) // 4])
    return float(mean[-1]) / early if early > 0.0 else float("nan")
