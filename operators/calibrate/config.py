"""Settings of the calibrate stage, and what of it is told."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """Settings of the calibrate stage.

    Attributes:
        half_life: scores after which a score counts half, at least 1000.
        refresh: scores between two tables of tails, and per block of the correction, the charts and ADWIN; at least 1.
        warmup: scores before there is a tail, at least 1.
        drift_window: scores per window of the stability indices, at least 100.
        level: the share of events at which the correction is learnt and rates are watched, between 0 and 1; the budget
            of medium is a good choice.
        adapt_events: time constant of the correction in scores, at least 1000.
        max_rise_nats_per_hour: the most by which any tail may be raised above where it stood when the hour of event
            time began, in log odds, above 0.
        settle_s: event time after the first table within which nothing limits a rise, at least 0: windows of a day are
            filling.
        max_hold_s: event time after which busy users teach again though their burst goes on, seconds, at least 1.
        drift_delta: confidence of ADWIN, between 0 and 1: smaller is slower and quieter.
        drift_keep: scores that the histogram weighs after a drift, at least 100.
        drift_action: `recalibrate` forgets down to `drift_keep` on a drift of the scores; `record` only tells.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    half_life: Annotated[int, Ge(1000)] = 100_000
    refresh: Annotated[int, Gt(0)] = 500
    warmup: Annotated[int, Gt(0)] = 1000
    drift_window: Annotated[int, Ge(100)] = 10_000
    level: Annotated[float, Gt(0), Lt(1)] = 0.01
    adapt_events: Annotated[int, Ge(1000)] = 20_000
    max_rise_nats_per_hour: Annotated[float, Gt(0), Le(1e6)] = 0.5
    settle_s: Annotated[int, Ge(0)] = 24 * 3600
    max_hold_s: Annotated[int, Gt(0)] = 2 * 3600
    drift_delta: Annotated[float, Gt(0), Lt(1)] = 0.002
    drift_keep: Annotated[int, Ge(100)] = 10_000
    drift_action: Literal["recalibrate", "record"] = "recalibrate"


@dataclass(frozen=True, slots=True)
class ProbabilityConfig:
    """Whether and how labels make a probability of fraud out of a tail.

    Attributes:
        enabled: whether events are remembered for their labels, and decisions have a probability once there are enough.
        method: `isotonic` or `beta`, see `operators.calibrate.maps`.
        unlabelled: what an event without a label says: `legit` that it was, once it is `wait_s` old; `ignore` nothing.
        wait_s: event time after which an event teaches what was said of it by then, seconds, at least 1; with `legit`
            alone. Longer than nearly all labels take.
        sample_share: share of the events beyond the medium budget that is remembered, above 0, at most 1; each counts
            for 1 / share.
        max_remembered: events remembered per partition, 2 to 2^24, half of them for those within the medium budget; at
            most 43 bytes each.
        half_life: scores after which a label counts half, at least 1000.
        min_fraud: labels of fraud, and of legit, that there must be before there is a probability, at least 1.
        min_labels: labels of both kinds that there must be, at least 2.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    enabled: bool = False
    method: Literal["isotonic", "beta"] = "isotonic"
    unlabelled: Literal["legit", "ignore"] = "legit"
    wait_s: Annotated[int, Ge(1)] = 604_800
    sample_share: Annotated[float, Gt(0), Le(1)] = 0.05
    max_remembered: Annotated[int, Ge(2), Le(1 << 24)] = 200_000
    half_life: Annotated[int, Ge(1000)] = 1_000_000
    min_fraud: Annotated[int, Ge(1)] = 50
    min_labels: Annotated[int, Ge(2)] = 1_000


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """Which changes are worth an audit record. They are looked for once per drift window, and reach no result.

    Attributes:
        drift_limit: stability index above which drift is said to begin.
        drift_end: stability index below which it is said to have ended; under `drift_limit`, so that an index that
            stays near one limit is told once. Below 0.1 stable and above 0.25 shifted is the usual reading.
        threshold_factor: thresholds are told anew when the tail of one told last is more than this factor away from its
            budget.
    """

    drift_limit: float = 0.25
    drift_end: float = 0.1
    threshold_factor: float = 2.0
