"""Writes records that every task of a flow needs: to every partition of their topic."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from connectors.clients import ANSWER_S, Admin, plain_producer
from connectors.delivery import FAULTS
from flows.commands import CommandError
from flows.commands._shared import full_name, partitions_of
from flows.settings import Settings


class ForAll(NamedTuple):
    """One record.

    Attributes:
        key: of it.
        value: None takes it back.
        timestamp_ms: Kafka's; 0 for the time at which it is written.
        only: partitions that need it; None for all.
    """

    key: bytes
    value: bytes | None
    timestamp_ms: int = 0
    only: Sequence[int] | None = None


class Everywhere:
    """Publishes records to every partition, all or none.

    Whoever becomes the writer next ends this one, so none overwrites unseen.

    Attributes:
        topic: its full name.
        partitions: how many it has.
    """

    def __init__(self, settings: Settings, topic: str, name: str, advice: str) -> None:
        """Become the writer.

        Args:
            settings: where Kafka is.
            topic: short name.
            name: of the client, and of the writer that there is one of.
            advice: what to do if somebody else wrote at the same time.

        Raises:
            CommandError: there is no such topic.
            KafkaException: the broker does not answer, or does not let us.
        """
        self.topic = full_name(settings, topic)
        self.partitions = partitions_of(Admin(settings, name).partitions(), self.topic)
        self._advice = advice
        self._transactions = settings.kafka.delivery == "exactly_once"
        own = {"transactional.id": f"{settings.kafka.prefix}tidegate.{name}"} if self._transactions else {}
        self._producer: Any = plain_producer(settings, name, **own)
        if self._transactions:
            self._producer.init_transactions(3 * ANSWER_S)

    def publish(self, records: Sequence[ForAll]) -> None:
        """Publish, and wait until it is done.

        Raises:
            CommandError: somebody else became the writer since, or not all was delivered.
        """
        failed: list[str] = []
        # Not in a transaction, whose commit waits for every record and tells of it.
        told: dict[str, Any] = {}
        if not self._transactions:
            told["on_delivery"] = lambda error, _: failed.append(error.str()) if error else None
        with self._one_transaction():
            for one in records:
                for number in range(self.partitions) if one.only is None else one.only:
                    self._producer.produce(self.topic, one.value, one.key, number, timestamp=one.timestamp_ms, **told)
        if not self._transactions and (self._producer.flush(3 * ANSWER_S) or failed):
            raise CommandError(f"not delivered: {failed[0] if failed else 'the broker does not answer'}")

    @contextlib.contextmanager
    def _one_transaction(self) -> Iterator[None]:
        if not self._transactions:
            yield
            return
        try:
            self._producer.begin_transaction()
            yield
            self._producer.commit_transaction(3 * ANSWER_S)
        except FAULTS as error:
            with contextlib.suppress(*FAULTS):
                self._producer.abort_transaction(ANSWER_S)
            raise CommandError(f"nothing was published: {error}. {self._advice}") from error
