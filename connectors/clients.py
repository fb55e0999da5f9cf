"""Kafka clients for the command line and the flows: one place for what they share.

Every client is told of the brokers, carries the user's librdkafka settings, is named after what it does, and sends what
librdkafka has to say to Python's logging.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, not declared
    AdminClient,
    ConfigResource,
    ResourceType,
)

log = logging.getLogger("tidegate.librdkafka")

REPEAT_S = 30.0
"""For how long the same complaint of librdkafka is not logged again."""


class _Once(logging.Filter):
    """Lets a complaint through once in a while: a broker that is away is otherwise reported at every attempt."""

    _MOST = 1_000

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is new; durations in its text do not make it so."""
        text, now = re.sub(r"\d+ms", "ms", record.getMessage()), time.monotonic()
        if now - self._seen.get(text, float("-inf")) < REPEAT_S:
            return False
        if len(self._seen) >= self._MOST:
            self._seen.clear()
        self._seen[text] = now
        return True


log.addFilter(_Once())

ANSWER_S = 10.0
"""How long a broker has to answer a question about the cluster."""


_PASSING = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001  librdkafka's own codes are spelt so
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.GROUP_AUTHORIZATION_FAILED,  # the group is only a name here, see `plain_consumer`
    }
)
"""Errors of a reader that librdkafka gets over by itself."""


class Connection(Protocol):
    """The part of the settings that clients need; `flows.settings.Kafka` is one."""

    @property
    def bootstrap(self) -> str:
        """`host:port`, several separated by commas."""
        ...

    @property
    def librdkafka(self) -> dict[str, str]:
        """Settings handed through."""
        ...


class HasConnection(Protocol):
    """Settings with a `kafka` section; `flows.settings.Settings` is one."""

    @property
    def kafka(self) -> Any:
        """A `Connection`."""
        ...


class Unreachable(RuntimeError):
    """No broker answered; the text says where, how long, and what the client last complained of."""


def common_config(settings: HasConnection, name: str = "client") -> dict[str, Any]:
    """Return what every client is configured with.

    Args:
        settings: those of Tidegate.
        name: what the client does; becomes `client.id`.
    """
    kafka: Connection = settings.kafka
    return {
        **kafka.librdkafka,
        "bootstrap.servers": kafka.bootstrap,
        "client.id": f"tidegate-{name}",
        "error_cb": _log_error,
        # librdkafka may write to stderr only what cannot be said by logging; the logger gets the rest.
        "logger": log,
    }


def _log_error(error: KafkaError) -> None:
    # All brokers down and the like: the client goes on trying, and whoever waits for it has a time-out of his own.
    log.debug("%s: %s", error.name(), error.str())


class Admin:
    """Questions about the cluster, with an answer or a clear refusal in a stated time."""

    def __init__(self, settings: HasConnection, name: str = "admin", answer_s: float = ANSWER_S) -> None:
        """Make the client; nothing connects before the first question.

        Args:
            settings: those of Tidegate.
            name: becomes part of `client.id`.
            answer_s: seconds to wait for an answer.
        """
        self._bootstrap = settings.kafka.bootstrap
        self._answer_s = answer_s
        self._complaints: dict[str, None] = {}
        config: dict[str, Any] = {**common_config(settings, name), "error_cb": self._complain}
        self.client: Any = AdminClient(config)

    def _complain(self, error: KafkaError) -> None:
        _log_error(error)
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  the client's name for it
            self._complaints[error.str()] = None

    def metadata(self) -> Any:
        """Return librdkafka's `ClusterMetadata`.

        Raises:
            Unreachable: no broker answered in time.
        """
        try:
            return self.client.list_topics(timeout=self._answer_s)
        except KafkaException as error:
            self.client.poll(0)
            why = list(self._complaints)[-1] if self._complaints else error.args[0].str()
            raise Unreachable(f"no broker answered at {self._bootstrap} within {self._answer_s:g} s: {why}") from error

    def partitions(self) -> dict[str, int]:
        """Return the number of partitions of every topic, by full name."""
        return {name: len(topic.partitions) for name, topic in self.metadata().topics.items()}


def plain_producer(settings: HasConnection, name: str, **more: str | float | bool) -> Any:
    """Return an idempotent producer that places keys as Java's does, outside any transaction."""
    return Producer(
        {
            **common_config(settings, name),
            "enable.idempotence": True,
            # Java's default, and not librdkafka's: all publishers of a flow's topics must agree on it.
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            **more,
        }
    )


def plain_consumer(settings: HasConnection, name: str, **more: str | float | bool) -> Any:
    """Return a read_committed consumer that joins no group and commits nothing."""
    return groupless(common_config(settings, name), f"tidegate-{name}", **more)


def groupless(config: Mapping[str, Any], group: str, **more: str | float | bool) -> Any:
    """Return the same.

    Args:
        config: of librdkafka.
        group: librdkafka asks for one; with `assign` it is never joined.
        more: settings that go before all others.
    """
    return Consumer(
        {
            # Once its queue is full librdkafka pauses fetching for this long; the default of a second idles.
            "fetch.queue.backoff.ms": 5,
            **config,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",  # what `beginning` becomes if its records go while we connect
            "enable.partition.eof": True,
            **more,
        }
    )


def read(
    consumer: Any,
    topic: str,
    partitions: int,
    *,
    beginning: bool,
    to_end: bool,
    idle_s: float | None = None,
) -> Iterator[Any]:
    """Yield the records of a topic, in order within each partition.

    Args:
        consumer: from `plain_consumer`; closed at the end.
        topic: full name.
        partitions: how many it has.
        beginning: from the oldest record on, or only what comes from now on.
        to_end: stop at what is the end of every partition when it is reached.
        idle_s: stop when nothing came for so many seconds; None waits for ever.

    Raises:
        KafkaException: a failure that will not pass by itself.
    """
    start = OFFSET_BEGINNING if beginning else OFFSET_END
    open_ends = set(range(partitions))
    try:
        consumer.assign([TopicPartition(topic, partition, start) for partition in range(partitions)])
        last = time.monotonic()
        while open_ends or not to_end:
            for message in consumer.consume(500, timeout=0.2):
                error = message.error()
                if error is None:
                    last = time.monotonic()
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's name for it
                    open_ends.discard(message.partition())
                elif error.code() not in _PASSING:
                    raise KafkaException(error)
            if idle_s is not None and time.monotonic() - last > idle_s:
                return
    finally:
        consumer.close()


def topic_configs(admin: Admin, topics: list[str]) -> Mapping[str, Mapping[str, str]]:
    """Return the settings of topics as the broker holds them, by full name."""
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    answers = admin.client.describe_configs(asked, request_timeout=ANSWER_S) if asked else {}
    return {
        resource.name: {name: str(entry.value) for name, entry in future.result().items()}
        for resource, future in answers.items()
    }
