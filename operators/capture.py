"""Capture: what a later explanation of an event needs, as a record on the internal topic `risk.evidence`.

The risk flow knows why an event scored as it did only while it holds the masses and tails of that moment. So for events
that are risky enough it writes them down, as they are, and works nothing out: `operators.explain` does, in a flow of
its own. It is done for about one event in a hundred, and part of the encode stage.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from operators.batches import I32, I64, TIERS, U8, U16, Masses, Outgoing, Tiered, Walks
from operators.compiled import compiled
from operators.featurize.catalogue import Feature
from operators.score import ScoreConfig
from operators.tier.reasons import Reasons
from schemas.evidence import Catalogue, Evidence, encode


@compiled
def node_masses(leaf: I32, mass: I32) -> None:
    """Fill `mass`, shape (trees, 2 * leaves), heap-numbered from 1, from the leaves' masses, shape (trees, leaves)."""
    trees, leaves = leaf.shape
    for t in range(trees):
        for at in range(leaves):
            mass[t, leaves + at] = leaf[t, at]
        for k in range(leaves - 1, 0, -1):
            mass[t, k] = mass[t, 2 * k] + mass[t, 2 * k + 1]


@compiled
def walk(
    leaf: U16, mass: I32, split_feature: I32, limit: float, steps: U8, columns: U16, masses: I32, lengths: I64
) -> None:
    """Follow each event's path in each tree until the walk stops, tree after tree without gaps.

    Args:
        leaf: shape (m, trees).
        mass: of `node_masses`.
        split_feature: shape (trees, leaves).
        limit: the walk stops at a node with less mass.
        steps: output, splits passed, shape (m, trees).
        columns: output, column of each split passed, shape (m, trees * height).
        masses: output, mass of each node on the walk, the root first, shape (m, trees * (height + 1)).
        lengths: output, how many of `columns` are filled, shape (m,); of `masses` there is one more for each tree.
    """
    events, trees = leaf.shape
    leaves = split_feature.shape[1]
    height = 0
    while 1 << height < leaves:
        height += 1
    for m in range(events):
        passed = 0
        for t in range(trees):
            end = leaves + np.int64(leaf[m, t])
            depth = 0
            k = 1
            masses[m, passed + t] = mass[t, k]
            while depth < height and not mass[t, k] < limit:
                columns[m, passed] = split_feature[t, k]
                depth += 1
                k = end >> (height - depth)
                passed += 1
                masses[m, passed + t] = mass[t, k]
            steps[m, t] = depth
        lengths[m] = passed


class Capture:
    """Makes the records, for one partition. What it keeps is the masses seen last, summed up; it reaches no result.

    Args:
        config: of the score stage.
        catalogue: the features, in the order of the columns.
        budgets: alert budget of medium, high and critical.
        lowest: the least tier that is written down: medium, high or critical.
    """

    def __init__(
        self, config: ScoreConfig, catalogue: tuple[Feature, ...], budgets: tuple[float, float, float], lowest: str
    ) -> None:
        self._config = config
        self._limit = config.size_limit * config.window
        self._budgets = budgets
        self._lowest = TIERS.index(lowest)
        self._families = len({feature.family for feature in catalogue})
        self._usual = Reasons(catalogue, 0)
        columns = Catalogue(
            names=tuple(feature.name for feature in catalogue),
            units=tuple(feature.unit for feature in catalogue),
            directions=tuple(feature.direction for feature in catalogue),
            families=tuple(feature.family for feature in catalogue),
            windows_s=tuple(feature.window_s for feature in catalogue),
        )
        self._catalogue = msgspec.Raw(encode(columns))  # the same in every record: written once
        self._seen: I32 | None = None
        self._mass: I32 = np.zeros((config.trees, 2 << config.height), np.int32)

    def records(self, batch: Tiered) -> list[tuple[int, Outgoing]]:
        """Return each record with the row of its event, in the order of the rows."""
        scored = batch.calibrated.scored
        rows: NDArray[np.int64] = np.flatnonzero(batch.tier >= self._lowest)
        if scored.walks is None or not len(rows):
            return []
        featured = scored.featured
        decoded = featured.decoded
        partition, at = batch.span.partition, rows.tolist()
        raw = featured.raw[rows]
        usual, mapped, tails = self._usual.usual(raw), featured.features[rows], scored.feature_tail[rows]
        times = decoded.time_ms[rows].tolist()
        numbers = (batch.calibrated.tail, scored.score, scored.forest, scored.evidence)
        columns = [column[rows].tolist() for column in numbers]
        found: list[tuple[int, Outgoing]] = []
        config = self._config
        for m, (tail, score, forest, evidence, (steps, splits, masses)) in enumerate(
            zip(*columns, self._walks(scored.walks, decoded.offsets, rows), strict=True)
        ):
            row = at[m]
            value = encode(
                Evidence(
                    id=decoded.ids[row],
                    timestamp=times[m],
                    user=decoded.users[row],
                    tier=TIERS[batch.tier[row]],  # type: ignore[arg-type]
                    partition=partition,
                    offset=int(decoded.offsets[row]),
                    tail_probability=tail,
                    score=score,
                    forest=forest,
                    evidence=evidence,
                    forest_share=self._forest_share(score, evidence),
                    budgets=self._budgets,
                    catalogue=self._catalogue,  # type: ignore[arg-type]
                    raw=raw[m].tobytes(),
                    usual=usual[m].tobytes(),
                    mapped=mapped[m].tobytes(),
                    tails=tails[m].tobytes(),
                    statistic=config.statistic,
                    height=config.height,
                    window=config.window,
                    steps=steps,
                    columns=splits,
                    masses=masses,
                )
            )
            found.append((row, Outgoing("risk.evidence", decoded.users[row].encode(), value, max(times[m], 1))))
        return found

    def _forest_share(self, score: float, evidence: float) -> float:
        """Return the part of the score that is the forest's: what the rule of `operators.score.combine` added to it."""
        if score <= 0.0:
            return 0.0
        return min(max(1.0 - (1.0 - self._config.forest_weight) * evidence / self._families / score, 0.0), 1.0)

    def _walks(self, walks: Walks, offsets: I64, rows: NDArray[np.int64]) -> list[tuple[bytes, bytes, bytes]]:
        """Return steps, columns and masses of each of `rows`, as they are written."""
        events, trees, height = len(rows), self._config.trees, self._config.height
        steps: U8 = np.empty((events, trees), np.uint8)
        columns: U16 = np.empty((events, trees * height), np.uint16)
        masses: I32 = np.empty((events, trees * (height + 1)), np.int32)
        lengths: I64 = np.empty(events, np.int64)
        leaf = walks.leaf[rows]
        firsts = np.searchsorted(offsets[rows], [each.offset for each in walks.masses]).tolist()
        for each, first, end in zip(walks.masses, firsts, [*firsts[1:], events], strict=True):
            if first < end:
                part = slice(first, end)
                walk(
                    leaf[part], self._summed(each), each.split_feature, self._limit,
                    steps[part], columns[part], masses[part], lengths[part],
                )  # fmt: skip
        return [
            (steps[m].tobytes(), columns[m, :passed].tobytes(), masses[m, : passed + trees].tobytes())
            for m, passed in enumerate(lengths.tolist())
        ]

    def _summed(self, masses: Masses) -> I32:
        if self._seen is not masses.leaf:
            node_masses(masses.leaf, self._mass)
            self._seen = masses.leaf
        return self._mass
