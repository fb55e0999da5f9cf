"""Configuration of the signals: bounds per partition, windows, and what a click at each place is worth."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from operators.batches import F64, I64
from ranking.rates import inverse_propensity

LONGEST_S = 366 * 86_400
PLACES = 256
"""Places told apart where no chances are configured; those further down count as the last of them."""

MOST_WINDOWS = 8

PANES = 6
"""Panes of a window: five of a fifth of it that are whole, and one that is being filled."""

Seconds = Annotated[int, Ge(1), Le(LONGEST_S)]
Chance = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, slots=True)
class CountItemsConfig:
    """Settings of `operators.signals.stage.CountItems`.

    Attributes:
        windows_s: lengths of the windows, seconds, each longer than the one before; 1 to 8.
        half_life_s: in which what fades halves, seconds.
        audience_s: length of the periods, aligned to event time, in which an audience is counted, seconds.
        max_items: items that are kept, 1 to 10,000,000; with two windows 1,220 bytes each.
        max_pairs: pairs of item and user that are told apart, 1 to 100,000,000; 90 bytes each.
        promote_after_s: age at which an item, or a pair, that comes again is no newcomer any more, seconds.
        allowed_lateness_s: how far rows may be out of order, seconds. Later ones do not count.
        max_gap_s: a row farther ahead of stream time waits until three users confirm the jump, seconds.
        dedup_window_s: how long an id is remembered, seconds of stream time.
        dedup_max: ids remembered, 1 to 100,000,000; 32 bytes each.
        propensities: chance of each place, from the first, to be seen against that of the first; further down the last
            one holds. Empty: 1 / (1 + place), as Joachims, Swaminathan and Schnabel (WSDM 2017) take it, eta 1.
        clip: the most that a click may count for its place, 1 or more.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    windows_s: Annotated[tuple[Seconds, ...], MinLen(1), MaxLen(MOST_WINDOWS)] = (3_600, 86_400)
    half_life_s: Seconds = 7 * 86_400
    audience_s: Seconds = 86_400
    max_items: Annotated[int, Ge(1), Le(10_000_000)] = 100_000
    max_pairs: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000
    promote_after_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 600
    allowed_lateness_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 300
    max_gap_s: Seconds = 6 * 3_600
    dedup_window_s: Annotated[int, Ge(0), Le(LONGEST_S)] = 600
    dedup_max: Annotated[int, Ge(1), Le(100_000_000)] = 1_000_000
    propensities: tuple[Chance, ...] = ()
    clip: Annotated[float, Ge(1), Le(1e6)] = 10.0

    def __post_init__(self) -> None:
        """Check what a single field's constraint cannot say.

        Raises:
            ValueError: the windows do not ascend.
        """
        if any(longer <= shorter for shorter, longer in pairwise(self.windows_s)):
            raise ValueError(f"expected ascending windows_s, got {self.windows_s}")

    @property
    def panes_ms(self) -> I64:
        """Length of each window's panes, milliseconds, shape (windows,): a fifth of the window."""
        return panes_ms(self.windows_s)

    @property
    def worth(self) -> F64:
        """What a click at each place counts, clipped, shape (places,)."""
        chances = np.array(self.propensities) if self.propensities else 1.0 / np.arange(1, PLACES + 1)
        return inverse_propensity(chances, self.clip)


def panes_ms(windows_s: tuple[int, ...]) -> I64:
    """Return the length of the panes of each window, milliseconds, shape (windows,)."""
    return np.array([window * 200 for window in windows_s], np.int64)
