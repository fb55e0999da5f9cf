"""The sample ratio of whole readouts: over phases and strata, against published figures."""

import numpy as np
import pytest
from trials import START_MS, Trial, definition

from experiments.looking import plan
from experiments.sample_ratio import SAMPLED, factors, sample_ratio
from experiments.srm import RunningSrm
from experiments.totals import total
from schemas.definition import Phase

LIMIT = 0.01


def of(*weights):
    phases = tuple(Phase(start=START_MS + at, coverage=1.0, weights=each) for at, each in enumerate(weights))
    names = ("control", "green", "blue")[: len(weights[0])]
    return definition(variations=names, phases=phases)


def checked(definition, counts, *, stratum=0, tiers=False):
    """Return the ratios after one look at counts of shape (phases, arms), all in one stratum."""
    trial = Trial(definition, tiers=tiers)
    trial.exposed[:, stratum] = counts
    totals, of_plan, running = total([trial.part()], definition), plan(definition), RunningSrm(len(SAMPLED))
    running.look(factors(totals, of_plan))
    return sample_ratio(totals, of_plan, running, LIMIT)


@pytest.mark.parametrize(
    ("counts", "shares", "p", "chi_squared"),
    [
        ((1_000, 1_200), (0.5, 0.5), 0.00079251, 0.000020079),
        ((135, 115), (0.5, 0.5), 1.0, 0.205903211),
        ((310, 98), (0.75, 0.25), 1.0, 0.647434186),
        ((500, 500, 600), (0.34, 0.33, 0.33), 0.017785, 0.000592638),
    ],
)
def test_published_counts_through_a_part(counts, shares, p, chi_squared):
    """Chi-squared: GrowthBook's tests. 1 / BF at k = 100 by the formula of Lindon and Malek."""
    one = checked(of(shares), [counts])[0]

    assert one.p == pytest.approx(p, rel=1e-4)
    assert one.chi_squared_p == pytest.approx(chi_squared, rel=2e-5)
    assert one.alarm == (p <= LIMIT)


def test_a_ramp_is_quiet():
    """9,000 and 1,000 under 90/10, then 5,000 each: against 50/50 alone p is 0, by phase 1 / BF is 102."""
    one = checked(of((0.9, 0.1), (0.5, 0.5)), [(9_000, 1_000), (5_000, 5_000)])[0]

    assert (one.counts, one.expected) == ((14_000, 6_000), (14_000, 6_000))
    assert (one.p, one.chi_squared_p, one.alarm) == (1, 1, False)


def test_arms_of_weight_0_are_not_tested_and_their_units_are_an_alarm():
    """GrowthBook's [1000, 1200, 900] under [.5, .5, 0]: p .000020079, one degree of freedom; here 900 stray."""
    one = checked(of((0.5, 0.5, 0.0)), [(1_000, 1_200, 900)])[0]

    assert (one.chi_squared_p, one.stray) == (pytest.approx(0.000020079, rel=1e-4), 900)
    assert one.expected == (1_100, 1_100, 0)
    assert one.alarm


@pytest.mark.parametrize(("lost", "alarm"), [(2, False), (3, True)])
def test_of_units_in_arms_of_weight_0_one_in_a_thousand_is_borne_and_told(lost, alarm):
    """A variation is taken out by weight 0; what caches and open pages still show must not break the others."""
    one = checked(of((0.5, 0.5, 0.0)), [(1_000, 1_000, lost)])[0]

    assert (one.p, one.stray, one.alarm) == (1, lost, alarm)


def test_weights_that_do_not_sum_to_1_to_the_last_digit_raise_no_alarm():
    """Of 20 million units a millionth of missing weight would be a Bayes factor of e^20."""
    one = checked(of((0.333333, 0.333333, 0.333333)), [(6_666_667, 6_666_667, 6_666_667)])[0]

    assert not one.alarm


def test_no_unit_yet_is_no_figure():
    one = checked(of((0.5, 0.5)), [(0, 0)])[0]

    assert (one.p, one.chi_squared_p, one.alarm) == (1, None, False)


def test_each_stratum_is_tested_for_itself():
    """1,000 and 1,200 in the tier high: all units and `risky` alarm, at .00079 below .01 and .0033."""
    found = checked(of((0.5, 0.5)), [(1_000, 1_200)], stratum=3, tiers=True)

    assert {each.stratum: (sum(each.counts), each.alarm) for each in found} == {
        "all": (2_200, True),
        "unknown": (0, False),
        "low": (0, False),
        "risky": (2_200, True),
    }


def test_a_stratum_alarms_at_a_third_of_the_limit():
    """500, 500 and 600 have p .0178: at 3 times that both alarm, at twice that all units alone."""
    trial = Trial(of((0.34, 0.33, 0.33)), tiers=True)
    trial.exposed[:, 3] = [(500, 500, 600)]
    totals, of_plan, running = total([trial.part()], trial.of), plan(trial.of), RunningSrm(len(SAMPLED))
    running.look(factors(totals, of_plan))
    alarms = {limit: [each.alarm for each in sample_ratio(totals, of_plan, running, limit)] for limit in (0.036, 0.054)}

    assert alarms == {0.036: [True, False, False, False], 0.054: [True, False, False, True]}


def test_the_smallest_p_so_far_stays():
    """1,000 and 1,200, and later 2,000 each: the evidence there was is not taken back."""
    definition_of = of((0.5, 0.5))
    running, of_plan = RunningSrm(len(SAMPLED)), plan(definition_of)
    for counts in ((1_000, 1_200), (2_000, 2_000)):
        trial = Trial(definition_of)
        trial.exposed[:, 0] = [counts]
        totals = total([trial.part()], definition_of)
        running.look(factors(totals, of_plan))

    assert sample_ratio(totals, of_plan, running, LIMIT)[0].p == pytest.approx(0.00079251, rel=1e-4)


def test_units_of_a_phase_that_was_taken_back_are_stray():
    later = of((0.5, 0.5), (0.1, 0.9))
    trial = Trial(later)
    trial.exposed[:, 0] = [(100, 100), (2, 1)]
    sooner = of((0.5, 0.5))
    totals, of_plan, running = total([trial.part()], sooner), plan(sooner), RunningSrm(len(SAMPLED))

    assert np.shape(factors(totals, of_plan)) == (4, 2)
    assert sample_ratio(totals, of_plan, running, LIMIT)[0].stray == 3
