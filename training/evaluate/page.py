"""The page: one HTML file with everything in it, no script and nothing from the net, light or dark as the reader is.

Text from files (names of files, fields and kinds) is escaped: a page about untrusted data must not be run by it.
"""

import math
from collections.abc import Iterable
from html import escape

from training.evaluate import panels, words
from training.evaluate.evaluation import Evaluation
from training.evaluate.markup import card, document, legend, tile
from training.evaluate.panels import COLOURS, wait
from training.evaluate.words import figure, share, small


def page(evaluation: Evaluation) -> str:
    """Return the page."""
    body = "".join(
        [
            _header(evaluation),
            _tiles(evaluation),
            '<div class="grid">',
            *_cards(evaluation),
            "</div>",
            _footer(evaluation),
        ]
    )
    return document(evaluation.source.name, body)


def _header(evaluation: Evaluation) -> str:
    source = evaluation.source
    seen = "labels seen only once they were due" if evaluation.probabilities else "no label seen"
    return (
        f'<header><div class="mark">Tidegate evaluation</div><h1>{escape(source.name)}</h1><p class="lead">'
        f"{source.decided:,} events of {source.users:,} users, {words.moment(source.first_ms)} to "
        f"{words.moment(source.last_ms)} UTC, replayed once through the risk flow: every event scored before it was "
        f"learnt, {seen}. {source.compared:,} compared with their labels, {source.risky:,} of them risky "
        f"({share(source.risky / source.compared)}).</p></header>"
    )


def _tiles(evaluation: Evaluation) -> str:
    ours, source = evaluation.ours, evaluation.source
    others = [one for one in evaluation.methods if one.group != "flow"]
    best = max(others, key=lambda one: one.roc_auc)
    medium, soon = evaluation.tiers[0], evaluation.detection[0]
    caught = soon.caught / soon.users if soon.users else math.nan
    tiles = [
        tile("ROC-AUC", figure(ours.roc_auc), f"best baseline {figure(best.roc_auc)}"),
        tile(
            "average precision", figure(ours.average_precision), f"by chance {figure(source.risky / source.compared)}"
        ),
        tile(f"recall at {share(evaluation.budget)}", share(ours.recall_at_budget), _most(evaluation)),
        tile("alert rate, medium up", share(medium.rate), f"budget {share(medium.budget)}"),
        tile("precision of alerts", share(medium.precision), f"{medium.alerts:,} alerts, medium and above"),
        tile("attacked users caught", share(caught), wait(soon.median_events, soon.median_seconds)),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _most(evaluation: Evaluation) -> str:
    most = min(1.0, evaluation.budget * evaluation.source.compared / evaluation.source.risky)
    return f"at most {share(most)} possible"


def _cards(evaluation: Evaluation) -> Iterable[str]:
    drawn = [one for one in evaluation.methods if one.roc is not None and one.name != "calibrated tail"]
    areas = legend((COLOURS[one.name], f"{one.name} {figure(one.roc_auc)}") for one in drawn)
    precision = legend((COLOURS[one.name], f"{one.name} {figure(one.average_precision)}") for one in drawn)
    yield card("ROC", "How many risky events are found for how many false alarms.", panels.draw_roc(drawn) + areas)
    chance = share(evaluation.source.risky / evaluation.source.compared)
    hint = f"Of what is flagged, how much is right. By chance: {chance}."
    yield card("Precision and recall", hint, panels.draw_precision_recall(evaluation, drawn) + precision)
    yield card("What it is held against", _HELD, panels.draw_methods(evaluation), "wide")
    hint = "Share of events at or above each tier, in consecutive stretches of equally many events, against budgets."
    yield card("Alert rate over time", hint, panels.draw_rates(evaluation), "broad")
    yield card("Tiers", "Each with those above it.", panels.draw_tiers(evaluation), "narrow")
    hint = "Tail probability as powers of ten: the median, and how far up the top tenth and hundredth reach."
    yield card("Surprise over time", hint, panels.draw_surprise(evaluation.over_time), "broad")
    yield card(
        "Both classes",
        "Share of each class by tail probability, safest at the left.",
        panels.draw_classes(evaluation),
        "narrow",
    )
    hint = "A tail of 1 % should come with one normal event in a hundred. Above the diagonal: more often than stated."
    yield card("Calibration", hint, panels.draw_calibration(evaluation))
    hint = "Share of attacked users noticed within so many of their own events, from their first risky one."
    yield card("Time to detection", hint, panels.draw_detection(evaluation))
    if evaluation.probabilities:
        found = evaluation.probabilities
        hint = (
            f"Of {found.events:,} events that were given one, labels coming {words.duration(found.delay_s)} after "
            f"their events. Brier score {small(found.brier)}, {small(found.brier_base)} by the share of risky events "
            f"alone; expected calibration error {small(found.error)}."
        )
        yield card("Probability of fraud", hint, panels.draw_probabilities(found), "wide")
    if evaluation.kinds:
        hint = (
            f"Planted or labelled kinds at {share(evaluation.budget)} of events: as decided when they happened "
            f"({share(evaluation.budget_rate)} were alerted), and with the threshold known in hindsight."
        )
        yield card("Kinds of abuse", hint, panels.draw_kinds(evaluation), "wide")
    hint = "Stability index of each feature, each tenth of the stream against its first: 0.1 stable, 0.25 shifted."
    yield card("Drift by feature", hint, panels.draw_drift(evaluation))
    yield card(
        "Features one by one", "Each feature's own ROC-AUC in its risky direction.", panels.draw_features(evaluation)
    )
    if len(evaluation.partitions) > 1:
        yield card("Partitions", "Each learns from its own events alone.", panels.draw_partitions(evaluation), "wide")
    source = evaluation.source
    if evaluation.scaling:
        hint = f"ROC-AUC over {words.partitions(source.partitions)} and over others, on the events that both know."
        yield card("Other numbers of partitions", hint, panels.draw_scaling(evaluation), "wide")
    yield card("How it was done", "", _how(evaluation), "wide")


_HELD = (
    "All methods on the same events. None sees a label; Isolation Forest on everything sees the future, "
    "which no stream can, and the best features are chosen by looking at the labels."
)


def _how(evaluation: Evaluation) -> str:
    source = evaluation.source
    rejected = ", ".join(f"{count:,} {escape(reason)}" for reason, count in source.rejected.items())
    flagged = ", ".join(f"{count:,} {escape(flag)}" for flag, count in source.flagged.items())
    audited = ", ".join(f"{count:,} {escape(kind)}" for kind, count in source.audited.items())
    stages = ", ".join(f"{escape(verb)} {escape(mark)}" for verb, mark in source.settings.items())
    entries = {
        **(
            {"File": f"{escape(source.name)}<br><code>sha256 {escape(source.sha256)}</code>"}
            if source.sha256
            else {"Topic": escape(source.name)}
        ),
        "Labels": escape(source.labels),
        "Partitions": (
            f"{source.partitions}, {'by murmur2 of the user' if source.sha256 else 'as the events lie in the topic'}; "
            "each with stages of its own"
        ),
        "Read": f"{source.read:,} events; {source.refused:,} lines were no events; rejected: {rejected or 'none'}",
        "Warm-up": (
            f"{source.unknown:,} events, {source.risky_unknown:,} of them risky, came before the models were warm. "
            "Their tier is unknown, and no figure here counts them."
        ),
        "Unlabelled": f"{source.unlabelled:,} events, left out where the truth is needed",
        "Flags": f"{flagged}; scored, compared, and left out of the alert rates",
        "Ranks": "by the score over all partitions; events of equal score share their place",
        "Audit": audited or "none",
        "Settings": f"<code>{stages}</code>",
    }
    inside = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in entries.items())
    return f"<dl>{inside}</dl>"


def _footer(evaluation: Evaluation) -> str:
    run = evaluation.run
    return (
        f"<footer>{run.events_per_s:,.0f} events/s in one process, reading the file and all stages included "
        f"({run.seconds:.1f} s). Evaluation format {evaluation.schema}.</footer>"
    )
