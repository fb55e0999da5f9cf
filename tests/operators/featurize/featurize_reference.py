"""Slow and obvious: what the featurize stage promises, from lists of all events ever seen. Shares no code with it."""

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, stdev

import numpy as np

from operators.batches import ATTRIBUTES, Decoded, Own, Span
from operators.featurize import FeaturizeConfig


@dataclass(frozen=True)
class Event:
    """One event; attributes are 0 and amount is NaN where absent."""

    user: int
    id_hash: int
    time_ms: int
    attributes: tuple[int, int, int, int] = (0, 0, 0, 0)
    amount: float = math.nan
    own: tuple[float | int, ...] = ()
    """What each declared feature follows: a number, NaN for none; a value of `distinct` and `entropy`, 0 for none."""


def decoded(events, first=0, declared=()):
    """Return events as the column batch of one partition.

    Args:
        events: the events.
        first: offset of the first.
        declared: the declared features that `Event.own` is about.
    """
    n = len(events)
    discrete = [feature.operation in ("distinct", "entropy") for feature in declared]
    followed = [[x for x, _ in zip(event.own, declared, strict=True)] for event in events]
    numbers = [[math.nan if d else x for d, x in zip(discrete, row, strict=True)] for row in followed]
    values = [[x if d else 0 for d, x in zip(discrete, row, strict=True)] for row in followed]
    shape = (n, len(declared))
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
        own=Own(np.array(numbers, np.float64).reshape(shape), np.array(values, np.uint64).reshape(shape))
        if declared
        else None,
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
    new: bool  # its counterparty, when it came
    own: tuple[float | int, ...]


class Reference:
    """Featurize, event by event, from complete histories."""

    def __init__(self, config, declared=()):
        self.config, self.declared = config, declared
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
        before = sorted(earlier, key=lambda e: (e.time_ms, e.order))[-24:]
        new = bool(earlier) and 0 != event.attributes[2] not in [e.attributes[2] for e in before]
        this = Counted(event.time_ms, self.orders, event.attributes, event.amount, gap_s, new, event.own)
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
        longest_ms, name = self.config.windows_s[-1] * 1000, self.names()[-1]
        recent = [e for e in history if e.time_ms > now_ms - longest_ms]
        gaps = [later.time_ms - sooner.time_ms for sooner, later in pairwise(recent)]
        values[f"gap_variation_{name}"], values[f"gap_entropy_{name}"] = rhythm(gaps)
        values["hour_deviation"] = hour_deviation(earlier, this)
        counterparties = [e.new for e in recent if e.attributes[2]]
        values[f"counterparty_new_share_{name}"] = fmean(counterparties) if counterparties else 0.0
        alike = [e for e in before if e.time_ms > now_ms - longest_ms and e.amount == this.amount]
        values[f"amount_repeats_{name}"] = len(alike)
        for k, feature in enumerate(self.declared):
            values[feature.name] = declared_value(feature, k, earlier, this)
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


def shannon(values):
    """Return the entropy of the empirical distribution, in nats."""
    total = len(values)
    return -sum(c / total * math.log(c / total) for c in Counter(values).values())


def rhythm(gaps_ms):
    """Return variation and entropy of gaps, in whole milliseconds."""
    if len(gaps_ms) < 5:
        return 1.0, 1.0
    variation = stdev(gaps_ms) / fmean(gaps_ms) if any(gaps_ms) else 0.0
    return variation, shannon([gap.bit_length() for gap in gaps_ms]) / math.log(len(gaps_ms))


def hour_deviation(earlier, this):
    """Return how much rarer the event's hour is than evenly spread hours, in nats, from the active hours so far."""
    hours, newest = [0] * 24, None
    for event in sorted(earlier, key=lambda e: e.order):
        active = event.time_ms // 3_600_000
        if newest is None or active > newest:
            if sum(hours) == 255:
                hours = [count // 2 for count in hours]
            hours[active % 24] += 1
        newest = active if newest is None else max(newest, active)
    h = this.time_ms // 3_600_000 % 24
    near = hours[h - 1] + hours[h] + hours[(h + 1) % 24]
    return max(0.0, -math.log((near + 1) / (sum(hours) + 8) * 8))


def declared_value(feature, k, earlier, this):
    """Return a declared feature's value at `this`, given the user's earlier events."""
    everything = [*earlier, this]
    now_ms, window_ms = max(e.time_ms for e in everything), feature.window_s * 1000
    if feature.operation in ("distinct", "entropy"):
        followed = sorted((e for e in everything if e.own[k]), key=lambda e: (e.time_ms, e.order))[-24:]
        values = [e.own[k] for e in followed if e.time_ms > now_ms - window_ms]
        return len(set(values)) if feature.operation == "distinct" else shannon(values)
    if feature.operation == "gap":
        newest_ms = max((e.time_ms for e in earlier if not math.isnan(e.own[k])), default=-math.inf)
        return min(now_ms - newest_ms, window_ms) / 1000
    pane_ms = window_ms // 5
    start_ms = (now_ms // pane_ms - 5) * pane_ms
    numbers = [e.own[k] for e in everything if e.time_ms >= start_ms and not math.isnan(e.own[k])]
    if feature.operation in ("mean", "max") and not numbers:
        return feature.limits[1] if feature.direction == "down" else feature.limits[0]
    return {"count": len, "sum": math.fsum, "mean": fmean, "max": max}[feature.operation](numbers)
