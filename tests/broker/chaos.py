"""The chaos run: everything goes wrong, at seeded moments, and every input offset is still answered exactly once.

    python tests/broker/chaos.py --seed 7 --kills 200 --rescales 30 --zombies 20 --broker-deaths 5 --slow-brokers 10

Starts its own Kafka, publishes a synthetic stream without a pause, does the harm, waits until everything is answered,
and compares what a read_committed reader finds with what one undisturbed process writes on a copy of the same input.
Exit code 0: the promise was kept; 1: it was not, and the logs are kept; 2: the run itself could not be made.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from chaos_actors import Broker, Fleet, Watch, command
from chaos_faults import Hand, Store
from chaos_plan import PARTITIONS, Faults, Plan, make_plan
from chaos_report import Result, as_json, as_markdown
from chaos_stream import Publisher, copy, stream
from chaos_verdict import OUTPUTS, Outputs, Record, judge
from confluent_kafka import Consumer, TopicPartition
from harness import TOPICS, committed, create_topics, read_committed

SHORT_SESSION_MS = 2_000
SNAPSHOT_INTERVAL_S = "1"
USUAL = {"kills": 200, "rescales": 30, "zombies": 20, "broker-deaths": 5, "slow-brokers": 10, "full-stores": 0}
"""How many faults of each kind a long run has, in the order of `chaos_plan.Faults`. A full store is a later promise."""

HANGING_S = 25.0
"""A dead process's transaction is over by then: its time-out is 10 s."""


@dataclass(frozen=True)
class Options:
    """One run.

    Attributes:
        plan: what goes wrong.
        users: in the stream.
        rate: records a second; the flow can follow it while it is being killed.
        events: at most so many; None for as long as the faults last.
        session_ms: of the group; None keeps the product's own, and starts processes just as a user does.
        commit_interval_ms: how long prepared outputs wait for their commit.
        without: what a saboteur takes out: `muting` or `fencing`.
        compared: whether an undisturbed run is made to compare with.
        full_store: whether snapshots go to a directory that can run full.
        settle_s: how long everything may take to be answered after the last fault.
        quiet_s: how long the stream goes on after the last fault.
    """

    plan: Plan
    users: int = 500
    rate: float = 400.0
    events: int | None = None
    session_ms: int | None = SHORT_SESSION_MS
    commit_interval_ms: int = 100
    without: str | None = None
    compared: bool = True
    full_store: bool = False
    settle_s: float = 120.0
    quiet_s: float = 2.0
    progress: Callable[[str], None] = field(default=lambda _: None)


def run(broker: Broker, options: Options, directory: Path, prefix: str) -> Result:
    """Make a run and judge it; logs go to `directory`."""
    begun = time.monotonic()
    environment = {
        "TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": SNAPSHOT_INTERVAL_S,
        "TIDEGATE_RISK__COMMIT_INTERVAL_MS": str(options.commit_interval_ms),
        "TIDEGATE_TOPICS__PARTITIONS": str(PARTITIONS),
    }
    result = Result(options.plan, options.session_ms, options.without)
    store = _store(options, directory, environment, result)
    create_topics(broker.bootstrap, prefix, PARTITIONS)
    fleet = Fleet(broker, prefix, directory, command(options.session_ms, options.without), environment)
    watch = Watch(broker.bootstrap, f"{prefix}risk", f"{prefix}events")
    messages = itertools.islice(stream(options.plan.seed, options.users), options.events)
    publisher = Publisher(
        broker.bootstrap, f"{prefix}events", messages, options.rate, lambda sent: sent - watch.answered()
    )
    hand = Hand(fleet, broker, watch, store)

    def tell(what: str) -> None:
        options.progress(
            f"{what}  {hand.done['kill']} kills  {hand.done['rescale']} rescales  {hand.done['stall']} zombies  "
            f"{hand.done['broker_kill']} broker deaths | {len(fleet.running())} processes  "
            f"{fleet.counts['restarts']} restarts | {publisher.delivered} sent  {watch.answered()} answered"
        )

    try:
        fleet.resize(options.plan.processes)
        publisher.start()
        _wait(lambda: watch.answered() > 0, 120, lambda: tell("starting"))
        everybody = min(options.plan.processes, PARTITIONS)
        _wait(lambda: len(set(fleet.owners.values())) == everybody, 20, lambda: tell("sharing out"))
        hand.carry_out(options.plan, lambda now: tell(f"{now:4.0f}/{options.plan.seconds:.0f} s"))
        hand.make_well()
        _wait(lambda: False, options.quiet_s, lambda: tell("quiet"))
        publisher.finish()
        ends = [len(each) for each in publisher.sent]
        result.doubled_input, result.missing_input = publisher.twice, publisher.missing
        if publisher.missing and not any(step.kind == "broker_kill" for step in options.plan.steps):
            result.problems.append(f"{publisher.missing} published records are not in the log, though no broker died")
        if not _wait(lambda: watch.answered() == sum(ends), options.settle_s, lambda: tell("settling")):
            result.problems.append(f"not everything was answered {options.settle_s:.0f} s after the last fault")
    finally:
        hand.make_well()
        fleet.stop()
        watch.end()
        if store is not None:
            store.close()
    result.problems += fleet.failures + ([publisher.failure] if publisher.failure else [])
    result.problems += _hanging(broker.bootstrap, prefix)
    undisturbed = _undisturbed(broker, prefix, ends, directory, tell) if options.compared else None
    tell("reading")
    at = committed(broker.bootstrap, f"{prefix}risk", f"{prefix}events", PARTITIONS)
    result.verdict = judge(publisher.sent, outputs(broker.bootstrap, prefix), at, undisturbed)
    result.done, result.counts, result.takeovers = hand.done, fleet.counts, watch.takeovers
    result.seconds = time.monotonic() - begun
    return result


def _store(options: Options, directory: Path, environment: dict[str, str], result: Result) -> Store | None:
    """The directory of snapshots that will run full, if that is asked for and this machine lets us have one."""
    if not options.full_store:
        return None
    try:
        store = Store(directory / "snapshots")
    except OSError as error:
        result.notes.append(f"the snapshot store did not run full: {error}")
        return None
    environment["TIDEGATE_RISK__SNAPSHOT_STORE"] = "directory"
    environment["TIDEGATE_RISK__SNAPSHOT_DIRECTORY"] = str(store.directory)
    return store


def outputs(bootstrap: str, prefix: str) -> Outputs:
    """Read all outputs; the prefix is taken out, for a dead letter names the topic it was found in."""

    def plain(part: bytes | None) -> bytes | None:
        return None if part is None else part.replace(prefix.encode(), b"")

    return {
        topic: [
            [Record(plain(key), plain(value), timestamp) for key, value, timestamp in one]
            for one in read_committed(bootstrap, prefix + topic, PARTITIONS)
        ]
        for topic in OUTPUTS
    }


def _undisturbed(broker: Broker, prefix: str, ends: list[int], directory: Path, tell: Callable[[str], None]) -> Outputs:
    """What one process writes on a copy of the input that nobody disturbs, started as a user does."""
    calm = f"calm.{prefix}"
    create_topics(broker.bootstrap, calm, PARTITIONS)
    copy(broker.bootstrap, f"{prefix}events", f"{calm}events", ends)
    (directory / "calm").mkdir(exist_ok=True)
    environment = {"TIDEGATE_TOPICS__PARTITIONS": str(PARTITIONS)}
    fleet = Fleet(broker, calm, directory / "calm", command(None, None), environment)
    watch = Watch(broker.bootstrap, f"{calm}risk", f"{calm}events")
    try:
        fleet.resize(1)
        answered = _wait(lambda: watch.answered() == sum(ends), 300, lambda: tell("undisturbed run"))
    finally:
        fleet.stop()
        watch.end()
    if not answered or fleet.failures or fleet.counts["restarts"]:
        raise RuntimeError(f"the undisturbed run went wrong: {fleet.failures or dict(fleet.counts)}")
    return outputs(broker.bootstrap, calm)


def _hanging(bootstrap: str, prefix: str) -> list[str]:
    """Wait until no transaction holds readers back; say which topics one still does."""
    consumers = {
        level: Consumer({"bootstrap.servers": bootstrap, "group.id": "ends", "isolation.level": level})
        for level in ("read_committed", "read_uncommitted")
    }
    places = [TopicPartition(prefix + topic, number) for topic in TOPICS for number in range(PARTITIONS)]

    def held() -> list[TopicPartition]:
        return [
            place
            for place in places
            if len({each.get_watermark_offsets(place, timeout=10)[1] for each in consumers.values()}) > 1
        ]

    _wait(lambda: not held(), HANGING_S, lambda: None)
    try:
        return [f"a transaction hangs on {place.topic}[{place.partition}]" for place in held()]
    finally:
        for each in consumers.values():
            each.close()


def _wait(true: Callable[[], bool], timeout_s: float, meanwhile: Callable[[], None]) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        meanwhile()
        time.sleep(0.1)
    return True


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="decides the stream and the plan of faults")
    for name, default in USUAL.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"how many; {default} unless told")
    parser.add_argument("--minutes", type=float, help="spread the faults over so long; else one every 4 s")
    parser.add_argument("--users", type=int, default=Options.users)
    parser.add_argument("--rate", type=float, default=Options.rate, help="events a second")
    parser.add_argument("--events", type=int, help="publish at most so many; else for as long as the faults last")
    parser.add_argument("--product-session", action="store_true", help="keep the flow's own session time-out of 6 s")
    parser.add_argument("--without", choices=("muting", "fencing"), help="sabotage the flow: the run must fail")
    parser.add_argument("--bootstrap", help="a Kafka to use; its broker is then neither killed nor slowed")
    parser.add_argument("--out", type=Path, help="where results and logs go; else a temporary folder")
    args = parser.parse_args()
    faults = Faults(*(getattr(args, name.replace("-", "_")) for name in USUAL))
    gap_s = args.minutes * 60 / max(1, faults.total) if args.minutes else 4.0
    session_s = 6.0 if args.product_session else SHORT_SESSION_MS / 1000
    plan = make_plan(args.seed, faults, session_s=session_s, gap_s=gap_s)
    directory = args.out or Path(tempfile.mkdtemp(prefix="tidegate-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    options = Options(
        plan, args.users, args.rate, args.events,
        session_ms=None if args.product_session else SHORT_SESSION_MS,
        without=args.without, full_store=args.full_stores > 0, progress=_line,
    )  # fmt: skip
    broker = Broker(args.bootstrap)
    try:
        result = run(broker, options, directory, f"chaos{uuid.uuid4().hex[:6]}.")
    except (OSError, RuntimeError) as error:
        print(f"\nchaos: {error}; logs: {directory}", file=sys.stderr)
        return 2
    finally:
        broker.stop()
    result.command = f"python {' '.join(sys.argv)}"  # the seed and the counts have fixed defaults
    result.logs = str(directory)
    (directory / "chaos.json").write_text(as_json(result))
    (directory / "chaos.md").write_text(as_markdown(result))
    print(f"\n{as_markdown(result)}")
    if result.kept and args.out is None:
        shutil.rmtree(directory)
    return 0 if result.kept else 1


def _line(text: str) -> None:
    """Show progress: one line that changes, or a line now and then when nobody is watching."""
    now = time.monotonic()
    if now - _line.last >= (0.2 if sys.stderr.isatty() else 15.0):
        _line.last = now
        sys.stderr.write(f"\r{text:<150}" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()


_line.last = 0.0


if __name__ == "__main__":
    sys.exit(main())
