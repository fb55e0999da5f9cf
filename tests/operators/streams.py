"""Streams of input for tests: seeded people with habits, garbage, and Hypothesis strategies.

Nothing here is drawn without a seed, and event times start at a fixed instant.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from operators.batches import ATTRIBUTES, Decoded, Messages, Span

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY_MS = 86_400_000

Event = dict[str, Any]

GARBAGE: tuple[bytes | None, ...] = (
    None,
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b'"text"',
    b"[" * 10_000,
    b'{"a":' * 10_000,
    b'{"id":"x"}',
    b'{"id":"","timestamp":1767225600000,"user":"u","type":"t"}',
    b'{"id":"x","timestamp":1767225600000,"user":"","type":"t"}',
    b'{"id":1,"timestamp":1767225600000,"user":"u","type":"t"}',
    b'{"id":"x","timestamp":"yesterday","user":"u","type":"t"}',
    b'{"id":"x","timestamp":1e400,"user":"u","type":"t"}',
    b'{"id":"x","timestamp":123456789012345678901234567890,"user":"u","type":"t"}',
    b'{"id":"x","timestamp":1767225600000,"user":"u","type":"t","amount":NaN}',
    b'{"id":"x","timestamp":1767225600000,"user":"u","type":"t","amount":1e400}',
    b'{"id":"x","timestamp":1767225600000,"user":"u","type":"t","amount":-1}',
    b'{"id":"x","timestamp":1767225600000,"user":"u","type":"t","amount":"12"}',
    b'{"id":"x","timestamp":4102444800000,"user":"u","type":"t"}',  # the year 2100
    b'{"id":"\xc3\x28","timestamp":1767225600000,"user":"u","type":"t"}',  # invalid UTF-8 inside a string
)
"""Values that no decoder may accept, each in a way of its own."""


def habits(
    seed: int,
    n: int,
    *,
    users: int = 20,
    start_ms: int = START_MS,
    gap_ms: int = 20_000,
    jitter_ms: int = 0,
    repeated: float = 0.0,
    late: float = 0.0,
    bursts: float = 0.0,
) -> list[Event]:
    """Return `n` events of people with habits, in the order they arrive.

    Args:
        seed: of everything that is drawn.
        n: number of events.
        users: how many people; the first are the busiest.
        start_ms: event time of the first.
        gap_ms: mean time from one event to the next, over all people.
        jitter_ms: event times run up to this far behind the stream.
        repeated: share of events that repeat an earlier one of the last fifty, `id` and all.
        late: share of events that are two days behind the stream.
        bursts: share of events that open a burst of ten by one person, at new places and with large amounts.
    """
    rng = np.random.default_rng(seed)
    events: list[Event] = []
    now = float(start_ms)
    burst_left, burst_user = 0, 0
    while len(events) < n:
        i = len(events)
        now += rng.exponential(gap_ms if burst_left == 0 else gap_ms / 50)
        if events and rng.random() < repeated:
            events.append(dict(events[int(rng.integers(max(0, i - 50), i))]))
            continue
        if burst_left == 0 and rng.random() < bursts:
            burst_left, burst_user = 10, int(rng.integers(users))
        user = burst_user if burst_left else int(users * rng.random() ** 2)
        behind = 2 * DAY_MS if rng.random() < late else int(rng.integers(jitter_ms + 1))
        event: Event = {
            "id": f"e{seed}-{i}",
            "timestamp": int(now) - behind,
            "user": f"user-{user}",
            "type": str(rng.choice(["login", "view", "pay"], p=[0.2, 0.5, 0.3])),
        }
        if event["type"] == "pay":
            event["amount"] = round(float(rng.lognormal(3 + user % 3, 0.4)) * (20 if burst_left else 1), 2)
            event["counterparty"] = f"shop-{int(rng.integers(400 if burst_left else 3))}"
            event["fields"] = {"method": ("card", "sepa", 7)[i % 3], "basket": {"items": i % 5 or "none"}}
        if rng.random() < 0.9:
            event["ip"] = f"10.{user % 250}.0.{int(rng.integers(200 if burst_left else 2))}"
        if rng.random() < 0.8:
            event["device"] = f"device-{user}-{int(rng.integers(50 if burst_left else 1))}"
        burst_left = max(0, burst_left - 1)
        events.append(event)
    return events


def messages(
    events: Sequence[Event | bytes | None],
    *,
    partition: int = 0,
    first: int = 0,
    topic: str = "events",
) -> Messages:
    """Return events, or raw values, as the records of one batch.

    A record's own timestamp is the largest event time so far, as of a broker whose clock is right.
    """
    values = [json.dumps(event).encode() if isinstance(event, dict) else event for event in events]
    timestamps_ms, newest = [], START_MS
    for event in events:
        if isinstance(event, dict) and isinstance(event.get("timestamp"), int):
            newest = max(newest, event["timestamp"])
        timestamps_ms.append(newest)
    keys = [event["user"].encode() if isinstance(event, dict) and "user" in event else b"k" for event in events]
    n = len(values)
    return Messages(
        Span(partition, first, first + n), topic, values, keys, list(range(first, first + n)), timestamps_ms
    )


def with_garbage(events: Sequence[Event], seed: int, share: float = 0.1) -> list[Event | bytes | None]:
    """Return the events with values of `GARBAGE` strewn in."""
    rng = np.random.default_rng(seed)
    strewn: list[Event | bytes | None] = []
    for event in events:
        while rng.random() < share:
            strewn.append(GARBAGE[int(rng.integers(len(GARBAGE)))])
        strewn.append(event)
    return strewn


def bits(text: str) -> int:
    """Return 64 bits of a text, never 0: a stand-in for a pseudonym where no key matters."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def decoded(events: Sequence[Event], *, partition: int = 0, first: int = 0, topic: str = "events") -> Decoded:
    """Return well-formed events as columns, without the decode stage."""
    n = len(events)
    return Decoded(
        span=Span(partition, first, first + n),
        topic=topic,
        offsets=np.arange(first, first + n, dtype=np.int64),
        time_ms=np.array([event["timestamp"] for event in events], np.int64),
        ids=[event["id"] for event in events],
        users=[f"h1:{bits(event['user']):016x}" for event in events],
        user=np.array([bits(event["user"]) for event in events], np.uint64),
        id_hash=np.array([bits(f"{event['user']}\0{event['id']}") for event in events], np.uint64),
        attributes=np.array(
            [[bits(f"{name}:{event[name]}") if event.get(name) else 0 for name in ATTRIBUTES] for event in events],
            np.uint64,
        ).reshape(n, len(ATTRIBUTES)),
        amount=np.array([event.get("amount", math.nan) for event in events], np.float64),
        rejected=[],
    )


def strategy_events(max_size: int = 60, users: int = 4, start_ms: int = START_MS) -> st.SearchStrategy[list[Event]]:
    """Draw events that lean towards trouble: equal times, steps back, repeated ids, jumps, absent attributes."""
    steps = st.one_of(st.integers(0, 60_000), st.sampled_from([0, 1, -1, -30_000, -2 * DAY_MS, DAY_MS, 40 * DAY_MS]))
    optional = st.fixed_dictionaries(
        {},
        optional={
            "amount": st.one_of(st.floats(0, 1e6), st.sampled_from([0.0, 1e-300, 1e300])),
            "ip": st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
            "device": st.sampled_from(["d1", "d2"]),
            "counterparty": st.sampled_from(["c1", "c2", "c3"]),
        },
    )
    drawn = st.tuples(steps, st.integers(0, users - 1), st.integers(0, 30), st.sampled_from(["login", "pay"]), optional)

    def build(rows: list[tuple[int, int, int, str, Event]]) -> list[Event]:
        now, events = start_ms, []
        for step, user, number, kind, rest in rows:
            now = max(start_ms - 3 * DAY_MS, now + step)
            events.append({"id": f"e{number}", "timestamp": now, "user": f"user-{user}", "type": kind, **rest})
        return events

    return st.lists(drawn, max_size=max_size).map(build)


def strategy_values(max_size: int = 60, start_ms: int = START_MS) -> st.SearchStrategy[list[Event | bytes | None]]:
    """Draw events with garbage among them: known garbage, any bytes, any JSON."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode())
    garbage = st.one_of(st.sampled_from(GARBAGE), st.binary(max_size=30), anything)

    def strew(events: list[Event], places: list[tuple[int, bytes | None]]) -> list[Event | bytes | None]:
        strewn: list[Event | bytes | None] = list(events)
        for place, value in places:
            strewn.insert(place % (len(strewn) + 1), value)
        return strewn

    places = st.lists(st.tuples(st.integers(0, 1000), garbage), max_size=max_size // 4)
    return st.builds(strew, strategy_events(max_size, start_ms=start_ms), places)


def strategy_cuts(first: int, end: int) -> st.SearchStrategy[list[int]]:
    """Draw places to cut a stream of the offsets `first` to `end`."""
    return st.lists(st.integers(first, end), max_size=12)
