"""`tidegate run FLOW`: the engine on real topics, until it is told to stop."""

import argparse
import gc
import os
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from bytewax.testing import run_main
from confluent_kafka import KafkaException

from connectors import logs
from connectors.bytewax_io import EngineSink, EngineSource
from connectors.clients import common_config
from connectors.delivery import AtLeastOnce, Delivery, Transactional, Watchdog
from connectors.engine import Engine
from connectors.health import Health
from connectors.ledger import Ledger
from connectors.membership import Membership
from connectors.observed import Observed
from connectors.reader import Reader
from connectors.sides import SOON_MS, SideInputs
from connectors.takeover import CannotStart, OffsetGone, Takeover
from flows import experiments, explanations, interactions, ranking, readouts, rekey, risk, signals
from flows.commands._shared import full_name
from flows.commands._stopping import Told, ToldToStop
from flows.description import Plan
from flows.settings import Settings, load_settings
from operators import metrics

FLOWS = {
    flow.name: flow
    for flow in (
        risk.DESCRIPTION,
        rekey.DESCRIPTION,
        explanations.DESCRIPTION,
        experiments.DESCRIPTION,
        readouts.DESCRIPTION,
        interactions.DESCRIPTION,
        signals.DESCRIPTION,
        ranking.DESCRIPTION,
    )
}

COMPILE_S = 300.0
"""Longest that compiling may take before /healthz says that it is stuck; 1 to 2 minutes are usual on two cores."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate run`."""
    parser.add_argument("flow", choices=FLOWS, metavar="FLOW", help=f"one of: {', '.join(FLOWS)}")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate run`."""
    flow = FLOWS[args.flow]
    settings = load_settings(args.config, os.environ, needs_key=flow.needs_key, needs_audit_key=flow.needs_audit_key)
    return run(settings, args.flow)


def run(settings: Settings, flow: str) -> int:
    """Run a flow until SIGTERM or SIGINT; returns the process's exit code."""
    logs.configure(settings.log.level)
    log = logs.logger(flow=flow)
    try:
        code = _run(settings, flow, Told(), log)  # listens before anything can be seen of this process
    except ToldToStop:
        code = 0
    if code == 0:
        log.info("stopped")
    return code


def _run(settings: Settings, flow: str, told: Told, log: Any) -> int:
    shown = metrics.default()
    with Health(shown) as health:
        host, port = health.serve(settings.metrics.host, settings.metrics.port)
        log.info("started", delivery=settings.kafka.delivery, metrics=f"http://{host}:{port}/metrics")
        plan = FLOWS[flow].plan(settings)
        observed = Observed(flow, shown, health)
        engine = assemble(settings, flow, observed, plan=plan)
        health.busy(COMPILE_S, "compiling")
        FLOWS[flow].warm_up(settings)
        health.beat()
        calm_collector()
        told.pass_on_to(engine.stop)
        try:
            engine.run(
                lambda: run_main(  # type: ignore[no-untyped-call]
                    plan.build(EngineSource(engine), EngineSink(engine), observed)
                )
            )
        except (CannotStart, OffsetGone, KafkaException) as error:
            log.error(  # noqa: TRY400  the message is the answer, not the traceback
                "cannot_go_on", detail=str(error)
            )
            print(f"tidegate: {error}", file=sys.stderr)  # noqa: T201  the command line's answer
            return 1
    return 0


def calm_collector() -> None:
    """Let Python's cycle collector look rarely: reference counts free all that a batch makes."""
    gc.freeze()  # modules and compiled code never become garbage
    gc.set_threshold(100_000, 50, 100)


def assemble(
    settings: Settings, flow: str, observer: Observed, owner: str | None = None, plan: Plan | None = None
) -> Engine:
    """Put the engine of one flow together; nothing connects to the group before it runs."""
    plan = plan or FLOWS[flow].plan(settings)
    config = common_config(settings)
    transactional = settings.kafka.delivery == "exactly_once"
    watchdog = Watchdog()
    name = owner or f"{settings.kafka.prefix}tidegate.{flow}-{uuid.uuid4().hex}"

    def connect() -> Delivery:
        return (Transactional if transactional else AtLeastOnce)(config, name, watchdog)

    def join(on_revoke: Callable[[list[int]], None]) -> Membership:
        return Membership({**config, "group.id": plan.group}, plan.topic, on_revoke)

    sides = SideInputs(config, plan.sides, time.monotonic)
    takeover = Takeover(
        config, flow, plan.topic, plan.group, plan.store, watchdog,
        transactional=transactional, start_at_end=plan.start_at_end, fixed=plan.fixed,
        sides=sides,
    )  # fmt: skip
    ledger = Ledger(flow, plan.topic, _named(settings), plan.store, observer, time.monotonic, plan.sides.journal)
    # Where others wait for it the end of a partition must be told soon (connectors/merging.py).
    soon = {"fetch.wait.max.ms": SOON_MS} if plan.sides.ordered else {}
    reader = Reader({**soon, **config}, plan.topic)
    return Engine(flow, ledger, reader, takeover, sides, connect, join, observer, plan.pace)


def _named(settings: Settings) -> Callable[[str], str]:
    return lambda topic: full_name(settings, topic)
