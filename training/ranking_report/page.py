"""The page about ranking: one HTML file, no script and nothing from the net, light or dark as the reader is."""

import math
from collections.abc import Iterable
from html import escape
from importlib import resources

from training.evaluate.markup import card, document, tile
from training.ranking_report import charts, tables
from training.ranking_report.about import About
from training.ranking_report.tables import alarming
from training.report.words import count, duration, evidence, moment, percent, points


def page(said: About) -> str:
    """Return the page."""
    style = resources.files("training.report").joinpath("report.css").read_text(encoding="utf-8")
    inside = "".join(_cards(said))
    body = f'{_header(said)}{_verdict(said)}{_tiles(said)}<div class="grid">{inside}</div>{_footer()}'
    return document("Ranking", body, "quality and fairness", style)


def _header(said: About) -> str:
    whole = said.whole
    rankers = ", ".join(map(escape, whole.models[-3:]))
    return (
        '<header><div class="mark">Tidegate ranking</div><h1>How good and how fair lists were</h1>'
        f'<p class="lead">{count(whole.lists)} lists from {moment(whole.since)} to {moment(whole.until)} UTC, in '
        f"{count(len(said.stretches))} stretches of time and {count(len(said.partitions))} partitions; ranked by "
        f"{rankers}.</p></header>"
    )


def _verdict(said: About) -> str:
    if not said.evidence:
        return ""
    named = [name for name in said.evidence if alarming(said, name)]
    alone = {name: said.evidence[name][-1].alarms for name in said.evidence if name not in named}
    lines = [_alarm_line(said, name) for name in named]
    lines += [
        f"{escape(name)}: only the alarm of partition {', '.join(map(str, at))} went off"
        for name, at in alone.items()
        if at
    ]
    lines += [
        f"{escape(name)}: the judge began anew, all is since {moment(told[-1].since_ms)} UTC"
        for name, told in said.evidence.items()
        if told[-1].since_ms > said.whole.since
    ]
    saying, css = ("Exposure is not fair", "stop") if named else ("No alarm on exposure", "ship")
    listed = "".join(f"<li>{line}</li>" for line in lines)
    hint = (
        f"A fair ranking gets here with probability {percent(said.alpha)} at most for each group, however often it is "
        f"looked at. Fair: a mean difference of exposure of {said.tolerance:g} at most, given all lists before in all "
        "partitions, so lists of one must not foretell how fair another's will be."
    )
    inside = f'{f"<ul>{listed}</ul>" if listed else ""}<p class="hint">{hint}</p>'
    return f'<section class="decision {css}"><div class="saying">{saying}</div><div>{inside}</div></section>'


def _alarm_line(said: About, name: str) -> str:
    told = said.evidence[name]
    now = [one for one in told if one.since_ms == told[-1].since_ms]
    first = next(one for one in now if one.log_largest >= -math.log(said.alpha))
    difference = told[-1].difference
    way = "" if difference is None else ", exposed too much" if difference > 0 else ", exposed too little"
    largest = evidence(told[-1].log_largest)
    return f"<b>{escape(name)}</b>{way}: known by {moment(first.time_ms)} UTC; e-value up to {largest}"


def _tiles(said: About) -> str:
    whole = said.whole
    above = None if whole.ndcg is None or whole.ndcg_popularity is None else whole.ndcg - whole.ndcg_popularity
    tiles = [
        tile(f"NDCG@{whole.k}", percent(whole.ndcg), f"{points(above, sign=True)} against popularity"),
        tile(f"MRR@{whole.k}", percent(whole.mrr), f"{count(whole.clicked)} lists with a click"),
        tile("recall of candidates", percent(whole.recall), f"{count(whole.asked)} next interactions"),
        tile("calibration error", percent(whole.ece), f"Brier score {_plain(whole.brier)}"),
        tile("lists judged", count(whole.lists - whole.evicted), f"{count(whole.evicted)} had to go before"),
        tile("cost of steps", _cost(said), "NDCG of the ranker's own scores"),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _plain(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g}"


def _cost(said: About) -> str:
    steps = said.whole.steps
    return tables.signed(sum(one.cost for one in steps.values())) if steps else "none"


def _cards(said: About) -> Iterable[str]:
    whole = said.whole
    hint = (
        "Each list was ranked before anything was learned from it. Both orders are of the places that were shown: what "
        "was not shown could not be clicked. Places further up are clicked more in any order, which speaks for the one "
        "that was shown."
    )
    yield card(f"NDCG@{whole.k} against popularity", hint, charts.draw_ndcg(said), "wide")
    hint = "Of users' next clicks and purchases after a list, whatever the item. A candidate may have several sources."
    yield card("Recall by source of candidates", hint, tables.tabulate_recall(said) if whole.recall_of else _none())
    hint = f"Expected calibration error {percent(whole.ece)}. Square roots on both axes. On the line: honest."
    yield card("Reliability of probabilities", hint, charts.draw_reliability(said))
    if whole.steps:
        hint = "Of the ranker's own scores: if the ranker is wrong, so is the cost."
        yield card("What the steps cost", hint, charts.draw_costs(said) + tables.tabulate_steps(said))
    if whole.user_groups:
        hint = "Of lists with a click, as they were shown."
        yield card("NDCG by group of users", hint, charts.draw_user_groups(said) + tables.tabulate_users(said))
    if said.evidence:
        hint = (
            "Exposure of each group against all other items, mean over partitions. 20 is twenty to one against fair "
            "lists. Once above the line, the alarm stays."
        )
        yield card("Evidence against fair exposure", hint, charts.draw_evidence(said), "wide")
        yield card("The alarms in figures", "", tables.tabulate_alarms(said), "wide")
    if whole.groups:
        hint = "1 in the first place, 1 / log2(1 + place) further down, 0 if not shown; mean over candidates."
        yield card("Exposure by group", hint, charts.draw_exposure(said))
        hint = "Means over candidates. Merit: calibrated probability of a click. Per merit: 1 is that of all items."
        inside = tables.tabulate_groups(said)
        if whole.minimum:
            inside += (
                '<h2 class="next">Minimum proportions</h2><p class="hint">Lists with too few of a group in some prefix '
                f"of the first places (FA*IR).</p>{tables.tabulate_minimum(said)}"
            )
        yield card("Groups of items in figures", hint, inside)
    yield card("Stretches of time", "The newest first.", tables.tabulate_stretches(said), "wide")
    window = duration((said.stretches[-1].until - said.stretches[-1].since) / 1000.0)
    if whole.evicted:
        text = (
            f"{count(whole.evicted)} lists had to go before their time was over and are in no figure but what was "
            "shown: raise <code>ranking.judge.max_lists</code>."
        )
        yield card("What is off", "", f'<ul class="said"><li>{text}</li></ul>', "wide")
    rest = {
        "Stretch": f"{window} of event time",
        "Partitions": f"{', '.join(map(str, said.partitions))} of <code>ranking.requests</code>",
        "Gain": "linear: a click 1, a purchase 2",
        "Alarm": f"alpha {said.alpha:g} of each group, tolerance {said.tolerance:g}",
        "Rankers": escape(", ".join(whole.models)),
    }
    inside = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rest.items())
    yield card("What it rests on", "", f"<dl>{inside}</dl>", "wide")


def _none() -> str:
    return charts.EMPTY.format("Nothing is known yet.")


def _footer() -> str:
    return "<footer>What the figures mean, and when not to trust them: docs/fairness.md.</footer>"
