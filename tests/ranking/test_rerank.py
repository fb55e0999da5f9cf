"""The steps after a ranker: what each does by hand, what it must never do, and what it costs."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.exposure import excess, shares_by_size, within
from ranking.fair import cautious_adjusted, satisfies
from ranking.gain import kept, position_weights
from ranking.rerank import (
    MOST_CANDIDATES,
    REASONS,
    ByRisk,
    ByUplift,
    Candidates,
    FairExposure,
    FairTopK,
    rerank,
)

NAN = float("nan")
UPWARD = {"closed_up", "more_incremental", "protected_due", "group_due"}


def candidates(score, incremental=0.0, seller_risk=0.0, discount_risk=0.0, group=0, merit=None):
    n = len(score)
    columns = [np.array(np.broadcast_to(column, n), float) for column in (incremental, seller_risk, discount_risk)]
    return Candidates(np.array(score, float), *columns, np.array(np.broadcast_to(group, n), int), merit)


rows = st.lists(
    st.tuples(
        st.integers(-20, 20),
        st.one_of(st.just(NAN), st.integers(-5, 5)),
        st.one_of(st.just(NAN), st.sampled_from([0.0, 0.3, 1.0])),
        st.sampled_from([0.0, 0.2, 0.9]),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=20,
)
lists = rows.map(lambda rows: candidates(*zip(*rows, strict=True)))
uplifts = st.one_of(st.none(), st.builds(ByUplift, st.floats(0, 1)))
risks = st.one_of(st.none(), st.builds(ByRisk, st.floats(0, 3), st.floats(0, 1)))
tables = st.builds(lambda k, p: FairTopK(cautious_adjusted(k, p, 0.1).table), st.integers(1, 12), st.floats(0.1, 0.9))
fairnesses = st.one_of(st.none(), tables, st.floats(0, 1).map(lambda tolerance: FairExposure(2, tolerance)))


def switched(uplift, risk, fairness):
    return {"uplift": uplift, "risk": risk, "fairness": fairness}


def test_without_a_step_the_list_is_the_rankers_and_costs_nothing():
    found = rerank(candidates([1, 3, 2, 3]), 4)

    assert (found.before.tolist(), found.after.tolist()) == ([1, 3, 2, 0], [1, 3, 2, 0])
    assert (found.steps, found.cost) == ((), 0.0)


def test_incremental_value_by_hand():
    """Scores 1, .5, 0 of the range; values -1, 1, .5 of the largest. At a half: 0, .75, .25."""
    found = rerank(candidates([30, 20, 10], incremental=[-4, 4, 2]), 3, uplift=ByUplift(0.5))

    assert found.after.tolist() == [1, 2, 0]
    assert [move.reason for move in found.steps[0].moves(3)] == ["more_incremental"] * 2 + ["less_incremental"]


def test_more_and_less_are_against_the_list_not_against_the_score_alone():
    """All do harm: -1, -.1, -.1 against scores 1, .5, 0, so all lose; the second loses least of the first two."""
    found = rerank(candidates([3, 2, 1], incremental=[-10, -1, -1]), 3, uplift=ByUplift(0.5))

    assert [tuple(move) for move in found.steps[0].moves(3)] == [
        (1, 1, 0, "more_incremental"),
        (0, 0, 1, "less_incremental"),
    ]


def test_an_unknown_incremental_value_counts_as_the_mean_of_the_known():
    """1 and 0 are known, so .5: at weight 1 the unknown one is between them."""
    found = rerank(candidates([3, 2, 1], incremental=[0, 4, NAN]), 3, uplift=ByUplift(1.0))

    assert found.after.tolist() == [1, 2, 0]


@pytest.mark.parametrize("incremental", [NAN, 0.0])
def test_where_no_incremental_value_is_known_or_any_nothing_changes(incremental):
    found = rerank(candidates([3, 2, 1], incremental=incremental), 3, uplift=ByUplift(1.0))

    assert found.after.tolist() == [0, 1, 2]


def test_a_risky_seller_sinks_and_others_close_up():
    """Scores 1, .5, 0; at strength .6 the first has 1 - .6 = .4."""
    found = rerank(candidates([3, 2, 1], seller_risk=[1, 0, 0]), 3, risk=ByRisk(0.6))

    assert [tuple(move) for move in found.steps[0].moves(3)] == [(1, 1, 0, "closed_up"), (0, 0, 1, "risky_seller")]


def test_what_a_step_makes_equal_stays_in_the_order_in_which_it_came():
    """Scores 0 and 1; the second, which is first, loses 1."""
    assert rerank(candidates([1, 2], seller_risk=[0, 1]), 2, risk=ByRisk(1.0)).after.tolist() == [1, 0]


def test_the_larger_risk_is_the_reason():
    found = rerank(candidates([2, 1], seller_risk=[0.5, 0], discount_risk=[0.9, 0]), 2, risk=ByRisk(2.0))

    assert [move.reason for move in found.steps[0].moves(2)] == ["closed_up", "risky_discount"]


def test_a_risk_that_is_not_known_is_the_one_that_is_set():
    unknown = candidates([2, 1], seller_risk=[NAN, 0])

    assert rerank(unknown, 2, risk=ByRisk(2.0)).after.tolist() == [0, 1]
    assert rerank(unknown, 2, risk=ByRisk(2.0, unknown=0.9)).after.tolist() == [1, 0]


def test_fairness_by_hand_with_its_cost():
    """Scores 3, 2, 1 count 2, 1, 0 above the least; the last comes first: 2 / log2(3) + 1 / 2 of 2 + 1 / log2(3)."""
    found = rerank(candidates([3, 2, 1], group=[0, 0, 1]), 3, fairness=FairTopK(np.array([1])))
    [step] = found.steps
    second = position_weights(2)[1]

    assert [tuple(move) for move in step.moves(3)] == [
        (2, 2, 0, "protected_due"),
        (0, 0, 1, "made_way"),
        (1, 1, 2, "made_way"),
    ]
    assert step.cost == found.cost == pytest.approx(1 - (2 * second + 0.5) / (2 + second))


def test_exposure_by_hand():
    """Equal shares, tolerance .5: after the first place group 0 would have .815 too much, so group 1 is due."""
    found = rerank(candidates([4, 3, 2, 1], group=[0, 0, 1, 1]), 4, fairness=FairExposure(2, 0.5))

    assert found.after.tolist() == [0, 2, 1, 3]
    assert [move.reason for move in found.steps[0].moves(4)] == ["group_due", "made_way"]


def test_exposure_by_merit_follows_merit():
    """Group 1 has .9 of the merit: it comes first, -.1 for group 0, whose next item adds .9 x .631: .468.

    Another of group 0 would have .468 + .45, so the second of group 1 is before it.
    """
    merit = np.array([0.05, 0.05, 0.5, 0.4])
    listed = candidates([4, 3, 2, 1], group=[0, 0, 1, 1], merit=merit)

    assert rerank(listed, 4, fairness=FairExposure(2, 0.5, by_merit=True)).after.tolist() == [2, 0, 3, 1]


def test_moves_are_told_of_the_places_that_are_shown():
    """The last comes first; of two shown places, the third item is pushed from outside to outside."""
    found = rerank(candidates([4, 3, 2, 1], group=[0, 0, 0, 1]), 2, fairness=FairTopK(np.array([1])))

    assert [move.candidate for move in found.steps[0].moves(2)] == [3, 0, 1]


@given(lists, uplifts, risks, fairnesses, st.integers(1, 25))
def test_nobody_is_lost_and_costs_add_up(listed, uplift, risk, fairness, k):
    found = rerank(listed, k, **switched(uplift, risk, fairness))

    assert sorted(found.after) == list(range(len(listed.score)))
    assert found.cost == pytest.approx(1 - kept(listed.score, found.after, k))
    assert sum(step.cost for step in found.steps) == pytest.approx(found.cost, abs=1e-12)
    assert -1e-12 <= found.cost <= 1


@given(lists, uplifts, risks, fairnesses)
def test_steps_that_are_on_come_in_their_order_each_from_where_the_last_one_ended(listed, uplift, risk, fairness):
    on = switched(uplift, risk, fairness)
    found = rerank(listed, 5, **on)
    ends = [found.before, *(step.after for step in found.steps)]

    assert [step.name for step in found.steps] == [name for name, step in on.items() if step is not None]
    assert all((step.before == end).all() for step, end in zip(found.steps, ends, strict=False))
    assert (found.after == ends[-1]).all()


@given(lists, uplifts, risks, fairnesses)
def test_every_item_that_moved_has_a_reason_that_fits_and_no_other_has_one(listed, uplift, risk, fairness):
    for step in rerank(listed, 5, **switched(uplift, risk, fairness)).steps:
        was, now = np.argsort(step.before), np.argsort(step.after)
        for c, code in enumerate(step.reason):
            reason = REASONS[code]
            assert (reason == "kept") == (was[c] == now[c])
            assert (reason in UPWARD) == (now[c] < was[c])


@given(lists, st.floats(0, 1))
def test_more_weight_of_incremental_value_never_brings_less_of_it_into_view(listed, weight):
    known = listed.incremental[~np.isnan(listed.incremental)]
    value = np.where(np.isnan(listed.incremental), known.mean() if known.size else 0.0, listed.incremental)
    found = rerank(listed, 20, uplift=ByUplift(weight))
    weights = position_weights(len(value))

    assert weights @ value[found.after] >= weights @ value[found.before] - 1e-9


@given(lists, uplifts, st.floats(0, 3))
def test_the_step_by_risk_never_brings_more_risk_into_view(listed, uplift, strength):
    risk = np.maximum(np.nan_to_num(listed.seller_risk), listed.discount_risk)
    [*_, step] = rerank(listed, 20, uplift=uplift, risk=ByRisk(strength)).steps
    weights = position_weights(len(risk))

    assert weights @ risk[step.after] <= weights @ risk[step.before] + 1e-9


@given(lists, st.floats(0, 3))
def test_an_item_without_risk_never_sinks_for_risk(listed, strength):
    [step] = rerank(listed, 20, risk=ByRisk(strength)).steps
    risk = np.maximum(np.nan_to_num(listed.seller_risk), listed.discount_risk)
    was, now = np.argsort(step.before), np.argsort(step.after)

    assert (now <= was)[risk == 0].all()


@given(lists, st.floats(0, 3), st.data())
def test_more_risk_never_means_a_better_place(listed, strength, data):
    at = data.draw(st.integers(0, len(listed.score) - 1))
    risk = listed.seller_risk.copy()
    risk[at] = 1.0
    one = rerank(listed, 20, risk=ByRisk(strength)).after
    other = rerank(listed._replace(seller_risk=risk), 20, risk=ByRisk(strength)).after

    assert other.tolist().index(at) >= one.tolist().index(at)


@given(lists)
def test_weight_and_strength_of_0_change_nothing(listed):
    found = rerank(listed, 20, uplift=ByUplift(0.0), risk=ByRisk(0.0, 1.0))

    assert (found.after == found.before).all()


@given(lists, uplifts, risks, st.integers(1, 12), st.floats(0.1, 0.9))
def test_whatever_comes_before_the_list_that_is_shown_is_fair(listed, uplift, risk, k, p):
    table = cautious_adjusted(k, p, 0.1).table
    found = rerank(listed, k, uplift=uplift, risk=risk, fairness=FairTopK(table))
    protected = listed.group == 1
    reachable = np.minimum(table[: len(protected)], protected.sum())

    assert satisfies(protected[found.after], reachable).all()


@given(lists, uplifts, risks, st.floats(0, 1), st.integers(1, 25))
def test_whatever_comes_before_exposure_is_within_its_limit(listed, uplift, risk, tolerance, k):
    new = listed.group[rerank(listed, k, uplift=uplift, risk=risk, fairness=FairExposure(2, tolerance)).after]
    share = shares_by_size(listed.group, 2)
    limit = max(tolerance, 1 - 1 / len(set(new.tolist())))

    assert (excess(new, share)[:k][within(new, share, k)] <= limit + 1e-9).all()


@given(lists, st.floats(0, 1))
def test_the_step_by_risk_starts_from_what_incremental_value_made(listed, weight):
    found = rerank(listed, 20, uplift=ByUplift(weight), risk=ByRisk(0.0))

    assert (found.after == found.steps[0].after).all()


@given(lists, uplifts, risks, fairnesses)
def test_a_shift_and_a_factor_of_the_scores_change_nothing(listed, uplift, risk, fairness):
    one = rerank(listed, 5, **switched(uplift, risk, fairness))
    other = rerank(listed._replace(score=listed.score * 4.0 - 8.0), 5, **switched(uplift, risk, fairness))

    assert (one.after == other.after).all()
    assert other.cost == pytest.approx(one.cost, abs=1e-12)


def test_an_empty_list_stays_empty():
    found = rerank(candidates([]), 5, **switched(ByUplift(0.5), ByRisk(1.0), FairTopK(np.array([0, 1]))))

    assert (found.after.tolist(), found.cost) == ([], 0.0)


@pytest.mark.parametrize(
    ("listed", "on", "complaint"),
    [
        (candidates([0.0] * (MOST_CANDIDATES + 1)), {}, r"expected 1000 candidates at most, got 1001 - at score"),
        (candidates([NAN]), {}, "expected finite scores - at score"),
        (candidates([1]), {"uplift": ByUplift(1.1)}, r"got 1\.1 - at uplift\.weight"),
        (candidates([1]), {"risk": ByRisk(-1.0)}, r"got -1\.0 - at risk\.strength"),
        (candidates([1]), {"risk": ByRisk(1.0, 2.0)}, r"got 2\.0 - at risk\.unknown"),
        (candidates([1]), {"fairness": FairExposure(2, -0.1)}, r"got -0\.1 - at fairness\.tolerance"),
        (candidates([1]), {"fairness": FairExposure(2, 0.1, by_merit=True)}, r"got none - at fairness\.by_merit"),
        (candidates([1], group=2), {"fairness": FairExposure(2, 0.1)}, "expected groups below 2, got 2 - at group"),
    ],
)
def test_what_is_out_of_its_range_is_refused(listed, on, complaint):
    with pytest.raises(ValueError, match=complaint):
        rerank(listed, 5, **on)


def test_all_steps_on_100_candidates_take_a_small_part_of_30_milliseconds():
    """The budget of a request; printed, and held with much room for a busy machine."""
    rng = np.random.default_rng(2)
    listed = candidates(rng.random(100), rng.random(100), rng.random(100), rng.random(100), np.arange(100) % 3)
    steps = switched(ByUplift(0.3), ByRisk(0.3), FairExposure(3, 0.7))
    times = []
    for _ in range(50):
        start = time.perf_counter()
        rerank(listed, 100, **steps)
        times.append(time.perf_counter() - start)
    print(f"re-ranking 100 candidates: median {sorted(times)[25] * 1e3:.2f} ms, least {min(times) * 1e3:.2f} ms")

    assert min(times) < 0.015


def test_the_reasons_are_told_apart():
    assert len(set(REASONS)) == len(REASONS)
    assert not any(a in b for a, b in itertools.permutations(REASONS, 2))


GREATEST = 1.7e308


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12),
    st.lists(st.floats(), min_size=12, max_size=12),
    st.floats(0, 1),
)
def test_whatever_scores_and_values_are_the_order_is_whole_and_its_cost_known(score, incremental, weight):
    found = rerank(candidates(score, incremental[: len(score)]), 5, uplift=ByUplift(weight), risk=ByRisk(0.5))

    assert sorted(found.after.tolist()) == list(range(len(score)))
    assert -1e-12 <= found.cost <= 1.0 + 1e-12
    assert all(np.isfinite(step.cost) for step in found.steps)


def test_the_best_item_comes_first_however_far_apart_the_scores_are():
    found = rerank(candidates([-GREATEST, 0.0, GREATEST]), 3, uplift=ByUplift(0.5), risk=ByRisk(0.1))

    assert found.after.tolist() == [2, 1, 0]
    assert found.cost == 0.0


def test_an_infinite_incremental_value_is_not_known():
    values = [np.inf, -np.inf, NAN, 2.0, -1.0]
    found = rerank(candidates([1.0, 2.0, 3.0, 4.0, 5.0], values), 5, uplift=ByUplift(1.0))

    assert found.after.tolist() == [3, 2, 1, 0, 4], "of the unknown the mean, 1/4; equal ones by score"
