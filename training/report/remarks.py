"""Sentences: what is missing for a verdict, what is off, and what the page rests on. They are HTML, names escaped."""

import math
from collections.abc import Iterator
from html import escape

from schemas.readout import Comparison
from training.report.about import About
from training.report.words import chance, count, duration, moment, percent

LACKING = {
    "units": "{} units whose window is over",
    "conversions": "{} conversions (or units without one, if these are fewer)",
    "spread": "values that differ (all are the same)",
    "effective_units": "{} effective units (a few large values make up most of the sum)",
}
"""What the burn-in lacks, by its name in the readout."""


def warming(about: About) -> list[str]:
    """Return what each comparison still lacks before its first look counts."""
    return [
        f"<b>{escape(one.metric)}</b> of {escape(one.arm.variation)}: {_missing(one)}"
        for one in about.readout.comparisons
        if one.state == "warming"
    ]


def _missing(one: Comparison) -> str:
    lacks = [
        LACKING.get(name, "{} " + escape(name)).format(count(math.ceil(value))) for name, value in one.missing.items()
    ]
    return ("lacks " + ", ".join(lacks)) if lacks else "what it lacks is not said"


def off(about: About) -> list[str]:
    """Return what is not looked at, or cannot be said."""
    return list(_off(about))


def _off(about: About) -> Iterator[str]:
    readout, definition = about.readout, about.definition
    if not readout.tiers:
        yield (
            "<b>Risk tiers</b> are not read: no effects by tier, no sample ratio by tier, no metric of risk. "
            "Settings: <code>[experiments]</code>."
        )
    elif not about.strata:
        yield "<b>By tier</b> nothing is known yet."
    if not readout.cuped:
        yield "<b>The covariate</b> is not part of the declared analysis (<code>cuped = false</code>)."
    else:
        without = sorted({one.metric for one in readout.comparisons if one.adjusted is None and one.state != "warming"})
        if without:
            names = ", ".join(map(escape, without))
            yield f"<b>The covariate</b> is not used for {names}: nothing is known of before exposure."
    if not any(one.role == "guardrail" for one in readout.comparisons):
        yield "<b>No guardrail</b> is defined: nothing stops it but the primary metric and the sample ratio."
    if not about.verdicts:
        yield "<b>No decision</b> was found for this experiment."
    if definition is None:
        yield "<b>The definition</b> was not found: what was planned is not shown."
    elif definition.version != readout.version:
        yield (
            f"<b>The definition</b> is of version {definition.version}, the readout of version {readout.version}: "
            "one of both is newer."
        )


def changing(about: About) -> list[str]:
    """Return what is to be said of effects that change with time."""
    return [
        f"<b>{escape(one.metric)}</b> of {escape(one.arm.variation)}: no single effect is in all intervals so far. "
        "The effect changes with time, and no one number says it."
        for one in about.readout.comparisons
        if one.state == "changing"
    ]


def interactions(about: About) -> list[str]:
    """Return whether the lift differs between low and risky units."""
    return [
        f"<b>{escape(one.metric)}</b> of {escape(one.arm.variation)}: "
        + (
            f"that the lift of low and risky units is the same has anytime p {chance(one.interaction_p)}."
            if one.interaction_p is not None
            else "whether the lift of low and risky units is the same is not known yet."
        )
        for one in about.strata
    ]


def rests_on(about: About) -> dict[str, str]:
    """Return what the page rests on: name and HTML."""
    readout, definition = about.readout, about.definition
    refused = ", ".join(f"{number:,} {escape(reason)}" for reason, number in readout.refused.items())
    found = {
        "Definition": f"version {readout.version}",
        "Stream time": f"{moment(readout.timestamp)} UTC: the latest event time in any part",
        "Error rate": f"alpha {readout.alpha:g}, of all looks together",
        "Analysis": "with the covariate, where there is one" if readout.cuped else "without covariate",
        "Partitions": f"{', '.join(map(str, readout.partitions)) or 'no part'} of <code>exposures</code>",
        "Shown several variations": f"{percent(readout.several)} of units; the first counts",
        "Refused": refused or "nothing",
    }
    if definition is not None:
        phases = "; ".join(
            f"from {moment(one.start)} {percent(one.coverage)} of units, "
            + " / ".join(f"{100 * weight:.3g}" for weight in one.weights)
            for one in definition.phases
        )
        found |= {
            "Phases": phases,
            "Window": f"a unit's records count for {duration(definition.attribution_window_s)} after its exposure",
            "Minimum run": duration(definition.minimum_run_s),
            "To be found": f"a lift of {percent(definition.mde)} of {escape(definition.primary.name)}",
            "N*": f"{definition.tuning_n:,} units, at which intervals are narrowest",
        }
    return found
