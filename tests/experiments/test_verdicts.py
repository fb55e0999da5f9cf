"""The decision: a table of all combinations, then each condition for itself."""

import itertools

import pytest
from trials import BUYERS, DAY_MS, SPENDING, START_MS, definition

from experiments.verdicts import decide
from schemas.definition import Phase
from schemas.part import RISK
from schemas.readout import Arm, Comparison, Estimate, Interval, Readout, SampleRatio, Stratum

CHECK = 0.01
MARGIN = 0.05
PRIMARY = {"better": Interval(lower=0.1, upper=0.3), "worse": Interval(lower=-0.3, upper=-0.1), None: Interval()}


def comparison(metric=SPENDING, role="primary", name="green", deciding=None, **changes):
    given = {
        "metric": metric.name,
        "role": role,
        "kind": metric.kind,
        "better": metric.better,
        "control": Arm(variation="control", units=500, exposed=500),
        "arm": Arm(variation=name, units=500, exposed=500),
        "state": "ready",
        "deciding": deciding,
    }
    return Comparison(**given | changes)


def ratio(stratum="all", p=1.0, **changes):
    given = {"alarm": p <= CHECK, "stratum": stratum, "counts": (500, 480), "expected": (490.0, 490.0), "p": p}
    return SampleRatio(**given | changes)


def told(*comparisons, ratios=(), days=7, of=None):
    of = of or definition(margin=MARGIN)
    readout = Readout(
        experiment="button",
        version=1,
        timestamp=START_MS + int(days * DAY_MS),
        alpha=0.05,
        cuped=False,
        offsets={},
        partitions=(0,),
        first_exposure=START_MS,
        tiers=True,
        comparisons=comparisons,
        sample_ratio=ratios or (ratio(),),
    )
    return decide(of, readout, CHECK)


def guardrail(held="yes", harm=-0.1, bound=0.01, **changes):
    return comparison(
        BUYERS,
        "guardrail",
        held=held == "yes",
        bound=bound,
        bound_harm=harm,
        margin=MARGIN,
        margin_of="relative",
        **changes,
    )


def risk(harm):
    return comparison(BUYERS, "risk", bound=0.1, bound_harm=harm)


def expected(mismatch, interaction, primary, harmed, risky, held, over):
    if mismatch or interaction:
        return "broken"
    if primary == "worse" or harmed or risky:
        return "stop"
    return "ship" if primary == "better" and held and over else "continue"


CASES = list(itertools.product(*[[False, True]] * 2, [None, "better", "worse"], *[[False, True]] * 4))


@pytest.mark.parametrize("case", CASES)
def test_every_combination_has_one_answer_in_the_stated_order(case):
    """Broken before stop, stop before ship, ship only where nothing is missing: 192 rows."""
    mismatch, interaction, primary, harmed, risky, held, over = case
    found = told(
        comparison(deciding=PRIMARY[primary], interaction_p=0.009 if interaction else 0.011),
        guardrail("yes" if held else "no", 0.06 if harmed else 0.04, 0.01 if held else 0.07),
        risk(0.001 if risky else -0.001),
        ratios=(ratio(p=0.001 if mismatch else 0.5),),
        days=7 if over else 0.9,
    )

    assert found.decision == expected(*case)
    assert found.variation == ("green" if found.decision == "ship" else None)
    assert found.reasons
    assert all(reason.endswith(".") for reason in found.reasons)


def test_a_metric_of_which_less_is_better_ships_below_0_and_stops_above():
    less = {"metric": BUYERS, "better": "down"}
    of = definition()

    assert told(comparison(deciding=PRIMARY["worse"], **less), of=of).decision == "ship"
    assert told(comparison(deciding=PRIMARY["better"], **less), of=of).decision == "stop"


@pytest.mark.parametrize(
    ("ends", "decision"),
    [((0.0, 0.1), "continue"), ((1e-9, 0.1), "ship"), ((-0.1, 0.0), "continue"), ((-0.1, -1e-9), "stop")],
)
def test_an_interval_that_touches_0_decides_nothing(ends, decision):
    assert told(comparison(deciding=Interval(lower=ends[0], upper=ends[1])), of=definition()).decision == decision


@pytest.mark.parametrize("primary", ["better", "worse"])
@pytest.mark.parametrize("state", ["warming", "changing"])
def test_nothing_is_decided_while_warming_or_while_the_effect_changes(primary, state):
    found = told(comparison(deciding=PRIMARY[primary], state=state, missing={"units": 3.0}), guardrail())

    assert found.decision == "continue"
    assert ("missing 3 units" in found.reasons[0]) == (state == "warming")
    assert ("changes with time" in found.reasons[0]) == (state == "changing")


@pytest.mark.parametrize(("days", "decision"), [(1.0, "ship"), (1.0 - 1 / DAY_MS, "continue")])
def test_the_minimum_run_is_over_to_the_millisecond(days, decision):
    """`trials.definition` wants a day."""
    assert told(comparison(deciding=PRIMARY["better"]), guardrail(), days=days).decision == decision


@pytest.mark.parametrize(("harm", "decision"), [(MARGIN, "ship"), (MARGIN + 1e-9, "stop")])
def test_a_guardrail_stops_above_its_margin_not_on_it(harm, decision):
    assert told(comparison(deciding=PRIMARY["better"]), guardrail(harm=harm)).decision == decision


def test_a_guardrail_that_is_not_known_yet_is_not_held():
    found = told(comparison(deciding=PRIMARY["better"]), guardrail("no", None, None))

    assert (found.decision, found.reasons) == ("continue", ("Guardrail buyers of green is not known yet.",))


def test_a_mismatch_within_one_stratum_is_enough():
    found = told(comparison(), ratios=(ratio(), ratio("risky", 0.003)))

    assert found.decision == "broken"
    assert found.reasons == (
        "Sample ratio of the stratum risky: 500 for 490, 480 for 490 expected; anytime p 0.003, limit 0.00333.",
    )


def test_a_guardrail_whose_effect_changes_neither_stops_nor_lets_ship():
    found = told(comparison(deciding=PRIMARY["better"]), guardrail(harm=0.5, state="changing"))

    assert (found.decision, found.reasons) == (
        "continue",
        ("The effect of green on guardrail buyers changes with time.",),
    )


def test_stray_units_are_enough_whatever_the_ratio_says():
    found = told(comparison(), ratios=(ratio(alarm=True, stray=3),))

    assert (found.decision, found.reasons) == ("broken", ("3 units of all units came to variations of weight 0.",))


def test_an_interaction_says_both_lifts():
    low, risky = (
        Stratum(name=name, control=9, units=9, estimate=Estimate(lift=lift))
        for name, lift in (("low", 0.01), ("risky", 0.4))
    )
    found = told(comparison(interaction_p=0.0004, strata=(low, risky)))

    assert found.reasons[0].startswith("The lift of spending by green is 1 % among low and 40 % among risky units: ")
    assert found.reasons[0].endswith("anytime p 0.0004 that they are the same, limit 0.01.")


def test_an_interaction_of_another_metric_than_the_primary_breaks_nothing():
    assert told(comparison(), comparison(BUYERS, "secondary", interaction_p=1e-9)).decision == "continue"


THREE = definition(
    variations=("control", "green", "blue"),
    phases=(Phase(start=START_MS, coverage=1.0, weights=(0.4, 0.3, 0.3)),),
)


def both(green, blue, **kwargs):
    return told(comparison(deciding=green), comparison(name="blue", deciding=blue), of=THREE, **kwargs)


def test_of_several_the_one_that_is_surely_better_is_shipped():
    found = both(Interval(lower=0.1, upper=0.9), Interval(lower=0.2, upper=0.3))

    assert (found.decision, found.variation) == ("ship", "blue")


def test_harm_by_one_of_several_stops_though_another_is_better():
    assert both(PRIMARY["better"], PRIMARY["worse"]).decision == "stop"


def test_the_interaction_is_held_against_its_share_of_the_limit():
    """Of two variations each at .005."""
    decisions = [
        told(comparison(interaction_p=p), comparison(name="blue", interaction_p=1.0), of=THREE).decision
        for p in (0.004, 0.006)
    ]

    assert decisions == ["broken", "continue"]


@pytest.mark.parametrize(("green", "decision"), [("worse", "ship"), ("better", "ship")])
def test_a_variation_that_nobody_is_shown_any_more_neither_stops_nor_ships(green, decision):
    phases = (*THREE.phases, Phase(start=START_MS + DAY_MS, coverage=1.0, weights=(0.5, 0.0, 0.5)))
    of = definition(variations=THREE.variations, phases=phases)
    deciding = {"worse": Interval(lower=-0.9, upper=-0.5), "better": Interval(lower=0.5, upper=0.9)}[green]
    found = told(comparison(deciding=deciding), comparison(name="blue", deciding=PRIMARY["better"]), of=of)

    assert (found.decision, found.variation) == (decision, "blue")


def test_a_phase_that_has_not_begun_takes_nothing_back_yet():
    phases = (*THREE.phases, Phase(start=START_MS + 8 * DAY_MS, coverage=1.0, weights=(0.5, 0.0, 0.5)))
    of = definition(variations=THREE.variations, phases=phases)
    found = told(comparison(deciding=PRIMARY["worse"]), comparison(name="blue"), of=of)

    assert found.decision == "stop"


def test_what_is_shipped_comes_with_its_figures():
    assert told(comparison(deciding=PRIMARY["better"]), guardrail()).reasons == (
        "green is better: spending of green differs by 0.1 to 0.3 from control at all looks so far.",
        "Guardrail buyers is held: worse by 1 % at most, its margin is 5 %.",
        "The sample ratio is quiet: anytime p 1.",
    )


def test_harm_comes_with_its_figures():
    assert told(comparison(deciding=PRIMARY["worse"]), guardrail(harm=0.08), risk(0.02)).reasons == (
        "Harm: spending of green differs by -0.3 to -0.1 from control at all looks so far, all on the wrong side of 0.",
        "Harm: guardrail buyers is worse in green by at least 8 %, more than its margin of 5 %.",
        f"Harm: green raises the share of risky units ({RISK}) by at least 0.02 against control.",
    )
