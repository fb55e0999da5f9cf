"""Calibrate: from a score to the share of earlier scores at least as high.

The share comes from a decaying histogram of the scores (`operators.sketch`, direction up): with n the decayed number
of earlier scores,

    tail = (#{earlier scores in bins >= the score's bin} + 1) / (n + 1)

made before the score itself is added. Bins are 1/128 wide over [0, 40). A score is minus the logarithm of a
probability, at most -ln(2^-53) = 36.7, so none lies beyond, and a bin is a relative resolution of 0.8 % in that
probability. On scores that are exchangeable, P(tail <= a) is at most a, and short of it by at most half a bin and one
part in a * n. Beyond the largest score kept, the tail is 1 / (n + 1): there is no extrapolation, so a budget below
about ln(2) / half_life is never reached.

Every event that is not flagged is counted, whether or not it may teach the models before: a budget is a share of all
events, and busy users, who soon may not teach, are part of it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from operators.batches import F64, I64, Bool, Calibrated, Change, Scored
from operators.compiled import compiled, inlined
from operators.fingerprint import fingerprint
from operators.sketch import WARM, TailSketch, advance, bin_of
from operators.state import Measurement, State

I32 = NDArray[np.int32]

LAYOUT = 1
GREATEST_SCORE = 40
BINS_PER_NAT = 128
BINS = GREATEST_SCORE * BINS_PER_NAT

DRIFT_BINS_PER_NAT = 32
DRIFT_BINS = GREATEST_SCORE * DRIFT_BINS_PER_NAT
DRIFT_GROUPS = 10

COUNT, COMPLETE = range(2)
"""Cells of `drift_clock`: scores in the newest window; windows completed so far."""


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """Settings of the calibrate stage.

    Attributes:
        half_life: scores after which a score counts half, at least 1000. With n = half_life / ln 2 the tail
            resolves 1 / n: 7e-6 at the default.
        refresh: scores between two tables of tails, at least 1.
        warmup: scores before there is a tail, at least 1.
        drift_window: scores per window of the drift measure, at least 100.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    half_life: Annotated[int, Ge(1000)] = 100_000
    refresh: Annotated[int, Gt(0)] = 500
    warmup: Annotated[int, Gt(0)] = 1000
    drift_window: Annotated[int, Ge(100)] = 10_000


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """Which changes are worth an audit record. They are looked for once per drift window, and reach no result.

    Attributes:
        drift_limit: stability index above which drift is said to begin.
        drift_end: stability index below which it is said to have ended; under `drift_limit`, so that an index that
            stays near one limit is told once. Below 0.1 stable and above 0.25 shifted is the usual reading.
        threshold_factor: a threshold is told anew when the probability that it stands for, exp(-score), is more than
            this factor away from the one told last.
    """

    drift_limit: float = 0.25
    drift_end: float = 0.1
    threshold_factor: float = 2.0


@inlined
def _review(reviews: F64, done: int, event: int, psi: float, settled_tails: F64, budgets: F64) -> int:
    """Write the row of one review: event, index, and the threshold of each budget; return how many rows there are."""
    bins = settled_tails.shape[1]
    reviews[done, 0] = event
    reviews[done, 1] = psi
    for k in range(len(budgets)):
        b = 0
        while b < bins and settled_tails[0, b] > budgets[k]:
            b += 1
        reviews[done, 2 + k] = b / BINS_PER_NAT if b < bins else GREATEST_SCORE
    return done + 1


@compiled
def stability_index(reference: I32, newest: I32, groups: int) -> float:
    """Return the population stability index of two histograms: sum of (q - p) * ln(q / p) over groups of bins.

    Groups are the smallest runs of bins that hold at least 1/groups of the reference each; p and q are the groups'
    shares in reference and newest. Half a count is added to each group, so that an empty one is defined.
    """
    total = reference.sum()
    expected = np.zeros(groups)
    observed = np.zeros(groups)
    group = 0
    seen = 0
    for b in range(len(reference)):
        expected[group] += reference[b]
        observed[group] += newest[b]
        seen += reference[b]
        while group < groups - 1 and seen * groups >= total * (group + 1) and expected[group] > 0.0:
            group += 1
    used = group + 1
    p_total = total + 0.5 * used
    q_total = newest.sum() + 0.5 * used
    index = 0.0
    for g in range(used):
        p = (expected[g] + 0.5) / p_total
        q = (observed[g] + 0.5) / q_total
        index += (q - p) * math.log(q / p)
    return index


@compiled
def rank_then_learn(
    score: F64,
    count: Bool,
    settled: F64,
    pending: I32,
    direction: I32,
    tails: F64,
    clock: I64,
    refresh: int,
    warmup: int,
    decay: float,
    reference: I32,
    newest: I32,
    drift_clock: I64,
    drift_window: int,
    drift: F64,
    budgets: F64,
    reviews: F64,
    tail: F64,
) -> int:
    """Look each score up, then count it if it is to be counted.

    Args:
        score: shape (n,); NaN is not counted and has no tail.
        count: which scores are counted, shape (n,).
        settled: this and the next seven: see `TailSketch`.
        pending: see above.
        direction: see above.
        tails: see above.
        clock: see above.
        refresh: see above.
        warmup: see above.
        decay: see above.
        reference: histogram of the last complete drift window, shape (DRIFT_BINS,).
        newest: histogram of the present one, shape (DRIFT_BINS,).
        drift_clock: see `COUNT` and `COMPLETE`.
        drift_window: scores per window.
        drift: the newest stability index, shape (1,).
        budgets: whose thresholds are reviewed, shape (k,).
        reviews: output, a row (event, stability index, thresholds) for the first table, with NaN for the index, and for
            each drift window completed; shape (enough, 2 + k).
        tail: output, shape (n,); NaN while warming.

    Returns:
        The number of rows of `reviews`.
    """
    bins = tails.shape[1]
    reviewed = 0
    for i in range(len(score)):
        tail[i] = np.nan
        if math.isnan(score[i]):
            continue
        b = bin_of(score[i], float(BINS_PER_NAT), bins)
        if clock[WARM] == 1:
            tail[i] = tails[0, b]
        if not count[i]:
            continue
        pending[0, b] += 1
        cold = clock[WARM] == 0
        advance(settled, pending, direction, tails, clock, refresh, warmup, decay)
        if cold and clock[WARM] == 1:
            reviewed = _review(reviews, reviewed, i, np.nan, tails, budgets)
        newest[bin_of(score[i], float(DRIFT_BINS_PER_NAT), DRIFT_BINS)] += 1
        drift_clock[COUNT] += 1
        if drift_clock[COUNT] == drift_window:
            if drift_clock[COMPLETE] > 0:
                drift[0] = stability_index(reference, newest, DRIFT_GROUPS)
            reference[:] = newest
            newest[:] = 0
            drift_clock[COUNT] = 0
            drift_clock[COMPLETE] += 1
            reviewed = _review(reviews, reviewed, i, drift[0], tails, budgets)
    return reviewed


class Calibrate:
    """The distribution of one partition's scores.

    Args:
        config: the settings.
        upstream_fingerprint: of the stage that makes the scores.
        budgets: alert budget by tier, for the threshold metric and the audit trail alone.
        review: which changes are told.
    """

    def __init__(
        self,
        config: CalibrateConfig,
        upstream_fingerprint: str,
        budgets: Mapping[str, float] | None = None,
        review: ReviewConfig | None = None,
    ) -> None:
        self.fingerprint = fingerprint(LAYOUT, upstream_fingerprint, **asdict(config))
        self.config = config
        self._budgets = dict(budgets or {})
        self._review = review or ReviewConfig()
        self._step = math.log(self._review.threshold_factor)
        self._limits: F64 = np.array(list(self._budgets.values()), np.float64)
        self._told: F64 = np.full(len(self._limits), np.nan)  # thresholds as told last; NaN before the first table
        self._drifted = False
        self._sketch = TailSketch(
            ["up"],
            bins=BINS,
            bins_per_unit=BINS_PER_NAT,
            half_life=config.half_life,
            refresh=config.refresh,
            warmup=config.warmup,
        )
        self._reference: I32 = np.zeros(DRIFT_BINS, np.int32)
        self._newest: I32 = np.zeros(DRIFT_BINS, np.int32)
        self._drift_clock: I64 = np.zeros(2, np.int64)
        self._drift: F64 = np.zeros(1)

    @property
    def drift_psi(self) -> float:
        """Population stability index of the last complete window against the one before; 0 until there are two."""
        return float(self._drift[0])

    def process(self, batch: Scored) -> Calibrated:
        """Give each score its tail, one after the other, counting those of unflagged events."""
        tail: F64 = np.empty(len(batch.score))
        sketch = self._sketch
        # The first table, and every drift window that can be completed.
        reviews: F64 = np.empty((len(tail) // self.config.drift_window + 2, 2 + len(self._limits)))
        reviewed = rank_then_learn(
            batch.score,
            batch.featured.flags == 0,
            sketch.settled,
            sketch.pending,
            sketch.direction,
            sketch.tails,
            sketch.clock,
            sketch.refresh,
            sketch.warmup,
            sketch.decay,
            self._reference,
            self._newest,
            self._drift_clock,
            self.config.drift_window,
            self._drift,
            self._limits,
            reviews,
            tail,
        )
        changes = [change for row in reviews[:reviewed] for change in self._changes(batch, row)]
        return Calibrated(batch, tail, changes)

    def _changes(self, batch: Scored, row: F64) -> Iterable[Change]:
        """Yield what a review found that was not told yet."""
        at, psi, thresholds = int(row[0]), float(row[1]), row[2:]
        decoded, limits = batch.featured.decoded, self._review

        def change(kind: str, detail: dict[str, str | int | float | bool | None]) -> Change:
            return Change(int(decoded.offsets[at]), int(decoded.time_ms[at]), kind, detail)

        first = math.isnan(psi)
        if first or bool((np.abs(thresholds - self._told) > self._step).any()):
            was = {f"{tier}_before": score for tier, score in self._named(self._told).items()}
            event = "ready" if first else "moved"
            yield change("threshold", {"event": event, **self._named(thresholds), **({} if first else was)})
            self._told = thresholds.copy()
        if first:
            return
        if not self._drifted and psi > limits.drift_limit:
            self._drifted = True
            yield change("drift", {"event": "began", "psi": psi, "limit": limits.drift_limit})
        elif self._drifted and psi < limits.drift_end:
            self._drifted = False
            yield change("drift", {"event": "ended", "psi": psi, "limit": limits.drift_end})

    def _named(self, thresholds: F64) -> dict[str, float | None]:
        """Return thresholds by tier; None where no score reaches it."""
        found = zip(self._budgets, thresholds.tolist(), strict=True)
        return {tier: score if score < GREATEST_SCORE else None for tier, score in found}

    def threshold(self, budget: float) -> float:
        """Return the lowest score whose tail is at most `budget`, at the present table.

        A score is at or above it exactly if its tail is within the budget. Where no score can be, while warming or for
        a budget below 1 / (n + 1), this is `GREATEST_SCORE`, which no score reaches: it is never undefined.
        """
        if not self._sketch.warm:
            return float(GREATEST_SCORE)
        within = self._sketch.tails[0] <= budget  # tails fall from bin to bin: False, then True
        return float(np.argmax(within)) / BINS_PER_NAT if within[-1] else float(GREATEST_SCORE)

    def dump(self) -> State:
        """Return the distribution and the drift windows, without unused bins."""
        used = np.flatnonzero(self._reference + self._newest)
        last = int(used[-1]) + 1 if used.size else 0
        return {
            **self._sketch.dump("score"),
            "drift.reference": self._reference[:last].copy(),
            "drift.newest": self._newest[:last].copy(),
            "drift.clock": self._drift_clock.copy(),
            "drift.psi": self._drift.copy(),
            "review.told": self._told.copy(),
            "review.drifted": int(self._drifted),
        }

    def load(self, state: State) -> None:
        """Replace the state by a dumped one."""
        self._sketch.load(state, "score")
        for name, target in (("reference", self._reference), ("newest", self._newest)):
            counts = np.asarray(state[f"drift.{name}"])
            if counts.ndim != 1 or len(counts) > DRIFT_BINS:
                raise ValueError(f"expected at most {DRIFT_BINS} bins, got shape {counts.shape} - at drift.{name}")
            target[:] = 0
            target[: len(counts)] = counts
        self._drift_clock[:] = np.asarray(state["drift.clock"])
        self._drift[:] = np.asarray(state["drift.psi"])
        # A snapshot made before there was an audit trail, or for other budgets, has told nothing of these thresholds.
        told = np.asarray(state.get("review.told", self._told), np.float64)
        nothing = np.full(len(self._limits), GREATEST_SCORE if self._sketch.warm else np.nan)
        self._told = told.copy() if told.shape == nothing.shape and not np.isnan(told).any() else nothing
        self._drifted = bool(state.get("review.drifted", 0))

    def measurements(self) -> Iterable[Measurement]:
        """Yield the threshold of each budget and the drift."""
        for tier, budget in self._budgets.items():
            yield Measurement("tidegate_threshold_score", self.threshold(budget), {"tier": tier})
        yield Measurement("tidegate_score_drift_psi", self.drift_psi)
