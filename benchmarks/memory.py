"""Memory per active user of the risk flow's state, in the process and by the arrays' own account.

`python benchmarks/memory.py [--users 50000]` feeds one partition's stages and prints bytes per user, at several sizes
and as their median, and the size of a snapshot.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.events import START_MS
from flows import risk
from flows.settings import load_settings
from operators.batches import Messages, Span
from operators.state import pack

EVENTS_PER_USER = 6


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    arguments = parser.parse_args()
    settings = load_settings(None, {"TIDEGATE_PSEUDONYM_KEY": "a key for benchmarks only"}, needs_key=True)
    risk.warm_up(settings)
    fresh = risk.Stages(settings)
    stages = [fresh.decode(0), fresh.featurize(0), fresh.score(0), fresh.calibrate(0), fresh.tier(0)]
    before, offset, figures = resident(), 0, []
    for block in range(10):
        first = block * arguments.users // 10
        numbers = [number for _ in range(EVENTS_PER_USER) for number in range(first, first + arguments.users // 10)]
        for at in range(0, len(numbers), 2_000):
            part = numbers[at : at + 2_000]
            times = [START_MS + offset + index for index in range(len(part))]
            values: list[bytes | None] = [
                b'{"id":"%d","timestamp":%d,"user":"u%d","type":"pay","amount":%d,"ip":"10.0.%d.1","device":"d%d",'
                b'"counterparty":"s%d"}' % (time, time, number, time % 90, time % 200, number, time % 500)
                for time, number in zip(times, part, strict=True)
            ]
            span = Span(0, offset, offset + len(part))
            batch = Messages(span, "events", values, [b"k"] * len(part), list(range(offset, span.next)), times)
            for stage in stages:
                batch = stage.process(batch)
            offset += len(part)
        users = first + arguments.users // 10
        state = sum(len(pack(stage.dump())) for stage in stages)
        figures.append((resident() - before) / users)
        print(f"{users:9,} users: {figures[-1]:7,.0f} bytes resident, {state / users:7,.0f} of state, per user")
    print(f"median {statistics.median(figures):,.0f} bytes resident per active user, everything counted")


if __name__ == "__main__":
    main()
