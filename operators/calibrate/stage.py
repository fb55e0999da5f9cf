"""Calibrate: from a score to the share of events at least as high.

Each score is looked up in the table in force (`operators.calibrate.thresholds`), then counted. Every `refresh` counted
events make a *block*: only then is anything learnt, in this order.

1. The charts (`operators.calibrate.charts`) are given the block's alerts: is the rate over its budget, and is that
   the doing of few busy users? Then, as long as it lasts, their alerts count for their usual share only: `held`.
2. ADWIN (`operators.calibrate.drift`) is given the block's mean score. On a drift the histogram forgets, if
   `drift_action` says so: what comes next weighs more.
3. The block is counted, the correction made, the table renewed, within the step limit.

4. If labels are wanted: what was said of remembered events makes a map from tail to probability of fraud
   (`operators.calibrate.probability`).

Every event that is not flagged is counted in calm, whether or not it may teach the models before: a budget is a share
of all events, and busy users, who soon may not teach, are part of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, Calibrated, Change, Scored
from operators.calibrate.charts import Charts
from operators.calibrate.config import CalibrateConfig, ProbabilityConfig, ReviewConfig
from operators.calibrate.drift import ScoreDrift
from operators.calibrate.loop import (
    BUSY_HITS,
    EVENTS,
    HITS,
    IN_WINDOW,
    NEWEST_MS,
    rank_then_count,
)
from operators.calibrate.probability import Probability
from operators.calibrate.psi import FEATURE_BINS, GROUPS, SCORE_BINS, count_features, feature_indices, stability_index
from operators.calibrate.review import Detail, Review
from operators.calibrate.tail import BINS, BINS_PER_NAT, GREATEST_SCORE
from operators.calibrate.thresholds import Thresholds
from operators.fingerprint import Field, fingerprint
from operators.parts import Sweep
from operators.side import Side
from operators.state import Measurement, State

I32 = NDArray[np.int32]

LAYOUT = 3

Found = tuple[str, Detail]


class Calibrate:
    """The distribution of one partition's scores.

    Args:
        config: the settings.
        upstream_fingerprint: of the stage that makes the scores.
        budgets: alert budget by tier, for the threshold metric and the audit trail alone.
        review: which changes are told.
        features: names of the features, in the order of their columns; without them their drift is not looked for.
        probability: whether and how labels make a probability of fraud; None for not.
        warrants: least probability by tier, where costs decide; for the audit trail alone.
    """

    def __init__(
        self,
        config: CalibrateConfig,
        upstream_fingerprint: str,
        budgets: Mapping[str, float] | None = None,
        review: ReviewConfig | None = None,
        features: Sequence[str] = (),
        probability: ProbabilityConfig | None = None,
        warrants: Mapping[str, float] | None = None,
    ) -> None:
        self._probability = None
        further: dict[str, Field] = {}  # without labels the state is what it was before there were any
        if probability is not None and probability.enabled:
            self._probability = Probability(probability, (budgets or {}).get("medium", config.level), config.refresh)
            further = self._probability.fields()
        self._warrants = dict(warrants or {})
        self.fingerprint = fingerprint(
            LAYOUT, upstream_fingerprint, features=tuple(features), **asdict(config), **further
        )
        self.config = config
        self._thresholds = Thresholds(config)
        self._charts = Charts(config.level, config.max_hold_s * 1000)
        self._drift = ScoreDrift(config.drift_delta)
        self._review = Review(review or ReviewConfig(), budgets or {}, features)
        self._limits = review or ReviewConfig()
        # Of the present block.
        self._pending: I32 = np.zeros((2, BINS), np.int32)
        self._tally: I64 = np.zeros(5, np.int64)
        self._total: F64 = np.zeros(1)
        self._limited = False  # as told last
        # Of the last complete drift window and the present one.
        self._reference: I32 = np.zeros(SCORE_BINS, np.int32)
        self._newest: I32 = np.zeros(SCORE_BINS, np.int32)
        self._features_before: I32 = np.zeros((len(features), FEATURE_BINS), np.int32)
        self._features_now: I32 = np.zeros((len(features), FEATURE_BINS), np.int32)
        self._windows = 0
        self._psi = 0.0
        self._feature_psi: F64 = np.zeros(len(features))
        self._drifts = 0

    @property
    def drift_psi(self) -> float:
        """Population stability index of the last complete window against the one before; 0 until there are two."""
        return self._psi

    def process(self, batch: Scored) -> Calibrated:
        """Give each score its tail, one after the other, counting those of unflagged events."""
        featured, config, tally = batch.featured, self.config, self._tally
        n = len(batch.score)
        tail: F64 = np.empty(n)
        counted = featured.flags == 0
        learnt = counted & batch.learn & ~np.isnan(batch.score) if len(self._feature_psi) else counted
        given: F64 | None = None
        if self._probability is not None:
            self._probability.reserve(n)
            given = np.empty(n)
        changes: list[Change] = []
        at = 0
        while at < n:
            first = at
            at = rank_then_count(
                batch.score,
                counted,
                featured.teach,
                featured.decoded.time_ms,
                first,
                self._thresholds.table,
                int(self._thresholds.warm),
                config.level,
                config.refresh,
                config.drift_window,
                self._pending,
                self._newest,
                tally,
                self._total,
                tail,
            )
            if self._probability is not None and given is not None:
                decoded = featured.decoded
                self._probability.give(tail, counted, decoded.id_hash, decoded.time_ms, first, at, given)
            if len(self._feature_psi):
                count_features(featured.features, learnt, first, at, self._features_now)
            found: list[Found] = []
            if tally[EVENTS] == config.refresh:
                found += self._close_block()
            if tally[IN_WINDOW] == config.drift_window:
                found += self._close_window()
            if found:
                offset, time_ms = (
                    int(column[at - 1]) for column in (featured.decoded.offsets, featured.decoded.time_ms)
                )
                changes += [Change(offset, time_ms, kind, detail) for kind, detail in found]
        return Calibrated(batch, tail, changes, given)

    def take_side(self, side: Side) -> None:
        """Hold labels against the events they are about. Other topics say nothing here."""
        if self._probability is not None and side.labels is not None:
            self._probability.match(side.labels)

    def _close_block(self) -> Iterable[Found]:
        """Learn from a complete block; yield what it changed."""
        tally, thresholds, charts = self._tally, self._thresholds, self._charts
        events, hits, now_ms = int(tally[EVENTS]), int(tally[HITS]), int(tally[NEWEST_MS])
        warm = thresholds.warm
        if warm:
            for kind, event in charts.add(events, hits, int(tally[BUSY_HITS]), now_ms):
                yield kind, {"event": event, "rate": hits / events, "level": charts.level}
        share = charts.share(events, int(tally[BUSY_HITS]))
        if not charts.held:
            drift = self._drift.add(float(self._total[0]) / events, now_ms)
            if drift is not None:
                self._drifts += 1
                yield "drift", {"event": "level_shifted", "nats": drift, "action": self.config.drift_action}
                if self.config.drift_action == "recalibrate":
                    thresholds.forget(self.config.drift_keep)
        left_out = (1.0 - share) * int(tally[BUSY_HITS])
        thresholds.learn(self._pending[0] + share * self._pending[1], events - left_out, hits - left_out, now_ms)
        if thresholds.limited != self._limited:
            self._limited = thresholds.limited
            event = "rise_limited" if self._limited else "rise_free"
            yield "threshold", {"event": event, "limit": self.config.max_rise_nats_per_hour}
        if thresholds.warm and not warm:
            yield "threshold", self._review.ready(thresholds)
        if self._probability is not None and self._probability.close_block(now_ms):
            yield "threshold", self._turned(self._probability)
        self._pending[:] = 0
        tally[[EVENTS, HITS, BUSY_HITS]] = 0
        self._total[0] = 0.0

    def _turned(self, probability: Probability) -> Detail:
        """Tell that there is a probability now, or none any more, and what decides on tiers."""
        fraud, legit = probability.labels
        event = "probability_began" if probability.ready else "probability_ended"
        detail: Detail = {"event": event, "fraud_labels": fraud, "legit_labels": legit}
        if self._warrants:
            detail["decides"] = "costs" if probability.ready else "budgets"
            detail.update({f"{tier}_probability": least for tier, least in self._warrants.items()})
        return detail

    def _close_window(self) -> Iterable[Found]:
        """Compare a complete drift window with the one before; yield what is to be told."""
        if self._windows:
            self._psi = stability_index(self._reference, self._newest, GROUPS)
            feature_indices(self._features_before, self._features_now, GROUPS, self._feature_psi)
        self._reference[:], self._newest[:] = self._newest, 0
        self._features_before[:], self._features_now[:] = self._features_now, 0
        self._windows += 1
        self._tally[IN_WINDOW] = 0
        if self._thresholds.warm:
            yield from (("threshold", detail) for detail in self._review.thresholds(self._thresholds))
        yield from (("drift", detail) for detail in self._review.scores(self._psi))
        yield from (("drift", detail) for detail in self._review.features(self._feature_psi))

    def threshold(self, budget: float) -> float:
        """Return the lowest score whose tail is at most `budget`, at the present table.

        A score is at or above it exactly if its tail is within the budget. Where no score can be, while warming or for
        a budget beyond what is extrapolated to, this is `GREATEST_SCORE`, which no score reaches: it is never
        undefined.
        """
        b = self._thresholds.threshold(budget)
        return b / BINS_PER_NAT if b < BINS else float(GREATEST_SCORE)

    def dump(self) -> State:
        """Return the distribution, charts and drift windows, without unused bins; and what is remembered for labels."""
        return {**self._dump(), **(self._probability.dump() if self._probability is not None else {})}

    def changes(self, sweep: Sweep) -> State:
        """Return the same, of the remembered events only what changed (see `operators.parts`)."""
        return {**self._dump(), **(self._probability.changes(sweep) if self._probability is not None else {})}

    def _dump(self) -> State:
        used = np.flatnonzero(self._pending.any(axis=0))
        waiting = int(used[-1]) + 1 if used.size else 0
        used = np.flatnonzero(self._reference + self._newest)
        last = int(used[-1]) + 1 if used.size else 0
        return {
            **self._thresholds.dump(),
            **self._charts.dump(),
            **self._drift.dump(),
            **self._review.dump(),
            "block.pending": self._pending[:, :waiting].copy(),
            "block.tally": self._tally.copy(),
            "block.total": self._total.copy(),
            "block.limited": int(self._limited),
            "drift.reference": self._reference[:last].copy(),
            "drift.newest": self._newest[:last].copy(),
            "drift.features_before": self._features_before.copy(),
            "drift.features_now": self._features_now.copy(),
            "drift.feature_psi": self._feature_psi.copy(),
            "drift.windows": self._windows,
            "drift.psi": self._psi,
            "drift.found": self._drifts,
        }

    def load(self, state: State) -> None:
        """Replace the state by a dumped one."""
        self._thresholds.load(state)
        self._charts.load(state)
        self._drift.load(state)
        self._review.load(state, self._thresholds.warm)
        for name, target in (("reference", self._reference), ("newest", self._newest)):
            counts = np.asarray(state[f"drift.{name}"])
            if counts.ndim != 1 or len(counts) > SCORE_BINS:
                raise ValueError(f"expected at most {SCORE_BINS} bins, got shape {counts.shape} - at drift.{name}")
            target[:] = 0
            target[: len(counts)] = counts
        waiting = np.asarray(state["block.pending"])
        if waiting.ndim != 2 or waiting.shape[0] != 2 or waiting.shape[1] > BINS:
            raise ValueError(f"expected shape (2, at most {BINS}), got {waiting.shape} - at block.pending")
        self._pending[:] = 0
        self._pending[:, : waiting.shape[1]] = waiting
        self._tally[:] = np.asarray(state["block.tally"])
        self._total[:] = np.asarray(state["block.total"])
        self._features_before[:] = np.asarray(state["drift.features_before"])
        self._features_now[:] = np.asarray(state["drift.features_now"])
        self._feature_psi[:] = np.asarray(state["drift.feature_psi"])
        self._limited = bool(state["block.limited"])
        self._windows = int(np.asarray(state["drift.windows"]))
        self._psi = float(np.asarray(state["drift.psi"]))
        self._drifts = int(np.asarray(state["drift.found"]))
        if self._probability is not None:
            self._probability.load(state)

    def measurements(self) -> Iterable[Measurement]:
        """Yield the threshold of each budget, the correction, what is out of control, and the drift."""
        for tier, score in self._review.scores_of(self._thresholds).items():
            yield Measurement("tidegate_threshold_score", score, {"tier": tier})
        yield Measurement("tidegate_threshold_shift_nats", self._thresholds.shift)
        yield Measurement("tidegate_threshold_rise_limited", float(self._thresholds.limited))
        yield Measurement("tidegate_teaching_held", float(self._charts.held))
        yield Measurement("tidegate_rate_out_of_control", float(self._charts.over.out))
        yield Measurement("tidegate_score_drift_psi", self.drift_psi)
        yield Measurement("tidegate_score_drifts_total", float(self._drifts))
        largest = float(self._feature_psi.max()) if len(self._feature_psi) else 0.0
        yield Measurement("tidegate_feature_drift_psi", largest)
        shifted = int((self._feature_psi > self._limits.drift_limit).sum())
        yield Measurement("tidegate_features_shifted", float(shifted))
        if self._probability is not None:
            yield from self._probability.measurements()
