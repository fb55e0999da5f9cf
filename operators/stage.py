"""The thin Bytewax operator: one state per partition, control items handled the same way for every stage."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import bytewax.operators as op
from bytewax.dataflow import Stream, operator

from operators.batches import Encoded, Span
from operators.control import Barrier, Flush, Restore, StageSnapshot
from operators.parts import Changes
from operators.side import EndsSides, Side, TakesSides
from operators.state import Measurement, Recalls, Stage


class Observer(Protocol):
    """Who is told what the stages do. Called per batch, never per event."""

    def batch(self, step: str, partition: int, batch: Any, answer: Any, seconds: float) -> None:
        """A stage answered a live batch."""
        ...

    def flushed(self, partition: int, answer: Encoded) -> None:
        """A stage added records at a flush, or changes to those of a side input."""
        ...

    def measured(self, partition: int, measurements: Iterable[Measurement]) -> None:
        """A stage's own figures, at a flush."""
        ...

    def restored(self, partition: int, measurements: Iterable[Measurement]) -> None:
        """A stage's figures as they were in the snapshot it starts from."""
        ...

    def fresh(self, step: str, partition: int, *, mismatch: bool) -> None:
        """A stage starts without state; `mismatch`: there was a snapshot, of another configuration."""
        ...


class Silent:
    """An observer that tells nobody."""

    def batch(self, step: str, partition: int, batch: Any, answer: Any, seconds: float) -> None:
        """Ignore."""

    def flushed(self, partition: int, answer: Encoded) -> None:
        """Ignore."""

    def measured(self, partition: int, measurements: Iterable[Measurement]) -> None:
        """Ignore."""

    def restored(self, partition: int, measurements: Iterable[Measurement]) -> None:
        """Ignore."""

    def fresh(self, step: str, partition: int, *, mismatch: bool) -> None:
        """Ignore."""


@runtime_checkable
class WritesAtFlush(Protocol):
    """A stage with something to write that answers no record: as what its totals are by now.

    When that is depends on the clock, so it is no part of what is written again byte for byte after a kill. What is
    said must follow from the state, and it must do no harm to say it twice, or a later one in its place.
    """

    def at_flush(self, partition: int) -> Encoded | None:
        """Return records for the transaction that is about to be committed, or None.

        Called about as often as there are commits while anything happens, and again as long as there was an answer, so
        that much may be said a little at a time; only where the partition is live, and after everything before it in
        the stream. It may note what was said: a snapshot may or may not hold that note, and a kill loses both.

        Args:
            partition: Kafka partition of the input.

        Returns:
            The records; `beside` as of any other answer, so one with an audit chain gives its head. The span is put in
            by the caller: no input, where the partition stands.
        """
        ...


class Task:
    """One partition's state of one stage, and what of it the next part of a snapshot needs."""

    __slots__ = ("changes", "stage")

    def __init__(self, stage: Stage[Any, Any]) -> None:
        self.stage = stage
        self.changes = Changes()


class Tasks:
    """The states of one stage, by partition, and what to do with each item."""

    def __init__(self, step: str, make: Callable[[int], Stage[Any, Any]], observer: Observer) -> None:
        self.step = step
        self.make = make
        self.observer = observer
        self.tasks: dict[int, Task] = {}

    def __call__(self, items: list[Any]) -> list[Any]:
        """Answer a run of items in order, one for one."""
        return [self.answer(item) for item in items]

    def answer(self, item: Any) -> Any:
        """Answer one batch, or take part in a control item and pass it on."""
        if isinstance(item, Restore):
            self.tasks[item.partition] = item.kept.get(self.step) or self._restored(item)
        elif isinstance(item, Barrier):
            self._take_part(item)
        elif isinstance(item, Flush):
            self._flush(item)
        elif isinstance(item, Side):
            return self._pass_on(item)
        else:
            return self._process(item)
        return item

    def _flush(self, flush: Flush) -> None:
        for partition, task in self.tasks.items():
            at = flush.live.get(partition)
            if at is not None and isinstance(task.stage, WritesAtFlush):
                found = task.stage.at_flush(partition)
                if found is not None:
                    flush.encoded.append(replace(found, span=Span(partition, at, at)))
                    self.observer.flushed(partition, found)
            self.observer.measured(partition, task.stage.measurements())

    def _process(self, batch: Any) -> Any:
        span = batch.span
        started = perf_counter()  # for the metric alone: no result depends on it
        answer = self.tasks[span.partition].stage.process(batch)
        if not span.muted:
            self.observer.batch(self.step, span.partition, batch, answer, perf_counter() - started)
        return answer

    def _pass_on(self, side: Side) -> Any:
        """Show side records to the stage, if it has use for them; the last stage says what is written."""
        stage = self.tasks[side.partition].stage
        if isinstance(stage, TakesSides):
            stage.take_side(side)
        if not isinstance(stage, EndsSides):
            return side
        answer = stage.end_side(side)
        if answer.audited:
            self.observer.flushed(side.partition, answer)
        return answer

    def _take_part(self, barrier: Barrier) -> None:
        task = self.tasks[barrier.partition]
        if barrier.keep:
            barrier.kept[self.step] = task
            return
        started = perf_counter()
        state = task.changes.of(task.stage, barrier.sweep)
        barrier.snapshots[self.step] = StageSnapshot(task.stage.fingerprint, state)
        barrier.seconds += perf_counter() - started

    def _restored(self, item: Restore) -> Task:
        stage = self.make(item.partition)
        snapshot = item.snapshots.get(self.step)
        if snapshot is not None and snapshot.fingerprint == stage.fingerprint:
            stage.load(snapshot.state)
            self.observer.restored(item.partition, stage.measurements())
        else:
            self.observer.fresh(self.step, item.partition, mismatch=snapshot is not None)
        if isinstance(stage, Recalls):
            stage.recall(item.beside)
        return Task(stage)


@operator
def stage(
    step_id: str,
    up: Stream[Any],
    make: Callable[[int], Stage[Any, Any]],
    observer: Observer,
) -> Stream[Any]:
    """Run one stage of the flow: batches of each partition through that partition's own state.

    Args:
        step_id: the stage's verb; names its snapshot and its metric label.
        up: batches and control items.
        make: builds the fresh state of a partition.
        observer: is told about every batch.
    """
    return op.flat_map_batch("tasks", up, Tasks(step_id.rpartition(".")[2], make, observer))
