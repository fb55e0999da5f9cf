"""A stop-watch for the parts of the engine's main loop: exclusive times, so that they add up.

The methods below are wrapped from outside; the engine itself carries no timers. Each is called once per batch or less
often, so the watch costs next to nothing.
"""

import time
from collections.abc import Callable
from importlib import import_module
from threading import get_ident
from typing import Any

from operators.control import Barrier, Flush, Restore
from operators.stage import Tasks

PARTS = (
    ("connectors.reader", "Reader", "read", "reading"),
    ("connectors.engine", "Engine", "_batches", "making batches of what was read"),
    ("connectors.ledger", "Ledger", "write", "producing"),
    ("connectors.ledger", "Ledger", "commit", "beginning commits"),
    ("connectors.ledger", "Ledger", "settle", "waiting for commits"),
    ("connectors.ledger", "Ledger", "store", "snapshots"),
    ("connectors.snapshot_writer", "SnapshotWriter", "begin", "snapshots"),
    ("connectors.snapshot_writer", "SnapshotWriter", "send", "snapshots"),
    ("connectors.membership", "Membership", "poll", "serving the group"),
)
"""Module, class, method, and the row of the table that its time goes to."""

CONTROL = {Barrier: "snapshots", Flush: "metrics of the stages", Restore: "restoring"}


class Timers:
    """Exclusive seconds by part, between `start` and `stop`: (wall clock, processor time of the main thread).

    Attributes:
        total: seconds between: wall clock, processor time of the main thread, processor time of the process.
        absent: methods of `PARTS` that this version of the engine does not have.
    """

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = {}
        self.absent: list[str] = []
        self._inside: list[list[float]] = []  # of each call under way: what calls within it took
        self._running = False
        self._thread = get_ident()
        self.total = (0.0, 0.0, 0.0)

    def start(self) -> None:
        """Count calls that begin from now on."""
        self._running, self._started = True, _now()

    def stop(self) -> None:
        """Count nothing from now on."""
        if self._running:
            self._running = False
            wall, thread, process = (now - then for now, then in zip(_now(), self._started, strict=True))
            self.total = (wall, thread, process)

    def wrap(self, call: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        """Time a function under the name that `name` gives for its arguments."""

        def timed(*given: Any, **more: Any) -> Any:
            if not self._running or get_ident() != self._thread:
                return call(*given, **more)
            within = [0.0, 0.0]
            self._inside.append(within)
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return call(*given, **more)
            finally:
                spent = time.perf_counter() - wall, time.thread_time() - processor
                self._inside.pop()
                if self._running:
                    part = self.parts.setdefault(name(*given), [0.0, 0.0])
                    for kind in (0, 1):
                        part[kind] += spent[kind] - within[kind]
                        if self._inside:
                            self._inside[-1][kind] += spent[kind]

        return timed


def _now() -> tuple[float, float, float]:
    return time.perf_counter(), time.thread_time(), time.process_time()


def instrument() -> Timers:
    """Wrap the parts of the engine and of its stages; returns their timers."""
    timers = Timers()
    for module, kind, method, part in PARTS:
        owner = getattr(import_module(module), kind)
        if hasattr(owner, method):
            setattr(owner, method, timers.wrap(getattr(owner, method), lambda *_, part=part: part))
        else:
            timers.absent.append(f"{kind}.{method}")
    Tasks.answer = timers.wrap(Tasks.answer, _stage_or_control)
    return timers


def _stage_or_control(tasks: Tasks, item: Any) -> str:
    return CONTROL.get(type(item), tasks.step)
