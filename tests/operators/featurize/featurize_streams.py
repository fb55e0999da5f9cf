"""Random streams with everything that goes wrong: ties, gaps, disorder, late and repeated events, broken clocks."""

import math

import numpy as np
from featurize_reference import Event
from hypothesis import strategies as st

START_MS = 1_700_000_000_000

# Steps in ms: ties, ordinary gaps, whole panes and windows of the default configuration, long silences.
STEPS = [0, 0, 1, 500, 7_000, 12_000, 60_000, 72_000, 120_000, 600_000, 720_000, 3_600_000, 20_000_000, 90_000_000]


@st.composite
def streams(draw, max_size=60):
    """Draw a list of events of a few users."""
    clock_ms = draw(st.sampled_from([0, START_MS, START_MS + 11_999]))
    events = []
    for number in range(draw(st.integers(1, max_size))):
        clock_ms += draw(st.sampled_from(STEPS))
        skew_ms = draw(st.sampled_from([0, 0, 0, 0, -1, -12_000, -90_000, -300_000, -300_001, 21_600_001, 10**8]))
        repeated = draw(st.integers(0, 9)) == 0 and number > 0
        events.append(
            Event(
                user=draw(st.integers(1, 4)),
                id_hash=draw(st.integers(1, number)) if repeated else number + 1,
                time_ms=max(0, clock_ms + skew_ms),
                attributes=tuple(draw(st.tuples(*[st.integers(0, 3)] * 4))),
                amount=draw(st.sampled_from([math.nan, 0.0, 0.01, 9.99, 25.0, 1e6])),
            )
        )
    return events


def long_stream(seed, n, users, step_ms=400):
    """Return n events of users with habits: seeded, mostly in order, with the usual accidents."""
    rng = np.random.default_rng(seed)
    events, clock_ms = [], START_MS
    for number in range(n):
        clock_ms += int(rng.exponential(step_ms))
        if rng.random() < 0.002:
            clock_ms += int(rng.choice([60_000, 3_600_000, 30_000_000]))
        time_ms = clock_ms
        if rng.random() < 0.1:
            time_ms -= int(rng.exponential(60_000))
        if rng.random() < 0.01:
            time_ms += int(rng.choice([-10_000_000, 40_000_000, 900_000_000]))
        user = int(rng.integers(1, users + 1))
        habits = [user * 10 + int(rng.exponential(0.4 * (a + 1))) for a in range(4)]
        attributes = tuple(0 if rng.random() < 0.1 else habit for habit in habits)
        amount = math.nan if rng.random() < 0.5 else float(np.round(rng.lognormal(3, 1.2), 2))
        id_hash = int(rng.integers(1, number + 1)) if number and rng.random() < 0.03 else number + 1
        events.append(Event(user, id_hash, time_ms, attributes, amount))
    return events
