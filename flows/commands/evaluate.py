"""`tidegate evaluate`: labelled events through the stages of the flow, and how good they are.

A file of events goes through all of them, without a broker; so does what lies in a topic (`--topic`), with the labels
that were published since. An npz file of plain numbers goes through forest and evidence alone.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from rich.console import RenderableType
from rich.progress import Progress, TaskID

import operators
from flows.cli import OK
from flows.commands import CommandError, _evaluate_npz, _evaluate_tables
from flows.commands._evaluate_sources import labelled
from flows.commands._replay import moment
from flows.commands._shared import at_least_one, counted, err, out, progress_bar
from flows.event_files import STANDARD_INPUT, EventFile, Refused
from flows.event_topics import EventTopic
from flows.labels import DEFAULT_RISKY, LEGIT, Truth
from flows.risk import Stages, warm_up
from flows.settings import Settings, load_settings, with_key
from training.evaluate.assess import AssessConfig, Labels, Unassessable, assess
from training.evaluate.baselines import MissingExtra
from training.evaluate.evaluation import Evaluation, Run, to_json
from training.evaluate.late import tick_of
from training.evaluate.page import page
from training.evaluate.probabilities import judged
from training.evaluate.replay import Line, Replay, Replayed
from training.evaluate.scaling import scaled
from training.evaluate.table_page import table_page
from training.evaluate.tables import TableError

KEY = b"tidegate evaluate: nothing is kept"
"""Pseudonyms are keyed with this and leave no trace: the same file gives the same figures wherever it is evaluated."""

SHOWN = 5
"""Malformed lines that are reported one by one."""


class _Identity(msgspec.Struct, gc=False):
    """Of an event, what a label names it by."""

    id: str
    user: str


_identity = msgspec.json.Decoder(_Identity).decode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate evaluate`."""
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="events as JSON lines or CSV, may be .gz; or X, y in .npz"
    )
    parser.add_argument(
        "--topic",
        nargs="?",
        const="events",
        metavar="NAME",
        help="what lies in this topic now, instead of a file (default: events); labels are those of the topic labels",
    )
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="with --topic: records of this Kafka time and later"
    )
    parser.add_argument("--mapping", type=Path, metavar="FILE", help="from the file's fields to an event's (TOML)")
    parser.add_argument("--format", choices=("ndjson", "csv"), help="default: by the file's name, else ndjson")
    parser.add_argument(
        "--label-field", metavar="PATH", help="field that is the label (default: the mapping's [label])"
    )
    parser.add_argument(
        "--risky", nargs="+", metavar="VALUE", help=f"its values that mean risky (default: {' '.join(DEFAULT_RISKY)})"
    )
    parser.add_argument("--kind-field", metavar="PATH", help="field that names the kind of abuse")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="labels in a file of their own (id, user, label, kind), JSON lines"
    )
    parser.add_argument(
        "--label-wait",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="events without a label count as legitimate only S seconds before the last one (default: 0)",
    )
    parser.add_argument(
        "--label-delay",
        type=_seconds,
        metavar="S",
        help="labels come S seconds of event time after their events, and make probabilities",
    )
    parser.add_argument("--partitions", type=at_least_one, metavar="N", help="default: topics.partitions")
    parser.add_argument(
        "--compare-partitions",
        type=at_least_one,
        nargs="+",
        default=[],
        metavar="N",
        help="replay over N too, and compare",
    )
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="stop after N events")
    parser.add_argument(
        "--budget", type=_share, default=0.005, metavar="X", help="share of events for recalls (default: 0.005)"
    )
    parser.add_argument("--no-baselines", action="store_true", help="leave out Isolation Forest")
    parser.add_argument("--seeds", type=at_least_one, default=5, metavar="N", help="runs over an npz file (default: 5)")
    parser.add_argument("--river", action="store_true", help="River's HalfSpaceTrees too, over an npz file; slow")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a page with plots (HTML)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure (JSON)")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to 1e9, got {text}")
    return seconds


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text}")
    return share


def main(args: argparse.Namespace) -> int:
    """Do `tidegate evaluate`."""
    settings = with_key(load_settings(args.config, os.environ), KEY)
    if (args.file is None) == (args.topic is None):
        raise CommandError("expected a file or --topic, got " + ("none" if args.file is None else "both"))
    if args.file == STANDARD_INPUT:
        raise CommandError("expected a file, got standard input: the report says which bytes it is about")
    try:
        if args.file is not None and args.file.suffix.lower() == ".npz":
            if args.label_delay is not None:
                raise CommandError("expected events for --label-delay, got a table of numbers, which have no times")
            table = _evaluate_npz.evaluate_table(args)
            _show(args, _evaluate_npz.render(table), to_json(table), table_page(table))
        else:
            evaluation = evaluate_events(args, settings)
            _show(args, _evaluate_tables.render(evaluation), to_json(evaluation), page(evaluation))
    except OSError as error:
        raise CommandError(f"cannot read {error.filename or args.file}: {error.strerror or error}") from error
    except (Unassessable, TableError, MissingExtra) as error:
        raise CommandError(str(error)) from error
    return OK


def _show(args: argparse.Namespace, tables: Iterator[RenderableType], figures: bytes, drawn: str) -> None:
    # Files first: a reader of the tables who leaves early, as `head` does, takes nothing from them.
    _write(args.json, figures)
    _write(args.report, drawn.encode())
    console = out()
    for table in tables:
        console.print(table)


def _write(path: Path | None, content: bytes) -> None:
    if path is None:
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
    err().print(f"wrote {path}")


def evaluate_events(args: argparse.Namespace, settings: Settings) -> Evaluation:
    """Replay events and assess the answers.

    Raises:
        CommandError: there are no labels, or no events.
        OSError: a file cannot be read.
        KafkaException: the broker does not give what it has.
        Unassessable: the labels do not allow it.
        MissingExtra: scikit-learn is wanted and not installed.
    """
    given = labelled(args, settings)
    partitions = args.partitions or given.partitions
    delay_ms = None if args.label_delay is None else round(args.label_delay * 1000)
    if delay_ms is not None:
        settings = _with_probabilities(settings, delay_ms)
    stages = Stages(settings)
    with err().status("compiling"):
        warm_up(settings)  # or the first events would take all the time

    def replay(number: int) -> tuple[Replayed, _Lines, float]:
        fresh = {verb: getattr(stages, verb) for verb in operators.__all__}
        with given.open() as events:
            lines = _Lines(events, given.apart, args.limit, as_they_lie=number == given.partitions)
            began = time.perf_counter()
            fresh_replay = Replay(fresh, number, settings.risk.batch_max, given.topic, delay_ms)
            replayed = _replayed(fresh_replay, lines, events)
            return replayed, lines, time.perf_counter() - began

    replayed, lines, seconds = replay(partitions)
    lines.complain()
    config = AssessConfig(budget=args.budget, baselines=not args.no_baselines)
    told = {
        "name": given.name,
        "sha256": given.sha256,
        "labels": given.labels,
        "partitions": partitions,
        "settings": {verb: getattr(stages, verb)(0).fingerprint[:12] for verb in operators.__all__[:-1]},
        "refused": lines.refused,
    }
    catalogue = stages.featurize(0).catalogue
    run = Run(seconds=seconds, events_per_s=replayed.read / max(seconds, 1e-9))
    labels = lines.labels(args.label_wait)
    with err().status("comparing with baselines"):
        found = assess(replayed, labels, catalogue, settings.risk.tier.budgets, config, told, run)
    others = [scaled(replayed, replay(number)[0], labels.truth, number) for number in args.compare_partitions]
    probabilities = None
    if delay_ms is not None and replayed.probability is not None:
        probabilities = judged(replayed.probability, labels.truth[replayed.line], delay_ms / 1000)
    return msgspec.structs.replace(found, scaling=others, probabilities=probabilities)


def _with_probabilities(settings: Settings, delay_ms: int) -> Settings:
    """Switch probabilities on, if they are not: unlabelled is legitimate once no label can come any more."""
    risk = settings.risk
    if risk.probability.enabled:
        return settings
    wait_s = max(1, -(-(delay_ms + tick_of(delay_ms)) // 1000))
    probability = dataclasses.replace(risk.probability, enabled=True, wait_s=wait_s)
    return settings.model_copy(update={"risk": risk.model_copy(update={"probability": probability})})


def _replayed(replay: Replay, lines: "_Lines", events: EventFile | EventTopic) -> Replayed:
    progress = progress_bar("replaying", "events")
    with progress:
        task = progress.add_task("", total=events.size, count=0)
        try:
            return replay.run(lines, lambda read: _advance(progress, task, events, read))
        except ValueError as error:
            lines.complain()
            raise CommandError(str(error)) from error


def _advance(progress: Progress, task: TaskID, events: EventFile | EventTopic, read: int) -> None:
    progress.update(task, completed=events.position(), count=read)


class _Lines:
    """Events as the replay takes them, with their labels set aside.

    Args:
        events: open.
        apart: labels that are not in the events themselves, by (user, id).
        limit: most events.
        as_they_lie: whether events of a topic stay in their partitions.

    Attributes:
        refused: lines that are no events.
    """

    def __init__(
        self,
        events: EventFile | EventTopic,
        apart: dict[tuple[str, str], Truth] | None,
        limit: int | None,
        *,
        as_they_lie: bool,
    ) -> None:
        self._events = events
        self._apart = apart
        self._limit = limit
        self._as_they_lie = as_they_lie
        self._truth: list[int] = []
        self._waiting: list[int] = []  # Kafka's times of events without a label; -1 of others
        self._last_ms = 0
        self._kind: list[int] = []
        self._kinds: dict[str, int] = {}
        self._complaints: list[Refused] = []
        self.refused = 0

    def __iter__(self) -> Iterator[Line]:
        for item in self._events:
            if isinstance(item, Refused):
                self.refused += 1
                if self.refused <= SHOWN:
                    self._complaints.append(item)
                continue
            truth = item.truth if self._apart is None else self._look_up(item.value)
            self._note(LEGIT if truth is None and self._apart is not None else truth, item.timestamp_ms)
            said = "" if truth is None else "fraud" if truth.risky else "legit"
            partition = item.partition if self._as_they_lie else -1
            yield Line(item.key, item.value, item.timestamp_ms, said, partition)
            if len(self._truth) == self._limit:
                return

    def _look_up(self, value: bytes) -> Truth | None:
        assert self._apart is not None
        try:
            who = _identity(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # no event: the decode stage will say so
        return self._apart.get((who.user, who.id))

    def _note(self, truth: Truth | None, time_ms: int) -> None:
        self._waiting.append(time_ms if truth is LEGIT else -1)
        self._last_ms = max(self._last_ms, time_ms)
        self._truth.append(-1 if truth is None else int(truth.risky))
        kind = truth.kind if truth else ""
        self._kind.append(self._kinds.setdefault(kind, len(self._kinds)) if kind else -1)

    def labels(self, wait_s: float = 0) -> Labels:
        """Return the truth about every event given.

        Args:
            wait_s: events of the last so many seconds without a label are not known to be legitimate.
        """
        truth, waiting = np.array(self._truth, np.int8), np.array(self._waiting, np.int64)
        if wait_s and self._apart is not None:
            truth[waiting > self._last_ms - 1000 * wait_s] = -1
        return Labels(truth, np.array(self._kind, np.int64), tuple(self._kinds))

    def complain(self) -> None:
        """Report the lines that were refused."""
        console = err()
        for refused in self._complaints:
            console.print(f"line {refused.line}: {refused.why}")
        if self.refused > SHOWN:
            console.print(f"... and {counted(self.refused - SHOWN, 'malformed line')} more")
