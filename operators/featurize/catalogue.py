"""The features in column order, and the fixed map of each into [0, 1].

| family | raw unit | mapped | limit |
|---|---|---|---|
| count | events | log1p(x) / log1p(limit) | 100 * sqrt(window / 60 s), rounded |
| amount | the events' own unit | log1p(x) / log1p(limit) | 100,000 * sqrt(window / 60 s), rounded |
| amount_deviation, gap_deviation | standard deviations | (x + limit) / (2 * limit) | 8 |
| entropy | nats | x / limit | ln 24 |
| distinct | values | log1p(x) / log1p(limit) | 24 |
| novelty | 0 or 1 | x | 1 |
| gap_variation | of the mean | x / limit | 2 |
| gap_entropy | of its maximum | x | 1 |
| hour_deviation | nats | x / limit | 3.5 |
| counterparty_new_share | of events | x | 1 |
| amount_repeats | events | log1p(x) / log1p(limit) | 24 |
| declared by the user | own | log1p(x - low) / log1p(limit - low) | the two limits declared |

All are clipped to [0, 1]. The limits are part of the features' meaning: forest and histograms downstream rely on them,
so they never adapt. Counts grow with the root of the window because bursts average out.

Directions: much activity, many values, new values, unusual hours and repeated amounts are risky ("up"); short gaps and
gaps as even as a machine's are ("down"). Amounts are risky both
ways: takeovers spend more than usual, card testing less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from operators.batches import ATTRIBUTES, F64
from operators.compiled import Int, borrowing
from operators.own_feature import OwnFeature

HISTORY = 24
"""Events per user that entropy, distinct count and novelty look at."""

NOVELTIES = ("ip", "device", "counterparty")
DEVIATION_LIMIT = 8.0
MAX_COUNT = 1 << 16  # length of the logarithm table; above every count limit the configuration allows

Family = Literal[
    "count",
    "amount",
    "amount_deviation",
    "gap_deviation",
    "entropy",
    "distinct",
    "novelty",
    "gap_variation",
    "gap_entropy",
    "hour_deviation",
    "counterparty_new_share",
    "amount_repeats",
]
FAMILIES: tuple[str, ...] = get_args(Family)
_LOGARITHMIC = ("count", "amount", "distinct", "amount_repeats")
_LIMITS = {"gap_variation": 2.0, "hour_deviation": 3.5, "amount_repeats": float(HISTORY)}


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of `Featured`.

    Attributes:
        name: unique; also the name in reasons and metrics.
        unit: of the raw value.
        limit: where the map into [0, 1] saturates, in the raw unit.
        direction: which way is risky.
        window_s: length of the window in seconds; None where there is none.
        family: which of the maps above; of a declared feature, another name.
        low: where the map begins, in the raw unit.
        definition: of a declared feature, all that its values depend on; empty for the built-in ones.
    """

    name: str
    unit: str
    limit: float
    direction: Literal["up", "down", "both"]
    window_s: int | None
    family: str
    low: float = 0.0
    definition: str = ""


def window_name(window_s: int) -> str:
    """Return `1m`, `24h`, `90s`: hours if whole, else minutes if whole, else seconds."""
    if window_s % 3_600 == 0:
        return f"{window_s // 3_600}h"
    return f"{window_s // 60}m" if window_s % 60 == 0 else f"{window_s}s"


def catalogue(windows_s: tuple[int, ...], own: Sequence[OwnFeature] = ()) -> tuple[Feature, ...]:
    """Return the features in column order: family by family, within a family attribute by attribute, then by window.

    The declared ones come last, in the order of their declaration.
    """
    per_window: list[tuple[str, str, Family, Literal["up", "down", "both"]]] = [
        ("event_count", "events", "count", "up"),
        ("amount_sum", "amount", "amount", "up"),
        ("amount_deviation", "standard deviations", "amount_deviation", "both"),
        ("gap_deviation", "standard deviations", "gap_deviation", "down"),
        *((f"{attribute}_entropy", "nats", "entropy", "up") for attribute in ATTRIBUTES),
        *((f"{attribute}_distinct", "values", "distinct", "up") for attribute in ATTRIBUTES),
    ]
    features = [
        Feature(f"{name}_{window_name(window_s)}", unit, _limit(family, window_s), direction, window_s, family)
        for name, unit, family, direction in per_window
        for window_s in windows_s
    ]
    features += [Feature(f"{attribute}_novelty", "0 or 1", 1.0, "up", None, "novelty") for attribute in NOVELTIES]
    longest_s = windows_s[-1]
    alone: list[tuple[Family, str, Literal["up", "down", "both"], int | None]] = [
        ("gap_variation", "of the mean", "down", longest_s),
        ("gap_entropy", "of its maximum", "down", longest_s),
        ("hour_deviation", "nats", "up", None),
        ("counterparty_new_share", "of events", "up", longest_s),
        ("amount_repeats", "events", "up", longest_s),
    ]
    for family, unit, direction, window_s in alone:
        name = family if window_s is None else f"{family}_{window_name(window_s)}"
        features.append(Feature(name, unit, _LIMITS.get(family, 1.0), direction, window_s, family))
    return (*features, *map(_declared, own))


def _declared(own: OwnFeature) -> Feature:
    low, high = own.limits
    definition = repr((own.shaping, own.limits, own.direction))
    family = own.family or own.name
    return Feature(own.name, own.unit_name, high, own.direction, own.window_s, family, low, definition)


def taken_names(windows_s: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names and families that a declared feature cannot have."""
    return (*FAMILIES, *(feature.name for feature in catalogue(windows_s)))


def _limit(family: Family, window_s: int) -> float:
    if family == "count":
        return float(round(100 * math.sqrt(window_s / 60)))
    if family == "amount":
        return float(round(100_000 * math.sqrt(window_s / 60)))
    if family in ("amount_deviation", "gap_deviation"):
        return DEVIATION_LIMIT
    return math.log(HISTORY) if family == "entropy" else float(HISTORY)


LOG1P = np.array([math.log1p(count) for count in range(MAX_COUNT)])


def limits(features: tuple[Feature, ...]) -> F64:
    """Return what `map_into` needs of a catalogue, shape (4, features).

    The limit of each column; log1p of its distance from `low`; `low`; 1 where the map is logarithmic and 0 elsewhere.
    """
    columns = np.array([feature.limit for feature in features])
    low = np.array([feature.low for feature in features])
    logarithmic = [bool(feature.definition) or feature.family in _LOGARITHMIC for feature in features]
    return np.stack([columns, np.log1p(columns - low), low, np.array(logarithmic, np.float64)])


def windows_of(features: tuple[Feature, ...]) -> int:
    """Return for how many windows a catalogue was made."""
    return sum(feature.family == "count" for feature in features)


@borrowing
def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@borrowing
def _log_count(value: float, limit: float, log_limit: float, log1p: F64) -> float:
    if value >= limit:
        return 1.0
    unit: float = log1p[np.int64(value)] / log_limit
    return unit


@borrowing
def map_into(raw: F64, windows: Int, limits: F64, log1p: F64, mapped: F64) -> None:
    """Write the map of `raw`, shape (n, features), into `mapped`; `limits` and `LOG1P` as this module gives them."""
    deviations, entropies, distincts, novelties = 2 * windows, 4 * windows, 8 * windows, 12 * windows
    for i in range(raw.shape[0]):
        for k in range(windows):
            mapped[i, k] = _log_count(raw[i, k], limits[0, k], limits[1, k], log1p)
        for k in range(windows, deviations):
            # Most users have no amounts at all: the branch saves the logarithm.
            mapped[i, k] = _clip(np.log1p(raw[i, k]) / limits[1, k]) if raw[i, k] > 0.0 else 0.0
        for k in range(deviations, entropies):
            mapped[i, k] = _clip((raw[i, k] + limits[0, k]) / (2.0 * limits[0, k]))
        for k in range(entropies, distincts):
            mapped[i, k] = _clip(raw[i, k] / limits[0, k])
        for k in range(distincts, novelties):
            mapped[i, k] = _log_count(raw[i, k], limits[0, k], limits[1, k], log1p)
        for k in range(novelties, raw.shape[1]):
            x, reach = raw[i, k] - limits[2, k], limits[0, k] - limits[2, k]
            if x <= 0.0:
                mapped[i, k] = 0.0
            elif limits[3, k] != 0.0:
                mapped[i, k] = _clip(np.log1p(x) / limits[1, k])
            else:
                mapped[i, k] = _clip(x / reach)


def unit_interval(features: tuple[Feature, ...], raw: F64) -> F64:
    """Return `raw`, shape (n, features), mapped into [0, 1] by the limits of a catalogue."""
    mapped = np.empty_like(raw)
    map_into(raw, windows_of(features), limits(features), LOG1P, mapped)
    return mapped
