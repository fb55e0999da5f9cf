"""Publishes the records that dead letters point to once more, exactly once.

One transaction carries the republished records and the note of which were (connectors/replaying/marks.py). It is made
of what has been fetched already, so it is open for milliseconds: readers of the input wait for open transactions. The
transactional id is fixed: a replay that is started fences one that still runs, and what that one had not committed
never counts.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.fetching import Contents, Fetcher, Place
from connectors.replaying import marks
from connectors.replaying.choice import NAMED, Choice, Tally
from connectors.replaying.marks import Kind, Settled
from schemas.dead_letter import DeadLetter, Reason

HEADER = "tidegate-replay"
"""Kafka header of a republished record: `topic/partition/offset` of the record it was made from."""

BATCH_LETTERS = 500
BATCH_BYTES = 16_000_000
LARGE = 50
"""Letters that one of a record too large to be read counts for."""

TIMEOUT_S = 10.0
TAKEN_OVER = "another replay was started and has taken over; what this one had committed counts, and no more"

_read_letter = msgspec.json.Decoder(DeadLetter).decode


class Ended(RuntimeError):
    """The replay cannot go on; the text says why, and that nothing is lost by running it again."""


def _place(letter: DeadLetter) -> Place:
    return Place(letter.topic, letter.partition, letter.offset)


class _Refused(Exception):
    """A topic does not take some records for their size; the transaction must be aborted."""

    def __init__(self, places: set[Place]) -> None:
        self.places = places


class Replay:
    """One run over the dead letters.

    Attributes:
        tally: what became of them so far.
        total: letters in the log at the start, at most.
        done: how many of them were looked at.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topics: Mapping[str, int],
        letters: str,
        journal: str,
        choice: Choice,
        owner: str | None,
    ) -> None:
        """Connect, fence an earlier replay that still runs, and read what has been settled.

        Args:
            config: of librdkafka.
            topics: numbers of partitions by full name, from the broker.
            letters: full name of the dead letters' topic.
            journal: full name of the topic that says which were settled.
            choice: which to replay.
            owner: transactional id, or None to publish nothing and only count.

        Raises:
            KafkaException: no transaction is possible.
            Ended: the journal is unreadable.
        """
        self.tally = Tally()
        self.total = self.done = 0
        self._config = dict(config)
        self._topics = topics
        self._letters, self._journal = letters, journal
        self._choice = choice
        self._written: dict[Kind, bytes] = {}  # the journal, as this run knows it
        self._settled: dict[Kind, Settled] = {}
        self._published: set[Place] = set()  # by this run: two flows may have refused one record
        self._failed: set[Place] = set()
        self._expired: set[Place] = set()  # of this batch
        self._producer: Any = None
        self._owner = owner
        if owner is not None:
            self._connect(owner)
        self._written = self._read_journal()
        try:
            self._settled = {kind: marks.read(value) for kind, value in self._written.items()}
        except marks.Unreadable as error:
            raise Ended(self._unknown(error)) from error

    def _connect(self, owner: str) -> None:
        """Make the producer, and fence whoever used its transactional id before."""
        self._producer = Producer(
            {
                "transaction.timeout.ms": int(TIMEOUT_S * 1000),
                "message.max.bytes": 1_000_000_000,  # what the topic took once; the broker has the last word
                **self._config,
                "enable.idempotence": True,
                "transactional.id": owner,
                "linger.ms": 20,
            }
        )
        self._producer.init_transactions(3 * TIMEOUT_S)

    def _read_journal(self) -> dict[Kind, bytes]:
        found: dict[Kind, bytes] = {}
        try:
            for message in Contents(self._config, self._journal, self._topics[self._journal]):
                if message is not None and message.value() is not None:
                    found[marks.read_key(message.key() or b"")] = message.value()
        except marks.Unreadable as error:
            raise Ended(self._unknown(error)) from error
        return found

    def _unknown(self, error: Exception) -> str:
        return f"{self._journal}: {error}; what has been replayed is not known, so nothing is"

    # -- the run -------------------------------------------------------------------------------------------------------

    def run(self, batch_letters: int = BATCH_LETTERS, tell: Callable[[], None] = lambda: None) -> None:
        """Go over all letters once.

        Args:
            batch_letters: most records in one transaction.
            tell: called after each; may wait.

        Raises:
            Ended: a transaction failed, or another replay has taken over.
            KafkaException: something cannot be read.
        """
        fetcher = Fetcher(self._config, self._topics)
        pending: list[DeadLetter] = []
        weight = 0
        try:
            letters = Contents(self._config, self._letters, self._topics[self._letters])  # not what this leads to
            self.total = letters.total
            for message in letters:
                if message is None:
                    tell()
                    continue
                self.done += 1
                letter = self._read(message)
                if letter is None:
                    continue
                pending.append(letter)
                # All records of a batch are in memory at once, and these are larger than a flow would read.
                weight += LARGE if letter.reason == Reason.TOO_LARGE else 1
                if weight >= batch_letters:
                    self._answer(pending, fetcher)
                    pending, weight = [], 0
                    tell()
            self._answer(pending, fetcher)
            tell()
        finally:
            fetcher.close()

    def close(self) -> None:
        """Abort what is open, if the broker still lets us; a successor fences it otherwise."""
        if self._producer is not None:
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(TIMEOUT_S)
            self._producer = None

    def _read(self, message: Any) -> DeadLetter | None:
        """Return the letter in a record if it may have to be settled."""
        try:
            letter = _read_letter(message.value() or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.tally.unreadable += 1
            return None
        if "/" in letter.topic or "/" in letter.flow:  # no topic and no flow has such a name
            self.tally.unreadable += 1
            return None
        if not self._choice.kind(letter):
            self.tally.left += 1
            return None
        return letter

    def _sets(self, letter: DeadLetter) -> list[Settled]:
        """Return the sets a record may belong to: that of fresh ones and, if asked for, of those refused again."""
        fresh = Kind(letter.topic, letter.partition, letter.flow, letter.reason.value, again=False)
        kinds = [fresh, fresh._replace(again=True)] if self._choice.again else [fresh]
        return [self._settled.setdefault(kind, Settled()) for kind in kinds]

    def _answer(self, batch: list[DeadLetter], fetcher: Fetcher) -> None:
        """Fetch the records of some letters and publish them again, as one transaction or several."""
        records, self._expired = fetcher.fetch(_place(each) for each in batch if self._is_due(each))
        open_at, size = 0, 0
        for at, each in enumerate(batch):
            record = records.get(_place(each))
            size += len(record.value() or b"") if record is not None else 0
            if size > BATCH_BYTES:
                self._commit(batch[open_at : at + 1], records)
                open_at, size = at + 1, 0
        self._commit(batch[open_at:], records)

    def _is_due(self, letter: DeadLetter) -> bool:
        return self._choice.time(letter) and any(letter.offset not in settled for settled in self._sets(letter))

    def _commit(self, batch: list[DeadLetter], records: Mapping[Place, Any]) -> None:
        if not batch:
            return
        verdicts = self._verdicts(batch, records)
        if self._producer is None:
            self._settle(batch, verdicts)
            return
        try:
            self._transact(batch, verdicts, records)
        except _Refused as error:
            # A transaction that lost a record cannot be trusted to go on after it; a new producer aborts it. It would
            # also fence another replay that has taken over: then what this one knows is no longer true.
            self._connect(str(self._owner))
            if self._read_journal() != self._written:
                raise Ended(TAKEN_OVER) from error
            # The broker judges what was sent together as one: in halves, until it is a record that is refused alone.
            if len(batch) == 1:
                self._failed |= error.places
                self._commit(batch, records)
            else:
                self._commit(batch[: len(batch) // 2], records)
                self._commit(batch[len(batch) // 2 :], records)

    def _transact(self, batch: list[DeadLetter], verdicts: list[str], records: Mapping[Place, Any]) -> None:
        publish = [records[_place(each)] for each, verdict in zip(batch, verdicts, strict=True) if verdict == "replay"]
        try:
            if publish:
                self._producer.begin_transaction()
                self._send(publish)
            changed = self._settle(batch, verdicts)
            if changed and not publish:
                self._producer.begin_transaction()
            written = {kind: settled.write() for kind, settled in changed}
            for kind, value in written.items():
                partition = kind.partition % self._topics[self._journal]
                self._producer.produce(self._journal, value, marks.key(kind), partition)
            if publish or changed:
                self._producer.commit_transaction(TIMEOUT_S)
            self._written |= written
        except KafkaException as error:
            raise Ended(_why(error.args[0])) from error

    def _send(self, records: Iterable[Any]) -> None:
        """Send records and wait until they are in the log.

        Raises:
            _Refused: the topic does not take some for their size; the transaction must be aborted then.
        """
        refused: set[Place] = set()

        def told(place: Place) -> Callable[[Any, Any], None]:
            def delivered(error: Any, _message: Any) -> None:
                if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    refused.add(place)

            return delivered

        for record in records:
            place = Place(record.topic(), record.partition(), record.offset())
            kind, time_ms = record.timestamp()
            more = {"timestamp": max(time_ms, 1)} if kind else {}  # to librdkafka 0 means now
            headers = [*(record.headers() or []), (HEADER, str(place).encode())]
            try:
                self._producer.produce(
                    place.topic, record.value(), record.key(), place.partition,
                    headers=headers, on_delivery=told(place), **more,
                )  # fmt: skip
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                refused.add(place)
        until = time.monotonic() + TIMEOUT_S
        while (left := len(self._producer)) and time.monotonic() < until and not refused:
            self._producer.poll(0.1)  # `flush` of a fenced producer ends in a SystemError
        if refused:
            raise _Refused(refused)
        if left:
            why = KafkaError(KafkaError._TIMED_OUT, f"{left} records not delivered")  # noqa: SLF001  its public name
            raise KafkaException(why)

    # -- the letters ---------------------------------------------------------------------------------------------------

    def _verdicts(self, batch: list[DeadLetter], records: Mapping[Place, Any]) -> list[str]:
        """Say what is to be done about each letter; of two that point to one record the first is answered."""
        # "gone" for ever; "absent" may come back, or only be hidden from this client: its letter stays replayable.
        verdicts = []
        taken: set[Place] = set()
        for letter in batch:
            place = _place(letter)
            verdict = self._verdict(letter, records.get(place))
            if verdict == "replay" and place in taken | self._published:
                verdict = "before"
            elif verdict == "replay":
                taken.add(place)
            verdicts.append(verdict)
        return verdicts

    def _verdict(self, letter: DeadLetter, record: Any) -> str:
        if not self._choice.time(letter):
            return "left"
        settled = self._sets(letter)
        if all(letter.offset in each for each in settled):
            return "before"
        if record is None:
            return "gone" if _place(letter) in self._expired else "absent"
        if letter.timestamp >= 0 and record.timestamp()[1] != letter.timestamp:
            return (
                "absent"  # the topic was made anew, and another record lies there: the letter knows its record's time
            )
        again = any(name == HEADER for name, _ in record.headers() or [])
        if again and not self._choice.again:
            return "again"
        if letter.offset in settled[again]:
            return "before"
        return "too_large" if _place(letter) in self._failed else "replay"

    def _settle(self, batch: list[DeadLetter], verdicts: list[str]) -> list[tuple[Kind, Settled]]:
        """Count the letters and note those that need no replay any more; return the sets that changed."""
        tally = self.tally
        for letter, verdict in zip(batch, verdicts, strict=True):
            if verdict == "replay":
                tally.replayed[letter.reason.value] += 1
                self._published.add(_place(letter))
            elif verdict in ("gone", "absent"):
                tally.gone[letter.reason.value] += 1
                if len(tally.gone_at) < NAMED:
                    tally.gone_at.append(_place(letter))
            elif verdict == "too_large":
                tally.too_large.append(_place(letter))
            else:
                tally.again += verdict == "again"
                tally.before += verdict == "before"
                tally.left += verdict == "left"
            for settled in self._sets(letter):
                (settled.leave if verdict in ("left", "too_large", "absent") else settled.settle)(letter.offset)
        return [item for item in self._settled.items() if item[1].changed]


def _why(error: Any) -> str:
    if error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):  # noqa: SLF001
        return TAKEN_OVER
    return f"Kafka: {error.str()}; run the command again: it goes on where it stopped and repeats nothing"
