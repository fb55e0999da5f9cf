"""What Tidegate writes on `ranking.quality`: how good and how fair the lists of a stretch of time were."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.decision import version_1
from schemas.ranked import StepName

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class StepCost(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What one step after the ranker cost, on the mean over lists.

    Attributes:
        name: which step.
        cost: NDCG of the ranker's own scores that it took.
        moved: share of the places shown that hold another item because of it.
    """

    name: StepName
    cost: float
    moved: Share


class GroupExposure(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One group of items.

    Attributes:
        group: its name in the settings; `other` for items in none.
        items: places among candidates.
        shown: places shown.
        exposure: mean exposure of its candidates, the first place 1, one not shown 0.
        merit: mean calibrated probability of its candidates. Absent: not known.
        per_merit: exposure over merit, over that of all items. Absent: not known.
        clicks: on places shown.
    """

    group: str
    items: Count
    shown: Count
    exposure: Share
    merit: Share | None = None
    per_merit: Annotated[float, Meta(ge=0)] | None = None
    clicks: Count


class UserGroup(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One group of users.

    Attributes:
        group: its name in the settings; `other` for users in none.
        lists: with anything relevant.
        ndcg: their mean. Absent: there were none.
    """

    group: str
    lists: Count
    ndcg: Share | None = None


class FairnessTest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The alarm on exposure of one group against all other items, since it began; valid whenever it is looked at.

    Attributes:
        group: the group's name.
        log_e: ln of the e-value of fairness, now.
        log_largest: ln of the largest so far.
        lists: in which both stood.
        difference: their mean difference of exposure, the group's less the others'. Absent: no such list.
        alarm: whether 1/alpha was ever reached.
        alpha: how often it may ever go off if all lists are fair. Absent: not told.
        tolerance: mean difference of exposure that counts as fair. Absent: not told.
    """

    group: str
    log_e: float
    log_largest: float
    lists: Count
    difference: float | None = None
    alarm: bool = False
    alpha: Share | None = None
    tolerance: Share | None = None


class Minimum(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Tests of minimum proportions (FA*IR) of one group.

    Attributes:
        group: the group's name.
        lists: tested.
        failed: of these, with too few in some prefix.
        expected: share that would fail if lists were fair.
    """

    group: str
    lists: Count
    failed: Count
    expected: Share


class Bin(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One bin of predicted probabilities.

    Attributes:
        n: places shown.
        predicted: their mean probability.
        clicked: share of them that were clicked.
    """

    n: Count
    predicted: Share
    clicked: Share


class Quality(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One stretch of time of one partition. The record's key is the partition.

    A list counts once the time in which clicks on it count is over: each was ranked before anything was learned from
    it. Numbers are rounded to 6 significant digits.

    Attributes:
        schema: version of this record, 1.
        partition: of `ranking.requests`.
        timestamp: end of the stretch, milliseconds since 1970-01-01 UTC, event time.
        since: its beginning.
        model: version of the ranker, or `fallback`; `several` if it changed.
        k: places that measures look at.
        lists: shown in this time.
        clicked: of these, with anything relevant.
        ndcg: mean over these, linear gain, grades of docs/ranking.md. Absent: there were none.
        ndcg_popularity: of the same lists, ordered by popularity. Absent: there were none.
        mrr: mean over these. Absent: there were none.
        recall: share of next interactions after a list, whatever the item, that were among its candidates. Absent:
            there were none.
        recall_of: of the same, by source of candidates.
        ece: expected calibration error of the probabilities. Absent: none were known.
        brier: their Brier score. Absent: none were known.
        reliability: the same by bin, from the least probability.
        steps: what the steps after the ranker cost.
        groups: exposure of groups of items.
        user_groups: measures by group of users.
        tests: alarms on exposure.
        minimum: tests of minimum proportions.
        evicted: lists that had to go before their time was over.
        asked: lists after which their user did something in time: what `recall` is a share of.
    """

    schema: Literal[1] = field(default_factory=version_1)
    partition: Count
    timestamp: Count
    since: Count
    model: str
    k: Annotated[int, Meta(ge=1)]
    lists: Count
    clicked: Count
    ndcg: Share | None = None
    ndcg_popularity: Share | None = None
    mrr: Share | None = None
    recall: Share | None = None
    recall_of: dict[str, Share] = {}
    ece: Share | None = None
    brier: Share | None = None
    reliability: tuple[Bin, ...] = ()
    steps: tuple[StepCost, ...] = ()
    groups: tuple[GroupExposure, ...] = ()
    user_groups: tuple[UserGroup, ...] = ()
    tests: tuple[FairnessTest, ...] = ()
    minimum: tuple[Minimum, ...] = ()
    evicted: Count = 0
    asked: Count = 0
