"""What the fields of an item come to as numbers: categories, groups, risk, offer, value."""

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from operators.recall.catalogue_config import CatalogueConfig
from schemas.item import Value

LONGEST_OFFER: Final = 256
"""Characters of an offer; a longer text is none."""

RISK_OF_TIER: Final[Mapping[str, float]] = {"low": 0.0, "medium": 1.0 / 3.0, "high": 2.0 / 3.0, "critical": 1.0}
"""Risk that stands for a tier, in even steps; `unknown` and every other text: not known."""

MOST_NUMBER: Final = 1e30
"""A number farther from 0 is not known: means of such would run over, and stay infinite."""

_REMEMBERED: Final = 10_000
_LONGEST_REMEMBERED: Final = 256


class Told(NamedTuple):
    """What is read of an item's fields.

    Attributes:
        numbers: of `number_fields`; NaN where one is no number, or absent, or beyond `MOST_NUMBER`.
        categories: `category_key` of `category_fields`; 0 where there is none.
        group: 1 + index of the first group that holds the item; 0 if none does.
        risk: in [0, 1]; NaN if it is not known.
        offer: "" for none.
        value: up to `MOST_NUMBER` either way.
    """

    numbers: tuple[float, ...]
    categories: tuple[int, ...]
    group: int
    risk: float
    offer: str
    value: float


def category_key(value: Value) -> int:
    """Return 64 bits of a category, never 0 but where there is none: null, "", a list without a text.

    Of a list the first text counts. A number is told by its shortest form, whole ones without a point, so that 12, 12.0
    and "12" are one category; a truth value as `true` or `false`.
    """
    return _key_of(_text(value))


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        value = next((each for each in value if isinstance(each, str)), None)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _key_of(text: str) -> int:
    if not text:
        return 0
    found = hashlib.blake2b(text.encode(), digest_size=8, person=b"category").digest()
    return int.from_bytes(found, "little") or 1


def reader_of(config: CatalogueConfig) -> Callable[[Mapping[str, Value]], Told]:
    """Return what reads an item's fields, by name."""
    groups = [
        (number, group.field, frozenset((isinstance(each, bool), each) for each in group.values))
        for number, group in enumerate(config.groups, 1)
    ]
    category = lru_cache(_REMEMBERED)(_key_of)

    def category_of(value: Value) -> int:
        text = _text(value)
        return category(text) if len(text) <= _LONGEST_REMEMBERED else _key_of(text)

    def read(fields: Mapping[str, Value]) -> Told:
        get = fields.get
        return Told(
            tuple(number_of(get(name)) for name in config.number_fields),
            tuple(category_of(get(name)) for name in config.category_fields),
            next((number for number, name, values in groups if _holds(values, get(name))), 0),
            _risk(get(config.risk_field)) if config.risk_field else math.nan,
            _offer(get(config.offer_field)) if config.offer_field else "",
            _value(get(config.value_field)) if config.value_field else 1.0,
        )

    return read


def number_of(value: Value) -> float:
    """Return a number, a truth value as 1 or 0; NaN for anything else, and beyond `MOST_NUMBER`."""
    return float(value) if isinstance(value, (bool, int, float)) and abs(value) <= MOST_NUMBER else math.nan


def _holds(values: frozenset[tuple[bool, bool | float | str]], value: Value) -> bool:
    if value is None:
        return False
    each = value if isinstance(value, tuple) else (value,)
    return any((isinstance(one, bool), one) in values for one in each)


def _risk(value: Value) -> float:
    if isinstance(value, str):
        return RISK_OF_TIER.get(value, math.nan)
    found = number_of(value)
    return found if 0.0 <= found <= 1.0 else math.nan


def _offer(value: Value) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST_OFFER else ""


def _value(value: Value) -> float:
    found = number_of(value)
    return found if math.isfinite(found) else 1.0
