"""Records of `ranking.quality` for tests."""

import msgspec

from schemas.quality import Bin, FairnessTest, GroupExposure, Minimum, Quality, StepCost, UserGroup

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR


def quality(at=0, partition=0, **changes):
    """Return a record of hour `at`, with everything in it."""
    whole = Quality(
        partition=partition,
        timestamp=START + (at + 1) * HOUR,
        since=START + at * HOUR,
        model="ranker-1",
        k=10,
        lists=100,
        clicked=40,
        ndcg=0.6,
        ndcg_popularity=0.5,
        mrr=0.55,
        recall=0.8,
        recall_of={"popular": 0.5, "new": 0.3},
        ece=0.05,
        brier=0.1,
        reliability=(Bin(n=60, predicted=0.04, clicked=0.05), Bin(n=40, predicted=0.25, clicked=0.2)),
        steps=(StepCost(name="risk", cost=0.02, moved=0.1), StepCost(name="fairness", cost=-0.001, moved=0.2)),
        groups=(
            GroupExposure(group="other", items=600, shown=500, exposure=0.3, merit=0.2, per_merit=1.0, clicks=30),
            GroupExposure(group="<women>", items=300, shown=200, exposure=0.2, merit=0.25, per_merit=0.8, clicks=15),
        ),
        user_groups=(UserGroup(group="other", lists=30, ndcg=0.62), UserGroup(group="new", lists=10, ndcg=0.54)),
        tests=(FairnessTest(group="<women>", log_e=1.0, log_largest=1.5, lists=90, difference=-0.1),),
        minimum=(Minimum(group="<women>", lists=90, failed=12, expected=0.08),),
        asked=50,
    )
    return msgspec.structs.replace(whole, **changes)


def bare(at=0, partition=0):
    """Return a record of an hour in which nobody did anything, without groups or probabilities."""
    stretch = {"timestamp": START + (at + 1) * HOUR, "since": START + at * HOUR}
    return Quality(partition=partition, model="fallback", k=10, lists=3, clicked=0, **stretch)
