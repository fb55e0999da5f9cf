"""The page of a table: curves, and the runs of every method side by side."""

from html import escape

from training.evaluate.markup import best, card, document, legend, meter, table, tile
from training.evaluate.panels import COLOURS, precision_recall_axes, roc_axes
from training.evaluate.tables import TableEvaluation
from training.evaluate.words import figure, share


def table_page(evaluation: TableEvaluation) -> str:
    """Return the page."""
    chance = evaluation.risky / evaluation.compared
    seeds = f"{len(evaluation.seeds)} seeds" if len(evaluation.seeds) > 1 else "one seed"
    header = (
        f'<header><div class="mark">Tidegate evaluation</div><h1>{escape(evaluation.name)}</h1><p class="lead">'
        f"{evaluation.rows:,} rows of {evaluation.columns} numbers through forest and evidence, with {seeds}; "
        f"each row is scored before it is learnt. {evaluation.compared:,} compared, {evaluation.risky:,} risky "
        f"({share(chance)}); the first {evaluation.unknown:,} were the warm-up.</p></header>"
    )
    ours = evaluation.ours
    others = [one for one in evaluation.methods if one.name not in ("combination", "forest alone", "evidence alone")]
    tiles = [
        tile("ROC-AUC, median", figure(ours.roc_auc), f"{figure(min(ours.runs))} to {figure(max(ours.runs))}"),
        tile("average precision", figure(ours.average_precision), f"by chance {figure(chance)}"),
        *(
            tile(escape(one.name), figure(one.roc_auc), "ROC-AUC, median")
            for one in (*evaluation.methods[1:3], *others)
        ),
    ]
    roc, precision = roc_axes(), precision_recall_axes(chance)
    for one in reversed(evaluation.methods):
        roc.line(one.roc.x, one.roc.y, COLOURS[one.name], one.name)
        precision.line(one.precision_recall.x, one.precision_recall.y, COLOURS[one.name], one.name)
    areas = legend((COLOURS[one.name], f"{one.name} {figure(one.roc_auc)}") for one in evaluation.methods)
    precisions = legend(
        (COLOURS[one.name], f"{one.name} {figure(one.average_precision)}") for one in evaluation.methods
    )
    cards = [
        card("ROC", "Curves of the first seed, medians beside the names.", roc.svg() + areas),
        card(
            "Precision and recall",
            f"Curves of the first seed. By chance: {share(chance)}.",
            precision.svg() + precisions,
        ),
        card("Methods", "Medians over the seeds, and the span of the runs.", _methods(evaluation), "wide"),
    ]
    return document(
        evaluation.name,
        f'{header}<div class="tiles">{"".join(tiles[:6])}</div><div class="grid">{"".join(cards)}</div>'
        f"<footer>sha256 {escape(evaluation.sha256)}. Evaluation format {evaluation.schema}.</footer>",
    )


def _methods(evaluation: TableEvaluation) -> str:
    highest = max(one.roc_auc for one in evaluation.methods)
    rows = [
        (
            "own" if at < 3 else "break" if at == 3 else "",
            [
                escape(one.name),
                best(figure(one.roc_auc), at_top=one.roc_auc == highest)
                + meter(2 * one.roc_auc - 1, COLOURS[one.name]),
                f"{figure(min(one.runs))} to {figure(max(one.runs))}",
                figure(one.average_precision) + meter(one.average_precision, COLOURS[one.name]),
                escape(one.note),
            ],
        )
        for at, one in enumerate(evaluation.methods)
    ]
    return table(["method", "ROC-AUC", "span", "average precision", "what it is"], rows, 4)
