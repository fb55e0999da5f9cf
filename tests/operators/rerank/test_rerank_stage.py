"""Lists are put in order by the steps that are switched on, and by nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_lists import by_chance, joined, lists
from uplift_records import taken, uplift

from operators.rerank import FairnessConfig, Rerank, RerankConfig, RiskConfig, UpliftConfig
from operators.rerank.stage import table_of, warm_up
from ranking.fair import cautious_adjusted, fail_probability, satisfies
from ranking.gain import position_weights

TOP = FairnessConfig(kind="top_k", group="new", p=0.8)
ALL = RerankConfig(UpliftConfig("x", 0.5), RiskConfig(0.5, 0.2), TOP)


def order(stage, scored):
    found = stage.process(scored)
    bounds = scored.lists.starts.tolist()
    return [found.after[a:b].tolist() for a, b in pairwise(bounds)]


def test_without_steps_lists_are_in_the_order_of_scores_and_ties_stay():
    found = Rerank(RerankConfig()).process(lists([[0.1, 0.9, 0.1, 0.5], [], [3.0]]))

    assert found.after.tolist() == found.before.tolist() == [1, 3, 0, 2, 0]
    assert found.steps == [(), (), ()]


def test_a_risky_item_sinks_by_strength_times_risk_of_the_range_of_scores():
    # Scaled scores 1, .75, .5, .45, 0; less .5 x risk: .725, .75, .4 (not known: .2), .45, 0.
    scored = lists([[5.0, 4.0, 3.0, 2.8, 1.0]], risk=[0.55, 0.0, np.nan, 0.0, 0.0])
    stage = Rerank(RerankConfig(risk=RiskConfig(0.5, 0.2)))

    assert order(stage, scored) == [[1, 0, 3, 2, 4]]
    (step,) = stage.process(scored).steps[0]
    assert [(each.candidate, each.reason) for each in step.moves(5)] == [
        (1, "closed_up"), (0, "risky_seller"), (3, "closed_up"), (2, "risky_seller"),
    ]  # fmt: skip


def test_by_incremental_value_alone_the_order_is_that_of_effect_times_value():
    stage = Rerank(RerankConfig(UpliftConfig("x", weight=1.0)))
    taken(stage, uplift("a", effect=0.2), uplift("b", effect=-0.7), uplift("c", effect=0.1))
    scored = lists([[1.0, 1.1, 1.2, 1.3, 1.4]], offer=["a", "b", "c", "none", "control"], value=[1, 1, 3, 1, 1])

    # .2, -.7, .3, not known (the mean of the known, -.05), the control itself 0.
    assert order(stage, scored) == [[2, 0, 4, 3, 1]]


def test_with_fa_ir_each_prefix_has_enough_protected_items_and_a_group_keeps_its_order():
    stage = Rerank(RerankConfig(fairness=TOP), ("old", "new"))
    scores, group = list(range(10, 0, -1)), [1] * 6 + [2] * 4
    after = np.array(order(stage, lists([scores], count=[6], group=group))[0])

    table = cautious_adjusted(10, 0.8, 0.1).table[:6]
    protected = np.array(group)[after] == 2
    assert satisfies(protected, table).all()
    assert not satisfies(np.array(group) == 2, table).all(), "it was unfair before"
    assert after[protected].tolist() == [6, 7, 8, 9]
    assert after[~protected].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("k", "length"), [(1, 10), (10, 10), (11, 20), (50, 50), (101, 200), (1_000, 1_000)])
def test_a_table_is_the_beginning_of_the_next_longer_one(k, length):
    assert table_of(k, 0.5, 0.1).tolist() == cautious_adjusted(length, 0.5, 0.1).table[:k].tolist()


@given(st.integers(1, 120), st.sampled_from([0.1, 0.3, 0.6, 0.8]), st.sampled_from([0.01, 0.05, 0.1]))
@settings(max_examples=30, deadline=None)
def test_a_shortened_table_fails_no_more_often_than_alpha_and_asks_for_no_more_than_its_own(k, p, alpha):
    table = table_of(k, p, alpha)

    assert fail_probability(table, p) <= alpha
    assert (table <= cautious_adjusted(k, p, alpha).table).all()


def test_once_the_stage_is_warm_no_table_is_worked_out_whatever_is_asked_for(monkeypatch):
    warm_up(ALL)

    def never(*_):
        raise AssertionError("a table is worked out while requests wait")

    monkeypatch.setattr("operators.rerank.stage.cautious_adjusted", never)
    stage = Rerank(ALL, ("old", "new"))
    for n in (1, 7, 33, 170, 1_000):
        stage.process(lists([[1.0] * n]))


def test_with_exposure_no_group_is_above_its_share_by_more_than_the_tolerance():
    stage = Rerank(RerankConfig(fairness=FairnessConfig(kind="exposure", tolerance=0.7)), ("a",))
    group = np.array([0] * 5 + [1] * 5)
    after = order(stage, lists([list(range(10, 0, -1))], group=group))[0]

    weights = position_weights(10)
    for k in range(1, 8):  # within the first seven both groups have items left
        shown = np.array([weights[:k][group[after[:k]] == each].sum() for each in (0, 1)])
        assert (shown - 0.5 * weights[:k].sum() <= 0.7 + 1e-12).all()


def test_exposure_by_merit_goes_by_numbers_of_items_until_probabilities_are_known():
    by_merit = FairnessConfig(kind="exposure", tolerance=0.0, by_merit=True)
    by_size = FairnessConfig(kind="exposure", tolerance=0.0)
    group = [0, 0, 0, 1, 1, 1]
    unknown = lists([[6, 5, 4, 3, 2, 1]], group=group)
    known = lists([[6, 5, 4, 3, 2, 1]], group=group, probability=[0.3, 0.3, 0.3, 0.05, 0.05, 0.0])
    of = {kind: Rerank(RerankConfig(fairness=kind), ("a",)) for kind in (by_merit, by_size)}

    assert order(of[by_merit], unknown) == order(of[by_size], unknown) == order(of[by_size], known)
    assert order(of[by_merit], known) != order(of[by_size], known)


def test_a_list_shorter_than_its_count_is_whole():
    stage = Rerank(ALL, ("old", "new"))

    assert sorted(order(stage, lists([[0.5, 0.4, 0.1]], count=[50], group=[2, 1, 0]))[0]) == [0, 1, 2]


def test_the_costs_of_all_steps_are_told_in_their_order():
    stage = Rerank(ALL, ("old", "new"))
    taken(stage, uplift("a", effect=1.0))
    found = stage.process(lists([[4, 3, 2, 1]], offer=["", "", "", "a"], risk=[0.9, 0, 0, 0], group=[1, 1, 2, 2]))

    assert [step.name for step in found.steps[0]] == ["uplift", "risk", "fairness"]
    assert sum(step.cost for step in found.steps[0]) > 0.0


@given(st.integers(0, 2**32 - 1))
def test_a_list_does_not_depend_on_the_lists_around_it(seed):
    rng = np.random.default_rng(seed)
    stage = Rerank(ALL, ("old", "new"))
    taken(stage, uplift("a", effect=0.2), uplift("b", effect=-0.1))
    pieces = [by_chance(rng, first=10 * at) for at in range(3)]

    alone = [stage.process(each) for each in pieces]
    whole = stage.process(joined(pieces))
    assert whole.after.tolist() == [at for each in alone for at in each.after.tolist()]
    assert whole.before.tolist() == [at for each in alone for at in each.before.tolist()]
    assert [[step.cost for step in each] for each in whole.steps] == [
        [step.cost for step in each] for one in alone for each in one.steps
    ]


@given(st.integers(0, 2**32 - 1))
def test_every_list_keeps_its_items(seed):
    scored = by_chance(np.random.default_rng(seed))
    stage = Rerank(ALL, ("old", "new"))

    for after, size in zip(order(stage, scored), np.diff(scored.lists.starts), strict=True):
        assert sorted(after) == list(range(size))


def test_a_protected_group_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"expected one of old, older, got new - at fairness\.group"):
        Rerank(RerankConfig(fairness=TOP), ("old", "older"))


def test_all_mistakes_of_the_configuration_are_told_at_once():
    found = list(ALL.mistakes(("old",), uplift=False, offers=False, risks=False))

    assert found == [
        "rerank.uplift needs effects: set uplift = true",
        "rerank.uplift needs to know what an item offers: set recall.catalogue.offer_field",
        "rerank.risk needs to know a risk: set recall.catalogue.risk_field",
        "expected rerank.fairness.group to be one of old, got new",
    ]
    assert list(ALL.mistakes((), uplift=True, offers=True, risks=True)) == [
        "rerank.fairness needs groups: name them in [[ranking.recall.catalogue.groups]]"
    ]
    assert list(ALL.mistakes(("new",), uplift=True, offers=True, risks=True)) == []


def test_a_kind_of_fairness_takes_its_own_settings_alone():
    with pytest.raises(ValueError, match='kind = "top_k" needs group and p'):
        FairnessConfig(kind="top_k")
    with pytest.raises(ValueError, match='group and p belong to kind = "top_k"'):
        FairnessConfig(kind="exposure", group="new")
