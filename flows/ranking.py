"""The ranking flow: requests become ranked lists. Read it from top to bottom.

One task for each partition of `ranking.requests`. Beside it the task reads the same partition of `interactions`, in the
order of time, about; and `ranking.catalogue`, `ranking.models` and, if so set, `uplift`, which lie whole in every
partition of their topics and are read to their end before anything else.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.clients import Admin
from connectors.sides import SideTopics
from flows.assembly import go_through, plan_of, pseudonymizer, with_any_key
from flows.commands._shared import full_name, partitions_of
from flows.description import Flow, Plan
from flows.settings import Settings, audit_key
from operators.answer import Answer
from operators.audit import Chain
from operators.batches import Messages, Span
from operators.fingerprint import fingerprint
from operators.judge import Judge
from operators.metrics import installed
from operators.notice import Notice
from operators.notice.stage import INTERACTIONS
from operators.rank import MODELS, Rank
from operators.rank import warm_up as compile_trees
from operators.recall.item_records import TOPIC as CATALOGUE
from operators.recall.stage import Recall
from operators.recall.stage import warm_up as compile_recall
from operators.rerank import Rerank
from operators.rerank.effects import TOPIC as UPLIFT
from operators.rerank.stage import warm_up as work_out_tables
from operators.side import Side
from operators.stage import Observer, Silent, stage
from operators.state import Stage

FLOW: Final = "ranking"
INPUT: Final = "ranking.requests"
JOURNAL: Final = "ranking.journal"


class Stages:
    """Makes the fresh state of each stage, for one partition, from the settings."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings.

        Args:
            settings: with a pseudonym key.

        Raises:
            ValueError: there is no pseudonym key.
        """
        self._own = own = settings.ranking
        self._pseudonymizer = pseudonymizer(settings, INPUT)
        self._audit_key = audit_key(settings)
        self._groups = tuple(group.name for group in own.recall.catalogue.groups)
        self._names = Recall(own.recall).names
        self.fixed = {
            # Begun anew these would have forgotten users, items, the ranker or effects without a word.
            step: made(0).fingerprint
            for step, made in (
                ("notice", self.notice),
                ("recall", self.recall),
                ("rank", self.rank),
                ("rerank", self.rerank),
            )
        }
        self._configuration = {
            # Cut short: all of it must fit beside an offset.
            "state": fingerprint(1, FLOW, **self.fixed, judge=self.judge(0).fingerprint)[:12],
            "lists": fingerprint(1, FLOW, **{name: repr(value) for name, value in self._decides()})[:12],
            "topics": "+".join(sides_of(settings)),
            "key_version": str(settings.privacy.key_version),
            "version": installed()[:16],
        }

    def notice(self, _partition: int) -> Notice:
        """Records to rows; what is unreadable is set aside."""
        return Notice(self._own.notice, self._pseudonymizer, INPUT)

    def recall(self, _partition: int) -> Recall:
        """Requests to candidates, with what is known of them."""
        return Recall(self._own.recall)

    def rank(self, _partition: int) -> Rank:
        """Candidates to scores."""
        return Rank(self._own.rank, self._names)

    def rerank(self, _partition: int) -> Rerank:
        """Scores to an order."""
        return Rerank(self._own.rerank, self._groups)

    def judge(self, _partition: int) -> Judge:
        """Orders as they are; beside them, how good those before turned out to be."""
        users = self._own.recall.user_groups.names
        return Judge(self._own.judge, self._groups, users, self.fixed["notice"])

    def encode(self, partition: int) -> Answer:
        """Orders to records; dead letters, and changes, too."""
        return Answer(FLOW, Chain(self._audit_key, FLOW, partition, self._configuration), self._own.answer)

    def _decides(self) -> Iterable[tuple[str, object]]:
        """Yield what lists, and what is told of them, depend on, beside what is remembered."""
        own = self._own
        recall = own.recall
        yield from (("rank", own.rank), ("rerank", own.rerank), ("count", recall.count))
        yield from (("candidates", recall.candidates), ("features", recall.features))
        yield from (("new_for_s", recall.catalogue.new_for_s), ("user_groups", recall.user_groups))
        yield "answer", own.answer


def build(fresh: Stages, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stages.

    Args:
        fresh: makes them; the same for every assignment of partitions.
        source: gives `Messages`, side records and control items.
        sink: takes `Encoded` batches and the same control items.
        observer: is told about every batch.
    """
    watch = observer or Silent()
    flow = Dataflow(FLOW)
    messages = op.input("read", flow, source)
    requests = stage("notice", messages, fresh.notice, watch)
    candidates = stage("recall", requests, fresh.recall, watch)
    scores = stage("rank", candidates, fresh.rank, watch)
    ordered = stage("rerank", scores, fresh.rerank, watch)
    judged = stage("judge", ordered, fresh.judge, watch)
    records = stage("encode", judged, fresh.encode, watch)
    op.output("write", records, sink)
    return flow


def warm_up(settings: Settings) -> None:
    """Compile every loop, or load it, before the first transaction: its time-out is shorter than compiling."""
    settings = with_any_key(settings)
    compile_trees()
    compile_recall()
    work_out_tables(settings.ranking.rerank)
    fresh = Stages(settings)
    stages: tuple[Stage[Any, Any], ...] = (
        fresh.notice(0), fresh.recall(0), fresh.rank(0), fresh.rerank(0), fresh.judge(0), fresh.encode(0),
    )  # fmt: skip
    go_through(stages, _samples())


def _samples() -> Iterable[Messages | Side]:
    """Yield a few records of every topic that is read."""
    asked = b'{"event":"ranking","id":"r%d","timestamp":%d,"user":"u%d","items":[{"id":"a"},{"id":"b"}],"fields":[]}'
    done = b'{"event":"interaction","id":"%d","timestamp":%d,"user":"u%d","type":"click","item":"a","ranking":"r1"}'
    times = [1_000 * at for at in range(1, 17)]
    offsets = list(range(16))

    def values(form: bytes) -> list[bytes | None]:
        return [form % (at, 1_000 * (at + 1), at % 3) for at in range(16)]

    yield Side(0, CATALOGUE, 0, 0, 1, [b"{"], [b"a"], [0], [1])
    yield Side(0, MODELS, 0, 0, 1, [b"{"], [b"ranker"], [0], [1])
    yield Side(0, UPLIFT, 0, 0, 1, [b"{"], [b"x/a/all"], [0], [1])
    yield Side(0, INTERACTIONS, 0, 0, 16, values(done), [b"k"] * 16, offsets, times)
    yield Messages(Span(0, 0, 16), INPUT, [*values(asked)[:15], b"{"], [b"k"] * 16, offsets, times)


def plan(settings: Settings) -> Plan:
    """Look at the topics, and say how to run under these settings; they hold a pseudonym key.

    Raises:
        CommandError: there is no such topic.
    """
    own = settings.ranking
    topic = full_name(settings, INPUT)
    partitions_of(Admin(settings, FLOW).partitions(), topic)
    fresh = Stages(settings)
    return plan_of(settings, FLOW, own, topic, partial(build, fresh), fresh.fixed, _sides(settings))


def sides_of(settings: Settings) -> tuple[str, ...]:
    """Return the topics that are read beside the input."""
    return (CATALOGUE, MODELS, *((UPLIFT,) if settings.ranking.uplift else ()), INTERACTIONS)


def _sides(settings: Settings) -> SideTopics:
    own, topics = settings.ranking, sides_of(settings)
    return SideTopics(
        names={topic: full_name(settings, topic) for topic in topics},
        journal=full_name(settings, JOURNAL),
        setting="ranking.uplift",
        interval_s=own.side_interval_ms / 1000,
        most=own.side_batch_max,
        at_end=own.start == "latest",
        ahead=frozenset(topics) - {INTERACTIONS},
        merged=frozenset({INTERACTIONS}),
        slack_s=own.merge_slack_s,
        wait_s=own.merge_wait_s,
    )


DESCRIPTION = Flow(FLOW, needs_key=True, warm_up=warm_up, plan=plan)
