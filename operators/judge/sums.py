"""What adds up over one stretch of time: one array of sums, each with a name, so that a state is one table."""

from typing import Final, NamedTuple

import numpy as np

from operators.batches import F64
from operators.lists import SOURCES
from schemas.ranked import StepName

STEPS: Final[tuple[StepName, ...]] = ("uplift", "risk", "fairness")


class Shape(NamedTuple):
    """How many of each there are; number 0 of both groups, that of all others, is among them."""

    groups: int
    user_groups: int
    bins: int


SCALARS = ("lists", "judged", "evicted", "clicked", "ndcg", "ndcg_popularity", "mrr", "asked", "found", "squares")
BY_SOURCE = ("found_by", "had")
BY_BIN = ("bin_n", "bin_predicted", "bin_clicked")
BY_STEP = ("step_lists", "step_cost", "step_moved", "step_places")
BY_GROUP = ("items", "shown", "exposure", "merit_items", "merit", "merit_exposure", "clicks")
BY_USER_GROUP = ("user_lists", "user_ndcg")
BY_TEST = ("tested", "failed", "expected")


class Sums:
    """The sums of one stretch. Counts are exact up to 2^53.

    Attributes:
        all: every sum, shape (size,); those below are views of it.
        model: version of the ranker, `several` if it changed, "" before the first list.
        lists: shown; of these `judged`, whose time is over, and `evicted`, that had to go before; of `judged` those
            `clicked`, with anything relevant; shape (1,) as all of `SCALARS`.
        ndcg: sum over `clicked`, as `ndcg_popularity` and `mrr`.
        asked: lists after which their user did something; with `found`, if its item was a candidate.
        squares: of probability less outcome.
        found_by: `found` by source; with `had`, candidates kept, shape (sources,).
        bin_n: places shown with a probability, its sum and clicks, shape (bins,).
        step_lists: lists with the step, its costs, places that changed, places shown, shape (steps,).
        items: candidates; shown; exposure; those with merit, it and their exposure; clicks, shape (groups,).
        user_lists: of `clicked`, by user group, with their NDCG, shape (user groups,).
        tested: lists, those that failed, and chances that they would, shape (groups - 1,).
    """

    def __init__(self, shape: Shape, values: F64 | None = None, model: str = "") -> None:
        lengths = _lengths(shape)
        self.all: F64 = np.zeros(sum(lengths.values())) if values is None else values
        self.model = model
        self._at: dict[str, F64] = {}
        at = 0
        for name, length in lengths.items():
            self._at[name] = self.all[at : at + length]
            at += length

    def __getitem__(self, name: str) -> F64:
        return self._at[name]

    def add(self, name: str, value: float = 1.0) -> None:
        """Add to one of `SCALARS`."""
        self._at[name][0] += value

    def number(self, name: str) -> int:
        """Return one of `SCALARS` that counts."""
        return int(self._at[name][0])

    @property
    def waiting(self) -> int:
        """Lists whose time is not over."""
        return self.number("lists") - self.number("judged") - self.number("evicted")

    def mean(self, name: str, of: str) -> float | None:
        """Return one of `SCALARS` over another; None if that is 0."""
        n = self._at[of][0]
        return float(self._at[name][0] / n) if n > 0 else None


def size(shape: Shape) -> int:
    """Return how many sums there are."""
    return sum(_lengths(shape).values())


def _lengths(shape: Shape) -> dict[str, int]:
    return (
        dict.fromkeys(SCALARS, 1)
        | dict.fromkeys(BY_SOURCE, len(SOURCES))
        | dict.fromkeys(BY_BIN, shape.bins)
        | dict.fromkeys(BY_STEP, len(STEPS))
        | dict.fromkeys(BY_GROUP, shape.groups)
        | dict.fromkeys(BY_USER_GROUP, shape.user_groups)
        | dict.fromkeys(BY_TEST, shape.groups - 1)
    )
