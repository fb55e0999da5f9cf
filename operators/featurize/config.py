"""Configuration of the featurize stage."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, Len

MAX_WINDOW_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class FeaturizeConfig:
    """What the features look at, and the bounds of the state.

    Attributes:
        windows_s: lengths of the windows in seconds, ascending; 1 to 6 of them, each 1 s to 30 days.
        max_users: users remembered per partition, 1 to 10,000,000; about 1.8 kB each.
        allowed_lateness_s: how far behind stream time an event may be and still count, in seconds, 0 or more.
        max_gap_s: how far ahead of stream time an event may be without three users confirming it, in seconds, from 1.
        dedup_window_s: how long an event's id is remembered, in seconds of stream time, 0 or more.
        dedup_max: ids remembered per partition, 1 to 100,000,000; 32 bytes each.
        promote_after_s: age from which a returning user is a regular, safe from newcomers, in seconds, 0 or more.
        min_history: earlier values needed before a deviation is more than 0; 2 or more.
        teach_cap_per_hour: events per hour up to which later stages learn from a user, 1 or more.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    windows_s: Annotated[tuple[Annotated[int, Ge(1), Le(MAX_WINDOW_S)], ...], Len(1, 6)] = (60, 600, 3_600, 86_400)
    max_users: Annotated[int, Ge(1), Le(10_000_000)] = 100_000
    allowed_lateness_s: Annotated[int, Ge(0)] = 300
    max_gap_s: Annotated[int, Ge(1)] = 6 * 3_600
    dedup_window_s: Annotated[int, Ge(0)] = 600
    dedup_max: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000
    promote_after_s: Annotated[int, Ge(0)] = 600
    min_history: Annotated[int, Ge(2)] = 3
    teach_cap_per_hour: Annotated[int, Ge(1)] = 20

    def __post_init__(self) -> None:
        """Check what a single field's constraint cannot say.

        Raises:
            ValueError: the windows do not ascend.
        """
        if any(longer <= shorter for shorter, longer in zip(self.windows_s, self.windows_s[1:], strict=False)):
            raise ValueError(f"expected ascending windows_s, got {self.windows_s}")
