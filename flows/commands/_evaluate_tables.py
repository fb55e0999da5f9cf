"""What `tidegate evaluate` prints: the figures as tables."""

import math
from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from flows.commands._shared import TIER_STYLES, cell
from training.evaluate.evaluation import Detection, Evaluation, Kind, Method, Partition, Probabilities, Source, Tier
from training.evaluate.words import duration, figure, number, partitions, share, small

_FEATURES = 8


def render(evaluation: Evaluation) -> Iterator[RenderableType]:
    """Yield what to print, from what matters most."""
    source = evaluation.source
    yield Text(
        f"{source.name}: {source.decided:,} events of {source.users:,} users over {partitions(source.partitions)}, "
        f"{evaluation.run.events_per_s:,.0f} events/s"
    )
    yield Text(_left_out(source), style="dim")
    yield from _titled("ranking", _methods(evaluation.methods, evaluation.budget))
    lost = evaluation.losses()
    yield Text("\n".join(["where we lose:", *(f"  {line}" for line in lost)]) if lost else "no method ranks better")
    yield from _titled("tiers", _tiers(evaluation.tiers))
    yield from _titled("detection of attacked users, from the first risky event after the warm-up", _delays(evaluation))
    if evaluation.kinds:
        title = f"by kind of abuse, at {share(evaluation.budget)} of events (alerted: {share(evaluation.budget_rate)})"
        yield from _titled(title, _kinds(evaluation.kinds))
    if evaluation.probabilities:
        found = evaluation.probabilities
        title = f"probability of fraud, as given; labels after {duration(found.delay_s)}"
        yield from _titled(title, _probabilities(found))
    if len(evaluation.partitions) > 1:
        yield from _titled("partitions", _partitions(evaluation.partitions))
    if evaluation.scaling:
        title = f"ROC-AUC over {partitions(source.partitions)} and over others, on the events that both know"
        yield from _titled(title, _scaling(evaluation))
    yield from _titled("features that moved most, first half against last", _drift(evaluation))


def _left_out(source: Source) -> str:
    parts = [
        f"{source.unknown:,} events fell into the warm-up and are left out ({source.risky_unknown:,} of them risky)",
        f"{source.compared:,} are compared, {source.risky:,} of them risky",
        f"{source.unlabelled:,} without a label" if source.unlabelled else "",
        f"{source.refused:,} lines were no events" if source.refused else "",
        ", ".join(f"{count:,} rejected: {reason}" for reason, count in source.rejected.items()),
        ", ".join(f"{count:,} flagged {flag}" for flag, count in source.flagged.items() if count),
    ]
    return "; ".join(part for part in parts if part)


def new_table(*columns: str) -> Table:
    """Return a table: the first column and those of words to the left, figures to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at == 0 or column in ("what", "") else "right")
    return table


def _titled(title: str, table: RenderableType) -> Iterator[RenderableType]:
    yield Text("")
    yield Text(title, style="bold")
    yield table


def _methods(methods: list[Method], budget: float) -> Table:
    table = new_table("method", "ROC-AUC", "average precision", f"recall at {share(budget)}", "what")
    best = max(method.roc_auc for method in methods)
    for at, method in enumerate(methods):
        if at and method.group != methods[at - 1].group:
            table.add_section()
        style = "bold" if method.group == "flow" else ""
        table.add_row(
            cell(method.name, style),
            Text(figure(method.roc_auc), style="green" if method.roc_auc == best else style),
            figure(method.average_precision),
            share(method.recall_at_budget),
            cell(method.note, "dim"),
        )
    return table


def _tiers(tiers: list[Tier]) -> Table:
    table = new_table("tier and above", "alerts", "rate", "budget", "precision", "recall")
    for tier in tiers:
        name = cell(tier.tier, TIER_STYLES.get(tier.tier, ""))
        figures = (tier.rate, tier.budget, tier.precision, tier.recall)
        table.add_row(name, f"{tier.alerts:,}", *map(share, figures))
    return table


def _delays(evaluation: Evaluation) -> Table:
    table = new_table("decision", "users", "caught", "share", "median events", "90 %", "median time", "90 %")
    for one in evaluation.detection:
        table.add_row(cell(f"{one.tier} and above"), f"{one.users:,}", f"{one.caught:,}", *_delay(one))
    return table


def _delay(one: Detection) -> tuple[str, ...]:
    return (
        share(one.caught / one.users if one.users else math.nan),
        number(one.median_events),
        number(one.p90_events),
        duration(one.median_seconds),
        duration(one.p90_seconds),
    )


def _kinds(kinds: list[Kind]) -> Table:
    table = new_table("kind", "users", "caught", "events", "recall", "in hindsight", "median events")
    for one in kinds:
        recalls = share(one.recall), share(one.recall_hindsight)
        table.add_row(
            cell(one.kind), f"{one.users:,}", f"{one.caught:,}", f"{one.events:,}", *recalls, number(one.median_events)
        )
    return table


def _probabilities(found: Probabilities) -> Table:
    table = new_table("given, mean", "risky", "events", "risky events")
    for one in found.bins:
        table.add_row(small(one.given), small(one.risky), f"{one.events:,}", f"{one.frauds:,}")
    table.add_section()
    brier = f"Brier {small(found.brier)}, {small(found.brier_base)} by the share alone"
    table.add_row(f"calibration error {small(found.error)}", brier, f"{found.events:,}", f"{found.risky:,}")
    return table


def _partitions(rows: list[Partition]) -> Table:
    table = new_table("partition", "events", "warming", "risky", "ROC-AUC", "medium and above")
    for one in rows:
        counts = (f"{count:,}" for count in (one.events, one.unknown, one.risky))
        table.add_row(str(one.partition), *counts, figure(one.roc_auc), share(one.rate))
    return table


def _scaling(evaluation: Evaluation) -> Table:
    table = new_table("partitions", "events", "risky", *evaluation.scaling[0].before)
    for one in evaluation.scaling:
        areas = (f"{figure(one.before[name])} -> {figure(after)}" for name, after in one.after.items())
        table.add_row(str(one.partitions), f"{one.compared:,}", f"{one.risky:,}", *areas)
    return table


def _drift(evaluation: Evaluation) -> Table:
    table = new_table("feature", "stability index", "own ROC-AUC")
    known = [one for one in evaluation.features if not math.isnan(one.psi)]
    for one in sorted(known, key=lambda one: -one.psi)[:_FEATURES]:
        table.add_row(cell(one.name), figure(one.psi), figure(one.roc_auc))
    return table
