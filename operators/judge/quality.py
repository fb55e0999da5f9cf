"""The record of a stretch that is over, from its sums."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from operators.batches import F64, I64, Bool
from operators.encode import significant
from operators.judge.sums import STEPS, Sums
from operators.lists import SOURCES
from schemas.quality import Bin, FairnessTest, GroupExposure, Minimum, Quality, StepCost, UserGroup

OTHER = "other"


class Alarms(NamedTuple):
    """The alarms as they are now, of shape (groups,), without that of all others; `alpha` and `tolerance` of each."""

    log_e: F64
    log_largest: F64
    lists: I64
    difference: F64
    fired: Bool
    alpha: float
    tolerance: float


class Stretch(NamedTuple):
    """Which stretch: of which partition, from when to when (epoch milliseconds), and for how many places."""

    partition: int
    since: int
    until: int
    k: int


def rounded(value: float) -> float:
    """Return a number with 6 significant digits."""
    return float(significant(np.array([value]))[0]) + 0.0  # -0.0 becomes 0.0


def quality(stretch: Stretch, sums: Sums, alarms: Alarms, groups: Sequence[str], user_groups: Sequence[str]) -> Quality:
    """Return the record.

    Args:
        stretch: which.
        sums: of it.
        alarms: as they are now.
        groups: names of groups of items, from number 1 on.
        user_groups: names of groups of users, from number 1 on.
    """
    bins = sums["bin_n"].sum()
    return Quality(
        partition=stretch.partition,
        timestamp=stretch.until,
        since=stretch.since,
        model=sums.model,
        k=stretch.k,
        lists=sums.number("lists"),
        clicked=sums.number("clicked"),
        ndcg=_share(sums.mean("ndcg", "clicked")),
        ndcg_popularity=_share(sums.mean("ndcg_popularity", "clicked")),
        mrr=_share(sums.mean("mrr", "clicked")),
        recall=_share(sums.mean("found", "asked")),
        recall_of=_recall_of(sums),
        ece=_share(_calibration_error(sums)) if bins else None,
        brier=_share(float(sums["squares"][0] / bins)) if bins else None,
        reliability=_reliability(sums),
        steps=_steps(sums),
        groups=tuple(_exposures(sums, (OTHER, *groups))) if groups else (),
        user_groups=tuple(_users(sums, (OTHER, *user_groups))) if user_groups else (),
        tests=tuple(_test(alarms, at, name) for at, name in enumerate(groups)),
        minimum=tuple(_minimum(sums, at, name) for at, name in enumerate(groups) if sums["tested"][at]),
        evicted=sums.number("evicted"),
        asked=sums.number("asked"),
    )


def _share(value: float | None) -> float | None:
    return None if value is None else min(1.0, max(0.0, rounded(value)))


def _known(value: float | None) -> float:
    return _share(value) or 0.0


def _recall_of(sums: Sums) -> dict[str, float]:
    asked = sums.number("asked")
    if not asked:
        return {}
    return {name: _known(float(sums["found_by"][at] / asked)) for at, name in enumerate(SOURCES) if sums["had"][at] > 0}


def _calibration_error(sums: Sums) -> float:
    apart = np.abs(sums["bin_predicted"] - sums["bin_clicked"]).sum()
    return float(apart / sums["bin_n"].sum())


def _reliability(sums: Sums) -> tuple[Bin, ...]:
    columns = (sums[name].tolist() for name in ("bin_n", "bin_predicted", "bin_clicked"))
    return tuple(
        Bin(n=int(n), predicted=_known(predicted / n), clicked=_known(clicked / n))
        for n, predicted, clicked in zip(*columns, strict=True)
        if n
    )


def _steps(sums: Sums) -> tuple[StepCost, ...]:
    found = []
    for at, name in enumerate(STEPS):
        lists, cost, moved, places = (
            float(sums[column][at]) for column in ("step_lists", "step_cost", "step_moved", "step_places")
        )
        if lists:
            share = _known(moved / places) if places else 0.0
            found.append(StepCost(name=name, cost=rounded(cost / lists), moved=share))
    return tuple(found)


def _exposures(sums: Sums, names: Sequence[str]) -> list[GroupExposure]:
    total = float(sums["merit"].sum())
    overall = float(sums["merit_exposure"].sum()) / total if total > 0.0 else 0.0
    found = []
    for at, name in enumerate(names):
        items, exposure = float(sums["items"][at]), float(sums["exposure"][at])
        n, merit = float(sums["merit_items"][at]), float(sums["merit"][at])
        per_merit = float(sums["merit_exposure"][at]) / merit / overall if merit > 0.0 and overall > 0.0 else None
        found.append(
            GroupExposure(
                group=name,
                items=int(items),
                shown=int(sums["shown"][at]),
                exposure=_known(exposure / items) if items else 0.0,
                merit=_share(merit / n) if n else None,
                per_merit=None if per_merit is None else rounded(per_merit),
                clicks=int(sums["clicks"][at]),
            )
        )
    return found


def _users(sums: Sums, names: Sequence[str]) -> list[UserGroup]:
    columns = zip(names, sums["user_lists"].tolist(), sums["user_ndcg"].tolist(), strict=True)
    return [UserGroup(group=name, lists=int(n), ndcg=_share(ndcg / n) if n else None) for name, n, ndcg in columns]


def _test(alarms: Alarms, at: int, name: str) -> FairnessTest:
    lists = int(alarms.lists[at])
    return FairnessTest(
        group=name,
        log_e=rounded(float(alarms.log_e[at])),
        log_largest=rounded(float(alarms.log_largest[at])),
        lists=lists,
        difference=rounded(float(alarms.difference[at]) / lists) if lists else None,
        alarm=bool(alarms.fired[at]),
        alpha=alarms.alpha,
        tolerance=alarms.tolerance,
    )


def _minimum(sums: Sums, at: int, name: str) -> Minimum:
    tested, failed, expected = (float(sums[column][at]) for column in ("tested", "failed", "expected"))
    return Minimum(group=name, lists=int(tested), failed=int(failed), expected=_known(expected / tested))
