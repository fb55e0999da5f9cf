"""Declarations of features: what is accepted and what is said of the rest."""

import math

import pytest

from operators.featurize import catalogue, taken_names
from operators.own_feature import OwnFeature, clashes


def complaint(**changes):
    given = {"name": "x", "operation": "sum", "window_s": 60, "limits": (0, 1), "of": "fields.x"} | changes
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the tests look at all of the text
        OwnFeature(**given)
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "X", "1x", "a-b", "a b", "_a", "x" * 65, "é"])
def test_a_name_is_small_letters_digits_and_underscores(name):
    assert complaint(name=name).endswith(f"got {name!r} - at name")


@pytest.mark.parametrize(
    "of", ["x", "fields", "fields.", "fields..x", "fields.x.", "Amount", "user", "fields" + 9 * ".a"]
)
def test_a_path_leads_into_fields_or_names_a_column(of):
    assert complaint(of=of).endswith(f"got {of!r} - at of")


@pytest.mark.parametrize("operation", ["sum", "mean", "max"])
def test_numbers_cannot_be_made_of_texts(operation):
    assert complaint(operation=operation, of="ip") == (
        f"expected a number for {operation}, got 'ip', which is a text - at of"
    )


@pytest.mark.parametrize("operation", ["sum", "mean", "max", "distinct", "entropy"])
def test_what_needs_a_value_needs_a_path(operation):
    assert complaint(operation=operation, of=None) == f"expected a path, got none - at of: {operation} needs one"


@pytest.mark.parametrize("operation", ["count", "gap"])
def test_what_needs_no_value_needs_no_path(operation):
    assert OwnFeature("x", operation, 60, (0, 1)).of is None


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, math.inf), (math.nan, 1), (1,)])
def test_limits_are_two_finite_numbers_that_rise(limits):
    assert complaint(limits=limits).startswith("expected two finite numbers, the lower first, got")


def test_all_mistakes_of_a_declaration_are_told_at_once():
    text = complaint(name="X", of="nowhere", limits=(3, 2), family="F")

    assert [part.rpartition(" - at ")[2] for part in text.split("; ")] == ["name", "family", "of", "limits"]


def test_names_clash_with_one_another_and_with_what_is_built_in():
    found = clashes(["a", "event_count_1m", "a", "novelty", "b"], taken_names((60, 600)))

    assert [place for place, _ in found] == [1, 2, 3]
    assert found[1][1] == "expected another name, got 'a', which is declared before"


def test_what_is_built_in_follows_the_windows():
    assert clashes(["event_count_1m"], taken_names((10,))) == []


def test_a_declared_feature_is_a_family_of_its_own_unless_it_says_otherwise():
    own = (
        OwnFeature("a", "count", 60, (0, 9), where=("x",)),
        OwnFeature("b", "gap", 90, (0, 9), direction="down", family="f", unit="heartbeats"),
    )
    alone, joined = catalogue((60,), own)[-2:]

    assert (alone.family, alone.unit, alone.limit, alone.low) == ("a", "events", 9, 0)
    assert (joined.family, joined.unit, joined.direction, joined.window_s) == ("f", "heartbeats", "down", 90)
