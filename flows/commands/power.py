"""`tidegate power mean|proportion|ratio`: the units and days an effect takes, or the effect that is found with those.

Users are counted where `--events` or `--topic` says, in bounded memory (`flows.traffic`).
"""

import argparse
import sys
from pathlib import Path

import msgspec

from connectors.clients import Admin, common_config
from flows.cli import OK
from flows.commands import CommandError
from flows.commands._power_answer import Users, answer, render, to_json, users_of
from flows.commands._power_question import Question, question
from flows.commands._shared import err, full_name, out, partitions_of, progress_bar, settings_of
from flows.event_files import EventFile, Refused
from flows.event_topics import EventTopic
from flows.mapping import load_mapping
from flows.settings import Settings
from flows.traffic import Arrivals, TooManyDays, UserDays

ABOUT = """\
Say how many units an experiment needs to find an effect (--effect, or --lift as a share of the mean), or which effect
is found with what there is (--days, --units): by a fixed test, looked at once, and by a sequential one, looked at at
any time; with a covariate from before the experiment too (--correlation). docs/experiments.md: when not to trust it.
"""

BASELINES = {
    "mean": "a mean over units, such as spending by user",
    "proportion": "a share of units, such as conversion",
    "ratio": "a ratio of two means over units, such as clicks by view, by the delta method",
}

EVERY = 4_096
"""Records between two movements of the progress bar."""


class _User(msgspec.Struct, gc=False):
    """Of a record, whose it is."""

    user: str


_user = msgspec.json.Decoder(_User).decode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate power`."""
    parser.description = ABOUT
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, about in BASELINES.items():
        one = kinds.add_parser(kind, help=about, description=about.capitalize() + ".")
        _add_baseline(one, kind)
        _add_common(one)


def _add_baseline(parser: argparse.ArgumentParser, kind: str) -> None:
    group = parser.add_argument_group("the metric, as it is now")
    if kind == "mean":
        group.add_argument("--mean", metavar="X", help="its mean")
        group.add_argument("--sd", metavar="X", help="its standard deviation over units")
    elif kind == "proportion":
        group.add_argument("--rate", metavar="X", help="share of units, between 0 and 1")
    else:
        names = ("MEAN", "SD")
        group.add_argument("--numerator", nargs=2, metavar=names, help="by unit: mean and deviation of what is on top")
        group.add_argument("--denominator", nargs=2, metavar=names, help="by unit: mean and deviation of what is below")
        group.add_argument("--covariance", metavar="X", help="of both, over units")


def _add_common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is asked: one of these")
    group.add_argument("--effect", metavar="X", help="units to find this difference of means")
    group.add_argument("--lift", metavar="X", help="units to find this difference as a share of the mean, as 0.05")
    group.add_argument("--days", metavar="N", help="effect that is found after so many days of traffic")
    group.add_argument("--units", metavar="N", help="effect that is found with so many units of all arms")
    group = parser.add_argument_group("the experiment")
    group.add_argument("--arms", metavar="N", help="arms, the first is compared with each other one (default: 2)")
    group.add_argument("--weights", nargs="+", metavar="X", help="of the arms, as 90 10 (default: equal)")
    group.add_argument("--alpha", metavar="X", help="two-sided error rate of all comparisons (default: 0.05)")
    group.add_argument("--family", metavar="N", help="comparisons that share alpha (default: arms - 1)")
    group.add_argument("--power", metavar="X", help="probability of finding it (default: 0.8)")
    group.add_argument("--tuning", metavar="N", help="N* of the sequential test (default: near the units it needs)")
    group.add_argument("--correlation", metavar="X", help="of the metric with the same before the experiment (CUPED)")
    group = parser.add_argument_group("traffic: one of --units-per-day, --events, --topic")
    group.add_argument("--units-per-day", metavar="N", help="new units a day")
    group.add_argument("--events", type=Path, metavar="FILE", help="count users in JSON lines or CSV, may be .gz")
    group.add_argument("--mapping", type=Path, metavar="FILE", help="from the file's fields to an event's (TOML)")
    group.add_argument("--format", metavar="FORMAT", help="ndjson or csv (default: by the file's name, else ndjson)")
    group.add_argument(
        "--topic", nargs="?", const="events", metavar="NAME", help="count users in this topic (default: events)"
    )
    group.add_argument("--since", metavar="TIME", help="count from this time on: RFC 3339, or milliseconds since 1970")
    group.add_argument("--coverage", metavar="X", help="share of users in the experiment (default: 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate power`."""
    asked = question(args)
    arrivals, users = _traffic(asked, args)
    found = answer(asked, arrivals, users)
    if args.json:
        sys.stdout.write(to_json(found) + "\n")
        return OK
    console = out()
    for one in render(found):
        console.print(one)
    return OK


def _traffic(asked: Question, args: argparse.Namespace) -> tuple[Arrivals | None, Users | None]:
    """Return when units come, and what was counted for it."""
    if asked.per_day is not None:
        return Arrivals((), asked.per_day).of(asked.coverage), None
    if asked.events is not None:
        mapping = load_mapping(asked.mapping) if asked.mapping else None
        try:
            with EventFile(asked.events, mapping, asked.form) as events:
                return _counted(asked, events, asked.events.name)
        except OSError as error:
            raise CommandError(f"cannot read {asked.events}: {error.strerror or error}") from error
    if asked.topic is not None:
        with _opened(asked.topic, asked.since_ms, settings_of(args)) as events:
            return _counted(asked, events, full_name(settings_of(args), asked.topic))
    return None, None


def _opened(name: str, since_ms: int | None, settings: Settings) -> EventTopic:
    topic = full_name(settings, name)
    with err().status("asking the broker"):
        partitions = partitions_of(Admin(settings, "power").partitions(), topic)
    return EventTopic(common_config(settings, "power"), topic, partitions, since_ms)


def _counted(asked: Question, events: EventFile | EventTopic, source: str) -> tuple[Arrivals, Users]:
    seen, read, refused = UserDays(), 0, 0
    progress = progress_bar("counting users", "events")
    try:
        with progress:
            task = progress.add_task("", total=events.size, count=0)
            for number, item in enumerate(events, 1):
                if number % EVERY == 0:
                    progress.update(task, completed=events.position(), count=number)
                user = None if isinstance(item, Refused) else _whose(item.value)
                if user is None or isinstance(item, Refused):
                    refused += 1
                elif asked.since_ms is None or item.timestamp_ms >= asked.since_ms:
                    seen.add(user, item.timestamp_ms)
                    read += 1
        traffic = seen.traffic()
    except TooManyDays as error:
        raise CommandError(f"{source}: {error}; --since leaves out what is old") from error
    if traffic is None:
        raise CommandError(f"{source}: expected events to count users in, got none")
    return traffic.arrivals().of(asked.coverage), users_of(traffic, source, read, refused)


def _whose(value: bytes) -> bytes | None:
    """Return the user of a record; None if it names none. Its key may be another's: topics can be keyed by anything."""
    try:
        return _user(value).user.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
