"""Deciles of predicted uplift: what a variation did for the units for which most was predicted, down to least."""

from collections.abc import Sequence
from html import escape

from schemas.uplift import Ranking, Uplift
from training.evaluate.charts import Axis, Plot, round_values
from training.evaluate.markup import legend, table
from training.report.words import MINUS, UNKNOWN, chance, count, percent, plain

DECILES = tuple(f"decile-{number}" for number in range(1, 11))


def by_variation(records: Sequence[Uplift]) -> dict[str, dict[str, Uplift]]:
    """Return the records of each variation by segment, `all` and `decile-1` to `decile-10`."""
    found: dict[str, dict[str, Uplift]] = {}
    for one in records:
        found.setdefault(one.variation, {})[one.segment.removeprefix(f"{one.variation}/")] = one
    return found


def draw_deciles(segments: dict[str, Uplift]) -> str:
    """Draw the effect of each decile with its interval, what was predicted, and the effect of all."""
    known = [(at, segments[name]) for at, name in enumerate(DECILES, 1) if name in segments]
    known = [(at, one) for at, one in known if one.effect is not None]
    if not known:
        return '<p class="empty">Nothing to draw yet: no effect is known.</p>'
    values = [value for _, one in known for value in (one.effect, one.lower, one.upper, one.predicted)]
    axis = _axis([value for value in values if value is not None])
    ticks = tuple((float(at), str(at)) for at in range(1, 11))
    plot = Plot(Axis("decile of predicted uplift, highest first", 0.5, 10.5, ticks), axis, "effect by decile", 680, 390)
    plot.line([0.5, 10.5], [0.0, 0.0], "zero", "no effect")
    whole = segments.get("all")
    if whole is not None and whole.effect is not None:
        plot.level(whole.effect, "soft", f"all units: {plain(whole.effect, sign=True)}")
    predicted = [(at, one.predicted) for at, one in known if one.predicted is not None]
    plot.line([at for at, _ in predicted], [value for _, value in predicted], "medium dash", "predicted")
    for at, one in known:
        effect, css = one.effect or 0.0, _leaning(one)
        if one.lower is not None and one.upper is not None:
            plot.line([at, at], [one.lower, one.upper], f"{css} thick")
        plot.dot(at, effect, f"{css} seen", f"decile {at}: {_said(one)}")
    entries = (("open", "effect and its interval, for one look"), ("medium dashes", "predicted"))
    return plot.svg() + legend(entries)


def _axis(values: Sequence[float]) -> Axis:
    low, high = min(0.0, *values), max(0.0, *values)
    found = round_values(low, high)
    return Axis("", found[0], found[-1], tuple((value, _tick(round(value, 9))) for value in found))


def _tick(value: float) -> str:
    return f"{'' if value == 0.0 else '+' if value > 0.0 else MINUS}{abs(value):g}"


def _leaning(one: Uplift) -> str:
    if one.lower is None or one.upper is None or one.lower <= 0.0 <= one.upper:
        return "open"
    return "good" if (one.lower > 0.0) == (one.better == "up") else "bad"


def _said(one: Uplift) -> str:
    ends = UNKNOWN if one.lower is None or one.upper is None else f"{_signed(one.lower)} to {_signed(one.upper)}"
    return f"{_signed(one.effect)}, {percent(one.level)} interval {ends}; predicted {_signed(one.predicted)}"


def _signed(value: float | None) -> str:
    return plain(value, sign=True)


def tabulate_deciles(segments: dict[str, Uplift]) -> str:
    """Return units, effect and prediction of all units and of each decile."""
    rows = []
    for name in ("all", *DECILES):
        one = segments.get(name)
        if one is None:
            continue
        known = one.lower is not None and one.upper is not None
        interval = f"<small>{_signed(one.lower)} to {_signed(one.upper)}</small>" if known else ""
        called = "all units" if name == "all" else name.replace("-", " ")
        units = f"{count(one.controls)} / {count(one.treated)}"
        rows.append(("", [called, units, _signed(one.effect) + interval, _signed(one.predicted)]))
    return table(["", "units", "effect", "predicted"], rows)


def say_ranking(segments: dict[str, Uplift]) -> list[str]:
    """Return how good the ranking is, as sentences of HTML."""
    whole = segments.get("all")
    if whole is None or whole.ranking is None:
        return ["How good the ranking is is not known."]
    found: Ranking = whole.ranking
    qini, random = plain(found.qini_perfect_normalised), chance(found.chance_p)
    said = [
        f"Qini, as a share of a perfect ranking's: {qini}; of random rankings a share of {random} is as good.",
        f"{found.folds} folds: no unit was ranked by a model that had seen it.",
    ]
    if found.slope is not None:
        ends = f" ({plain(found.slope_lower)} to {plain(found.slope_upper)})" if found.slope_lower is not None else ""
        said.append(f"Slope of effects over predictions: {plain(found.slope)}{ends}; 1 is calibrated.")
    if found.importance:
        best = sorted(found.importance.items(), key=lambda item: -item[1])[:5]
        said.append("Told apart by " + ", ".join(f"{escape(name)} {percent(share)}" for name, share in best) + ".")
    return said
