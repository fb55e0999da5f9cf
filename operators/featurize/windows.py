"""Velocity and deviation over sawtooth windows: panes of a fifth of the window, aligned to absolute event time.

The value of a window of length W covers the user's newest event time back to the start of the sixth pane: everything in
(now - W, now] and nothing at or before now - 1.2 W. So for counts and sums

    exact value of (now - W, now]  <=  streaming value  <=  exact value of (now - 1.2 W, now].

`now` is the newest time the user has shown, this event's included. An event older than the window's panes does not
enter them. Values of an event are as of `now`, so an event out of order sees what its user has done since.
"""

import numpy as np

from operators.batches import F64, I64
from operators.compiled import Int, borrowing
from operators.featurize.rows import COUNTS, EVENTS, F32, LOGS, PANES, Rows, newest

MAX_AMOUNT = 1e15
"""Larger amounts count as this: sums stay finite."""

SD_FLOOR = 0.1
"""Smallest standard deviation of log1p values: about 10 % of the value. Someone who always pays 9.99 and now pays
11.00 has deviated by one, not by infinity."""


@borrowing
def _deviation(value: float, anchor: float, n: Int, total: float, squares: float) -> float:
    """Return (value - mean) / sd of n earlier values, given their sums about `anchor`; sample variance."""
    mean = total / n
    variance = (squares - total * mean) / (n - 1.0)
    deviation: float = (value - anchor - mean) / max(np.sqrt(max(variance, 0.0)), SD_FLOOR)
    return deviation


@borrowing
def _anchored(rows: Rows, row: Int, which: Int, value: float) -> float:
    """Return anchor 0 (amount) or 1 (gap); the user's first value becomes it."""
    if np.isnan(rows.f32[row, which]):
        rows.f32[row, which] = np.float32(value)
    return np.float64(rows.f32[row, which])


@borrowing
def count_event(
    rows: Rows, row: Int, time_ms: Int, amount: float, panes_ms: I64, min_history: Int, raw: F64, i: Int
) -> None:
    """Count an event in its user's panes and write columns 0 to 4 W of `raw[i]`: before the history takes the event.

    Args:
        rows: rows of all users.
        row: row of the event's user, reset if the user is new.
        time_ms: event time.
        amount: 0 or more; NaN where absent.
        panes_ms: length of each window's panes, shape (W,).
        min_history: earlier values needed for a deviation.
        raw: shape (n, features).
        i: the event.
    """
    known = rows.u8[row, EVENTS] > 0
    last = newest(rows, row) if known else time_ms
    now = max(last, time_ms)

    has_amount = amount >= 0.0  # false for NaN
    amount = min(amount, MAX_AMOUNT) if has_amount else 0.0
    log_amount = np.log1p(amount) if has_amount else 0.0
    amount_anchor = _anchored(rows, row, 0, log_amount) if has_amount else 0.0
    # An event out of order has no gap: what came before it is not what the user did last.
    has_gap = known and time_ms >= last
    log_gap = np.log1p((time_ms - last) / 1000.0) if has_gap else 0.0
    gap_anchor = _anchored(rows, row, 1, log_gap) if has_gap else 0.0

    windows = len(panes_ms)
    for w in range(windows):
        pane = now // panes_ms[w]
        first = w * PANES
        if time_ms > last:
            old = last // panes_ms[w]
            for stale in range(max(old + 1, pane - PANES + 1), pane + 1):
                _clear(rows, row, first + stale % PANES)

        # Views, so that the indices below are small constants.
        counts = rows.u32[row, COUNTS + 3 * first :]
        logs = rows.f32[row, LOGS + 4 * first :]
        sums = rows.f64[row, first:]
        n_events = n_amounts = n_gaps = np.int64(0)
        amounts = 0.0
        amount_total = amount_squares = gap_total = gap_squares = 0.0
        for p in range(PANES):
            n_events += counts[3 * p]
            n_amounts += counts[3 * p + 1]
            n_gaps += counts[3 * p + 2]
            amounts += sums[p]
            amount_total += logs[4 * p]
            amount_squares += logs[4 * p + 1]
            gap_total += logs[4 * p + 2]
            gap_squares += logs[4 * p + 3]

        raw[i, 2 * windows + w] = 0.0
        raw[i, 3 * windows + w] = 0.0
        if has_amount and n_amounts >= min_history:
            raw[i, 2 * windows + w] = _deviation(log_amount, amount_anchor, n_amounts, amount_total, amount_squares)
        if has_gap and n_gaps >= min_history:
            raw[i, 3 * windows + w] = _deviation(log_gap, gap_anchor, n_gaps, gap_total, gap_squares)

        own = pane if time_ms >= last else time_ms // panes_ms[w]
        if own > pane - PANES:
            n_events += 1
            amounts += amount
            p = own % PANES
            counts[3 * p] += np.uint32(1)
            sums[p] += amount
            if has_amount:
                counts[3 * p + 1] += np.uint32(1)
                _add(logs, 4 * p, log_amount - amount_anchor)
            if has_gap:
                counts[3 * p + 2] += np.uint32(1)
                _add(logs, 4 * p + 2, log_gap - gap_anchor)
        raw[i, w] = n_events
        raw[i, windows + w] = amounts


@borrowing
def _clear(rows: Rows, row: Int, p: Int) -> None:
    for k in range(COUNTS + 3 * p, COUNTS + 3 * p + 3):
        rows.u32[row, k] = 0
    for k in range(LOGS + 4 * p, LOGS + 4 * p + 4):
        rows.f32[row, k] = 0.0
    rows.f64[row, p] = 0.0


@borrowing
def _add(logs: F32, at: Int, value: float) -> None:
    logs[at] = np.float32(logs[at] + value)
    logs[at + 1] = np.float32(logs[at + 1] + value * value)
