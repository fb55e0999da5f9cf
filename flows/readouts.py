"""The readouts flow: totals of experiments by partition in; readouts, decisions and audit records out.

One stage. All parts of an experiment lie in one partition of their topic, so one task holds each experiment whole.
Definitions lie whole in every partition of theirs, and are read before anything else.
"""

from functools import partial
from typing import Any, Final

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.clients import common_config
from connectors.engine import Pace
from connectors.sides import SideTopics
from connectors.snapshots import TopicStore
from flows.commands._shared import full_name
from flows.description import Flow, Plan
from flows.settings import Settings, audit_key
from operators.audit import Chain
from operators.decode.explain import depth
from operators.fingerprint import fingerprint
from operators.merge import Merge, MergeConfig
from operators.metrics import installed
from operators.stage import Observer, Silent, stage

FLOW: Final = "readouts"
INPUT: Final = "experiments.parts"
DEFINITIONS: Final = "experiments.definitions"
JOURNAL: Final = "readouts.journal"
SNAPSHOTS: Final = "readouts.snapshots"


class Stages:
    """Makes the fresh state of the stage, for one partition."""

    def __init__(self, config: MergeConfig, key: bytes) -> None:
        """Take the settings of the stage, and the audit key."""
        self._config = config
        self._key = key
        # What decisions depend on, beside parts and definitions.
        rules = fingerprint(1, FLOW, look_interval_s=config.look_interval_s, check_alpha=config.check_alpha)
        self._configuration = {"merge": rules[:12], "version": installed()[:16]}

    def merge(self, partition: int) -> Merge:
        """Parts to decisions, and to readouts at a flush; what is unreadable to dead letters."""
        return Merge(self._config, FLOW, Chain(self._key, FLOW, partition, self._configuration))


def build(fresh: Stages, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stage.

    Args:
        fresh: makes it.
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
    """Compile the one loop there is, or load it."""
    depth(b"{}")


def plan(settings: Settings) -> Plan:
    """Say how to run under these settings; they hold an audit key, or a pseudonym key to derive one from."""
    own = settings.readouts
    fresh = Stages(own.merge, audit_key(settings))
    return Plan(
        topic=full_name(settings, INPUT),
        group=own.group,
        start_at_end=own.start == "latest",
        pace=Pace(own.batch_max, own.commit_interval_ms / 1000, own.snapshot_interval_s),
        store=TopicStore(common_config(settings), full_name(settings, SNAPSHOTS)),
        build=partial(build, fresh),
        # Without its state a flow would begin at part of what was seen: no snapshot of another layout is passed over.
        fixed={"merge": fresh.merge(0).fingerprint},
        sides=SideTopics(
            {DEFINITIONS: full_name(settings, DEFINITIONS)},
            full_name(settings, JOURNAL),
            ahead=frozenset({DEFINITIONS}),
        ),
    )


DESCRIPTION = Flow(FLOW, needs_key=False, needs_audit_key=True, warm_up=warm_up, plan=plan)
