"""How many users come in a day, and how many of them are new: counted from events in bounded memory.

Of every user the days are kept on which there were events, for at most `MOST_USERS` users: when there are more, those
stay whose hash is in the lower half, and each counts for two; and so on (adaptive sampling: Wegman; Flajolet, Computing
43, 1990). What is kept depends on who came when, not on the order of events. Up to `MOST_USERS` users all figures are
exact; beyond, n users are known with a relative standard error of at most sqrt(2 / MOST_USERS), 0.6 %.

A user who comes back is no new unit of an experiment. So what counts is not the users of each day but how many
different ones there are from the first day to the d-th: `Arrivals`.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

import xxhash

MOST_USERS = 65_536
"""Users that are remembered; 100 to 200 bytes each."""

MOST_DAYS = 400
"""Days that are told apart."""

DAY_MS = 86_400_000


class TooManyDays(ValueError):
    """The events are further apart than `MOST_DAYS`."""


class Arrivals(NamedTuple):
    """When the units of an experiment that begins come.

    Attributes:
        reached: different units from the first day to each of those counted; none if nothing was counted.
        rate: new units a day after those.
    """

    reached: tuple[float, ...]
    rate: float

    def units(self, days: int) -> float:
        """Return how many different units there are after so many days, at least 1."""
        counted = len(self.reached)
        if days <= counted:
            return self.reached[days - 1]
        return (self.reached[-1] if counted else 0.0) + (days - counted) * self.rate

    def days(self, units: float) -> int | None:
        """Return the days until there are so many; None if there never are."""
        counted, last = len(self.reached), self.reached[-1] if self.reached else 0.0
        if units <= last:
            return bisect_left(self.reached, units) + 1
        return counted + math.ceil((units - last) / self.rate) if self.rate > 0.0 else None

    def of(self, share: float) -> "Arrivals":
        """Return the arrivals of a share of the units."""
        return Arrivals(tuple(share * one for one in self.reached), share * self.rate)


class Traffic(NamedTuple):
    """Users of whole days (UTC).

    Attributes:
        first_day: days since 1970 of the first that counts.
        daily: users of each day.
        new: users of each day who came on no earlier one that counts.
        whole: whether the days are whole: the first and the last are left out, if there are others.
        error: relative standard error of the users of all days; 0 if they are exact.
    """

    first_day: int
    daily: tuple[float, ...]
    new: tuple[float, ...]
    whole: bool
    error: float

    def arrivals(self) -> Arrivals:
        """Return the users as an experiment would have met them, and go on at the mean of the second half."""
        half = self.new[len(self.new) // 2 :]
        return Arrivals(tuple(accumulate(self.new)), sum(half) / len(half))


class UserDays:
    """The days of a sample of users, all of them as long as there are few."""

    def __init__(self, most: int = MOST_USERS) -> None:
        """Begin.

        Args:
            most: users that are remembered.
        """
        self._most = most
        self._below = 1 << 64  # hashes under it are kept
        self._seen: dict[int, int] = {}  # hash -> bits of the days' slots
        self._slots: dict[int, int] = {}  # day -> slot

    def __len__(self) -> int:
        """Return how many users are remembered."""
        return len(self._seen)

    def add(self, user: bytes, time_ms: int) -> None:
        """Take note of an event.

        Raises:
            TooManyDays: there were events on `MOST_DAYS` others.
        """
        day = time_ms // DAY_MS
        slot = self._slots.setdefault(day, len(self._slots))
        if slot >= MOST_DAYS:
            raise TooManyDays(f"expected events of at most {MOST_DAYS} days, got more")
        code = xxhash.xxh3_64_intdigest(user)
        if code < self._below:
            self._seen[code] = self._seen.get(code, 0) | 1 << slot
            while len(self._seen) > self._most:
                self._below >>= 1
                self._seen = {code: days for code, days in self._seen.items() if code < self._below}

    def traffic(self) -> Traffic | None:
        """Return the users by day; None without an event.

        Raises:
            TooManyDays: there are more than `MOST_DAYS` from the first to the last.
        """
        if not self._slots:
            return None
        first, last = min(self._slots), max(self._slots)
        if last - first >= MOST_DAYS:
            raise TooManyDays(f"expected events of at most {MOST_DAYS} days, got them {last - first + 1:,} days apart")
        days = {slot: day - first for day, slot in self._slots.items()}
        daily, new, users = self._count(days, range(1, last - first))
        if whole := last - first >= 2:
            return self._told(first + 1, daily, new, users, whole=whole)
        fullest = max((*self._count(days, range(at, at + 1)), at) for at in range(last - first + 1))
        daily, new, users, at = fullest
        return self._told(first + at, daily, new, users, whole=whole)

    def _count(self, days: dict[int, int], kept: range) -> tuple[list[int], list[int], int]:
        """Return the remembered users of the days in `kept`, the new ones among them, and how many there are in all."""
        daily, new, users = [0] * len(kept), [0] * len(kept), 0
        for bits in self._seen.values():
            came = [days[slot] - kept.start for slot in _slots(bits) if days[slot] in kept]
            for day in came:
                daily[day] += 1
            if came:
                new[min(came)] += 1
                users += 1
        return daily, new, users

    def _told(self, first: int, daily: list[int], new: list[int], users: int, *, whole: bool) -> Traffic:
        each = (1 << 64) // self._below
        error = math.sqrt((1 - 1 / each) / users) if users else 0.0
        return Traffic(first, tuple(float(each * n) for n in daily), tuple(float(each * n) for n in new), whole, error)


def _slots(bits: int) -> Iterable[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
