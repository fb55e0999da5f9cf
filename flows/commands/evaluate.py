"""`tidegate evaluate FILE`: a labelled file through the stages of the flow, without a broker, and how good they are.

A file of events goes through all of them; an npz file of plain numbers through forest and evidence alone.
"""

import argparse
import hashlib
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
from flows.commands._shared import at_least_one, counted, err, out, progress_bar
from flows.event_files import STANDARD_INPUT, EventFile, Refused
from flows.labels import DEFAULT_RISKY, LEGIT, LabelRule, Truth, load_labels
from flows.mapping import EventMapping, load_mapping
from flows.risk import Stages, warm_up
from flows.settings import Settings, load_settings, with_key
from training.evaluate.assess import AssessConfig, Labels, Unassessable, assess
from training.evaluate.baselines import MissingExtra
from training.evaluate.evaluation import Evaluation, Run, to_json
from training.evaluate.page import page
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
        "file", type=Path, metavar="FILE", help="events as JSON lines or CSV, may be .gz; or X, y in .npz"
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


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text}")
    return share


def main(args: argparse.Namespace) -> int:
    """Do `tidegate evaluate`."""
    settings = with_key(load_settings(args.config, os.environ), KEY)
    if args.file == STANDARD_INPUT:
        raise CommandError("expected a file, got standard input: the report says which bytes it is about")
    try:
        if args.file.suffix.lower() == ".npz":
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
    """Replay a file of events and assess it.

    Raises:
        CommandError: there are no labels, or no events.
        OSError: a file cannot be read.
        Unassessable: the labels do not allow it.
        MissingExtra: scikit-learn is wanted and not installed.
    """
    mapping = load_mapping(args.mapping) if args.mapping else None
    rule = _rule(args, mapping)
    apart = load_labels(args.labels) if args.labels else None
    partitions = args.partitions or settings.topics.partitions
    stages = Stages(settings)
    with err().status("compiling"):
        warm_up(settings)  # or the first events would take all the time

    def replay(number: int) -> tuple[Replayed, _Lines, float]:
        fresh = {verb: getattr(stages, verb) for verb in operators.__all__}
        with EventFile(args.file, mapping, args.format, rule) as events:
            lines = _Lines(events, apart, args.limit)
            began = time.perf_counter()
            replayed = _replayed(Replay(fresh, number, settings.risk.batch_max), lines, events)
            return replayed, lines, time.perf_counter() - began

    replayed, lines, seconds = replay(partitions)
    lines.complain()
    config = AssessConfig(budget=args.budget, baselines=not args.no_baselines)
    told = {
        "name": args.file.name,
        "sha256": hashlib.sha256(args.file.read_bytes()).hexdigest(),
        "labels": _described(args, rule),
        "partitions": partitions,
        "settings": {verb: getattr(stages, verb)(0).fingerprint[:12] for verb in operators.__all__[:-1]},
        "refused": lines.refused,
    }
    catalogue = stages.featurize(0).catalogue
    run = Run(seconds=seconds, events_per_s=replayed.read / max(seconds, 1e-9))
    labels = lines.labels()
    with err().status("comparing with baselines"):
        found = assess(replayed, labels, catalogue, settings.risk.tier.budgets, config, told, run)
    others = [scaled(replayed, replay(number)[0], labels.truth, number) for number in args.compare_partitions]
    return msgspec.structs.replace(found, scaling=others)


def _replayed(replay: Replay, lines: "_Lines", events: EventFile) -> Replayed:
    progress = progress_bar("replaying", "events")
    with progress:
        task = progress.add_task("", total=events.size, count=0)
        try:
            return replay.run(lines, lambda read: _advance(progress, task, events, read))
        except ValueError as error:
            lines.complain()
            raise CommandError(str(error)) from error


def _advance(progress: Progress, task: TaskID, events: EventFile, read: int) -> None:
    progress.update(task, completed=events.position(), count=read)


def _rule(args: argparse.Namespace, mapping: EventMapping | None) -> LabelRule | None:
    """Return where the lines tell the truth: the options go before the mapping; None for a file of labels."""
    rule = mapping.label if mapping else None
    if args.labels:
        if args.label_field or args.risky or args.kind_field:
            raise CommandError("expected --labels, or the label in the events' own file, got both")
        return None
    field = args.label_field or (rule.field if rule else None)
    if field is None:
        raise CommandError("expected labels, got none: name --label-field, a [label] in the mapping, or --labels FILE")
    risky = tuple(args.risky) if args.risky else (rule.risky if rule else DEFAULT_RISKY)
    return LabelRule(field, risky, args.kind_field or (rule.kind if rule else None))


def _described(args: argparse.Namespace, rule: LabelRule | None) -> str:
    if rule is None:
        return f"{args.labels.name}; an event without one counts as legitimate"
    return f"field {rule.field}, risky where it is {' or '.join(rule.risky)}"


class _Lines:
    """The events of a file as the replay takes them, with their labels set aside.

    Args:
        events: the open file.
        apart: labels of a file of their own, by (user, id).
        limit: most events.

    Attributes:
        refused: lines that are no events.
    """

    def __init__(self, events: EventFile, apart: dict[tuple[str, str], Truth] | None, limit: int | None) -> None:
        self._events = events
        self._apart = apart
        self._limit = limit
        self._truth: list[int] = []
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
            self._note(item.truth if self._apart is None else self._look_up(item.value))
            yield Line(item.key, item.value, item.timestamp_ms)
            if len(self._truth) == self._limit:
                return

    def _look_up(self, value: bytes) -> Truth:
        assert self._apart is not None
        who = _identity(value)
        return self._apart.get((who.user, who.id), LEGIT)

    def _note(self, truth: Truth | None) -> None:
        self._truth.append(-1 if truth is None else int(truth.risky))
        kind = truth.kind if truth else ""
        self._kind.append(self._kinds.setdefault(kind, len(self._kinds)) if kind else -1)

    def labels(self) -> Labels:
        """Return the truth about every event given."""
        return Labels(np.array(self._truth, np.int8), np.array(self._kind, np.int64), tuple(self._kinds))

    def complain(self) -> None:
        """Report the lines that were refused."""
        console = err()
        for refused in self._complaints:
            console.print(f"line {refused.line}: {refused.why}")
        if self.refused > SHOWN:
            console.print(f"... and {counted(self.refused - SHOWN, 'malformed line')} more")
