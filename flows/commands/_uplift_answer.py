"""What `tidegate experiments uplift` answers: records, and the same as tables for people."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from flows.commands._shared import cell, printable
from schemas.uplift import Ranking, Uplift
from training.uplift.deciles import Decile
from training.uplift.effects import Effect
from training.uplift.estimate import Estimate, Robust

DIGITS = 6
SHOWN = 6
"""Attributes that are shown; the records have all."""

CHANCE = {
    "qini_perfect_normalised": "0",
    "auuc_perfect_normalised": "0",
    "qini_causalml": "0",
    "qini_causalml_normalised": "0",
    "auuc_causalml_normalised": "0.5",
}


class Named(NamedTuple):
    """What is compared.

    Attributes:
        experiment: its id.
        version: of the definition.
        timestamp: epoch milliseconds.
        variation: against the control.
        control: first variation.
        metric: name.
        better: which way is good.
    """

    experiment: str
    version: int
    timestamp: int
    variation: str
    control: str
    metric: str
    better: Literal["up", "down"]


def records_of(named: Named, found: Estimate) -> list[Uplift]:
    """Return what is published: all units first, then the deciles."""
    areas, follows = found.areas, found.calibration
    ranking = Ranking(
        folds=found.settings.folds,
        trees=found.settings.trees,
        seed=found.settings.seed,
        qini_perfect_normalised=_known(areas.qini_perfect_normalised),
        auuc_perfect_normalised=_known(areas.auuc_perfect_normalised),
        qini_causalml=_known(areas.qini_causalml),
        qini_causalml_normalised=_known(areas.qini_causalml_normalised),
        auuc_causalml_normalised=_known(areas.auuc_causalml_normalised),
        chance_p=_known(areas.qini_chance_p),
        slope=_known(follows.slope) if follows else None,
        slope_lower=_known(follows.lower) if follows else None,
        slope_upper=_known(follows.upper) if follows else None,
        importance={name: _known(share) or 0.0 for name, share in found.importance},
        left_out=found.left_out,
    )
    all_units = _record(named, "all", found.effect, found.control_mean, found.predicted.uplift.mean(), found.alpha)
    return [
        msgspec.structs.replace(all_units, ranking=ranking),
        *(
            _record(named, f"decile-{one.number}", one.effect, one.control_mean, one.predicted, found.alpha)
            for one in found.deciles
        ),
    ]


def _record(named: Named, segment: str, effect: Effect, control_mean: float, predicted: float, alpha: float) -> Uplift:
    return Uplift(
        experiment=named.experiment,
        version=named.version,
        timestamp=named.timestamp,
        segment=f"{named.variation}/{segment}",
        variation=named.variation,
        control=named.control,
        metric=named.metric,
        better=named.better,
        treated=effect.treated,
        controls=effect.control,
        control_mean=_known(control_mean),
        effect=_known(effect.value),
        lower=_known(effect.lower),
        upper=_known(effect.upper),
        level=_known(1.0 - alpha) or 0.0,
        predicted=_known(predicted),
    )


def _known(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def render(named: Named, found: Estimate) -> Iterator[RenderableType]:
    """Return the tables."""
    effect = found.effect
    yield Text(
        f"{printable(named.variation)} against {printable(named.control)}: {printable(named.metric)}"
        f" {_number(effect.value)} ({_interval(effect)}), control {_number(found.control_mean)},"
        f" {effect.treated:,} and {effect.control:,} units, intervals at {100 * (1 - found.alpha):g} %",
        style="bold",
    )
    areas = Table("area under the curve", "value", "by chance")
    for name, chance in CHANCE.items():
        areas.add_row(cell(name), cell(_number(getattr(found.areas, name))), cell(chance))
    yield areas
    yield _judgement(found)
    yield _deciles(found.deciles)
    yield Text(_calibrated(found))
    shown = ", ".join(f"{printable(name, 40)} {100 * share:.0f} %" for name, share in found.importance[:SHOWN])
    more = len(found.importance) - SHOWN
    yield Text(f"what the models split on: {shown}{f', and {more} more' if more > 0 else ''}", style="dim")
    if found.left_out:
        yield Text(f"attributes left out: {', '.join(printable(each, 40) for each in found.left_out)}", style="dim")


def _judgement(found: Estimate) -> RenderableType:
    areas = found.areas
    if math.isnan(areas.qini_chance_p):
        return Text("the ranking cannot be judged")
    beats = areas.qini_chance_p <= found.alpha
    said = "ranks better than chance" if beats else "ranks no better than chance: do not aim by it"
    return Text(
        f"{said}: p {areas.qini_chance_p:.3g}; one random ranking in twenty reaches {_number(areas.qini_chance_95)}",
        style="green" if beats else "yellow",
    )


def _deciles(deciles: tuple[Decile, ...]) -> Table:
    table = Table("decile", "treated", "controls", "control mean", "effect", "interval", "predicted")
    for one in deciles:
        table.add_row(
            cell(one.number),
            cell(f"{one.effect.treated:,}"),
            cell(f"{one.effect.control:,}"),
            cell(_number(one.control_mean)),
            cell(_number(one.effect.value)),
            cell(_interval(one.effect)),
            cell(_number(one.predicted)),
        )
    return table


def _calibrated(found: Estimate) -> str:
    follows = found.calibration
    if follows is None:
        return "calibration: not known, as not every decile has an interval"
    return (
        f"calibration: effects rise by {_number(follows.slope)} ({_number(follows.lower)} to {_number(follows.upper)})"
        f" where predictions rise by 1; first decile minus last {_number(follows.spread)}"
        f" ({_number(follows.spread_lower)} to {_number(follows.spread_upper)});"
        f" {'falling from decile to decile' if follows.falling else 'not falling from decile to decile'}"
    )


def render_robust(found: Robust) -> Iterator[str]:
    """Return what is said of units that were not assigned by chance."""
    share = f"{100 * found.overlap:g} %"
    for who, effect in (("all units", found.all), ("treated units", found.treated)):
        yield (
            f"doubly robust, on {who} with overlap ({share}): {_number(effect.value)} ({_interval(effect)}),"
            f" {effect.treated:,} treated and {effect.control:,} not"
        )
    yield "These hold only if the attributes are all that drove both treatment and outcome."


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _interval(effect: Effect) -> str:
    return "-" if math.isnan(effect.lower) else f"{_number(effect.lower)} to {_number(effect.upper)}"
