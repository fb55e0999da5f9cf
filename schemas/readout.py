"""What Tidegate writes on `experiments.readouts`: the newest statistics of one experiment."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.definition import Name

Count = Annotated[int, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Role = Literal["primary", "secondary", "guardrail", "risk"]
State = Literal["warming", "ready", "changing"]


class Interval(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Both ends; absent: without an end on that side, or not known.

    Attributes:
        lower: lower end.
        upper: upper end.
    """

    lower: float | None = None
    upper: float | None = None


class Estimate(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One analysis of one pair of arms, variation minus control. Numbers are rounded to 6 significant digits.

    Attributes:
        difference: of the means, in the metric's unit. Absent: not known.
        lift: as a share of the control's mean. Absent: the control's mean is not above 0.
        fixed: of the difference, valid at one look that was chosen beforehand.
        fixed_lift: of the lift, likewise.
        always: of the difference, valid at all looks together.
        always_lift: of the lift, likewise (Fieller).
        running: intersection of all `always` since the burn-in; of a changing effect both ends have crossed.
        running_lift: likewise, of `always_lift`.
        fixed_p: two-sided, valid at one look.
        log_e: ln of the e-value of no difference, now.
        p: anytime-valid: smallest 1/e so far, at most 1.
    """

    difference: float | None = None
    lift: float | None = None
    fixed: Interval = Interval()
    fixed_lift: Interval = Interval()
    always: Interval = Interval()
    always_lift: Interval = Interval()
    running: Interval = Interval()
    running_lift: Interval = Interval()
    fixed_p: Probability | None = None
    log_e: float | None = None
    p: Probability | None = None


class Arm(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What is known of one arm.

    Attributes:
        variation: its name.
        units: whose attribution window is over.
        mean: of the metric over these, phases put together by their units. Absent: none, or nothing to divide by.
        exposed: units by first exposure, open windows included.
        preliminary_mean: over all of these, as far as their windows went. No verdict is made of it.
    """

    variation: Name
    units: Count
    mean: float | None = None
    exposed: Count
    preliminary_mean: float | None = None


class Stratum(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The same comparison among some units only.

    Attributes:
        name: `low` (tiers low and medium before exposure), `risky` (high and critical), `unknown` (no tier), or
            `without_risky` (all but high and critical).
        control: units of the control whose window is over.
        units: of the variation.
        estimate: the declared analysis. Absent: too few units.
    """

    name: Literal["unknown", "low", "risky", "without_risky"]
    control: Count
    units: Count
    estimate: Estimate | None = None


class Comparison(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One metric, one variation against the control.

    Attributes:
        metric: name.
        role: of the metric.
        kind: `mean`, `proportion` or `ratio`.
        better: which way is good.
        control: the first arm.
        arm: the other.
        state: `warming`: the burn-in is not over; `changing`: no single effect is in all intervals so far.
        missing: what the burn-in lacks, by name (`units`, `conversions`, `effective_units`; `spread`: all values are
            the same), of the arm that lacks most. Absent: nothing.
        unadjusted: without the covariate.
        adjusted: with what was before exposure taken out (CUPED). Absent: nothing is known of before.
        variance_saved: share of the variance that the covariate takes away. Absent: no covariate.
        bonferroni: p of the declared analysis over the family (primary and secondary metrics, all variations).
        holm: likewise, stepping down.
        e_bh: whether e-BH at alpha takes it for a discovery now, over the family.
        margin: of a guardrail, in the unit of `bound`: as a share of the control's mean, or absolute.
        margin_of: `relative` or `absolute`. Absent: no guardrail.
        bound: one-sided always-valid bound on harm, now: so much worse it is at most. Absent: not known.
        bound_harm: likewise the other way, the greatest so far: so much worse it is at least. Above the margin, or of
            the risk metric above 0, harm is shown.
        held: whether `bound` is inside the margin.
        strata: the same by tier before exposure. Absent: no tiers are read.
        interaction_p: anytime-valid, of no difference of the lift between `low` and `risky` units. Absent: not known.
        deciding: of the primary metric: as `running` of the declared analysis, at alpha over the number of variations.
            It decides. Absent: not the primary, or not known yet.
    """

    metric: str
    role: Role
    kind: Literal["mean", "proportion", "ratio"]
    better: Literal["up", "down"]
    control: Arm
    arm: Arm
    state: State
    missing: dict[str, float] = {}
    unadjusted: Estimate | None = None
    adjusted: Estimate | None = None
    variance_saved: float | None = None
    bonferroni: Probability | None = None
    holm: Probability | None = None
    e_bh: bool = False
    margin: float | None = None
    margin_of: Literal["relative", "absolute"] | None = None
    bound: float | None = None
    bound_harm: float | None = None
    held: bool = False
    strata: tuple[Stratum, ...] = ()
    interaction_p: Probability | None = None
    deciding: Interval | None = None


class SampleRatio(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Whether units came to the arms in the declared shares.

    Attributes:
        stratum: whose units: `all`, or a stratum of the tier before exposure.
        counts: units by arm.
        expected: by arm, by the weights of the phases in which they came.
        p: anytime-valid, smallest so far: multinomial-Dirichlet Bayes factors of the phases multiplied. It starts at 1,
            which says that there is no evidence.
        chi_squared_p: valid at one look; over phases and arms of weight above 0. Absent: nothing to test.
        alarm: whether `p` went below the limit, or more units came to arms of weight 0 than caches leave over.
        stray: units in arms of weight 0.
    """

    stratum: Literal["all", "unknown", "low", "risky"]
    counts: tuple[Count, ...]
    expected: tuple[float, ...]
    p: Probability
    chi_squared_p: Probability | None = None
    alarm: bool
    stray: Count = 0


class Look(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One earlier look at the primary metric, for plots.

    Attributes:
        timestamp: stream time, milliseconds since 1970-01-01 UTC.
        units: of all arms, with windows over.
        lifts: by variation other than the control. Absent values: not known.
        always: always-valid interval of each lift.
        fixed: fixed interval of each.
        srm_p: anytime-valid p of the sample ratio.
    """

    timestamp: Count
    units: Count
    lifts: tuple[float | None, ...]
    always: tuple[Interval, ...]
    fixed: tuple[Interval, ...]
    srm_p: Probability


class Readout(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The newest statistics of one experiment. The record's key is the experiment's id, its time the stream time.

    Attributes:
        schema: version of this record, 1.
        experiment: the definition's id.
        version: of the definition.
        timestamp: stream time, milliseconds since 1970-01-01 UTC: the latest event time in any part.
        alpha: of the definition.
        cuped: whether the declared analysis is the adjusted one.
        offsets: next record of each topic that is not in here, by topic, then by partition of `exposures`.
        partitions: whose parts are in here.
        first_exposure: milliseconds since 1970-01-01 UTC. Absent: no unit yet.
        tiers: whether risk tiers were read; if not, the checks of strata and of risk are off.
        comparisons: metrics in the definition's order, within each the variations in their order.
        sample_ratio: all units first, then strata.
        several: share of units that were shown more than one variation.
        refused: units and records that did not count, by reason.
        looks: earlier looks, oldest first, evenly thinned; at most 120.
    """

    schema: Literal[1] = field(default_factory=version_1)
    experiment: Name
    version: Annotated[int, Meta(ge=1)]
    timestamp: Count
    alpha: float
    cuped: bool
    offsets: dict[str, dict[str, Count]]
    partitions: tuple[Count, ...]
    first_exposure: Count | None = None
    tiers: bool
    comparisons: tuple[Comparison, ...]
    sample_ratio: tuple[SampleRatio, ...]
    several: float = 0.0
    refused: dict[str, Count] = {}
    looks: tuple[Look, ...] = ()
