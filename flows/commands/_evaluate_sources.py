"""Where `tidegate evaluate` takes events and labels from: a file, or topics."""

import argparse
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from connectors.clients import Admin, common_config
from flows.commands import CommandError
from flows.commands._shared import counted, err, full_name, partitions_of
from flows.event_files import EventFile
from flows.event_topics import EventTopic, read_labels
from flows.labels import DEFAULT_RISKY, LabelRule, Truth, load_labels
from flows.mapping import EventMapping, load_mapping
from flows.settings import Settings
from training.evaluate.replay import TOPIC

LABELS = "labels"


class Labelled(NamedTuple):
    """Labelled events, to be read as often as there are replays.

    Attributes:
        name: of the file or topic.
        sha256: of the file's bytes, empty for a topic.
        topic: what the stages are told that the events come from.
        partitions: over how many they are divided; of a topic, its own.
        labels: where the labels come from, in words.
        apart: labels that are not in the events themselves, by (user, id); None if they are.
        open: opens the events.
    """

    name: str
    sha256: str
    topic: str
    partitions: int
    labels: str
    apart: dict[tuple[str, str], Truth] | None
    open: Callable[[], AbstractContextManager[EventFile | EventTopic]]


def labelled(args: argparse.Namespace, settings: Settings) -> Labelled:
    """Return what the arguments name.

    Raises:
        CommandError: there are no labels, or no such topic.
        OSError: a file cannot be read.
        KafkaException: the broker does not answer.
    """
    return _topic(args, settings) if args.topic else _file(args, settings)


def _file(args: argparse.Namespace, settings: Settings) -> Labelled:
    if args.since is not None:
        raise CommandError("expected --since with --topic, got it with a file")
    mapping = load_mapping(args.mapping) if args.mapping else None
    rule = _rule(args, mapping)
    apart = load_labels(args.labels) if args.labels else None
    if rule is None:
        told = f"{args.labels.name}; an event without one counts as legitimate{_waiting(args)}"
    else:
        told = f"field {rule.field}, risky where it is {' or '.join(rule.risky)}"
    return Labelled(
        name=args.file.name,
        sha256=hashlib.sha256(args.file.read_bytes()).hexdigest(),
        topic=TOPIC,
        partitions=args.partitions or settings.topics.partitions,
        labels=told,
        apart=apart,
        open=lambda: EventFile(args.file, mapping, args.format, rule),
    )


def _topic(args: argparse.Namespace, settings: Settings) -> Labelled:
    given = {"--mapping": args.mapping, "--format": args.format, "--label-field": args.label_field}
    if wrong := [name for name, value in given.items() if value is not None]:
        raise CommandError(f"expected --topic without {', '.join(wrong)}: what lies in a topic is events already")
    config = common_config(settings, "evaluate")
    with err().status("asking the broker"):
        topics = Admin(settings, "evaluate").partitions()
    topic = full_name(settings, args.topic)
    partitions = partitions_of(topics, topic)
    if args.labels:
        apart, told = load_labels(args.labels), args.labels.name
    else:
        told = full_name(settings, LABELS)
        with err().status("reading labels"):
            found = read_labels(config, told, partitions_of(topics, told))
        apart = found.truths
        if found.unreadable:
            err().print(f"no labels: {counted(found.unreadable, 'record')} of {told}")
        if not apart:
            raise CommandError(f"expected labels in {told}, got none: publish what is known, or name --labels FILE")
    return Labelled(
        name=topic,
        sha256="",
        topic=topic,
        partitions=partitions,
        labels=f"{told}; an event without one counts as legitimate{_waiting(args)}",
        apart=apart,
        open=lambda: EventTopic(config, topic, partitions, args.since),
    )


def _waiting(args: argparse.Namespace) -> str:
    return f", from {args.label_wait:,g} s before the last one on as unlabelled" if args.label_wait else ""


def _rule(args: argparse.Namespace, mapping: EventMapping | None) -> LabelRule | None:
    """Return where the lines tell the truth: the options go before the mapping; None for a file of labels."""
    rule = mapping.label if mapping else None
    if args.labels:
        if args.label_field or args.risky or args.kind_field:
            raise CommandError("expected --labels, or the label in the events' own file, got both")
        return None
    field = args.label_field or (rule.field if rule else None)
    if field is None:
        raise CommandError("expected labels, got none: name --label-field, a [label] in the mapping, or --labels FILE")
    risky = tuple(args.risky) if args.risky else (rule.risky if rule else DEFAULT_RISKY)
    return LabelRule(field, risky, args.kind_field or (rule.kind if rule else None))
