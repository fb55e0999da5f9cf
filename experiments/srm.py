"""Sample ratio mismatch: whether units arrive in the shares that were designed.

Sequential: Lindon and Malek, NeurIPS 2022 (arXiv 2011.03567). A Dirichlet law of the shares around the design against
the design itself; the Bayes factor is a martingale if the design holds, so P(ever 1/alpha or more) <= alpha. It depends
on counts alone, and counts add up over partitions. A phase with another design begins a factor of its own; the product
of factors is a martingale again, so a ramp does not alarm.

An arm of share 0 is not tested: it has no expected count. Its units are an alarm of their own (`strays`).
"""

import math

import numpy as np

from experiments.special import chi_squared_tail, log_gamma
from experiments.sums import F64, I64
from operators.state import State

CONCENTRATION = 100.0
"""Of the Dirichlet law. 10,000 as in the paper's software would need more units to see a coarse mismatch: at 1,000
against 1,200 the evidence is 270 times weaker."""


def strays(counts: I64, shares: F64) -> I64:
    """Return the units in arms of share 0, of shape (...), for counts and shares of shape (..., arms): any is a bug."""
    return np.asarray(np.sum(np.where(shares > 0.0, 0, counts), axis=-1), np.int64)


def log_bayes_factor(counts: I64, shares: F64, concentration: float = CONCENTRATION) -> F64:
    """Return ln of the Bayes factor against the design: of a phase, by its counts so far. 0 is no evidence.

        ln BF = ln Gamma(k) - ln Gamma(k + n) + sum over arms of ln Gamma(k t + c) - ln Gamma(k t) - c ln t

    Args:
        counts: units of each arm, shape (..., arms).
        shares: designed shares t, sum 1 over arms that are not 0, shape (..., arms).
        concentration: k, above 0, chosen before the first look.
    """
    tested = shares > 0.0
    share = np.where(tested, shares, 1.0)
    count = np.where(tested, counts, 0).astype(np.float64)
    prior = concentration * share
    arms = np.where(tested, log_gamma(prior + count) - log_gamma(prior) - count * np.log(share), 0.0)
    n = count.sum(axis=-1)
    total = concentration * np.sum(np.where(tested, shares, 0.0), axis=-1)
    # A design whose arms are all 0 tests nothing.
    total = np.where(total > 0.0, total, 1.0)
    return np.asarray(log_gamma(total) - log_gamma(total + n) + arms.sum(axis=-1), np.float64)


def chi_squared(counts: I64, shares: F64) -> float:
    """Return the p-value of Pearson's test; 1 where there is nothing to test. Valid at one look, not at many.

    Args:
        counts: units of each arm, shape (arms,).
        shares: designed shares, shape (arms,). Arms of share 0 are left out, with their units.
    """
    tested = shares > 0.0
    count, share = counts[tested].astype(np.float64), shares[tested]
    n = count.sum()
    if n == 0.0 or len(count) < 2:
        return 1.0
    expected = n * share / share.sum()
    return chi_squared_tail(float(((count - expected) ** 2 / expected).sum()), len(count) - 1)


def share_interval(counts: I64, shares: F64, alpha: float, concentration: float = CONCENTRATION) -> tuple[F64, F64]:
    """Return the always-valid interval of each arm's true share, lower and upper, shape (arms,); of one phase.

    The set {t: sum c ln t >= ln B(a + c) - ln B(a) + ln alpha} seen along one arm: the others at their best.

    Args:
        counts: units of each arm, shape (arms,).
        shares: designed shares, all above 0, shape (arms,).
        alpha: error rate, 0 < alpha < 1.
        concentration: as in `log_bayes_factor`.
    """
    count = counts.astype(np.float64)
    n = count.sum()
    least = float(log_bayes_factor(counts, shares, concentration)) + float(count @ np.log(shares)) + math.log(alpha)
    others = _entropy_sum(count) - _xlogx(count) - _xlogx(n - count)
    best = count / n if n else shares

    def inside(t: F64) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return _times_log(count, t) + _times_log(n - count, 1.0 - t) + others >= least

    ends = []
    for limit in (0.0, 1.0):
        outer, inner = np.full(len(count), limit), best.copy()
        outer_inside = inside(outer)
        for _ in range(60):
            middle = (outer + inner) / 2.0
            good = inside(middle)
            inner, outer = np.where(good, middle, inner), np.where(good, outer, middle)
        ends.append(np.where(outer_inside, limit, inner))
    return ends[0], ends[1]


def _xlogx(x: F64) -> F64:
    return x * np.log(np.where(x > 0.0, x, 1.0))


def _entropy_sum(count: F64) -> float:
    return float(_xlogx(count).sum())


def _times_log(count: F64, t: F64) -> F64:
    with np.errstate(divide="ignore"):
        return np.where(count > 0.0, count * np.log(np.where(count > 0.0, t, 1.0)), 0.0)


class RunningSrm:
    """The largest evidence so far of any number of experiments.

    Args:
        experiments: how many.

    Attributes:
        log_largest: largest ln of the product of Bayes factors, shape (experiments,); 0 before the first look.
    """

    def __init__(self, experiments: int) -> None:
        self.log_largest: F64 = np.zeros(experiments)

    def look(self, log_factors: F64) -> None:
        """Take in a look.

        Args:
            log_factors: `log_bayes_factor` of every phase so far, shape (experiments, phases); 0 of one not begun.
        """
        self.log_largest = np.maximum(self.log_largest, log_factors.sum(axis=-1))

    @property
    def p(self) -> F64:
        """The anytime p-value, the running minimum of 1 / BF; an alarm is p <= alpha."""
        return np.exp(-self.log_largest)

    def dump(self) -> State:
        """Return a copy of what is remembered."""
        return {"srm.log_largest": self.log_largest.copy()}

    def load(self, state: State) -> None:
        """Replace what is remembered by what was dumped.

        Raises:
            ValueError: the number of experiments differs.
        """
        largest = np.asarray(state["srm.log_largest"])
        if largest.shape != self.log_largest.shape:
            raise ValueError(f"expected shape {self.log_largest.shape}, got {largest.shape} - at srm.log_largest")
        self.log_largest = largest.copy()
