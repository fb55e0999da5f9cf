"""`tidegate run FLOW`: the engine on real topics, until it is told to stop."""

import argparse
import gc
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytewax.testing import run_main
from confluent_kafka import KafkaException

from connectors import logs
from connectors.bytewax_io import EngineSink, EngineSource
from connectors.clients import common_config
from connectors.delivery import AtLeastOnce, Delivery, Transactional, Watchdog
from connectors.engine import Engine, Pace
from connectors.health import Health
from connectors.ledger import Ledger
from connectors.membership import Membership
from connectors.observed import Observed
from connectors.reader import Reader
from connectors.snapshots import DirectoryStore, Store, TopicStore
from connectors.takeover import CannotStart, OffsetGone, Takeover
from flows import risk
from flows.settings import Settings, load_settings
from operators import metrics

FLOWS = (risk.FLOW,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate run`."""
    parser.add_argument("flow", choices=FLOWS, metavar="FLOW", help=f"one of: {', '.join(FLOWS)}")


def main(args: argparse.Namespace) -> int:
    """Do `tidegate run`."""
    return run(load_settings(args.config, os.environ, needs_key=True), args.flow)


def run(settings: Settings, flow: str) -> int:
    """Run a flow until SIGTERM or SIGINT; returns the process's exit code."""
    logs.configure(settings.log.level)
    log = logs.logger(flow=flow)
    shown = metrics.default()
    with Health(shown) as health:
        host, port = health.serve(settings.metrics.host, settings.metrics.port)
        log.info("started", delivery=settings.kafka.delivery, metrics=f"http://{host}:{port}/metrics")
        observed = Observed(flow, shown, health)
        engine = assemble(settings, flow, observed)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: engine.stop())
        health.ready(False, "compiling")
        risk.warm_up(settings)
        health.beat()
        calm_collector()
        try:
            engine.run(
                lambda: run_main(  # type: ignore[no-untyped-call]
                    risk.build(settings, EngineSource(engine), EngineSink(engine), observed)
                )
            )
        except (CannotStart, OffsetGone, KafkaException) as error:
            log.error(  # noqa: TRY400  the message is the answer, not the traceback
                "cannot_go_on", detail=str(error)
            )
            print(f"tidegate: {error}", file=sys.stderr)  # noqa: T201  the command line's answer
            return 1
    log.info("stopped")
    return 0


def calm_collector() -> None:
    """Let Python's cycle collector look rarely: reference counts free all that a batch makes."""
    gc.freeze()  # modules and compiled code never become garbage
    gc.set_threshold(100_000, 50, 100)


def assemble(settings: Settings, flow: str, observer: Observed, owner: str | None = None) -> Engine:
    """Put the engine of one flow together; nothing connects to the group before it runs."""
    config = common_config(settings)
    transactional = settings.kafka.delivery == "exactly_once"
    watchdog = Watchdog()
    topic = _named(settings)(risk.INPUT)
    store = _store(settings, flow, config)
    name = owner or f"{settings.kafka.prefix}tidegate.{flow}-{uuid.uuid4().hex}"

    def connect() -> Delivery:
        return (Transactional if transactional else AtLeastOnce)(config, name, watchdog)

    def join(on_revoke: Callable[[list[int]], None]) -> Membership:
        return Membership({**config, "group.id": settings.risk.group}, topic, on_revoke)

    takeover = Takeover(
        config, flow, topic, settings.risk.group, store, watchdog,
        transactional=transactional, start_at_end=settings.risk.start == "latest",
        fixed={"decode": risk.Stages(settings).decode(0).fingerprint},
    )  # fmt: skip
    pace = Pace(settings.risk.batch_max, settings.risk.commit_interval_ms / 1000, settings.risk.snapshot_interval_s)
    ledger = Ledger(flow, topic, _named(settings), store, observer, time.monotonic)
    return Engine(flow, ledger, Reader(config, topic), takeover, connect, join, observer, pace)


def _store(settings: Settings, flow: str, config: dict[str, Any]) -> Store:
    if settings.risk.snapshot_store == "directory":
        return DirectoryStore(settings.risk.snapshot_directory or Path("snapshots"), flow)
    return TopicStore(config, _named(settings)(f"{flow}.snapshots"))


def _named(settings: Settings) -> Callable[[str], str]:
    return lambda topic: settings.kafka.prefix + topic
