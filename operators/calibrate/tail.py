"""Tables of tail probabilities: counts where there are enough, a generalised Pareto tail beyond, raised and held back.

With n the decayed number of earlier scores and A(b) those in bins >= b, the tail of a score in bin b is

    A(b) >= ENOUGH:  (A(b) + 1) / (n + 1)                                  conformal (Vovk et al. 2005, section 2.2)
    beyond, at x nats above the first bin j with A(j) < ENOUGH:
                     (A(j) + 1) / (n + 1) * (1 + xi x / sigma_j)^(-1/xi)   generalised Pareto

the second by the theorem of Pickands, Balkema and de Haan, as SPOT uses it (Siffer et al., KDD 2017, eq. 1), and joined
at j, where both are equal. Shape and scale are fitted to the excesses over the bin above which about EXCESSES scores
lie, by probability-weighted moments (Hosking and Wallis, Technometrics 1987, section 3.1): in closed form, defined on
weighted counts, and fit for small samples, where Grimshaw's likelihood, as SPOT has it, may have no root. The shape is
then shrunk towards 0 by N / (N + SHRINK): scores are made of logarithms of probabilities, whose tails are exponential.
A GPD over one threshold is one over every higher one, with sigma_j = sigma + xi (j - threshold).

The excesses are the histogram's own bins: bounded, decayed, and in the snapshot already.

A tail t is *raised* by s nats when its odds are, t / (1 - t) * e^s: small tails by the factor e^s, and 1 stays 1. That
has no unit of the score in it, so correction and step limit mean the same whatever the scores are.
"""

import math

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64
from operators.compiled import compiled

I32 = NDArray[np.int32]

GREATEST_SCORE = 40
BINS_PER_NAT = 128
BINS = GREATEST_SCORE * BINS_PER_NAT
"""Bins are 1/128 wide. The flow's scores are means of logarithms of probabilities, of which none is below 2^-53: they
stay under 36.7."""

ENOUGH = 10.0
"""Scores beyond which counting is trusted: its relative error is then about 1/3 at worst."""

EXCESSES = 100.0
FEWEST = 20.0
"""Scores to which the tail is fitted, and without which none is fitted."""

SHRINK = 100.0
FARTHEST = 100.0
"""How many times rarer than 1 / (n + 1), the rarest that counting can tell, a tail is said to be."""


@compiled
def tail_fit(above: F64, at: int) -> tuple[float, float]:
    """Return shape and scale, in bins, of the scores in bins >= `at`; (0, 0) where they are too few.

    Args:
        above: scores in each bin and all higher ones, shape (bins,).
        at: the threshold's bin.
    """
    total = above[at]
    if total < FEWEST:
        return 0.0, 0.0
    first = 0.0
    second = 0.0
    for b in range(at, len(above)):
        if above[b] <= 0.0:
            break
        after = above[b + 1] if b + 1 < len(above) else 0.0
        weight = above[b] - after
        if weight <= 0.0:
            continue
        excess = b - at + 0.5
        first += weight * excess
        second += weight * excess * (after + 0.5 * weight) / total
    first /= total
    second /= total
    if first <= 2.0 * second:  # no tail at all: a heavier one than any with a mean
        return 0.0, first
    shape = 2.0 - first / (first - 2.0 * second)
    shape = max(-0.5, min(0.5, shape * total / (total + SHRINK)))
    return shape, first * (1.0 - shape)


@compiled
def raised(tail: float, factor: float) -> float:
    """Return the tail whose odds are `factor` times those of `tail`, above 0."""
    return min(1.0, tail * factor / (1.0 + tail * (factor - 1.0)))


@compiled
def tabulate(settled: F64, nats: float, table: F64) -> None:
    """Fill `table`, shape (bins,), by the module's formulas, with all tails raised by `nats`."""
    bins = len(settled)
    above = np.empty(bins)
    total = 0.0
    for b in range(bins - 1, -1, -1):
        total += settled[b]
        above[b] = total
    joint = bins
    start = bins
    for b in range(bins - 1, -1, -1):
        if above[b] < ENOUGH:
            joint = b
        if above[b] < EXCESSES:
            start = b
        else:
            break
    shape, scale = 0.0, 0.0
    if start < bins and total >= EXCESSES:
        shape, scale = tail_fit(above, start)
        scale += shape * (joint - start)
    factor = math.exp(nats)
    previous = 1.0
    rarest = 1.0 / ((total + 1.0) * FARTHEST)
    beyond = 1.0
    for b in range(bins):
        if b < joint or scale <= 0.0:
            table[b] = raised((above[b] + 1.0) / (total + 1.0), factor)
            continue
        if b > joint and previous == rarest:
            table[b] = table[b - 1]
            continue
        x = (b - joint) / scale
        inside = 1.0 + shape * x
        if inside <= 0.0:
            beyond = 0.0
        elif abs(shape) < 1e-6:
            beyond = math.exp(-x)
        else:
            beyond = inside ** (-1.0 / shape)
        previous = max(rarest, (above[joint] + 1.0) / (total + 1.0) * beyond)
        table[b] = raised(previous, factor)


@compiled
def hold_back(table: F64, anchor: F64, nats: float) -> None:
    """Lower `table` so that no score's tail is raised by more than `nats` against `anchor`.

    So for every budget at once: whoever was within it is within the budget raised by `nats`.
    """
    factor = math.exp(nats)
    for b in range(len(table)):
        table[b] = min(table[b], raised(anchor[b], factor))


def first_within(table: F64, budget: float) -> int:
    """Return the first bin whose tail is within the budget; `BINS` if there is none."""
    within = table <= budget  # tails fall from bin to bin: False, then True
    return int(np.argmax(within)) if within[-1] else BINS
