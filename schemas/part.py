"""What the experiments flow writes on the internal `experiments.parts`: one partition's totals of one experiment.

The newest part of a partition stands for all before it. Parts of different partitions have no unit in common, so their
totals add up; a readout holds the newest of each.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.definition import Name

Count = Annotated[int, Meta(ge=0)]

STRATA = ("unknown", "low", "medium", "high", "critical")
"""The tier of the newest decision about a unit before its first exposure, in the order of `Part`'s strata."""

RISK = "tidegate.risk"
"""Name of the metric that stands last in a part where tiers are read: the share of units with a decision of tier high
or critical within the attribution window. No experiment may use the name."""


MOST_ARMS = 500
"""Metrics (`RISK` included) times phases times arms of one experiment, at the most: a part must fit into a record of
1 MB, and takes 352 bytes for each of these and each stratum."""


class Part(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Totals of one experiment on one partition of `exposures`. The record's key is the experiment's id.

    Arrays are bytes of little-endian float64, C order: of `matured` and `matured_low` (metrics, phases, strata, arms,
    15), as `experiments.sums.Sums` holds them; of `open` (metrics, phases, strata, arms, 3): units whose window is
    open still, and their sums of y and d so far; of `exposed`, `several` (phases, strata, arms): counts.

    Attributes:
        schema: version of this record, 1.
        experiment: the definition's id.
        version: of the definition that was applied.
        partition: of `exposures`.
        partitions: how many there are.
        timestamp: stream time, milliseconds since 1970-01-01 UTC: the latest event time that counted.
        offsets: next record of each topic that is not in these totals, by the topic's short name.
        metrics: names, the primary first, then secondary ones, guardrails, and `RISK`.
        arms: the definition's variations.
        phases: how many the definition has.
        tiers: whether risk tiers are read; if not, all units are in the stratum `unknown`.
        matured: sums of units whose attribution window is over, high parts.
        matured_low: low parts.
        open: of units whose window is open.
        exposed: units by first exposure.
        several: of these, units that were shown more than one variation.
        first_exposure: of the first unit, milliseconds since 1970-01-01 UTC. Absent: there is none.
        refused: units and records that do not count, by reason.
    """

    schema: Literal[1] = field(default_factory=version_1)
    experiment: Name
    version: Annotated[int, Meta(ge=1)]
    partition: Count
    partitions: Annotated[int, Meta(ge=1)]
    timestamp: Count
    offsets: dict[str, Count]
    metrics: tuple[str, ...]
    arms: tuple[Name, ...]
    phases: Annotated[int, Meta(ge=1)]
    tiers: bool
    matured: bytes
    matured_low: bytes
    open: bytes
    exposed: bytes
    several: bytes
    first_exposure: Count | None = None
    refused: dict[str, Count] = {}
