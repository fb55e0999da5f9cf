"""The signals flow: sums of all partitions, and descriptions of items, in; signals of items out.

One stage. All parts of an item lie in one partition of their topic, and what is said of it in the same one of `items`,
so one task holds each item whole. What it writes goes to `ranking.signals`, for whoever wants to read it, and into
every partition of `ranking.catalogue`, so that each task of the ranking flow has all items.
"""

from functools import partial
from typing import Any, Final

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.clients import Admin
from connectors.sides import SideTopics
from flows.assembly import plan_of
from flows.commands._shared import check_equal_partitions, full_name, partitions_of
from flows.description import Flow, Plan
from flows.settings import Settings, audit_key
from operators.audit import Chain
from operators.decode.explain import depth
from operators.fingerprint import fingerprint
from operators.metrics import installed
from operators.partitioner import murmur2
from operators.signals.encode import INPUT as INTERACTIONS
from operators.signals.gather import CATALOGUE, FLOW, ITEMS, GatherItems
from operators.signals.merge import warm_up as compile_loops
from operators.signals.parts import TOPIC as PARTS
from operators.stage import Observer, Silent, stage

JOURNAL: Final = "signals.journal"


class Stages:
    """Makes the fresh state of the stage, for one partition."""

    def __init__(self, settings: Settings, partitions: int, catalogue: int, key: bytes) -> None:
        """Take the settings.

        Args:
            settings: all of them.
            partitions: how many partitions `ranking.parts` has, and `interactions` and `items`.
            catalogue: how many `ranking.catalogue` has.
            key: of the audit trail.
        """
        self._settings = settings
        self._partitions, self._catalogue = partitions, catalogue
        self._key = key
        config = settings.signals.merge
        rules = fingerprint(
            1, FLOW, smoothing=config.smoothing, worth=config.worth, change=config.change, refresh_s=config.refresh_s
        )
        self._configuration = {
            # Cut short: all of it must fit beside an offset.
            "merge": self._merge(None).fingerprint[:12],
            "rules": rules[:12],
            "version": installed()[:16],
        }

    def _merge(self, chain: Chain | None) -> GatherItems:
        own, counted = self._settings.signals, self._settings.interactions.count
        return GatherItems(
            own.merge, counted, own.items, self._partitions, self._catalogue, own.signals_per_commit, chain
        )

    def merge(self, partition: int) -> GatherItems:
        """Parts to signals at a flush; what is unreadable to dead letters."""
        return self._merge(Chain(self._key, FLOW, partition, self._configuration))


def build(fresh: Stages, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stage.

    Args:
        fresh: makes it; the same for every assignment of partitions.
        source: gives `Messages`, side records and control items.
        sink: takes `Encoded` batches and the same control items.
        observer: is told about every batch.
    """
    flow = Dataflow(FLOW)
    messages = op.input("read", flow, source)
    records = stage("merge", messages, fresh.merge, observer or Silent())
    op.output("write", records, sink)
    return flow


def warm_up(_settings: Settings) -> None:
    """Compile every loop, or load it."""
    compile_loops()
    depth(b"{}")
    murmur2([b"item"], 1)


def plan(settings: Settings) -> Plan:
    """Look at the topics, and say how to run under these settings; they hold an audit key, or one to derive it from.

    Raises:
        CommandError: there is no such topic, or topics have other numbers of partitions.
    """
    own = settings.signals
    existing = Admin(settings, FLOW).partitions()
    topic = full_name(settings, PARTS)
    check_equal_partitions(existing, [full_name(settings, INTERACTIONS), topic, full_name(settings, ITEMS)])
    partitions, catalogue = (partitions_of(existing, full_name(settings, name)) for name in (PARTS, CATALOGUE))
    fresh = Stages(settings, partitions, catalogue, audit_key(settings))
    sides = SideTopics(
        names={ITEMS: full_name(settings, ITEMS)},
        journal=full_name(settings, JOURNAL),
        interval_s=own.side_interval_ms / 1000,
        most=own.side_batch_max,
        at_end=own.start == "latest",
    )
    # Without its state a flow would begin at part of what was seen: no snapshot of other settings is passed over.
    fixed = {"merge": fresh.merge(0).fingerprint}
    return plan_of(settings, FLOW, own, topic, partial(build, fresh), fixed, sides)


DESCRIPTION = Flow(FLOW, needs_key=False, needs_audit_key=True, warm_up=warm_up, plan=plan)
