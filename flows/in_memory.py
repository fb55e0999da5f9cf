"""Flows without Kafka and without Bytewax: the very stages, fed from topics that lie in memory.

For notebooks and tests: what a flow says is what it says on Kafka, for what it is given in the same order. Here each
flow reads what there is when its turn comes, side topics first, and nothing is lost with the process but everything.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from operators.batches import Encoded, Messages, Outgoing, Span
from operators.control import Flush, Restore, StageSnapshot
from operators.partitioner import murmur2
from operators.side import Side
from operators.stage import Silent, Tasks
from operators.state import Stage


class Kept(NamedTuple):
    """A record as it lies in a topic."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class Topics:
    """Topics in memory, each of the same number of partitions.

    Attributes:
        partitions: how many each topic has.
    """

    def __init__(self, partitions: int = 1) -> None:
        self.partitions = partitions
        self._logs: dict[str, list[list[Kept]]] = defaultdict(lambda: [[] for _ in range(partitions)])

    def publish(self, topic: str, key: bytes, value: bytes | None, timestamp_ms: int, partition: int = -1) -> None:
        """Append a record: to the partition that its key falls on, as Java's partitioner has it, unless one is told."""
        at = partition if partition >= 0 else int(murmur2([key], self.partitions)[0])
        self._logs[topic][at].append(Kept(key, value, timestamp_ms))

    def log(self, topic: str, partition: int) -> Sequence[Kept]:
        """Return what lies in a partition, oldest first."""
        return self._logs[topic][partition]

    def values(self, topic: str, since: int = 0) -> list[bytes]:
        """Return the values of a topic's records, partition by partition, tombstones left out.

        Args:
            topic: without prefix.
            since: offset in each partition from which on.
        """
        kept = (record for log in self._logs[topic] for record in log[since:])
        return [record.value for record in kept if record.value is not None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a flow is made of.

    Attributes:
        name: of the flow.
        main: topic of its own input.
        steps: by verb, in order, what makes the fresh stage of a partition.
        sides: topics that are read beside it, in this order.
    """

    name: str
    main: str
    steps: Mapping[str, Callable[[int], Stage[Any, Any]]]
    sides: tuple[str, ...] = ()


class Running:
    """One flow over topics in memory, all of its partitions.

    Attributes:
        plan: what it is made of.
    """

    def __init__(self, plan: Plan, topics: Topics, batch_max: int = 1_000) -> None:
        """Begin at the first record of each topic.

        Args:
            plan: the flow.
            topics: where it reads and writes.
            batch_max: most records in one batch.
        """
        self._topics = topics
        self._most = batch_max
        self._read: dict[tuple[str, int], int] = defaultdict(int)
        self._beside: dict[int, str] = {}
        self._tasks: list[Tasks] = []
        self.restart(plan)

    def restart(self, plan: Plan) -> None:
        """Go on under other settings: a stage whose fingerprint is the same has its state again, others begin anew.

        Args:
            plan: the same flow.
        """
        states = [
            {each.step: each.tasks[partition].stage for each in self._tasks}
            for partition in range(self._topics.partitions)
        ]
        self.plan = plan
        self._tasks = [Tasks(step, make, Silent()) for step, make in plan.steps.items()]
        for partition, stages in enumerate(states):
            snapshots = {step: StageSnapshot(stage.fingerprint, stage.dump()) for step, stage in stages.items()}
            self._through(Restore(partition, snapshots, beside=self._beside.get(partition, "")))

    def run(self) -> int:
        """Read all there is, and write what follows from it; return how many records were read."""
        read = 0
        for partition in range(self._topics.partitions):
            for topic in self.plan.sides:
                read += sum(self._take(topic, partition, side=True))
            read += sum(self._take(self.plan.main, partition, side=False))
        live = {number: self._read[self.plan.main, number] for number in range(self._topics.partitions)}
        while True:  # much may be said a little at a time
            flush: Flush = self._through(Flush(live=live))
            if not flush.encoded:
                return read
            for answer in flush.encoded:
                self._write(answer)

    def stage(self, step: str, partition: int = 0) -> Stage[Any, Any]:
        """Return a stage as it is now."""
        [tasks] = [each for each in self._tasks if each.step == step]
        return tasks.tasks[partition].stage

    def _take(self, topic: str, partition: int, *, side: bool) -> Iterable[int]:
        """Read on in a partition of a topic; yield the size of each batch."""
        log, end = self._topics.log(topic, partition), len(self._topics.log(topic, partition))
        while (first := self._read[topic, partition]) < end:
            kept = log[first : min(first + self._most, end)]
            after = first + len(kept)
            values, keys = [each.value for each in kept], [each.key for each in kept]
            offsets, times = list(range(first, after)), [each.timestamp_ms for each in kept]
            at = self._read[self.plan.main, partition]
            item = (
                Side(partition, topic, at, first, after, values, keys, offsets, times)
                if side
                else Messages(Span(partition, first, after), topic, values, keys, offsets, times)
            )
            self._read[topic, partition] = after
            answer = self._through(item)
            if isinstance(answer, Encoded):
                self._write(answer)
            yield len(kept)

    def _through(self, item: Any) -> Any:
        for tasks in self._tasks:
            item = tasks.answer(item)
        return item

    def _write(self, answer: Encoded) -> None:
        if answer.beside:
            self._beside[answer.span.partition] = answer.beside
        for record in answer.records:
            self._topics.publish(record.topic, record.key, record.value, record.timestamp_ms, _where(record, answer))


def run_all(flows: Sequence[Running]) -> None:
    """Give each flow its turn, in order, until none reads anything."""
    while sum(flow.run() for flow in flows):
        pass


def _where(record: Outgoing, answer: Encoded) -> int:
    return record.partition if record.partition >= 0 else answer.span.partition
