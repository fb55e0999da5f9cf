"""What `tidegate train ranker` says of a ranker: for people, and as JSON."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from flows.commands._shared import cell, counted
from flows.commands.models import summary
from flows.commands.watch import when
from training.ranker.lists import GradedLists
from training.ranker.measures import Measured
from training.ranker.train import PARTS, Plan, Trained

TOP = 10
"""Features whose importance is shown."""


def render(found: Trained, plan: Plan) -> Iterator[RenderableType]:
    """Yield what is shown."""
    record, at = found.record, plan.learning.at
    trees, features = counted(len(found.model.forest.root), "tree"), counted(len(record.features), "feature")
    places = "taken out" if plan.learning.debias else "as they are"
    yield f"{record.version}: {trees}, {features}, gain of a grade: {plan.learning.gain}, places {places}"
    parts = Table("part", "lists", "with clicks", "rows", "from (UTC)", "to")
    for name, part in zip(PARTS, found.parts, strict=True):
        parts.add_row(cell(name), *(cell(text) for text in _part(part)))
    yield parts
    if found.crossing:
        yield f"left out: {counted(found.crossing, 'list')} whose attribution time goes beyond the end of their part"
    orders = Table(
        f"test, {found.ranker.lists:,} lists",
        f"NDCG@{at}, pooled",
        f"NDCG@{at}, linear",
        f"NDCG@{at}, exponential",
        f"MRR@{at}",
        f"MAP@{at}",
    )
    for name, one in (("ranker", found.ranker), ("popularity", found.popularity), ("as served", found.served)):
        orders.add_row(cell(name), *(cell(f"{value:.4f}") for value in _values(one)))
    yield orders
    yield (
        f"against popularity, pooled: {found.gain.mean:+.4f} (95 %: {found.gain.low:+.4f} to {found.gain.high:+.4f}, "
        "lists drawn with replacement)"
    )
    yield (
        f"probability of a click: ECE {found.calibrated.ece:.4f}, Brier {found.calibrated.brier:.4f}; scores as log "
        f"odds: {found.uncalibrated.ece:.4f}, {found.uncalibrated.brier:.4f}; one rate for all: "
        f"{found.constant.ece:.4f}, {found.constant.brier:.4f}"
    )
    gained = [f"{name} {share:.0%}" for name, share in found.importance[:TOP] if share > 0.0]
    yield f"what splits gained: {', '.join(gained) or 'nothing'}"


def document(found: Trained, plan: Plan) -> dict[str, object]:
    """Return the same as one JSON object; the figures are those of the record, and all importances."""
    return summary(found.record) | {
        "at": plan.learning.at,
        "gain": plan.learning.gain,
        "debias": plan.learning.debias,
        "trees": len(found.model.forest.root),
        "parts": {
            name: {
                "lists": part.count,
                "telling": int(part.telling.sum()),
                "rows": part.rows,
                "from": int(part.time_ms[0]),
                "to": int(part.time_ms[-1]),
            }
            for name, part in zip(PARTS, found.parts, strict=True)
        },
        "crossing": found.crossing,
        "importance": dict(found.importance),
        "uncalibrated": found.uncalibrated._asdict(),
        "constant": found.constant._asdict(),
    }


def _part(part: GradedLists) -> tuple[str, ...]:
    times = (when(int(part.time_ms[0])), when(int(part.time_ms[-1])))
    return f"{part.count:,}", f"{int(part.telling.sum()):,}", f"{part.rows:,}", *times


def _values(one: Measured) -> tuple[float, ...]:
    return one.ndcg_pooled, one.ndcg_linear, one.ndcg_exponential, one.mrr, one.map
