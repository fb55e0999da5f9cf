"""The table of tails in force: a decaying histogram, corrected so that rates hold, and never rising too fast.

**Histogram.** Scores count in bins and lose half their weight every `half_life` scores; every `refresh` of them the
table is made anew (`operators.calibrate.tail`).

**Correction.** Under drift a histogram lags by its mean age, half_life / ln 2 scores. So all tails are raised (see
there) by the same number of nats, `shift`, until the share of scores within `level` is `level`:

    shift <- shift + (min(hits / level, 3 n) - n) / adapt_events         after each block of n scores

which is adaptive conformal inference (Gibbs and Candes, NeurIPS 2021, eq. 2) on the scale of log odds: whatever the
scores are, the share of hits over T scores differs from `level` by at most level * adapt_events * (range of the shift)
/ T, as long as the bounds on hits, shift and rise leave it free. It is learnt where alerts are frequent and carried
over to where they are not: one alert moves every tail by 1 / (level * adapt_events) nats, 0.5 % at the defaults, so
none mutes the next. A young partition takes larger steps: its time constant is a quarter of its scores so far, and at
least a tenth of `adapt_events` (decaying steps: Angelopoulos, Barber and Bates, ICML 2024, theorem 1, whose bound is
the one above). The correction carries over exactly if all tails have grown by one factor, as exponential ones do that
move.

**Step limit.** No tail is raised by more than `max_rise_nats_per_hour` above where it stood when the hour of event time
began: with 0.5, who was within 1e-4 then is within 1.65e-4 now. It may fall at once. No tail is below `rarest`
(`operators.calibrate.tail`), so a true change, however far, is followed to a budget b within
ln(b / rarest) / max_rise_nats_per_hour hours. The limit begins `settle_s` after the first table: until windows of a day
have filled, scores rise for everybody.
"""

import math

import numpy as np

from operators.batches import F64, I64
from operators.calibrate.config import CalibrateConfig
from operators.calibrate.tail import BINS, first_within, hold_back, raised, tabulate
from operators.state import State

HOUR_MS = 3_600_000
MOST_RATIO = 3.0
"""Alerts beyond this many times `level` count as it: an attack that comes and goes must not leave thresholds high."""

YOUNG = 10.0
YOUNG_SHARE = 4.0
"""A young partition's time constant is a quarter of its scores so far, and at least a tenth of `adapt_events`."""

MOST_SHIFT = 3.0
"""Nats, either way. A distribution further off its histogram is for the histogram to follow."""

GREATEST_RISE = 500.0
"""Nats beyond which a step is no limit, and its factor no number."""

TAUGHT, WARM, HOUR, BEGUN, FREE_UNTIL_MS = range(5)
"""Cells of `clock`: scores ever; whether there is a table; hour of event time in which the anchor was taken; whether
the step limit has begun; when it does."""

SHIFT, LIMITED = range(2)
"""Cells of `now`: the correction in nats; whether the step limit held a threshold back this hour."""


class Thresholds:
    """Tails of one partition's scores.

    Args:
        config: the settings.

    Attributes:
        table: tail of each bin, shape (BINS,).
    """

    def __init__(self, config: CalibrateConfig) -> None:
        self._config = config
        self._decay = 0.5 ** (1.0 / config.half_life)
        self._step = min(config.max_rise_nats_per_hour, GREATEST_RISE)
        self.table: F64 = np.ones(BINS)
        self._settled: F64 = np.zeros(BINS)
        self._anchor: F64 = np.ones(BINS)  # the table as the hour began
        self._clock: I64 = np.zeros(5, np.int64)
        self._now: F64 = np.zeros(2)

    @property
    def warm(self) -> bool:
        """Whether there is a table."""
        return bool(self._clock[WARM])

    @property
    def shift(self) -> float:
        """The correction in nats."""
        return float(self._now[SHIFT])

    @property
    def limited(self) -> bool:
        """Whether the step limit held a threshold back in this hour of event time."""
        return bool(self._now[LIMITED])

    @property
    def _begun(self) -> bool:
        """Whether the step limit has begun, as of the hour."""
        return bool(self._clock[BEGUN])

    def threshold(self, budget: float) -> int:
        """Return the first bin whose tail is within `budget`; `BINS`, which no score reaches, if none is."""
        return first_within(self.table, budget) if self.warm else BINS

    def learn(self, counts: F64, events: float, hits: float, now_ms: int) -> None:
        """Count a block, and make the table anew.

        Args:
            counts: scores by bin, shape (BINS,).
            events: how many; not whole where some count for less than one.
            hits: of them within `level`.
            now_ms: stream time.
        """
        config = self._config
        self._settled *= self._decay**events
        self._settled += counts
        self._clock[TAUGHT] += round(events)
        if self.warm:
            change = (min(hits / config.level, MOST_RATIO * events) - events) / self._adapt_events()
            if change < 0.0 or not self._short_of(config.level):
                self._now[SHIFT] = min(max(self._now[SHIFT] + change, -MOST_SHIFT), MOST_SHIFT)
        self.renew(now_ms)

    def _adapt_events(self) -> float:
        most = self._config.adapt_events
        return max(most / YOUNG, min(float(most), float(self._clock[TAUGHT]) / YOUNG_SHARE))

    def forget(self, keep: int) -> None:
        """Weigh what was counted as `keep` scores at most, so that what comes next weighs more."""
        total = float(self._settled.sum())
        if total > keep:
            self._settled *= keep / total

    def renew(self, now_ms: int) -> None:
        """Make the table in force."""
        hour = now_ms // HOUR_MS
        if self.warm and hour > self._clock[HOUR]:
            self._anchor[:] = self.table
            self._clock[HOUR] = hour
            self._now[LIMITED] = 0.0
            self._clock[BEGUN] = int(now_ms >= self._clock[FREE_UNTIL_MS])
        tabulate(self._settled, self.shift, self.table)
        if self._begun:
            wanted = [first_within(self.table, budget) for budget in (self._config.level, self._config.level / 10)]
            hold_back(self.table, self._anchor, self._step)
            if wanted != [first_within(self.table, budget) for budget in (self._config.level, self._config.level / 10)]:
                self._now[LIMITED] = 1.0
        elif not self.warm and self._clock[TAUGHT] >= self._config.warmup:
            self._clock[WARM], self._clock[HOUR] = 1, hour
            self._clock[FREE_UNTIL_MS] = now_ms + 1000 * self._config.settle_s
            self._clock[BEGUN] = int(self._config.settle_s == 0)
            self._anchor[:] = self.table

    def _short_of(self, budget: float) -> bool:
        """Whether the step limit keeps the threshold of a budget from where it would be: then a rise is no use."""
        if not self._begun:
            return False
        before = raised(budget, math.exp(-self._step))
        return first_within(self.table, budget) >= first_within(self._anchor, before)

    def dump(self) -> State:
        """Return the histogram without unused bins, the anchor, and the correction."""
        used = np.flatnonzero(self._settled)
        return {
            "score.settled": self._settled[: int(used[-1]) + 1 if used.size else 0].copy(),
            "score.anchor": self._anchor.copy(),
            "score.clock": self._clock.copy(),
            "score.now": self._now.copy(),
        }

    def load(self, state: State) -> None:
        """Replace all by a dumped one, and make the table it led to."""
        counts = np.asarray(state["score.settled"])
        if counts.ndim != 1 or len(counts) > BINS:
            raise ValueError(f"expected at most {BINS} bins, got shape {counts.shape} - at score.settled")
        self._settled[:] = 0
        self._settled[: len(counts)] = counts
        self._anchor[:] = np.asarray(state["score.anchor"])
        self._clock[:] = np.asarray(state["score.clock"])
        self._now[:] = np.asarray(state["score.now"])
        tabulate(self._settled, self.shift, self.table)
        if self._begun:
            hold_back(self.table, self._anchor, self._step)
