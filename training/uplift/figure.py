"""The deciles drawn: observed effects with their intervals, what was predicted, and the effect of all units."""

import math

from training.evaluate.charts import Axis, Plot, round_values
from training.evaluate.markup import image
from training.uplift.deciles import DECILES
from training.uplift.estimate import Estimate

_WHISKER = 0.12


def deciles_figure(result: Estimate) -> str:
    """Return the chart as SVG, for a page with the classes and colours of `training/evaluate/page.css`."""
    shown = [one for one in result.deciles if math.isfinite(one.effect.value)]
    ends = [end for one in shown for end in (one.effect.lower, one.effect.upper, one.effect.value, one.predicted)]
    known = [0.0, result.effect.value, *(end for end in ends if math.isfinite(end))]
    x = Axis(
        "decile of predicted uplift, highest first",
        0.5,
        DECILES + 0.5,
        tuple((float(at), f"{at}") for at in range(1, DECILES + 1)),
    )
    plot = Plot(x, _around(min(known), max(known)), "effect by decile of predicted uplift")
    plot.line([0.5, DECILES + 0.5], [0.0, 0.0], "soft thin", "no effect")
    mean = result.effect.value
    plot.line([0.5, DECILES + 0.5], [mean, mean], "soft thin dash", f"all units: {mean:.4g}")
    for one in shown:
        at, effect = float(one.number), one.effect
        said = f"decile {one.number}: {effect.value:.4g}"
        if math.isfinite(effect.lower):
            said += f", {effect.lower:.4g} to {effect.upper:.4g}"
            plot.line([at, at], [effect.lower, effect.upper], "evidence", said)
        plot.line([at - _WHISKER, at + _WHISKER], [effect.value, effect.value], "ours", said)
    plot.line([float(one.number) for one in shown], [one.predicted for one in shown], "medium dash", "predicted")
    return plot.svg()


def deciles_image(result: Estimate) -> str:
    """Return the chart as an SVG file of its own, with its colours, light and dark."""
    return image(deciles_figure(result)) + "\n"


def _around(low: float, high: float) -> Axis:
    """Return an axis with round ticks that holds both."""
    values = round_values(low, high if high > low else low + 1.0)
    return Axis("", values[0], values[-1], tuple((value, f"{value:.4g}") for value in values))
