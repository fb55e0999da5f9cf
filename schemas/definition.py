"""What `tidegate experiments apply` writes on `experiments.definitions`: what is tried, and how it will be judged."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Path = Annotated[str, Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Moment = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Scalar = str | float | bool

LONGEST_S = 3_153_600_000
"""Longest window of an experiment, a hundred years: in milliseconds it fits beside any time."""


class Phase(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """From a time on, so many units are in the experiment, in these shares.

    Attributes:
        start: when it begins, milliseconds since 1970-01-01 UTC; it ends where the next begins.
        coverage: share of all units (of the namespace's part) that is in the experiment, 0 to 1.
        weights: share of the experiment's units for each variation, in their order, sum 1.
    """

    start: Moment
    coverage: Share
    weights: Annotated[tuple[Share, ...], Meta(min_length=2)]


class Metric(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One number of each unit, summed over its records within the attribution window.

    Attributes:
        name: what it is called, unique in the experiment.
        kind: `mean` (of a sum per unit), `proportion` (units with at least one record) or `ratio` (sum over sum, by the
            delta method).
        event: which records count: the `type` of an event, or the `metric` of a record on `metrics`.
        topic: where they are read from, `events` or `metrics`.
        value: dotted path of the number that is added up. Absent: on `events` each record counts 1, on `metrics` it
            counts as much as its own `value`.
        denominator_event: as `event`, for what a ratio divides by. Absent: the same records.
        denominator: as `value`, for what a ratio divides by. Absent: as without `value`.
        where: only records whose field, by dotted path, has one of these values. For a ratio it is asked of both.
        cap: a unit's sum counts as at most this, > 0. Absent: as it is.
        better: which way is good, `up` or `down`.
    """

    name: Name
    kind: Literal["mean", "proportion", "ratio"]
    event: Annotated[str, Meta(min_length=1)]
    topic: Literal["events", "metrics"] = "events"
    value: Path | None = None
    denominator_event: Annotated[str, Meta(min_length=1)] | None = None
    denominator: Path | None = None
    where: dict[str, tuple[Scalar, ...]] = {}
    cap: Positive | None = None
    better: Literal["up", "down"] = "up"


class Guardrail(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A metric that must not become worse by more than a margin; the way that is not `better` is harm.

    Attributes:
        metric: what is watched.
        margin: how much worse is borne, >= 0.
        margin_of: whether the margin is a share of the control's value (`relative`) or in the metric's own unit
            (`absolute`).
    """

    metric: Metric
    margin: Annotated[float, Meta(ge=0)]
    margin_of: Literal["relative", "absolute"] = "relative"


class Definition(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One experiment, newest version. The record's key is its id.

    Attributes:
        schema: version of this record, 1.
        id: name of the experiment, letters, digits, `.`, `_` and `-`.
        version: 1 for the first, one higher with every change.
        timestamp: when this version was applied, milliseconds since 1970-01-01 UTC.
        seed: what units are hashed with.
        variations: names of the arms, the control first.
        phases: at least one, by time.
        primary: the metric that decides.
        alpha: how often a true null may ever be rejected, > 0 and < 1.
        tuning_n: units at which the always-valid intervals are narrowest, N*.
        attribution_window_s: how long after its first exposure a unit's records count, seconds.
        minimum_run_s: how long to run before anything is shipped, seconds.
        mde: relative lift of the primary metric that the experiment shall find, > 0.
        cuped: whether the pre-declared analysis is the one adjusted by what was before exposure.
        pre_period_s: how long before exposure that is observed, seconds; 0: only what publishers give counts.
        secondary: metrics that are looked at as well, within the family.
        guardrails: metrics that may stop it.
        hash_version: 1 or 2, as in GrowthBook's SDKs.
        namespace: experiments in disjoint parts of one namespace share no unit. Absent: all units.
        namespace_first: where this experiment's part of the namespace begins, 0 to 1.
        namespace_end: where it ends, 0 to 1.
        end: from when on no unit is assigned any more, milliseconds since 1970-01-01 UTC. Absent: no end is set.
        description: what is being tried, for people.
    """

    schema: Literal[1] = field(default_factory=version_1)
    id: Name
    version: Annotated[int, Meta(ge=1)]
    timestamp: Moment
    seed: Annotated[str, Meta(min_length=1, max_length=256)]
    variations: Annotated[tuple[Name, ...], Meta(min_length=2)]
    phases: Annotated[tuple[Phase, ...], Meta(min_length=1)]
    primary: Metric
    alpha: Annotated[float, Meta(gt=0, lt=1)]
    tuning_n: Annotated[int, Meta(ge=1)]
    attribution_window_s: Annotated[int, Meta(ge=1)]
    minimum_run_s: Annotated[int, Meta(ge=0)]
    mde: Positive
    cuped: bool
    pre_period_s: Annotated[int, Meta(ge=0)] = 0
    secondary: tuple[Metric, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    hash_version: Literal[1, 2] = 2
    namespace: Name | None = None
    namespace_first: Share = 0.0
    namespace_end: Share = 1.0
    end: Moment | None = None
    description: str = ""
