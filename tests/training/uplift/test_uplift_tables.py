"""Attributes of units as a matrix."""

import math

import numpy as np
import pytest

from training.uplift.tables import MOST_ATTRIBUTES, MOST_CATEGORIES, Column, NoAttributes, table_of

NAN = math.nan


def column(*values):
    """The one column of units that have just one attribute; None is one they lack."""
    table = table_of([{} if value is ... else {"x": value} for value in values])
    return table.columns[0].categories, table.values[:, 0]


def test_numbers_and_truths_are_themselves():
    categories, values = column(1, 2.5, True, -3)

    assert categories is None
    assert values.tolist() == [1.0, 2.5, 1.0, -3.0]


@pytest.mark.parametrize("lost", [..., None, "", NAN, math.inf, 10**400, [1], {"a": 1}])
def test_what_is_no_number_and_no_text_is_missing(lost):
    assert np.array_equal(column(1.0, lost, 2.0)[1], [1.0, NAN, 2.0], equal_nan=True)


def test_texts_become_categories_in_the_order_of_their_letters():
    categories, values = column("web", "phone", None, "web")

    assert categories == ("phone", "web")
    assert np.array_equal(values, [1.0, 0.0, NAN, 1.0], equal_nan=True)


def test_numbers_among_texts_are_texts():
    assert column(3, "x", 3.0)[0] == ("3", "x")


def test_the_rarest_texts_beyond_the_bound_share_one_category():
    texts = [f"t{at:03}" for at in range(MOST_CATEGORIES + 5)]
    categories, values = column(*texts, *texts[5:])  # the first five come once, the others twice

    assert categories == tuple(texts[5:])
    assert values[:5].tolist() == [MOST_CATEGORIES] * 5


def test_the_rarest_attributes_beyond_the_bound_are_left_out():
    units = [{f"n{at:03}": float(row) for at in range(MOST_ATTRIBUTES)} for row in range(3)]
    units[0] |= {"rare": 1.0}
    table = table_of([*units, {}])

    assert (len(table.columns), table.left_out) == (MOST_ATTRIBUTES, ("rare",))


def test_an_attribute_that_is_the_same_for_all_is_left_out():
    table = table_of([{"same": 1, "x": 1}, {"same": 1, "x": 2}])

    assert (table.columns, table.left_out) == ((Column("x", None),), ("same",))


def test_an_attribute_that_only_some_have_tells_units_apart():
    assert table_of([{"x": 1}, {}]).columns == (Column("x", None),)


@pytest.mark.parametrize("units", [[{}, {}], [{"x": 1}, {"x": 1}], [{"x": [1]}, {"x": None}]])
def test_without_an_attribute_that_differs_it_is_said(units):
    with pytest.raises(NoAttributes, match="expected attributes in which units differ, got none"):
        table_of(units)


def test_the_order_of_units_and_of_their_attributes_does_not_matter():
    units = [{"b": at % 3, "a": "uvw"[at % 2]} for at in range(6)]
    table, turned = table_of(units), table_of([dict(sorted(unit.items())) for unit in units[::-1]])

    assert (table.columns, table.values.tolist()) == (turned.columns, turned.values[::-1].tolist())
