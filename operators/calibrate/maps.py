"""From counts of fraud and legit over -ln tail to a probability that never falls: two ways to fit it.

**Isotonic**: the weighted least squares fit among all that never fall, by pooling adjacent violators (Ayer et al., Ann.
Math. Statist. 1955; as calibration: Zadrozny and Elkan, KDD 2002). A bin without labels has the value of the one below.

**Beta** (Kull, Silva Filho and Flach, AISTATS 2017) of s = 1 - tail, of which the logarithms are at hand:

    logit p = c + a ln s - b ln(1 - s) = c + a ln(1 - e^-x) + b x,    x = -ln tail,  a, b >= 0

by maximum likelihood (Newton); a or b below 0 is set to 0 and the rest fitted again, as in the paper, section 4.1.

Either way the classes are not 1 and 0 but, as Platt has it (1999, section 2.2),

    fraud (F + 1) / (F + 2),    legit 1 / (L + 2)

so that nothing is certain, and a likelihood has its maximum even where the classes are apart. The isotonic fit of them
is that of 1 and 0, mapped linearly, with F and L the numbers of labels, whatever they weigh. A beta map does not leave
the range between them; there F and L are weights, or the few labels that stand for most events would bend it.
"""

import math

import numpy as np

from operators.batches import F64
from operators.compiled import compiled

PER_NAT = 8
PLACES = 24 * PER_NAT
"""Bins of -ln tail, 1/8 wide: 13 % in the tail. No tail is below 1e-8, which is at 18.4."""

MOST_STEPS = 50
RIDGE = 1e-9


@compiled
def place_of(tail: float) -> int:
    """Return the bin of -ln tail."""
    return min(int(-math.log(tail) * PER_NAT), PLACES - 1) if tail > 0.0 else PLACES - 1


@compiled
def isotonic(fraud: F64, legit: F64, fitted: F64) -> None:
    """Fill `fitted`, shape (places,), with the isotonic fit of the share of fraud; no labels at all: NaN."""
    n = len(fraud)
    total, weight, since = np.empty(n), np.empty(n), np.empty(n, np.int64)
    blocks = 0
    for k in range(n):
        if fraud[k] + legit[k] <= 0.0:
            continue
        total[blocks], weight[blocks], since[blocks] = fraud[k], fraud[k] + legit[k], k
        blocks += 1
        while blocks > 1 and total[blocks - 2] * weight[blocks - 1] >= total[blocks - 1] * weight[blocks - 2]:
            total[blocks - 2] += total[blocks - 1]
            weight[blocks - 2] += weight[blocks - 1]
            blocks -= 1
    fitted[:] = np.nan
    block = 0
    for k in range(n if blocks > 0 else 0):
        if block + 1 < blocks and k >= since[block + 1]:
            block += 1
        fitted[k] = total[block] / weight[block]


@compiled
def smooth(fraud: float, legit: float, fitted: F64) -> None:
    """Replace a fit of 1 and 0 by that of Platt's targets, for so many labels."""
    high, low = (fraud + 1.0) / (fraud + 2.0), 1.0 / (legit + 2.0)
    for k in range(len(fitted)):
        fitted[k] = low + (high - low) * fitted[k]


@compiled
def _loss(x: F64, weight: F64, target: F64, at: F64) -> float:
    total = float(RIDGE * (at[0] ** 2 + at[1] ** 2))
    for k in range(len(weight)):
        z = at[0] * x[k, 0] + at[1] * x[k, 1] + at[2]
        total += weight[k] * (max(z, 0.0) - target[k] * z + math.log1p(math.exp(-abs(z))))
    return total


@compiled
def logistic(x: F64, weight: F64, target: F64, use_a: bool, use_b: bool) -> F64:  # noqa: FBT001  a mask
    """Return (a, b, c) of the logistic regression of `target` on two columns, some held at 0; Newton with halving.

    Args:
        x: shape (n, 2).
        weight: sums to about 1, shape (n,).
        target: within (0, 1), shape (n,).
        use_a: whether the first column's coefficient is free.
        use_b: whether the second's is.
    """
    mean = np.sum(weight * target) / np.sum(weight)
    at = np.array([0.0, 0.0, math.log(mean / (1.0 - mean))])
    free = np.array([1.0 if use_a else 0.0, 1.0 if use_b else 0.0, 1.0])
    slope, bend, row = np.zeros(3), np.zeros((3, 3)), np.ones(3)
    loss = _loss(x, weight, target, at)
    for _ in range(MOST_STEPS):
        slope[:], bend[:] = 0.0, 0.0
        for k in range(len(weight)):
            row[0], row[1] = x[k, 0] * free[0], x[k, 1] * free[1]
            z = at[0] * x[k, 0] + at[1] * x[k, 1] + at[2]
            p = 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))
            error, curve = weight[k] * (p - target[k]), weight[k] * p * (1.0 - p)
            for i in range(3):
                slope[i] += error * row[i]
                for j in range(3):
                    bend[i, j] += curve * row[i] * row[j]
        for i in range(2):
            slope[i] += 2.0 * RIDGE * at[i]
        for i in range(3):
            bend[i, i] += 2.0 * RIDGE + (1.0 - free[i])
        step = _solved(bend, slope)
        size = 1.0
        while size > 1e-6:
            tried = at - size * step * free
            lower = _loss(x, weight, target, tried)
            if lower <= loss:
                break
            size *= 0.5
        if size <= 1e-6:
            break
        gained = loss - lower
        at, loss = tried, lower
        if gained < 1e-12:
            break
    return at


@compiled
def _solved(bend: F64, slope: F64) -> F64:
    """Return the solution of three equations, by elimination (the matrix is positive definite)."""
    a, b = bend.copy(), slope.copy()
    for i in range(3):
        for j in range(i + 1, 3):
            factor = a[j, i] / a[i, i]
            for k in range(i, 3):
                a[j, k] -= factor * a[i, k]
            b[j] -= factor * b[i]
    for i in range(2, -1, -1):
        for k in range(i + 1, 3):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    return b


@compiled
def beta(fraud: F64, legit: F64, fitted: F64) -> F64:
    """Fill `fitted`, shape (places,), with the beta map, and return (a, b, c); there must be labels of both kinds."""
    n = len(fraud)
    frauds, legits = np.sum(fraud), np.sum(legit)
    high, low = (frauds + 1.0) / (frauds + 2.0), 1.0 / (legits + 2.0)
    used = np.flatnonzero(fraud + legit > 0.0)
    x = np.empty((n, 2))
    for k in range(n):
        middle = (k + 0.5) / PER_NAT
        x[k, 0], x[k, 1] = math.log(-math.expm1(-middle)), middle
    weight = (fraud + legit)[used]
    target = (fraud[used] * high + legit[used] * low) / weight
    weight = weight / np.sum(weight)
    columns = x[used]
    at = logistic(columns, weight, target, True, True)
    if at[0] < 0.0 or at[1] < 0.0:
        use_a = at[0] >= 0.0
        at = logistic(columns, weight, target, use_a, not use_a)
        if at[0] < 0.0 or at[1] < 0.0:
            at = logistic(columns, weight, target, False, False)
    for k in range(n):
        z = at[0] * x[k, 0] + at[1] * x[k, 1] + at[2]
        p = 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))
        fitted[k] = min(max(p, low), high)
    return at
