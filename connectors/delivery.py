"""How outputs and offsets reach Kafka: in one transaction, or at least once where the broker keeps none."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer, TopicPartition

from connectors.logs import logger
from connectors.membership import Membership, NotAMember
from operators.batches import Outgoing

log = logger()

INIT_TIMEOUT_S = 15.0
COMMIT_TIMEOUT_S = 10.0
WATCHDOG_S = 20.0
WATCHDOG_EXIT = 70

# A failed produce or commit is not mended here: queues are large, and errors make the whole stretch be done again.
_PRODUCER = {
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 1_048_576,
    "linger.ms": 20,  # a commit sends at once what still waits: only larger batches come of it
    "enable.idempotence": True,
}


FAULTS = (KafkaException, SystemError)
"""What a call into the client may raise. On a fatal error (this producer was fenced) confluent-kafka raises in the
middle of serving callbacks, and the next callback turns the KafkaException into the cause of a SystemError."""

OnDelivery = Callable[[Any, Any], None]
"""Told (error or None, message) when a record is in the log, or never will be."""


class Doubt(RuntimeError):
    """It is not certain what became of what was sent: start again from what the broker says is committed."""


def _doubt(what: str, error: BaseException) -> Doubt:
    """Return the doubt that a client's error leads to; anything else that looks like one is raised again."""
    cause = error if isinstance(error, KafkaException) else error.__cause__
    if not isinstance(cause, KafkaException):
        raise error
    return Doubt(f"{what}: {cause.args[0].str() if cause.args else cause}")


class Delivery(Protocol):
    """Carries outputs and offsets.

    Attributes:
        owner: the name under which commits are made, and under which a successor can fence this process.
        overlaps: see `commit`.
    """

    owner: str
    overlaps: bool

    def produce_all(self, records: Iterable[Outgoing], partition: int, names: Mapping[str, str]) -> None:
        """Queue records, to this partition unless they name another; `names` gives a topic's name. Raises Doubt."""
        ...

    def produce_watched(
        self, topic: str, key: bytes, value: bytes | None, partition: int, timestamp_ms: int, on_delivery: OnDelivery
    ) -> None:
        """Queue one record whose delivery is told. Raises Doubt."""
        ...

    def commit(self, offsets: list[TopicPartition], membership: Membership) -> Callable[[], None]:
        """Return the call that makes everything queued, and the offsets, count. Raises Doubt, as the call does.

        The call blocks. With `overlaps` it may run on another thread, as long as nothing else is asked of this object
        until it has returned.
        """
        ...

    def drop(self) -> bool:
        """Give up what is pending and the connection; never raises. Returns whether anything was aborted."""
        ...


class Watchdog:
    """Ends the process when a call into librdkafka outlives its time-out by far; a restart sorts it out.

    A transaction call can block without end around a broker's restart (librdkafka#5456, #5511).
    """

    def __init__(self, limit_s: float = WATCHDOG_S, end: Callable[[int], Any] = os._exit) -> None:
        self._limit_s = limit_s
        self._end = end
        self._since: float | None = None
        self._what = ""
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, what: str) -> Iterator[None]:
        """Everything inside must be over within the limit."""
        self._what, self._since = what, time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _watch(self) -> None:
        while True:
            time.sleep(self._limit_s / 10)
            since = self._since
            if since is not None and time.monotonic() - since > self._limit_s:
                why = f"{self._what} has not returned for {self._limit_s:.0f} s: exiting to be restarted"
                log.critical("stuck", detail=why)
                self._end(WATCHDOG_EXIT)


class _Sender:
    """What both ways of delivery share: queueing records."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def produce_all(self, records: Iterable[Outgoing], partition: int, names: Mapping[str, str]) -> None:
        """Queue records, to this partition unless they name another, without waiting unless the queue is full."""
        self._ready()
        produce = self._producer.produce  # once per event: the loop is kept short
        try:
            for record in records:
                topic, value, key = names[record.topic], record.value, record.key
                to = partition if record.partition < 0 else record.partition
                try:
                    produce(topic, value, key, to, None, None, record.timestamp_ms)  # by place: a third faster
                except BufferError:
                    self._insist(topic, value, key, to, timestamp=record.timestamp_ms)
        except FAULTS as error:
            raise _doubt("produce", error) from error

    def produce_watched(
        self, topic: str, key: bytes, value: bytes | None, partition: int, timestamp_ms: int, on_delivery: OnDelivery
    ) -> None:
        """Queue one record whose delivery is told."""
        self._ready()
        try:
            self._insist(topic, value, key, partition, timestamp=timestamp_ms, on_delivery=on_delivery)
        except FAULTS as error:
            raise _doubt(f"produce to {topic}[{partition}]", error) from error

    def flush(self, timeout_s: float) -> int:
        """Wait until everything queued has arrived; return how many records have not."""
        return int(self._producer.flush(timeout_s))

    def _ready(self) -> None:
        """Do what must come before the first record."""

    def _insist(self, *record: Any, **more: Any) -> None:
        while True:
            try:
                self._producer.produce(*record, **more)
            except BufferError:  # the local queue is full: wait for the broker to take some
                self._producer.poll(0.05)
            else:
                return


class Transactional(_Sender):
    """Exactly once: outputs and offsets are one Kafka transaction, bound to the group's current generation."""

    overlaps = True

    def __init__(self, config: Mapping[str, Any], owner: str, watchdog: Watchdog) -> None:
        """Connect, and fence whoever used `owner` before (this process's own earlier producer, if any)."""
        self.owner = owner
        self._watchdog = watchdog
        self._open = False
        super().__init__(Producer({"transaction.timeout.ms": 10_000, **_PRODUCER, **config, "transactional.id": owner}))
        self._call("init_transactions", lambda: self._producer.init_transactions(INIT_TIMEOUT_S))

    def _ready(self) -> None:
        if not self._open:
            self._call("begin_transaction", self._producer.begin_transaction)
            self._open = True

    def commit(self, offsets: list[TopicPartition], membership: Membership) -> Callable[[], None]:
        """Return the call that commits the transaction. On any error it is never retried into a new one: Doubt."""
        self._ready()
        try:
            proof = membership.metadata()
        except NotAMember as error:
            raise Doubt(str(error)) from error
        send, commit = self._producer.send_offsets_to_transaction, self._producer.commit_transaction

        def finish() -> None:
            self._call("send_offsets", lambda: send(offsets, proof, COMMIT_TIMEOUT_S))
            self._call("commit_transaction", lambda: commit(COMMIT_TIMEOUT_S))
            self._open = False

        return finish

    def drop(self) -> bool:
        """Abort if the broker still lets us, and let the producer go."""
        aborted = self._open
        if self._open:
            try:
                self._call("abort_transaction", lambda: self._producer.abort_transaction(COMMIT_TIMEOUT_S))
            except Doubt as error:
                log.info("not_aborted_the_successor_fences_it", detail=str(error))
        self._open = False
        return aborted

    def _call(self, what: str, call: Callable[[], Any]) -> None:
        try:
            with self._watchdog.watch(what):
                call()
        except FAULTS as error:
            raise _doubt(what, error) from error


class AtLeastOnce(_Sender):
    """At least once: outputs are flushed, then offsets committed; after a crash what lies between is answered again."""

    overlaps = False  # the commit is a call of the consumer that the engine polls

    def __init__(self, config: Mapping[str, Any], owner: str, watchdog: Watchdog) -> None:
        """Connect."""
        self.owner = owner
        self._watchdog = watchdog
        self._failed: list[str] = []
        super().__init__(
            Producer({**_PRODUCER, **config, "delivery.report.only.error": True, "on_delivery": self._undelivered})
        )
        # That one tells of failures alone, which costs nothing for each record.
        self._telling = _Sender(Producer({**_PRODUCER, **config}))

    def produce_watched(
        self, topic: str, key: bytes, value: bytes | None, partition: int, timestamp_ms: int, on_delivery: OnDelivery
    ) -> None:
        """Queue one record whose delivery is told."""

        def told(error: Any, message: Any) -> None:
            self._undelivered(error, message)
            on_delivery(error, message)

        self._telling.produce_watched(topic, key, value, partition, timestamp_ms, told)

    def _flush(self) -> None:
        with self._watchdog.watch("flush"):
            left = self.flush(COMMIT_TIMEOUT_S / 2) + self._telling.flush(COMMIT_TIMEOUT_S / 2)
        if left or self._failed:
            raise Doubt(f"{left + len(self._failed)} records not delivered {self._failed[:1]}")

    def commit(self, offsets: list[TopicPartition], membership: Membership) -> Callable[[], None]:
        """Return the call that flushes, then commits the offsets to the group."""

        def finish() -> None:
            self._flush()
            try:
                with self._watchdog.watch("commit"):
                    membership.commit(offsets)
            except KafkaException as error:
                raise Doubt(f"commit: {error}") from error

        return finish

    def drop(self) -> bool:
        """Nothing to abort: what was sent stays sent."""
        return False

    def _undelivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(error.str())


def fence(config: Mapping[str, Any], owner: str, watchdog: Watchdog) -> None:
    """Make sure a former owner can commit nothing more, and that its open transaction is over.

    Only to be called once the group has given us its partition. Raises Doubt.
    """
    Transactional(config, owner, watchdog)
