"""`tidegate generate`: the synthetic stream as JSON lines, happening now, for `tidegate publish -`.

Nights are quiet and evenings are busy (UTC), so the rate is the mean over a day.
"""

import argparse
import time
from collections.abc import Callable
from sys import stdout
from typing import BinaryIO

from flows.cli import OK
from flows.commands._shared import above_zero, at_least_one
from flows.demo.generator import Generator, GeneratorConfig

USERS_PER_RATE = 100
"""Users for each event a second: about 900 events a day for each, so that everybody soon has habits."""

QUIET_S = 300.0
"""Time without attacks at the beginning, seconds."""

PAUSE_S = 0.05
"""Events are written this often: waiting for each of hundreds a second would cost more than making it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate generate`."""
    parser.add_argument(
        "--rate", type=above_zero, default=500.0, metavar="N", help="mean events a second over a day (default: 500)"
    )
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="stop after N events")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="decides everything but the time (default: 7)")
    parser.add_argument("--users", type=at_least_one, metavar="N", help="default: 100 for each event a second")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate generate`."""
    config = GeneratorConfig(
        seed=args.seed,
        users=args.users or max(1, round(args.rate * USERS_PER_RATE)),
        rate=args.rate,
        speed=1.0,
        start_ms=int(time.time() * 1_000),
        quiet_s=QUIET_S,
    )
    generate(config, stdout.buffer, args.limit)
    return OK


def generate(
    config: GeneratorConfig,
    out: BinaryIO,
    limit: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write the stream's events, one JSON object to a line, each when its time has come.

    Args:
        config: the stream; at speed 1 its event time keeps pace with the clock.
        out: where to. It is flushed before each pause.
        limit: number of events, or None for no end.
        clock: monotonic seconds.
        sleep: waits for seconds.

    Raises:
        BrokenPipeError: the reader has gone.
    """
    began = clock()
    for count, event in enumerate(Generator(config).events()):
        if count == limit:
            break
        due = began + (event.timestamp_ms - config.start_ms) / 1_000 / config.speed
        if due - clock() > PAUSE_S:
            out.flush()
            sleep(due - clock())
        out.write(event.value + b"\n")
    out.flush()
