"""How unusual an event's hour is for its user, and how often the user paid its amount lately: before it is taken in.

Hours: of the day in UTC. Kept is, per hour of the day, how many hours the user was active; an hour counts once, with
its first event, so a burst cannot make its own hour usual. All 24 are halved, rounding down, when their sum would pass
255: what is older than some 128 active hours fades. With n the sum and k the sum over the event's hour and its two
neighbours,

    hour_deviation = max(0, -ln((k + 1) / (n + 8) / (3 / 24))), in nats

how much rarer the hour is than if they were evenly spread, with the prior of one active hour in each eighth of a day
(Laplace's rule). Without any history it is 0; it never exceeds ln(263 / 8) < 3.5. An event out of order is judged and
not counted.

Repeats: how many of the user's last 24 earlier events with time > now - W, W the longest window, have the event's
amount; 0 without one. Two amounts count as equal with probability 2^-32 if they are not.
"""

import numpy as np

from operators.batches import F64
from operators.compiled import Int, borrowing
from operators.featurize.catalogue import HISTORY
from operators.featurize.rows import AMOUNTS, DAY, EVENTS, HOURS, Rows, newest

HOUR_MS = 3_600_000
MOST_HOURS = 255
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@borrowing
def amount_print(bits: np.uint64, amount: float) -> np.uint32:
    """Return 32 bits of an amount, never 0, by Knuth's multiplicative hashing; 0 for none.

    Args:
        bits: of the amount as a double.
        amount: 0 or more; NaN where absent.
    """
    if not amount >= 0.0:
        return np.uint32(0)
    mixed = np.uint32((bits * _GOLDEN) >> np.uint64(32))
    return mixed if mixed != 0 else np.uint32(1)


@borrowing
def habits(
    rows: Rows, row: Int, time_ms: Int, amount: np.uint32, window_ms: Int, raw: F64, i: Int, hour: Int, repeats: Int
) -> None:
    """Write how unusual the hour is and how often the amount came, then count the hour: before the history changes.

    Args:
        rows: rows of all users.
        row: row of the event's user, reset if the user is new.
        time_ms: event time.
        amount: as `amount_print` gives it.
        window_ms: the longest window.
        raw: shape (n, features).
        i: the event.
        hour: column of the hour's deviation.
        repeats: column of the repeats.
    """
    events = np.int64(rows.u8[row, EVENTS])
    last = newest(rows, row) if events > 0 else time_ms
    active = time_ms // HOUR_MS
    h = active % DAY
    n = np.int64(0)
    for k in range(DAY):
        n += rows.u8[row, HOURS + k]
    before, after = h - 1 if h > 0 else DAY - 1, h + 1 if h < DAY - 1 else 0
    near = np.int64(rows.u8[row, HOURS + before]) + rows.u8[row, HOURS + h] + rows.u8[row, HOURS + after]
    rarer = (n + 8.0) / (8.0 * (near + 1.0))
    raw[i, hour] = np.log(rarer) if rarer > 1.0 else 0.0  # most hours are usual: the branch saves the logarithm
    if events == 0 or active > last // HOUR_MS:
        if n == MOST_HOURS:
            for k in range(DAY):
                rows.u8[row, HOURS + k] >>= 1
        rows.u8[row, HOURS + h] += np.uint8(1)

    count = np.int64(0)
    if amount != 0:
        since = max(last, time_ms) - window_ms
        for k in range(HISTORY):  # places without an event hold no amount
            count += 1 if rows.u32[row, AMOUNTS + k] == amount and rows.i64[row, k] > since else 0
    raw[i, repeats] = count
