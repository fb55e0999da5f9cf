"""One run of a dataflow as a process of its own, and how runs are compared: by medians of ratios within a round."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.kafka import ROOT, afresh, environment

PAUSE_S = 3.0
"""Between runs: what one has written goes to the disk before the next."""

CHILD = ROOT / "benchmarks" / "flow_child.py"

Run = dict[str, Any]


def child(command: list[str], settings: dict[str, str]) -> Run:
    """Run a Python program that prints one JSON line last; returns that."""
    done = subprocess.run(
        [sys.executable, *command], env=settings, capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode or not done.stdout:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def flow(bootstrap: str, prefix: str, count: int, *options: str, **overrides: str) -> Run:
    """The risk flow over a topic of `count` events, in a new group with empty outputs."""
    afresh(bootstrap, prefix)
    return child([str(CHILD), str(count), *options], environment(bootstrap, prefix, **overrides))


def speed(run: Run) -> float:
    """Events per second."""
    return run["records"] / run["wall_s"]


def processor(run: Run) -> float:
    """Processor seconds per million events."""
    return 1e6 * run["cpu_s"] / run["records"]


def show(name: str, runs: list[Run], base: list[Run] | None = None, to: str = "") -> None:
    """Print one row: medians, and the median of each round's ratio to that round's `base`."""
    line = (
        f"{name:44s} {statistics.median(map(speed, runs)):11,.0f} events/s "
        f"{statistics.median(map(processor, runs)):7.2f} processor s per million"
    )
    if base is not None:
        ratios = [speed(run) / speed(other) for run, other in zip(runs, base, strict=True)]
        costs = [processor(run) / processor(other) for run, other in zip(runs, base, strict=True)]
        line += f"   {statistics.median(ratios):6.3f} x the speed of {to}, {statistics.median(costs):6.3f} x its cost"
    print(line, flush=True)


def processor_seconds(pid: int) -> float:
    """Processor time of a process and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
