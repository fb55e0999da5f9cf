"""What the demo counts: every message sent, every answer read back, and how the answers compare with the truth.

Times are arguments. One lock, because the publisher, the reader and the view are threads of their own.
"""

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from flows.demo.attacks import ATTACKS
from flows.demo.generator import Planted
from schemas.decision import Decision, Reason

ALARMS = ("high", "critical")
"""Tiers that count as caught, or as a false alarm."""

_RECENT = 5_000  # latencies the live percentiles look at
_NEWEST = 500  # alerts the view can look back at


@dataclass(slots=True)
class Campaign:
    """One planted attack.

    Attributes:
        kind: one of `attacks.ATTACKS`.
        sent: events of it published so far.
        answered: of those, answered with any tier.
        caught: of those, answered with one of `ALARMS`.
        first: number of events sent before the first one caught; None while none is.
    """

    kind: str
    sent: int = 0
    answered: int = 0
    caught: int = 0
    first: int | None = None


class Alert(NamedTuple):
    """A high or critical decision, with the truth about it: the attack's kind, None for normal behaviour."""

    timestamp_ms: int
    user: str
    tier: str
    reasons: tuple[Reason, ...]
    attack: str | None


class Caught(NamedTuple):
    """All planted attacks of one kind.

    Attributes:
        delay: median number of events before the first one caught, over the attacks caught; None if none was.
    """

    kind: str
    attacks: int
    attacks_caught: int
    events: int
    events_caught: int
    delay: float | None


class Latency(NamedTuple):
    """Percentiles in milliseconds, from handing a message to the producer until its decision is read back."""

    p50: float
    p99: float


class _Truth(NamedTuple):
    campaign: Campaign
    place: int  # in the campaign, from 0


@dataclass(slots=True)
class Tally:
    """Counts of one run.

    Attributes:
        lock: hold it for a batch of `sent` or `decided` calls, and for drawing a view.
        published: messages handed to the producer, garbage and copies included.
        answered: input offsets with at least one answer.
        repeated: answers beyond the first for an input offset; possible at least once.
        tiers: first answers by tier.
        flags: first answers by flag.
        dead: dead letters by reason.
        false_alarms: high or critical decisions on normal behaviour.
        newest: newest alerts, newest last.
        event_ms: event time of the newest message published; None before the first.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    published: int = 0
    answered: int = 0
    repeated: int = 0
    tiers: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    false_alarms: int = 0
    newest: deque[Alert] = field(default_factory=lambda: deque(maxlen=_NEWEST))
    event_ms: int | None = None
    campaigns: dict[int, Campaign] = field(default_factory=dict)
    _seen: dict[int, set[int]] = field(default_factory=dict)
    _sent_at: dict[str, float] = field(default_factory=dict)
    _truth: dict[str, _Truth] = field(default_factory=dict)
    _latency_s: list[float] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """Messages published and not answered yet."""
        return self.published - self.answered

    def sent(self, planted: Planted, now_s: float) -> None:
        """Count a message that is about to be handed to the producer."""
        self.published += 1
        self.event_ms = planted.timestamp_ms
        if planted.garbage is not None:
            return
        event_id = str(planted.event["id"])
        if event_id in self._sent_at or event_id in self._truth:
            return  # a copy: the first one's latency and truth count
        self._sent_at[event_id] = now_s
        if planted.attack is not None:
            campaign = self.campaigns.setdefault(planted.campaign, Campaign(planted.attack))
            self._truth[event_id] = _Truth(campaign, campaign.sent)
            campaign.sent += 1

    def decided(self, decision: Decision, now_s: float) -> None:
        """Count a record of `risk.tiers`."""
        if not self._first_answer(decision.partition, decision.offset):
            return
        self.tiers[decision.tier] += 1
        self.flags.update(decision.flags)
        sent_at = self._sent_at.pop(decision.id, None)
        if sent_at is not None:
            self._latency_s.append(now_s - sent_at)
        if "duplicate" in decision.flags:
            return
        truth = self._truth.get(decision.id)
        alarm = decision.tier in ALARMS
        if truth is None:
            self.false_alarms += alarm
            return
        campaign = truth.campaign
        campaign.answered += 1
        campaign.caught += alarm
        if alarm and (campaign.first is None or truth.place < campaign.first):
            campaign.first = truth.place

    def alerted(self, decision: Decision) -> None:
        """Remember a record of `risk.alerts` for the view."""
        truth = self._truth.get(decision.id)
        attack = truth.campaign.kind if truth is not None else None
        self.newest.append(Alert(decision.timestamp, decision.user, decision.tier, tuple(decision.reasons), attack))

    def rejected(self, partition: int, offset: int, reason: str) -> None:
        """Count a record of `dead-letters`, by the place of the message it is about."""
        if self._first_answer(partition, offset):
            self.dead[reason] += 1

    def _first_answer(self, partition: int, offset: int) -> bool:
        seen = self._seen.setdefault(partition, set())
        if offset in seen:
            self.repeated += 1
            return False
        seen.add(offset)
        self.answered += 1
        return True

    def latency(self, *, recent: bool = False) -> Latency | None:
        """Return percentiles of all answers, or of the newest few thousand; None before the first answer."""
        values = self._latency_s[-_RECENT:] if recent else self._latency_s
        if not values:
            return None
        p50, p99 = np.percentile(values, [50, 99]) * 1_000
        return Latency(float(p50), float(p99))

    def forget_latencies(self) -> None:
        """Leave out what has been measured so far, and what is in flight: the flow was still compiling."""
        self._latency_s.clear()
        self._sent_at.clear()

    def complaints(self, failed: int) -> list[str]:
        """Return what went wrong, once everything has had its time; empty if every message was answered.

        Args:
            failed: messages that the broker did not take.
        """
        found = []
        if failed:
            found.append(f"{failed:,} messages could not be published")
        if not self.tiers:
            found.append("no event was answered")
        if self.in_flight:
            found.append(f"expected an answer to every message, got none to {self.in_flight:,}")
        return found

    def caught(self) -> list[Caught]:
        """Return the planted attacks by kind, every kind once."""
        rows = []
        for kind in ATTACKS:
            of_kind = [campaign for campaign in self.campaigns.values() if campaign.kind == kind]
            first = [campaign.first for campaign in of_kind if campaign.first is not None]
            rows.append(
                Caught(
                    kind=kind,
                    attacks=len(of_kind),
                    attacks_caught=len(first),
                    events=sum(campaign.sent for campaign in of_kind),
                    events_caught=sum(campaign.caught for campaign in of_kind),
                    delay=float(np.median(first)) if first else None,
                )
            )
        return rows
