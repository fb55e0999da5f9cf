"""What every section of the settings is, and the sections of the flows of one stage."""

from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, ConfigDict, model_validator

from operators.accumulate.config import AccumulateConfig
from operators.explain import ExplainConfig
from operators.merge import MergeConfig
from operators.observe import ObserveConfig

SECTION = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
"""Of every section: frozen, and without keys that are not declared."""


class _Section(BaseModel):
    model_config = SECTION


class WithStore(_Section):
    """Of every flow whose state is stored where the settings say.

    Attributes:
        start: where a group that has committed nothing begins.
        snapshot_interval_s: time between snapshots of a partition's state, seconds.
        snapshot_store: an internal topic, or a directory.
        snapshot_directory: the directory, if that is the store.
    """

    start: Literal["earliest", "latest"] = "earliest"
    snapshot_interval_s: Annotated[float, Gt(0), Le(3_600)] = 10.0
    snapshot_store: Literal["topic", "directory"] = "topic"
    snapshot_directory: Path | None = None

    @model_validator(mode="after")
    def _directory_is_named(self) -> Self:
        if self.snapshot_store == "directory" and self.snapshot_directory is None:
            raise ValueError('snapshot_store = "directory" needs snapshot_directory')
        return self


class Rekey(_Section):
    """The rekey flow: a topic that is not keyed by user becomes one that is.

    Attributes:
        source: full name of the topic to read.
        target: topic to write; one of Tidegate's own gets the prefix.
        group: consumer group that divides the source's partitions among processes.
        start: where a group that has committed nothing begins.
        batch_max: most records in one batch.
        commit_interval_ms: how long records wait for their transaction, milliseconds.
    """

    source: Annotated[str, MinLen(1)] = "raw-events"
    target: Annotated[str, MinLen(1)] = "events"
    group: Annotated[str, MinLen(1)] = "tidegate.rekey"
    start: Literal["earliest", "latest"] = "earliest"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 100


class Explanations(_Section):
    """The explanations flow: what the risk flow wrote down becomes explanations.

    Attributes:
        group: consumer group that divides the partitions among processes.
        start: where a group that has committed nothing begins.
        batch_max: most records in one batch.
        commit_interval_ms: how long records wait for their transaction, milliseconds.
        explain: see `operators.explain`.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.explanations"
    start: Literal["earliest", "latest"] = "earliest"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 1_000
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 100
    explain: ExplainConfig = ExplainConfig()


class Experiments(WithStore):
    """The experiments flow: exposures and what units do become totals of experiments.

    Attributes:
        group: consumer group that divides the partitions among processes.
        batch_max: most records in one batch.
        commit_interval_ms: how long records wait for their transaction, and totals that changed until they are written,
            milliseconds.
        parts_per_commit: most totals of experiments written at once for one partition; the others wait their turn.
        events: whether the topic `events` is read, for metrics that ask for it.
        tiers: whether the topic `risk.tiers` is read, for strata and the metric `tidegate.risk`.
        side_interval_ms: least time between two readings of the topics beside `exposures`, milliseconds.
        side_batch_max: most records of one reading.
        merge_slack_s: how far one topic may be ahead of another when they are put in the order of time, seconds. Within
            it records are handed on as they lie, in larger batches; less than `accumulate.allowed_lateness_s`.
        merge_wait_s: how long a topic that is at its end holds the others back, seconds.
        observe: see `operators.observe`.
        accumulate: see `operators.accumulate`; its `tiers` is set by the one above.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.experiments"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 1_000
    parts_per_commit: Annotated[int, Ge(1), Le(10_000)] = 200
    events: bool = False
    tiers: bool = False
    side_interval_ms: Annotated[int, Gt(0), Le(60_000)] = 100
    side_batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    merge_slack_s: Annotated[float, Ge(0), Le(3_600)] = 60.0
    merge_wait_s: Annotated[float, Ge(0), Le(60)] = 2.0
    observe: ObserveConfig = ObserveConfig()
    accumulate: AccumulateConfig = AccumulateConfig()

    @model_validator(mode="after")
    def _disorder_is_borne(self) -> Self:
        if self.merge_slack_s > self.accumulate.allowed_lateness_s:
            raise ValueError(
                f"expected merge_slack_s <= accumulate.allowed_lateness_s, got {self.merge_slack_s:g} and "
                f"{self.accumulate.allowed_lateness_s}"
            )
        if self.accumulate.tiers and not self.tiers:
            raise ValueError("accumulate.tiers follows tiers: set tiers = true instead")
        return self


class Readouts(_Section):
    """The readouts flow: totals of experiments become readouts and decisions.

    Attributes:
        group: consumer group that divides the partitions among processes.
        start: where a group that has committed nothing begins.
        batch_max: most records in one batch.
        commit_interval_ms: how long decisions wait for their transaction, and parts that changed for their readout,
            milliseconds.
        snapshot_interval_s: time between snapshots of a partition's state, seconds.
        merge: see `operators.merge`.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.readouts"
    start: Literal["earliest", "latest"] = "earliest"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 500
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 1_000
    snapshot_interval_s: Annotated[float, Gt(0), Le(3_600)] = 10.0
    merge: MergeConfig = MergeConfig()
