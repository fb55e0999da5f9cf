"""What the commands have in common."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from flows.commands import CommandError
from flows.experiment_files import milliseconds
from flows.settings import Settings, load_settings
from schemas.registry import TOPICS

TIER_STYLES = {
    "unknown": "dim",
    "low": "green",
    "medium": "yellow",
    "high": "bold red",
    "critical": "bold white on red",
}


class Check(NamedTuple):
    """One thing looked at.

    Attributes:
        name: what.
        result: how it is; only `failed` keeps a flow from working, or from being right.
        found: what was seen.
        remedy: what to do, or empty.
    """

    name: str
    result: Literal["ok", "warning", "failed", "skipped"]
    found: str
    remedy: str = ""


def settings_of(args: argparse.Namespace) -> Settings:
    """Read the settings for a command that needs no pseudonym key."""
    return load_settings(args.config, os.environ)


def out() -> Console:
    """Return the console for results. Text is never taken for markup, and lines are not folded in a pipe."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 250)


def err() -> Console:
    """Return the console for progress and remarks, so that results can be piped."""
    width = None if sys.stderr.isatty() else 250
    return Console(stderr=True, highlight=False, markup=False, emoji=False, width=width)


def progress_bar(doing: str, unit: str) -> Progress:
    """Return a bar on the console for remarks, gone at the end; its tasks show `count`, how many of the unit are done.

    Args:
        doing: what is being done.
        unit: what is counted.
    """
    console = err()
    return Progress(
        TextColumn(doing),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn(f"{{task.fields[count]:,}} {unit}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def full_name(settings: Settings, topic: str) -> str:
    """Return a topic's name in Kafka: Tidegate's own topics get the configured prefix, others are taken as they are."""
    return settings.kafka.prefix + topic if topic in TOPICS else topic


def printable(value: object, most: int = 120) -> str:
    """Return text that a stranger wrote, without what could steer a terminal, and cut to a length."""
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(value))
    return text if len(text) <= most else text[: most - 1] + "…"


def counted(number: int, noun: str) -> str:
    """Return `1 event` or `1,234 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cell(value: Any, style: str = "") -> Text:
    """Return a table's cell that is text and nothing else."""
    return Text(printable(value), style=style)


def partitions_of(topics: dict[str, int], topic: str) -> int:
    """Return a topic's number of partitions.

    Args:
        topics: numbers of partitions by full name, from the broker.
        topic: full name.

    Raises:
        CommandError: there is no such topic.
    """
    if topic not in topics:
        raise CommandError(f"there is no topic {topic}; `tidegate topics create` makes Tidegate's topics")
    return topics[topic]


def check_equal_partitions(topics: dict[str, int], names: Sequence[str]) -> None:
    """Refuse topics with other numbers of partitions than the first of them, all of them at once.

    Args:
        topics: numbers of partitions by full name, from the broker.
        names: full names.

    Raises:
        CommandError: there is no such topic, or the numbers differ; the message says what to do.
    """
    first, *others = names
    count = partitions_of(topics, first)
    differing = [f"{name} has {found}" for name in others if (found := partitions_of(topics, name)) != count]
    if differing:
        raise CommandError(
            f"{first} has {count} partitions, but {', '.join(differing)}: partition p of one belongs to partition p of "
            "the others. Make those that differ anew with as many, and publish to them again"
        )


def at_least_one(text: str) -> int:
    """Read an argument that is an integer > 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected an integer > 0, got {number}")
    return number


def above_zero(text: str) -> float:
    """Read an argument that is a number > 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text}")
    return number


def moment(text: str) -> int:
    """Read an argument that is a time with its offset from UTC; return epoch milliseconds."""
    with contextlib.suppress(ValueError):
        if (found := datetime.fromisoformat(text)).tzinfo is not None:
            return milliseconds(found)
    raise argparse.ArgumentTypeError(f"expected a time with its offset, such as 2026-01-31T12:00:00Z, got {text}")
