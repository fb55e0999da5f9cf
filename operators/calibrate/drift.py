"""Drift of the scores' mean: ADWIN on what is left of block means once the rhythm of the day is taken off.

ADWIN (`operators.calibrate.adwin`) assumes independent values. Scores of one session are not, and over a day all of
them rise and fall: fed with single scores it would cry wolf. So it is given means over blocks, less the mean of the
same hour of day (UTC, event time) on earlier days. Hours are 24 cells: the mean of an hour moves by 1/k on its k-th
day, and by 1/DAYS from then on. An hour that was not there on an earlier day gives nothing, so the first day is for
learning the rhythm; a stream of less than a day has no ADWIN, only stability indices and charts.

Once it finds a drift, all hours are moved by what it found and the window begins anew: the same drift is found once.
"""

import numpy as np

from operators.batches import F64, I64
from operators.calibrate.adwin import Adwin
from operators.state import State

HOUR_MS = 3_600_000
HOURS = 24
DAYS = 7
CLOCK = 4

HOUR, BLOCKS = range(2)
"""Cells of `_now`: the hour of the blocks being gathered, since 1970; how many there were."""


class ScoreDrift:
    """Drift of one partition's scores.

    Args:
        delta: confidence of ADWIN.
    """

    def __init__(self, delta: float) -> None:
        self._adwin = Adwin(delta, CLOCK)
        self._means: F64 = np.zeros(HOURS)
        self._days: I64 = np.zeros(HOURS, np.int64)
        self._now: I64 = np.zeros(2, np.int64)
        self._sum: F64 = np.zeros(1)

    def add(self, mean: float, now_ms: int) -> float | None:
        """Add the mean score of a block; return by how much the level changed if it did, in nats.

        Args:
            mean: of one block.
            now_ms: stream time at its end.
        """
        hour = now_ms // HOUR_MS
        if hour != self._now[HOUR]:
            self._close_hour()
            self._now[HOUR] = hour
        self._sum[0] += mean
        self._now[BLOCKS] += 1
        at = hour % HOURS
        if not self._days[at] or not self._adwin.update(mean - float(self._means[at])):
            return None
        found = self._adwin.mean
        self._means += found
        self._adwin.clear()
        return found

    def _close_hour(self) -> None:
        if not self._now[BLOCKS]:
            return
        at = int(self._now[HOUR]) % HOURS
        self._days[at] = min(int(self._days[at]) + 1, DAYS)
        self._means[at] += (self._sum[0] / self._now[BLOCKS] - self._means[at]) / self._days[at]
        self._now[BLOCKS] = 0
        self._sum[0] = 0.0

    def dump(self) -> State:
        """Return the window and the rhythm."""
        return {
            **self._adwin.dump(),
            "rhythm.means": self._means.copy(),
            "rhythm.days": self._days.copy(),
            "rhythm.now": self._now.copy(),
            "rhythm.sum": self._sum.copy(),
        }

    def load(self, state: State) -> None:
        """Replace both by dumped ones."""
        self._adwin.load(state)
        for name in ("means", "days", "now", "sum"):
            getattr(self, f"_{name}")[:] = np.asarray(state[f"rhythm.{name}"])
