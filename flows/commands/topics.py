"""`tidegate topics create` makes every topic of the registry; `tidegate topics list` shows what there is."""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # exported, not declared
from rich.table import Table

from connectors.clients import ANSWER_S, Admin, topic_configs
from flows.cli import FAILED, OK
from flows.commands import CommandError
from flows.commands._shared import cell, err, full_name, out, settings_of
from flows.settings import Settings
from schemas.registry import TOPICS, Topic

OF_LABELS = ("labels", "risk.journal")
"""Used only where `risk.labels.enabled`; made all the same, so that switching it on needs nothing else."""


REPLAYED = ("experiments.definitions", "uplift", "ranking.models")
"""Compacted, and side topics of flows: the journal says which records of them were applied where."""

CATALOGUE, CATALOGUE_MS = "ranking.catalogue", 86_400_000
"""The same, but of all items and written all the time: kept whole for a day, far longer than snapshots are apart."""

_LONGEST_MS = 2**63 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate topics`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("create", help="make the topics that are missing; harmless to repeat")
    listing = actions.add_parser("list", help="show every topic and how it stands in Kafka")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate topics`."""
    settings = settings_of(args)
    admin = Admin(settings, "topics")
    return create(settings, admin) if args.action == "create" else show(settings, admin, as_json=args.json)


def topic_config(topic: Topic, settings: Settings) -> dict[str, str]:
    """Return the settings a topic is made with."""
    config = {
        "cleanup.policy": topic.cleanup,
        # Records carry event time; LogAppendTime would overwrite it.
        "message.timestamp.type": "CreateTime",
        # Of three copies one may be away.
        "min.insync.replicas": "2" if settings.topics.replication > 2 else "1",
    }
    if topic.keeps_bytes is not None:
        config["retention.ms"] = "-1"
        config["retention.bytes"] = str(topic.keeps_bytes)
        # Whole segments go: small ones, so that what is kept is never much less.
        config["segment.bytes"] = str(topic.keeps_bytes // 16)
    elif topic.cleanup == "delete":
        config["retention.ms"] = str(settings.topics.retention_ms)
        config["retention.bytes"] = str(settings.topics.retention_bytes)
    else:
        # Only closed segments are compacted: small ones give the room of old snapshots back soon.
        config["segment.bytes"] = str(64 * 1024 * 1024)
    if topic.name == CATALOGUE:
        config["min.compaction.lag.ms"] = str(CATALOGUE_MS)
    if topic.name in REPLAYED:
        # Rolling forward reads them again as they were: what the input still holds may need any version of them.
        kept_ms = settings.topics.retention_ms
        config["min.compaction.lag.ms"] = str(kept_ms if kept_ms >= 0 else _LONGEST_MS)
    return config


def needed(settings: Settings) -> list[str]:
    """Return the topics that flows use under these settings."""
    unused = () if settings.risk.labels.enabled else OF_LABELS
    return [name for name in TOPICS if name not in unused]


def miscounted(existing: Mapping[str, int], settings: Settings) -> list[str]:
    """Return a line for every existing topic whose number of partitions is not the configured one."""
    wanted = settings.topics.partitions
    return [
        f"{name} has {existing[name]} partitions, settings say {wanted}"
        for name in (full_name(settings, topic) for topic in needed(settings))
        if name in existing and existing[name] != wanted
    ]


def create(settings: Settings, admin: Admin) -> int:
    """Make the missing topics; make none if one that exists has another number of partitions.

    Returns:
        The exit code: 1 if a topic could not be made or is not as it must be.
    """
    console, problems = out(), err()
    existing = admin.partitions()
    wrong = miscounted(existing, settings)
    if wrong:
        for line in wrong:
            problems.print(f"problem: {line}")
        problems.print(
            "Output partition = input partition, so all topics of a flow need equal numbers. Nothing was made.\n"
            f"Set topics.partitions to what {full_name(settings, 'events')} has, or use another kafka.prefix."
        )
        return FAILED

    missing = {full_name(settings, name): topic for name, topic in TOPICS.items()}
    for name in [name for name in missing if name in existing]:
        console.print(f"exists   {name}")
        del missing[name]
    failed = False
    for name, error in attempts(settings, admin, missing, settings.topics.partitions):
        if error is None:
            console.print(f"created  {name}")
        elif error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was quicker
            console.print(f"exists   {name}")
        else:
            failed = True
            problems.print(f"problem: {name} was not created: {error.str()}")
    if failed:
        return FAILED
    for name in _unseen(admin, set(missing)):
        failed = True
        problems.print(f"problem: {name} was created and is not seen after {ANSWER_S:g} s")
    for line in miscounted(admin.partitions(), settings):
        failed = True
        problems.print(f"problem: {line}")
    return FAILED if failed else OK


def attempts(
    settings: Settings, admin: Admin, topics: Mapping[str, Topic], partitions: int
) -> Iterator[tuple[str, Any]]:
    """Make topics, by full name; yield each with None, or with what the broker said against it."""
    new = [
        NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=settings.topics.replication,
            config=topic_config(topic, settings),
        )
        for name, topic in topics.items()
    ]
    # Two time-outs: what the broker may take to make them everywhere, and what we wait for its answer.
    answers = admin.client.create_topics(new, operation_timeout=ANSWER_S, request_timeout=2 * ANSWER_S) if new else {}
    for name, future in answers.items():
        try:
            future.result()
            yield name, None
        except KafkaException as error:
            yield name, error.args[0]


def make(settings: Settings, admin: Admin, topics: Mapping[str, Topic], partitions: int) -> None:
    """Make topics that a flow needs for itself, and wait until they are seen.

    Raises:
        CommandError: one could not be made.
    """
    for name, error in attempts(settings, admin, topics, partitions):
        if error is not None and error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise CommandError(f"{name} was not created ({partitions} partitions, compacted): {error.str()}")
    for name in _unseen(admin, set(topics)):
        raise CommandError(f"{name} was created and is not seen after {ANSWER_S:g} s")


def _unseen(admin: Admin, names: set[str]) -> list[str]:
    """Wait for topics to be seen; return those that are not.

    The controller makes a topic, and the brokers learn of it a moment later.
    """
    until = time.monotonic() + ANSWER_S
    while (unseen := names - set(admin.partitions())) and time.monotonic() < until:
        time.sleep(0.1)
    return sorted(unseen)


def show(settings: Settings, admin: Admin, *, as_json: bool) -> int:
    """Print every topic of the registry: what it is, and how it stands in Kafka."""
    console = out()
    metadata = admin.metadata().topics
    names = {full_name(settings, name): topic for name, topic in TOPICS.items()}
    configs = topic_configs(admin, [name for name in names if name in metadata])
    table = Table("topic", "record", "key", "partitions", "replication", "cleanup", "who writes it")
    for name, topic in names.items():
        held = metadata.get(name)
        partitions = len(held.partitions) if held else None
        replication = len(held.partitions[0].replicas) if held and held.partitions else None
        cleanup = configs.get(name, {}).get("cleanup.policy")
        record = topic.record.__name__ if topic.record else None
        if as_json:
            row = {
                "topic": name,
                "record": record,
                "version": topic.version,
                "key": topic.key,
                "partitions": partitions,
                "replication": replication,
                "cleanup": cleanup,
                "writer": topic.writer,
                "internal": topic.internal,
            }
            console.print(json.dumps(row), soft_wrap=True)
            continue
        what = f"{record} v{topic.version}" if record else "(internal)"
        here = [cell(partitions), cell(replication), cell(cleanup)] if held else [cell("missing", "red"), "", ""]
        table.add_row(cell(name), cell(what), cell(topic.key), *here, cell(topic.writer))
    if not as_json:
        console.print(table)
    return OK
