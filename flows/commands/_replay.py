"""`tidegate dead-letters replay`: the records that dead letters point to, published again to where they came from."""

import argparse
import re
import time
from collections import Counter
from datetime import datetime

from connectors.clients import Admin, common_config
from connectors.replaying import replay
from connectors.replaying.choice import Choice, Tally
from connectors.replaying.replay import Replay
from flows.cli import OK
from flows.commands import CommandError
from flows.commands._shared import above_zero, counted, full_name, out, partitions_of, progress_bar, settings_of
from schemas.dead_letter import Reason

LETTERS, JOURNAL = "dead-letters", "dead-letters.replays"

ABOUT = """\
Publish the records that dead letters point to once more, exactly once: with their key, value, headers, Kafka timestamp
and partition, and a header `tidegate-replay: topic/partition/offset` that says where they lay. Do it once the cause is
mended: a setting such as max_message_bytes, or a reader that is newer; what is wrong in a record itself stays wrong.

Interrupted at any moment and run again, it repeats nothing and loses nothing. What the options leave out stays
replayable. A replayed record that is refused again is not replayed a second time unless --again says so.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate dead-letters replay`."""
    parser.description = ABOUT
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    reasons = [reason.value for reason in Reason]
    parser.add_argument("--reason", choices=reasons, metavar="REASON", help="letters with this reason only")
    parser.add_argument("--topic", metavar="TOPIC", help="letters about records of this topic only")
    times = "by the record's Kafka timestamp: RFC 3339, or milliseconds since 1970"
    parser.add_argument("--since", type=moment, metavar="TIME", help=f"records not before this, {times}")
    parser.add_argument("--until", type=moment, metavar="TIME", help="records before this")
    parser.add_argument("--again", action="store_true", help="also records that were replayed and refused again")
    parser.add_argument("--rate", type=above_zero, metavar="N", help="at most N records a second")
    parser.add_argument("--dry-run", action="store_true", help="only count, by reason; publish nothing")


def moment(text: str) -> int:
    """Read a time as epoch milliseconds: RFC 3339 with its offset from UTC, or the milliseconds themselves."""
    if re.fullmatch(r"\d{1,15}", text):
        return int(text)
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        time_ = None
    if time_ is None or time_.tzinfo is None:
        raise argparse.ArgumentTypeError(f"expected RFC 3339, as 2026-01-31T08:00:00Z, or milliseconds, got {text}")
    return round(time_.timestamp() * 1000)


def main(args: argparse.Namespace) -> int:
    """Do `tidegate dead-letters replay`."""
    settings = settings_of(args)
    if settings.kafka.delivery != "exactly_once" and not args.dry_run:
        raise CommandError(
            'a replay needs transactions, and the settings say kafka.delivery = "at_least_once"; --dry-run counts'
        )
    topics = {
        name: len(topic.partitions)
        for name, topic in Admin(settings, "replay").metadata().topics.items()
        if topic.error is None
    }
    letters, journal = full_name(settings, LETTERS), full_name(settings, JOURNAL)
    partitions_of(topics, letters)
    partitions_of(topics, journal)
    choice = Choice(
        reason=args.reason,
        topics=None if args.topic is None else frozenset({args.topic, full_name(settings, args.topic)}),
        since_ms=args.since,
        until_ms=args.until,
        again=args.again,
    )
    owner = None if args.dry_run else f"{settings.kafka.prefix}tidegate.dead-letters-replay"
    try:
        run = Replay(common_config(settings, "replay"), topics, letters, journal, choice, owner)
        try:
            _watched(run, args.rate)
        finally:
            run.close()
            say(run.tally, dry=args.dry_run)
    except replay.Ended as error:
        raise CommandError(str(error)) from error
    return OK


def _watched(run: Replay, rate: float | None) -> None:
    """Run it, with a line of progress, no faster than asked for."""
    began = time.monotonic()
    progress = progress_bar("replaying", "records")
    with progress:
        task = progress.add_task("", total=None, count=0)

        def tell() -> None:
            records = run.tally.replayed.total()
            progress.update(task, total=run.total, completed=run.done, count=records)
            if rate is not None:
                time.sleep(max(0.0, began + records / rate - time.monotonic()))

        # At a low rate a transaction holds what may be sent in a fifth of a second.
        batch = replay.BATCH_LETTERS if rate is None else max(1, min(replay.BATCH_LETTERS, round(rate / 5)))
        run.run(batch, tell)


def say(tally: Tally, *, dry: bool) -> None:
    """Print what became of the letters: numbers and places, never what is in a record."""
    console = out()
    done = "would be replayed" if dry else "replayed"
    console.print(f"{done}: {counted(tally.replayed.total(), 'record')}{_by_reason(tally.replayed)}")
    if tally.gone:
        console.print(f"no longer in the log: {counted(tally.gone.total(), 'record')}{_by_reason(tally.gone)}")
        for place in tally.gone_at:
            console.print(f"  {place.topic}[{place.partition}] at {place.offset}")
        if (more := tally.gone.total() - len(tally.gone_at)) > 0:
            console.print(f"  ... and {more:,} more")
    for place in tally.too_large:
        console.print(f"{place.topic}[{place.partition}] at {place.offset}: too large for the topic with the header")
    if tally.again:
        console.print(f"refused again after a replay: {counted(tally.again, 'record')}; --again replays them once more")
    if tally.before:
        console.print(f"dealt with by an earlier replay: {counted(tally.before, 'record')}")
    if tally.left:
        console.print(f"left out by the options: {counted(tally.left, 'dead letter')}")
    if tally.unreadable:
        console.print(f"not dead letters of Tidegate: {counted(tally.unreadable, 'record')}")


def _by_reason(counts: Counter[str]) -> str:
    text = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))
    return f" ({text})" if text else ""
