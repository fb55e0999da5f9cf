"""What flows that keep a state make of the settings alike."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretBytes

from connectors.clients import common_config
from connectors.engine import Pace
from connectors.sides import SideTopics
from connectors.snapshots import DirectoryStore, Store, TopicStore
from flows.description import Build, Plan
from flows.ranking_sections import Interactions, Ranking, Signals
from flows.sections import Experiments, WithStore
from flows.settings import Risk, Settings
from operators.batches import Messages
from operators.decode import Pseudonymizer
from operators.side import EndsSides, Side, TakesSides
from operators.stage import WritesAtFlush
from operators.state import Stage


def pseudonymizer(settings: Settings, topic: str) -> Pseudonymizer:
    """Return what makes the pseudonyms in a flow.

    Args:
        settings: with a pseudonym key.
        topic: its input, without prefix.

    Raises:
        ValueError: there is no pseudonym key.
    """
    privacy = settings.privacy
    if privacy.key is None:
        raise ValueError("expected settings with a pseudonym key, got none")
    # The input comes under the topic's full name, side inputs under their short ones.
    given = [settings.kafka.prefix * (each == topic) + each for each in privacy.pseudonymised_topics]
    return Pseudonymizer(privacy.key.get_secret_value(), privacy.key_version, given)


def with_any_key(settings: Settings) -> Settings:
    """Return settings with a pseudonym key, made up if there is none: any key compiles the same loops."""
    if settings.privacy.key is not None:
        return settings
    return settings.model_copy(update={"privacy": settings.privacy.model_copy(update={"key": SecretBytes(bytes(32))})})


def snapshot_store(settings: Settings, flow: str, own: WithStore) -> Store:
    """Return where the snapshots of a flow lie.

    Args:
        settings: all of them.
        flow: its name.
        own: its section.
    """
    if own.snapshot_store == "directory":
        return DirectoryStore(own.snapshot_directory or Path("snapshots"), flow)
    return TopicStore(common_config(settings), f"{settings.kafka.prefix}{flow}.snapshots")


def plan_of(
    settings: Settings,
    flow: str,
    own: Risk | Experiments | Interactions | Signals | Ranking,
    topic: str,
    build: Build,
    fixed: Mapping[str, str],
    sides: SideTopics,
) -> Plan:
    """Return the plan of a flow, with what is the same in all of them.

    Args:
        settings: all of them.
        flow: its name.
        own: its section.
        topic: full name of its input.
        build: wires its stages.
        fixed: fingerprints, by step id, that a snapshot must have.
        sides: what is read beside the input.
    """
    return Plan(
        topic=topic,
        group=own.group,
        start_at_end=own.start == "latest",
        pace=Pace(own.batch_max, own.commit_interval_ms / 1000, own.snapshot_interval_s),
        store=snapshot_store(settings, flow, own),
        build=build,
        fixed=fixed,
        sides=sides,
    )


def go_through(stages: Sequence[Stage[Any, Any]], samples: Iterable[Messages | Side]) -> None:
    """Send a few records through the stages of a partition, and their states through a snapshot: it compiles them.

    Args:
        stages: in the order of the flow; not to be used afterwards.
        samples: of every topic that the flow may read.
    """
    for item in samples:
        answer: Any = item
        for each in stages:
            if not isinstance(item, Side):
                answer = each.process(answer)
                continue
            if isinstance(each, TakesSides):
                each.take_side(item)
            if isinstance(each, EndsSides):
                each.end_side(item)
    for each in stages:
        if isinstance(each, WritesAtFlush):
            each.at_flush(0)
        each.load(each.dump())
        list(each.measurements())
