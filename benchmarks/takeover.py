"""How long a partition stands still when its process dies, and how long a restore takes.

`python benchmarks/takeover.py [--rounds 5] [--rate 2000] [--users 20000,60000,180000]`

Take-over: two processes with the defaults (session 6 s) share the partitions under load; one gets `kill -9`, or
SIGTERM. Timed from the signal until another owner has committed past what it found, on every partition of the one that
died; asked from outside every 10 ms.

Restore: one process alone, on snapshots of several sizes. Loading runs from being given the partitions until the last
stage has its state, fencing the former owner included; so what 100 MB take is the slope of a line through the sizes.
Rolling forward runs from there to the last record that was read again.
"""

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from confluent_kafka import KafkaException

from benchmarks.kafka import PARTITIONS, ROOT, Group, Kafka, create, environment, fill, free_ports
from benchmarks.runs import CHILD, PAUSE_S, child
from connectors import progress

PATIENCE_S = 120.0
ROLLED = 200_000
"""Records to roll forward over."""


class Process:
    """`tidegate run risk`, asked through its own port what it has."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.port = free_ports(1)[0]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process's object
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows", "run", "risk"],
            env={**settings, "TIDEGATE_METRICS__PORT": str(self.port)},
            cwd=ROOT,
            stdout=self.log,
            stderr=self.log,
        )

    def live(self) -> set[int]:
        """Its partitions, once all of them are live."""
        if self.process.poll() is not None:
            self.log.seek(0)
            raise RuntimeError(f"a process ended with {self.process.returncode}: {self.log.read()[-4000:].decode()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as answer:
                detail = json.loads(answer.read())["detail"]
        except OSError:
            return set()
        return {int(each) for each in detail["partitions"]} if isinstance(detail, dict) else set()


def settled(processes: list[Process]) -> bool:
    shares = [each.live() for each in processes]
    return all(shares) and sum(map(len, shares)) == PARTITIONS == len(set().union(*shares))


def owners(group: Group) -> dict[int, tuple[int, str]]:
    """Committed offset of each partition and who committed it."""
    found = {}
    for number, each in group.committed().items():
        told = progress.read(each.metadata)
        found[number] = (each.offset, told.owner if told is not None else "")
    return found


def stand_still(victim: Process, group: Group, kind: signal.Signals) -> float:
    """Seconds from the signal until each of the victim's partitions has moved on under another owner."""
    waiting = victim.live()
    before = owners(group)
    found: dict[int, int] = {}  # what the new owner began with
    started = time.monotonic()
    victim.process.send_signal(kind)
    while waiting:
        if time.monotonic() - started > PATIENCE_S:
            raise RuntimeError(f"partitions {sorted(waiting)} still stand still")
        try:
            now = owners(group)
        except KafkaException:  # the group is between two generations: asked again
            continue
        for number in sorted(waiting):
            offset, owner = now[number]
            if owner != before[number][1] and offset > found.setdefault(number, offset):
                waiting.discard(number)
        time.sleep(0.01)
    taken = time.monotonic() - started
    victim.process.wait(30)
    return taken


def take_overs(bootstrap: str, rounds: int, rate: int) -> None:
    prefix = f"t{uuid.uuid4().hex[:6]}."
    create(bootstrap, prefix)
    settings = environment(bootstrap, prefix)
    group = Group(bootstrap, settings["TIDEGATE_RISK__GROUP"], f"{prefix}events")
    options = ["--publish", bootstrap, f"{prefix}events", "--rate", str(rate), "--seconds", "3600"]
    publisher = subprocess.Popen([sys.executable, str(ROOT / "benchmarks" / "latency.py"), *options], cwd=ROOT)
    processes = [Process(settings), Process(settings)]
    times: dict[signal.Signals, list[float]] = {signal.SIGKILL: [], signal.SIGTERM: []}
    try:
        for number in range(2 * rounds):
            kind = (signal.SIGKILL, signal.SIGTERM)[number % 2]
            deadline = time.monotonic() + PATIENCE_S
            while not settled(processes):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"two processes do not come to share the partitions in {PATIENCE_S:.0f} s")
                time.sleep(0.2)
            time.sleep(PAUSE_S + random.uniform(0, 2))  # snapshots are anywhere in their interval
            victim = processes.pop(0)
            times[kind].append(stand_still(victim, group, kind))
            processes.append(Process(settings))
        for kind, found in times.items():
            name = "kill -9" if kind is signal.SIGKILL else "SIGTERM"
            print(
                f"take-over after {name}: median {statistics.median(found):5.2f} s, worst {max(found):5.2f} s "
                f"of {len(found)}, at {rate:,} events/s",
                flush=True,
            )
    finally:
        publisher.kill()
        publisher.wait()
        for each in processes:
            each.process.kill()
            each.process.wait()
        group.close()


def restores(bootstrap: str, users: int) -> tuple[float, float]:
    """One size: a state is made, restored three times as it was left, and once with records to roll forward over.

    Returns the bytes of its snapshots and the seconds to load them.
    """
    prefix = f"r{uuid.uuid4().hex[:6]}."
    create(bootstrap, prefix)
    written = 0

    def go_on(count: int, *options: str, **overrides: str) -> dict[str, float]:
        nonlocal written
        fill(bootstrap, f"{prefix}events", count, users, written)
        written += count
        return child([str(CHILD), str(count), *options], {**settings, **overrides})

    settings = environment(bootstrap, prefix)
    never = {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "3600"}
    size = go_on(3 * users)["snapshot_bytes"]
    loads = [go_on(1_000)["load_s"], go_on(1_000)["load_s"], go_on(ROLLED, "--die", **never)["load_s"]]
    rolled = go_on(1_000)
    load = statistics.median(loads)
    print(
        f"{size / 1e6:7.0f} MB of snapshots: loading {load:5.2f} s; then rolling forward over {rolled['rolled']:,} "
        f"records {rolled['roll_s']:5.2f} s, {rolled['rolled'] / max(rolled['roll_s'], 1e-3):,.0f} records/s",
        flush=True,
    )
    return size, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each signal")
    parser.add_argument("--rate", type=int, default=2_000, help="events per second")
    parser.add_argument("--users", default="20000,60000,180000", help="whose states are restored; empty: none")
    arguments = parser.parse_args()
    server = Kafka().start()
    try:
        if arguments.rounds:
            take_overs(server.bootstrap, arguments.rounds, arguments.rate)
        found = [restores(server.bootstrap, int(users)) for users in filter(None, arguments.users.split(","))]
        if len(found) > 1:
            slope, fixed = statistics.linear_regression(*zip(*found, strict=True))
            print(f"loading takes {fixed:.2f} s and {slope * 1e8:.2f} s per 100 MB")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
