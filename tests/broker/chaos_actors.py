"""Who takes part in a chaos run: the broker, the processes of the flow under a supervisor, and who watches offsets."""

import contextlib
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos_plan import PARTITIONS
from confluent_kafka import Consumer, TopicPartition
from harness import ROOT, Flow
from server import Kafka

WATCHDOG_EXIT = 70
STOP_S = 60.0
"""A process told to stop must have stopped by then, whatever the broker does."""


class Broker:
    """A Kafka that can be killed and slowed, or one that was given, which is left alone."""

    def __init__(self, given: str | None = None) -> None:
        self._kafka = None if given else Kafka().start()
        self.bootstrap = given or self._kafka.bootstrap
        self.mortal = self._kafka is not None
        self._ill = False
        self._well_since = 0.0

    def ill_since(self, moment: float) -> bool:
        """Whether it was away or slow at any time since `moment` (monotonic), or shortly before."""
        return self._ill or self._well_since > moment - 3.0

    def kill(self) -> None:
        self._ill = True
        self._kafka.kill()

    def start(self) -> None:
        self._kafka.start()
        self._well()

    def slow(self) -> None:
        self._ill = True
        self._kafka.process.send_signal(signal.SIGSTOP)

    def quick(self) -> None:
        self._kafka.process.send_signal(signal.SIGCONT)
        self._well()

    def stop(self) -> None:
        if self._kafka is not None:
            self._kafka.stop()

    def _well(self) -> None:
        self._well_since = time.monotonic()
        self._ill = False


class Worker:
    """One place for a process of the flow; `Fleet` starts it again when it dies.

    Attributes:
        wanted: whether it shall run.
        killed: we killed the present process.
        terminated: when we told it to stop; None if we did not.
        stalled: it is stopped by SIGSTOP.
        spawned: when the present process began, monotonic seconds.
        opened: partitions that the present process has taken over.
    """

    def __init__(self, number: int, flow: Flow) -> None:
        self.number, self.flow = number, flow
        flow.fresh = True  # it is killed while it starts, too
        self.wanted = True
        self._read = 0
        self.start()

    def start(self) -> None:
        self.killed = self.stalled = False
        self.terminated: float | None = None
        self.opened: set[int] = set()
        self.spawned = time.monotonic()
        self.flow.start()

    @property
    def code(self) -> int | None:
        return self.flow.process.poll()

    @property
    def running(self) -> bool:
        return self.code is None and not self.killed

    def kill(self) -> None:
        self.killed = True
        self.flow.kill()

    def terminate(self) -> None:
        self.terminated = time.monotonic()
        self.flow.process.terminate()

    def stall(self) -> None:
        self.stalled = True
        self.flow.pause()

    def wake(self) -> None:
        self.stalled = False
        self.flow.resume()

    def told(self) -> list[dict[str, Any]]:
        """What it has logged since the last call."""
        with self.flow.log.open("rb") as log:
            log.seek(self._read)
            lines = log.read().rpartition(b"\n")[0]
        self._read += len(lines) + bool(lines)
        events = []
        for line in lines.splitlines():
            with contextlib.suppress(ValueError):  # cut by a kill, or not JSON
                events.append(json.loads(line))
        return [each for each in events if isinstance(each, dict) and "event" in each]


class Fleet:
    """The processes of one flow, and their supervisor: what dies is started again, as systemd or Kubernetes would.

    Attributes:
        owners: who has opened each partition last.
        told: (worker, event) of every line logged, in order.
        lock: to be held by whoever does something to a process: the supervisor replaces those that end.
        counts: restarts by cause, and every log event by name as `log.<event>`.
        failures: what no process may do, in words.
    """

    def __init__(
        self, broker: Broker, prefix: str, logs: Path, command: list[str], environment: dict[str, str]
    ) -> None:
        self._broker, self._prefix, self._logs = broker, prefix, logs
        self._command, self._environment = command, environment
        self.lock = threading.RLock()
        self._ending = threading.Event()
        self._made = 0
        self.workers: list[Worker] = []
        self.owners: dict[int, Worker] = {}
        self.told: list[tuple[Worker, dict[str, Any]]] = []
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._thread.start()

    def running(self) -> list[Worker]:
        """Those that run and shall run, stalled or not."""
        with self.lock:
            return [each for each in self.workers if each.wanted and each.running]

    def partitions(self, worker: Worker) -> list[int]:
        """What it has opened and nobody has after it."""
        return [number for number, owner in self.owners.items() if owner is worker and number in worker.opened]

    def resize(self, processes: int, draw: float = 0.0) -> list[Worker]:
        """Start processes, or choose those to be stopped; returns the latter, not told yet."""
        with self.lock:
            wanted = [each for each in self.workers if each.wanted]
            for _ in range(processes - len(wanted)):
                log = self._logs / f"process-{self._made}.log"
                flow = Flow(self._broker.bootstrap, self._prefix, log, **self._environment)
                flow.command = self._command
                self.workers.append(Worker(self._made, flow))
                self._made += 1
            going = []
            for _ in range(len(wanted) - processes):
                going.append(wanted.pop(int(draw * len(wanted))))
                going[-1].wanted = False
            return going

    def stop(self) -> None:
        """Tell all to stop, and wait; every one must end in good order."""
        for each in self.resize(0):
            if each.running:
                each.terminate()
        deadline = time.monotonic() + STOP_S + 5
        while self.workers and time.monotonic() < deadline:
            time.sleep(0.05)
        self.end()

    def end(self) -> None:
        """Stop supervising; kill what is left."""
        self._ending.set()
        self._thread.join()
        for each in self.workers:
            each.wake()
            each.flow.kill()

    def _supervise(self) -> None:
        while not self._ending.is_set():
            with self.lock:
                for worker in list(self.workers):
                    self._listen(worker)
                    if worker.code is not None:
                        self._bury(worker)
                    elif worker.terminated and not worker.stalled and time.monotonic() - worker.terminated > STOP_S:
                        self.failures.append(f"process {worker.number} did not stop in {STOP_S:.0f} s")
                        worker.kill()
            time.sleep(0.02)

    def _listen(self, worker: Worker) -> None:
        for event in worker.told():
            self.counts[f"log.{event['event']}"] += 1
            if event["event"] == "opened":
                worker.opened.add(event["partition"])
                self.owners[event["partition"]] = worker
            self.told.append((worker, event))

    def _bury(self, worker: Worker) -> None:
        """Judge how a process ended, and start it again if it shall run."""
        code = worker.code
        cause = self._cause(worker, code)
        if cause is None:
            last = worker.flow.log.read_text(errors="replace")[-1_500:]
            self.failures.append(f"process {worker.number} ended with exit code {code}: ...{last}")
            cause = "unexpected"
        self.counts[f"ended.{cause}"] += 1
        if not worker.wanted:
            self.workers.remove(worker)
            return
        self.counts["restarts"] += 1
        if cause in ("unexpected", "startup"):
            time.sleep(0.5)  # as a supervisor waits before it tries again
        worker.start()

    def _cause(self, worker: Worker, code: int | None) -> str | None:
        """Why it ended, if that is allowed."""
        if worker.killed and code == -signal.SIGKILL:
            return "killed"
        # Told to stop before it listens for that, Python ends as by default.
        if worker.terminated and (code == 0 or (code == -signal.SIGTERM and not worker.opened)):
            return "terminated"
        if code == WATCHDOG_EXIT:
            return "watchdog"
        if code == 1 and not worker.opened and self._broker.ill_since(worker.spawned):
            return "startup"
        return None


@dataclass
class Takeover:
    """One partition that changes hands because of a fault.

    Attributes:
        cause: kind of the fault.
        partition: whose.
        since: when the fault happened.
        offset: committed when the former owner was seen last, or the successor first.
        owner: the former owner's name beside the offset.
        seconds: from the fault to the successor's first commit past the offset; None while that has not been seen.
        overlapped: another fault happened meanwhile.
    """

    cause: str
    partition: int
    since: float
    offset: int
    owner: str
    seconds: float | None = None
    overlapped: bool = False
    _changed: bool = False

    def see(self, offset: int, owner: str) -> None:
        """Take note of what is committed now."""
        if not self._changed:
            # A successor's first commit only says whose the partition is: the one after it answers something.
            self.offset, self._changed = offset, owner != self.owner
        elif self.seconds is None and offset > self.offset:
            self.seconds = time.monotonic() - self.since


class Watch(threading.Thread):
    """Asks for the group's committed offsets all the time.

    Attributes:
        at: per partition, (offset, owner's name), as last told.
        moved: the partitions whose offset has grown, in the order in which that was seen.
        takeovers: all that were followed.
    """

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        super().__init__(name="watch", daemon=True)
        self.at: dict[int, tuple[int, str]] = {}
        self.moved: list[int] = []
        self.takeovers: list[Takeover] = []
        self._topic = topic
        self._ending = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap, "group.id": group, "log_level": 0, "reconnect.backoff.max.ms": 200,
                "isolation.level": "read_uncommitted",  # else the broker lets us wait for pending transactions
                "enable.auto.commit": False,
            }
        )  # fmt: skip
        self.start()

    def answered(self) -> int:
        """How many input records the committed offsets say are answered."""
        return sum(max(0, offset) for offset, _ in self.at.values())

    def follow(self, cause: str, partitions: Iterable[int]) -> None:
        """Follow partitions that lose their owner just now."""
        now = time.monotonic()
        self.overlap()
        self.takeovers += [Takeover(cause, each, now, *self.at[each]) for each in partitions if each in self.at]

    def overlap(self) -> None:
        """Another fault happens now: what is not taken over yet is not the measure of one fault alone."""
        for each in self.takeovers:
            each.overlapped |= each.seconds is None

    def end(self) -> None:
        self._ending.set()
        self.join()
        self._consumer.close()

    def run(self) -> None:
        asked = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        while not self._ending.is_set():
            with contextlib.suppress(Exception):  # the broker is away, or the group just moving in
                self._note(self._consumer.committed(asked, timeout=1.0))
            time.sleep(0.04)

    def _note(self, found: list[TopicPartition]) -> None:
        for each in found:
            if each.error is not None or each.offset < 0:
                continue
            owner = str(json.loads(each.metadata or "{}").get("owner", ""))
            if each.offset > self.at.get(each.partition, (-1, ""))[0]:
                self.moved.append(each.partition)
            self.at[each.partition] = (each.offset, owner)
            for takeover in self.takeovers:
                if takeover.partition == each.partition:
                    takeover.see(each.offset, owner)


def command(session_ms: int | None, without: str | None) -> list[str]:
    """How a process is started: as a user does, unless something is changed for the test."""
    if session_ms is None and without is None:
        return [sys.executable, "-m", "flows", "run", "risk"]
    words = [sys.executable, str(ROOT / "tests" / "broker" / "saboteur.py")]
    words += ["--session-ms", str(session_ms)] if session_ms else []
    words += ["--without", without] if without else []
    return [*words, "run", "risk"]
