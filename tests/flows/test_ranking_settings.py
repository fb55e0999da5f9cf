"""The settings of the ranking flow: what cannot be is told, all of it at once, before anything connects."""

import pytest

from flows.settings import SettingsError, load_settings

FAIR = """
[ranking.rerank.fairness]
kind = "top_k"
group = "small"
p = 0.3
"""


def loaded(tmp_path, text):
    path = tmp_path / "tidegate.toml"
    path.write_text(text)
    return load_settings(path, {}).ranking


def mistakes(tmp_path, text):
    with pytest.raises(SettingsError) as found:
        loaded(tmp_path, text)
    return found.value.mistakes


def test_without_a_word_no_step_is_on(tmp_path):
    found = loaded(tmp_path, "").rerank

    assert (found.uplift, found.risk, found.fairness) == (None, None, None)


def test_steps_are_switched_on_by_naming_them(tmp_path):
    text = """
    [ranking]
    uplift = true
    [ranking.recall.catalogue]
    offer_field = "offer"
    risk_from_signals = true
    groups = [{ name = "small", field = "seller", values = ["a", "b"] }]
    [ranking.rerank.uplift]
    experiment = "coupon"
    [ranking.rerank.risk]
    """
    found = loaded(tmp_path, text + FAIR).rerank

    assert (found.uplift.experiment, found.risk.strength, found.fairness.group) == ("coupon", 0.5, "small")


def test_a_step_without_what_it_needs_is_told_with_all_others(tmp_path):
    text = """
    [ranking.judge]
    shares = { tiny = 0.1 }
    [ranking.rerank.uplift]
    experiment = "coupon"
    [ranking.rerank.risk]
    strength = 1.0
    """
    (found,) = mistakes(tmp_path, text + FAIR)

    for told in (
        "rerank.uplift needs effects: set uplift = true",
        "rerank.uplift needs to know what an item offers: set recall.catalogue.offer_field",
        "rerank.risk needs to know a risk: set recall.catalogue.risk_field",
        "rerank.fairness needs groups: name them in [[ranking.recall.catalogue.groups]]",
        "expected judge.shares of no group, got tiny",
    ):
        assert told in found


def test_a_protected_group_must_exist(tmp_path):
    text = '[ranking.recall.catalogue]\ngroups = [{ name = "large", field = "seller", values = ["a"] }]\n'

    assert "expected rerank.fairness.group to be one of large, got small" in mistakes(tmp_path, text + FAIR)[0]


def test_values_out_of_range_and_unknown_keys_are_told_at_once(tmp_path):
    text = """
    [ranking.rerank.uplift]
    weight = 2.0
    [ranking.rerank.fairness]
    kind = "top_k"
    [ranking.answer]
    served_share = 1.5
    served = true
    """
    found = mistakes(tmp_path, text)

    assert [each.partition(":")[0] for each in found] == [
        "ranking.answer.served",
        "ranking.answer.served_share",
        "ranking.rerank.fairness",
        "ranking.rerank.uplift.experiment",
        "ranking.rerank.uplift.weight",
    ]


def test_groups_have_names_of_their_own_and_bins_ascend_and_all_of_it_is_told_at_once(tmp_path):
    text = """
    [ranking.recall.catalogue]
    groups = [
        { name = "small", field = "seller", values = ["a"] },
        { name = "other", field = "seller", values = ["b"] },
        { name = "small", field = "seller", values = ["c"] },
    ]
    [ranking.recall.user_groups]
    field = "sex"
    names = ["f", "m", "f", "other"]
    [ranking.judge]
    bins = [0.5, 0.1]
    shares = { tiny = 0.1 }
    """
    (found,) = mistakes(tmp_path, text)

    for told in (
        "expected another name than other in recall.catalogue.groups",
        "expected each name once in recall.catalogue.groups, got small twice",
        "expected another name than other in recall.user_groups.names",
        "expected each name once in recall.user_groups.names, got f twice",
        "expected judge.bins that ascend, got 0.5, 0.1",
        "expected judge.shares of small, other, small, got tiny",
    ):
        assert told in found


@pytest.mark.parametrize("bins", ["[]", "[0.5]", "[0.1, 0.5]"])
def test_bins_that_ascend_are_taken(tmp_path, bins):
    assert loaded(tmp_path, f"[ranking.judge]\nbins = {bins}\n").judge.bins is not None
