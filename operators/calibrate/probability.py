"""Probability of fraud: what labels that come late, or never, make of a tail.

**Remember.** Of the counted events all within the medium budget are remembered, and of the others those whose hash
falls into `sample_share`. An event of the sample stands for 1 / share: each event's expected weight is 1, so weighted
sums are unbiased for those over all events (Horvitz and Thompson, 1952), as long as memory outlasts the labels.

**Teach.** A remembered event teaches once: with `unlabelled = "ignore"` when its label comes; with `"legit"` when it is
`wait_s` old, what was said of it by then, and legit if nothing was. All outcomes are so read at the same age: were
frauds to teach at once, then at first, and in growing traffic, there would be too many of them (Chapelle, KDD 2014).
One that must go before that teaches as it goes. A later label that says otherwise corrects: what was taught is taken
back, as far as it has not decayed, and taught the other way.

**Fit.** At the end of every block of events counts decay, what has come of age teaches, and the map is made anew if
anything was taught; so what a label changes shows from the next block on, and not where batches are cut.

**Ready.** There are probabilities once the decayed numbers of labels reach `min_fraud` of each kind and `min_labels` in
all, and until one is below half of that.
"""

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np

from operators.batches import F64, I64, U64, Bool
from operators.calibrate import maps, quality
from operators.calibrate.config import ProbabilityConfig
from operators.calibrate.memory import Memory
from operators.calibrate.teaching import OUTCOMES, Taught, give_and_remember, match, ripen
from operators.fingerprint import Field
from operators.parts import Sweep
from operators.side import Labels
from operators.state import Measurement, State

LAYOUT = 1


class Probability:
    """Probability of fraud of one partition's events.

    Args:
        config: the settings.
        budget: tail up to which every event is remembered: the medium budget.
        block: events of a block.
    """

    def __init__(self, config: ProbabilityConfig, budget: float, block: int) -> None:
        self._config = config
        self._budget = budget
        self._block = block
        self._decay = 0.5 ** (block / config.half_life)
        self._waits = int(config.unlabelled == "legit")
        self._below = config.sample_share * 2.0**53
        self._weight = 1.0 / config.sample_share
        half = config.max_remembered // 2
        self._alerts, self._sample = Memory("alerts", half), Memory("sample", config.max_remembered - half)
        self._taught = Taught(
            np.zeros((2, maps.PLACES)),
            np.zeros(2),
            np.zeros((quality.BINS, 4)),
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
        )
        self._outcomes: I64 = np.zeros(len(OUTCOMES), np.int64)
        self._table: F64 = np.full(maps.PLACES, np.nan)
        self._ready = False
        self._compile()

    def _compile(self) -> None:
        """Compile all loops now, not in the middle of a transaction; nothing changes."""
        nothing, no_labels = np.zeros(0), Labels(np.zeros(0, np.uint64), np.zeros(0, np.bool_), np.zeros(0, np.int64))
        self.give(nothing, np.zeros(0, np.bool_), no_labels.id_hash, no_labels.time_ms, 0, 0, nothing)
        self.match(no_labels)
        for memory in (self._alerts, self._sample):
            ripen(self._taught, memory.ring, 0, 1.0)
            memory.load(memory.dump())
        ones = np.ones(maps.PLACES)
        self._fit_to(ones, ones, 1.0, 1.0, np.empty(maps.PLACES))

    @property
    def ready(self) -> bool:
        """Whether there are probabilities."""
        return self._ready

    @property
    def labels(self) -> tuple[float, float]:
        """Decayed numbers of labels, of fraud and of legit."""
        legit, fraud = self._taught.seen.tolist()
        return fraud, legit

    @property
    def table(self) -> F64:
        """Probability of each bin of -ln tail, NaN while not ready, shape (places,)."""
        return self._table

    def fields(self) -> dict[str, Field]:
        """Return what the state depends on, for a fingerprint."""
        return {
            "probability_layout": LAYOUT,
            "remembered_tail": self._budget,
            **{f"probability_{name}": value for name, value in asdict(self._config).items()},
        }

    def reserve(self, events: int) -> None:
        """Make room for a batch."""
        self._alerts.reserve(events)
        self._sample.reserve(events)

    def give(self, tail: F64, count: Bool, id_hash: U64, time_ms: I64, first: int, end: int, given: F64) -> None:
        """Write the probability of the events from `first` to `end`, and remember them; see `give_and_remember`."""
        give_and_remember(
            tail,
            count,
            id_hash,
            time_ms,
            first,
            end,
            self._table,
            self._budget,
            self._below,
            self._alerts.ring,
            self._sample.ring,
            self._weight,
            self._waits,
            self._taught,
            given,
        )

    def match(self, labels: Labels) -> None:
        """Apply labels."""
        match(
            labels.id_hash,
            labels.fraud,
            self._below,
            self._alerts.ring,
            self._sample.ring,
            self._weight,
            self._waits,
            self._decay,
            self._taught,
            self._outcomes,
        )

    def close_block(self, now_ms: int) -> bool:
        """Decay, let teach what has come of age, fit; tell whether `ready` changed.

        Args:
            now_ms: stream time.
        """
        taught, before = self._taught, self._ready
        taught.block[0] += 1
        kept = (taught.counts, taught.seen, taught.sums)
        for sums in kept:
            np.multiply(sums, self._decay, out=sums)
        if self._waits:
            due_ms = now_ms - self._config.wait_s * 1000
            ripen(taught, self._alerts.ring, due_ms, 1.0)
            ripen(taught, self._sample.ring, due_ms, self._weight)
        # Taking back what has decayed leaves errors of rounding; a square cannot be below 0 either.
        for sums in kept:
            np.maximum(sums, 0.0, out=sums)
        self._ready = self._enough()
        if not self._ready:
            self._table[:] = np.nan
        elif taught.news[0] or not before:
            self._fit()
        return self._ready != before

    def _enough(self) -> bool:
        config, (legit, fraud) = self._config, self._taught.seen.tolist()
        part = 0.5 if self._ready else 1.0
        return bool(min(fraud, legit) >= part * config.min_fraud and fraud + legit >= part * config.min_labels)

    def _fit(self) -> None:
        legit, fraud = self._taught.counts
        self._fit_to(fraud, legit, *self.labels, self._table)
        self._taught.news[0] = 0

    def _fit_to(self, fraud: F64, legit: F64, frauds: float, legits: float, table: F64) -> None:
        if self._config.method == "beta":
            maps.beta(fraud, legit, table)
        else:
            maps.isotonic(fraud, legit, table)
            maps.smooth(frauds, legits, table)

    def dump(self) -> State:
        """Return all of it."""
        return {**self._alerts.dump(), **self._sample.dump(), **self._small()}

    def changes(self, sweep: Sweep) -> State:
        """Return what `load` takes, of the remembered events only what changed (see `operators.parts`)."""
        return {**self._alerts.changes(sweep), **self._sample.changes(sweep), **self._small()}

    def _small(self) -> State:
        taught = self._taught
        return {
            "probability.counts": taught.counts.copy(),
            "probability.seen": taught.seen.copy(),
            "probability.sums": taught.sums.copy(),
            "probability.block": taught.block.copy(),
            "probability.news": taught.news.copy(),
            "probability.outcomes": self._outcomes.copy(),
            "probability.table": self._table.copy(),
            "probability.ready": int(self._ready),
        }

    def load(self, state: State) -> None:
        """Replace all of it by what `dump` or `changes` returned."""
        self._alerts.load(state)
        self._sample.load(state)
        taught = self._taught
        targets = {
            "counts": taught.counts,
            "seen": taught.seen,
            "sums": taught.sums,
            "block": taught.block,
            "news": taught.news,
            "outcomes": self._outcomes,
            "table": self._table,
        }
        for name, target in targets.items():
            target[:] = np.asarray(state[f"probability.{name}"])
        self._ready = bool(state["probability.ready"])

    def measurements(self) -> Iterable[Measurement]:
        """Yield what became of labels, whether there is a probability, and how good those given were."""
        for outcome, number in zip(OUTCOMES, self._outcomes.tolist(), strict=True):
            yield Measurement("tidegate_labels_total", float(number), {"outcome": outcome})
        yield Measurement("tidegate_remembered_events", float(len(self._alerts) + len(self._sample)))
        unripe = self._alerts.unripe + self._sample.unripe if self._waits else 0
        yield Measurement("tidegate_remembered_unripe_total", float(unripe))
        yield Measurement("tidegate_probability_ready", float(self._ready))
        yield Measurement("tidegate_probability_brier_score", quality.brier(self._taught.sums))
        yield Measurement(
            "tidegate_probability_calibration_error", quality.expected_calibration_error(self._taught.sums)
        )
