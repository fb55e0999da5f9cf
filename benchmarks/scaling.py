"""Two processes on two cores against one process on one core, over the same topic, in turns of one run.

`python benchmarks/scaling.py [--events 2000000] [--rounds 3] [--cores 0,1]` prints events per second, the flow's and
the broker's processor seconds per million events, and the speed-up, as medians. Each flow process is pinned to a core
of its own. The broker goes where the system puts it: on a machine with two cores it takes a share of what two processes
could use, and leaves one process alone. So its share is printed, and there is a third row, in which the broker and the
one process have one core between them: everything on two cores against everything on one.

All processes join, get their partitions, and begin to read at one moment; the end is the last commit of the last one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.kafka import PARTITIONS, ROOT, Group, Kafka, afresh, environment, filled
from benchmarks.runs import CHILD, PAUSE_S, Run, processor, processor_seconds, speed


def wait(condition: Callable[[], bool], children: list[subprocess.Popen[str]], what: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        for each in children:
            if each.poll() is not None:
                raise RuntimeError(f"a process ended with {each.returncode}: {each.communicate()[1][-4000:]}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not in {limit_s:.0f} s")
        time.sleep(0.1)


def together(server: Kafka, prefix: str, cores: list[int]) -> Run:
    """One flow process per core, all in one group, over the whole topic."""
    afresh(server.bootstrap, prefix)
    settings = environment(server.bootstrap, prefix)
    group = Group(server.bootstrap, settings["TIDEGATE_RISK__GROUP"], f"{prefix}events")
    gate = Path(tempfile.gettempdir()) / f"tidegate-gate-{uuid.uuid4().hex}"
    children = [
        subprocess.Popen(
            [sys.executable, str(CHILD), "0", "--core", str(core), "--gate", str(gate)],
            env=settings, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for core in cores
    ]  # fmt: skip
    try:
        even = [PARTITIONS // len(cores)] * len(cores)
        wait(lambda: group.shares() == even, children, f"partitions shared as {even}", 180)
        time.sleep(2)  # what joining costs is over
        ends, before = group.ends(), processor_seconds(server.process.pid)
        gate.touch()
        wait(lambda: {n: each.offset for n, each in group.committed().items()} == ends, children, "all committed", 600)
        broker_s = processor_seconds(server.process.pid) - before
        for each in children:
            each.terminate()
        parts = [json.loads(each.communicate(timeout=60)[0].splitlines()[-1]) for each in children]
    finally:
        for each in children:
            each.kill()
            each.wait()
        gate.unlink(missing_ok=True)
        group.close()
    return {
        "records": sum(part["records"] for part in parts),
        "wall_s": max(part["ended"] for part in parts) - min(part["began"] for part in parts),
        "cpu_s": sum(part["cpu_s"] for part in parts),
        "broker_s": broker_s,
    }


def pin(pid: int, cores: set[int]) -> None:
    """Let a running process, with all its threads, use these cores only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def show(name: str, runs: list[Run]) -> None:
    brokers = [1e6 * run["broker_s"] / run["records"] for run in runs]
    shares = [run["broker_s"] / run["wall_s"] for run in runs]
    print(
        f"{name:44s} {statistics.median(map(speed, runs)):11,.0f} events/s "
        f"{statistics.median(map(processor, runs)):7.2f} processor s per million, the broker "
        f"{statistics.median(brokers):6.2f} ({statistics.median(shares):.2f} of a core)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", default="0,1", help="the two cores")
    arguments = parser.parse_args()
    cores = [int(core) for core in arguments.cores.split(",")]
    with filled(arguments.events, arguments.users) as (server, prefix):
        assert server.process is not None
        everywhere = os.sched_getaffinity(server.process.pid)
        print(f"{arguments.events:,} events into {PARTITIONS} partitions; {len(everywhere)} cores", flush=True)
        one, two, squeezed = [], [], []
        together(server, prefix, cores)  # the broker warms up: does not count
        for _ in range(arguments.rounds):
            one.append(together(server, prefix, cores[:1]))
            time.sleep(PAUSE_S)
            two.append(together(server, prefix, cores))
            time.sleep(PAUSE_S)
            pin(server.process.pid, {cores[0]})
            squeezed.append(together(server, prefix, cores[:1]))
            pin(server.process.pid, everywhere)
            time.sleep(PAUSE_S)
        show("one process on one core", one)
        show("two processes on two cores", two)
        show("one process and the broker on one core", squeezed)
        for name, base in (("one process on one core", one), ("one process and the broker on one core", squeezed)):
            ratios = [speed(run) / speed(other) for run, other in zip(two, base, strict=True)]
            print(f"speed-up of two on two cores over {name}: {statistics.median(ratios):.2f}")
        costs = [processor(run) / processor(other) for run, other in zip(two, one, strict=True)]
        print(f"processor seconds per event, two processes over one: {statistics.median(costs):.2f}")


if __name__ == "__main__":
    main()
