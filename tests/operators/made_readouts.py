"""Readouts made up for the page: plausible figures, none of them computed by what is tested."""

import math
import random

from schemas.definition import Definition, Guardrail, Metric, Phase
from schemas.readout import Arm, Comparison, Estimate, Interval, Look, Readout, SampleRatio, Stratum
from schemas.uplift import Ranking, Uplift
from schemas.verdict import Verdict

DAY_MS = 86_400_000
START = 1_799_049_600_000  # 2027-01-04T08:00:00Z
NOW = START + 15 * DAY_MS
OFFSETS = {"exposures": {"0": 20_411, "1": 19_950}, "metrics": {"0": 90_004, "1": 88_123}}


def around(lift, wide, *, mean=12.0, p=0.2, log_e=1.6):
    """An estimate with a fixed interval of a half-width, and always-valid ones of 1.6 times that."""

    def interval(half, scale):
        return Interval(lower=round((lift - half) * scale, 6), upper=round((lift + half) * scale, 6))

    return Estimate(
        difference=round(lift * mean, 6),
        lift=lift,
        fixed=interval(wide, mean),
        fixed_lift=interval(wide, 1.0),
        always=interval(1.6 * wide, mean),
        always_lift=interval(1.6 * wide, 1.0),
        running=interval(1.5 * wide, mean),
        running_lift=interval(1.5 * wide, 1.0),
        fixed_p=p / 10,
        log_e=log_e,
        p=p,
    )


def arm(variation, mean, units=20_000, exposed=24_000):
    return Arm(variation=variation, units=units, mean=mean, exposed=exposed, preliminary_mean=mean)


def compared(metric="revenue", variation="green", role="primary", **fields):
    mean = fields.pop("mean", 12.0)
    lift = fields.pop("lift", 0.031)
    told = {
        "kind": "mean",
        "better": "up",
        "control": arm("control", mean),
        "arm": arm(variation, round(mean * (1 + lift), 6)),
        "state": "ready",
        "unadjusted": around(lift + 0.004, 0.022, mean=mean),
        "adjusted": around(lift, 0.0145, mean=mean, p=0.004, log_e=5.5),
        "variance_saved": 0.52,
        "bonferroni": 0.012,
        "holm": 0.012,
        "deciding": Interval(lower=0.111, upper=0.633) if role == "primary" else None,
    }
    return Comparison(metric=metric, role=role, **(told | fields))


def by_tier(lift=0.031):
    return (
        Stratum(name="low", control=16_200, units=16_150, estimate=around(lift + 0.004, 0.016)),
        Stratum(name="risky", control=800, units=812, estimate=around(lift - 0.06, 0.08)),
        Stratum(name="unknown", control=3_000, units=3_038, estimate=None),
        Stratum(name="without_risky", control=19_200, units=19_188, estimate=around(lift + 0.003, 0.015)),
    )


def comparisons(variation="green", lift=0.031):
    """Two declared metrics beside the primary one, two guardrails and the risk metric."""
    return (
        compared(variation=variation, lift=lift, strata=by_tier(lift), interaction_p=0.31, e_bh=True),
        compared("buyers", variation, "secondary", kind="proportion", mean=0.061, lift=0.012, adjusted=None,
                 variance_saved=None, unadjusted=around(0.012, 0.024, mean=0.061, p=0.83, log_e=-0.7), bonferroni=1.0,
                 holm=0.83),
        compared("revenue-per-visit", variation, "secondary", kind="ratio", mean=1.9, lift=0.027),
        compared("refunds", variation, "guardrail", kind="proportion", better="down", mean=0.0125, lift=-0.02,
                 adjusted=None, variance_saved=None, unadjusted=around(-0.02, 0.05, mean=0.0125), bonferroni=None,
                 holm=None, margin=0.002, margin_of="absolute", bound=0.0013, bound_harm=-0.0018, held=True),
        compared("latency", variation, "guardrail", better="down", mean=310.0, lift=0.034, bonferroni=None, holm=None,
                 adjusted=None, variance_saved=None, unadjusted=around(0.034, 0.012, mean=310.0, p=0.001, log_e=7.0),
                 margin=0.01, margin_of="relative", bound=0.052, bound_harm=0.015),
        compared("tidegate.risk", variation, "risk", kind="proportion", better="down", mean=0.004, lift=0.05,
                 adjusted=None, variance_saved=None, unadjusted=around(0.05, 0.21, mean=0.004), bonferroni=None,
                 holm=None),
    )  # fmt: skip


def looks(arms=1, count=60, lifts=(0.031, -0.012), seed=3):
    """Looks whose intervals narrow as the root of the units, around lifts that settle."""
    chance = random.Random(seed)
    walk = [0.0] * arms
    found = []
    for at in range(1, count + 1):
        wide = 0.0145 * math.sqrt(count / at)
        walk = [each + chance.gauss(0.0, 1.0) for each in walk]
        here = [lifts[arm] + 0.0075 * each * (1 - at / count) * math.sqrt(count) / at for arm, each in enumerate(walk)]
        price = 1.6 + 0.35 * (1 - at / count)
        found.append(
            Look(
                timestamp=START + 2 * DAY_MS + at * 13 * DAY_MS // (count + 1),
                units=40_000 * at // count,
                lifts=tuple(here),
                always=tuple(Interval(lower=one - price * wide, upper=one + price * wide) for one in here),
                fixed=tuple(Interval(lower=one - wide, upper=one + wide) for one in here),
                srm_p=min(1.0, 0.4 + 0.6 / at),
            )
        )
    return tuple(found)


def ratio(stratum="all", counts=(24_010, 23_990), p=0.41, **more):
    return SampleRatio(
        stratum=stratum,
        counts=counts,
        expected=(sum(counts) / len(counts),) * len(counts),
        p=p,
        chi_squared_p=0.93,
        alarm=more.pop("alarm", False),
        **more,
    )


def readout(**fields):
    told = {
        "experiment": "checkout-button",
        "version": 3,
        "timestamp": NOW,
        "alpha": 0.05,
        "cuped": True,
        "offsets": OFFSETS,
        "partitions": (0, 1),
        "first_exposure": START + 60_000,
        "tiers": True,
        "comparisons": comparisons(),
        "sample_ratio": (
            ratio(),
            ratio("low", (19_000, 18_950)),
            ratio("risky", (1_002, 1_011)),
            ratio("unknown", (4_008, 4_029)),
        ),
        "several": 0.0004,
        "refused": {"unknown_variation": 12, "late": 3},
        "looks": looks(),
    }
    return Readout(**(told | fields))


def verdict(decision="ship", days=15, **fields):
    told = {
        "experiment": "checkout-button",
        "version": 3,
        "timestamp": START + days * DAY_MS,
        "decision": decision,
        "reasons": (
            "revenue: lift of green 3.1 %, always valid 0.8 % to 5.4 %, excludes 0 upwards",
            "refunds: at most 0.0013 worse, margin 0.002",
            "sample ratio: p 0.41",
        ),
        "offsets": OFFSETS,
    }
    return Verdict(**(told | fields))


def definition(**fields):
    told = {
        "id": "checkout-button",
        "version": 3,
        "timestamp": START - DAY_MS,
        "seed": "checkout-button",
        "variations": ("control", "green"),
        "phases": (
            Phase(start=START, coverage=0.1, weights=(0.5, 0.5)),
            Phase(start=START + 3 * DAY_MS, coverage=1.0, weights=(0.5, 0.5)),
        ),
        "primary": Metric(name="revenue", kind="mean", event="purchase", value="amount"),
        "secondary": (Metric(name="buyers", kind="proportion", event="purchase"),),
        "guardrails": (
            Guardrail(metric=Metric(name="refunds", kind="proportion", event="refund", better="down"), margin=0.002),
        ),
        "alpha": 0.05,
        "tuning_n": 20_000,
        "attribution_window_s": 172_800,
        "minimum_run_s": 1_209_600,
        "mde": 0.02,
        "cuped": True,
        "description": "Does a green button sell more?",
    }
    return Definition(**(told | fields))


def uplift(variation="green", experiment="checkout-button"):
    """All units, then ten deciles whose effects fall from 1.2 to -0.6; the ranking is fair."""
    ranking = Ranking(folds=5, trees=100, seed=1, qini_perfect_normalised=0.06, chance_p=0.005, slope=0.66,
                      slope_lower=0.49, slope_upper=0.83, importance={"country": 0.7, "device": 0.3})  # fmt: skip
    shown = [("all", 20_000, 0.3, 0.1, 0.31, ranking)]
    shown += [
        (f"decile-{at}", 2_000, round(1.4 - 0.2 * at, 6), 0.33, round(1.6 - 0.24 * at, 6), None) for at in range(1, 11)
    ]
    return tuple(
        Uplift(
            experiment=experiment,
            version=3,
            timestamp=NOW,
            segment=f"{variation}/{name}",
            variation=variation,
            control="control",
            metric="revenue",
            better="up",
            treated=units,
            controls=units + 10,
            control_mean=12.0,
            effect=effect,
            lower=round(effect - half, 6),
            upper=round(effect + half, 6),
            level=0.95,
            predicted=predicted,
            ranking=found,
        )
        for name, units, effect, half, predicted, found in shown
    )
