"""The explanations flow: what the risk flow wrote down about risky events in, explanations out.

It is one stage without state, in processes of its own, so that no decision waits for an explanation. Its topics are
Tidegate's own and have equal numbers of partitions: an explanation lies where its decision lies.
"""

from functools import partial
from typing import Any

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.clients import common_config
from connectors.engine import Pace
from connectors.snapshots import TopicStore
from flows.commands._shared import full_name
from flows.description import Flow, Plan
from flows.settings import Settings
from operators.explain import Explain, ExplainConfig
from operators.explain.contributions import warm_up as compile_loops
from operators.stage import Observer, Silent, stage

FLOW = "explanations"
INPUT = "risk.evidence"
SNAPSHOTS = "explanations.snapshots"

SNAPSHOT_S = 10.0
"""There is no state, but a snapshot says from where on nothing must be read again."""


class Stages:
    """Makes the fresh state of the stage, for one partition."""

    def __init__(self, config: ExplainConfig) -> None:
        """Take the settings of the stage."""
        self._config = config

    def explain(self, _partition: int) -> Explain:
        """Evidence to explanations; what is unreadable to dead letters."""
        return Explain(self._config, FLOW)


def build(fresh: Stages, source: Source[Any], sink: Sink[Any], observer: Observer | None = None) -> Dataflow:
    """Wire the stage.

    Args:
        fresh: makes it.
        source: gives `Messages` and control items.
        sink: takes `Encoded` batches and the same control items.
        observer: is told about every batch.
    """
    flow = Dataflow(FLOW)
    messages = op.input("read", flow, source)
    records = stage("explain", messages, fresh.explain, observer or Silent())
    op.output("write", records, sink)
    return flow


def warm_up(settings: Settings) -> None:
    """Compile every loop, or load it."""
    Explain(settings.explanations.explain)
    compile_loops()


def plan(settings: Settings) -> Plan:
    """Say how to run under these settings."""
    own = settings.explanations
    return Plan(
        topic=full_name(settings, INPUT),
        group=own.group,
        start_at_end=own.start == "latest",
        pace=Pace(own.batch_max, own.commit_interval_ms / 1000, SNAPSHOT_S),
        store=TopicStore(common_config(settings), full_name(settings, SNAPSHOTS)),
        build=partial(build, Stages(own.explain)),
    )


DESCRIPTION = Flow(FLOW, needs_key=False, warm_up=warm_up, plan=plan)
