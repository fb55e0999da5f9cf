"""Says how catching up goes: a line every few seconds while a large backlog is worked off, and one when it is done."""

from collections.abc import Mapping
from typing import Protocol

from connectors.logs import logger

log = logger()

EVERY_S = 5.0
LARGE = 10_000
"""Records behind from which on it is told: less is a moment's work."""


class BacklogObserver(Protocol):
    """Who is told how far it is."""

    def backlog(self, share: float) -> None:
        """How much of a backlog is answered, 0 to 1; 1 means that there is none."""
        ...


class Backlog:
    """Progress through what lay in the topic, over all partitions of this process."""

    def __init__(self, flow: str, observer: BacklogObserver) -> None:
        """There is none yet."""
        self._flow = flow
        self._observer = observer
        self._began: tuple[float, dict[int, int]] | None = None  # when, and at which positions
        self._said = 0.0

    def report(self, now: float, positions: Mapping[int, int], lags: Mapping[int, int]) -> None:
        """Tell how far it is.

        Args:
            now: monotonic seconds.
            positions: next record to be read, by partition.
            lags: records from there to the log's end, by partition.
        """
        left = sum(lags.values())
        if self._began is not None and self._began[1].keys() != positions.keys():  # other partitions: begun anew
            self._began = None
        if self._began is None:
            if left <= LARGE:
                return
            self._began, self._said = (now, dict(positions)), now
            log.info("catching_up", flow=self._flow, records_left=left)
            self._observer.backlog(0.0)
            return
        since, first = self._began
        done = sum(positions[number] - first[number] for number in positions)
        speed = done / max(now - since, 1e-9)
        if left <= min(LARGE, speed):  # within a second's work: live
            log.info(
                "caught_up", flow=self._flow, records=done, seconds=round(now - since, 1), records_per_s=round(speed)
            )
            self._observer.backlog(1.0)
            self._began = None
        else:
            share = done / (done + left) if done + left else 1.0
            self._observer.backlog(share)
            if now - self._said >= EVERY_S:
                self._said = now
                log.info(
                    "catching_up",
                    flow=self._flow,
                    share=round(share, 3),
                    records_left=left,
                    records_per_s=round(speed),
                    seconds_left=round(left / speed) if speed else None,
                )
