"""`tidegate experiments`: all that is done with an experiment but assigning its units."""

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.table import Table

from flows.cli import FAILED, OK
from flows.commands import CommandError, _readout, _uplift
from flows.commands._definitions import Held, Writer, held
from flows.commands._experiment_report import from_file, from_topics
from flows.commands._shared import cell, counted, err, moment, out, settings_of
from flows.commands._tick import tick
from flows.experiment_changes import applied, differences, ended, refusals, state
from flows.experiment_files import load_experiments
from flows.settings import Settings
from schemas.definition import Definition
from training.report.page import page

STATE_STYLES = {"scheduled": "cyan", "running": "green", "ended": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate experiments`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    apply = actions.add_parser("apply", help="publish definitions that are new or changed: all files or none")
    apply.add_argument("files", nargs="+", type=Path, metavar="FILE", help="one experiment each (TOML)")
    apply.add_argument("--dry-run", action="store_true", help="show what would change, and publish nothing")
    listing = actions.add_parser("list", help="show every experiment in its newest version")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    newest = actions.add_parser("show", help="show the newest readout and decision of an experiment")
    newest.add_argument("id", metavar="ID", help="which experiment")
    newest.add_argument("--json", action="store_true", help="both as one JSON object")
    stop = actions.add_parser("stop", help="end an experiment now; it assigns nobody any more")
    stop.add_argument("id", metavar="ID", help="which experiment")
    stop.add_argument("--dry-run", action="store_true", help="show what would change, and publish nothing")
    time_goes_on = actions.add_parser("tick", help="let time go on, so that open attribution windows close")
    time_goes_on.add_argument("--at", type=moment, metavar="TIME", help="to this time (default: now)")
    report = actions.add_parser("report", help="write a page about an experiment: intervals, checks, decision (HTML)")
    report.add_argument("id", metavar="ID", nargs="?", help="which experiment; with --file if it is about several")
    report.add_argument("-o", "--output", metavar="FILE", help="where to (default: ID.html; -: standard output)")
    report.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="what `show --json` writes, or the records themselves, one a line: a page without a broker",
    )
    _uplift.add_arguments(actions.add_parser("uplift", help="learn who gains most by a variation"))


def main(args: argparse.Namespace) -> int:
    """Do `tidegate experiments`."""
    if args.action == "apply":
        definitions = load_experiments(args.files)  # before anything connects
        return apply(settings_of(args), definitions, dry=args.dry_run)
    if args.action == "report":
        return report(args)
    if args.action == "uplift":
        return _uplift.main(args)
    settings = settings_of(args)
    if args.action == "tick":
        tick(settings, args.at)
        return OK
    if args.action == "show":
        return _readout.show(settings, args.id, as_json=args.json)
    return stop(settings, args.id, dry=args.dry_run) if args.action == "stop" else show(settings, as_json=args.json)


def apply(settings: Settings, definitions: list[Definition], *, dry: bool) -> int:
    """Do `tidegate experiments apply`.

    Returns:
        The exit code: 1 if a change is refused; then nothing is published.
    """
    writer = None if dry else Writer(settings)
    there = held(settings)
    now = _now()
    changes: list[tuple[Definition | None, Definition]] = []
    problems: list[str] = []
    for one in definitions:
        old = there.of(one.id)
        problems += [f"problem: {one.id}: {line}" for line in refusals(old, one, now)]
        changes.append((old, one))
    for line in problems:
        err().print(line, soft_wrap=True)
    if problems:
        err().print("Nothing was published.")
        return FAILED
    _publish(writer, there, changes, now)
    if dry:
        out().print("dry run: nothing was published")
    return OK


def stop(settings: Settings, name: str, *, dry: bool) -> int:
    """Do `tidegate experiments stop`; an experiment that has ended stays as it is."""
    writer = None if dry else Writer(settings)
    there = held(settings)
    old = there.of(name)
    if old is None:
        raise CommandError(f"there is no experiment {name}; `tidegate experiments list` shows those there are")
    now = _now()
    one = old if state(old, now) == "ended" else ended(old, now)
    _publish(writer, there, [(old, one)], now)
    if dry:
        out().print("dry run: nothing was published")
    return OK


def show(settings: Settings, *, as_json: bool) -> int:
    """Do `tidegate experiments list`."""
    there, now, console = held(settings).newest, _now(), out()
    if as_json:
        for _, one in sorted(there.items()):
            console.file.write(json.dumps(msgspec.to_builtins(one) | {"state": state(one, now)}) + "\n")
        return OK
    table = Table("experiment", "version", "state", "phase", "coverage", "variations", "primary", "start", "end")
    for name, one in sorted(there.items()):
        stands = state(one, now)
        at = max(sum(phase.start <= now for phase in one.phases) - 1, 0)
        phase = one.phases[at]
        arms = ", ".join(f"{arm} {weight:.4g}" for arm, weight in zip(one.variations, phase.weights, strict=False))
        table.add_row(
            cell(name),
            cell(one.version),
            cell(stands, STATE_STYLES[stands]),
            cell(f"{at + 1} of {len(one.phases)}"),
            cell(f"{phase.coverage:.4g}"),
            cell(arms),
            cell(one.primary.name),
            cell(_time(one.phases[0].start)),
            cell("" if one.end is None else _time(one.end)),
        )
    if there:
        console.print(table)
    console.print(counted(len(there), "experiment"))
    return OK


def report(args: argparse.Namespace) -> int:
    """Do `tidegate experiments report`."""
    if args.file is not None:
        about = from_file(args.file, args.id)
    elif args.id is not None:
        about = from_topics(settings_of(args), args.id)
    else:
        raise CommandError("expected the id of an experiment, or --file, got neither")
    path = args.output or f"{about.readout.experiment}.html"
    if path == "-":
        out().file.write(page(about))
        return OK
    try:
        Path(path).write_text(page(about), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
    out().print(f"wrote {path}", soft_wrap=True)
    return OK


def _publish(
    writer: Writer | None, there: Held, changes: list[tuple[Definition | None, Definition]], now_ms: int
) -> None:
    """Publish what is new, and what is not to partitions where it is missing; say which is which."""
    new, again = [], []
    for old, one in changes:
        if differences(old, one):
            new.append(applied(old, one, now_ms))
        elif old is not None and old.id in there.missing:
            again.append(old)
    if writer is not None and new + again:
        writer.publish(new + again, {one.id: there.missing[one.id] for one in again})
    for old, one in changes:
        _say(old, one, now_ms, there.missing.get(one.id, ()))


def _say(old: Definition | None, new: Definition, now_ms: int, missing: Sequence[int]) -> None:
    changes, console = differences(old, new), out()
    if not changes:
        console.print(f"unchanged  {new.id}, version {old.version if old else 0}")
        if missing:
            console.print(f"  published to partitions that did not hold it: {', '.join(map(str, missing))}")
        return
    version = applied(old, new, now_ms).version
    console.print(f"{'changed' if old else 'new':9}  {new.id}, version {version}")
    for line in changes if old else ():
        console.print(f"  {line}", soft_wrap=True)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
