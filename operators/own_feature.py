"""A feature that the user declares, as one `[[risk.features]]` table: decode reads its values, featurize follows them.

An operation follows the events of one user that are of a type in `where` and have a value at `of`:

| operation | value, of those events within the window | `of` | bytes per user |
|---|---|---|---|
| count | their number | any, or none | 24 |
| sum, mean, max | of the numbers | a number | 48, 72, 72 |
| distinct, entropy | of the newest 24 of them: different values; Shannon entropy in nats | a value | 292 |
| gap | seconds since the newest earlier one; the window's length if there is none | any, or none | 8 |

Every event of the user shows the feature as it then stands, also one that the operation does not follow.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Le, Len

Operation = Literal["count", "sum", "mean", "max", "distinct", "entropy", "gap"]
Direction = Literal["up", "down", "both"]

MAX_FEATURES: Final = 32
MAX_WINDOW_S: Final = 30 * 86_400
NUMERIC: Final = ("sum", "mean", "max")
DISCRETE: Final = ("distinct", "entropy")
COLUMNS: Final = ("amount", "type", "ip", "device", "counterparty", "country", "currency", "session")
"""Fields of an event that can be followed, besides everything in its `fields`."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DEEPEST: Final = 8
_UNITS: Final = {"count": "events", "distinct": "values", "entropy": "nats", "gap": "seconds"}


@dataclass(frozen=True, slots=True)
class OwnFeature:
    """One declared feature.

    Attributes:
        name: as it stands in reasons; a small letter, then small letters, digits and _, at most 64.
        operation: see the module.
        window_s: length of the window in seconds, 1 s to 30 days.
        limits: values that become 0 and 1: the first is the lower.
        of: `fields.` and names joined by dots, or one of `COLUMNS`; None to follow the events themselves.
        where: types of the events to follow; empty for all.
        direction: which way is risky.
        family: features of one family speak once, with the strongest; None for a family of its own.
        unit: of the value, for people; None for what the operation says, or `own`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    operation: Operation
    window_s: Annotated[int, Ge(1), Le(MAX_WINDOW_S)]
    limits: Annotated[tuple[float, ...], Len(2, 2)]
    of: str | None = None
    where: Annotated[tuple[Annotated[str, Len(1, 256)], ...], Len(0, 32)] = ()
    direction: Direction = "up"
    family: str | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        """Check what a single field's constraint cannot say.

        Raises:
            ValueError: with every such mistake.
        """
        found = [*self._wrong_names(), *self._wrong_path(), *self._wrong_limits()]
        if found:
            raise ValueError("; ".join(found))

    def _wrong_names(self) -> list[str]:
        wanted = "a small letter, then small letters, digits and _, 64 at most"
        named = [("name", self.name), ("family", self.family or self.name)]
        wrong = [f"expected {wanted}, got {text!r} - at {key}" for key, text in named if not _NAME.fullmatch(text)]
        return wrong if self.family else wrong[:1]

    def _wrong_path(self) -> list[str]:
        if self.of is None:
            needs = self.operation in (*NUMERIC, *DISCRETE)
            return [f"expected a path, got none - at of: {self.operation} needs one"] if needs else []
        head, *rest = self.of.split(".")
        if head == "fields" and rest:
            if len(rest) > _DEEPEST or not all(rest):
                return [f"expected fields. and 1 to {_DEEPEST} names joined by dots, got {self.of!r} - at of"]
            return []
        if self.of not in COLUMNS:
            return [f"expected fields.<name> or one of {', '.join(COLUMNS)}, got {self.of!r} - at of"]
        if self.operation in NUMERIC and self.of != "amount":
            return [f"expected a number for {self.operation}, got {self.of!r}, which is a text - at of"]
        return []

    def _wrong_limits(self) -> list[str]:
        if len(self.limits) == 2 and all(map(math.isfinite, self.limits)) and self.limits[0] < self.limits[1]:
            return []
        return [f"expected two finite numbers, the lower first, got {list(self.limits)} - at limits"]

    @property
    def shaping(self) -> tuple[str | int | None, ...]:
        """What the state depends on; the rest says only how a value is read."""
        return (self.operation, self.of, self.window_s, *self.where)

    @property
    def unit_name(self) -> str:
        """The unit, for people."""
        return self.unit or _UNITS.get(self.operation, "own")


def clashes(names: Sequence[str], taken: Sequence[str]) -> list[tuple[int, str]]:
    """Return which of the names of declared features cannot be used, and why.

    Args:
        names: of all declared features, in order.
        taken: names of the features and families that are there anyhow.
    """
    known = dict.fromkeys(taken, "a feature or family that is built in")
    found = []
    for place, name in enumerate(names):
        if name in known:
            found.append((place, f"expected another name, got {name!r}, which is {known[name]}"))
        known.setdefault(name, "declared before")
    return found
