"""The topic `ranking.models`, read as a whole and written to every partition; and files of rankers."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from connectors.clients import Admin, plain_consumer, read
from flows.commands import CommandError
from flows.commands._everywhere import Everywhere, ForAll
from flows.commands._shared import counted, err, full_name, partitions_of
from flows.settings import Settings
from operators.rank import MODELS
from operators.rank.model import KEY, Refused, encoded, model_of
from operators.recall.features import names_of
from operators.recall.item_records import SIGNALS
from schemas.ranker import Ranker

MOST_BYTES = 900_000
"""Of a record that is published: what a broker takes in its usual settings is 1,048,588 with all around it."""

_decode = msgspec.json.Decoder(Ranker).decode


class Held(NamedTuple):
    """What the topic holds.

    Attributes:
        each: newest ranker of each partition; None where there is none, or it was taken back.
        unreadable: partitions whose newest record is none that this Tidegate can read.
    """

    each: Sequence[Ranker | None]
    unreadable: Sequence[int]

    @property
    def newest(self) -> Ranker | None:
        """The ranker that most partitions hold; of several the one trained on the newest list."""
        found = [one for one in self.each if one is not None]
        return max(found, key=lambda one: (found.count(one), one.timestamp, one.version), default=None)

    @property
    def missing(self) -> list[int]:
        """Partitions that do not hold it."""
        newest = self.newest
        return [number for number, one in enumerate(self.each) if one != newest]


def held(settings: Settings) -> Held:
    """Read the topic to its end.

    Raises:
        CommandError: there is no such topic.
        KafkaException: the broker does not give what it has.
    """
    topic = full_name(settings, MODELS)
    partitions = partitions_of(Admin(settings, "models").partitions(), topic)
    values: list[bytes | None] = [None] * partitions
    with err().status("reading rankers"):
        for message in read(plain_consumer(settings, "models"), topic, partitions, beginning=True, to_end=True):
            if message.key() == KEY:
                values[message.partition()] = message.value()
    each: list[Ranker | None] = []
    unreadable = []
    for number, value in enumerate(values):
        try:
            each.append(None if value is None else decoded(value))
        except CommandError:
            each.append(None)
            unreadable.append(number)
    return Held(each, unreadable)


def decoded(value: bytes) -> Ranker:
    """Return a verified ranker.

    Raises:
        CommandError: it is none, or was changed since it was trained.
    """
    try:
        record = _decode(value)
        model_of(record, record.features)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError("expected a ranker as `tidegate train ranker` writes it, got something else") from error
    except Refused as error:
        raise CommandError(str(error)) from error
    return record


def load(path: Path) -> Ranker:
    """Read a ranker's file.

    Raises:
        CommandError: it cannot be read, or is none.
    """
    try:
        return decoded(path.read_bytes())
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from error
    except CommandError as error:
        raise CommandError(f"{path}: {error}") from error


def save(path: Path, record: Ranker) -> None:
    """Write a ranker's file.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.write_bytes(encoded(record) + b"\n")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
    err().print(f"wrote {path}", soft_wrap=True)


def publish(settings: Settings, record: Ranker | None) -> None:
    """Put a ranker on every partition, or take back what is there, and say so.

    Args:
        settings: where Kafka is, and what the flow takes.
        record: None to take back.

    Raises:
        CommandError: the flow would refuse it under these settings, it is too large for a broker, there is no such
            topic, or not all was delivered.
    """
    value = None if record is None else _fitting(settings, record)
    advice = "If somebody else published a ranker at the same time, look at `tidegate models show` and publish again"
    writer = Everywhere(settings, MODELS, "models", advice)
    writer.publish([ForAll(KEY, value)])
    what = "took back the ranker" if record is None else f"published {record.version}"
    err().print(f"{what} on {counted(writer.partitions, 'partition')} of {writer.topic}")


def _fitting(settings: Settings, record: Ranker) -> bytes:
    """Return a ranker as it is published, if the flow takes it under these settings."""
    value, own = encoded(record), settings.ranking
    most = min(MOST_BYTES, own.rank.max_model_bytes)
    if len(value) > most:
        why = "use fewer --trees or --leaves"
        if most < MOST_BYTES:
            why += ", or raise ranking.rank.max_model_bytes"
        raise CommandError(f"expected a ranker of at most {most:,} bytes, got {len(value):,}: {why}")
    names = names_of(own.recall.features, SIGNALS, own.recall.catalogue.number_fields)
    unknown = [name for name in record.features if name not in names]
    if unknown:
        raise CommandError(
            f"expected features of the ranking flow under these settings, got {', '.join(unknown[:5])}"
            f"{' and others' if len(unknown) > 5 else ''}: see ranking.recall, or train from newer lists"
        )
    try:
        model_of(record, names)
    except Refused as error:
        raise CommandError(str(error)) from error
    return value
