"""The features that the user declared (`operators.own_feature`), one after the other for each event.

`count`, `sum`, `mean` and `max` take the sawtooth windows of `windows`: six panes of a fifth of the window, so that
with `now` the user's newest event time

    the events of (now - W, now]  <=  those that count  <=  the events of (now - 1.2 W, now]

`distinct` and `entropy` are exact over those of the newest 24 followed events with time > now - W. `gap` is exact: from
the newest earlier followed event to `now`, at most W. Nothing to tell is 0 for a count, sum, distinct or entropy; for a
mean or max it is the limit on the harmless side: the lower one, or the upper one where down is risky.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.batches import F64, I64, U64
from operators.compiled import Int, borrowing
from operators.featurize.catalogue import HISTORY
from operators.featurize.history import LN, fingerprint
from operators.featurize.rows import EVENTS, PANES, U32, Rows, copy_row, fetch_row, newest
from operators.featurize.windows import MAX_AMOUNT
from operators.own_feature import OwnFeature

_CODES = {"count": 0, "sum": 1, "mean": 2, "max": 3, "distinct": 4, "entropy": 5, "gap": 6}
_COUNT, _SUM, _MEAN, _MAX, _DISTINCT, _ENTROPY, _GAP = range(7)
_OPERATION, _WINDOW_MS, _PANE_MS, _U32, _F64, _I64 = range(6)  # columns of `Plan.steps`
_NEVER = -(1 << 62)

# Columns of u32, f64 and i64 that an operation takes.
_WIDTHS = {
    "count": (PANES, 0, 0),
    "sum": (0, PANES, 0),
    "mean": (PANES, PANES, 0),
    "max": (PANES, PANES, 0),
    "distinct": (HISTORY + 1, 0, HISTORY),
    "entropy": (HISTORY + 1, 0, HISTORY),
    "gap": (0, 0, 1),
}


class OwnRows(NamedTuple):
    """What is kept of each user, shape (users + 1, columns); the last row is spare, as in `rows`.

    `u32` holds panes' counts, or how many events are remembered and then the fingerprints of their values; `f64` the
    panes' sums or maxima; `i64` times in milliseconds.
    """

    u32: U32
    f64: F64
    i64: I64


class Plan(NamedTuple):
    """What to do for each declared feature.

    Attributes:
        steps: operation, window and pane in milliseconds, first column in u32, f64 and i64, shape (features, 6).
        nothing: value where there is nothing to tell, shape (features,).
    """

    steps: I64
    nothing: F64


def plan(features: Sequence[OwnFeature]) -> Plan:
    """Return the plan of the declared features."""
    steps = np.zeros((len(features), 6), np.int64)
    nothing = np.zeros(len(features))
    at = np.zeros(3, np.int64)
    for k, feature in enumerate(features):
        window_ms = feature.window_s * 1_000
        steps[k] = _CODES[feature.operation], window_ms, window_ms // 5, *at
        at += _WIDTHS[feature.operation]
        if feature.operation in ("mean", "max"):
            nothing[k] = feature.limits[1] if feature.direction == "down" else feature.limits[0]
        elif feature.operation == "gap":
            nothing[k] = feature.window_s
    return Plan(steps, nothing)


def allocate(users: int, features: Sequence[OwnFeature]) -> OwnRows:
    """Return empty rows for `users` users and a spare one."""
    u32, f64, i64 = (sum(_WIDTHS[feature.operation][kind] for feature in features) for kind in range(3))
    return OwnRows(
        np.zeros((users + 1, u32), np.uint32), np.zeros((users + 1, f64)), np.zeros((users + 1, i64), np.int64)
    )


def grown(own: OwnRows, users: int, used: int, features: Sequence[OwnFeature]) -> OwnRows:
    """Return larger rows that hold the first `used` of `own`."""
    larger = allocate(users, features)
    for name, array in larger._asdict().items():
        array[:used] = getattr(own, name)[:used]
    return larger


def arrays(own: OwnRows) -> dict[str, NDArray[Any]]:
    """Return the arrays that have columns, by their names in the state."""
    return {f"own.{name}": array for name, array in own._asdict().items() if array.shape[1]}


@borrowing
def reset(own: OwnRows, row: Int) -> None:
    """Forget the row's user."""
    own.u32[row, :] = 0
    own.f64[row, :] = 0.0
    own.i64[row, :] = _NEVER


@borrowing
def copy(own: OwnRows, source: Int, target: Int) -> None:
    """Write the user of row `source` over row `target`."""
    copy_row(own.u32, source, target)
    copy_row(own.f64, source, target)
    copy_row(own.i64, source, target)


@borrowing
def fetch_ahead(own: OwnRows, row: Int) -> None:
    """Start loading a row that will be needed in a moment; -1 does nothing."""
    if row >= 0:
        fetch_row(own.u32, row)
        fetch_row(own.f64, row)
        fetch_row(own.i64, row)


@borrowing
def follow(
    own: OwnRows,
    rows: Rows,
    row: Int,
    time_ms: Int,
    numbers: F64,
    values: U64,
    plan: Plan,
    raw: F64,
    i: Int,
    first: Int,
) -> None:
    """Take event i in and write the declared features from column `first` of `raw[i]` on: before the history takes it.

    Args:
        own: rows of all users.
        rows: of the built-in features, for the user's newest time.
        row: row of the event's user, reset if the user is new.
        time_ms: event time.
        numbers: as in `Own`, shape (n, features).
        values: as in `Own`, shape (n, features).
        plan: as `plan` gives it.
        raw: shape (n, all features).
        i: the event.
        first: column of the first declared feature.
    """
    last = newest(rows, row) if rows.u8[row, EVENTS] > 0 else time_ms
    now = max(last, time_ms)
    for k in range(len(plan.steps)):
        step = plan.steps[k]
        operation = step[_OPERATION]
        number = min(max(numbers[i, k], -MAX_AMOUNT), MAX_AMOUNT) if not np.isnan(numbers[i, k]) else np.nan
        if operation == _GAP:
            raw[i, first + k] = _gap(own, row, step, time_ms, now, number, plan.nothing[k])
        elif operation >= _DISTINCT:
            raw[i, first + k] = _diversity(own, row, step, time_ms, now, values[i, k])
        else:
            raw[i, first + k] = _in_panes(own, row, step, time_ms, last, number, plan.nothing[k])


@borrowing
def _gap(own: OwnRows, row: Int, step: I64, time_ms: Int, now: Int, number: float, nothing: float) -> float:
    at = step[_I64]
    before = own.i64[row, at]
    if not np.isnan(number):
        own.i64[row, at] = max(before, time_ms)
    return (now - before) / 1000.0 if before > now - step[_WINDOW_MS] else nothing


@borrowing
def _in_panes(own: OwnRows, row: Int, step: I64, time_ms: Int, last: Int, number: float, nothing: float) -> float:
    operation, pane_ms = step[_OPERATION], step[_PANE_MS]
    counted, summed = operation != _SUM, operation != _COUNT
    pane = max(last, time_ms) // pane_ms
    if time_ms > last:
        for stale in range(max(last // pane_ms + 1, pane - PANES + 1), pane + 1):
            if counted:
                own.u32[row, step[_U32] + stale % PANES] = 0
            if summed:
                own.f64[row, step[_F64] + stale % PANES] = 0.0
    mine = time_ms // pane_ms
    if not np.isnan(number) and mine > pane - PANES:
        n_at, x_at = step[_U32] + mine % PANES, step[_F64] + mine % PANES
        if operation == _MAX:
            fresh = own.u32[row, n_at] == 0
            own.f64[row, x_at] = number if fresh else max(own.f64[row, x_at], number)
        elif summed:
            own.f64[row, x_at] += number
        if counted:
            own.u32[row, n_at] += np.uint32(1)
    n = np.int64(0)
    total = 0.0
    for p in range(PANES):
        held = np.int64(own.u32[row, step[_U32] + p]) if counted else np.int64(0)
        if operation == _MAX:
            if held > 0:
                x = own.f64[row, step[_F64] + p]
                total = x if n == 0 else max(total, x)
        elif summed:
            total += own.f64[row, step[_F64] + p]
        n += held
    if operation == _COUNT:
        return np.float64(n)
    if operation == _SUM:
        return total
    if n == 0:
        return nothing
    return total / np.float64(n) if operation == _MEAN else total


@borrowing
def _remember(own: OwnRows, row: Int, step: I64, time_ms: Int, value: np.uint64) -> None:
    """Put a value where its time belongs, after those of the same time; one older than all of 24 is not kept."""
    n_at, times = step[_U32], step[_I64]
    prints = n_at + 1
    n = np.int64(own.u32[row, n_at])
    if n == HISTORY:
        if time_ms < own.i64[row, times]:
            return
        for s in range(HISTORY - 1):
            own.i64[row, times + s] = own.i64[row, times + s + 1]
            own.u32[row, prints + s] = own.u32[row, prints + s + 1]
        n -= 1
    at = n
    while at > 0 and own.i64[row, times + at - 1] > time_ms:
        own.i64[row, times + at] = own.i64[row, times + at - 1]
        own.u32[row, prints + at] = own.u32[row, prints + at - 1]
        at -= 1
    own.i64[row, times + at] = time_ms
    own.u32[row, prints + at] = fingerprint(value)
    own.u32[row, n_at] = n + 1


@borrowing
def _diversity(own: OwnRows, row: Int, step: I64, time_ms: Int, now: Int, value: np.uint64) -> float:
    if value != 0:
        _remember(own, row, step, time_ms, value)
    n = np.int64(own.u32[row, step[_U32]])
    prints, times = step[_U32] + 1, step[_I64]
    start = np.int64(0)
    while start < n and own.i64[row, times + start] <= now - step[_WINDOW_MS]:
        start += 1
    held = own.u32[row, prints + start : prints + n]
    if step[_OPERATION] == _DISTINCT:
        return np.float64(_distinct(held))
    # -sum over values of c/m ln(c/m), each of the c events bringing its own ln(c) / m
    logs = 0.0
    for a in range(len(held)):
        logs += LN[_equal(held, held[a], len(held))]
    return max(LN[len(held)] - logs / np.float64(len(held)), 0.0) if len(held) > 1 else 0.0


@borrowing
def _distinct(held: U32) -> Int:
    distinct = np.int64(0)
    for a in range(len(held)):
        distinct += 1 if _equal(held, held[a], a) == 0 else 0
    return distinct


@borrowing
def _equal(held: U32, wanted: np.uint32, first: Int) -> np.uint32:
    """Return how many of the first ones are `wanted`."""
    equal = np.uint32(0)
    for b in range(first):  # no early exit: without branches this is SIMD
        equal += np.uint32(1) if held[b] == wanted else np.uint32(0)
    return equal
