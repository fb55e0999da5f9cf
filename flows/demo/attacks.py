"""The abuse that is planted in the synthetic stream, with its ground truth.

Four kinds, from loud to quiet. Each campaign has one account, so that what betrays it is that account's behaviour.
"""

from collections.abc import Callable

import numpy as np

from flows.demo.population import F64, I64, LOGIN, MERCHANTS, PAYMENT, TRANSFER, VIEW, Columns, Population

ATTACKS = ("card_testing", "account_takeover", "scripted_burst", "slow_drip")
"""Names of the kinds; `Columns.kind` is an index into them."""

MEAN_EVENTS = 66.0
"""Mean number of events in a campaign, all four kinds alike often: (61 + 12 + 159.5 + 31.5) / 4."""

_FAR_COUNTRIES = (6, 7)  # home to no user
_MULES = 100_000  # accounts that take stolen money: nobody's habit


class Attacker:
    """Makes campaigns; draws from the generator's one source.

    Args:
        rng: source of all draws.
        population: whose accounts are taken over, and who hands out numbers.
    """

    def __init__(self, rng: np.random.Generator, population: Population) -> None:
        self._rng = rng
        self._people = population
        # A stranger cannot be told from a victim without history, so victims are taken from the busier half.
        victims = np.where(population.weight >= np.median(population.weight), 1.0, 0.0)
        self._victims: F64 = victims / victims.sum()
        self._campaigns = 0
        self._round: list[int] = []

    def campaign(self, start_s: float) -> Columns:
        """Return the events of the next campaign; the four kinds come in shuffled rounds, so that none is rare."""
        if not self._round:
            self._round = [int(kind) for kind in self._rng.permutation(len(ATTACKS))]
        self._campaigns += 1
        kinds: tuple[Callable[[int, float], Columns], ...] = (
            self._card_testing,
            self._account_takeover,
            self._scripted_burst,
            self._slow_drip,
        )
        kind = self._round.pop()
        return kinds[kind](kind, start_s)

    def _card_testing(self, kind: int, start_s: float) -> Columns:
        """A fresh account tries stolen cards: 40 to 80 small payments, ever other counterparties, within minutes."""
        rng = self._rng
        size = int(rng.integers(40, 81))
        type_ = np.full(size + 1, PAYMENT)
        type_[0] = LOGIN
        return self._columns(
            kind,
            user=self._people.users + self._campaigns,
            at_s=start_s + np.cumsum(rng.lognormal(np.log(3.0), 0.5, size + 1)),
            type_=type_,
            amount=rng.uniform(0.5, 3.0, size + 1),
            counterparty=rng.choice(MERCHANTS, size + 1, replace=False),
            stranger=True,
        )

    def _account_takeover(self, kind: int, start_s: float) -> Columns:
        """A regular's account, from a new device, address and country: 5 to 13 large transfers to strangers."""
        rng = self._rng
        user = self._victim()
        size = int(rng.integers(5, 14))
        type_ = np.concatenate([[LOGIN, VIEW, VIEW], np.full(size, TRANSFER)])
        return self._columns(
            kind,
            user=user,
            at_s=start_s + np.cumsum(rng.lognormal(np.log(40.0), 0.5, size + 3)),
            type_=type_,
            amount=self._people.mean_amount[user] * rng.uniform(6.0, 20.0, size + 3),
            counterparty=MERCHANTS + rng.integers(0, _MULES, size + 3),
            stranger=True,
        )

    def _scripted_burst(self, kind: int, start_s: float) -> Columns:
        """A program on a rented server, in a user's name: one voucher bought 120 to 199 times, at machine-even gaps."""
        rng = self._rng
        user = self._victim()
        size = int(rng.integers(120, 200))
        gap = rng.uniform(0.2, 0.4) + rng.normal(0.0, 0.003, size)
        return self._columns(
            kind,
            user=user,
            at_s=start_s + np.cumsum(gap),
            type_=np.full(size, PAYMENT),
            amount=np.full(size, 25.0),
            counterparty=np.full(size, self._people.favourites[user, 0]),
            stranger=True,
        )

    def _slow_drip(self, kind: int, start_s: float) -> Columns:
        """An account is emptied from its own device: 24 to 39 medium transfers over hours, ever new receivers."""
        rng = self._rng
        user = self._victim()
        size = int(rng.integers(24, 40))
        return self._columns(
            kind,
            user=user,
            at_s=start_s + np.cumsum(rng.uniform(360.0, 720.0, size)),
            type_=np.full(size, TRANSFER),
            amount=self._people.mean_amount[user] * rng.uniform(3.0, 6.0, size),
            counterparty=MERCHANTS + rng.integers(0, _MULES, size),
            stranger=False,
        )

    def _victim(self) -> int:
        return int(self._rng.choice(self._people.users, p=self._victims))

    def _columns(
        self, kind: int, *, user: int, at_s: F64, type_: I64, amount: F64, counterparty: I64, stranger: bool
    ) -> Columns:
        """Fill in where the events come from: the user's first device and address, or ones never seen before."""
        size = len(at_s)
        paying = type_ >= PAYMENT
        known = user < self._people.users
        # Device numbers above every user's own; addresses outside the users' networks.
        device = self._people.users * 8 + self._campaigns if stranger else user * 8
        ip = (185 << 24) + int(self._rng.integers(1 << 24)) if stranger else (10 << 24) + user * 4
        country = int(self._rng.choice(_FAR_COUNTRIES)) if stranger or not known else int(self._people.country[user])
        return Columns(
            number=self._people.numbers(size),
            at_s=at_s,
            arrival_s=at_s,
            user=np.full(size, user),
            type=type_,
            amount=np.where(paying, np.round(amount, 2), np.nan),
            device=np.full(size, device),
            ip=np.full(size, ip),
            counterparty=np.where(paying, counterparty, -1),
            country=np.full(size, country),
            session=np.full(size, self._people.session()),
            kind=np.full(size, kind),
            campaign=np.full(size, self._campaigns),
            garbage=np.full(size, -1),
        )
