"""Forest, evidence and their combination over plain numeric columns: no users, no labels, one pass, no look-ahead.

What the score stage does for events, for a table of numbers in the order in which they came:

- **Limits.** The first `window` rows are only collected. A column's limits are its least and greatest value there,
  padded by half of the range at either side (a constant column by 0.5); values outside saturate.
- **Warm-up.** Then these rows are learnt, as the forest's first window and the evidence's first table. They have no
  score: NaN, in all three columns. A row with a value that is not finite has no score and teaches nothing.
- **Gate.** As in `operators.score.gate`, every row by a user of its own: a shadow forest takes over by duration alone.
- **Evidence.** Every column is a family of its own, and unusual values both ways are evidence.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from operators.batches import F64, U64, Bool
from operators.featurize.catalogue import Feature
from operators.score.combine import Combination
from operators.score.evidence import Evidence
from operators.score.forest import Forest, Statistic
from operators.score.gate import MARKS, GateConfig

PADDING = 0.5
"""Share of a column's first range that its limits lie beyond it, at either side."""

DEFAULT_GATE = GateConfig(share=0.005, relearn_users=1)


@dataclass(frozen=True, slots=True)
class TableConfig:
    """Settings of a table's models; see `operators.score.ScoreConfig` for what is named alike.

    Attributes:
        trees: 1 to 1000.
        height: 1 to 15. Columns are few and their scales unknown: deeper trees than for features find small regions.
        window: rows per window of masses, and of the warm-up, at least 10.
        size_limit: 0 to 1; at 0 every walk goes on to its leaf or to an empty node, which tells rare rows apart better.
        padding: 0 up to 0.5.
        statistic: `log_mass` or `river`.
        half_life: at least 1000.
        refresh: at least 1.
        forest_weight: 0 to 1.
        gate: what is held.
    """

    trees: Annotated[int, Ge(1), Le(1000)] = 25
    height: Annotated[int, Ge(1), Le(15)] = 12
    window: Annotated[int, Ge(10)] = 2000
    size_limit: Annotated[float, Ge(0), Le(1)] = 0.0
    padding: Annotated[float, Ge(0), Lt(0.5)] = 0.15
    statistic: Statistic = "log_mass"
    half_life: Annotated[int, Ge(1000)] = 100_000
    refresh: Annotated[int, Gt(0)] = 250
    forest_weight: Annotated[float, Ge(0), Le(1)] = 0.55
    gate: GateConfig = DEFAULT_GATE


class TableScores(NamedTuple):
    """Scores of rows, higher for the more unusual, each of shape (n,); NaN is unknown, while warming.

    Attributes:
        forest: within [0, 1].
        evidence: nats.
        score: the combination, as in `operators.score.combine`.
    """

    forest: F64
    evidence: F64
    score: F64


class Table:
    """The models of one table.

    Args:
        columns: how many numbers a row has.
        seed: of the trees.
        config: the settings.
    """

    def __init__(self, columns: int, *, seed: int = 1, config: TableConfig | None = None) -> None:
        self.columns = columns
        self.config = one = config or TableConfig()
        # The names decide which column a tree looks at: numbers in the order of the columns.
        features = [Feature(f"{i:06}", "", 1.0, "both", None, f"{i}") for i in range(columns)]
        self.forest = Forest(
            [feature.name for feature in features],
            trees=one.trees,
            height=one.height,
            window=one.window,
            size_limit=one.size_limit,
            padding=one.padding,
            seed=seed,
            statistic=one.statistic,
            gate=one.gate,
            half_life=one.half_life,
            refresh=one.refresh,
        )
        self.evidence = Evidence(features, half_life=one.half_life, refresh=one.refresh, warmup=one.window)
        self._combination = Combination(
            self.evidence.families, one.window, one.height, one.statistic, one.forest_weight
        )
        self._first: list[F64] = []  # rows collected until the limits are known
        self._collected = 0
        self._low: F64 = np.zeros(columns)
        self._width: F64 = np.ones(columns)
        self._rows = 0

    def score_then_learn(self, rows: F64) -> TableScores:
        """Score the rows one after the other, each by what was learnt before it, and learn them.

        Args:
            rows: shape (n, columns), in the order in which they came.

        Raises:
            ValueError: another shape.
        """
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"expected shape (n, {self.columns}), got {rows.shape} - at rows")
        values: F64 = np.ascontiguousarray(rows, np.float64)
        begin = 0
        out = TableScores(*(np.full(len(values), np.nan) for _ in TableScores._fields))
        if self._collected < self.config.window:
            begin = self._collect(values)
            if self._collected < self.config.window:
                return out
        for to, scores in zip(out, self._score(values[begin:]), strict=True):
            to[begin:] = scores
        return out

    def _collect(self, values: F64) -> int:
        """Collect rows until there is a window of them, then learn it; return how many of `values` that took."""
        readable = np.isfinite(values).all(axis=1)
        places = np.flatnonzero(readable)[: self.config.window - self._collected]
        self._first.append(values[places])
        self._collected += len(places)
        if self._collected < self.config.window:
            return len(values)
        first = np.concatenate(self._first)
        self._first = []
        least = first.min(axis=0)
        span = first.max(axis=0) - least
        self._low = least - np.where(span > 0, PADDING * span, 0.5)
        self._width = np.where(span > 0, (1 + 2 * PADDING) * span, 1.0)
        self._score(first)
        return int(places[-1]) + 1

    def _score(self, values: F64) -> TableScores:
        readable: Bool = np.asarray(np.isfinite(values).all(axis=1))
        features: F64 = np.clip((values - self._low) / self._width, 0.0, 1.0)
        user: U64 = (np.arange(self._rows, self._rows + len(values)) % MARKS).astype(np.uint64)
        self._rows = (self._rows + len(values)) % MARKS
        forest, learn, _ = self.forest.score_then_learn(features, readable, user)
        evidence, _ = self.evidence.weigh_then_learn(features, learn)
        forest[~readable] = evidence[~readable] = np.nan
        return TableScores(forest, evidence, self._combination.join(forest, evidence))
