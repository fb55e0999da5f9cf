"""Tables: plain rows of numbers in their order, for the forest without the stream.

A table has no users, times or windows: each column is a feature as it lies, and what is evaluated is forest, evidence
and their combination alone (`operators.score.table`). They are run once for each seed, online as ever; the figures are
medians over the seeds. Beside them, on the same rows, Isolation Forest as in `baselines`, and River's Half-Space Trees
at their defaults.
"""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from operators.batches import F64, Bool
from operators.score.table import Table as Models
from training.evaluate.baselines import FIRST, MissingExtra, isolation_forest
from training.evaluate.evaluation import Line, Record
from training.evaluate.figures import average_precision, precision_recall_curve, roc_auc, roc_curve

FORMAT = "tidegate.table_evaluation"
SCHEMA = 1
DECIMALS = 6

Scorer = Callable[[F64, int], dict[str, F64]]
"""Rows and a seed -> scores by method, shape (n,), NaN while warming; the combination comes first."""


METHODS = {
    "combination": "forest and evidence by the rule of the flow",
    "forest alone": "Half-Space Trees",
    "evidence alone": "either end of a column",
}


def scored(x: F64, seed: int) -> dict[str, F64]:
    """Return the scores of all rows by method, each scored before it is learnt; see `Scorer`."""
    found = Models(x.shape[1], seed=seed).score_then_learn(x)
    return dict(zip(METHODS, (found.score, found.forest, found.evidence), strict=True))


class TableError(ValueError):
    """A file that is no table with labels; the text says what was expected and got."""


class Table(NamedTuple):
    """Rows in the order of the stream: `x` of shape (n, columns), `risky` of shape (n,)."""

    x: F64
    risky: Bool


def load(path: Path) -> Table:
    """Read a table from an npz file with `X` and `y`, as ADBench has them. It is data alone: nothing is unpickled.

    Raises:
        TableError: it is not of that form.
        OSError: it cannot be read.
    """
    try:
        # Opened here: NumPy forgets to close what it finds to be no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise TableError(f"{path}: expected an npz file of numbers, got something else") from error
    if not {"X", "y"} <= set(found):
        raise TableError(f"{path}: expected arrays X and y, got {', '.join(sorted(found)) or 'none'}")
    try:
        x, y = found["X"].astype(np.float64), found["y"].astype(np.float64)
    except ValueError as error:
        raise TableError(f"{path}: expected numbers in X and y, got something else") from error
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise TableError(f"{path}: expected X of (n, columns) and y of (n,), got {x.shape} and {y.shape}")
    if not np.isfinite(x).all():
        raise TableError(f"{path}: expected finite numbers in X, got {int((~np.isfinite(x)).sum()):,} others")
    risky = y > 0
    if risky.all() or not risky.any():
        raise TableError(
            f"{path}: expected both classes in y, got {'risky' if risky.all() else 'legitimate'} rows only"
        )
    return Table(x, risky)


class TableMethod(Record, frozen=True, kw_only=True):
    """One way to rank the rows.

    Attributes:
        name: of the method.
        note: what is special about it.
        looks_ahead: whether it saw what came later.
        roc_auc: median over the seeds.
        average_precision: median over the seeds.
        runs: ROC-AUC by seed.
        roc: of the first seed.
        precision_recall: of the first seed.
    """

    name: str
    note: str
    looks_ahead: bool
    roc_auc: float
    average_precision: float
    runs: list[float]
    roc: Line
    precision_recall: Line


class TableEvaluation(Record, frozen=True, kw_only=True):
    """All figures of one table.

    Attributes:
        name: of the file.
        sha256: of its bytes.
        rows: in the file.
        columns: of numbers.
        unknown: rows while the models were warming: left out.
        compared: the other rows.
        risky: of those, the risky ones.
        seeds: one run each.
        methods: the combination first.
    """

    format: str = FORMAT
    schema: int = SCHEMA
    name: str
    sha256: str
    rows: int
    columns: int
    unknown: int
    compared: int
    risky: int
    seeds: list[int]
    methods: list[TableMethod]

    @property
    def ours(self) -> TableMethod:
        """The combination."""
        return self.methods[0]


FIRST_TENTH, EVERYTHING, RIVER = (
    "Isolation Forest, first tenth",
    "Isolation Forest, everything",
    "River's HalfSpaceTrees",
)
NOTES = {
    **METHODS,
    FIRST_TENTH: "fitted once on the first tenth of the rows",
    EVERYTHING: "fitted on all rows: looks ahead",
    RIVER: "at its defaults, behind its MinMaxScaler",
}


def assess_table(
    table: Table,
    told: tuple[str, str],
    seeds: list[int],
    *,
    score: Scorer = scored,
    baselines: tuple[str, ...] = (),
    progress: Callable[[], None] = lambda: None,
) -> TableEvaluation:
    """Score a table once for each seed, and compare.

    Args:
        table: rows and labels.
        told: name and SHA-256 of the file.
        seeds: at least one.
        score: our methods.
        baselines: names of other methods in `NOTES`.
        progress: is called after each run of a method.

    Raises:
        TableError: too few rows, or one class only, after the warm-up.
        MissingExtra: an optional package is wanted and not installed.
    """
    runs: dict[str, list[F64]] = {}
    for seed in seeds:
        for name, scores in score(table.x, seed).items():
            runs.setdefault(name, []).append(scores)
        progress()
    known = ~np.isnan(np.array([scores for found in runs.values() for scores in found])).any(axis=0)
    risky = table.risky[known]
    if not known.any() or risky.all() or not risky.any():
        raise TableError(
            f"expected both classes after the warm-up of {int((~known).sum()):,} rows, got {int(risky.sum()):,} risky "
            f"rows of {len(risky):,}"
        )
    for name in baselines:
        for seed in seeds:
            runs.setdefault(name, []).append(_baseline(name, table.x, seed))
            progress()
    return TableEvaluation(
        name=told[0],
        sha256=told[1],
        rows=len(known),
        columns=table.x.shape[1],
        unknown=int((~known).sum()),
        compared=len(risky),
        risky=int(risky.sum()),
        seeds=seeds,
        methods=[_method(name, NOTES[name], found, known, risky) for name, found in runs.items()],
    )


def _method(name: str, note: str, runs: list[F64], known: Bool, risky: Bool) -> TableMethod:
    areas = [roc_auc(scores[known], risky) for scores in runs]
    roc, precision_recall = roc_curve(runs[0][known], risky), precision_recall_curve(runs[0][known], risky)
    return TableMethod(
        name=name,
        note=note,
        looks_ahead=name == EVERYTHING,
        roc_auc=float(np.median(areas)),
        average_precision=float(np.median([average_precision(scores[known], risky) for scores in runs])),
        runs=areas,
        roc=Line(x=_rounded(roc.x), y=_rounded(roc.y)),
        precision_recall=Line(x=_rounded(precision_recall.x), y=_rounded(precision_recall.y)),
    )


def _rounded(values: F64) -> list[float]:
    return [round(float(value), DECIMALS) for value in values]


def _baseline(name: str, x: F64, seed: int) -> F64:
    if name == RIVER:
        return half_space_trees(x, seed)
    fit = x[: max(1, int(FIRST * len(x)))] if name == FIRST_TENTH else x
    return isolation_forest(fit, x, seed)


def half_space_trees(x: F64, seed: int) -> F64:
    """Return River's scores, at its defaults, each row scored before it is learnt, shape (n,).

    Raises:
        MissingExtra: River is not installed.
    """
    try:
        from river.anomaly import HalfSpaceTrees  # noqa: PLC0415  an optional package
        from river.preprocessing import MinMaxScaler  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("River's Half-Space Trees need River: pip install river") from error
    scaler: Any = MinMaxScaler()
    trees: Any = HalfSpaceTrees(seed=seed)
    scores = np.empty(len(x))
    for at, row in enumerate(x.tolist()):
        point = dict(enumerate(row))
        scaler.learn_one(point)
        scaled = scaler.transform_one(point)
        scores[at] = trees.score_one(scaled)
        trees.learn_one(scaled)
    return scores
