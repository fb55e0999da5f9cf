"""Slow and obvious: what the featurize stage promises, from lists of all events ever seen. Shares no code with it."""

import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np

from operators.batches import ATTRIBUTES, Decoded, Span
from operators.featurize import FeaturizeConfig


@dataclass(frozen=True)
class Event:
    """One event; attributes are 0 and amount is NaN where absent."""

    user: int
    id_hash: int
    time_ms: int
    attributes: tuple[int, int, int, int] = (0, 0, 0, 0)
    amount: float = math.nan


def decoded(events, first=0):
    """Return events as the column batch of one partition."""
    n = len(events)
    return Decoded(
        span=Span(0, first, first + n),
        topic="events",
        offsets=np.arange(first, first + n, dtype=np.int64),
        time_ms=np.array([event.time_ms for event in events], np.int64),
        ids=[str(event.id_hash) for event in events],
        users=[str(event.user) for event in events],
        user=np.array([event.user for event in events], np.uint64),
        id_hash=np.array([event.id_hash for event in events], np.uint64),
        attributes=np.array([event.attributes for event in events], np.uint64).reshape(n, 4),
        amount=np.array([event.amount for event in events], np.float64),
        rejected=[],
    )


@dataclass
class ReferenceSequence:
    """The judgement of each event, by lists."""

    config: FeaturizeConfig
    stream_ms: int | None = None
    accepted: list[tuple[int, int]] = field(default_factory=list)  # (id, stream time), oldest first
    proposals: dict[int, int] = field(default_factory=dict)
    objectors: set[int] = field(default_factory=set)
    evicted: int = 0

    def judge(self, event):
        """Return "" or the name of the event's flag."""
        config = self.config
        if self.stream_ms is None:
            self.stream_ms = event.time_ms
        self._expire()
        if event.id_hash in [id_hash for id_hash, _ in self.accepted]:
            return "duplicate"
        if event.time_ms < self.stream_ms - config.allowed_lateness_s * 1000:
            return "late"
        while event.time_ms > self.stream_ms + config.max_gap_s * 1000:
            self._drop_reached()
            self.proposals[event.user] = event.time_ms
            if len(self.proposals) < 3:
                return "ahead"
            self.stream_ms = min(self.proposals.values())
            self._drop_reached()
        self.stream_ms = max(self.stream_ms, event.time_ms)
        if self.proposals:
            self.objectors.add(event.user)
            if len(self.objectors) == 3:
                self.proposals, self.objectors = {}, set()
        self._expire()
        if len(self.accepted) == config.dedup_max:
            del self.accepted[0]
            self.evicted += 1
        self.accepted.append((event.id_hash, self.stream_ms))
        return ""

    def _expire(self):
        window_ms = self.config.dedup_window_s * 1000
        self.accepted = [(h, since) for h, since in self.accepted if self.stream_ms - since <= window_ms]

    def _drop_reached(self):
        limit = self.stream_ms + self.config.max_gap_s * 1000
        self.proposals = {user: time_ms for user, time_ms in self.proposals.items() if time_ms > limit}
        if not self.proposals:
            self.objectors = set()


class ReferenceLru:
    """Segmented LRU on Python lists, most recent first."""

    def __init__(self, size, promote_after_ms):
        self.size, self.promote_after_ms = size, promote_after_ms
        self.probation, self.protected, self.first_ms = [], [], {}

    def touch(self, key, now_ms):
        """Use a key; return the key evicted for it, or None."""
        if key in self.protected:
            self.protected.remove(key)
            self.protected.insert(0, key)
            return None
        if key in self.probation:
            self.probation.remove(key)
            if now_ms - self.first_ms[key] < self.promote_after_ms:
                self.probation.insert(0, key)
                return None
            self.protected.insert(0, key)
            if len(self.protected) > int(0.8 * self.size):
                self.probation.insert(0, self.protected.pop())
            return None
        victim = None
        if len(self.first_ms) == self.size:
            victim = (self.probation or self.protected).pop()
            del self.first_ms[victim]
        self.first_ms[key] = now_ms
        self.probation.insert(0, key)
        return victim


@dataclass(frozen=True)
class Counted:
    """An accepted event as its user's history has it."""

    time_ms: int
    order: int
    attributes: tuple[int, int, int, int]
    amount: float
    gap_s: float | None


class Reference:
    """Featurize, event by event, from complete histories."""

    def __init__(self, config):
        self.config = config
        self.sequence = ReferenceSequence(config)
        self.lru = ReferenceLru(config.max_users, config.promote_after_s * 1000)
        self.users: dict[int, list[Counted]] = {}
        self.orders = 0

    def process(self, event):
        """Return (flag name, values by feature name)."""
        flag = self.sequence.judge(event)
        if not flag:
            victim = self.lru.touch(event.user, self.sequence.stream_ms)
            self.users.pop(victim, None)
        earlier = self.users.get(event.user, [])
        last_ms = max((e.time_ms for e in earlier), default=None)
        gap_s = (event.time_ms - last_ms) / 1000 if last_ms is not None and event.time_ms >= last_ms else None
        self.orders += 1
        this = Counted(event.time_ms, self.orders, event.attributes, event.amount, gap_s)
        values = self.values(earlier, this)
        if not flag:
            self.users[event.user] = [*earlier, this]
        return flag, values

    def values(self, earlier, this):
        """Return every feature of `this`, given the user's earlier events."""
        everything = [*earlier, this]
        now_ms = max(e.time_ms for e in everything)
        history = sorted(everything, key=lambda e: (e.time_ms, e.order))[-24:]
        before = sorted(earlier, key=lambda e: (e.time_ms, e.order))[-24:]
        values = {}
        for window_s, name in zip(self.config.windows_s, self.names(), strict=True):
            pane_ms = window_s * 1000 // 5
            start_ms = (now_ms // pane_ms - 5) * pane_ms
            covered = [e for e in everything if e.time_ms >= start_ms]
            values[f"event_count_{name}"] = len(covered)
            values[f"amount_sum_{name}"] = math.fsum(e.amount for e in covered if not math.isnan(e.amount))
            past = [e for e in earlier if e.time_ms >= start_ms]
            amounts = [math.log1p(e.amount) for e in past if not math.isnan(e.amount)]
            gaps = [math.log1p(e.gap_s) for e in past if e.gap_s is not None]
            amount = None if math.isnan(this.amount) else this.amount
            values[f"amount_deviation_{name}"] = self.deviation(amount, amounts)
            values[f"gap_deviation_{name}"] = self.deviation(this.gap_s, gaps)
            recent = [e for e in history if e.time_ms > now_ms - window_s * 1000]
            for a, attribute in enumerate(ATTRIBUTES):
                counts = Counter(e.attributes[a] for e in recent if e.attributes[a])
                total = counts.total()
                values[f"{attribute}_entropy_{name}"] = -sum(c / total * math.log(c / total) for c in counts.values())
                values[f"{attribute}_distinct_{name}"] = len(counts)
        for a, attribute in enumerate(("ip", "device", "counterparty")):
            value = this.attributes[a]
            new = value != 0 and bool(earlier) and value not in [e.attributes[a] for e in before]
            values[f"{attribute}_novelty"] = float(new)
        return values

    def names(self):
        """Return the windows' names, for the windows the tests use."""
        known = {10: "10s", 60: "1m", 600: "10m", 3600: "1h", 86400: "24h"}
        return [known[window_s] for window_s in self.config.windows_s]

    def deviation(self, value, logs):
        """Return how many sample standard deviations (at least 0.1) log1p(value) lies above the mean."""
        if value is None or len(logs) < self.config.min_history:
            return 0.0
        return (math.log1p(value) - fmean(logs)) / max(stdev(logs), 0.1)
