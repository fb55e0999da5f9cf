"""The page of one experiment: one HTML file, no script and nothing from the net, light or dark as the reader is.

Names, descriptions and reasons are escaped: they come from topics that others write.
"""

from collections.abc import Iterable
from html import escape
from importlib import resources

from schemas.readout import Comparison
from training.evaluate.markup import card, document, tile
from training.report import deciles, forest, over_time, remarks, tables
from training.report.about import About, harmful, leaning
from training.report.words import chance, count, duration, lifts, moment, percent

SAYINGS = {
    "ship": "Ship",
    "stop": "Stop: harm is shown",
    "broken": "Broken: not to be trusted",
    "continue": "Continue",
    "undecided": "No decision yet",
}


def page(about: About) -> str:
    """Return the page."""
    style = resources.files("training.report").joinpath("report.css").read_text(encoding="utf-8")
    body = "".join(
        [
            _header(about),
            _decision(about),
            _tiles(about),
            '<div class="grid">',
            *_cards(about),
            "</div>",
            _footer(about),
        ]
    )
    return document(about.readout.experiment, body, "experiment", style)


def _header(about: About) -> str:
    readout, definition = about.readout, about.definition
    first = readout.first_exposure
    since = "no unit has come yet" if first is None else f"since {moment(first)} UTC"
    said = f'<p class="about">{escape(definition.description)}</p>' if definition and definition.description else ""
    arms = " against ".join(
        [", ".join(escape(one.arm.variation) for one in about.primary), escape(_control(about))]
        if about.primary
        else ["no comparison"]
    )
    return (
        f'<header><div class="mark">Tidegate experiment</div><h1>{escape(readout.experiment)}</h1>{said}'
        f'<p class="lead">{arms}, {since}; read at {moment(readout.timestamp)} UTC of stream time.</p></header>'
    )


def _control(about: About) -> str:
    return about.primary[0].control.variation


def _decision(about: About) -> str:
    newest = about.verdicts[-1] if about.verdicts else None
    answer = newest.decision if newest is not None else "undecided"
    saying = SAYINGS[answer] + (f" {escape(newest.variation)}" if newest is not None and newest.variation else "")
    if newest is None:
        inside = '<p class="hint">Nothing was found on <code>experiments.decisions</code>.</p>'
    else:
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in newest.reasons) or "<li>no reason given</li>"
        before = f", {newest.before} before" if newest.before else ""
        # A decision is written when it changes, so its figures may be older than the readout's.
        since = "" if newest.timestamp >= about.readout.timestamp else " Not changed since; its figures are of then."
        inside = f'<ul>{reasons}</ul><p class="hint">Decided at {moment(newest.timestamp)} UTC{before}.{since}</p>'
    return f'<section class="decision {answer}"><div class="saying">{saying}</div><div>{inside}</div></section>'


def _tiles(about: About) -> str:
    readout = about.readout
    whole = next((one for one in readout.sample_ratio if one.stratum == "all"), None)
    held = [one for one in readout.comparisons if one.role == "guardrail"]
    tiles = [*_lift_tiles(about)]
    if about.primary:
        judged = _units(about, exposed=False)
        tiles.append(tile("units judged", count(judged), f"of {count(_units(about, exposed=True))} exposed"))
    if whole is not None:
        tiles.append(
            tile(
                "sample ratio p",
                chance(whole.p).replace("below", "<small>below</small>"),
                "alarm" if whole.alarm else "quiet",
            )
        )
    if held:
        well = sum(one.held for one in held)
        harm = sum(map(harmful, held))
        rest = "inside their margins" if well == len(held) else f"harm shown of {harm}" if harm else "not shown yet"
        tiles.append(tile("guardrails held", f"{well} of {len(held)}", rest))
    tiles.append(tile("running for", _running(about), _planned(about)))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _lift_tiles(about: About) -> Iterable[str]:
    several = len(about.primary) > 1
    for one in about.primary[:3]:
        estimate = about.declared(one)
        name = f"{escape(one.metric)}, {escape(one.arm.variation)}"
        if one.state == "warming" or estimate is None:
            yield tile(name, "warming", "no verdict yet")
            continue
        if estimate.lift is None:
            yield tile(name, "no lift", "the control's mean is not above 0")
        else:
            css = leaning(one, estimate.always_lift)
            value = f'<span class="{css}">{percent(estimate.lift, sign=True)}</span>'
            yield tile(name, value, lifts(estimate.always_lift))
        if not several:
            value = chance(estimate.p).replace("below", "<small>below</small>")
            yield tile("anytime p", value, f"fixed, at one look: {chance(estimate.fixed_p)}")


def _units(about: About, *, exposed: bool) -> int:
    arms = [about.primary[0].control, *(one.arm for one in about.primary)]
    return sum(one.exposed if exposed else one.units for one in arms)


def _running(about: About) -> str:
    first = about.readout.first_exposure
    return "not yet" if first is None else duration((about.readout.timestamp - first) / 1000.0)


def _planned(about: About) -> str:
    if about.definition is None:
        return "the plan is not known"
    return f"at least {duration(about.definition.minimum_run_s)}" if about.definition.minimum_run_s else "no minimum"


def _cards(about: About) -> Iterable[str]:
    readout = about.readout
    lacking, changes = remarks.warming(about), remarks.changing(about)
    if lacking:
        hint = "No look counts before each arm has enough; means so far are no verdict."
        waiting = [one for one in readout.comparisons if one.state == "warming"]
        yield card("Still warming", hint, _listed(lacking) + tables.preliminary(waiting), "wide")
    if changes:
        yield card("An effect that changes", "", _listed(changes), "wide")
    single = len(about.primary) < 2
    for at, one in enumerate(about.primary):
        yield card(
            f"Lift of {escape(one.metric)} over time: {escape(one.arm.variation)}",
            "" if at else _band(about),
            over_time.draw_lift(about, at),
            "wide" if single else "",
        )
    if readout.comparisons:
        hint = (
            "Bar: always valid. Line inside: fixed, for one look. Coloured where 0 is outside the bar: green the "
            "good way, red the other. An arrow goes on beyond the scale."
        )
        yield card("All metrics", hint, forest.draw_metrics(about), "wide")
        yield card("Metrics in figures", _analysis(about), tables.metrics(about), "wide")
    yield card("Sample ratio over time", _RATIO, over_time.draw_sample_ratio(about), "narrow")
    yield card("Units", "By first exposure, against the weights of the phases.", tables.sample_ratio(about), "broad")
    yield from _families(about)
    if about.strata:
        hint = "Tier of the newest decision about a unit before its first exposure. Units: control / variation."
        others = [one for one in about.strata if one.role != "primary"]
        inside = forest.draw_strata([one for one in about.strata if one.role == "primary"], about)
        inside += _listed(remarks.interactions(about))
        if others:
            inside += f"<details><summary>The other metrics</summary>{forest.draw_strata(others, about)}</details>"
        yield card("By risk tier before exposure", hint, inside, "wide")
    adjusted = [one for one in readout.comparisons if one.adjusted is not None]
    if adjusted:
        hint = "What was before exposure is taken out (CUPED): the same lift, with less noise."
        yield card("The covariate", hint, tables.covariate(adjusted), "wide")
    for name, segments in deciles.by_variation(about.uplift).items():
        hint = "First the tenth of units for which most was predicted. Units: control / variation. It decides nothing."
        inside = deciles.draw_deciles(segments) + _listed(deciles.say_ranking(segments))
        yield card(f"Uplift by decile: {escape(name)}", hint, inside, "broad")
        yield card("In figures", "", deciles.tabulate_deciles(segments), "narrow")
    if len(about.verdicts) > 1:
        yield card("Decisions so far", "Written when they change.", tables.decisions(about.verdicts), "wide")
    missing = remarks.off(about)
    if missing:
        yield card("What is off", "", _listed(missing), "wide")
    inside = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in remarks.rests_on(about).items())
    resting = f'<dl>{inside}</dl><h2 class="next">Next record of each topic</h2>'
    hint = "With the definition's version, these offsets are enough to repeat it."
    yield card("What it rests on", "", f'{resting}<p class="hint">{hint}</p>{tables.offsets(about)}', "wide")


_RATIO = "Anytime p of units coming in the declared shares. Below the line no figure on this page is to be trusted."


def _band(about: About) -> str:
    share = percent(1.0 - about.readout.alpha).replace(".0 ", " ")
    return (
        f"In {share} of experiments or more the band holds the true lift at all looks together, however often it is "
        "looked at; the dashed lines hold it at one look chosen beforehand. Early intervals may run off the chart."
    )


def _families(about: About) -> Iterable[str]:
    roles = ("guardrail", "risk")
    guarded: list[Comparison] = [one for one in about.readout.comparisons if one.role in roles]
    alone = "" if guarded else "wide"
    hint = f"Primary and secondary metrics, all variations. e-BH: discoveries at {about.readout.alpha:g} now."
    yield card("Several hypotheses at once", hint, tables.family(about), alone)
    if guarded:
        hint = "One-sided and always valid. Held: even the worst that is not ruled out is within the margin."
        yield card("Guardrails and risk", hint, tables.guardrails(guarded))


def _analysis(about: About) -> str:
    how = "with the covariate, where there is one" if about.readout.cuped else "without covariate"
    return (
        f"The declared analysis: {how}; alpha {about.readout.alpha:g}. Common to all looks: what no interval so "
        "far leaves out."
    )


def _listed(sentences: Iterable[str]) -> str:
    return f'<ul class="said">{"".join(f"<li>{one}</li>" for one in sentences)}</ul>'


def _footer(about: About) -> str:
    return (
        f"<footer>Readout format {about.readout.schema}, definition version {about.readout.version}. What the figures "
        "mean, and when not to trust them: docs/experiments.md.</footer>"
    )
