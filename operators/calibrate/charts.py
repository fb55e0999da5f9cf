"""Control charts of the alert rate, and when busy users are held back from teaching.

Both charts are cumulative sums for a Poisson rate (Page, Biometrika 1954; Lucas, Technometrics 1985): for counts x of
n events against the rate r in control and rho r out of control,

    S <- max(0, S + x ln(rho) - (rho - 1) r n),    out of control above h, in control again at 0.

`OVER` watches all events at or above the threshold of `level`: rho = 2, h = 30. `BUSY` watches those of *busy* users,
who have used up what they may teach in the hour (`Featured.teach`), against their usual share: rho = 3, h = 12. While
it is out of control (a *hold*), their hits count in the thresholds with a weight that leaves them their usual share: a
burst of few users teaches nothing, and thresholds stay where the usual traffic puts them. In calm everything counts as
one: a budget is a share of all events. A hold ends by itself once the busy users are back at their usual share, or
after `max_hold_s`: then what they do is what is usual.

S is kept below 2 h, so that it returns. Hits come in clusters, one user's events together; h is that much higher than
for independent ones, where ln of the run length between false alarms is about h (docs/calibration.md: measured).
"""

import math

from operators.state import State

OVER_RATIO, OVER_LIMIT = 2.0, 30.0
BUSY_RATIO, BUSY_LIMIT = 3.0, 12.0

USUAL_EVENTS = 20_000
"""Time constant of the busy users' usual share, in events."""

LEARNING_EVENTS = 10_000
"""Events before there can be a hold: what is usual must be known first. Until then the step limit is alone."""

LEAST_SHARE = 1.0
"""The chart does not take the usual share to be below this part of `level`: a first hit would be a burst."""


class Cusum:
    """One cumulative sum.

    Args:
        ratio: rate out of control, over the rate in control.
        limit: above it the rate is out of control.

    Attributes:
        sum: 0 to 2 * limit.
        out: whether the rate is out of control.
    """

    def __init__(self, ratio: float, limit: float) -> None:
        self._gain, self._loss, self.limit = math.log(ratio), ratio - 1.0, limit
        self.sum = 0.0
        self.out = False

    def add(self, hits: int, expected: float) -> bool:
        """Add a block with so many hits, where `expected` are usual; tell whether `out` changed."""
        self.sum = min(max(0.0, self.sum + self._gain * hits - self._loss * expected), 2.0 * self.limit)
        before, self.out = self.out, self.sum > 0.0 if self.out else self.sum > self.limit
        return self.out != before


class Charts:
    """Both charts of one partition.

    Args:
        level: the share of all events that is in control.
        max_hold_ms: the longest hold.

    Attributes:
        over: the chart of all hits.
        busy: the chart of busy users' hits; out of control is a hold.
        usual: their usual share of all events.
    """

    def __init__(self, level: float, max_hold_ms: int) -> None:
        self.level = level
        self.max_hold_ms = max_hold_ms
        self.over = Cusum(OVER_RATIO, OVER_LIMIT)
        self.busy = Cusum(BUSY_RATIO, BUSY_LIMIT)
        self.usual = 0.5 * level
        self._events = 0  # of which `usual` is the mean, at most USUAL_EVENTS
        self._since_ms = 0
        self._held_hits = 0
        self._held_events = 0

    @property
    def held(self) -> bool:
        """Whether busy users' hits are held down to their usual share."""
        return self.busy.out

    def add(self, events: int, hits: int, busy_hits: int, now_ms: int) -> list[tuple[str, str]]:
        """Add a block of events; return what it began or ended, as (kind, event).

        Args:
            events: in the block.
            hits: of them at or above the threshold of `level`.
            busy_hits: of the hits those by busy users.
            now_ms: stream time.
        """
        found = []
        if self.over.add(hits, self.level * events):
            found.append(("drift", "rate_over_budget" if self.over.out else "rate_within_budget"))
        usual = max(self.usual, LEAST_SHARE * self.level)
        if self._events >= LEARNING_EVENTS and self.busy.add(busy_hits, usual * events):
            found.append(("threshold", "held" if self.held else "resumed"))
            self._since_ms, self._held_hits, self._held_events = now_ms, 0, 0
        if not self.held:
            self._events = min(self._events + events, USUAL_EVENTS)
            self.usual += (busy_hits / events - self.usual) * events / self._events
            return found
        self._held_hits += busy_hits
        self._held_events += events
        if now_ms - self._since_ms >= self.max_hold_ms:
            self.usual = self._held_hits / self._held_events
            self.busy.sum, self.busy.out = 0.0, False
            found.append(("threshold", "released"))
        return found

    def share(self, events: int, busy_hits: int) -> float:
        """Return what a busy user's hit counts for, 0 to 1: 1 in calm."""
        if not self.held or not busy_hits:
            return 1.0
        return min(1.0, self.usual * events / busy_hits)

    def dump(self) -> State:
        """Return both sums and the hold."""
        return {
            "charts.over": self.over.sum,
            "charts.over_out": int(self.over.out),
            "charts.busy": self.busy.sum,
            "charts.busy_out": int(self.busy.out),
            "charts.usual": self.usual,
            "charts.events": self._events,
            "charts.since_ms": self._since_ms,
            "charts.held_hits": self._held_hits,
            "charts.held_events": self._held_events,
        }

    def load(self, state: State) -> None:
        """Replace both by dumped ones."""

        def number(name: str) -> float:
            value = state[f"charts.{name}"]
            if not isinstance(value, int | float):
                raise ValueError(f"expected a number, got {type(value).__name__} - at charts.{name}")  # noqa: TRY004  bad state is a ValueError everywhere
            return value

        self.over.sum, self.over.out = float(number("over")), bool(number("over_out"))
        self.busy.sum, self.busy.out = float(number("busy")), bool(number("busy_out"))
        self.usual, self._events = float(number("usual")), int(number("events"))
        self._since_ms, self._held_hits = int(number("since_ms")), int(number("held_hits"))
        self._held_events = int(number("held_events"))
