"""The doctor's look at keys: are the inputs of the flows keyed by user, and all by one partitioner."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connectors.clients import common_config
from connectors.fetching import Contents
from flows.commands._shared import Check, counted, full_name
from flows.keys import NAMES, NEARLY_ALL, Findings, judge, sample
from flows.settings import Settings
from operators.observe import TICK

RECORDS = 2_000
"""Newest records looked at, per partition."""

MOST = 200_000
"""Records looked at per topic: of a topic with many partitions fewer each."""

EVENTS = "events"
BESIDE = ("exposures", "metrics", "interactions", "ranking.requests")
"""Topics that flows join by user, besides `events`; looked at where there is anything in them."""

REKEY = (
    'publish with the user as key; for what is there and for publishers that cannot: rekey.source = "{topic}", '
    "`tidegate run rekey` into a new topic"
)
PARTITIONER = (
    'set partitioner = "murmur2_random" in every librdkafka publisher (Java\'s needs nothing); what is there already: '
    "`tidegate run rekey` into a new topic"
)
ADDED = (
    "if partitions were added while in use, users have changed partition and left their state behind: make the topics "
    "under a new kafka.prefix with the new number, and copy with `tidegate run rekey` (docs/keys.md)"
)


def look(settings: Settings, existing: Mapping[str, Any]) -> Iterator[Check]:
    """Sample the inputs that are there, and judge them one by one and together.

    Raises:
        KafkaException: a topic cannot be read.
    """
    found = {}
    for topic in (EVENTS, *(("labels",) if settings.risk.labels.enabled else ()), *BESIDE):
        name = full_name(settings, topic)
        if name in existing and existing[name].error is None:
            told = sampled(settings, name, len(existing[name].partitions))
            if told.records or topic not in BESIDE:
                found[name] = told
    yield from keys(found)
    yield from partitioners(found)


def sampled(settings: Settings, topic: str, partitions: int) -> Findings:
    """Judge the newest committed records of a topic."""
    newest = max(1, min(RECORDS, MOST // partitions))
    contents = Contents(common_config(settings, "doctor"), topic, partitions, newest)
    there = (message for message in contents if message is not None)
    # A tick is in every partition on purpose.
    return judge((sample(message) for message in there if message.key() != TICK.encode()), partitions)


def keys(found: Mapping[str, Findings]) -> Iterator[Check]:
    """Say whether the keys are the users."""
    for topic, each in found.items():
        unkeyed = each.readable - each.keyed
        if not each.records:
            yield Check("keys", "skipped", f"{topic} is empty")
        elif not each.readable:
            yield Check(
                "keys", "warning", f"{topic}: none of {counted(each.records, 'record')} has a key and a user",
                REKEY.format(topic=topic),
            )  # fmt: skip
        elif each.keyed < NEARLY_ALL * each.readable:
            yield Check(
                "keys", "failed",
                f"{topic} is not keyed by user: another key in {unkeyed:,} of {counted(each.readable, 'record')}",
                REKEY.format(topic=topic),
            )  # fmt: skip
        elif unkeyed:
            yield Check(
                "keys", "warning",
                f"{topic}: the key is not the user in {unkeyed:,} of {counted(each.readable, 'record')}",
                "find the publisher that does not set it",
            )  # fmt: skip
        else:
            yield Check("keys", "ok", f"{topic}: the key is the user in {counted(each.readable, 'record')}")


def partitioners(found: Mapping[str, Findings]) -> Iterator[Check]:
    """Say which partitioner put the keys where they lie, and which topic is off."""
    known = {topic: each.partitioner for topic, each in found.items()}
    for topic, each in found.items():
        name = known[topic]
        if each.partitions == 1:
            yield Check("partitioner", "ok", f"{topic} has one partition: nothing to check")
        elif name is None:
            yield Check("partitioner", "skipped", f"{topic}: {counted(each.keys, 'key')} are too few to tell")
        elif name == "unknown":
            shares = ", ".join(f"{each.placed[one]:.0%} by {one}" for one in each.placed)
            scattered = f"{each.scattered:,} of {counted(each.keys, 'key')} lie in more than one partition; "
            yield Check(
                "partitioner", "failed",
                f"{topic}: {scattered if each.scattered else ''}keys lie where no one partitioner puts them ({shares})",
                f"{PARTITIONER}. {ADDED[0].upper()}{ADDED[1:]}",
            )  # fmt: skip
        elif name == "murmur2_random":
            yield Check("partitioner", "ok", f"{topic}: {NAMES[name]}, {counted(each.keys, 'key')}")
        else:
            others = _others(known, topic)
            yield Check(
                "partitioner", "failed" if others else "warning",
                f"{topic}: {NAMES[name]}, {counted(each.keys, 'key')}" + (f"; but {others}" if others else ""),
                PARTITIONER if others else f"works alone; before another topic joins it: {PARTITIONER}",
            )  # fmt: skip


def _others(known: Mapping[str, str | None], topic: str) -> str:
    """Name the topics of another partitioner."""
    different: Iterable[str] = (
        f"{other} has {name}" for other, name in known.items() if name not in (None, known[topic]) and other != topic
    )
    return ", ".join(different)
