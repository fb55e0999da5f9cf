"""The peer's process: per-event Bytewax with its own Kafka operators, Python windows, River's forest and filter.

What a competent user would write without Tidegate, each choice in favour of speed: typed msgspec decoding, a cache
before the pseudonyms, O(1) running sums per window, `stateful_batch` (cheaper than `stateful_map`), no recovery store,
no late events, no dead letters, no transactions. Features: per window of 1 min, 10 min, 1 h and 24 h the count, the sum
of amounts, and each attribute's distinct values and entropy; and the deviation of the gap from the user's own history:
17 with one attribute, 41 with the risk flow's four.

Usage: peer_flow.py BOOTSTRAP SOURCE TARGET EVENTS ATTRIBUTE... Stops after that many answers. Prints one JSON line.
"""

import gc
import json
import math
import os
import sys
import time
from collections import deque
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import msgspec
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import run_main
from river import anomaly

KEY = b"a key for benchmarks only"
WINDOWS_MS = (60_000, 600_000, 3_600_000, 86_400_000)
XLOGX = [0.0, *(count * math.log(count) for count in range(1, 1 << 17))]
"""More than one user's events of a day: the table saves the logarithms."""


class Event(msgspec.Struct, gc=False):
    """What is read of an event."""

    id: str
    timestamp: int
    user: str
    type: str
    amount: float = 0.0
    ip: str = ""
    device: str = ""
    counterparty: str = ""
    values: tuple[str, ...] = ()  # of the attributes that are looked at


class Scored(msgspec.Struct, gc=False):
    """What is written."""

    id: str
    timestamp: int
    user: str
    score: float
    tier: str
    features: dict[str, float]


def limits(attributes: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """What the features reach: outside its limits the forest saturates."""
    found = {"gap_deviation": (-8.0, 8.0)}
    for length in WINDOWS_MS:
        root = math.sqrt(length / 60_000)
        found |= {f"count_{length}": (0.0, math.log1p(100 * root)), f"sum_{length}": (0.0, math.log1p(100_000 * root))}
        found |= {f"{each}_distinct_{length}": (0.0, math.log1p(2_000)) for each in attributes}
        found |= {f"{each}_entropy_{length}": (0.0, math.log(2_000)) for each in attributes}
    return found


class Values:
    """How often each value of one attribute occurs in a window; entropy is ln n - (sum of c ln c) / n."""

    __slots__ = ("clogc", "counts", "distinct", "entropy")

    def __init__(self, attribute: str, length_ms: int) -> None:
        self.distinct, self.entropy = f"{attribute}_distinct_{length_ms}", f"{attribute}_entropy_{length_ms}"
        self.clogc = 0.0
        self.counts: dict[str, int] = {}

    def add(self, value: str) -> None:
        had = self.counts.get(value, 0)
        self.counts[value] = had + 1
        self.clogc += XLOGX[had + 1] - XLOGX[had]

    def drop(self, value: str) -> None:
        had = self.counts[value]
        self.clogc += XLOGX[had - 1] - XLOGX[had]
        if had > 1:
            self.counts[value] = had - 1
        else:
            del self.counts[value]


class Window:
    """Running sums of one user's last `length_ms`; `head` is its oldest event's place in the user's list."""

    __slots__ = ("amount", "attributes", "count", "counted", "head", "length_ms", "summed")

    def __init__(self, attributes: tuple[str, ...], length_ms: int) -> None:
        self.length_ms = length_ms
        self.head = self.count = 0
        self.amount = 0.0
        self.attributes = [Values(each, length_ms) for each in attributes]
        self.counted, self.summed = f"count_{length_ms}", f"sum_{length_ms}"


class User(StatefulBatchLogic[Event, Any, None]):
    """One user's windows: each event is kept once, each window has its own place in the list."""

    def __init__(self, attributes: tuple[str, ...]) -> None:
        self.kept: deque[tuple[int, float, tuple[str, ...]]] = deque()
        self.windows = [Window(attributes, length) for length in WINDOWS_MS]
        self.last_ms = self.gaps = 0
        self.mean = self.squares = 0.0

    def on_batch(self, values: list[Event]) -> tuple[list[tuple[Event, dict[str, float]]], bool]:
        return [(event, self.features(event)) for event in values], False

    def features(self, event: Event) -> dict[str, float]:
        now, amount, values, kept = event.timestamp, event.amount, event.values, self.kept
        kept.append((now, amount, values))
        found = {}
        for window in self.windows:
            window.count += 1
            window.amount += amount
            for attribute, value in zip(window.attributes, values):  # noqa: B905  equal by construction; checks cost
                attribute.add(value)
            after = now - window.length_ms
            while (oldest := kept[window.head])[0] <= after:
                window.head += 1
                window.count -= 1
                window.amount -= oldest[1]
                for attribute, value in zip(window.attributes, oldest[2]):  # noqa: B905  as above
                    attribute.drop(value)
            found[window.counted] = math.log1p(window.count)
            found[window.summed] = math.log1p(max(0.0, window.amount))
            log_count = math.log(window.count)
            for attribute in window.attributes:
                found[attribute.distinct] = math.log1p(len(attribute.counts))
                found[attribute.entropy] = log_count - attribute.clogc / window.count
        gone = self.windows[-1].head  # what the longest window has left behind
        if gone:
            for _ in range(gone):
                kept.popleft()
            for window in self.windows:
                window.head -= gone
        found["gap_deviation"] = self.gap(now)
        return found

    def gap(self, now: int) -> float:
        """Deviation of the gap's logarithm from the earlier ones; Welford's running mean and variance."""
        deviation = 0.0
        if self.last_ms:
            gap = math.log1p(max(0, now - self.last_ms))
            if self.gaps > 2 and self.squares > 0:
                deviation = (gap - self.mean) / math.sqrt(self.squares / self.gaps)
            self.gaps += 1
            step = gap - self.mean
            self.mean += step / self.gaps
            self.squares += step * (gap - self.mean)
        self.last_ms = now
        return deviation

    def snapshot(self) -> None:
        """Never asked: there is no recovery store."""


class Counted(KafkaSink):
    """Bytewax's sink; ends the process once enough is in the log."""

    def __init__(self, bootstrap: str, topic: str, expected: int, began: list[tuple[float, float]]) -> None:
        super().__init__([bootstrap], topic)
        self.expected, self.began = expected, began

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Any:
        part = super().build(step_id, worker_index, worker_count)
        write, written = part.write_batch, 0

        def write_batch(items: list[Any]) -> None:
            nonlocal written
            write(items)  # flushes
            written += len(items)
            if written >= self.expected:
                wall, cpu = self.began[0]
                taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
                print(json.dumps({"records": written, **taken}), flush=True)
                os._exit(0)

        part.write_batch = write_batch
        return part


def main() -> None:
    bootstrap, source, target, expected, *rest = sys.argv[1:]
    attributes = tuple(rest)
    named = [each for each in attributes if each != "type"]  # a type names nobody
    read_event, write_scored = msgspec.json.Decoder(Event).decode, msgspec.json.Encoder().encode
    began: list[tuple[float, float]] = []
    forest = anomaly.QuantileFilter(
        anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=1000, limits=limits(attributes), seed=1),
        q=0.99,
        protect_anomaly_detector=False,
    )
    score_one, learn_one = forest.anomaly_detector.score_one, forest.anomaly_detector.learn_one
    classify, rank = forest.classify, forest.quantile.update

    @lru_cache(65_536)
    def pseudonym(value: str) -> str:
        return "h1:" + blake2b(value.encode(), digest_size=16, key=KEY).hexdigest()

    one = attrgetter(*attributes)
    values_of = one if len(attributes) > 1 else lambda event: (one(event),)

    def decode(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, Event]:
        if not began:
            began.append((time.perf_counter(), time.process_time()))
        event = read_event(message.value)
        event.user = pseudonym(event.user)
        for each in named:
            setattr(event, each, pseudonym(getattr(event, each)))
        event.values = values_of(event)
        return event.user, event

    def score(item: tuple[str, tuple[Event, dict[str, float]]]) -> KafkaSinkMessage[bytes, bytes]:
        user, (event, features) = item
        # As the filter's `learn_one` does, but the score is worked out once, not twice.
        value = score_one(features)
        learn_one(features)
        tier = "high" if classify(value) else "low"
        rank(value)
        line = write_scored(Scored(event.id, event.timestamp, user, value, tier, features))
        return KafkaSinkMessage(user.encode(), line, timestamp=event.timestamp)

    flow = Dataflow("peer")
    config = {"fetch.queue.backoff.ms": "5"}
    messages = kop.input("read", flow, brokers=[bootstrap], topics=[source], add_config=config)
    events = op.map("decode", messages.oks, decode)
    featured = op.stateful_batch("featurize", events, lambda _: User(attributes))
    scored = op.map("score", featured, score)
    op.output("write", scored, Counted(bootstrap, target, int(expected), began))
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as Tidegate does
    run_main(flow)


if __name__ == "__main__":
    main()
