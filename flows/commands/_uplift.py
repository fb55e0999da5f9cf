"""`tidegate experiments uplift`: who gains most by a variation, from what lies in the topics, or from a file."""

import argparse
import dataclasses
import json
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.progress import Progress

from connectors.clients import Admin, common_config
from connectors.fetching import Contents
from flows.cli import OK
from flows.commands import ArgumentsError, CommandError
from flows.commands._definitions import held
from flows.commands._everywhere import Everywhere, ForAll
from flows.commands._shared import at_least_one, counted, err, full_name, out, partitions_of, progress_bar, settings_of
from flows.commands._uplift_answer import Named, records_of, render, render_robust
from flows.settings import Settings
from flows.uplift_files import BadTable, Columns, UnitTable
from flows.uplift_units import Sample, Units
from schemas.definition import Definition
from schemas.uplift import Uplift
from training.uplift.estimate import CONFOUNDING, Estimate, Inestimable, Robust, estimate, robust
from training.uplift.figure import deciles_image
from training.uplift.learner import MissingExtra, load_lightgbm
from training.uplift.learner import Settings as Learning
from training.uplift.tables import NoAttributes

ABOUT = """\
Learn from exposed units and their attributes who gains most by each variation: Qini and AUUC of the ranking, effects by
decile with intervals; and write them on `uplift`. docs/uplift.md: what the figures mean, and when not to trust them.
"""

EVERY = 4_096
"""Records between two movements of the progress bar."""

ANSWER_S = 30.0


class _Asked(NamedTuple):
    """One comparison."""

    named: Named
    sample: Sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate experiments uplift`."""
    parser.description = ABOUT
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("id", nargs="?", metavar="ID", help="which experiment; or --file")
    parser.add_argument("--dry-run", action="store_true", help="show, and publish nothing")
    parser.add_argument(
        "--units", type=at_least_one, default=100_000, metavar="N", help="at most so many, by hash (default: 100,000)"
    )
    parser.add_argument("--folds", type=at_least_one, default=5, metavar="N", help="for cross-fitting (default: 5)")
    parser.add_argument("--seed", type=_natural, default=1, metavar="N", help="of folds and models (default: 1)")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the deciles (SVG); of the first variation")
    parser.add_argument("--json", action="store_true", help="one JSON object per line, as they are published")
    group = parser.add_argument_group("from a file, without a broker; nothing is published")
    group.add_argument("--file", type=Path, metavar="FILE", help="a line per unit (CSV with a head, may be .gz)")
    group.add_argument("--treatment", metavar="COLUMN", help="the arm of a unit")
    group.add_argument("--outcome", metavar="COLUMN", help="the number that is compared")
    group.add_argument("--control", metavar="VALUE", help="of the treatment's column (default: 0, of 0 and 1)")
    group.add_argument("--unit", metavar="COLUMN", help="its name, each once (default: the line)")
    group.add_argument("--attributes", nargs="+", metavar="COLUMN", help="to tell units by (default: all others)")
    group.add_argument("--without", nargs="+", default=[], metavar="COLUMN", help="columns that are no attributes")
    group.add_argument(
        "--observational", action="store_true", help="units were not assigned by chance: doubly robust effects too"
    )


def main(args: argparse.Namespace) -> int:
    """Do `tidegate experiments uplift`.

    Raises:
        ArgumentsError: with all mistakes.
        CommandError: there is no estimate, and why.
    """
    _check(args)
    try:
        load_lightgbm()  # before anything is read
    except MissingExtra as error:
        raise CommandError(str(error)) from error
    return _of_file(args) if args.file is not None else _of_topics(args)


def _check(args: argparse.Namespace) -> None:
    named = ("treatment", "outcome", "control", "unit", "attributes", "without", "observational")
    given = [name for name in named if getattr(args, name)]
    mistakes = []
    if (args.id is None) == (args.file is None):
        mistakes.append(f"expected ID or --file, got {'neither' if args.id is None else 'both'}")
    elif args.file is None:
        mistakes += [f"--{name}: expected with --file, got it without" for name in given]
    else:
        mistakes += [
            f"--{name}: expected a column, got nothing" for name in ("treatment", "outcome") if name not in given
        ]
    if args.folds < 2:
        mistakes.append(f"--folds: expected at least 2, got {args.folds}")
    if mistakes:
        raise ArgumentsError("\n".join(mistakes))


def _of_file(args: argparse.Namespace) -> int:
    columns = Columns(args.treatment, args.outcome, args.unit, args.attributes, args.without)
    try:
        with err().status(f"reading {args.file}"):
            table = UnitTable(args.file, columns, args.units)
        control = table.control(args.control)
    except OSError as error:
        raise CommandError(f"cannot read {args.file}: {error.strerror or error}") from error
    except BadTable as error:
        raise CommandError(f"{args.file}: {error}") from error
    _remark(table.refused, "line", "without treatment or outcome")
    _remark_sampled(table.sampled, len(table))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", args.file.name.removesuffix(".gz").removesuffix(".csv")).strip("-._")
    asked = [
        _Asked(Named(name or "file", 1, 0, arm, control, args.outcome, "up"), table.sample(arm, control))
        for arm in table.arms
        if arm != control
    ]
    if not asked:
        raise CommandError(f"{args.file}: expected units with another {args.treatment} than {control}, got none")
    _tell(args, _estimated(args, asked))
    return OK


def _of_topics(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    definition = held(settings).of(args.id)
    if definition is None:
        raise CommandError(f"there is no experiment {args.id}; `tidegate experiments list` shows those there are")
    if definition.primary.kind == "ratio":
        raise CommandError(
            f"{args.id}: expected a primary metric that each unit has (mean or proportion), got a ratio,"
            f" {definition.primary.name}"
        )
    if problem := unjoinable(settings.privacy.pseudonymised_topics, definition):
        raise CommandError(problem)
    units = _joined(settings, definition, args.units)
    for reason, count in sorted(units.refused.items()):
        _remark(count, "record", f"left out: {reason}")
    _remark(units.several, "unit", "shown more than one variation; the first counts")
    _remark(units.open(), "unit", "left out: the attribution window is open")
    _remark_sampled(units.sampled, len(units))
    control, *variations = definition.variations
    asked = []
    for variation in variations:
        sample = units.sample(variation)
        _remark(sample.left_out, "unit", f"left out of {variation}: of phases that assigned in other shares")
        primary = definition.primary
        named = Named(
            definition.id, definition.version, units.stream_ms, variation, control, primary.name, primary.better
        )
        asked.append(_Asked(named, sample))
    found = _estimated(args, asked)
    records = _tell(args, found)
    if args.dry_run:
        err().print("dry run: nothing was published")
    else:
        _publish(settings, records)
    return OK


def unjoinable(pseudonymised: Collection[str], definition: Definition) -> str:
    """Say why exposures and the primary metric have no user in common; nothing if they may have.

    Args:
        pseudonymised: topics whose users are pseudonyms already.
        definition: says which topic the metric is read from.
    """
    topics = ("exposures", definition.primary.topic)
    inside = [topic for topic in topics if topic in pseudonymised]
    if len(inside) != 1:
        return ""
    other = topics[1] if inside[0] == topics[0] else topics[0]
    return (
        f"{definition.id}: expected users of one kind on exposures and {topics[1]}, got pseudonyms on {inside[0]}"
        f" (privacy.pseudonymised_topics) and none on {other}"
    )


def _joined(settings: Settings, definition: Definition, most: int) -> Units:
    units = Units(definition, most)
    with err().status("asking the broker"):
        topics = Admin(settings, "uplift").partitions()
    for topic, take in (("exposures", units.expose), (definition.primary.topic, units.measure)):
        full = full_name(settings, topic)
        log = Contents(common_config(settings, "uplift"), full, partitions_of(topics, full))
        with progress_bar(f"reading {topic}", "records") as progress:
            task, number = progress.add_task("", total=log.total, count=0), 0
            for message in log:
                if message is None:
                    continue
                take(message.value() or b"", message.timestamp()[1])
                number += 1
                if number % EVERY == 0:
                    progress.update(task, completed=number, count=number)
        if topic == "exposures" and not len(units):
            raise CommandError(f"{definition.id}: expected exposures on {full}, got none")
    return units


def _estimated(args: argparse.Namespace, asked: Iterable[_Asked]) -> list[tuple[_Asked, Estimate, Robust | None]]:
    learning = Learning(folds=args.folds, seed=args.seed)
    finer = dataclasses.replace(CONFOUNDING, folds=args.folds, seed=args.seed)
    found, failed = [], []
    for one in asked:
        sample = one.sample
        try:
            with progress_bar(f"learning who gains by {one.named.variation}", "steps") as progress:
                result = estimate(*sample[:4], learning, told=_moves(progress))
            found.append((one, result, robust(*sample[:4], finer) if args.observational else None))
        except (Inestimable, NoAttributes) as error:
            failed.append(f"{one.named.variation} against {one.named.control}: {error}")
    if not found:
        raise CommandError("\n".join(failed))
    for text in failed:
        err().print(f"left out: {text}", soft_wrap=True)
    return found


def _moves(progress: Progress) -> Callable[[int, int], None]:
    task = progress.add_task("", total=None, count=0)
    return lambda done, of: progress.update(task, completed=done, total=of, count=done)


def _tell(args: argparse.Namespace, found: list[tuple[_Asked, Estimate, Robust | None]]) -> list[Uplift]:
    """Show and draw what was found; return the records."""
    console, records = out(), []
    for one, result, effects in found:
        new = records_of(one.named, result)
        records += new
        if args.json:
            for record in new:
                console.file.write(json.dumps(msgspec.to_builtins(record)) + "\n")
            continue
        for part in render(one.named, result):
            console.print(part)
        if effects is not None:
            for line in render_robust(effects):
                console.print(line, soft_wrap=True)
    if args.figure is not None:
        try:
            args.figure.write_text(deciles_image(found[0][1]), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {args.figure}: {error.strerror or error}") from error
    return records


def _publish(settings: Settings, records: list[Uplift]) -> None:
    advice = "If somebody else published effects at the same time, run this again"
    writer = Everywhere(settings, "uplift", "uplift", advice)  # each task of the ranking flow reads its own partition
    writer.publish(
        [
            # To librdkafka a timestamp of 0 means now.
            ForAll(f"{one.experiment}/{one.segment}".encode(), msgspec.json.encode(one), max(1, one.timestamp))
            for one in records
        ]
    )
    err().print(f"published {counted(len(records), 'record')} on {writer.topic}")


def _remark(count: int, noun: str, what: str) -> None:
    if count:
        err().print(f"{counted(count, noun)} {what}", soft_wrap=True)


def _remark_sampled(share: float, kept: int) -> None:
    if share < 1.0:
        err().print(f"one unit in {round(1 / share):,} is taken, by hash: {kept:,}; --units takes more")


def _natural(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 31:
        raise argparse.ArgumentTypeError(f"expected an integer >= 0, got {number}")
    return number
