"""The readout against other implementations, and against the functions it is made of."""

import jsonschema
import msgspec
import numpy as np
import pytest
from gbstats import A_3000, RATIO_A, RATIO_B, A, B, arms
from trials import BUYERS, PAGES, SPENDING, START_MS, Trial, Units, definition, drawn, spent, values

from experiments.effects import absolute, means, theta
from experiments.intervals import half_width, lift_interval, precision
from experiments.looking import plan
from experiments.looks import Looks
from experiments.multiple import bonferroni, holm
from experiments.readout import readout
from experiments.sums import PAIRS
from experiments.totals import total
from operators.merge.records import MOST_BYTES, of_readout
from schemas.definition import Guardrail, Metric, Phase
from schemas.generate import schema
from schemas.part import STRATA
from schemas.readout import Interval, Readout
from schemas.registry import TOPICS

CHECK = 0.01


def read(of, *rounds):
    """Return the readout after a look at each round's parts."""
    of_plan = plan(of)
    looks = Looks(len(of_plan.kinds), of_plan.pairs)
    for parts in rounds:
        totals = total(parts, of)
        seen = looks.look(totals, of_plan)
    return readout(of, of_plan, totals, seen, looks, CHECK)


def published(of, *rows, metric=0):
    """Return a part whose arms have sums as other implementations publish them, in the stratum unknown."""
    trial = Trial(of)
    moments_of = {"n": 0}
    names = ["n", *"ydxw", *("ydxw"[i] + "ydxw"[j] for i, j in PAIRS)]
    for arm, row in enumerate(rows):
        n, x = row["n"], row.get("x", 0.0)
        ones = {"d": n, "w": n, "dd": n, "ww": n, "dw": n, "x": x, "dx": x, "xw": x, "xx": 0.0, "yx": 0.0}
        given = moments_of | ones | {"yd": row["y"], "yw": row["y"]} | row
        trial.sums.high[metric, 0, 0, arm] = [given[name] for name in names]
        trial.exposed[0, 0, arm] = n
    return trial.part()


def ends(interval):
    return [interval.lower, interval.upper]


def test_growthbooks_welch_rows_through_a_part():
    """Tests/frequentist/test_tests.py of gbstats: absolute .29, CI (.04538, .53462), p .02016; relative .70732."""
    one = read(definition(), [published(definition(), A, B)]).comparisons[0].unadjusted

    assert one.difference == pytest.approx(0.29, abs=5e-6)
    assert ends(one.fixed) == pytest.approx([0.04538, 0.53462], abs=5e-6)
    assert one.fixed_p == pytest.approx(0.02016, abs=5e-6)
    assert one.lift == pytest.approx(0.70732, abs=5e-6)
    assert ends(one.fixed_lift) == pytest.approx([-0.03526, 1.44989], abs=5e-6)


def test_the_absolute_sequential_interval_of_the_same_row():
    """By the formula at N* 5,000: CI (-.0894101, .6694101), p .2907446, E 3.4394453."""
    one = read(definition(), [published(definition(), A, B)]).comparisons[0].unadjusted

    assert ends(one.always) == pytest.approx([-0.0894101, 0.6694101], rel=1e-5)
    assert one.p == pytest.approx(0.2907446, rel=1e-5)
    assert np.exp(one.log_e) == pytest.approx(3.4394453, rel=1e-5)


def test_growthbooks_proportions_through_a_part():
    """Gbstats: 1396 of 3000 and 2422 of 3461, relative .50386; its fixed interval is the estimate -+ 1.96 se."""
    of = definition(primary=BUYERS)
    rows = [{"n": n, "y": y, "yy": y} for n, y in ((3000, 1396), (3461, 2422))]
    one = read(of, [published(of, *rows)]).comparisons[0].unadjusted
    half = (one.fixed_lift.upper - one.fixed_lift.lower) / 2

    assert one.lift == pytest.approx(0.50386, abs=5e-6)
    assert half / 1.96 == pytest.approx(0.03386, abs=1e-5)


def test_growthbooks_covariate_rows_through_a_part():
    """Gbstats, RATIO_A and RATIO_B as regression-adjusted ratio: lift -.0007, fixed CI (-.00841, .00700)."""
    of = definition(primary=PAGES, cuped=True)
    one = read(of, [published(of, RATIO_A, RATIO_B)]).comparisons[0]

    assert one.adjusted.lift == pytest.approx(-0.0007, abs=5e-5)
    assert ends(one.adjusted.fixed_lift) == pytest.approx([-0.00841, 0.00700], abs=2e-5)
    assert 0 < one.variance_saved < 1


def guarded(margin, margin_of="absolute", better="up"):
    """Return the comparison of a guardrail that has GrowthBook's row with 3,000 units in A."""
    metric = Metric(name="speed", kind="mean", event="e", better=better)
    of = definition(primary=BUYERS, guardrails=(Guardrail(metric=metric, margin=margin, margin_of=margin_of),))
    return read(of, [published(of, A_3000, B, metric=1)]).comparisons[1]


def test_growthbooks_bounds_on_one_side_through_a_part():
    """Gbstats, sequential, one-sided, N* 5,000: the effect is above -.12656844 and, likewise, below .59532178."""
    one = guarded(0.2)

    assert (one.bound, one.bound_harm) == pytest.approx((0.12656844, -0.59532178), rel=1e-5)


def test_of_a_guardrail_of_which_less_is_better_harm_is_the_other_way():
    one = guarded(0.2, better="down")

    assert (one.bound, one.bound_harm) == pytest.approx((0.59532178, -0.12656844), rel=1e-5)


@pytest.mark.parametrize(("margin", "held"), [(0.127, True), (0.126, False)])
def test_a_guardrail_is_held_when_its_bound_is_inside_the_margin(margin, held):
    assert guarded(margin).held == held


def test_a_relative_margin_is_held_against_the_bound_of_the_lift():
    """The mean of A is .466: -.12656844 of it is -.272, and the bound of the contrast is near; of the quotient -.42."""
    one = guarded(0.3, "relative")

    assert 0.2 < one.bound < 0.35
    assert one.margin_of == "relative"


def test_harm_once_shown_stays_and_what_is_held_is_of_now():
    """At first 40 % more refunds, then as many fewer: the greatest bound of harm stays, the bound goes down."""
    of, rng = definition(margin=0.2), np.random.default_rng(11)
    trial, seen = Trial(of), []
    for at, refunds in enumerate([0.5, 0.1, 0.1, 0.1]):
        arm = rng.integers(0, 2, 4_000)
        returned = (rng.random(4_000) < np.where(arm == 1, refunds, 0.3)).astype(float)
        trial.add(Units(arm, values(spent(rng, arm), returned)))
        seen.append([trial.part(START_MS + at)])
    first, last = (read(of, *seen[:until]).comparisons[1] for until in (1, 4))

    assert first.bound_harm > 0.3
    assert last.bound_harm == first.bound_harm
    assert (first.held, last.held) == (False, True)


def with_past(rng, n, lift):
    arm = rng.integers(0, 2, n)
    past = rng.standard_normal(n)
    ones = np.ones(n)
    y = 5 + past + 0.5 * rng.standard_normal(n) + lift * arm
    return Units(arm, values((y, ones, past, ones)))


def test_what_was_before_narrows_the_interval_as_its_theta_says():
    """Against the functions on the moments of the same sums: numbers of both analyses, to six digits."""
    trial = Trial(definition(cuped=True)).add(with_past(np.random.default_rng(2), 2_000, 0.1))
    one = read(trial.of, [trial.part()]).comparisons[0]
    both = means(type(trial.sums.moments())(*(field[0, 0, 0] for field in trial.sums.moments())))
    a, b = both.take(0), both.take(1)
    rho2, slope = precision(0.05, 5_000), theta(a, b)
    effect = absolute(a, b, slope)
    half = half_width(effect, 0.05, rho2)

    assert ends(one.adjusted.always) == pytest.approx([effect.estimate - half, effect.estimate + half], rel=1e-5)
    assert ends(one.adjusted.always_lift) == pytest.approx(np.array(lift_interval(a, b, 0.05, rho2, slope)), rel=1e-5)
    assert one.variance_saved == pytest.approx(0.8, abs=0.02)  # correlation^2 = 1 / 1.25


def test_without_anything_before_there_is_no_adjusted_analysis_and_the_deciding_one_goes_on_without():
    of = definition(cuped=True)
    one = read(of, [Trial(of).add(drawn(np.random.default_rng(2), 2_000)).part()]).comparisons[0]

    assert (one.adjusted, one.variance_saved) == (None, None)
    assert one.deciding == one.unadjusted.running


def test_while_it_is_warming_it_says_what_is_missing_and_gives_no_p():
    """60 units in each arm: 40 more are wanted. Of 120 units 2 and 1 bought: of 5 conversions 4 are missing."""
    of = definition(primary=BUYERS, secondary=(SPENDING,))
    arm = np.repeat([0, 1], 60)
    bought = np.isin(np.arange(120), [0, 1, 60]).astype(float)
    buyers, spending = read(of, [Trial(of).add(Units(arm, values(bought, 1.0 + bought))).part()]).comparisons

    assert (buyers.state, buyers.missing) == ("warming", {"units": 40, "conversions": 4})
    assert (spending.state, spending.missing) == ("warming", {"units": 40})
    assert [buyers.unadjusted, buyers.bonferroni, buyers.holm, buyers.deciding] == [None] * 4
    assert not buyers.e_bh
    assert (buyers.control.units, buyers.control.mean) == (60, pytest.approx(2 / 60, rel=1e-5))


def test_while_it_is_warming_nothing_is_a_discovery_however_large():
    of = definition()
    units = Units(np.repeat([0, 1], 60), values(np.repeat([0.0, 100.0], 60) + np.arange(120) % 2))
    one = read(of, [Trial(of).add(units).part()]).comparisons[0]

    assert (one.state, one.e_bh) == ("warming", False)


def test_a_p_that_was_found_is_not_told_while_the_burn_in_lacks_something_again():
    """One unit that spends a million: the effective size of its arm is 1."""
    of = definition(phases=(Phase(start=START_MS, coverage=1.0, weights=(0.8, 0.2)),))
    rng, trial = np.random.default_rng(12), Trial(of)
    first = [trial.add(drawn(rng, 1_000, 0.5, (0.8, 0.2))).part(START_MS)]
    then = [trial.add(Units(np.array([1]), values(np.array([1e6])))).part(START_MS + 1)]
    before, after = (read(of, *rounds).comparisons[0] for rounds in ([first], [first, then]))

    assert before.holm < 0.05
    assert (after.state, after.holm, after.bonferroni) == ("warming", None, None)


def test_values_that_are_all_the_same_give_no_figure():
    of = definition()
    units = Units(np.repeat([0, 1], 500), values(np.full(1_000, 3.0)))
    one = read(of, [Trial(of).add(units).part()]).comparisons[0]

    assert (one.state, one.missing, one.unadjusted) == ("warming", {"spread": 1}, None)


def test_skew_values_in_unequal_arms_wait_for_their_effective_size():
    """Three of 500 spend in the small arm: an effective size of 3, and 17 more are wanted (one in n due to n - 1)."""
    of = definition(phases=(Phase(start=START_MS, coverage=1.0, weights=(0.9, 0.1)),))
    spend = np.concatenate([np.ones(4_500), np.arange(500) < 3]).astype(float)
    units = Units(np.repeat([0, 1], [4_500, 500]), values(spend))
    one = read(of, [Trial(of).add(units).part()]).comparisons[0]

    assert list(one.missing) == ["effective_units"]
    assert one.missing["effective_units"] == pytest.approx(17, abs=0.05)


def test_the_running_interval_is_the_intersection_of_all_looks():
    rng = np.random.default_rng(3)
    trial = Trial(definition())
    rounds = [[trial.add(drawn(rng, 300)).part(START_MS + at)] for at in range(8)]
    seen = [read(trial.of, parts).comparisons[0].unadjusted.always for parts in rounds]
    one = read(trial.of, *rounds).comparisons[0].unadjusted

    assert one.running == Interval(lower=max(each.lower for each in seen), upper=min(each.upper for each in seen))


def test_an_effect_that_turns_round_is_changing():
    rng = np.random.default_rng(4)
    trial = Trial(definition())
    rounds = [[trial.add(drawn(rng, 4_000, lift)).part(START_MS + at)] for at, lift in enumerate([0.5, -0.9, -0.9])]
    one = read(trial.of, *rounds).comparisons[0]

    assert one.state == "changing"
    assert one.unadjusted.running.lower > one.unadjusted.running.upper


def test_the_family_is_the_primary_and_secondary_metrics_of_all_variations():
    of = definition(variations=("control", "green", "blue"), secondary=(PAGES,), margin=0.1)
    of = msgspec.structs.replace(of, phases=(Phase(start=START_MS, coverage=1.0, weights=(0.4, 0.3, 0.3)),))
    rng = np.random.default_rng(6)
    arm = rng.choice(3, 6_000, p=[0.4, 0.3, 0.3])
    refunds = (rng.random(6_000) < 0.1).astype(float)
    units = Units(arm, values(spent(rng, arm, 0.05), (spent(rng, arm), 1.0 + rng.random(6_000)), refunds))
    found = read(of, [Trial(of).add(units).part()])
    family = [each for each in found.comparisons if each.role != "guardrail"]
    p = np.array([each.unadjusted.p for each in family])

    assert [each.bonferroni for each in family] == pytest.approx(bonferroni(p), rel=1e-5)
    assert [each.holm for each in family] == pytest.approx(holm(p), rel=1e-5)
    assert len(family) == 4
    assert all(each.bonferroni is None for each in found.comparisons if each.role == "guardrail")


def test_what_decides_among_several_variations_is_wider_than_each_interval():
    of = definition(variations=("control", "green", "blue"))
    of = msgspec.structs.replace(of, phases=(Phase(start=START_MS, coverage=1.0, weights=(0.4, 0.3, 0.3)),))
    trial = Trial(of).add(drawn(np.random.default_rng(7), 6_000, 0.05, (0.4, 0.3, 0.3)))
    one = read(of, [trial.part()]).comparisons[0]
    both = means(type(trial.sums.moments())(*(field[0, 0, 0] for field in trial.sums.moments())))
    half = half_width(absolute(both.take(0), both.take(1)), 0.025, precision(0.05, 5_000))

    assert ends(one.deciding) == pytest.approx(
        [one.unadjusted.difference - half, one.unadjusted.difference + half], rel=1e-4
    )
    assert one.deciding.lower < one.unadjusted.running.lower


def test_strata_are_compared_for_themselves_where_tiers_are_read():
    rng = np.random.default_rng(8)
    of, stratum = definition(), rng.choice(5, 8_000, p=[0.1, 0.4, 0.1, 0.3, 0.1])
    arm = rng.integers(0, 2, 8_000)
    spend = spent(rng, arm, 0.3 * (stratum >= STRATA.index("high")))
    units = Units(arm, values(spend, np.zeros(8_000)), stratum=stratum)
    one = read(of, [Trial(of, tiers=True).add(units).part()]).comparisons[0]
    lifts = {each.name: each.estimate.lift for each in one.strata}

    assert list(lifts) == ["unknown", "low", "risky", "without_risky"]
    assert lifts["risky"] == pytest.approx(0.3, abs=0.08)
    assert lifts["low"] == pytest.approx(0, abs=0.05)
    assert lifts["without_risky"] == pytest.approx(0, abs=0.05)
    assert one.interaction_p < 1e-6


def test_without_tiers_there_are_no_strata_and_no_risk():
    found = read(definition(), [Trial(definition()).add(drawn(np.random.default_rng(2), 2_000)).part()])

    assert [(each.strata, each.interaction_p, each.role) for each in found.comparisons] == [((), None, "primary")]
    assert [each.stratum for each in found.sample_ratio] == ["all"]


def test_figures_so_far_hold_open_windows_too():
    """Arm 0: two units with 3 and 5, one open with 1 so far: mean 4, so far (3 + 5 + 1) / 3."""
    of = definition()
    units = Units(np.zeros(3, np.int64), values(np.array([3.0, 5.0, 1.0])), open=np.array([0, 0, 1]))
    control = read(of, [Trial(of).add(units).part()]).comparisons[0].control

    assert (control.units, control.exposed, control.preliminary_mean) == (2, 3, 3)


def test_a_readout_fits_its_json_schema_and_comes_back_as_it_went():
    of = definition(margin=0.1, cuped=True)
    rng = np.random.default_rng(9)
    arm = rng.integers(0, 2, 3_000)
    units = Units(arm, values(spent(rng, arm), rng.random(3_000) < 0.1, rng.random(3_000) < 0.02))
    units.stratum = rng.integers(0, 5, 3_000)
    found = read(of, [Trial(of, tiers=True).add(units).part()])
    written = msgspec.json.encode(found)

    jsonschema.Draft202012Validator(schema(TOPICS["experiments.readouts"])).validate(msgspec.json.decode(written))
    assert msgspec.json.decode(written, type=Readout) == found
    assert [each.role for each in found.comparisons] == ["primary", "guardrail", "risk"]


def test_published_sums_are_those_of_the_helper():
    """The helper above lays sums out as `gbstats.arms` does."""
    part = published(definition(), A, B)
    high = np.frombuffer(part.matured).reshape(1, 1, 5, 2, -1)[0, 0, 0]

    assert high[:, :2].tolist() == np.stack([arms(A, B).n, arms(A, B).n * arms(A, B).means[:, 0]], axis=1).tolist()


def test_a_phase_of_which_an_arm_has_too_few_units_decides_nothing():
    """50/50, then 99/1 to keep a variation small: 20 units without a conversion are no arm of no conversions."""
    of = definition(
        primary=BUYERS,
        phases=tuple(Phase(start=START_MS + n, coverage=1.0, weights=(1.0 - w, w)) for n, w in ((0, 0.5), (1, 0.01))),
    )
    trial = Trial(of)
    for phase, arm, n, ones in ((0, 0, 1_000, 50), (0, 1, 1_000, 50), (1, 0, 1_980, 99), (1, 1, 20, 0)):
        one = values((np.arange(n) < ones).astype(float))
        trial.add(Units(np.full(n, arm), one, phase=np.full(n, phase)))
    first = read(of, [trial.part()]).comparisons[0]

    assert first.unadjusted.difference == pytest.approx(0.0, abs=1e-12)  # of the first phase alone: 50 of 1,000 in both
    assert first.deciding.lower < 0.0 < first.deciding.upper


def test_a_readout_of_very_many_metrics_is_cut_to_what_kafka_takes_and_keeps_what_decides():
    others = tuple(Metric(name=f"m{n}", kind="mean", event="e", value="v") for n in range(18))
    of = definition(
        primary=BUYERS,
        secondary=others,
        variations=("control", *(f"v{n}" for n in range(24))),
        phases=(Phase(start=START_MS, coverage=1.0, weights=(0.04,) * 25),),
    )
    rng = np.random.default_rng(1)
    trial = Trial(of, tiers=True)
    arm, n = np.arange(25 * 400) % 25, 25 * 400
    columns = [
        (rng.random(n) < 0.3).astype(float),
        *(rng.lognormal(size=n) for _ in others),
        (rng.random(n) < 0.1) * 1.0,
    ]
    trial.add(Units(arm, values(*columns), stratum=rng.integers(0, 5, n)))
    whole = read(of, [trial.part()])
    assert len(msgspec.json.encode(whole)) > MOST_BYTES
    sent = msgspec.json.decode(of_readout(whole).value, type=Readout)

    assert len(of_readout(whole).value) <= MOST_BYTES
    assert [each.deciding for each in sent.comparisons] == [each.deciding for each in whole.comparisons]
