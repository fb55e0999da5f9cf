"""The sections of the flows of ranking: interactions, signals and ranking."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Self

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import model_validator

from flows.sections import WithStore
from operators.answer import AnswerConfig
from operators.judge.config import JudgeConfig
from operators.judge.quality import OTHER
from operators.notice import NoticeConfig
from operators.rank import RankConfig
from operators.recall.config import RecallConfig
from operators.rerank import RerankConfig
from operators.signals.config import CountItemsConfig
from operators.signals.described import ItemsConfig
from operators.signals.merge import MergeItemsConfig
from operators.signals.weights import WeightsConfig


def _names(key: str, names: Sequence[str]) -> Iterable[str]:
    """Yield what is wrong with names of groups: measures and metrics tell groups apart by them, and all others."""
    if OTHER in names:
        yield f"expected another name than {OTHER} in {key}, which is what all others are called"
    yield from (f"expected each name once in {key}, got {name} twice" for name, n in Counter(names).items() if n > 1)


class Interactions(WithStore):
    """The interactions flow: what users do with items becomes sums by item.

    Attributes:
        group: consumer group that divides the partitions among processes.
        batch_max: most records in one batch.
        commit_interval_ms: how long sums that changed wait until they are written, milliseconds.
        parts_per_commit: most items written at once for one partition; the others wait their turn.
        tiers: whether the topic `risk.tiers` is read, so that interactions count by their user's weight.
        side_interval_ms: least time between two readings of `risk.tiers`, milliseconds.
        side_batch_max: most records of one reading.
        merge_slack_s: how far one topic may be ahead of the other when they are put in the order of time, seconds.
        merge_wait_s: how long a topic that is at its end holds the other back, seconds.
        notice: see `operators.notice`.
        count: see `operators.signals.config`.
        weights: see `operators.signals.weights`.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.interactions"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 1_000
    parts_per_commit: Annotated[int, Ge(1), Le(100_000)] = 2_000
    tiers: bool = False
    side_interval_ms: Annotated[int, Gt(0), Le(60_000)] = 100
    side_batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    merge_slack_s: Annotated[float, Ge(0), Le(3_600)] = 60.0
    merge_wait_s: Annotated[float, Ge(0), Le(60)] = 2.0
    notice: NoticeConfig = NoticeConfig()
    count: CountItemsConfig = CountItemsConfig()
    weights: WeightsConfig = WeightsConfig()


class Signals(WithStore):
    """The signals flow: sums of all partitions become signals of items.

    Attributes:
        group: consumer group that divides the partitions among processes.
        batch_max: most records in one batch.
        commit_interval_ms: how long signals that changed wait until they are written, milliseconds.
        signals_per_commit: most items written at once for one partition; the others wait their turn.
        side_interval_ms: least time between two readings of `items`, milliseconds.
        side_batch_max: most records of one reading.
        merge: see `operators.signals.merge`.
        items: see `operators.signals.described`.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.signals"
    batch_max: Annotated[int, Gt(0), Le(100_000)] = 1_000
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 1_000
    signals_per_commit: Annotated[int, Ge(1), Le(100_000)] = 2_000
    side_interval_ms: Annotated[int, Gt(0), Le(60_000)] = 200
    side_batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    merge: MergeItemsConfig = MergeItemsConfig()
    items: ItemsConfig = ItemsConfig()


class Ranking(WithStore):
    """The ranking flow: requests become ranked lists.

    Attributes:
        group: consumer group that divides the partitions among processes.
        batch_max: most requests in one batch.
        commit_interval_ms: how long lists wait for their transaction, milliseconds.
        uplift: whether the topic `uplift` is read.
        side_interval_ms: least time between two readings of the topics beside `ranking.requests`, milliseconds.
        side_batch_max: most records of one reading.
        merge_slack_s: how far one topic may be ahead of the other when they are put in the order of time, seconds.
        merge_wait_s: how long `interactions`, at its end, holds requests back, seconds; 0: not at all.
        notice: see `operators.notice`.
        recall: see `operators.recall`.
        rank: see `operators.rank`.
        rerank: which steps follow the ranker; see `operators.rerank`.
        judge: see `operators.judge`.
        answer: see `operators.answer`.
    """

    group: Annotated[str, MinLen(1)] = "tidegate.ranking"
    batch_max: Annotated[int, Gt(0), Le(10_000)] = 500
    commit_interval_ms: Annotated[int, Gt(0), Le(5_000)] = 50
    uplift: bool = False
    side_interval_ms: Annotated[int, Gt(0), Le(60_000)] = 200
    side_batch_max: Annotated[int, Gt(0), Le(100_000)] = 5_000
    merge_slack_s: Annotated[float, Ge(0), Le(3_600)] = 5.0
    merge_wait_s: Annotated[float, Ge(0), Le(60)] = 0.0
    notice: NoticeConfig = NoticeConfig()
    recall: RecallConfig = RecallConfig()
    rank: RankConfig = RankConfig()
    rerank: RerankConfig = RerankConfig()
    judge: JudgeConfig = JudgeConfig()
    answer: AnswerConfig = AnswerConfig()

    @model_validator(mode="after")
    def _steps_and_groups_are_there(self) -> Self:
        catalogue = self.recall.catalogue
        groups = [group.name for group in catalogue.groups]
        risks = bool(catalogue.risk_field) or catalogue.risk_from_signals
        offers = bool(catalogue.offer_field)
        found = list(self.rerank.mistakes(groups, uplift=self.uplift, offers=offers, risks=risks))
        found += self.judge.mistakes(groups)
        found += _names("recall.catalogue.groups", groups)
        found += _names("recall.user_groups.names", self.recall.user_groups.names)
        if found:
            raise ValueError("; ".join(found))
        return self
