"""The shop and the flows of ranking in one process, without a broker."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np

from flows import interactions, ranking, signals
from flows.assembly import pseudonymizer
from flows.in_memory import Plan, Running, Topics, run_all
from flows.served_lists import Rules, ServedLists
from flows.settings import Settings, audit_key
from flows.shop.loop import Loop
from flows.shop.shop import Record, Shop
from schemas.event import LAST_TIME_MS
from schemas.quality import Quality
from schemas.ranked import RankedList
from schemas.ranker import Ranker
from training.ranker.learner import Learning
from training.ranker.train import Plan as Training
from training.ranker.train import Trained, train

RESULTS: Final = "ranking.results"
SERVED: Final = "ranking.served"
QUALITY: Final = "ranking.quality"
MODELS: Final = "ranking.models"

_ranked = msgspec.json.Decoder(RankedList).decode
_quality = msgspec.json.Decoder(Quality).decode
_encode = msgspec.json.Encoder().encode


def plans(settings: Settings, partitions: int) -> list[Plan]:
    """Return the three flows, in the order in which they feed one another.

    Args:
        settings: with a pseudonym key.
        partitions: of every topic.
    """
    counting = interactions.Stages(settings, partitions, partitions)
    merging = signals.Stages(settings, partitions, partitions, audit_key(settings))
    ranking_ = ranking.Stages(settings)
    tiers = (interactions.TIERS,) if settings.interactions.tiers else ()
    return [
        Plan(
            "interactions",
            "interactions",
            {"notice": counting.notice, "count": counting.count, "encode": counting.encode},
            tiers,
        ),
        Plan("signals", "ranking.parts", {"merge": merging.merge}, ("items",)),
        Plan(
            "ranking",
            "ranking.requests",
            {verb: getattr(ranking_, verb) for verb in ("notice", "recall", "rank", "rerank", "judge", "encode")},
            ranking.sides_of(settings),
        ),
    ]


class Inside(Loop):
    """A shop whose lists the flows rank.

    Attributes:
        topics: all that was published, by users and by the flows.
        flows: those of ranking, running, and others that run before them.
    """

    def __init__(
        self, shop: Shop, settings: Settings, topics: Topics | None = None, before: Sequence[Running] = ()
    ) -> None:
        """Open the shop.

        Args:
            shop: the shop.
            settings: with a pseudonym key.
            topics: to go on with.
            before: other flows on these topics, such as that of risk.
        """
        super().__init__(shop)
        self.topics = topics or Topics()
        self.settings = settings
        self._own = [Running(plan, self.topics) for plan in plans(settings, self.topics.partitions)]
        self.flows = [*before, *self._own]
        self._answered = [0] * self.topics.partitions
        self.open()

    def publish(self, records: Sequence[Record]) -> None:
        """Publish records, and let the flows read them."""
        for record in records:
            self.topics.publish(record.topic, record.key, record.value, record.timestamp_ms)
        run_all(self.flows)

    def answers(self, asked: Sequence[str]) -> list[RankedList]:
        """Return what was answered of them since answers were last asked for."""
        found, wanted = [], set(asked)
        for partition, first in enumerate(self._answered):
            log = self.topics.log(RESULTS, partition)
            found += [_ranked(kept.value or b"") for kept in log[first:]]
            self._answered[partition] = len(log)
        return [each for each in found if each.id in wanted]

    def train(self, learning: Learning | None = None) -> Trained:
        """Train a ranker on all lists that were served, as `tidegate train ranker` does.

        Raises:
            Untrainable: there is too little to learn from.
            MissingExtra: LightGBM cannot be used.
        """
        notice = self.settings.ranking.notice
        grades = dict.fromkeys(notice.clicks, 1) | dict.fromkeys(notice.purchases, 2)
        pseudonym = partial(pseudonymizer(self.settings, "interactions").pseudonym, "user")
        rules = Rules(grades, self.settings.ranking.judge.within_s, 200_000, frozenset(grades), pseudonym)
        lists = ServedLists(rules)
        for value in self.topics.values(SERVED):
            lists.serve(value, LAST_TIME_MS)
        for value in self.topics.values("interactions"):
            lists.interact(value, LAST_TIME_MS)
        worth = np.asarray(self.settings.interactions.count.worth, np.float64)
        return train(lists.graded()[0], Training(learning or Learning(), worth, within_s=rules.within_s))

    def restart(self, settings: Settings) -> None:
        """Go on under other settings: what is known stays where it means the same."""
        self.settings = settings
        for flow, plan in zip(self._own, plans(settings, self.topics.partitions), strict=True):
            flow.restart(plan)

    def install(self, ranker: Ranker | None) -> None:
        """Publish a ranker; None takes the one there is back."""
        value = None if ranker is None else _encode(ranker)
        for partition in range(self.topics.partitions):
            self.topics.publish(MODELS, b"ranker", value, self.now_ms, partition)

    def quality(self) -> list[Quality]:
        """Return what the flow said of its lists, oldest first."""
        return sorted(map(_quality, self.topics.values(QUALITY)), key=lambda each: each.timestamp)
