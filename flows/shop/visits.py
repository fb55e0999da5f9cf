"""Who comes to the made-up shop when, and asks for which lists."""

from dataclasses import dataclass

import numpy as np

from flows.shop.world import F64, I64

LISTS_A_SESSION = 3.0
GAP_S = (60.0, 240.0)
"""Time between two lists of a session, seconds: longer than anything that follows a list."""


@dataclass(frozen=True, slots=True)
class Visits:
    """Lists that are asked for, in the order of time; n of them.

    Attributes:
        time_ms: when, epoch milliseconds, shape (n,).
        user: who, shape (n,).
        session: in which visit, shape (n,).
    """

    time_ms: I64
    user: I64
    session: I64


def draw(rng: np.random.Generator, active: F64, start_ms: int, days: float, lists: int) -> Visits:
    """Return visits that begin at random within the days: sessions of a geometric number of lists.

    Args:
        rng: source of all draws.
        active: share of each user in all visits.
        start_ms: first instant of the days, epoch milliseconds.
        days: how many.
        lists: how many lists in all.
    """
    sizes = rng.geometric(1.0 / LISTS_A_SESSION, max(lists, 1))
    session = np.repeat(np.arange(len(sizes)), sizes)[:lists]
    user = rng.choice(len(active), len(sizes), p=active)[session]
    begin_s = rng.uniform(0.0, days * 86_400.0, len(sizes))[session]
    gap_s = rng.uniform(*GAP_S, lists)
    first = np.searchsorted(session, session)  # of the same session
    passed = np.concatenate([[0.0], np.cumsum(gap_s)])[:lists]
    at_s = begin_s + passed - passed[first]
    order = np.argsort(at_s, kind="stable")
    return Visits(start_ms + (at_s[order] * 1_000.0).astype(np.int64), user[order], session[order])
