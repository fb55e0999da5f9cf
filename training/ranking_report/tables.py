"""Tables of the page. Names come from settings that others wrote: escaped."""

import math
from html import escape

from training.evaluate.markup import meter, table
from training.ranking_report.about import About
from training.report.tables import both, pill
from training.report.words import MINUS, UNKNOWN, count, evidence, moment, percent, plain

SOURCES = {
    "given": "named in the request",
    "popular": "popular",
    "trending": "trending",
    "co_visited": "visited together",
    "recent": "recent by the user",
    "new": "new items",
}
"""Sources as a person calls them."""


def tabulate_recall(said: About) -> str:
    """Return which share of next interactions each source had among its candidates."""
    whole = said.whole
    rows = [
        ("", [escape(SOURCES.get(name, name)), f"{percent(share)} {meter(share, 'evidence')}"])
        for name, share in sorted(whole.recall_of.items(), key=lambda one: -one[1])
    ]
    whole_row = ("own", ["any of them", f"{percent(whole.recall)} {meter(whole.recall or 0.0, 'ours')}"])
    return table(["source", "had the next item"], [whole_row, *rows])


def tabulate_steps(said: About) -> str:
    """Return what the steps cost on the mean over all stretches."""
    rows = [("", [escape(name), signed(one.cost), percent(one.moved)]) for name, one in said.whole.steps.items()]
    return table(["step", "cost in NDCG", "places moved"], rows)


def signed(value: float) -> str:
    """Write a cost: below 0 it is a gain."""
    return f"{MINUS if value < 0 else ''}{abs(value):.3g}"


def tabulate_groups(said: About) -> str:
    """Return exposure, merit and clicks by group of items."""
    rows = [
        (
            "",
            [
                f"<b>{escape(name)}</b>",
                both(f"{one.exposure:.3f}", f"{count(one.shown)} of {count(one.items)} shown"),
                UNKNOWN if one.merit is None else percent(one.merit),
                UNKNOWN if one.per_merit is None else f"{one.per_merit:.2f}",
                count(one.clicks),
            ],
        )
        for name, one in said.whole.groups.items()
    ]
    return table(["group", "exposure", "merit", "per merit", "clicks"], rows)


def tabulate_alarms(said: About) -> str:
    """Return the alarm on each group: now, its largest, and which partitions' own went off."""
    rows = []
    for name, points in said.evidence.items():
        now = points[-1]
        off = f"in partition {', '.join(map(str, now.alarms))}" if now.alarms else "in none"
        state = pill("alarm", "bad") if alarming(said, name) else pill("quiet", "good")
        apart = UNKNOWN if now.difference is None else f"{plain(now.difference, sign=True)}"
        rows.append(
            (
                "",
                [
                    f"<b>{escape(name)}</b>",
                    state,
                    evidence(now.log_e),
                    evidence(now.log_largest),
                    apart,
                    count(now.lists),
                    off,
                ],
            )
        )
    head = ["group", "all partitions", "e-value now", "largest", "difference", "lists", "own alarms"]
    return table(head, rows)


def alarming(said: About, group: str) -> bool:
    """Return whether the mean e-value of the partitions ever reached 1 / alpha, since the judge began."""
    return said.evidence[group][-1].log_largest >= -math.log(said.alpha)


def tabulate_minimum(said: About) -> str:
    """Return the tests of minimum proportions by group."""
    rows = []
    for name, one in said.whole.minimum.items():
        share = one.failed / one.lists if one.lists else 0.0
        rows.append(("", [f"<b>{escape(name)}</b>", count(one.lists), percent(share), percent(one.expected)]))
    return table(["group", "lists tested", "failed", "if fair, at most"], rows)


def tabulate_users(said: About) -> str:
    """Return NDCG by group of users."""
    rows = [
        ("", [f"<b>{escape(name)}</b>", percent(one.ndcg), count(one.lists)])
        for name, one in said.whole.user_groups.items()
    ]
    return table(["users", "NDCG", "lists with a click"], rows)


def tabulate_stretches(said: About, most: int = 48) -> str:
    """Return the newest stretches, newest first."""
    rows = [
        (
            "",
            [
                f'<span class="when">{moment(one.since)}</span>',
                count(one.lists),
                count(one.clicked),
                percent(one.ndcg),
                percent(one.ndcg_popularity),
                percent(one.mrr),
                percent(one.recall),
                percent(one.ece),
                escape(", ".join(one.models)),
            ],
        )
        for one in said.stretches[::-1][:most]
    ]
    head = ["from (UTC)", "lists", "with a click", "NDCG", "by popularity", "MRR", "recall", "ECE", "ranker"]
    return table(head, rows)
