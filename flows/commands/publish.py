"""`tidegate publish FILE`: records of a file into Kafka, keyed by user, items by item, at the time of each."""

import argparse
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from connectors.clients import Admin, plain_producer, topic_configs
from flows.cli import FAILED, INTERRUPTED, OK
from flows.commands import CommandError
from flows.commands._shared import (
    above_zero,
    at_least_one,
    counted,
    err,
    full_name,
    partitions_of,
    progress_bar,
    settings_of,
)
from flows.event_files import EventFile, Ready, Refused
from flows.mapping import load_mapping
from flows.record_lines import LINES
from flows.settings import Settings

SHOWN = 20
"""Malformed lines that are reported one by one; the others are counted."""

_DAY_MS = 86_400_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate publish`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines or CSV, may be .gz; - reads standard input")
    parser.add_argument("--mapping", type=Path, metavar="FILE", help="from the file's fields to an event's (TOML)")
    parser.add_argument("--topic", default="events", help=f"where to: events (default), {', '.join(LINES)}")
    parser.add_argument("--format", choices=("ndjson", "csv"), help="default: by the file's name, else ndjson")
    parser.add_argument("--rate", type=above_zero, metavar="N", help="at most N events a second")
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="stop after N events")
    parser.add_argument("--strict", action="store_true", help="stop at the first malformed line")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate publish`."""
    settings = settings_of(args)
    mapping = load_mapping(args.mapping) if args.mapping else None
    check = LINES.get(args.topic)
    if check and (mapping or args.format == "csv" or ".csv" in args.file.suffixes):
        raise CommandError(f"{args.topic} are published as JSON lines, one record each, without a mapping")
    topic = full_name(settings, args.topic)
    admin = Admin(settings, "publish")
    partitions_of(admin.partitions(), topic)
    try:
        with EventFile(args.file, mapping, args.format, check=check) as events:
            publisher = Publisher(settings, topic, _retention_ms(admin, topic))
            return _publish(args, events, publisher)
    except OSError as error:
        raise CommandError(f"cannot read {args.file}: {error.strerror or error}") from error


class Publisher:
    """Sends events and keeps the count of what became of them.

    Attributes:
        sent: handed to the client.
        delivered: confirmed by all in-sync replicas.
        undelivered: given up, by the client's error text.
    """

    def __init__(self, settings: Settings, topic: str, retention_ms: int | None = None) -> None:
        """Make the client.

        Args:
            settings: those of Tidegate.
            topic: full name.
            retention_ms: age at which the topic's records go, or None for never.
        """
        self.sent = 0
        self.delivered = 0
        self.undelivered: Counter[str] = Counter()
        self._topic = topic
        self._retention_ms = retention_ms
        self._producer = plain_producer(settings, "publish")

    def send(self, event: Ready) -> None:
        """Send one event; waits while the client's queue is full.

        Raises:
            CommandError: the event is older than what the topic keeps.
            KafkaException: the client refuses it, for its size.
        """
        if self._retention_ms is not None:
            self._refuse_what_would_vanish(event.timestamp_ms, self._retention_ms)
        while True:
            try:
                self._producer.produce(
                    self._topic, event.value, event.key, timestamp=event.timestamp_ms, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self.sent += 1
        if self.sent % 256 == 0:
            self._producer.poll(0)

    def wait(self, seconds: float) -> None:
        """Let time pass, attending to deliveries."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._producer.poll(min(left, 0.5))

    def finish(self) -> None:
        """Wait until the fate of every event is known."""
        self._producer.flush()

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.undelivered[error.str()] += 1

    def _refuse_what_would_vanish(self, timestamp_ms: int, retention_ms: int) -> None:
        age_ms = time.time() * 1000 - timestamp_ms
        if age_ms > retention_ms:
            raise CommandError(
                f"an event is {age_ms / _DAY_MS:.0f} days old, and {self._topic} keeps records for "
                f"{retention_ms / _DAY_MS:.1f} days by their event time: Kafka would delete it within minutes. "
                f"Set retention.ms of {self._topic} and of the output topics to -1 (with topics.retention_ms = -1 "
                "`tidegate topics create` makes them so), or shift the times in the file."
            )


def _retention_ms(admin: Admin, topic: str) -> int | None:
    # Without the right to ask, it is only this warning that is lost.
    with contextlib.suppress(KafkaException):
        config = topic_configs(admin, [topic])[topic]
        retention = int(config.get("retention.ms", -1))
        if "delete" in config.get("cleanup.policy", "delete") and retention >= 0:
            return retention
    return None


def _publish(args: argparse.Namespace, events: EventFile, publisher: Publisher) -> int:
    console = err()
    malformed: list[Refused] = []
    interrupted = False
    began = time.monotonic()
    progress = progress_bar("publishing", "events")
    count = 0
    try:
        with progress:
            task = progress.add_task("", total=events.size, count=0)
            for item in _limited(events, args.limit):
                refusal = item if isinstance(item, Refused) else _try_to_send(publisher, item)
                if refusal:
                    count += 1
                    if len(malformed) < SHOWN:
                        malformed.append(refusal)
                    if args.strict:
                        break
                elif args.rate:
                    publisher.wait(began + publisher.sent / args.rate - time.monotonic())
                if publisher.sent % 500 == 0:
                    progress.update(task, completed=events.position(), count=publisher.sent)
            progress.update(task, completed=events.size, count=publisher.sent)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        publisher.finish()
    seconds = max(time.monotonic() - began, 1e-9)

    for refused in malformed:
        console.print(f"line {refused.line}: {refused.why}")
    if count > len(malformed):
        console.print(f"... and {counted(count - len(malformed), 'malformed line')} more")
    for why, lost in publisher.undelivered.items():
        console.print(f"problem: not delivered: {counted(lost, 'event')}: {why}")
    console.print(
        f"published {counted(publisher.delivered, 'event')} in {seconds:.1f} s "
        f"({publisher.delivered / seconds:,.0f}/s), {counted(count, 'malformed line')}"
    )
    if interrupted:
        return INTERRUPTED
    return FAILED if publisher.undelivered or (args.strict and count) else OK


def _try_to_send(publisher: Publisher, event: Ready) -> Refused | None:
    try:
        publisher.send(event)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
            raise
        return Refused(event.line, "larger than message.max.bytes allows")
    return None


def _limited(events: EventFile, limit: int | None) -> Iterator[Any]:
    taken = 0
    for item in events:
        yield item
        taken += isinstance(item, Ready)
        if taken == limit:  # before the next line is read: standard input may not have one yet
            return
