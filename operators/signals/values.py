"""Rates, shares, velocity, trending and entropy of items, from what was added up over partitions.

Everything comes twice: as it was counted, and with each user's weight (`weighted_...`), in which a user of weight 0
moves nothing. Numbers are doubles; NaN where nothing is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from operators.batches import F64, Bool
from operators.noticed import CLICK, IMPRESSION, PURCHASE
from operators.signals.config import PANES, panes_ms
from operators.signals.items import (
    AUDIENCE,
    DEBIASED,
    RISKY_IMPRESSIONS,
    RISKY_INTERACTIONS,
    WEIGHTED,
    WEIGHTED_DEBIASED,
)
from ranking.rates import entropy_nats, smoothed_rate

_COUNTS: Final = ("impressions", "clicks", "purchases")
_RATES: Final = ("click_rate", "purchase_rate", "debiased_rate")
_BOTH: Final = ("", "weighted_")

PER_WINDOW: Final = (
    *(f"{how}{name}" for how in _BOTH for name in _COUNTS),
    *(f"{how}{name}" for how in _BOTH for name in _RATES),
    "risky_share",
    "risky_impression_share",
    "exposure_share",
)
"""Of each window: counts; clicks by impression, purchases by click, and clicks over their chance to be seen by
impression, all smoothed towards the rate of all items; the share of clicks and purchases, and of impressions, that are
of risky users; the item's share of all impressions."""

OVERALL: Final = tuple(
    f"{how}{name}"
    for how in _BOTH
    for name in ("fading_impressions", "fading_clicks", "fading_purchases", "fading_click_rate", "trending")
) + tuple(f"{how}{name}" for how in _BOTH for name in ("velocity", "audience", "entropy"))
"""What fades, and its click rate, smoothed; trending, Metarank's, with days that go on all the time: the sum of count x
weight of the kind x 2^(-age / half-life); clicks and purchases an hour in the shortest window; users, and their entropy
in nats, in the period with the more clicks and purchases, the running one or the one before."""

_FLOORS: Final = {"rate": 0.01, "share": 0.1, "entropy": 0.5}
_LEAST_COUNT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Added:
    """Sums of some items over all partitions, as of one time.

    Attributes:
        windows: shape (n, windows, columns).
        decayed: shape (n, columns).
        audience: of the period with more clicks and purchases, shape (n, 6).
    """

    windows: F64
    decayed: F64
    audience: F64


def label(window_s: int) -> str:
    """Return the name of a window: `1d`, `1h`, `10m`, `45s`."""
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if window_s % seconds == 0:
            return f"{window_s // seconds}{unit}"
    return f"{window_s}s"


def names_of(windows_s: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the columns of `values_of`."""
    return (*(f"{name}_{label(window)}" for window in windows_s for name in PER_WINDOW), *OVERALL)


def values_of(
    of: Added, everything: Added, stream_ms: int, windows_s: tuple[int, ...], smoothing: float, worth: Sequence[float]
) -> F64:
    """Return the signals of items, shape (n, len(names_of(windows_s))).

    Args:
        of: the items.
        everything: all items together, one row.
        stream_ms: as of when.
        windows_s: lengths of the windows.
        smoothing: w of `ranking.rates.smoothed_rate`, above 0.
        worth: what an impression, a click and a purchase are worth in `trending`.
    """
    found: list[F64] = []
    for w in range(len(windows_s)):
        found += _of_window(of.windows[:, w], everything.windows[:, w], smoothing)
    pane_ms = int(panes_ms(windows_s)[0])
    hours = (stream_ms - (stream_ms // pane_ms - PANES + 1) * pane_ms) / 3_600_000.0
    velocities = []
    for start in (0, WEIGHTED):
        fading = of.decayed[:, start : start + 3]
        found += [fading[:, kind] for kind in range(3)]
        found.append(_rate(of.decayed, everything.decayed, start + CLICK, start + IMPRESSION, smoothing))
        found.append(np.asarray(fading @ np.asarray(worth, np.float64), np.float64))
        first = of.windows[:, 0, start : start + 3]
        velocities.append((first[:, CLICK] + first[:, PURCHASE]) / hours)
    half = len(AUDIENCE) // 2
    for k, velocity in enumerate(velocities):
        n, users, c_log_c = (of.audience[:, k * half + j] for j in range(half))
        found += [velocity, users, entropy_nats(n, c_log_c)]
    return np.stack(found, axis=1)


def _of_window(sums: F64, everything: F64, smoothing: float) -> list[F64]:
    found = [sums[:, start + kind] for start in (0, WEIGHTED) for kind in range(3)]
    for start, debiased in ((0, DEBIASED), (WEIGHTED, WEIGHTED_DEBIASED)):
        shown, clicked, bought = start + IMPRESSION, start + CLICK, start + PURCHASE
        for hits, of in ((clicked, shown), (bought, clicked), (debiased, shown)):
            found.append(_rate(sums, everything, hits, of, smoothing))
    return [
        *found,
        _over(sums[:, RISKY_INTERACTIONS], sums[:, CLICK] + sums[:, PURCHASE]),
        _over(sums[:, RISKY_IMPRESSIONS], sums[:, IMPRESSION]),
        # An item's part may be here before that of all items together: for a moment it then has more than all of them.
        np.minimum(_over(sums[:, IMPRESSION], np.broadcast_to(everything[:, IMPRESSION], len(sums))), 1.0),
    ]


def _rate(sums: F64, everything: F64, hits: int, of: int, smoothing: float) -> F64:
    """Return smoothed rates; NaN where there are no hits at all, or nothing that they are hits of."""
    all_hits, all_of = everything[:, hits], everything[:, of]
    trials = np.where(all_of > 0.0, all_of, np.nan)
    return smoothed_rate(sums[:, hits], sums[:, of], all_hits, trials, smoothing)


def _over(sums: F64, counts: F64) -> F64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(counts > 0.0, sums / counts, np.nan), np.float64)


def floors_of(windows_s: Sequence[int]) -> F64:
    """Return of each column below what size its changes are measured against that size instead, shape (columns,).

    .01 of a rate, .1 of a share, half a nat of entropy, 20 of everything that is counted.
    """
    kinds = [name.removesuffix(f"_{label(window)}") for window in windows_s for name in PER_WINDOW] + list(OVERALL)
    return np.array([_FLOORS.get(name.rpartition("_")[2], _LEAST_COUNT) for name in kinds])


def changed_enough(told: F64, now: F64, floors: F64, least: float) -> Bool:
    """Return which items differ from what was told by more than `least` x max(|told|, floor) in any signal, shape (n,).

    What was not known and is, or the other way round, differs.
    """
    known = np.isnan(told) == np.isnan(now)
    moved = np.abs(now - told) > least * np.maximum(np.abs(told), floors)
    return np.asarray((moved | ~known).any(axis=1))
