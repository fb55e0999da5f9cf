"""What Tidegate writes on `ranking.signals`: what users do with one item, as of now."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.item import Field, ItemId

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=0)]


class Window(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One item over the time just gone by.

    What is `weighted` counts each user with the weight of his risk: one of weight 0 moves nothing. Rates are drawn
    towards that of all items (docs/ranking.md); absent: nothing to draw towards yet.

    Attributes:
        window_s: how long, in seconds.
        impressions: how often it was shown.
        clicks: how often it was clicked.
        purchases: how often it was bought.
        weighted_impressions: likewise, weighted.
        weighted_clicks: likewise.
        weighted_purchases: likewise.
        click_rate: clicks by impressions.
        purchase_rate: purchases by clicks.
        debiased_rate: clicks over their chance to be seen, by impressions.
        weighted_click_rate: likewise, weighted.
        weighted_purchase_rate: likewise.
        weighted_debiased_rate: likewise.
        risky_share: of its clicks and purchases, those of users of high or critical risk. Absent: there was none.
        risky_impression_share: of its impressions, likewise.
        exposure_share: of the impressions of all items, its own. Absent: nothing was shown.
    """

    window_s: Annotated[int, Meta(ge=1)]
    impressions: Count
    clicks: Count
    purchases: Count
    weighted_impressions: Positive
    weighted_clicks: Positive
    weighted_purchases: Positive
    click_rate: Positive | None = None
    purchase_rate: Positive | None = None
    debiased_rate: Positive | None = None
    weighted_click_rate: Positive | None = None
    weighted_purchase_rate: Positive | None = None
    weighted_debiased_rate: Positive | None = None
    risky_share: Share | None = None
    risky_impression_share: Share | None = None
    exposure_share: Share | None = None


class Fading(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Sums of one item of which each term halves in a fixed time; `weighted` and rates as in a window.

    Attributes:
        half_life_s: that time, in seconds, above 0.
        impressions: as of the record's `timestamp`.
        clicks: likewise.
        purchases: likewise.
        trending: the three, each times what one of its kind is worth.
        weighted_impressions: likewise, weighted.
        weighted_clicks: likewise.
        weighted_purchases: likewise.
        weighted_trending: likewise.
        click_rate: clicks by impressions.
        weighted_click_rate: likewise, weighted.
    """

    half_life_s: Annotated[float, Meta(gt=0)]
    impressions: Positive
    clicks: Positive
    purchases: Positive
    trending: Positive
    weighted_impressions: Positive
    weighted_clicks: Positive
    weighted_purchases: Positive
    weighted_trending: Positive
    click_rate: Positive | None = None
    weighted_click_rate: Positive | None = None


class Signals(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The newest signals of one item. The record's key is the item, its Kafka timestamp is `timestamp`.

    Written when they changed enough. Counts are exact, other numbers rounded to 6 significant digits.

    Attributes:
        schema: version of this record, 1.
        item: which item, as published.
        timestamp: stream time, milliseconds since 1970-01-01 UTC. A result names it as the version that it used; after
            a kill one time may name two records of an item, or go back a little: the later record in the topic counts.
        windows: the time just gone by, shortest first.
        fading: sums that fade. Absent: none are kept.
        velocity_per_h: clicks and purchases an hour, in the shortest window. Absent: not known.
        weighted_velocity_per_h: likewise, weighted.
        audience: how many users clicked or bought, in the newer of two periods or the one with more. Absent: not known.
        weighted_audience: likewise, weighted.
        audience_entropy_nats: of these clicks and purchases by user; 0: all from one. Absent: there was none.
        weighted_audience_entropy_nats: likewise, weighted.
        offsets: next record of `interactions`, by partition, that is not in here. Absent: not told.
        since: event time at which the item was first heard of, milliseconds since 1970-01-01 UTC. Absent: not known.
        fields: its properties, as published on `items`, by name. Absent: none are known.
    """

    schema: Literal[1] = field(default_factory=version_1)
    item: ItemId
    timestamp: Count
    windows: tuple[Window, ...]
    fading: Fading | None = None
    velocity_per_h: Positive | None = None
    weighted_velocity_per_h: Positive | None = None
    audience: Count | None = None
    weighted_audience: Positive | None = None
    audience_entropy_nats: Positive | None = None
    weighted_audience_entropy_nats: Positive | None = None
    offsets: dict[str, Count] = {}
    since: Count | None = None
    fields: tuple[Field, ...] = ()
