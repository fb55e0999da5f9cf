"""What `tidegate experiments uplift` writes on `uplift`: how much more a variation does for some units than for all."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.definition import Name

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Ranking(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """How good the predictions are by which units were ranked. No unit was predicted by a model that saw it.

    Each area names its convention (docs/uplift.md). Absent: the convention has none for these outcomes.

    Attributes:
        folds: into which units were cut.
        trees: of each model.
        seed: of folds and models.
        qini_perfect_normalised: area between Qini curve and chance, as a share of the perfect one's; 0 is chance.
        auuc_perfect_normalised: likewise, of the uplift curve; for outcomes of 0 and 1.
        qini_causalml: mean height of the Qini curve above chance, in the metric's unit, summed over units.
        qini_causalml_normalised: likewise, as a share of the size of the curve's end.
        auuc_causalml_normalised: mean height of the uplift curve, as a share of the size of its end; 0.5 is chance.
        chance_p: share of random rankings with a `qini_perfect_normalised` at least as large.
        slope: of effects over predictions, by decile; 1 is calibrated. Absent: not known.
        slope_lower: of its interval.
        slope_upper: likewise.
        importance: share of the gain of all splits, by attribute.
        left_out: attributes that were not used, by name.
    """

    folds: Annotated[int, Meta(ge=2)]
    trees: Annotated[int, Meta(ge=1)]
    seed: Count
    qini_perfect_normalised: float | None = None
    auuc_perfect_normalised: float | None = None
    qini_causalml: float | None = None
    qini_causalml_normalised: float | None = None
    auuc_causalml_normalised: float | None = None
    chance_p: Share | None = None
    slope: float | None = None
    slope_lower: float | None = None
    slope_upper: float | None = None
    importance: dict[str, Share] = {}
    left_out: tuple[str, ...] = ()


class Uplift(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The effect of one variation on one segment of units. The record's key is `experiment/segment`.

    Attributes:
        schema: version of this record, 1.
        experiment: the definition's id.
        version: of the definition.
        timestamp: time of the newest record that counted, milliseconds since 1970-01-01 UTC; also the record's time.
        segment: `variation/all`, or `variation/decile-1` to `variation/decile-10`, the first with the highest
            predicted uplift.
        variation: what is compared with the control.
        control: the definition's first variation.
        metric: the primary metric's name.
        better: which way is good.
        treated: units with the variation.
        controls: units without.
        control_mean: of the metric. Absent: there are no controls.
        effect: difference of means, variation minus control, in the metric's unit. Absent: not known.
        lower: of its interval, valid at one look. Absent: not known.
        upper: likewise.
        level: share of intervals that hold the truth.
        predicted: mean of predicted uplift. Absent: the segment is empty.
        ranking: of the predictions; in `variation/all` only.
    """

    schema: Literal[1] = field(default_factory=version_1)
    experiment: Name
    version: Annotated[int, Meta(ge=1)]
    timestamp: Count
    segment: Annotated[str, Meta(min_length=1)]
    variation: Name
    control: Name
    metric: str
    better: Literal["up", "down"]
    treated: Count
    controls: Count
    control_mean: float | None = None
    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    level: Share
    predicted: float | None = None
    ranking: Ranking | None = None
