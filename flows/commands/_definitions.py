"""The topic `experiments.definitions`, read as a whole and written by one at a time."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from connectors.clients import Admin, plain_consumer, read
from flows.commands import CommandError
from flows.commands._everywhere import Everywhere, ForAll
from flows.commands._shared import counted, err, full_name, partitions_of
from flows.settings import Settings
from schemas.definition import Definition

TOPIC = "experiments.definitions"

_decode = msgspec.json.Decoder(Definition).decode
_encode = msgspec.json.Encoder().encode


class Held(NamedTuple):
    """What the topic holds, or one partition of it.

    Attributes:
        newest: definitions by id.
        unreadable: keys whose newest record is no definition that this Tidegate can read.
        missing: partitions that do not hold the newest definition, by its id.
    """

    newest: dict[str, Definition]
    unreadable: set[str]
    missing: Mapping[str, Sequence[int]] = MappingProxyType({})

    def of(self, name: str) -> Definition | None:
        """Return a definition, or None if there is none.

        Raises:
            CommandError: there is one, and it cannot be read.
        """
        if name in self.unreadable:
            raise CommandError(
                f"the newest definition of {name} cannot be read by this version of Tidegate: use a newer"
            )
        return self.newest.get(name)


def held(settings: Settings) -> Held:
    """Read the topic to its end, with a remark on what is no definition.

    Raises:
        CommandError: there is no such topic.
        KafkaException: the broker does not give what it has.
    """
    topic = full_name(settings, TOPIC)
    partitions = partitions_of(Admin(settings, "experiments").partitions(), topic)
    each = [Held({}, set()) for _ in range(partitions)]
    with err().status("reading definitions"):
        for message in read(plain_consumer(settings, "experiments"), topic, partitions, beginning=True, to_end=True):
            _take(each[message.partition()], (message.key() or b"").decode(errors="replace"), message.value())
    found = together(each)
    if found.unreadable:
        err().print(f"not definitions that can be read: {counted(len(found.unreadable), 'record')} of {topic}")
    return found


def together(each: Sequence[Held]) -> Held:
    """Return what the partitions hold together: of each experiment the highest version.

    All hold the same, unless an older Tidegate wrote to one alone, or partitions were added.

    Args:
        each: partition.
    """
    newest: dict[str, Definition] = {}
    for one in (one for partition in each for one in partition.newest.values()):
        before = newest.get(one.id)
        if before is None or (one.version, one.timestamp) > (before.version, before.timestamp):
            newest[one.id] = one
    missing = {
        name: gaps
        for name, one in newest.items()
        if (gaps := [number for number, partition in enumerate(each) if partition.newest.get(name) != one])
    }
    return Held(newest, set().union(*(partition.unreadable for partition in each)), missing)


def _take(found: Held, key: str, value: bytes | None) -> None:
    found.newest.pop(key, None)
    found.unreadable.discard(key)
    if value is None:  # a tombstone
        return
    try:
        one = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found.unreadable.add(key)
        return
    if one.id == key:
        found.newest[key] = one
    else:
        found.unreadable.add(key)


class Writer:
    """Publishes definitions to every partition, since every task needs all of them; all or none."""

    def __init__(self, settings: Settings) -> None:
        """Become the writer, as `Everywhere` says."""
        self._out = Everywhere(
            settings,
            TOPIC,
            "experiments",
            "If somebody else applied definitions at the same time, look at `tidegate experiments list` and apply "
            "again",
        )

    def publish(self, definitions: Sequence[Definition], only: Mapping[str, Sequence[int]] | None = None) -> None:
        """Publish, and wait until it is done.

        Args:
            definitions: each once.
            only: partitions by id, of those that need not go to all.

        Raises:
            CommandError: somebody else became the writer since, or not all was delivered.
        """
        few = only or {}
        self._out.publish(
            [ForAll(one.id.encode(), _encode(one), one.timestamp, few.get(one.id)) for one in definitions]
        )
