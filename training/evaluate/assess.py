"""Assess: a replay and its labels, to all the figures.

What needs warm models leaves out the events before they were; what needs the truth leaves out those that nobody knows.
How many these are is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from operators.batches import AHEAD, DUPLICATE, F64, LATE, TIERS, U8, Bool
from operators.featurize.catalogue import Feature
from training.evaluate import evaluation as say
from training.evaluate.baselines import FIRST, by_feature, isolation_forest
from training.evaluate.figures import (
    Curve,
    Delay,
    average_precision,
    budget_threshold,
    caught,
    delays,
    precision_recall_curve,
    quantiles_over_time,
    reliability,
    roc_auc,
    roc_curve,
    stability_index,
)
from training.evaluate.replay import Replayed

SLICES = 48
TENTHS = 10
WITHIN = tuple(dict.fromkeys(round(10 ** (at / 10)) for at in range(31)))  # 1 to 1,000 by tenths of a decade
BEST_FEATURES = 5
COUNT = "event_count_10m"
"""The plain count: what anybody would try first."""


@dataclass(frozen=True, slots=True)
class AssessConfig:
    """What to work out.

    Attributes:
        budget: share of events that the recall by kind of abuse is taken at, in (0, 1).
        baselines: Isolation Forest too, which takes scikit-learn and some time.
        seed: of Isolation Forest.
    """

    budget: float = 0.005
    baselines: bool = True
    seed: int = 0


class Labels(NamedTuple):
    """The truth about each event read.

    Attributes:
        truth: 1 risky, 0 legitimate, -1 nobody knows, shape (m,).
        kind: number of the kind of abuse, -1 where there is none, shape (m,).
        kinds: their names.
    """

    truth: NDArray[np.int8]
    kind: NDArray[np.int64]
    kinds: tuple[str, ...]


class Unassessable(ValueError):
    """The events or labels do not allow the figures; the text says what was expected and got."""


def assess(
    replayed: Replayed,
    labels: Labels,
    catalogue: Sequence[Feature],
    budgets: Mapping[str, float],
    config: AssessConfig,
    source: Mapping[str, object],
    run: say.Run,
) -> say.Evaluation:
    """Work out all figures.

    Args:
        replayed: what the flow decided.
        labels: of the events read.
        catalogue: the features, in the order of the columns.
        budgets: alert budget by tier, from medium up.
        config: what to work out.
        source: the fields of `Source` that only the caller knows.
        run: how long the replay took.

    Raises:
        Unassessable: too little was decided or labelled, or with one class only.
        MissingExtra: scikit-learn is wanted and not installed.
    """
    truth, kind = labels.truth[replayed.line], labels.kind[replayed.line]
    known = replayed.known
    rows = np.flatnonzero(known & (truth >= 0))
    risky = truth[rows] == 1
    _check(replayed, truth, known, risky)
    scores = {
        "combination": (replayed.score[rows], "what the tiers are made of"),
        "calibrated tail": (
            -np.log10(replayed.tail[rows]),
            "the combination after calibration: ties at its resolution",
        ),
        "forest alone": (replayed.forest[rows], "Half-Space Trees"),
        "evidence alone": (replayed.evidence[rows], "directional evidence"),
    }
    methods = [
        _drawn(_ranked(name, "flow", note, score, risky, config.budget), score, risky)
        for name, (score, note) in scores.items()
    ]
    own = by_feature(replayed.raw[rows], catalogue, risky)
    columns = {feature.name: column for column, feature in enumerate(catalogue)}
    shown = [one.name for one in own[:BEST_FEATURES]]
    shown += [COUNT] if COUNT in columns and COUNT not in shown else []
    for name in shown:
        value = _directed(replayed.raw[rows, columns[name]].astype(np.float64), catalogue[columns[name]])
        note = "the plain count" if name == COUNT else "best single features, chosen by the labels"
        methods.append(_ranked(name, "feature", note, value, risky, config.budget))
    if config.baselines:
        methods += _isolation_forests(replayed, rows, risky, config)
    auc = {one.name: one.auc for one in own}
    unflagged = known & (replayed.flags == 0)
    return say.Evaluation(
        source=_source(replayed, truth, known, risky, source),
        run=run,
        budget=config.budget,
        budget_rate=float(np.mean(replayed.tail[unflagged] <= config.budget)) if unflagged.any() else float("nan"),
        methods=methods,
        tiers=[_tier(name, budget, replayed, rows, risky, unflagged) for name, budget in budgets.items()],
        partitions=_partitions(replayed, truth),
        detection=[_detection(name, replayed, rows, risky) for name in ("medium", "high")],
        kinds=_kinds(replayed, rows, kind, labels.kinds, config.budget),
        over_time=_over_time(replayed, truth, known, budgets),
        reliability=_reliability(replayed.tail, known, truth),
        histogram=_histogram(replayed.tail[rows], risky),
        features=_features(replayed, known, catalogue, auc),
    )


def _check(replayed: Replayed, truth: NDArray[np.int8], known: Bool, risky: Bool) -> None:
    if not known.any():
        raise Unassessable(
            f"expected events after the warm-up, got none: all {len(known):,} fell into it, on "
            f"{len(np.unique(replayed.partition))} partitions; take a longer file or fewer --partitions"
        )
    if not len(risky):
        raise Unassessable("expected labelled events after the warm-up, got none; see --label-field and --labels")
    if risky.all() or not risky.any():
        got, total = ("risky", int((truth == 1).sum())) if risky.all() else ("legitimate", int((truth == 0).sum()))
        raise Unassessable(
            f"expected risky and legitimate events after the warm-up, got {got} ones only ({total:,} in the whole "
            "file); see --risky for the values that mean risky"
        )


def _directed(value: F64, feature: Feature) -> F64:
    directed = {"up": value, "down": -value, "both": np.abs(value)}[feature.direction]
    readable: F64 = np.nan_to_num(directed, nan=-np.inf)
    return readable


def _ranked(name: str, group: say.Group, note: str, score: F64, risky: Bool, budget: float) -> say.Method:
    alert = score >= budget_threshold(score, budget)
    return say.Method(
        name=name,
        group=group,
        note=note,
        looks_ahead=False,
        roc_auc=roc_auc(score, risky),
        average_precision=average_precision(score, risky),
        recall_at_budget=caught(alert, risky).recall,
    )


def _drawn(method: say.Method, score: F64, risky: Bool) -> say.Method:
    roc, precision_recall = roc_curve(score, risky), precision_recall_curve(score, risky)
    return msgspec.structs.replace(method, roc=_line(roc), precision_recall=_line(precision_recall))


def _line(curve: Curve) -> say.Line:
    return say.Line(x=_rounded(curve.x), y=_rounded(curve.y))


def _rounded(values: F64) -> list[float]:
    return [round(float(value), 6) for value in values]


def _isolation_forests(
    replayed: Replayed, rows: NDArray[np.intp], risky: Bool, config: AssessConfig
) -> list[say.Method]:
    unit = np.nan_to_num(replayed.unit)
    first = unit[: max(1, int(FIRST * len(unit)))]
    found = []
    for name, fit, note, ahead in (
        ("Isolation Forest, first tenth", first, "fitted once on the first tenth of the stream", False),
        ("Isolation Forest, everything", unit, "fitted on the whole stream: looks ahead", True),
    ):
        score = isolation_forest(fit, unit[rows], config.seed)
        method = _ranked(name, "isolation forest", note, score, risky, config.budget)
        found.append(_drawn(msgspec.structs.replace(method, looks_ahead=ahead), score, risky))
    return found


def _source(
    replayed: Replayed, truth: NDArray[np.int8], known: Bool, risky: Bool, told: Mapping[str, object]
) -> say.Source:
    flags = {"late": LATE, "duplicate": DUPLICATE, "ahead": AHEAD}
    figures: dict[str, object] = {
        **told,
        "read": replayed.read,
        "rejected": replayed.rejected,
        "decided": len(known),
        "unknown": int((~known).sum()),
        "unlabelled": int((known & (truth < 0)).sum()),
        "compared": len(risky),
        "risky": int(risky.sum()),
        "risky_unknown": int((~known & (truth == 1)).sum()),
        "flagged": {name: int((replayed.flags & bit > 0).sum()) for name, bit in flags.items()},
        "users": len(np.unique(replayed.user)),
        "first_ms": int(replayed.time_ms.min()),
        "last_ms": int(replayed.time_ms.max()),
        "audited": replayed.audited,
    }
    return say.Source(**figures)  # type: ignore[arg-type]  # the caller's fields are its own


def _tier(
    name: str, budget: float, replayed: Replayed, rows: NDArray[np.intp], risky: Bool, unflagged: Bool
) -> say.Tier:
    alert = at_least(replayed.tier, name)
    against = caught(alert[rows], risky)
    return say.Tier(
        tier=name,
        budget=budget,
        alerts=int(alert.sum()),
        rate=float(alert[unflagged].mean()) if unflagged.any() else float("nan"),
        precision=against.precision,
        recall=against.recall,
    )


def at_least(tier: U8, name: str) -> Bool:
    """Return which decisions are of a tier or above it, shape (n,)."""
    alert: Bool = tier >= TIERS.index(name)
    return alert


def _partitions(replayed: Replayed, truth: NDArray[np.int8]) -> list[say.Partition]:
    found = []
    for number in np.unique(replayed.partition).tolist():
        here = replayed.partition == number
        known = here & replayed.known
        compared = known & (truth >= 0)
        risky = truth[compared] == 1
        unflagged = known & (replayed.flags == 0)
        found.append(
            say.Partition(
                partition=number,
                events=int(here.sum()),
                unknown=int((here & ~replayed.known).sum()),
                risky=int(risky.sum()),
                roc_auc=roc_auc(replayed.score[compared], risky) if compared.any() else float("nan"),
                rate=float(at_least(replayed.tier[unflagged], "medium").mean()) if unflagged.any() else float("nan"),
            )
        )
    return found


def _detection(name: str, replayed: Replayed, rows: NDArray[np.intp], risky: Bool) -> say.Detection:
    alert = at_least(replayed.tier[rows], name)
    found = delays(replayed.user[rows], replayed.time_ms[rows], risky, alert)
    noticed = [one for one in found if one.events]
    return say.Detection(
        tier=name,
        users=len(found),
        caught=len(noticed),
        median_events=_quantile([one.events for one in noticed], 0.5),
        p90_events=_quantile([one.events for one in noticed], 0.9),
        median_seconds=_quantile([one.seconds for one in noticed], 0.5),
        p90_seconds=_quantile([one.seconds for one in noticed], 0.9),
        within={most: sum(one.events <= most for one in noticed) / max(1, len(found)) for most in WITHIN},
    )


def _quantile(values: Sequence[float], level: float) -> float:
    return float(np.quantile(values, level)) if values else float("nan")


def _kinds(
    replayed: Replayed, rows: NDArray[np.intp], kind: NDArray[np.int64], names: tuple[str, ...], budget: float
) -> list[say.Kind]:
    score, tail, of_kind = replayed.score[rows], replayed.tail[rows], kind[rows]
    online, hindsight = tail <= budget, score >= budget_threshold(score, budget)
    found = []
    for number, name in enumerate(names):
        mine = of_kind == number
        if not mine.any():
            continue
        waits: list[Delay] = delays(replayed.user[rows], replayed.time_ms[rows], mine, online)
        noticed = [one.events for one in waits if one.events]
        found.append(
            say.Kind(
                kind=name,
                users=len(waits),
                caught=len(noticed),
                events=int(mine.sum()),
                recall=float(online[mine].mean()),
                recall_hindsight=float(hindsight[mine].mean()),
                median_events=_quantile(noticed, 0.5),
            )
        )
    return found


def _over_time(
    replayed: Replayed, truth: NDArray[np.int8], known: Bool, budgets: Mapping[str, float]
) -> list[say.Slice]:
    rows = np.flatnonzero(known)
    bins = max(1, min(SLICES, len(rows) // 50))
    surprise = quantiles_over_time(-np.log10(replayed.tail[rows]), bins, (0.5, 0.9, 0.99))
    found = []
    for part, levels in zip(np.array_split(rows, bins), surprise, strict=True):
        labelled = part[truth[part] >= 0]
        found.append(
            say.Slice(
                start_ms=int(replayed.time_ms[part[0]]),
                risky=float((truth[labelled] == 1).mean()) if len(labelled) else float("nan"),
                rates={name: float(at_least(replayed.tier[part], name).mean()) for name in budgets},
                surprise=_rounded(levels),
            )
        )
    return found


def _reliability(tail: F64, known: Bool, truth: NDArray[np.int8]) -> say.Reliability:
    levels = np.logspace(-4.0, 0.0, 33)
    return say.Reliability(
        level=[float(level) for level in levels],
        observed=_rounded(reliability(tail[known], levels)),
        observed_legit=_rounded(reliability(tail[known & (truth == 0)], levels)),
    )


def _histogram(tail: F64, risky: Bool) -> say.Histogram:
    surprise = -np.log10(tail)
    edges = np.linspace(0.0, max(1.0, float(surprise.max())), 41)
    shares = [np.histogram(surprise[mine], edges)[0] / max(1, mine.sum()) for mine in (~risky, risky)]
    return say.Histogram(edges=_rounded(edges), legit=_rounded(shares[0]), risky=_rounded(shares[1]))


def _features(
    replayed: Replayed, known: Bool, catalogue: Sequence[Feature], auc: Mapping[str, float]
) -> list[say.Feature]:
    rows = np.flatnonzero(known)
    half, tenths = len(rows) // 2, np.array_split(rows, TENTHS)
    found = []
    for column, feature in enumerate(catalogue):
        value = replayed.unit[:, column].astype(np.float64)
        found.append(
            say.Feature(
                name=feature.name,
                roc_auc=auc[feature.name],
                psi=stability_index(value[rows[:half]], value[rows[half:]]),
                psi_over_time=_rounded(
                    np.array([stability_index(value[tenths[0]], value[part]) for part in tenths[1:]])
                ),
            )
        )
    return found
