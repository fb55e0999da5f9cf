"""Configuration of the catalogue: how many items there are, and which of their fields mean what."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from annotated_types import Ge, Le, MaxLen, MinLen

from operators.signals.config import LONGEST_S, Seconds

MOST_GROUPS: Final = 8

Name = Annotated[str, MinLen(1), MaxLen(256)]
Names = Annotated[tuple[Name, ...], MaxLen(32)]


@dataclass(frozen=True, slots=True)
class ItemGroupConfig:
    """A group of items: those whose field has one of some values, or is a list that holds one of them.

    Attributes:
        name: of the group; each once, none `other`.
        field: of the item.
        values: truth values, numbers or texts; a number is no text, and 1 is not true.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: Name
    field: Name
    values: Annotated[tuple[bool | float | str, ...], MinLen(1), MaxLen(1_000)]


@dataclass(frozen=True, slots=True)
class CatalogueConfig:
    """Settings of `operators.recall.catalogue.Catalogue`. A field is one of those that `items` names.

    Attributes:
        max_items: items that are kept, 1 to 1,000,000; 350 bytes each, and 8 for each number and category below.
        promote_after_s: age at which an item that is told of again is no newcomer any more, seconds.
        number_fields: fields that are numbers, each a column; truth values count 1 and 0.
        category_fields: fields that are categories, each a column; the first is that of `Shelves.popular`.
        groups: of items, at most 8. An item is in the first that holds it.
        risk_field: of the seller: a number in [0, 1], or the name of a tier. Empty: none.
        risk_from_signals: whether the share of risky users among those who clicked and bought, in the longest window,
            counts where the field tells nothing.
        offer_field: names the variation of an experiment that the item stands for. Empty: none.
        value_field: what one unit of that experiment's effect is worth for the item, up to 1e30 either way. Empty, not
            told, or more: 1.
        new_for_s: an item is new for so long after it was first heard of, seconds.
        new_undescribed: whether items without published fields may be drawn as new. Anybody whose interactions are
            published can name such an item.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_items: Annotated[int, Ge(1), Le(1_000_000)] = 100_000
    promote_after_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 600
    number_fields: Names = ()
    category_fields: Names = ()
    groups: Annotated[tuple[ItemGroupConfig, ...], MaxLen(MOST_GROUPS)] = ()
    risk_field: Annotated[str, MaxLen(256)] = ""
    risk_from_signals: bool = False
    offer_field: Annotated[str, MaxLen(256)] = ""
    value_field: Annotated[str, MaxLen(256)] = ""
    new_for_s: Seconds = 7 * 86_400
    new_undescribed: bool = False
