"""The panels of the page: each draws or tabulates one part of an evaluation."""

import math
from collections.abc import Sequence
from html import escape

from training.evaluate import words
from training.evaluate.charts import Axis, Plot, decades, heat, round_axis, shares
from training.evaluate.evaluation import Evaluation, Method, Probabilities, Slice
from training.evaluate.markup import best, legend, meter, table
from training.evaluate.words import duration, figure, number, share, small

DRIFTING = 12
COLOURS = {
    "combination": "ours",
    "calibrated tail": "calibrated",
    "forest alone": "forest",
    "evidence alone": "evidence",
    "Isolation Forest, first tenth": "iso",
    "Isolation Forest, everything": "iso2",
    "River's HalfSpaceTrees": "medium",
}


def roc_axes() -> Plot:
    """Return the axes of ROC curves with the diagonal, where chance lies."""
    plot = Plot(shares("false alarms among legitimate events"), shares("recall"), "ROC curves")
    return plot.line([0.0, 1.0], [0.0, 1.0], "soft thin dash", "by chance")


def precision_recall_axes(chance: float) -> Plot:
    """Return the axes of precision against recall with the share of risky events, where chance lies."""
    plot = Plot(shares("recall"), shares("precision"), "precision against recall")
    return plot.line([0.0, 1.0], [chance, chance], "soft thin dash", "by chance")


def draw_roc(methods: Sequence[Method]) -> str:
    """Draw the ROC curves."""
    plot = roc_axes()
    for one in reversed(methods):
        if one.roc is not None:
            plot.line(one.roc.x, one.roc.y, COLOURS[one.name], f"{one.name}: {figure(one.roc_auc)}")
    return plot.svg()


def draw_precision_recall(evaluation: Evaluation, methods: Sequence[Method]) -> str:
    """Draw precision against recall."""
    plot = precision_recall_axes(evaluation.source.risky / evaluation.source.compared)
    for one in reversed(methods):
        if one.precision_recall is not None:
            curve = one.precision_recall
            plot.line(curve.x, curve.y, COLOURS[one.name], f"{one.name}: {figure(one.average_precision)}")
    return plot.svg()


def draw_methods(evaluation: Evaluation) -> str:
    """Return the table of methods, and where we lose."""
    methods = evaluation.methods
    highest = [
        max(getattr(one, field) for one in methods) for field in ("roc_auc", "average_precision", "recall_at_budget")
    ]
    rows, group = [], ""
    for one in methods:
        css = " ".join(
            [*(["own"] if one.group == "flow" else []), *(["break"] if group and group != one.group else [])]
        )
        group = one.group
        colour = COLOURS.get(one.name, "soft")
        cells = [
            escape(one.name),
            best(figure(one.roc_auc), at_top=one.roc_auc == highest[0]) + meter(2 * one.roc_auc - 1, colour),
            best(figure(one.average_precision), at_top=one.average_precision == highest[1])
            + meter(one.average_precision, colour),
            best(share(one.recall_at_budget), at_top=one.recall_at_budget == highest[2]),
            escape(one.note),
        ]
        rows.append((css, cells))
    head = ["method", "ROC-AUC", "average precision", f"recall at {share(evaluation.budget)}", "what it is"]
    return table(head, rows, 4) + _lost(evaluation.losses())


def _lost(losses: Sequence[str]) -> str:
    if not losses:
        return '<div class="lost">No baseline ranks better than the combination.</div>'
    return f'<div class="lost">Where we lose<ul>{"".join(f"<li>{escape(one)}</li>" for one in losses)}</ul></div>'


def _times(slices: Sequence[Slice]) -> Axis:
    count = len(slices)
    chosen = sorted({round(at * (count - 1) / 5) for at in range(6)})
    ticks = tuple((float(at), words.clock(slices[at].start_ms)) for at in chosen)
    return Axis("event time, UTC", 0.0, float(max(1, count - 1)), ticks)


def draw_rates(evaluation: Evaluation) -> str:
    """Draw the alert rates over time."""
    slices = evaluation.over_time
    highest = max(*(one.rates["medium"] for one in slices), evaluation.tiers[0].budget)
    plot = Plot(_times(slices), round_axis("", 100 * highest * 1.05, "{:g} %"), "alert rate over time", 680, 300)
    xs = [float(at) for at in range(len(slices))]
    plot.band(xs, [0.0] * len(xs), [100 * one.rates["medium"] for one in slices], "medium")
    for tier in evaluation.tiers:
        plot.line(xs, [100 * one.rates[tier.tier] for one in slices], tier.tier, tier.tier)
    plot.level(100 * evaluation.tiers[0].budget, "soft", f"budget {share(evaluation.tiers[0].budget)}")
    return plot.svg() + legend((tier.tier, f"{tier.tier} and above") for tier in evaluation.tiers)


def draw_tiers(evaluation: Evaluation) -> str:
    """Return the table of tiers."""
    rows = [
        (
            "",
            [
                f'<span class="pill {one.tier}">{one.tier}</span>',
                share(one.rate),
                share(one.budget),
                share(one.precision),
                share(one.recall),
            ],
        )
        for one in evaluation.tiers
    ]
    soon = [
        (
            "",
            [
                f'<span class="pill {one.tier}">{one.tier}</span>',
                f"{one.caught:,} of {one.users:,}",
                number(one.median_events),
                duration(one.median_seconds),
            ],
        )
        for one in evaluation.detection
    ]
    return (
        table(["", "rate", "budget", "precision", "recall"], rows)
        + '<h2 class="next">Attacked users</h2><p class="hint">From the first risky event; medians.</p>'
        + table(["", "caught", "events", "time"], soon)
    )


def draw_surprise(slices: Sequence[Slice]) -> str:
    """Draw quantiles of the tails over time."""
    top = max(3.0, *(one.surprise[2] for one in slices))
    axis = Axis("", 0.0, math.ceil(top), tuple((float(at), _power(at)) for at in range(math.ceil(top) + 1)))
    plot = Plot(_times(slices), axis, "tail probability over time", 680, 300)
    xs = [float(at) for at in range(len(slices))]
    half, tenth, hundredth = ([one.surprise[level] for one in slices] for level in range(3))
    plot.band(xs, half, hundredth, "ours").band(xs, half, tenth, "ours")
    plot.line(xs, hundredth, "ours thin", "top 1 %").line(xs, half, "ours", "median")
    risky = [one.risky * math.ceil(top) for one in slices]
    plot.line(xs, risky, "risky thin dash", "share of risky events, the full height being 100 %")
    entries = (("ours", "median, top 10 % and top 1 %"), ("risky", "share of risky events (full height: 100 %)"))
    return plot.svg() + legend(entries)


def _power(at: int) -> str:
    return "1" if at == 0 else f"10<tspan class='up' dy='-5'>-{at}</tspan>"


def draw_classes(evaluation: Evaluation) -> str:
    """Draw the tails of both classes."""
    histogram = evaluation.histogram
    highest = max([*histogram.legit, *histogram.risky])
    end = math.ceil(histogram.edges[-1])
    x = Axis("tail probability", 0.0, end, tuple((float(at), _power(at)) for at in range(end + 1)))
    # By the square root, or the first bar would leave nothing to see of the others.
    ticks = [at for at in (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0) if at <= highest * 1.3]
    y = Axis("", 0.0, math.sqrt(highest), tuple((math.sqrt(at), f"{100 * at:g} %") for at in ticks if at <= highest))
    plot = Plot(x, y, "tail probabilities of both classes", 460, 300)
    for css, name, values in (("legit", "legitimate", histogram.legit), ("risky", "risky", histogram.risky)):
        for left, right, value in zip(histogram.edges[:-1], histogram.edges[1:], values, strict=True):
            if value > 0:
                plot.bar(left, right, math.sqrt(value), css, f"{name}: {share(value)}")
    return plot.svg() + legend((("legit", "legitimate"), ("risky", "risky")))


def draw_calibration(evaluation: Evaluation) -> str:
    """Draw nominal against observed tails."""
    found = evaluation.reliability
    plot = Plot(decades("nominal tail probability", -4, 0), decades("", -4, 0), "nominal against observed tails")
    plot.line([1e-4, 1.0], [1e-4, 1.0], "soft thin dash", "calibrated")
    for css, name, values in (
        ("legit", "legitimate events", found.observed_legit),
        ("ours", "all events", found.observed),
    ):
        rows = [(level, value) for level, value in zip(found.level, values, strict=True) if value > 0]
        plot.line([level for level, _ in rows], [value for _, value in rows], css, name)
    return plot.svg() + legend((("ours", "all events"), ("legit", "legitimate events"), ("soft", "calibrated")))


def draw_probabilities(found: Probabilities) -> str:
    """Draw probabilities as given against the share of risky events that came of it, and tabulate both."""
    low = min(-1, math.floor(math.log10(found.bins[0].given)))
    plot = Plot(
        decades("probability given", low, 0), decades("", low, 0), "probabilities given against what came of it"
    )
    plot.line([10.0**low, 1.0], [10.0**low, 1.0], "soft thin dash", "calibrated")
    seen = [one for one in found.bins if one.frauds]
    # Two binomial standard deviations either way, of what was observed.
    spread = [2.0 * math.sqrt(one.risky * (1.0 - one.risky) / one.events) for one in seen]
    lows = [max(10.0**low, one.risky - width) for one, width in zip(seen, spread, strict=True)]
    highs = [min(1.0, one.risky + width) for one, width in zip(seen, spread, strict=True)]
    plot.band([one.given for one in seen], lows, highs, "ours")
    plot.line([one.given for one in seen], [one.risky for one in seen], "ours", "share of risky events")
    rows = [("", [small(one.given), small(one.risky), f"{one.events:,}", f"{one.frauds:,}"]) for one in found.bins]
    drawn = plot.svg() + legend((("ours", "observed, within two standard deviations"), ("soft", "calibrated")))
    told = table(["given, mean", "risky", "events", "risky events"], rows)
    return f'<div class="pair"><div>{drawn}</div><div>{told}</div></div>'


def draw_detection(evaluation: Evaluation) -> str:
    """Draw how soon attacked users were noticed."""
    highest = max([0.01, *(value for one in evaluation.detection for value in one.within.values())])
    x = Axis("events of the user", 1.0, 1000.0, tuple((10.0**at, f"{10**at:,}") for at in range(4)), "log")
    plot = Plot(x, round_axis("", 100 * highest, "{:g} %"), "share of attacked users caught")
    for one in evaluation.detection:
        events = sorted(one.within)
        plot.stairs([float(at) for at in events], [100 * one.within[at] for at in events], one.tier, one.tier)
    return plot.svg() + legend(
        (
            one.tier,
            f"{one.tier} and above: {one.caught:,} of {one.users:,}, {wait(one.median_events, one.median_seconds)}",
        )
        for one in evaluation.detection
    )


def draw_kinds(evaluation: Evaluation) -> str:
    """Return the table of kinds of abuse."""
    rows = [
        (
            "",
            [
                escape(one.kind.replace("_", " ")),
                f"{one.caught:,} of {one.users:,}",
                number(one.median_events),
                f"{one.events:,}",
                share(one.recall) + meter(one.recall, "ours"),
                share(one.recall_hindsight) + meter(one.recall_hindsight, "legit"),
            ],
        )
        for one in evaluation.kinds
    ]
    return table(["kind", "users caught", "median events", "events", "recall", "recall in hindsight"], rows)


def draw_drift(evaluation: Evaluation) -> str:
    """Draw the stability indices of the features that moved most."""
    known = [one for one in evaluation.features if not math.isnan(one.psi)]
    shown = sorted(known, key=lambda one: -one.psi)[:DRIFTING]
    tenths = [f"{at}" for at in range(2, len(shown[0].psi_over_time) + 2)] if shown else []
    rows = [(one.name, one.psi_over_time) for one in shown]
    return heat(rows, tenths, "stability index of features over time")


def draw_features(evaluation: Evaluation) -> str:
    """Return the table of the best features."""
    best = sorted(evaluation.features, key=lambda one: -one.roc_auc if not math.isnan(one.roc_auc) else 1.0)[:DRIFTING]
    rows = [
        ("", [escape(one.name), figure(one.roc_auc) + meter(2 * one.roc_auc - 1, "evidence"), figure(one.psi)])
        for one in best
    ]
    return table(["feature", "ROC-AUC", "stability index"], rows)


def draw_scaling(evaluation: Evaluation) -> str:
    """Return the table of other numbers of partitions."""
    names = list(evaluation.scaling[0].before)
    rows = [
        (
            "",
            [
                str(one.partitions),
                f"{one.compared:,}",
                f"{one.risky:,}",
                *(f"{figure(one.before[name])} &rarr; {figure(one.after[name])}" for name in names),
            ],
        )
        for one in evaluation.scaling
    ]
    return table(["partitions", "events", "risky", *names], rows)


def draw_partitions(evaluation: Evaluation) -> str:
    """Return the table of partitions."""
    rows = [
        (
            "",
            [
                str(one.partition),
                f"{one.events:,}",
                f"{one.unknown:,}",
                f"{one.risky:,}",
                figure(one.roc_auc) + meter(2 * one.roc_auc - 1, "ours"),
                share(one.rate),
            ],
        )
        for one in evaluation.partitions
    ]
    return table(["partition", "events", "warming", "risky", "ROC-AUC", "alert rate, medium up"], rows)


def wait(events: float, seconds: float) -> str:
    """Say how long detection took."""
    return "none" if math.isnan(events) else f"median after {number(events)} events, {duration(seconds)}"
