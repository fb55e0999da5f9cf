"""Score: forest and evidence, and the one rule that joins them.

Both are first made comparable: p_forest and p_evidence are their tail probabilities among earlier events
(`operators.sketch`). They join by the weighted harmonic mean of p-values (Wilson, The harmonic mean p-value for
combining dependent tests, PNAS 2019), which needs no independence of the two, and is led by the more alarmed one:

    score = -ln(p),   1 / p = w / p_forest + (1 - w) / p_evidence,   w = forest_weight

Higher is riskier; 0 is the least. The Cauchy combination (Liu and Xie, JASA 2020) agrees for small p but is not used:
there a p near 1 pulls without bound the other way, and a scripted burst, all alike and so quite usual to the
forest, would mute its own evidence.

Masses and histograms of features are a model of what is normal: only events that may teach enter it, so that nobody
teaches himself normal. The ranks are a count of what happened: every event that is not flagged enters them, or the busy
users, who soon may not teach, would all lie beyond every rank and be told apart no longer.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray

from operators.batches import F64, I64, Bool, Change, Featured, Scored
from operators.compiled import compiled
from operators.fingerprint import fingerprint
from operators.score.evidence import Evidence
from operators.score.forest import Forest, Statistic
from operators.sketch import TAUGHT, WARM, TailSketch, advance, bin_of
from operators.state import Measurement, State

if TYPE_CHECKING:
    from operators.featurize.catalogue import Feature

I32 = NDArray[np.int32]

LAYOUT = 1
FOREST_BINS = 2048  # over [0, 1]: 0.009 bits of log_mass at the default window and height
EVIDENCE_BINS_PER_NAT = 32


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """Settings of the score stage.

    Attributes:
        trees: Half-Space Trees in the forest, 1 to 1000.
        height: levels of splits per tree, 1 to 15; a tree has 2^height leaves.
        window: taught events per window of masses, at least 10.
        size_limit: share of the window below which a walk stops, 0 to 1.
        padding: share of a node's range at either side that no split falls into, 0 up to 0.5.
        seed: of the trees' random places, at least 0.
        statistic: `log_mass`, or `river` for the score of Tan et al. as River computes it.
        half_life: taught events after which a count in a histogram weighs half, at least 1000.
        refresh: taught events between two tables of tail probabilities, at least 1.
        warmup: taught events before there is evidence, at least 1.
        forest_weight: weight of the forest against the evidence, 0 to 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    trees: Annotated[int, Ge(1), Le(1000)] = 25
    height: Annotated[int, Ge(1), Le(15)] = 8
    window: Annotated[int, Ge(10)] = 1000
    size_limit: Annotated[float, Ge(0), Le(1)] = 0.1
    padding: Annotated[float, Ge(0), Lt(0.5)] = 0.15
    seed: Annotated[int, Ge(0)] = 1
    statistic: Statistic = "log_mass"
    half_life: Annotated[int, Ge(1000)] = 100_000
    refresh: Annotated[int, Gt(0)] = 250
    warmup: Annotated[int, Gt(0)] = 1000
    forest_weight: Annotated[float, Ge(0), Le(1)] = 0.5


@compiled
def combine_then_learn(
    forest: F64,
    evidence: F64,
    rank: Bool,
    forest_tails: F64,
    forest_pending: I32,
    forest_settled: F64,
    forest_clock: I64,
    evidence_tails: F64,
    evidence_pending: I32,
    evidence_settled: F64,
    evidence_clock: I64,
    direction: I32,
    refresh: int,
    decay: float,
    greatest_walk: float,
    bins_per_nat: float,
    weight: float,
    score: F64,
) -> None:
    """Join both into `score` by the module's rule, then count both if the event is to be ranked.

    Args:
        forest: shape (n,); NaN while warming.
        evidence: shape (n,), nats; NaN while warming.
        rank: which events count among the earlier ones, shape (n,).
        forest_tails: of the forest's `TailSketch`, as are the next three.
        forest_pending: see above.
        forest_settled: see above.
        forest_clock: see above.
        evidence_tails: of the evidence's `TailSketch`, as are the next three.
        evidence_pending: see above.
        evidence_settled: see above.
        evidence_clock: see above.
        direction: of both sketches: up.
        refresh: of both sketches.
        decay: of both sketches.
        greatest_walk: with `river`, the greatest value of one walk; 0 with `log_mass`.
        bins_per_nat: of the evidence's sketch.
        weight: of the forest.
        score: output, shape (n,); NaN while either is NaN or the sketches are empty.
    """
    forest_bins = forest_tails.shape[1]
    evidence_bins = evidence_tails.shape[1]
    log_greatest = math.log2(greatest_walk + 1.0)
    for i in range(len(forest)):
        score[i] = np.nan
        if math.isnan(forest[i]) or math.isnan(evidence[i]):
            continue
        unusual = forest[i]
        if greatest_walk > 0.0:
            # River's score crowds at 1: on the scale of logarithms equal bins resolve it.
            unusual = 1.0 - math.log2((1.0 - unusual) * greatest_walk + 1.0) / log_greatest
        a = bin_of(unusual, float(forest_bins), forest_bins)
        b = bin_of(evidence[i], bins_per_nat, evidence_bins)
        if forest_clock[WARM] == 1:
            score[i] = max(0.0, math.log(weight / forest_tails[0, a] + (1.0 - weight) / evidence_tails[0, b]))
        if rank[i]:
            forest_pending[0, a] += 1
            evidence_pending[0, b] += 1
            advance(forest_settled, forest_pending, direction, forest_tails, forest_clock, refresh, refresh, decay)
            advance(
                evidence_settled, evidence_pending, direction, evidence_tails, evidence_clock, refresh, refresh, decay
            )


class Score:
    """How unusual and how risky each event is, for one partition.

    An event is scored against what was learnt before it, then learnt if `teach` allows. The score is NaN until one
    window of the forest and `warmup` of the evidence are complete, 1,000 taught events with the defaults, and both have
    been ranked for `refresh` events more. An event with a feature that is not a number scores NaN and teaches nothing.

    Args:
        config: the settings.
        catalogue: the features, in the order of the columns.
    """

    def __init__(self, config: ScoreConfig, catalogue: "Sequence[Feature]") -> None:
        described = tuple((one.name, float(one.limit), one.direction, one.family) for one in catalogue)
        self.fingerprint = fingerprint(LAYOUT, "score", catalogue=described, **asdict(config))
        self.config = config
        self.forest = Forest(
            [feature.name for feature in catalogue],
            trees=config.trees,
            height=config.height,
            window=config.window,
            size_limit=config.size_limit,
            padding=config.padding,
            seed=config.seed,
            statistic=config.statistic,
        )
        self.evidence = Evidence(catalogue, half_life=config.half_life, refresh=config.refresh, warmup=config.warmup)
        self._greatest_walk = config.window * (2.0 ** (config.height + 1) - 1) if config.statistic == "river" else 0.0
        self._forest_sketch = self._sketch(FOREST_BINS, FOREST_BINS)
        # No family's evidence exceeds ln(n + 1), and n, a geometric series, stays below this.
        heaviest = config.refresh / (1 - 0.5 ** (config.refresh / config.half_life))
        nats = math.ceil(self.evidence.families * math.log(heaviest + 2))
        self._evidence_sketch = self._sketch(nats * EVIDENCE_BINS_PER_NAT, EVIDENCE_BINS_PER_NAT)

    def _sketch(self, bins: int, bins_per_unit: float) -> TailSketch:
        config = self.config
        return TailSketch(
            ["up"],
            bins=bins,
            bins_per_unit=bins_per_unit,
            half_life=config.half_life,
            refresh=config.refresh,
            warmup=config.refresh,
        )

    def process(self, batch: Featured) -> Scored:
        """Score the events of a batch, one after the other, learning from those that may teach."""
        features = np.ascontiguousarray(batch.features)
        readable = ~np.isnan(features).any(axis=1)
        teach = batch.teach & readable
        rank = (batch.flags == 0) & readable
        forest = self.forest.score_then_learn(features, teach)
        evidence, feature_tail = self.evidence.weigh_then_learn(features, teach)
        if not readable.all():
            forest[~readable] = evidence[~readable] = np.nan
            feature_tail[~readable] = np.nan
        before = int(self._forest_sketch.clock[TAUGHT])
        score = self._combine(forest, evidence, rank)
        changes = self._became_ready(batch, forest, evidence, rank, before)
        return Scored(batch, forest, evidence, score, feature_tail, changes)

    def _became_ready(self, batch: Featured, forest: F64, evidence: F64, rank: Bool, before: int) -> list[Change]:
        """Return the change with which there is a score: the event that completed the first table of ranks.

        Args:
            batch: what was scored.
            forest: shape (n,).
            evidence: shape (n,).
            rank: which events were ranked where both are known, shape (n,).
            before: events ranked before the batch.
        """
        needed = self.config.refresh
        if not before < needed <= int(self._forest_sketch.clock[TAUGHT]):
            return []
        ranked = np.flatnonzero(rank & ~np.isnan(forest) & ~np.isnan(evidence))
        at = int(ranked[needed - before - 1])
        config = self.config
        detail: dict[str, str | int | float | bool | None] = {
            "event": "ready",
            "trees": config.trees,
            "height": config.height,
            "window": config.window,
            "statistic": config.statistic,
            "features": batch.features.shape[1],
            "forest_weight": config.forest_weight,
            "ranked": needed,
        }
        decoded = batch.decoded
        return [Change(int(decoded.offsets[at]), int(decoded.time_ms[at]), "model", detail)]

    def _combine(self, forest: F64, evidence: F64, rank: Bool) -> F64:
        score: F64 = np.empty(len(forest))
        a, b = self._forest_sketch, self._evidence_sketch
        combine_then_learn(
            forest,
            evidence,
            rank,
            a.tails,
            a.pending,
            a.settled,
            a.clock,
            b.tails,
            b.pending,
            b.settled,
            b.clock,
            a.direction,
            a.refresh,
            a.decay,
            self._greatest_walk,
            b.bins_per_unit,
            self.config.forest_weight,
            score,
        )
        return score

    def dump(self) -> State:
        """Return trees, masses and histograms."""
        return {
            **self.forest.dump(),
            **self.evidence.dump(),
            **self._forest_sketch.dump("forest_rank"),
            **self._evidence_sketch.dump("evidence_rank"),
        }

    def load(self, state: State) -> None:
        """Replace the state by a dumped one."""
        self.forest.load(state)
        self.evidence.load(state)
        self._forest_sketch.load(state, "forest_rank")
        self._evidence_sketch.load(state, "evidence_rank")

    def measurements(self) -> Iterable[Measurement]:
        """Yield whether the forest's first window is complete."""
        yield Measurement("tidegate_forest_warm", float(self.forest.warm))
