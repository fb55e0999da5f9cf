"""Membership in the consumer group: which partitions are ours, and the proof of it that goes into transactions.

This consumer fetches nothing: its partitions are paused, another one reads them (connectors/reader.py). So a rebalance
never races with reading, and a partition can be read from wherever its state needs it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.logs import logger

log = logger()

_GENERATION_AT = len(b"CGMDv2:")


class NotAMember(RuntimeError):
    """The group has not confirmed this process: nothing may be committed."""


class Membership:
    """One member of the group, of one topic's partitions.

    Attributes:
        partitions: those the group has given to this process.
        changed: set when `partitions` changed; whoever acts on it clears it.
        lost: set when partitions were taken without asking (the session expired): what is pending must be aborted.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        on_revoke: Callable[[list[int]], None],
    ) -> None:
        """Join the group.

        Args:
            config: of librdkafka, with `group.id`.
            topic: whose partitions are shared out.
            on_revoke: called, inside `poll`, before partitions are given up: the last moment to commit them.
        """
        self.topic = topic
        self.partitions: set[int] = set()
        self.changed = False
        self.lost = False
        self._on_revoke = on_revoke
        self.failure: BaseException | None = None
        self._consumer = Consumer(
            {
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 500,
                **config,
                "partition.assignment.strategy": "cooperative-sticky",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "latest",  # irrelevant: paused before anything is fetched
                "queued.max.messages.kbytes": 1,
            }
        )
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._was_lost)

    def poll(self, timeout_s: float = 0.0) -> None:
        """Serve the group: heartbeats are librdkafka's own, rebalances happen in here.

        Raises:
            KafkaException: the group cannot be served (authorisation, unknown topic).
        """
        message = self._consumer.poll(timeout_s)
        if self.failure is not None:
            raise self.failure
        error: Any = message.error() if message is not None else None
        if error is not None:
            if error.fatal() or error.code() in (
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
                KafkaError.GROUP_AUTHORIZATION_FAILED,
                KafkaError.UNKNOWN_TOPIC_OR_PART,
            ):
                raise KafkaException(error)
            log.warning("group_error", detail=error.str())

    def metadata(self) -> bytes:
        """The proof of membership for a transaction.

        Raises:
            NotAMember: there is none; a transaction without it would not be fenced by the broker.
        """
        proof: bytes = self._consumer.consumer_group_metadata()
        if not self._confirmed(proof):
            raise NotAMember("the group has not confirmed this process")
        return proof

    @property
    def confirmed(self) -> bool:
        """Whether the group counts this process among its members; its partitions may still be on their way."""
        return self._confirmed(self._consumer.consumer_group_metadata())

    def _confirmed(self, proof: bytes) -> bool:
        generation = int.from_bytes(proof[_GENERATION_AT : _GENERATION_AT + 4], "little", signed=True)
        return generation >= 0 and bool(self._consumer.memberid())

    def commit(self, offsets: Iterable[TopicPartition]) -> None:
        """Commit offsets outside any transaction, and wait: for brokers that have none."""
        done = self._consumer.commit(offsets=list(offsets), asynchronous=False)
        for each in done or ():
            if each.error is not None:
                raise KafkaException(each.error)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        # An exception must not cross librdkafka's frames: it is kept, and raised by `poll`.
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    def _assigned(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        def work() -> None:
            consumer.incremental_assign(partitions)
            consumer.pause(partitions)
            self.partitions |= {each.partition for each in partitions}
            self.changed = True

        self._guarded(work)

    def _revoked(self, _consumer: Any, partitions: list[TopicPartition]) -> None:
        def work() -> None:
            gone = sorted(each.partition for each in partitions)
            self._on_revoke(gone)
            self.partitions -= set(gone)
            self.changed = True

        self._guarded(work)

    def _was_lost(self, _consumer: Any, partitions: list[TopicPartition]) -> None:
        self.partitions -= {each.partition for each in partitions}
        self.changed = True
        self.lost = True
