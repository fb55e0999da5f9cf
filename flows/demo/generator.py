"""A synthetic but believable stream of events with planted abuse and its ground truth.

Pure: one seed decides everything, to the byte; no clock, no Kafka. Event time runs `speed` times faster than the wall
clock of a publisher that sends `rate` events a second, so that a minute's demo covers more than a day. The publisher
keeps the even rate; in event time nights are quiet and evenings are busy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from flows.demo.attacks import ATTACKS, MEAN_EVENTS, Attacker
from flows.demo.population import COUNTRIES, DAY_S, SESSION_EVENTS, TYPES, Columns, Population

GARBAGE = ("cut_short", "no_user", "negative_amount", "wrong_type", "invalid_utf8", "empty_user", "empty_value")
"""What broken publishers send; `Columns.garbage` is an index into it."""

_BLOCK = 2_048  # sessions drawn at once: large enough for NumPy to pay, small enough to start at once
_FIELDS = ({"channel": "web"}, {"channel": "ios"}, {"channel": "android"})
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """What the stream looks like.

    Attributes:
        seed: decides every draw.
        users: size of the population, at least 1; card testers come on top.
        rate: mean events a second on the publisher's clock, > 0.
        speed: seconds of event time per second of the publisher's clock, > 0.
        start_ms: event time of the beginning, epoch milliseconds.
        attack_share: share of events that belong to attacks, in [0, 0.5].
        quiet_s: seconds of event time without attacks at the beginning, while the flow learns what is normal.
        out_of_order: share of events that arrive up to 30 s of event time late, in [0, 1].
        duplicates: share of events that arrive twice, in [0, 1].
        garbage: share of messages that cannot be read, in [0, 1].
    """

    seed: int = 7
    users: int = 2_000
    rate: float = 2_000.0
    speed: float = 1_800.0
    start_ms: int = 1_767_592_800_000  # Monday, 5 January 2026, 06:00 UTC
    attack_share: float = 0.01
    quiet_s: float = 14_400.0
    out_of_order: float = 0.0
    duplicates: float = 0.0
    garbage: float = 0.0


class Planted(NamedTuple):
    """One message and the truth about it.

    Attributes:
        event: the event as the publisher meant it; absent fields are left out.
        attack: one of `attacks.ATTACKS`, or None for normal behaviour.
        campaign: which attack, from 1; 0 for normal behaviour.
        garbage: the bytes a broken publisher sends in its place; None for a sound message.
    """

    event: dict[str, object]
    attack: str | None
    campaign: int
    garbage: bytes | None

    @property
    def key(self) -> bytes:
        """The Kafka key: the user."""
        return str(self.event["user"]).encode()

    @property
    def value(self) -> bytes:
        """The Kafka value."""
        return _encode(self.event) if self.garbage is None else self.garbage

    @property
    def timestamp_ms(self) -> int:
        """Event time, which is also the record's Kafka timestamp: the stream is a replay of another day."""
        timestamp = self.event["timestamp"]
        assert isinstance(timestamp, int)
        return timestamp


class Generator:
    """The stream of one configuration. Every call of `events` starts it anew."""

    def __init__(self, config: GeneratorConfig) -> None:
        if config.users < 1 or config.rate <= 0 or config.speed <= 0:
            raise ValueError("expected users >= 1, rate > 0 and speed > 0")
        self.config = config

    def events(self) -> Iterator[Planted]:
        """Yield messages without end, in the order in which they reach the topic."""
        config = self.config
        rng = np.random.Generator(np.random.PCG64(config.seed))
        events_per_s = config.rate / config.speed
        normal_per_s = events_per_s * (1.0 - config.attack_share)
        population = Population(
            rng, config.users, normal_per_s / SESSION_EVENTS * DAY_S, config.start_ms / 1_000 % DAY_S
        )
        attacker = Attacker(rng, population)
        mean_wait_s = MEAN_EVENTS / (events_per_s * config.attack_share) if config.attack_share else np.inf
        next_attack_s = config.quiet_s + mean_wait_s * rng.uniform(0.0, 0.5)
        waiting: list[Columns] = []
        while True:
            events, horizon_s = population.sessions(_BLOCK)
            fresh = [events]
            while next_attack_s <= horizon_s:
                fresh.append(attacker.campaign(next_attack_s))
                next_attack_s += mean_wait_s * rng.uniform(0.5, 1.5)
            waiting.append(self._disturbed(rng, Columns.joined(fresh)))
            everything = Columns.joined(waiting)
            everything = everything.take(np.argsort(everything.arrival_s, kind="stable"))
            ready = int(np.searchsorted(everything.arrival_s, horizon_s))
            waiting = [everything.take(slice(ready, None))]
            yield from self._written(everything.take(slice(0, ready)))

    def _disturbed(self, rng: np.random.Generator, columns: Columns) -> Columns:
        """Return the events with delays, copies and broken messages among them, as the configuration asks."""
        config = self.config
        size = len(columns.number)
        if config.out_of_order:
            delay = rng.uniform(0.0, 30.0, size) * (rng.random(size) < config.out_of_order)
            columns.arrival_s[:] = columns.at_s + delay
        if config.garbage:
            broken = (rng.random(size) < config.garbage) & (columns.campaign == 0)
            columns.garbage[broken] = rng.integers(0, len(GARBAGE), int(broken.sum()))
        if config.duplicates:
            copies = columns.take((rng.random(size) < config.duplicates) & (columns.garbage < 0))
            copies.arrival_s[:] = copies.arrival_s + rng.uniform(1.0, 60.0, len(copies.number))
            columns = Columns.joined([columns, copies])
        return columns

    def _written(self, columns: Columns) -> Iterator[Planted]:
        """Yield columns as messages, cheaply: this loop is the cost of the generator."""
        time_ms = (self.config.start_ms + columns.at_s * 1_000).astype(np.int64)
        for (
            number,
            timestamp,
            user,
            type_,
            amount,
            device,
            ip,
            counterparty,
            country,
            session,
            kind,
            campaign,
            wrong,
        ) in zip(
            columns.number.tolist(),
            time_ms.tolist(),
            columns.user.tolist(),
            columns.type.tolist(),
            columns.amount.tolist(),
            columns.device.tolist(),
            columns.ip.tolist(),
            columns.counterparty.tolist(),
            columns.country.tolist(),
            columns.session.tolist(),
            columns.kind.tolist(),
            columns.campaign.tolist(),
            columns.garbage.tolist(),
            strict=True,
        ):
            event: dict[str, object] = {
                "id": f"e-{number:010d}",
                "timestamp": timestamp,
                "user": f"u-{user:07d}",
                "type": TYPES[type_],
            }
            if counterparty >= 0:
                event["amount"] = amount
                event["currency"] = "EUR"
                event["counterparty"] = f"c-{counterparty:06d}"
            event["ip"] = f"{ip >> 24}.{ip >> 16 & 255}.{ip >> 8 & 255}.{ip & 255}"
            event["device"] = f"d-{device:08x}"
            event["country"] = COUNTRIES[country]
            event["session"] = f"s-{session:08d}"
            event["fields"] = _FIELDS[device % 3]
            garbage = _broken(event, GARBAGE[wrong]) if wrong >= 0 else None
            yield Planted(event, ATTACKS[kind] if kind >= 0 else None, campaign, garbage)


def _broken(event: dict[str, object], how: str) -> bytes:
    """Return what a broken publisher sends instead of `event`."""
    match how:
        case "cut_short":
            return _encode(event)[:-20]
        case "no_user":
            return _encode({name: value for name, value in event.items() if name != "user"})
        case "negative_amount":
            return _encode({**event, "amount": -1.0})
        case "wrong_type":
            return _encode({**event, "user": 17})
        case "invalid_utf8":
            return _encode(event).replace(b"u-", b"\xff-")
        case "empty_user":
            return _encode({**event, "user": ""})
        case _:
            return b""
