"""Whole experiments, unit by unit to the decision: what is sound is left alone, what is not is found."""

import math

import numpy as np
import pytest
from trials import DAY_MS, START_MS, Trial, Units, definition, spent, values

from experiments.looking import plan
from experiments.looks import Looks
from experiments.readout import readout
from experiments.totals import total
from experiments.verdicts import decide
from schemas.definition import Phase

pytestmark = pytest.mark.slow

CHECK = 0.01
LOOKS, BATCH = 25, 400
RISKY = 0.3
GUARDED = definition(margin=0.5, minimum_run_s=43_200)
RAMP = definition(
    phases=(
        Phase(start=START_MS, coverage=0.1, weights=(0.9, 0.1)),
        Phase(start=START_MS + DAY_MS, coverage=1.0, weights=(0.5, 0.5)),
    )
)


def units(rng, of, look, lift=0.0, risky_lift=None, refunds=0.1, more_refunds=0.0, lost=0.0, more_risk=0.0):
    """Draw a batch: spending, refunds and later risk; of the variation's units a share `lost` does not arrive."""
    late = int(look >= LOOKS // 2 and len(of.phases) > 1)
    arm = rng.choice(2, BATCH, p=of.phases[late].weights)
    arm = arm[~((arm == 1) & (rng.random(BATCH) < lost))]
    n = len(arm)
    stratum = np.where(rng.random(n) < RISKY, 3, 1)
    lifted = np.where(stratum == 3, lift if risky_lift is None else risky_lift, lift)
    drift = 1.0 + 0.5 * late  # what is spent rises for all alike
    refunded = rng.random(n) < refunds * (1.0 + more_refunds * (arm > 0))
    later = rng.random(n) < 0.05 + more_risk * (arm > 0)
    columns = values(drift * spent(rng, arm, lifted), *([refunded] if of.guardrails else []), later)
    return Units(arm, columns.astype(float), stratum=stratum, phase=np.full(n, late))


def outcome(seed, of=GUARDED, **what):
    """Return the first decision that is not `continue`, if any, and the last readout."""
    rng, trial, of_plan = np.random.default_rng(seed), Trial(of, tiers=True), plan(of)
    looks, decided = Looks(len(of_plan.kinds), of_plan.pairs), "continue"
    for look in range(LOOKS):
        part = trial.add(units(rng, of, look, **what)).part(START_MS + (look + 1) * DAY_MS // 8)
        totals = total([part], of)
        seen = looks.look(totals, of_plan)
        found = readout(of, of_plan, totals, seen, looks, CHECK)
        answer = decide(of, found, CHECK).decision
        decided = answer if decided == "continue" else decided
    return decided, found


def outcomes(count, **what):
    found = [outcome(1_000 + at, **what)[0] for at in range(count)]
    shares = {answer: found.count(answer) / count for answer in ("continue", "ship", "stop", "broken")}
    print(what, shares)
    return shares


def test_without_an_effect_it_goes_on_and_on():
    """150 sound experiments, 25 looks each: shipped, or stopped, or broken in 5 % at most, with its binomial margin."""
    shares = outcomes(150)
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)

    assert shares["continue"] >= 0.9
    assert max(shares["ship"], shares["stop"], shares["broken"]) <= most


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("ship", {"lift": 0.08}),
        ("stop", {"lift": -0.08}),
        ("stop", {"more_refunds": 1.5}),
        ("stop", {"more_risk": 0.05}),
        ("broken", {"lost": 0.12}),
        ("broken", {"lift": 0.0, "risky_lift": 0.2}),
    ],
    ids=["effect", "harm", "guardrail", "risk", "sample ratio", "interaction"],
)
def test_what_is_there_is_found(answer, what):
    """Ten experiments each; effects are large, so that nine of ten must end as they should."""
    assert outcomes(10, **what)[answer] >= 0.9


def test_a_lift_that_is_the_same_among_risky_units_breaks_nothing():
    """8 % for all: units that spend more gain more, and the lift is one."""
    assert outcomes(20, lift=0.08)["broken"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_ramp_with_a_drift_is_quiet(seed):
    """Spending rises by half as 90/10 becomes 50/50: pooled, the arms would differ by 18 % and more."""
    decided, found = outcome(seed, RAMP)
    one = found.comparisons[0]
    pooled = np.array([each.preliminary_mean for each in (one.control, one.arm)])

    assert decided == "continue"
    assert not any(each.alarm for each in found.sample_ratio)
    assert pooled[1] / pooled[0] > 1.08
    assert abs(one.unadjusted.lift) < 0.05
