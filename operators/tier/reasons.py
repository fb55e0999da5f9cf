"""Why an event is risky: the features that carry its evidence, against what is usual for the user.

Evidence is a sum over families, each speaking with its strongest feature (`operators.score.evidence`). The reasons are
the largest terms of that sum: at most one feature per family, contribution = -ln(its tail probability). With as many
reasons as families they add up to the evidence exactly. A feature that is not in its tail at all (p = 1) is none.

What is usual, the baseline, in the feature's unit:

    count, amount      what the user did in the longest window before this one, scaled to this window's length
    entropy, distinct  the user's value over the longest window
    deviations         0: they are relative to the user's own history already
    novelty            0: the usual is not new
    others             NaN: what is usual is not kept

The longest window has nothing to be held against: its baseline is NaN too, which is written as absent.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, Reason
from operators.compiled import compiled
from operators.featurize.catalogue import Feature, window_name
from operators.score.evidence import families

NONE = -1
_RELATIVE = ("amount_deviation", "gap_deviation", "hour_deviation", "novelty")


@compiled
def strongest(events: I64, feature_tail: F64, columns: I64, starts: I64, most: int, chosen: I64, tails: F64) -> None:
    """Choose up to `most` columns per event: the least tail of each family, least first; equal ones by column.

    Args:
        events: rows of `feature_tail` to explain, shape (m,).
        feature_tail: shape (n, features).
        columns: all columns, family after family, rising within one.
        starts: where each family starts in `columns`, and the end.
        most: columns wanted.
        chosen: output, shape (m, most); `NONE` where there are fewer.
        tails: output, the chosen columns' tails, shape (m, most).
    """
    count = len(starts) - 1
    best = np.empty(count, np.int64)
    for m in range(len(events)):
        i = events[m]
        for family in range(count):
            best[family] = columns[starts[family]]
            for at in range(starts[family] + 1, starts[family + 1]):
                if feature_tail[i, columns[at]] < feature_tail[i, best[family]]:
                    best[family] = columns[at]
        for k in range(most):
            winner = NONE
            for family in range(count):
                column = best[family]
                if column == NONE or not feature_tail[i, column] < 1.0:
                    continue
                if winner == NONE:
                    winner = family
                    continue
                rival = best[winner]
                p, q = feature_tail[i, column], feature_tail[i, rival]
                if p < q or (p == q and column < rival):
                    winner = family
            if winner == NONE:
                chosen[m, k] = NONE
                continue
            chosen[m, k] = best[winner]
            tails[m, k] = feature_tail[i, best[winner]]
            best[winner] = NONE


def baselines(catalogue: Sequence[Feature]) -> tuple[list[int], list[float]]:
    """Return, for each column, the column its baseline is read from, and the factor on that column's value.

    The factor is 0 where the baseline is 0, NaN where there is none.
    """
    longest: dict[str, int] = {}
    stems = []
    for column, feature in enumerate(catalogue):
        suffix = "" if feature.window_s is None else f"_{window_name(feature.window_s)}"
        stems.append(feature.name.removesuffix(suffix))
        other = longest.setdefault(stems[-1], column)
        if (feature.window_s or 0) > (catalogue[other].window_s or 0):
            longest[stems[-1]] = column
    sources = [longest[stem] for stem in stems]
    factors = []
    for column, (feature, source) in enumerate(zip(catalogue, sources, strict=True)):
        factor = 0.0 if feature.family in _RELATIVE else math.nan
        if feature.family in ("entropy", "distinct", "count", "amount"):
            window, longest_window = feature.window_s or 0, catalogue[source].window_s or 0
            factor = math.nan if source == column else 1.0
            if feature.family in ("count", "amount") and source != column:
                factor = window / (longest_window - window)
        factors.append(factor)
    return sources, factors


class Reasons:
    """Finds the reasons of events by a catalogue.

    Args:
        catalogue: the features, in the order of the columns.
        most: reasons per event.
    """

    def __init__(self, catalogue: Sequence[Feature], most: int) -> None:
        self._names = [feature.name for feature in catalogue]
        self._columns, self._starts = families(catalogue)
        self._most = min(most, len(self._starts) - 1)
        self._sources, self._factors = (np.array(each) for each in baselines(catalogue))
        adds_up = [feature.family in ("count", "amount") for feature in catalogue]
        self._own = np.where(adds_up, 1.0, 0.0)  # the longest window holds this one: it is taken out

    def usual(self, raw: F64) -> F64:
        """Return what is usual for the user, of every column, shape (n, features); NaN where there is no baseline.

        Args:
            raw: values in their own units, shape (n, features).
        """
        usual: F64 = np.maximum(raw[:, self._sources] - raw * self._own, 0.0) * self._factors
        return usual

    def explain(self, events: I64, feature_tail: F64, raw: F64) -> dict[int, tuple[Reason, ...]]:
        """Return the reasons of each of `events`, strongest first.

        Args:
            events: rows of the other two, shape (m,).
            feature_tail: shape (n, features).
            raw: values in their own units, shape (n, features).
        """
        shape = (len(events), self._most)
        chosen: I64 = np.empty(shape, np.int64)
        tails: F64 = np.ones(shape)
        strongest(events, feature_tail, self._columns, self._starts, self._most, chosen, tails)
        found = chosen != NONE
        at: NDArray[np.int64] = np.where(found, chosen, 0)
        rows = events[:, None]
        values = raw[rows, at].tolist()
        other = raw[rows, self._sources[at]] - raw[rows, at] * self._own[at]
        # Panes make a longer window hold a little less than its shorter ones now and then.
        usual = (np.maximum(other, 0.0) * self._factors[at]).tolist()
        nats = (-np.log(tails)).tolist()
        names = self._names
        return {
            event: tuple(
                Reason(names[column], value, baseline, contribution)
                for column, value, baseline, contribution in zip(*each, strict=True)
                if column != NONE
            )
            for event, each in zip(events.tolist(), zip(chosen.tolist(), values, usual, nats, strict=True), strict=True)
        }
