"""Attributes of units, as publishers give them, become a matrix of numbers.

Numbers and truths are themselves; text becomes the number of its category. What is absent, null, not finite, or neither
number nor text is missing, which LightGBM knows how to split on. The matrix does not depend on the order of units.

Bounds: `MOST_ATTRIBUTES` columns, those that most units have; of each `MOST_CATEGORIES` texts, the most frequent ones,
and one category for all others.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from operators.batches import F64

MOST_ATTRIBUTES = 100
MOST_CATEGORIES = 64

Attributes = Mapping[str, Any]


class Column(NamedTuple):
    """One attribute.

    Attributes:
        name: its own.
        categories: texts by their numbers from 0; the number after the last stands for all others. None: plain numbers.
    """

    name: str
    categories: tuple[str, ...] | None


class Table(NamedTuple):
    """Units as rows.

    Attributes:
        columns: by name.
        values: shape (n, columns), NaN where missing.
        left_out: attributes that are in no column, by name: the same for all, of no use, or beyond the bound.
    """

    columns: tuple[Column, ...]
    values: F64
    left_out: tuple[str, ...]


class NoAttributes(ValueError):
    """Nothing is known that tells units apart."""


def table_of(units: Sequence[Attributes]) -> Table:
    """Return the attributes of units as a table.

    Raises:
        NoAttributes: there is no attribute in which two units differ.
    """
    known: Counter[str] = Counter()
    for unit in units:
        known.update(name for name, value in unit.items() if _read(value) is not None)
    names = {name for unit in units for name in unit}
    chosen = sorted(sorted(known), key=lambda name: -known[name])[:MOST_ATTRIBUTES]
    found = [(*_column(name, [_read(unit.get(name)) for unit in units]),) for name in sorted(chosen)]
    kept = [(column, values) for column, values in found if _differs(values)]
    if not kept:
        raise NoAttributes("expected attributes in which units differ, got none")
    columns = tuple(column for column, _ in kept)
    left_out = tuple(sorted(names - {column.name for column in columns}))
    return Table(columns, np.column_stack([values for _, values in kept]), left_out)


def _read(value: Any) -> float | str | None:
    """Return a number or a text; None if it is missing."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


def _column(name: str, values: Sequence[float | str | None]) -> tuple[Column, F64]:
    if not any(isinstance(value, str) for value in values):
        return Column(name, None), np.array([math.nan if value is None else value for value in values], np.float64)
    texts = [f"{value:g}" if isinstance(value, float) else value for value in values]
    count = Counter(text for text in texts if text is not None)
    categories = sorted(sorted(count, key=lambda text: (-count[text], text))[:MOST_CATEGORIES])
    code = {text: float(at) for at, text in enumerate(categories)}
    other = float(len(categories))
    coded = [math.nan if text is None else code.get(text, other) for text in texts]
    return Column(name, tuple(categories)), np.array(coded, np.float64)


def _differs(values: F64) -> bool:
    known = values[~np.isnan(values)]
    return len(known) > 0 and (len(known) < len(values) or bool((known != known[0]).any()))
