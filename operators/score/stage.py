"""Score: forest, gate and evidence, and the rule of `operators.score.combine` that joins them.

Masses and histograms of features are a model of what is normal: only events that may teach, and that the gate does not
hold (`operators.score.gate`), enter it, so that neither a user nor a burst teaches itself normal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from operators.batches import U8, Bool, Change, Featured, Masses, Scored, Walks
from operators.fingerprint import fingerprint
from operators.score.combine import Combination
from operators.score.evidence import Evidence
from operators.score.forest import Forest, Statistic
from operators.score.gate import BEGAN, DISCARDED, LEARNED, GateConfig
from operators.state import Measurement, State

if TYPE_CHECKING:
    from operators.featurize.catalogue import Feature

LAYOUT = 3

TURNS = {BEGAN: "relearning", LEARNED: "relearned", DISCARDED: "relearning ended"}
"""What the audit trail calls what became of a shadow forest."""


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
        gate_share: tail probability of the forest's score from which an event teaches nothing, 0 (all teach) to 0.5.
        drift_share: share of events so held from which a shadow forest learns, above 0, at most 1.
        relearn_windows: windows after which the shadow may replace the forest, at least 1.
        relearn_users: users that the held events must come from for that, 1 to 512.
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
    forest_weight: Annotated[float, Ge(0), Le(1)] = 0.4
    gate_share: Annotated[float, Ge(0), Le(0.5)] = 0.02
    drift_share: Annotated[float, Gt(0), Le(1)] = 0.25
    relearn_windows: Annotated[int, Ge(1)] = 3
    relearn_users: Annotated[int, Ge(1), Le(512)] = 30

    @property
    def gate(self) -> GateConfig:
        """What the forest's gate needs of it."""
        return GateConfig(self.gate_share, self.drift_share, self.relearn_windows, self.relearn_users)


class Score:
    """How unusual and how risky each event is, for one partition.

    An event is scored against what was learnt before it, then learnt if `teach` and the gate allow. The score is NaN
    until one window of the forest and `warmup` of the evidence are complete, 1,000 taught events with the defaults. An
    event with a feature that is not a number scores NaN and teaches nothing.

    Args:
        config: the settings.
        catalogue: the features, in the order of the columns.
    """

    def __init__(self, config: ScoreConfig, catalogue: "Sequence[Feature]") -> None:
        described = tuple((one.name, float(one.limit), one.direction, one.family, one.definition) for one in catalogue)
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
            gate=config.gate,
            half_life=config.half_life,
            refresh=config.refresh,
        )
        self.evidence = Evidence(catalogue, half_life=config.half_life, refresh=config.refresh, warmup=config.warmup)
        families = self.evidence.families
        self._combination = Combination(families, config.window, config.height, config.statistic, config.forest_weight)

    def process(self, batch: Featured) -> Scored:
        """Score the events of a batch, one after the other, learning from those that may teach."""
        features = np.ascontiguousarray(batch.features)
        readable = ~np.isnan(features).any(axis=1)
        teach = batch.teach & readable
        (forest, learn, turn), leaf, masses = self.forest.walk_then_learn(features, teach, batch.decoded.user)
        before = self.evidence.taught
        evidence, feature_tail = self.evidence.weigh_then_learn(features, learn)
        if not readable.all():
            forest[~readable] = evidence[~readable] = np.nan
            feature_tail[~readable] = np.nan
        score = self._combination.join(forest, evidence)
        changes = self._became_ready(batch, learn, before) + self._turned(batch, turn)
        changes.sort(key=lambda change: change.offset)
        offsets, columns = batch.decoded.offsets, self.forest.split_feature
        walks = Walks(leaf, [Masses(int(offsets[row]), mass, columns) for row, mass in masses])
        return Scored(batch, forest, evidence, score, feature_tail, learn, changes, walks)

    def _turned(self, batch: Featured, turn: U8) -> list[Change]:
        """Return a change for each event that began, ended or used a shadow forest."""
        gate, decoded = self.config.gate, batch.decoded
        return [
            Change(
                int(decoded.offsets[at]),
                int(decoded.time_ms[at]),
                "model",
                {
                    "event": TURNS[int(turn[at])],
                    "drift_share": gate.drift_share,
                    "windows": gate.relearn_windows,
                    "users": gate.relearn_users,
                },
            )
            for at in np.flatnonzero(turn).tolist()
        ]

    def _became_ready(self, batch: Featured, learn: Bool, before: int) -> list[Change]:
        """Return the change with which there is a score: the event that completed the forest's window and the table.

        Args:
            batch: what was scored.
            learn: which events were learnt, shape (n,).
            before: events learnt before the batch.
        """
        # The gate opens and closes only once the forest is warm: until then both have learnt the same.
        needed = max(self.config.window, self.evidence.needed)
        if not before < needed <= self.evidence.taught:
            return []
        at = int(np.flatnonzero(learn)[needed - before - 1])
        config = self.config
        detail: dict[str, str | int | float | bool | None] = {
            "event": "ready",
            "trees": config.trees,
            "height": config.height,
            "window": config.window,
            "statistic": config.statistic,
            "features": batch.features.shape[1],
            "forest_weight": config.forest_weight,
            "taught": needed,
        }
        decoded = batch.decoded
        return [Change(int(decoded.offsets[at]), int(decoded.time_ms[at]), "model", detail)]

    def dump(self) -> State:
        """Return trees, masses, the gate, and histograms."""
        return {
            **self.forest.dump(),
            **self.evidence.dump(),
        }

    def load(self, state: State) -> None:
        """Replace the state by a dumped one."""
        self.forest.load(state)
        self.evidence.load(state)

    def measurements(self) -> Iterable[Measurement]:
        """Yield whether the forest's first window is complete, and what the gate and the shadow forest did."""
        yield Measurement("tidegate_forest_warm", float(self.forest.warm))
        yield Measurement("tidegate_events_held_total", self.forest.held)
        yield Measurement("tidegate_forest_relearning", float(self.forest.drifting))
        yield Measurement("tidegate_forests_relearned_total", self.forest.relearned)
