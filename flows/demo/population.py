"""The people of the synthetic stream and what they do when nothing is wrong.

Every user has habits of their own: how active they are (Zipf-like), at which hours, from which devices and addresses,
what they spend and with whom. Arrivals are a Poisson process of *sessions* whose intensity follows the users' hours,
so the daily rhythm is theirs summed up. All draws come from the generator's one seeded source.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

TYPES = ("login", "view", "payment", "transfer")
LOGIN, VIEW, PAYMENT, TRANSFER = range(4)
COUNTRIES = ("DE", "FR", "NL", "PL", "ES", "US", "NG", "VN")
_COUNTRY_SHARES = (0.34, 0.22, 0.14, 0.12, 0.12, 0.06)  # of users; the last two countries are home to none

DAY_S = 86_400
MERCHANTS = 1_500
SESSION_EVENTS = 5.0
"""Mean number of events in a session."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Events as columns of one length.

    Attributes:
        number: makes the event's `id`; two events with one number are duplicates.
        at_s: event time, seconds after the stream's start.
        arrival_s: when the event reaches the topic, on the same clock; never before `at_s`.
        amount: NaN for events without one.
        counterparty: -1 for events without one.
        ip: an IPv4 address as an integer.
        kind: index into `attacks.ATTACKS`, -1 for normal behaviour.
        campaign: which attack the event is part of, from 1; 0 for normal behaviour.
        garbage: index into `generator.GARBAGE`, -1 for a sound message.
    """

    number: I64
    at_s: F64
    arrival_s: F64
    user: I64
    type: I64
    amount: F64
    device: I64
    ip: I64
    counterparty: I64
    country: I64
    session: I64
    kind: I64
    campaign: I64
    garbage: I64

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Self:
        """Return the chosen rows, in the order given."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Return the parts one after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


class Population:
    """Users with habits.

    Args:
        rng: source of all draws; the caller keeps using it afterwards.
        users: how many, at least 1.
        sessions_per_day: mean of the whole population, in event time.
        second_of_day: time of day at which the stream begins, seconds in [0, 86400).

    Attributes:
        favourites: each user's preferred counterparties, shape (users, 8).
        mean_amount: what a user usually pays, shape (users,).
        weight: share of the activity, shape (users,), sums to 1.
    """

    def __init__(self, rng: np.random.Generator, users: int, sessions_per_day: float, second_of_day: float) -> None:
        self._rng = rng
        self.users = users
        # Zipf-like, flattened at the head (Mandelbrot): the busiest account does ten times the mean, as a person can.
        weight = rng.permutation(1.0 / (np.arange(users) + 0.02 * users) ** 0.9)
        self.weight: F64 = weight / weight.sum()
        self.country: I64 = rng.choice(len(_COUNTRY_SHARES), users, p=_COUNTRY_SHARES)
        self.mean_amount: F64 = rng.lognormal(np.log(35.0), 0.7, users)
        self._devices = rng.choice([1, 2, 3], users, p=[0.55, 0.33, 0.12])
        self._addresses = rng.choice([1, 2], users, p=[0.6, 0.4])
        self._mobile = rng.choice([0.0, 0.35, 0.7], users, p=[0.4, 0.4, 0.2])
        self._pays = rng.beta(2.0, 5.0, users)
        popular = 1.0 / (np.arange(MERCHANTS) + 10.0)
        self._merchants: F64 = np.cumsum(popular / popular.sum())
        self._kept = rng.integers(2, 9, users)
        self.favourites: I64 = np.searchsorted(self._merchants, rng.random((users, 8))).clip(max=MERCHANTS - 1)
        # Own active hours: a bell around the clock (von Mises) with most people's centre in the afternoon.
        centre = rng.normal(15.0, 3.5, users)
        width = rng.uniform(0.6, 1.6, users)
        hours = (np.arange(24)[:, None] + 0.5 - centre) * (2 * np.pi / 24)
        bell = np.exp(width * np.cos(hours))
        by_hour = self.weight * bell / bell.mean(axis=0)
        total = by_hour.sum(axis=1)
        self._mass: F64 = np.concatenate([[0.0], np.cumsum(total / total.sum())])
        # One sorted table for "who, given the hour": row h holds h + the cumulative shares.
        self._who: F64 = (np.arange(24)[:, None] + np.cumsum(by_hour / total[:, None], axis=1)).ravel()
        self._sessions_per_day = sessions_per_day
        self._second_of_day = second_of_day
        # Expected sessions since midnight: in this clock of its own, the Poisson process has rate 1.
        self._clock = float(np.interp(second_of_day / 3_600, np.arange(25), self._mass)) * sessions_per_day
        self._sessions = 0
        self._numbers = 0

    def numbers(self, count: int) -> I64:
        """Hand out the next `count` event numbers."""
        self._numbers += count
        return np.arange(self._numbers - count, self._numbers)

    def session(self) -> int:
        """Hand out the next session number."""
        self._sessions += 1
        return self._sessions - 1

    def sessions(self, count: int) -> tuple[Columns, float]:
        """Draw the next sessions of the whole population.

        Returns:
            Their events, and the start of the last session in seconds: later calls yield nothing before it.
        """
        rng = self._rng
        clock = self._clock + np.cumsum(rng.standard_exponential(count))
        self._clock = float(clock[-1])
        day, part = np.divmod(clock / self._sessions_per_day, 1.0)
        hour = np.interp(part, self._mass, np.arange(25))
        start = day * DAY_S + hour * 3_600 - self._second_of_day
        hour_of_day = np.minimum(hour.astype(np.int64), 23)
        who = np.searchsorted(self._who, hour_of_day + rng.random(count), side="right") - hour_of_day * self.users
        user = who.clip(0, self.users - 1)
        device = self.device(user, (rng.random(count) ** 2 * self._devices[user]).astype(np.int64))
        ip = self._ip(user, start)
        number = np.arange(self._sessions, self._sessions + count)
        self._sessions += count

        length = rng.geometric(1 / SESSION_EVENTS, count)
        row = np.repeat(np.arange(count), length)
        first = np.concatenate([[0], np.cumsum(length)[:-1]])
        size = len(row)
        gap = rng.lognormal(np.log(22.0), 0.9, size)
        gap[first] = 0.0
        elapsed = np.cumsum(gap)
        at = start[row] + elapsed - elapsed[first][row]
        actor = user[row]
        kind = rng.random(size)
        pays = self._pays[actor]
        type_ = np.where(kind < 0.75 * pays, PAYMENT, np.where(kind < pays, TRANSFER, VIEW))
        type_[first] = LOGIN
        paying = type_ >= PAYMENT
        amount = self.mean_amount[actor] * np.where(type_ == TRANSFER, 2.5, 1.0) * rng.lognormal(0.0, 0.45, size)
        usual = self.favourites[actor, (rng.random(size) ** 1.5 * self._kept[actor]).astype(np.int64)]
        other = np.searchsorted(self._merchants, rng.random(size)).clip(max=MERCHANTS - 1)
        counterparty = np.where(rng.random(size) < 0.9, usual, other)
        events = Columns(
            number=self.numbers(size),
            at_s=at,
            arrival_s=at,
            user=actor,
            type=type_,
            amount=np.where(paying, np.maximum(np.round(amount, 2), 0.01), np.nan),
            device=device[row],
            ip=ip[row],
            counterparty=np.where(paying, counterparty, -1),
            country=self.country[actor],
            session=number[row],
            kind=np.full(size, -1),
            campaign=np.zeros(size, np.int64),
            garbage=np.full(size, -1),
        )
        return events, float(start[-1])

    @staticmethod
    def device(user: I64, which: I64) -> I64:
        """Return device numbers: a user's own, never shared with another user."""
        return user * 8 + which

    def _ip(self, user: I64, at_s: F64) -> I64:
        """Return addresses: home, work, or the phone network, whose address for a user changes twice a day."""
        rng = self._rng
        mobile = rng.random(len(user)) < self._mobile[user]
        half_day = (at_s // (DAY_S / 2)).astype(np.int64)
        fixed = (10 << 24) + user * 4 + (rng.random(len(user)) ** 2 * self._addresses[user]).astype(np.int64)
        carrier = (100 << 24) + (64 << 16) + (user * 2_654_435_761 + half_day * 40_503) % (1 << 20)
        return np.where(mobile, carrier, fixed)
