"""What each feature contributed to the forest's score and to the evidence: exact sums, no sampling.

**Evidence** is a sum over families, each speaking with its strongest feature (`operators.score.evidence`): that feature
contributes -ln(its tail probability), the others of its family nothing.

**Forest.** Each split of a walk changes what the tree holds the point to be worth; the change is the contribution of
the feature that the split looks at. This is the attribution by paths of Saabas (Interpreting random forests, 2014),
for masses. With m_j the mass of the node at depth j, u_j = m_j * 2^j what a window spread evenly below it would put in
every node, s the depth at which the walk stops and h the height, a tree's worth after j splits is

    log_mass  V_j = log2(u_j + 1)
    river     V_j = u_0 + ... + u_j + (h - j) * u_j, every node below as heavy as its share of this one; where the walk
              stops above the leaves, what it leaves out, (h - s) * u_s, is the doing of the last split, if any

and the score is 1 - (sum over trees of V_s) / greatest. So the changes telescope:

    forest = base + sum of all contributions,   base = 1 - (sum over trees of V_0) / greatest

to the last few bits. Above 0 makes the event more unusual. The attribution is of this walk: a feature that no split of
it looks at has 0, and of two that say the same the one that is met first gets the more.
"""

import math

import numpy as np

from operators.batches import F64, I32, I64, U8, U16
from operators.compiled import compiled


def greatest(statistic: str, trees: int, height: int, window: int) -> float:
    """Return the greatest possible sum over trees of what walks are worth: the score is 1 less its share of that."""
    river = window * (2.0 ** (height + 1) - 1)
    return trees * (river if statistic == "river" else math.log2(window * 2.0**height + 1))


@compiled
def telescope(
    steps: U8,
    columns: U16,
    masses: I32,
    height: int,
    river: bool,  # noqa: FBT001  a kernel takes scalars
    scale: float,
    contributions: F64,
) -> float:
    """Add each split's contribution to its column's, and return the base.

    Args:
        steps: splits passed in each tree, shape (trees,).
        columns: column of each split, tree after tree.
        masses: mass of each node passed, root first, tree after tree.
        height: of the trees.
        river: which statistic.
        scale: see `greatest`.
        contributions: output, shape (features,), added to.
    """
    at = 0  # of the tree's first split
    base = 0.0
    for t in range(len(steps)):
        share = np.float64(masses[at + t])
        done = share
        below = height if steps[t] > 0 else 0
        worth = done + below * share if river else math.log2(share + 1.0)
        base += worth
        for j in range(steps[t]):
            depth = j + 1
            share = masses[at + t + depth] * 2.0**depth
            done += share
            if not river:
                after = math.log2(share + 1.0)
            elif depth == steps[t]:
                after = done
            else:
                after = done + (height - depth) * share
            contributions[columns[at + j]] -= (after - worth) / scale
            worth = after
        at += steps[t]
    return 1.0 - base / scale


def warm_up() -> None:
    """Compile the loop, or load it."""
    steps, columns, masses = (np.frombuffer(bytes(8), kind) for kind in ("u1", "<u2", "<i4"))
    telescope(steps[:1], columns, masses, 1, False, 1.0, np.zeros(1))


def of_families(tails: F64, families: I64) -> F64:
    """Return each feature's contribution to the evidence in nats, shape (features,).

    Args:
        tails: tail probability of each feature, shape (features,).
        families: number of each feature's family, from 0, shape (features,).
    """
    nats: F64 = np.zeros(len(tails))
    strongest: dict[int, int] = {}
    for column, family in enumerate(families.tolist()):
        # Of equal ones the first, as the reasons have it.
        if family not in strongest or tails[column] < tails[strongest[family]]:
            strongest[family] = column
    for column in strongest.values():
        nats[column] = abs(math.log(tails[column]))  # not -0.0 for a tail of 1
    return nats


def shares(evidence: F64, forest: F64, forest_share: float) -> F64:
    """Return each feature's part in what led the decision, shape (features,).

    By the rule that joins forest and evidence (`operators.score.combine`) the forest has `forest_share` of the score.
    That is divided among the features that made the event more unusual, as they contributed, the rest as evidence is.
    The parts add up to 1, or to less where one of the two has nobody to divide it among.
    """
    return forest_share * _parts(np.maximum(forest, 0.0)) + (1.0 - forest_share) * _parts(evidence)


def _parts(amounts: F64) -> F64:
    total = amounts.sum()
    parts: F64 = amounts / total if total > 0.0 else np.zeros(len(amounts))
    return parts
