"""Turns what the stages and the engine tell into metrics, readiness and log lines."""

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from connectors.health import Health
from connectors.logs import logger
from operators.accumulate.answers import Accumulated
from operators.accumulate.observed import Observations
from operators.batches import I64, TIERS, Decoded, Encoded, Tiered
from operators.explain import Explained
from operators.merge import Merged
from operators.metrics import Metrics
from operators.noticed import Noticed
from operators.rekey import Rekeyed
from operators.state import Measurement


class Observed:
    """The observer of one flow in one process: `operators.stage.Observer` and `connectors.engine.EngineObserver`."""

    def __init__(self, flow: str, metrics: Metrics, health: Health) -> None:
        self.flow = flow
        self._metrics = metrics
        self._health = health
        self._log = logger(flow=flow)
        self._partitions: list[int] = []
        self._progress: dict[int, float] = {}
        self._started: dict[int, float] = {}
        metrics.begin(flow)

    # -- the stages ----------------------------------------------------------------------------------------------------

    def batch(self, step: str, partition: int, batch: Any, answer: Any, seconds: float) -> None:
        """Count a live batch."""
        metrics, flow, label = self._metrics, self.flow, str(partition)
        metrics.stage_seconds.labels(flow, step).observe(seconds)
        read, rejected = batch.events, 0
        if isinstance(batch, Observations | Accumulated | Noticed):  # what could not be read passes through
            read -= len(batch.rejected)
        if isinstance(answer, Decoded | Rekeyed | Explained | Observations | Merged | Noticed):
            rejected = len(answer.rejected)
            metrics.batch_records.labels(flow).observe(read)
            for each in answer.rejected:
                metrics.records_rejected.labels(flow, step, each.reason).inc()
                self._log.debug("rejected", partition=partition, offset=each.offset, reason=each.reason)
            times = _times(answer)
            if times is not None and len(times):
                newest = float(times.max()) / 1000
                metrics.event_time_lag_seconds.labels(flow, label).set(time.time() - newest)
        if isinstance(answer, Tiered):
            counts = np.bincount(answer.tier, minlength=len(TIERS))
            for tier, count in zip(TIERS, counts, strict=True):
                if count:
                    metrics.tiers.labels(flow, tier, label).inc(int(count))
        if isinstance(answer, Encoded):
            self.flushed(partition, answer)
        metrics.records_received.labels(flow, step, label).inc(read)
        metrics.records_sent.labels(flow, step, label).inc(read - rejected)

    def flushed(self, partition: int, answer: Encoded) -> None:
        """Count audit records; all others are counted where they are read."""
        for kind in answer.audited:
            self._metrics.audit_records.labels(self.flow, kind).inc()
            self._log.info("audited", partition=partition, kind=kind)

    def measured(self, partition: int, measurements: Iterable[Measurement]) -> None:
        """Show a stage's own figures."""
        self._metrics.publish(self.flow, partition, measurements)

    def restored(self, partition: int, measurements: Iterable[Measurement]) -> None:
        """Show a restored stage's figures without counting its totals again."""
        self._metrics.adopt(self.flow, partition, measurements)

    def fresh(self, step: str, partition: int, *, mismatch: bool) -> None:
        """Say that a stage starts warming."""
        if mismatch:
            self._log.warning(
                "stage_starts_empty", partition=partition, stage=step, detail="its configuration has changed"
            )

    # -- the engine ----------------------------------------------------------------------------------------------------

    def committed(self, outcome: str, seconds: float) -> None:
        """Count a transaction."""
        self._metrics.transactions.labels(self.flow, outcome).inc()
        if outcome == "committed":
            self._metrics.commit_seconds.labels(self.flow).observe(seconds)

    def snapshot(self, partition: int, size: int, written: int, seconds: float) -> None:
        """Show a stored snapshot."""
        self._metrics.snapshot_seconds.labels(self.flow).observe(seconds)
        self._metrics.snapshot_bytes.labels(self.flow, str(partition)).set(size)
        self._metrics.snapshot_written.labels(self.flow).inc(written)
        self._metrics.snapshot_age_seconds.labels(self.flow, str(partition)).set(0)

    def snapshot_failed(self) -> None:
        """Count a snapshot that could not be stored."""
        self._metrics.snapshot_failures.labels(self.flow).inc()

    def snapshot_cost(self, share: float) -> None:
        """Show what snapshots cost."""
        self._metrics.snapshot_cost_ratio.labels(self.flow).set(share)

    def backlog(self, share: float) -> None:
        """Show how far catching up is."""
        self._metrics.backlog_progress_ratio.labels(self.flow).set(share)

    def restoring(self, partition: int, share: float) -> None:
        """Show how far a restore is; 1 means live."""
        self._metrics.restore_progress_ratio.labels(self.flow, str(partition)).set(share)
        self._started.setdefault(partition, time.monotonic())
        self._progress[partition] = share
        if share >= 1:
            self._metrics.restore_seconds.labels(self.flow).observe(time.monotonic() - self._started.pop(partition))
        self._say_ready(all(self._progress.get(each, 0.0) >= 1 for each in self._partitions))

    def replayed(self, partition: int, records: int) -> None:
        """Count records rolled forward over."""
        self._metrics.replayed_records.labels(self.flow, str(partition)).inc(records)

    def side(self, partition: int, topic: str, records: int, reasons: Iterable[str]) -> None:
        """Count records of a side topic."""
        self._metrics.side_records.labels(self.flow, topic, str(partition)).inc(records)
        for reason in reasons:
            self._metrics.side_records_rejected.labels(self.flow, topic, reason).inc()

    def side_lag(self, partition: int, topic: str, records: int) -> None:
        """Show how far behind a side topic a partition is."""
        self._metrics.side_lag_records.labels(self.flow, topic, str(partition)).set(records)

    def lag(self, partition: int, records: int, snapshot_age_s: float) -> None:
        """Show how far behind a partition is."""
        self._metrics.lag_records.labels(self.flow, str(partition)).set(records)
        self._metrics.snapshot_age_seconds.labels(self.flow, str(partition)).set(snapshot_age_s)

    def assigned(self, partitions: Iterable[int], *, ready: bool) -> None:
        """Show what this process owns."""
        now = sorted(partitions)
        if now != self._partitions:
            self._metrics.rebalances.labels(self.flow).inc()
            self._log.info("assigned", partitions=now)
        self._partitions = now
        if ready:
            for each in now:
                self._progress[each] = 1.0
                self._started.pop(each, None)
                self._metrics.restore_progress_ratio.labels(self.flow, str(each)).set(1)
        self._metrics.assigned_partitions.labels(self.flow).set(len(now))
        self._say_ready(ready)

    def released(self, partition: int) -> None:
        """Remove a partition's series."""
        self._progress.pop(partition, None)
        self._started.pop(partition, None)
        self._metrics.forget(self.flow, partition)

    def beat(self) -> None:
        """The loop is turning."""
        self._health.beat()

    def _say_ready(self, ready: bool) -> None:  # noqa: FBT001  a state
        shares = {str(each): round(self._progress.get(each, 0.0), 3) for each in self._partitions}
        waiting = "spare: no partition assigned" if ready else "joining the group"
        self._health.ready(ready, {"partitions": shares} if shares else waiting)


def _times(answer: Any) -> I64 | None:
    """Return the times of the records that a first stage could read, epoch milliseconds."""
    if isinstance(answer, Decoded):
        return answer.time_ms
    if isinstance(answer, Noticed):
        return answer.rows.time_ms
    return answer.observed.time_ms if isinstance(answer, Observations) else None
