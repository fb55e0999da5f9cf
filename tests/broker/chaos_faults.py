"""Does what a plan says, step by step, to whoever is there at that moment."""

import contextlib
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chaos_actors import Broker, Fleet, Watch, Worker
from chaos_plan import Plan, Step

T = TypeVar("T")

ARMED_S = 8.0
"""A kill that waits for its moment waits so long at most; then it happens anyhow."""

PREPARED_S = 0.5
"""After a commit; with commits further apart than this the next transaction has begun and is not at its end."""

STORE_BYTES = 64 << 20


class Store:
    """A directory for snapshots that can run full: a small file system of its own."""

    def __init__(self, directory: Path) -> None:
        """Mount it.

        Raises:
            OSError: this machine does not let us; the text says why.
        """
        self.directory = directory
        directory.mkdir(parents=True)
        if shutil.which("mount") is None:
            raise OSError("there is no `mount` here")
        words = ["mount", "-t", "tmpfs", "-o", f"size={STORE_BYTES}", "tmpfs", str(directory)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"a small file system cannot be mounted: {done.stderr.strip()}")

    def fill(self) -> None:
        """Leave no byte free."""
        with contextlib.suppress(OSError), (self.directory / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1 << 16))

    def free(self) -> None:
        (self.directory / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", str(self.directory)], check=False)


@dataclass(frozen=True)
class _Stalled:
    """A process that is stalled: until when, and whose name stood beside its partitions' offsets."""

    worker: Worker
    process: object
    until: float
    owners: dict[int, str]


class Hand:
    """Does the harm.

    Attributes:
        done: how many of each kind were done, kills also as `kill.<moment>`; `skipped.<kind>` what had nobody to hit.
    """

    def __init__(self, fleet: Fleet, broker: Broker, watch: Watch, store: Store | None = None) -> None:
        self._fleet, self._broker, self._watch, self._store = fleet, broker, watch, store
        self._stalled: list[_Stalled] = []
        self.done: Counter[str] = Counter()

    def carry_out(self, plan: Plan, progress: Callable[[float], None]) -> None:
        """Do all steps at their times; `progress` is called about every fifth of a second with the time in the plan."""
        begun = time.monotonic()
        for step in plan.steps:
            while (now := time.monotonic() - begun) < step.at_s:
                progress(now)
                self._wake_due()
                time.sleep(min(0.1, step.at_s - now))
            started = time.monotonic()
            if self._do(step):
                self.done[step.kind] += 1
            else:
                self.done[f"skipped.{step.kind}"] += 1
            # What took its time holds up the rest: faults must not bunch up behind it.
            begun += max(0.0, time.monotonic() - started - 0.1)

    def make_well(self) -> None:
        """Wait until nobody is stalled any more."""
        while self._stalled:
            self._wake_due()
            time.sleep(0.05)

    def _do(self, step: Step) -> bool:
        match step.kind:
            case "kill":
                return self._kill(step)
            case "rescale":
                self._rescale(step)
            case "stall":
                return self._stall(step)
            case "store_full" | "store_free":
                if self._store is None:
                    return False
                (self._store.fill if step.kind == "store_full" else self._store.free)()
            case _:
                if not self._broker.mortal:
                    return False
                self._watch.overlap()
                getattr(self._broker, step.kind.removeprefix("broker_"))()
        return True

    def _kill(self, step: Step) -> bool:
        victim = self._victim(step)
        if victim is None:
            return False
        with self._fleet.lock:
            if not victim.running:  # it ended by itself meanwhile
                return False
            self._watch.follow("kill", self._fleet.partitions(victim))
            victim.kill()
        self.done[f"kill.{step.moment}"] += 1
        return True

    def _victim(self, step: Step) -> Worker | None:
        """Whom a kill hits; waits for the moment."""
        self._until(self._fleet.running)
        match step.moment:
            case "starting":
                return max(self._fleet.running(), key=lambda worker: worker.spawned, default=None)
            case "restoring":
                seen = len(self._fleet.told)
                found = self._until(lambda: self._opening(seen))
            case "committed":
                moved = len(self._watch.moved)
                found = self._until(lambda: self._committer(moved))
            case _:
                found = None
        return found or _drawn(self._fleet.running(), step.draw)

    def _opening(self, seen: int) -> Worker | None:
        """Who has begun to take a partition over since `seen` lines were logged."""
        for worker, event in self._fleet.told[seen:]:
            if event["event"] in ("fencing", "opened") and worker.running:
                return worker
        return None

    def _committer(self, moved: int, *awaited: Worker) -> Worker | None:
        """Who has just committed, or whether who is awaited has."""
        for partition in self._watch.moved[moved:]:
            owner = self._fleet.owners.get(partition)
            if owner is not None and owner.running and owner in (awaited or (owner,)):
                return owner
        return None

    def _rescale(self, step: Step) -> None:
        for worker in self._fleet.resize(step.processes, step.draw):
            with self._fleet.lock:
                if worker.running:
                    if not worker.stalled:
                        self._watch.follow("term", self._fleet.partitions(worker))
                    worker.terminate()

    def _stall(self, step: Step) -> bool:
        """Stall an owner that has somebody to succeed it."""
        victim = _drawn(self._until(self._stallable) or [], step.draw)
        if victim is None:
            return False
        if step.moment == "prepared":
            moved = len(self._watch.moved)
            self._until(lambda: self._committer(moved, victim))
            time.sleep(PREPARED_S)
        with self._fleet.lock:
            if not victim.running:
                return False
            partitions = self._fleet.partitions(victim)
            owned = {each: self._watch.at[each][1] for each in partitions if each in self._watch.at}
            self._watch.follow("stall", partitions)
            victim.stall()
            until = time.monotonic() + step.lasts_s
            self._stalled.append(_Stalled(victim, victim.flow.process, until, owned))
        return True

    def _stallable(self) -> list[Worker]:
        running = [each for each in self._fleet.running() if not each.stalled]
        return [each for each in running if self._fleet.partitions(each)] if len(running) > 1 else []

    def _wake_due(self) -> None:
        for stalled in [each for each in self._stalled if each.until <= time.monotonic()]:
            self._stalled.remove(stalled)
            with self._fleet.lock:
                if stalled.worker.flow.process is not stalled.process or not stalled.worker.running:
                    self.done["killed_while_stalled"] += 1
                    continue
                if any(self._watch.at[each][1] != owner for each, owner in stalled.owners.items()):
                    self.done["woken_after_a_successor_committed"] += 1
                stalled.worker.wake()

    def _until(self, ask: Callable[[], T]) -> T | None:
        """Ask until there is an answer, or it has taken too long."""
        deadline = time.monotonic() + ARMED_S
        while not (found := ask()) and time.monotonic() < deadline:
            self._wake_due()
            time.sleep(0.01)
        return found or None


def _drawn(workers: list[Worker], draw: float) -> Worker | None:
    return workers[int(draw * len(workers))] if workers else None
