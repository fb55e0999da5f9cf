"""Every metric Tidegate shows; those of experiments and ranking are in `metrics_of_experiments`, `metrics_of_ranking`.

Grammar: `tidegate_<thing>_<unit>[_total]`. Labels come from `LABELS` alone, and none of their values is taken from
input, so the number of series is bounded by the number of partitions. Durations are in seconds, times are event time
in seconds since 1970, sizes are in bytes, shares lie in [0, 1].

Metrics are touched once per batch or once per second, never once per event.
"""

import contextlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from operators.metrics_of_experiments import OF_EXPERIMENTS
from operators.metrics_of_ranking import OF_RANKING
from operators.state import Measurement

LABELS = frozenset(
    {
        "decision",
        "flag",
        "flow",
        "group",
        "kind",
        "outcome",
        "part",
        "partition",
        "python",
        "reason",
        "source",
        "stage",
        "step",
        "tier",
        "topic",
        "version",
    }
)
"""Every label there is. `decision` is an experiment's, `group` one of items or users as the settings name it, `kind`
belongs to audit records, `outcome` to transactions and to labels, `part` is one of a list, `step` is one after a
ranker, `python` belongs to `tidegate_build_info`, `version` to it and to rankers."""

OUTCOMES = ("committed", "aborted", "doubt")
"""Ways a transaction ends; `doubt` means that nobody can tell, and the task starts over."""

AUDIT_KINDS = {
    "risk": ("configuration", "model", "threshold", "drift"),
    "experiments": ("configuration", "experiment"),
    "readouts": ("configuration", "decision", "sample_ratio"),
    "interactions": ("configuration",),
    "signals": ("configuration",),
    "ranking": ("configuration", "model", "uplift", "fairness"),
}
"""What flows write on `audit`."""

PER_PARTITION = ("flow", "partition")

STAGE_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds of a stage's time per batch: 2,000 events of 1 to 5 us are 2 to 10 ms."""

COMMIT_SECONDS = (1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of a commit or snapshot: 3 ms on one local broker, 20 ms on a cluster, 10 s is the transaction time-out."""

RESTORE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

BATCH_RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Metrics:
    """The metrics of one process.

    Args:
        registry: where they are registered. One registry holds one `Metrics`.
        release: shown by `tidegate_build_info`.

    Attributes:
        registry: the registry given.
        declared: each metric's name as written in queries -> its label names.
    """

    def __init__(self, registry: CollectorRegistry, release: str = "unknown") -> None:
        self.registry = registry
        self.declared: dict[str, tuple[str, ...]] = {}
        self._published: dict[str, Counter | Gauge] = {}
        self._totals: dict[tuple[str, int], dict[tuple[str, tuple[str, ...]], float]] = {}
        counter, gauge, histogram = self._counter, self._gauge, self._histogram

        # Records through the stages: received = sent + rejected, for every stage.
        self.records_received = counter(
            "tidegate_records_received_total", "Records a stage was given.", "flow", "stage", "partition"
        )
        self.records_sent = counter(
            "tidegate_records_sent_total", "Records a stage handed on.", "flow", "stage", "partition"
        )
        self.records_rejected = counter(
            "tidegate_records_rejected_total", "Records a stage sent to dead-letters.", "flow", "stage", "reason"
        )
        self.replayed_records = counter(
            "tidegate_replayed_records_total", "Records read again, outputs muted, to restore state.", *PER_PARTITION
        )
        self.side_records = counter(
            "tidegate_side_records_total", "Records of a side topic that were applied.", "flow", "topic", "partition"
        )
        self.side_records_rejected = counter(
            "tidegate_side_records_rejected_total",
            "Records of a side topic sent to dead-letters.",
            "flow",
            "topic",
            "reason",
        )
        self.batch_records = histogram("tidegate_batch_records", "Records in one batch.", BATCH_RECORDS, "flow")
        self.stage_seconds = histogram(
            "tidegate_stage_seconds", "Time of one stage on one batch.", STAGE_SECONDS, "flow", "stage"
        )

        # How far behind.
        self.lag_records = gauge(
            "tidegate_lag_records", "Records between the committed offset and the end of the partition.", *PER_PARTITION
        )
        self.side_lag_records = gauge(
            "tidegate_side_lag_records",
            "Records between the last one applied and the end of a side topic's partition.",
            "flow",
            "topic",
            "partition",
        )
        self.event_time_lag_seconds = gauge(
            "tidegate_event_time_lag_seconds", "Wall clock minus the newest committed event time.", *PER_PARTITION
        )
        self.stream_time_seconds = gauge(
            "tidegate_stream_time_seconds", "Stream time: the newest event time that counts.", *PER_PARTITION
        )

        # Delivery.
        self.transactions = counter("tidegate_transactions_total", "Transactions by outcome.", "flow", "outcome")
        self.commit_seconds = histogram(
            "tidegate_commit_seconds", "Time to flush and commit one transaction.", COMMIT_SECONDS, "flow"
        )
        self.rebalances = counter(
            "tidegate_rebalances_total", "Times the group changed what this process owns.", "flow"
        )
        self.assigned_partitions = gauge("tidegate_assigned_partitions", "Partitions this process owns.", "flow")

        # Snapshots and restore.
        self.snapshot_seconds = histogram(
            "tidegate_snapshot_seconds", "Time to dump and write one snapshot.", COMMIT_SECONDS, "flow"
        )
        self.snapshot_age_seconds = gauge(
            "tidegate_snapshot_age_seconds", "Time since the newest stored snapshot.", *PER_PARTITION
        )
        self.snapshot_bytes = gauge(
            "tidegate_snapshot_bytes", "Size of the state at the newest stored snapshot.", *PER_PARTITION
        )
        self.snapshot_written = counter(
            "tidegate_snapshot_written_bytes_total",
            "Bytes written for snapshots: what changed, and a slice.",
            "flow",
        )
        self.snapshot_failures = counter(
            "tidegate_snapshot_failures_total", "Snapshots that could not be stored; the flow goes on without.", "flow"
        )
        self.snapshot_cost_ratio = gauge(
            "tidegate_snapshot_cost_ratio", "Share of the process's time that snapshots take, at most 0.05.", "flow"
        )
        self.backlog_progress_ratio = gauge(
            "tidegate_backlog_progress_ratio",
            "Share of a large backlog that is answered; 1: there is none.",
            "flow",
        )
        self.restore_progress_ratio = gauge(
            "tidegate_restore_progress_ratio", "Share of the restore that is done; 1 once live.", *PER_PARTITION
        )
        self.restore_seconds = histogram(
            "tidegate_restore_seconds", "Time from owning a partition to being live.", RESTORE_SECONDS, "flow"
        )

        # Decode and featurize: what is held, and what had to go.
        self.pseudonym_cache_hits = counter(
            "tidegate_pseudonym_cache_hits_total", "Pseudonyms found in the cache.", *PER_PARTITION
        )
        self.pseudonym_cache_misses = counter(
            "tidegate_pseudonym_cache_misses_total", "Pseudonyms that had to be hashed.", *PER_PARTITION
        )
        self.entities = gauge("tidegate_entities", "Users with state.", *PER_PARTITION)
        self.entities_evicted = counter(
            "tidegate_entities_evicted_total", "Users whose state had to go.", *PER_PARTITION
        )
        self.dedup_entries = gauge("tidegate_dedup_entries", "Event ids remembered against duplicates.", *PER_PARTITION)
        self.dedup_evicted = counter(
            "tidegate_dedup_evicted_total", "Event ids forgotten before their window ended.", *PER_PARTITION
        )
        self.events_flagged = counter(
            "tidegate_events_flagged_total", "Events answered without effect on state.", *PER_PARTITION, "flag"
        )

        # Score, calibrate, tier.
        self.forest_warm = gauge("tidegate_forest_warm", "1 once the forest scores, 0 while warming.", *PER_PARTITION)
        self.events_held = counter(
            "tidegate_events_held_total", "Events too unusual to teach the models.", *PER_PARTITION
        )
        self.forest_relearning = gauge(
            "tidegate_forest_relearning", "1 while so many events are held that a shadow forest learns.", *PER_PARTITION
        )
        self.forests_relearned = counter(
            "tidegate_forests_relearned_total", "Times a shadow forest took over.", *PER_PARTITION
        )
        self.threshold_score = gauge(
            "tidegate_threshold_score", "Lowest score that reaches the tier.", *PER_PARTITION, "tier"
        )
        self.alert_rate = gauge(
            "tidegate_alert_rate", "Share of recent events at or above the tier.", *PER_PARTITION, "tier"
        )
        self.alert_budget = gauge(
            "tidegate_alert_budget", "Share of events the tier may hold, as configured.", *PER_PARTITION, "tier"
        )
        self.score_drift_psi = gauge(
            "tidegate_score_drift_psi", "Population stability index of recent scores.", *PER_PARTITION
        )
        self.threshold_shift_nats = gauge(
            "tidegate_threshold_shift_nats", "Correction that holds the alert rates under drift.", *PER_PARTITION
        )
        self.threshold_rise_limited = gauge(
            "tidegate_threshold_rise_limited", "1 while a threshold may not rise as far as it would.", *PER_PARTITION
        )
        self.teaching_held = gauge(
            "tidegate_teaching_held", "1 while a burst of few users teaches the thresholds nothing.", *PER_PARTITION
        )
        self.rate_out_of_control = gauge(
            "tidegate_rate_out_of_control", "1 while the control chart finds alerts over budget.", *PER_PARTITION
        )
        self.score_drifts = counter(
            "tidegate_score_drifts_total", "Changes of the scores' level that ADWIN found.", *PER_PARTITION
        )
        self.feature_drift_psi = gauge(
            "tidegate_feature_drift_psi", "Largest population stability index of a feature.", *PER_PARTITION
        )
        self.features_shifted = gauge(
            "tidegate_features_shifted", "Features whose stability index is over the limit.", *PER_PARTITION
        )
        self.labels = counter("tidegate_labels_total", "Labels by what became of them.", *PER_PARTITION, "outcome")
        self.remembered_events = gauge(
            "tidegate_remembered_events", "Events remembered for their labels.", *PER_PARTITION
        )
        self.remembered_unripe = counter(
            "tidegate_remembered_unripe_total",
            "Events forgotten before their wait for a label was over.",
            *PER_PARTITION,
        )
        self.probability_ready = gauge(
            "tidegate_probability_ready", "1 once there are enough labels for probabilities.", *PER_PARTITION
        )
        self.probability_brier_score = gauge(
            "tidegate_probability_brier_score", "Mean squared error of the probabilities given.", *PER_PARTITION
        )
        self.probability_calibration_error = gauge(
            "tidegate_probability_calibration_error",
            "Expected calibration error of the probabilities given.",
            *PER_PARTITION,
        )
        self.tiers = counter("tidegate_tiers_total", "Decisions by tier.", "flow", "tier", "partition")
        self.standings = gauge("tidegate_standings", "Users whose standing is remembered.", *PER_PARTITION)
        self.standings_evicted = counter(
            "tidegate_standings_evicted_total", "Users whose standing had to go.", *PER_PARTITION
        )

        # Of experiments and of ranking: nobody but `publish` touches them.
        for name, about, *labels in (*OF_EXPERIMENTS, *OF_RANKING):
            (counter if name.endswith("_total") else gauge)(name, about, *PER_PARTITION, *labels)

        # The audit trail.
        self.audit_records = counter("tidegate_audit_records_total", "Audit records by kind.", "flow", "kind")
        self.audit_sequence = gauge(
            "tidegate_audit_sequence", "Place of the next record in the partition's audit chain.", *PER_PARTITION
        )

        # The process.
        self.ready = gauge("tidegate_ready", "1 while /readyz says 200.")
        self.heartbeat_age_seconds = gauge("tidegate_heartbeat_age_seconds", "Time since the main loop last beat.")
        self.build_info = gauge("tidegate_build_info", "Always 1; what runs is in the labels.", "version", "python")
        self.build_info.labels(release, platform.python_version()).set(1)

    def begin(self, flow: str) -> None:
        """Show a flow's own counters at 0: Prometheus cannot see the first step of a series that is born at 1."""
        for outcome in OUTCOMES:
            self.transactions.labels(flow, outcome)
        for kind in AUDIT_KINDS.get(flow, ()):
            self.audit_records.labels(flow, kind)
        self.rebalances.labels(flow)

    def publish(self, flow: str, partition: int, measurements: Iterable[Measurement]) -> None:
        """Show what the stages of one partition measured.

        A counter is given as the stage's absolute total and raised by the difference to the last one; a total that
        fell belongs to a new state, which began at 0. One thread at a time may publish for one partition.

        Raises:
            ValueError: a name that is not declared here or is a histogram's, or labels that are not its own.
        """
        last = self._totals.setdefault((flow, partition), {})
        for name, value, extra in measurements:
            metric, labels = self._find(name, flow, partition, extra)
            if isinstance(metric, Gauge):
                metric.labels(*labels).set(value)
                continue
            before = last.get((name, labels), 0.0)
            metric.labels(*labels).inc(value - before if value >= before else value)
            last[name, labels] = value

    def adopt(self, flow: str, partition: int, measurements: Iterable[Measurement]) -> None:
        """Take restored totals as already counted, by the owner before: `publish` adds only what comes after.

        Without it a partition that moves would be counted by both owners.

        Raises:
            ValueError: as `publish`.
        """
        last = self._totals.setdefault((flow, partition), {})
        for name, value, extra in measurements:
            metric, labels = self._find(name, flow, partition, extra)
            if isinstance(metric, Gauge):
                metric.labels(*labels).set(value)
                continue
            metric.labels(*labels)  # the series exists from now on
            last[name, labels] = value

    def forget(self, flow: str, partition: int) -> None:
        """Remove every series of a partition that is handed over; nothing happens if there is none."""
        self._totals.pop((flow, partition), None)
        for name, metric in self._published.items():
            labels = self.declared[name]
            if "partition" not in labels:
                continue
            samples = [sample for family in metric.collect() for sample in family.samples]
            for sample in samples:
                if sample.labels["flow"] == flow and sample.labels["partition"] == str(partition):
                    with contextlib.suppress(KeyError):  # a counter may show two samples of one series
                        metric.remove(*(sample.labels[label] for label in labels))

    def _find(
        self, name: str, flow: str, partition: int, extra: dict[str, str]
    ) -> tuple[Counter | Gauge, tuple[str, ...]]:
        metric = self._published.get(name)
        if metric is None:
            raise ValueError(f"expected a counter or gauge of operators.metrics, got {name}")
        given = {"flow": flow, "partition": str(partition), **extra}
        names = self.declared[name]
        needless = given.keys() - set(names) - set(PER_PARTITION)
        missing = set(names) - given.keys()
        if needless or missing:
            raise ValueError(f"expected labels {', '.join(names)}, got {', '.join(given)} - at {name}")
        return metric, tuple(given[label] for label in names)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        metric = Counter(name, text, labels, registry=self.registry)
        self._declare(name, labels)
        self._published[name] = metric
        return metric

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        metric = Gauge(name, text, labels, registry=self.registry)
        self._declare(name, labels)
        self._published[name] = metric
        return metric

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
        metric = Histogram(name, text, labels, registry=self.registry, buckets=bounds)
        self._declare(name, labels)
        return metric

    def _declare(self, name: str, labels: tuple[str, ...]) -> None:
        if not LABELS.issuperset(labels):
            raise ValueError(f"expected labels out of {', '.join(sorted(LABELS))}, got {', '.join(labels)} - at {name}")
        self.declared[name] = labels


def installed() -> str:
    """Return the version of Tidegate that is installed, `unknown` where it runs from its sources alone."""
    try:
        return version("tidegate")
    except PackageNotFoundError:
        return "unknown"


@cache
def default() -> Metrics:
    """Return the process's own metrics, on prometheus_client's default registry (which adds process and gc metrics)."""
    # They double the series and say nothing that a reset does not.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return Metrics(REGISTRY, installed())
