"""What every section of the settings is, and the sections of the flows of one stage."""

from typing import Annotated, Literal

from annotated_types import Gt, Le, MinLen
from pydantic import BaseModel, ConfigDict

from operators.explain import ExplainConfig

SECTION = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
"""Of every section: frozen, and without keys that are not declared."""


class _Section(BaseModel):
    model_config = SECTION


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
