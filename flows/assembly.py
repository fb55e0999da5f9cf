"""What flows that keep a state make of the settings alike."""

from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretBytes

from connectors.clients import common_config
from connectors.snapshots import DirectoryStore, Store, TopicStore
from flows.settings import Settings
from operators.decode import Pseudonymizer


class HasStore(Protocol):
    """The section of a flow in the settings."""

    @property
    def snapshot_store(self) -> Literal["topic", "directory"]:
        """An internal topic, or a directory."""
        ...

    @property
    def snapshot_directory(self) -> Path | None:
        """The directory, if that is the store."""
        ...


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


def snapshot_store(settings: Settings, flow: str, own: HasStore) -> Store:
    """Return where the snapshots of a flow lie.

    Args:
        settings: all of them.
        flow: its name.
        own: its section.
    """
    if own.snapshot_store == "directory":
        return DirectoryStore(own.snapshot_directory or Path("snapshots"), flow)
    return TopicStore(common_config(settings), f"{settings.kafka.prefix}{flow}.snapshots")
