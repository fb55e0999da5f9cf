"""`tidegate generate`: a synthetic stream as JSON lines, for `tidegate publish -`.

`tidegate generate events`, or without a word, is what people do, happening now; the other words are a shop's (see
`flows.commands._generate_shop`).

With `--at-once` nothing is waited for, and the stream is of a day that does not change: the same seed, the same bytes,
for `tidegate evaluate`. `--labels` writes beside it which events were planted, as the topic `labels` would say it.

Nights are quiet and evenings are busy (UTC), so the rate is the mean over a day.
"""

import argparse
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from sys import stdin, stdout
from typing import BinaryIO

import msgspec

from flows.cli import OK
from flows.commands import CommandError
from flows.commands import _generate_shop as shop
from flows.commands._shared import above_zero, at_least_one, moment
from flows.demo.generator import Generator, GeneratorConfig, Planted

USERS_PER_RATE = 100
"""Users for each event a second: about 900 events a day for each, so that everybody soon has habits."""

QUIET_S = 300.0
"""Time without attacks at the beginning, seconds."""

PAUSE_S = 0.05
"""Events are written this often: waiting for each of hundreds a second would cost more than making it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate generate`."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=("events", *shop.WHAT),
        default="events",
        metavar="WHAT",
        help=f"events (default), or of a shop {', '.join(shop.WHAT)}; clicks reads lines of ranking.results",
    )
    parser.add_argument(
        "--rate", type=above_zero, default=500.0, metavar="N", help="mean events a second over a day (default: 500)"
    )
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="stop after N events")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="decides everything but the time (default: 7)")
    parser.add_argument(
        "--users", type=at_least_one, metavar="N", help="default: 100 for each event a second; 400 in a shop"
    )
    parser.add_argument(
        "--at-once",
        action="store_true",
        help="wait for nothing; the stream is then of 5 January 2026; events need --limit",
    )
    parser.add_argument("--lists", type=at_least_one, default=4_000, metavar="N", help="requests (default: 4000)")
    parser.add_argument(
        "--start", type=moment, metavar="TIME", help="of the requests (default: twelve hours before the last full hour)"
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="write the labels of the planted abuse there")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate generate`."""
    if args.what != "events":
        shop.write(args, stdin.buffer if args.what == "clicks" else (), stdout.buffer)
        return OK
    if args.at_once and args.limit is None:
        raise CommandError("--at-once needs --limit: the stream has no end")
    config = GeneratorConfig(
        seed=args.seed,
        users=args.users or max(1, round(args.rate * USERS_PER_RATE)),
        rate=args.rate,
        speed=1.0,
        start_ms=GeneratorConfig().start_ms if args.at_once else int(time.time() * 1_000),
        quiet_s=QUIET_S,
    )
    sleep = _not_at_all if args.at_once else time.sleep
    with contextlib.ExitStack() as files:
        try:
            labels = files.enter_context(args.labels.open("wb")) if args.labels else None
        except OSError as error:
            raise CommandError(f"cannot write {args.labels}: {error.strerror or error}") from error
        generate(config, stdout.buffer, args.limit, sleep=sleep, labels=labels)
    return OK


def _not_at_all(_seconds: float) -> None:
    pass


def generate(
    config: GeneratorConfig,
    out: BinaryIO,
    limit: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    labels: BinaryIO | None = None,
) -> None:
    """Write the stream's events, one JSON object to a line, each when its time has come.

    Args:
        config: the stream; at speed 1 its event time keeps pace with the clock.
        out: where to. It is flushed before each pause.
        limit: number of events, or None for no end.
        clock: monotonic seconds.
        sleep: waits for seconds.
        labels: where the label of each planted event goes, one JSON object to a line; None for nowhere.

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
        if labels is not None and event.attack is not None:
            labels.write(_label(event) + b"\n")
    out.flush()


def _label(event: Planted) -> bytes:
    return msgspec.json.encode(
        {
            "id": event.event["id"],
            "user": event.event["user"],
            "label": "fraud",
            "timestamp": event.timestamp_ms,
            "kind": event.attack,
        }
    )
