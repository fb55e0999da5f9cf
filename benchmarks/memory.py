"""Memory of the risk flow's stages in one process, without Kafka.

`python benchmarks/memory.py [--users 1000000] [--flood 5000000] [--flood-bound 100000]` prints two tables, each from a
process of its own. Users: bytes per active user, resident and of state, as that many users come and stay. Flood: the
resident memory while that many distinct users come once each and `max_users` bounds how many are kept.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.events import START_MS
from flows import risk
from flows.settings import load_settings
from operators.batches import Messages, Span
from operators.state import pack

EVENTS_PER_USER = 6
ROWS = 10


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Partition:
    """The stages of one partition, fed directly."""

    def __init__(self, max_users: int) -> None:
        environment = {
            "TIDEGATE_PSEUDONYM_KEY": "a key for benchmarks only",
            "TIDEGATE_RISK__FEATURIZE__MAX_USERS": str(max_users),
            "TIDEGATE_RISK__TIER__MAX_USERS": str(max_users),
        }
        settings = load_settings(None, environment, needs_key=True)
        risk.warm_up(settings)
        fresh = risk.Stages(settings)
        self.stages: list[Any] = [
            fresh.decode(0), fresh.featurize(0), fresh.score(0), fresh.calibrate(0), fresh.tier(0), fresh.encode(0),
        ]  # fmt: skip
        self.offset = 0

    def feed(self, users: range) -> None:
        """One event of each of these users, a millisecond apart."""
        for at in range(0, len(users), 2_000):
            part, first = users[at : at + 2_000], self.offset
            times = [START_MS + first + index for index in range(len(part))]
            values: list[bytes | None] = [
                b'{"id":"%d","timestamp":%d,"user":"u%d","type":"pay","amount":%d,"ip":"10.0.%d.1","device":"d%d",'
                b'"counterparty":"s%d"}' % (time, time, number, time % 90, time % 200, number, time % 500)
                for time, number in zip(times, part, strict=True)
            ]
            self.offset += len(part)
            offsets = list(range(first, self.offset))
            batch: Any = Messages(Span(0, first, self.offset), "events", values, [b"k"] * len(part), offsets, times)
            for stage in self.stages:
                batch = stage.process(batch)

    def state_bytes(self) -> int:
        return sum(len(pack(stage.dump())) for stage in self.stages)


def stay(users: int) -> None:
    """Users who come and stay: all of them fit."""
    partition = Partition(max_users=users)
    before, found, block = resident(), [], users // ROWS
    for first in range(0, block * ROWS, block):
        for _ in range(EVENTS_PER_USER):
            partition.feed(range(first, first + block))
        active, now = first + block, resident() - before
        found.append(now / active)
        print(f"{active:11,} users: {now / 1e6:7,.0f} MB resident, {found[-1]:7,.0f} bytes per active user", flush=True)
    # Asked for last: a dump is a copy, and would count as resident.
    state = partition.state_bytes() / active
    print(f"median {statistics.median(found):,.0f} bytes resident per active user; {state:,.0f} of state in a snapshot")


def flood(users: int, bound: int) -> None:
    """Users who come once: `bound` of them are kept."""
    partition = Partition(max_users=bound)
    before, found, block = resident(), [], users // ROWS
    for first in range(0, block * ROWS, block):
        partition.feed(range(first, first + block))
        found.append((resident() - before) / 1e6)
        print(f"{first + block:11,} distinct users, {bound:,} kept: {found[-1]:7,.0f} MB resident", flush=True)
    settled = found[ROWS // 5 :]  # by then every bounded structure is full
    print(f"from {2 * users // ROWS + block:,} users on: largest over smallest {max(settled) / min(settled):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--flood", type=int, default=5_000_000)
    parser.add_argument("--flood-bound", type=int, default=100_000)
    parser.add_argument("--part", choices=("users", "flood"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "users":
        stay(arguments.users)
    elif arguments.part == "flood":
        flood(arguments.flood, arguments.flood_bound)
    else:  # each in a process of its own: memory that one gave back would hide the other's
        for part in ("users", "flood"):
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--part", part], check=True)


if __name__ == "__main__":
    main()
