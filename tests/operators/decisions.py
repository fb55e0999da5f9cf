"""Batches of decisions as the encode stage is given them, made by hand."""

import numpy as np

from operators.batches import TIERS, Calibrated, Decoded, Featured, Scored, Span, Tiered

NOW = 1_767_225_600_000
PSEUDONYM = "h1:594afa3ae9a33aee4a6d4bfd63c5b89c"


def tiered(
    tiers,
    *,
    offsets=None,
    ids=None,
    users=None,
    rejected=(),
    numbers=(0.5, 1.5, 2.5, 3.5),
    reasons=None,
    flags=0,
    times=None,
    muted=False,
):
    """A batch of partition 3 with one event per tier; numbers are tail, score, forest, evidence."""
    n = len(tiers)
    offsets = list(range(n)) if offsets is None else offsets
    decoded = Decoded(
        span=Span(3, 0, n + len(rejected), muted),
        topic="events",
        offsets=np.array(offsets, dtype=np.int64),
        time_ms=np.array([NOW + at for at in range(n)] if times is None else times, dtype=np.int64),
        ids=[f"e-{at}" for at in range(n)] if ids is None else ids,
        users=[PSEUDONYM] * n if users is None else users,
        user=np.ones(n, dtype=np.uint64),
        id_hash=np.ones(n, dtype=np.uint64),
        attributes=np.zeros((n, 4), dtype=np.uint64),
        amount=np.zeros(n),
        rejected=list(rejected),
    )
    tail, score, forest, evidence = (np.full(n, number, dtype=np.float64) for number in numbers)
    empty = np.zeros((n, 0))
    featured = Featured(decoded, empty, empty, np.full(n, flags, dtype=np.uint8), np.ones(n, dtype=np.bool_))
    return Tiered(
        Calibrated(Scored(featured, forest, evidence, score, empty, featured.teach), tail),
        np.array([TIERS.index(tier) for tier in tiers], dtype=np.uint8),
        np.full(n, TIERS.index("low"), dtype=np.uint8),
        reasons or {},
    )
