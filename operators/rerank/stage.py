"""Rerank: scored candidates in, the order that is shown out, with what each step did and cost.

Nothing is learned from lists. What is remembered are effects of variations, which the topic `uplift` tells.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, Literal

import numpy as np

from operators.batches import F64
from operators.fingerprint import fingerprint
from operators.lists import Lists, Ordered, Scored
from operators.rerank.config import FairnessConfig, RerankConfig
from operators.rerank.effects import TOPIC, Effects
from operators.side import Side
from operators.state import Measurement, State
from ranking.fair import MOST_PLACES, cautious_adjusted
from ranking.gain import I64, ranking
from ranking.rerank import ByRisk, ByUplift, Candidates, FairExposure, FairTopK, Step, rerank

_LAYOUT: Final = 2


LADDER: Final = (10, 20, 50, 100, 200, 500, MOST_PLACES)
"""Lengths of the tables that are worked out. One takes up to 250 ms, so there is none for each `count` of a request."""


def table_of(k: int, p: float, alpha: float) -> I64:
    """Return the fewest protected items of prefixes 1..k: the beginning of the next table of `LADDER`.

    A fair list fails no prefix of the long table more often than alpha, so none of the short one. The alpha of single
    prefixes is that of the long table: no larger than that of a table of k places, so the test may be milder.
    """
    length = next(each for each in LADDER if each >= k)
    return _table(length, p, alpha)[:k]


@cache
def _table(k: int, p: float, alpha: float) -> I64:
    return cautious_adjusted(k, p, alpha).table


def warm_up(config: RerankConfig) -> None:
    """Work out all tables, once for all partitions of a process: about a second."""
    fairness = config.fairness
    if fairness is not None and fairness.kind == "top_k":
        for k in LADDER:
            table_of(k, _due(fairness), fairness.alpha)


class Rerank:
    """The stage after the ranker, for one partition.

    Attributes:
        config: which steps are on.
        fingerprint: of the state's layout alone: steps may be switched without losing what is known.
    """

    def __init__(self, config: RerankConfig, groups: Sequence[str] = ()) -> None:
        """Begin without effects.

        Args:
            config: which steps are on.
            groups: names of the groups of items; the first has number 1.

        Raises:
            ValueError: the protected group is none of them.
        """
        self.config = config
        self.fingerprint = fingerprint(_LAYOUT, "rerank")
        self._groups = 1 + len(groups)
        self._effects = Effects("" if config.uplift is None else config.uplift.experiment)
        self._uplift = None if config.uplift is None else ByUplift(config.uplift.weight)
        self._risk = None if config.risk is None else ByRisk(config.risk.strength, config.risk.unknown)
        fairness = config.fairness
        if fairness is not None and fairness.group and fairness.group not in groups:
            raise ValueError(f"expected one of {', '.join(groups)}, got {fairness.group} - at fairness.group")
        self._protected = 0
        if fairness is not None and fairness.group:
            self._protected = 1 + list(groups).index(fairness.group)
        self._on = any(each is not None for each in (config.uplift, config.risk, config.fairness))

    def process(self, batch: Scored) -> Ordered:
        """Put each list in order."""
        lists = batch.lists
        before, after = np.empty(len(lists.item), np.int64), np.empty(len(lists.item), np.int64)
        steps: list[tuple[Step, ...]] = []
        incremental = self._incremental(lists)
        bounds, counts = lists.starts.tolist(), lists.count.tolist()
        for k, count in enumerate(counts):
            one = slice(bounds[k], bounds[k + 1])
            n = one.stop - one.start
            if not self._on or n == 0:
                before[one] = after[one] = ranking(batch.score[one])
                steps.append(())
                continue
            merit = _merit(batch.probability[one])
            candidates = Candidates(
                score=batch.score[one],
                incremental=incremental[one],
                seller_risk=lists.risk[one],
                discount_risk=np.zeros(n),  # one risk is known of an item
                group=lists.group[one],
                merit=merit,
            )
            shown = min(count, n)
            fairness = self._fairness(shown, merit)
            found = rerank(candidates, shown, uplift=self._uplift, risk=self._risk, fairness=fairness)
            before[one], after[one] = found.before, found.after
            steps.append(found.steps)
        return Ordered(batch, before, after, steps)

    def take_side(self, side: Side) -> None:
        """Take what the topic `uplift` tells; other topics say nothing here."""
        if side.topic == TOPIC:
            self._effects.take(side)

    def dump(self) -> State:
        """Return the effects, and how many had to go."""
        return {"effects": self._effects.dump(), "forgotten": self._effects.forgotten}

    def load(self, state: State) -> None:
        """Replace the state."""
        self._effects.load(str(state["effects"]))
        self._effects.forgotten = int(state["forgotten"])  # type: ignore[arg-type]

    def measurements(self) -> Iterable[Measurement]:
        """Yield how many effects are known."""
        yield Measurement("tidegate_uplift_effects", self._effects.known)
        yield Measurement("tidegate_uplift_forgotten_total", self._effects.forgotten)

    def _incremental(self, lists: Lists) -> F64:
        uplift = self.config.uplift
        if uplift is None:
            return np.full(len(lists.item), np.nan)
        return self._effects.values(uplift.use, lists.offer, lists.value)

    def _fairness(self, k: int, merit: F64 | None) -> FairTopK | FairExposure | None:
        fairness = self.config.fairness
        if fairness is None:
            return None
        kind: Literal["top_k", "exposure"] = fairness.kind
        if kind == "top_k":
            return FairTopK(table_of(k, _due(fairness), fairness.alpha), self._protected)
        return FairExposure(self._groups, fairness.tolerance, fairness.by_merit and merit is not None)


def _due(fairness: FairnessConfig) -> float:
    assert fairness.p is not None, "the configuration has it for this kind"
    return fairness.p


def _merit(probability: F64) -> F64 | None:
    """Return the probabilities if all are known: a ranker has them for all items or for none."""
    return probability if bool(np.isfinite(probability).all()) else None
