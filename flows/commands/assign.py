"""`tidegate assign`: which variation units are in, and the exposures that an application would log of them."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from rich.table import Table

from experiments.assigner import Assigned, Assigner
from flows.cli import FAILED, OK
from flows.commands import CommandError
from flows.commands._definitions import held
from flows.commands._shared import cell, counted, err, moment, out, settings_of
from flows.experiment_files import load_experiment
from schemas.definition import Definition
from schemas.exposure import Exposure

LONGEST = 1_024
"""Characters of a unit; more are in no exposure."""

_encode = msgspec.json.Encoder().encode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `tidegate assign`."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", help="a definition's file (.toml), or the id of one that was applied"
    )
    units = parser.add_mutually_exclusive_group()
    units.add_argument("--unit", nargs="+", metavar="UNIT", help="these units (default: standard input, one a line)")
    units.add_argument("--file", type=Path, metavar="FILE", help="the units of this file, one a line")
    parser.add_argument("--at", type=moment, metavar="TIME", help="at this time (default: now)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per line")
    form.add_argument(
        "--exposures", action="store_true", help="the exposures of those who have a variation, for `tidegate publish -`"
    )


def main(args: argparse.Namespace) -> int:
    """Do `tidegate assign`."""
    of = _definition(args)
    at_ms = time.time_ns() // 1_000_000 if args.at is None else args.at
    assign = Assigner(of)
    if args.file is None:
        return _print(args, of, assign, args.unit or _lines(sys.stdin.buffer), at_ms)
    try:
        with args.file.open("rb") as lines:
            return _print(args, of, assign, _lines(lines), at_ms)
    except OSError as error:
        raise CommandError(f"cannot read {args.file}: {error.strerror or error}") from error


def exposure(of: Definition, unit: str, assigned: Assigned, at_ms: int) -> Exposure | None:
    """Return what an application logs when it shows a unit its variation; None if it has none."""
    if assigned.variation is None:
        return None
    return Exposure(
        experiment_id=of.id,
        variation_id=assigned.variation,
        user=unit,
        timestamp=at_ms,
        phase=assigned.phase,
        bucket=assigned.bucket,
    )


def _definition(args: argparse.Namespace) -> Definition:
    if args.experiment.endswith(".toml"):
        return load_experiment(Path(args.experiment))
    found = held(settings_of(args)).of(args.experiment)
    if found is None:
        raise CommandError(
            f"there is no experiment {args.experiment}; `tidegate experiments list` shows those there are, "
            "and a file's name ends in .toml"
        )
    return found


def _print(args: argparse.Namespace, of: Definition, assign: Assigner, units: Iterable[str], at_ms: int) -> int:
    console, table = out(), Table("unit", "variation", "phase", "bucket", "why")
    counts, refused = dict.fromkeys((*of.variations, None), 0), 0
    for unit in units:
        if not 0 < len(unit) <= LONGEST or unit.encode(errors="replace").decode() != unit:
            refused += 1
            continue
        found = assign(unit, at_ms)
        counts[found.variation] += 1
        if args.exposures:
            if (logged := exposure(of, unit, found, at_ms)) is not None:
                console.file.write(_encode(logged).decode() + "\n")
        elif args.json:
            console.file.write(_encode({"unit": unit, **found._asdict()}).decode() + "\n")
        else:
            place = [cell(found.phase if found.phase >= 0 else ""), cell(found.bucket)]
            table.add_row(cell(unit), cell(found.variation or "none"), *place, cell(found.why))
    if table.row_count:
        console.print(table)
    told = ", ".join(f"{name or 'none'} {count:,}" for name, count in counts.items())
    err().print(f"{counted(sum(counts.values()), 'unit')}: {told}")
    if refused:
        err().print(f"problem: left out {counted(refused, 'unit')}: expected 1 to {LONGEST:,} characters of UTF-8")
    return FAILED if refused else OK


def _lines(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield one unit a line, as it stands there; empty lines are none."""
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\r\n")
        if not line:
            continue
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise CommandError(f"line {number}: expected UTF-8, got other bytes") from None
