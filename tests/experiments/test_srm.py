"""SRM: published results of ssrm, savvi and GrowthBook, and the definition unit by unit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.srm import RunningSrm, chi_squared, log_bayes_factor, share_interval, strays
from operators.state import pack, unpack


def shares(*values):
    return np.array(values, float)


def counts(*values):
    return np.array(values, np.int64)


# GrowthBook, checkSrm in TypeScript; 1 / BF by the formula, worked out apart from this code
@pytest.mark.parametrize(
    ("arms", "design", "chi2_p", "k100", "k10000"),
    [
        ((1000, 1200), (0.5, 0.5), 0.000020079, 0.00079251, 0.21435),
        ((135, 115), (0.5, 0.5), 0.205903211, 1.0563, 0.99286),
        ((310, 98), (0.75, 0.25), 0.647434186, 2.0548, 1.0155),
        ((500, 500, 600), (0.34, 0.33, 0.33), 0.000592638, 0.017785, 0.41751),
        ((0, 10, 10), (0.34, 0.33, 0.33), 0.005790624, None, None),
    ],
)
def test_growthbook_counts(arms, design, chi2_p, k100, k10000):
    assert chi_squared(counts(*arms), shares(*design)) == pytest.approx(chi2_p, abs=1e-9)
    for k, expected in ((100, k100), (10_000, k10000)):
        if expected is not None:
            found = math.exp(-log_bayes_factor(counts(*arms), shares(*design), k))
            assert found == pytest.approx(expected, rel=5e-5)


def test_an_arm_of_share_0_is_left_out_of_the_test():
    """GrowthBook's TypeScript: the p-value of 1000 and 1200 alone. Its Python twin says 2.9e-60 here."""
    arms, design = counts(1000, 1200, 900), shares(0.5, 0.5, 0)

    assert chi_squared(arms, design) == pytest.approx(0.000020079, abs=1e-9)
    assert log_bayes_factor(arms, design) == pytest.approx(log_bayes_factor(arms[:2], design[:2]), rel=1e-14)


def test_units_in_an_arm_of_share_0_are_counted_for_themselves():
    arms = np.array([[1000, 1200, 900], [5, 6, 7]])

    assert strays(arms, np.array([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])).tolist() == [900, 0]


def test_where_there_is_nothing_to_test_there_is_no_alarm():
    """All shares 0: 1, as GrowthBook; likewise no units, and one arm."""
    for arms, design in [((5, 6), (0, 0)), ((0, 0), (0.5, 0.5)), ((7, 3), (1, 0))]:
        assert chi_squared(counts(*arms), shares(*design)) == 1.0
        assert log_bayes_factor(counts(*arms), shares(*design)) == pytest.approx(0.0, abs=1e-12)


UNITS = [
    (-1.0986123, -0.9162907),
    (-2.4849066, -1.8325815),
    (-3.4011974, -2.7488722),
    (-4.4998097, -3.6651629),
    (-6.4457198, -5.2746008),
]
BATCHES = [
    (-7.0282014, -4.0776406),
    (-11.9478477, -8.2659469),
    (-15.4714020, -11.6107435),
    (-19.9648452, -15.7810312),
]


@pytest.mark.parametrize(
    ("rows", "logs"),
    [
        ([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], UNITS),
        ([[20, 17, 9], [18, 21, 8], [4, 6, 4], [18, 19, 11]], BATCHES),
    ],
)
def test_ssrm_marginal_likelihoods(rows, logs):
    """ssrm's tests: ln M1 under Dirichlet(1, 1, 1), ln M0 under .4, .4, .2; their difference is ln BF.

    Ours has its prior around the design: with equal shares and concentration 3 that is Dirichlet(1, 1, 1).
    """
    uniform, design = np.full(3, 1 / 3), shares(0.4, 0.4, 0.2)
    for so_far, (m1, m0) in zip(np.cumsum(rows, axis=0), logs, strict=True):
        m1_over_uniform = log_bayes_factor(so_far, uniform, 3)

        assert m1_over_uniform + so_far @ np.log(uniform / design) == pytest.approx(m1 - m0, abs=2e-7)


def test_ssrm_regression():
    """np.random.seed(0), ten draws C C C C A C C A B C: BF 1.0017496120131435, p .9980534145723241 (= 1 / the largest).

    The posterior of a mismatch, BF / (1 + BF), is .5004370206949569.
    """
    drawn = np.random.RandomState(0).multinomial(1, [0.1, 0.49, 0.41], 10)
    log_factors = log_bayes_factor(drawn.cumsum(axis=0), np.tile([0.1, 0.5, 0.4], (10, 1)), 10_000)
    running = RunningSrm(1)
    for log_factor in log_factors:
        running.look(np.array([[log_factor]]))

    assert "".join("ABC"[arm] for arm in drawn.argmax(axis=1)) == "CCCCACCABC"
    assert math.exp(log_factors[-1]) == pytest.approx(1.0017496120131435, rel=1e-9)
    assert 1 / (1 + math.exp(-log_factors[-1])) == pytest.approx(0.5004370206949569, rel=1e-9)
    assert running.p[0] == pytest.approx(0.9980534145723241, rel=1e-9)


def test_savvi_stops_and_says_where_the_shares_are():
    """savvi's documentation: np.random.seed(1), theta0 .1/.4/.5, k = 100: stops at 402 with p .0485.

    Its intervals, (.0567, .1494), (.2609, .4028), (.4971, .6518), are the intersection of all so far.
    """
    so_far = np.random.RandomState(1).multinomial(1, [0.1, 0.3, 0.6], 1000).cumsum(axis=0)
    design = shares(0.1, 0.4, 0.5)
    p = np.exp(-log_bayes_factor(so_far, np.tile(design, (1000, 1))))
    stop = int(np.argmax(p <= 0.05))
    ends = [share_interval(row, design, 0.05) for row in so_far[: stop + 1]]

    assert (stop + 1, so_far[stop].tolist()) == (402, [40, 129, 233])
    assert p[stop] == pytest.approx(0.04845591, abs=1e-8)
    assert np.max([lower for lower, _ in ends], axis=0) == pytest.approx([0.0567, 0.2609, 0.4971], abs=5e-5)
    assert np.min([upper for _, upper in ends], axis=0) == pytest.approx([0.1494, 0.4028, 0.6518], abs=5e-5)


@pytest.mark.parametrize(("k", "index", "p"), [(10_000, 598_208, 6.764e-07), (100, 838_694, None)])
def test_the_example_of_kohavi(k, index, p):
    """ssrm's notebook: 821,935 of 1,637,070 where half were designed; the unit, counted from 0, that alarms at .05."""
    first = np.random.RandomState(1).binomial(1, 0.502, 1_637_070).cumsum()
    n = np.arange(1, len(first) + 1)
    every = np.stack([first, n - first], axis=1)
    found = log_bayes_factor(every, np.full((len(every), 2), 0.5), k)

    assert first[-1] == 821_935
    assert 2 * stats.binom.sf(821_935, 1_637_070, 0.5) == pytest.approx(1.0639610e-07, rel=1e-7)
    assert chi_squared(every[-1], shares(0.5, 0.5)) == pytest.approx(1.0639610e-07, rel=0.01)
    assert np.argmax(found >= math.log(20)) == index
    if p is not None:
        assert every[index].tolist() == [300_344, 297_865]
        assert math.exp(-found.max()) == pytest.approx(p, rel=1e-3)


def test_seqabpy_counts():
    assert log_bayes_factor(counts(100, 101), shares(0.5, 0.5)) < 0
    assert log_bayes_factor(counts(100, 201), shares(0.5, 0.5)) > math.log(1e5)


@given(st.lists(st.integers(0, 2), max_size=60), st.floats(1, 1e4))
def test_the_factor_is_the_product_of_what_each_unit_was_worth(arms, k):
    """BF grows by (a_i + n_i) / (k + n) / t_i with each unit of arm i."""
    design, so_far, log_factor = shares(0.2, 0.3, 0.5), np.zeros(3, np.int64), 0.0
    for arm in arms:
        log_factor += math.log((k * design[arm] + so_far[arm]) / (k + so_far.sum()) / design[arm])
        so_far[arm] += 1

    assert log_bayes_factor(so_far, design, k) == pytest.approx(log_factor, abs=1e-9 * (1 + k))


def test_the_factor_is_worth_one_under_the_design():
    """Over all 4^6 ways six units can arrive in four arms, weighted by the design, the mean factor is 1."""
    design = shares(0.1, 0.2, 0.3, 0.4)
    ways = np.stack(np.meshgrid(*[np.arange(4)] * 6), axis=-1).reshape(-1, 6)
    arms = np.stack([(ways == arm).sum(axis=1) for arm in range(4)], axis=1)
    weights = np.prod(design[ways], axis=1)

    assert weights @ np.exp(log_bayes_factor(arms, np.tile(design, (len(arms), 1)), 7.0)) == pytest.approx(
        1.0, rel=1e-10
    )


def test_a_ramp_does_not_alarm():
    """9,000 and 1,000 under 90/10, then 5,000 and 5,000 under 50/50 (posthog#43804): 1 / BF = 102 with phases.

    Against 50/50 alone p is 0.
    """
    arms, design = np.array([[9000, 1000], [5000, 5000]]), np.array([[0.9, 0.1], [0.5, 0.5]])
    log_factors = log_bayes_factor(arms, design)
    running = RunningSrm(1)
    running.look(log_factors[None])

    assert math.exp(-log_factors.sum()) == pytest.approx(102, abs=0.5)
    assert running.p == 1.0
    assert chi_squared(arms.sum(axis=0), design[1]) < 1e-300


def test_a_mismatch_in_one_phase_alarms_through_the_others():
    arms, design = np.array([[[9000, 1000], [5000, 5600]]]), np.array([[[0.9, 0.1], [0.5, 0.5]]])
    running = RunningSrm(1)
    running.look(log_bayes_factor(arms, design))

    assert running.p < 0.001


def test_an_alarm_stays():
    running = RunningSrm(2)
    running.look(np.array([[9.0], [0.0]]))
    running.look(np.array([[-5.0], [-5.0]]))

    assert running.p.tolist() == [math.exp(-9), 1.0]


def test_the_interval_of_a_share_ends_where_the_factor_alarms():
    """For two arms by hand: t is inside as long as the Beta mixture against t stays below 1 / alpha."""
    arms, design = counts(400, 600), shares(0.5, 0.5)
    lower, upper = share_interval(arms, design, 0.05)
    log_mixture = float(log_bayes_factor(arms, design)) + 1000 * math.log(0.5)

    for end in (lower[0], upper[0]):
        assert log_mixture - 400 * math.log(end) - 600 * math.log(1 - end) == pytest.approx(math.log(20), abs=1e-8)
    assert (lower[1], upper[1]) == pytest.approx((1 - upper[0], 1 - lower[0]), abs=1e-9)


def test_the_interval_of_a_share_without_units_is_everything():
    lower, upper = share_interval(counts(0, 0), shares(0.5, 0.5), 0.05)

    assert (lower.tolist(), upper.tolist()) == ([0, 0], [1, 1])


def test_what_is_remembered_survives_a_snapshot():
    running, back = RunningSrm(2), RunningSrm(2)
    running.look(np.array([[1.0], [2.0]]))
    back.load(unpack(pack(running.dump())))

    assert back.log_largest.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"expected shape \(3,\), got \(2,\)"):
        RunningSrm(3).load(running.dump())
