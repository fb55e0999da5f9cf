"""`tidegate dead-letters`: what could not be read, why, and where it lies; and to publish it again."""

import argparse
import heapq
import json
from collections import Counter

import msgspec
from rich.table import Table

from connectors.clients import Admin, plain_consumer, read
from flows.cli import OK
from flows.commands import _replay
from flows.commands._shared import at_least_one, cell, counted, err, full_name, out, partitions_of, settings_of
from flows.commands.watch import when
from schemas.dead_letter import DeadLetter, Reason

DEFAULT_LIMIT = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate dead-letters`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show the newest, oldest first")
    listing.add_argument(
        "--reason", choices=[reason.value for reason in Reason], metavar="REASON", help="this one only"
    )
    listing.add_argument("--topic", metavar="TOPIC", help="those of records read from this topic")
    listing.add_argument(
        "--limit", type=at_least_one, default=DEFAULT_LIMIT, metavar="N", help=f"at most N (default: {DEFAULT_LIMIT})"
    )
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    _replay.add_arguments(actions.add_parser("replay", help="publish the records once more, exactly once"))


def main(args: argparse.Namespace) -> int:
    """Do `tidegate dead-letters`."""
    return _replay.main(args) if args.action == "replay" else show(args)


def show(args: argparse.Namespace) -> int:
    """Do `tidegate dead-letters list`."""
    settings = settings_of(args)
    topic = full_name(settings, "dead-letters")
    partitions = partitions_of(Admin(settings, "dead-letters").partitions(), topic)
    wanted = None if args.topic is None else {args.topic, full_name(settings, args.topic)}
    decode = msgspec.json.Decoder(DeadLetter).decode
    reasons: Counter[str] = Counter()
    unreadable = 0
    # The newest by the record's Kafka timestamp; in a heap, so that memory is the limit's and not the log's.
    newest: list[tuple[int, str, int, int, bytes]] = []
    with err().status("reading dead letters"):
        consumer = plain_consumer(settings, "dead-letters")
        for message in read(consumer, topic, partitions, beginning=True, to_end=True):
            try:
                letter = decode(message.value() or b"")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                unreadable += 1
                continue
            if (args.reason and letter.reason != args.reason) or (wanted and letter.topic not in wanted):
                continue
            reasons[letter.reason.value] += 1
            item = (letter.timestamp, letter.topic, letter.partition, letter.offset, message.value())
            (heapq.heappush if len(newest) < args.limit else heapq.heappushpop)(newest, item)
    if unreadable:
        err().print(f"not dead letters of Tidegate: {counted(unreadable, 'record')} of {topic}")
    letters = [decode(item[-1]) for item in sorted(newest)]
    console = out()
    if args.json:
        for letter in letters:
            console.file.write(json.dumps(msgspec.to_builtins(letter)) + "\n")
        return OK
    table = Table("time", "reason", "topic", "partition", "offset", "detail")
    for letter in letters:
        place = [cell(letter.topic), cell(letter.partition), cell(letter.offset)]
        table.add_row(cell(when(letter.timestamp)), cell(letter.reason, "yellow"), *place, cell(letter.detail))
    if letters:
        console.print(table)
    counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    console.print(
        f"{counted(sum(reasons.values()), 'dead letter')}{': ' + counts if counts else ''}; shown: {len(letters):,}"
    )
    return OK
