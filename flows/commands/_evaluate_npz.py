"""`tidegate evaluate FILE.npz`: plain rows of numbers through forest and evidence, at a table's defaults."""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from flows.commands._evaluate_tables import new_table
from flows.commands._shared import cell, progress_bar
from training.evaluate.tables import EVERYTHING, FIRST_TENTH, RIVER, TableEvaluation, assess_table, load
from training.evaluate.words import figure, share


def evaluate_table(args: argparse.Namespace) -> TableEvaluation:
    """Score a table once for each seed, and assess it.

    Raises:
        TableError: it is no table with labels of both classes.
        OSError: it cannot be read.
        MissingExtra: an optional package is wanted and not installed.
    """
    path: Path = args.file
    table = load(path)
    seeds = list(range(1, args.seeds + 1))
    baselines = (() if args.no_baselines else (FIRST_TENTH, EVERYTHING)) + ((RIVER,) if args.river else ())
    told = path.name, hashlib.sha256(path.read_bytes()).hexdigest()
    with progress_bar("scoring", "runs") as progress:
        task = progress.add_task("", total=len(seeds) * (1 + len(baselines)), count=0)
        done = iter(range(1, len(seeds) * (1 + len(baselines)) + 1))
        return assess_table(
            table,
            told,
            seeds,
            baselines=baselines,
            progress=lambda: progress.update(task, advance=1, count=next(done)),
        )


def render(evaluation: TableEvaluation) -> Iterator[RenderableType]:
    """Yield what to print."""
    yield Text(f"{evaluation.name}: {evaluation.rows:,} rows of {evaluation.columns} numbers")
    yield Text(
        f"{evaluation.unknown:,} rows fell into the warm-up and are left out; {evaluation.compared:,} are compared, "
        f"{evaluation.risky:,} of them risky ({share(evaluation.risky / evaluation.compared)}); medians over "
        f"{len(evaluation.seeds)} seeds",
        style="dim",
    )
    table = new_table("method", "ROC-AUC", "least", "greatest", "average precision", "what")
    for one in evaluation.methods:
        areas = figure(one.roc_auc), figure(min(one.runs)), figure(max(one.runs))
        table.add_row(cell(one.name), *areas, figure(one.average_precision), cell(one.note, "dim"))
    yield table
