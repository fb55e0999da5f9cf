"""The engine: one dataflow execution per assignment of partitions, and the bookkeeping between Kafka and the stages.

The source asks `pull` for items, the sink hands the answers to `push`, on one thread; only the broker's part of a
commit goes on beside it. Nothing new is read until the sink has seen everything that was: so whenever the group takes
partitions away, the pipeline is idle, and what is pending can be committed on the spot.
"""

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException

from connectors.backlog import Backlog
from connectors.delivery import Delivery, Doubt
from connectors.journal import Entry
from connectors.ledger import Ledger
from connectors.logs import logger
from connectors.membership import Membership
from connectors.pace import BACKOFF_S, SPARE_AFTER_S, Pace
from connectors.partition import EngineObserver, Partition
from connectors.reader import Reader, Run, batch
from connectors.rolling import roll_forward
from connectors.sides import SideInputs
from connectors.takeover import Takeover
from operators.batches import Encoded, Messages
from operators.control import Barrier, Flush, Restore
from operators.side import Side

log = logger()

__all__ = ["Engine", "Pace"]


class Engine:
    """Runs one flow on the partitions that the group gives to this process."""

    def __init__(
        self,
        flow: str,
        ledger: Ledger,
        reader: Reader,
        takeover: Takeover,
        sides: SideInputs,
        connect: Callable[[], Delivery],
        join: Callable[[Callable[[list[int]], None]], Membership],
        observer: EngineObserver,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together; nothing is joined before `run`.

        Args:
            flow: its name.
            ledger: keeps what is owed to Kafka.
            reader: reads the input.
            takeover: opens partitions.
            sides: reads the side inputs.
            connect: makes a fresh delivery, fencing this process's own earlier one.
            join: joins the group, given what to call before partitions are given up.
            observer: is told what happens.
            pace: how often things happen.
            clock: monotonic seconds.
        """
        self.flow = flow
        self.pace = pace
        self.failure: BaseException | None = None
        self._ledger = ledger
        self._reader = reader
        self._takeover = takeover
        self._sides = sides
        self._connect = connect
        self._join = join
        self._membership: Membership | None = None
        self._observer = observer
        self._clock = clock
        self._stopping = False
        self._kept: dict[int, tuple[Partition, Restore]] = {}  # ours, and ready to go on
        self._let_go: set[int] = set()  # given up since they were last opened
        self._opening: list[Restore] = []
        self._held: dict[int, Run] = {}  # read, and to be rolled forward over at the next turn
        self._in_flight = 0
        self._ending = False
        self._doubt: Doubt | None = None
        self._last_commit = 0.0
        self._unflushed = False  # anything was given to the stages since the last flush
        self._last_report = 0.0
        self._without_since: float | None = None
        self._interval = pace.snapshot_interval_s
        self._backlog = Backlog(flow, observer)
        self._caught_up: list[int] = []  # partitions that went live with what is in the pipeline now

    # -- the life of the process ---------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Finish what is in hand, commit, snapshot, leave the group. Safe to call from a signal handler."""
        self._stopping = True

    def run(self, execute: Callable[[], None]) -> None:
        """Serve assignments until stopped.

        Args:
            execute: runs the dataflow once, from this engine's source to its sink, until the source ends.

        Raises:
            CannotStart, OffsetGone, KafkaException: what a restart would not mend.
        """
        self._membership = self._join(self._revoked)
        try:
            while not self._stopping:
                if self._assignment_ready():
                    execute()
                    self._after_execution()
        finally:
            self._ledger.forget()
            self._membership.close()
            self._reader.close()
            self._sides.close()

    def _assignment_ready(self) -> bool:
        """Take over what the group has given; False when there is nothing to run, or it changed meanwhile."""
        membership = self._member()
        membership.poll(0.1)
        self._observer.beat()
        if membership.lost or self._doubt is not None:
            self._reset()
        membership.changed = membership.lost = False
        ours = sorted(membership.partitions)
        self._observer.assigned(ours, ready=not ours and self._is_spare())
        if not ours:
            return False
        self._without_since = None
        try:
            if self._ledger.delivery is None:
                self._ledger.delivery = self._connect()
            opened = self._open(ours)
            if opened is None:
                return False
            self._ledger.claim(membership)
        except (Doubt, KafkaException) as error:
            log.warning("not_started_trying_again", flow=self.flow, detail=str(error))
            self._reset()
            time.sleep(BACKOFF_S)
            return False
        self._opening, self._unflushed = opened, True
        self._reader.assign({number: each.position for number, each in self._ledger.partitions.items()})
        self._sides.begin()
        self._held = {}
        self._tell_assigned()
        return True

    def _is_spare(self) -> bool:
        """Whether we have been a member without partitions for a while: such a process waits on purpose."""
        if not self._member().confirmed:
            self._without_since = None
            return False
        now = self._clock()
        self._without_since = self._without_since or now
        return now - self._without_since >= SPARE_AFTER_S

    def _open(self, ours: list[int]) -> list[Restore] | None:
        """Open what is not open yet; None when the group changed meanwhile: what is ready is kept for the next try."""
        membership, ledger = self._member(), self._ledger
        fresh = [number for number in ours if number not in self._kept]
        # Before anything that polls the group: what it takes away meanwhile must be let go in good order.
        ledger.partitions = {number: self._kept[number][0] for number in ours if number in self._kept}
        ledger.count = self._reader.partitions()
        self._sides.check(ledger.count)
        told = self._takeover.told(ledger.count)
        if fresh and ledger.delivery is not None:
            self._takeover.fence_former_owners([told.get(number) for number in fresh], ledger.delivery.owner)
        self._takeover.check_partitions(told)
        for number in fresh:
            if number not in membership.partitions:
                return None
            ledger.drop(number)
            self._let_go.discard(number)
            opened = self._takeover.open(number, self._reader, self._observer, self._beat_and_poll)
            if number not in self._let_go:
                partition = Partition.of(opened, self.flow, self._clock())
                self._kept[number] = (partition, Restore(number, opened.states, beside=opened.beside))
                ledger.partitions[number] = partition
                if partition.live:  # nothing to roll forward over
                    self._observer.restoring(number, 1.0)
            self._beat_and_poll()
            if membership.changed:
                return None
        restores = [self._kept[number][1] for number in ours]
        self._kept = {}
        return restores

    def _after_execution(self) -> None:
        if self.failure is not None:
            raise self.failure
        self._in_flight = 0
        self._ending = False
        self._caught_up = []
        if self._doubt is not None or self._member().lost:
            why = str(self._doubt or "partitions were lost")
            log.warning("starting_again_from_what_is_committed", flow=self.flow, detail=why)
            self._reset()

    def _reset(self) -> None:
        """Forget everything that is not committed."""
        self._ledger.forget()
        self._doubt = None
        self._kept = {}

    # -- the source's side ---------------------------------------------------------------------------------------------

    def pull(self) -> list[Any]:
        """The next items for the stages.

        Raises:
            StopIteration: this execution is over; `failure` says whether by an error.
        """
        if self.failure is not None:
            raise StopIteration
        if self._in_flight:
            return []
        self._beat_and_poll()
        self._unless_in_doubt(self._ledger.settle, wait=False)
        if self._ending or self._doubt is not None or self._member().lost:
            raise StopIteration
        self._tell_caught_up()
        if self._stopping or self._member().changed:
            items = self._last_items()
        else:
            items = [*self._opening, *self._next_items()]
            self._opening = []
        self._in_flight = len(items)
        return items

    def _last_items(self) -> list[Any]:
        self._ending = True
        if self._opening:  # nothing was read yet
            return []
        return [*self._ledger.last_barriers(keep=not self._stopping), Flush(self._stopping, self._ledger.live)]

    def _next_items(self) -> list[Any]:
        partitions = self._ledger.partitions
        runs = self._held or self._sides.read(
            self._reader, partitions, self.pace.batch_max, 0.0 if self._opening else self.pace.poll_s
        )
        self._held = {}
        for number, partition in partitions.items():
            if not partition.live:  # side records may be all there is to roll forward over
                runs.setdefault(number, Run())
        items: list[Any] = []
        for number, run in runs.items():
            items += self._batches(number, partitions[number], run)
        items += self._sides.due(partitions)
        now = self._clock()
        items += self._ledger.barriers(now, self._interval)
        self._unflushed = self._unflushed or bool(items or self._caught_up)
        if now - self._last_commit >= self.pace.commit_interval_s and (self._unflushed or self._ledger.dirty):
            items.append(Flush(live=self._ledger.live))
            self._last_commit, self._unflushed = now, False
        if now - self._last_report >= 1.0:
            self._report(now)
        return items

    def _batches(self, number: int, partition: Partition, run: Run) -> list[Messages | Side]:
        """Cut a run at C: what lies below is rolled forward over, muted."""
        items: list[Messages | Side] = []
        messages = run.messages
        if not partition.live:
            before = partition.position
            stretches, again = roll_forward(partition, run)
            for each in stretches:
                if isinstance(each, Entry):
                    self._observer.beat()  # the broker may be long about each
                    items.append(self._sides.again(number, each))
                else:
                    items.append(self._messages(number, each, muted=True))
            messages = run.messages
            if again:
                self._held[number] = run
            if partition.live:
                self._caught_up.append(number)
            elif partition.position > before:
                self._observer.restoring(number, 0.5 + partition.rolled_share / 2)
        if messages and partition.live and not self._sides.keep(number, partition, messages):
            items.append(self._messages(number, messages, muted=False))
            partition.position = items[-1].span.next
        return items

    def _messages(self, number: int, messages: list[Any], *, muted: bool) -> Messages:
        return batch(self._reader.topic, number, messages, muted=muted)

    # -- the sink's side -----------------------------------------------------------------------------------------------

    def push(self, items: list[Any]) -> None:
        """Take the answers, in the order of what `pull` gave out."""
        for item in items:
            self._in_flight -= 1
            self._unless_in_doubt(self._take, item)

    def fail(self, error: BaseException) -> None:
        """End this execution; `run` raises the error."""
        self.failure = error

    def _take(self, item: Any) -> None:
        if isinstance(item, Encoded):
            self._ledger.write(item)
        elif isinstance(item, Side):
            raise TypeError(f"expected the last stage to end side records of {item.topic}, it passes them on")
        elif isinstance(item, Flush):
            for each in item.encoded:
                self._ledger.write(each)
            self._unflushed = self._unflushed or bool(item.encoded)  # there may be more to say
            self._ledger.commit(self._member(), released=item.final)
            if self._ending:
                self._ledger.settle()
        elif isinstance(item, Barrier):
            if item.keep:
                partition = self._ledger.partitions[item.partition]
                self._kept[item.partition] = (partition, Restore(item.partition, {}, item.kept))
            else:
                self._ledger.store(item, self._member())

    # -- committing ----------------------------------------------------------------------------------------------------

    def _revoked(self, gone: list[int]) -> None:
        """The group takes partitions away: commit what is pending now. The pipeline is idle (see the module's text)."""
        if self._ledger.delivery is not None and self._ledger.partitions:
            ours = [number for number in gone if number in self._ledger.partitions]
            self._unless_in_doubt(self._ledger.commit, self._member(), released=True, only=ours)
            self._unless_in_doubt(self._ledger.settle)
        for number in gone:
            self._ledger.drop(number)
            self._kept.pop(number, None)
            self._let_go.add(number)
            self._observer.released(number)

    # -- small things --------------------------------------------------------------------------------------------------

    def _unless_in_doubt(self, work: Callable[..., None], *given: Any, **more: Any) -> None:
        """Do it, unless this execution is in doubt already; keep a doubt that comes of it."""
        if self._doubt is None:
            try:
                work(*given, **more)
            except Doubt as doubt:
                self._doubt = doubt
                self._observer.committed("doubt", 0.0)

    def _tell_caught_up(self) -> None:
        """Tell who is live: here, where the stages have answered all that was rolled forward over."""
        for number in self._caught_up:
            if number not in self._ledger.partitions:  # given up meanwhile
                continue
            self._ledger.partitions[number].say_live(self.flow, self._clock())
            self._observer.restoring(number, 1.0)
        if self._caught_up:
            self._caught_up = []
            self._tell_assigned()

    def _tell_assigned(self) -> None:
        ready = all(each.live for each in self._ledger.partitions.values())
        self._observer.assigned(sorted(self._ledger.partitions), ready=ready)

    def _beat_and_poll(self) -> None:
        self._observer.beat()
        self._member().poll(0.0)

    def _member(self) -> Membership:
        assert self._membership is not None, "run() joins the group"
        return self._membership

    def _report(self, now: float) -> None:
        self._last_report = now
        partitions = self._ledger.partitions
        self._interval = self._ledger.snapshots.interval(self.pace.snapshot_interval_s, partitions.values())
        lags = {}
        for number, partition in partitions.items():
            high = self._reader.high_watermark(number)
            if high >= 0:
                lags[number] = max(0, high - partition.position)
                self._observer.lag(number, lags[number], now - partition.stored_at)
        for number, topic, records in self._sides.lags(partitions):
            self._observer.side_lag(number, topic, records)
        positions = {number: partition.position for number, partition in partitions.items()}
        self._backlog.report(now, positions, lags)
