"""What a ranked list costs: in the process, stage by stage, and over a real broker, alone and beside interactions.

`python benchmarks/ranking_flow.py [--items 100000] [--users 1000000] [--requests 2000] [--no-broker]` prints
milliseconds of requests with 100 candidates, one by one, from the record to its answers, all steps after the ranker on
(300 trees of 31 leaves), by the clock and of the processor alone, for on a busy machine a process waits its turn;
memory; then requests a second of a backlog, and milliseconds from a request's publication to its answer at a
read-committed reader, while interactions are idle and while 2,000 a second come.
"""

import argparse
import random
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "operators"))

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from ranked_shop import NOW, catalogue, interaction, request, wire
from uplift_records import uplift

from benchmarks.kafka import PARTITIONS, ROOT, Kafka, create, environment, free_ports
from flows import ranking
from flows.commands.run import calm_collector
from flows.settings import load_settings
from operators.batches import Messages, Span
from operators.rank import sealed
from operators.rank.model import encoded
from operators.side import Side, TakesSides
from schemas.ranker import Ranker, Trees

KEY = {"TIDEGATE_PSEUDONYM_KEY": "a key for benchmarks only"}
SETTINGS = {
    "TIDEGATE_RANKING__UPLIFT": "true",
    "TIDEGATE_RANKING__RECALL__CATALOGUE__RISK_FIELD": "risk",
    "TIDEGATE_RANKING__RECALL__CATALOGUE__OFFER_FIELD": "offer",
    "TIDEGATE_RANKING__RECALL__CATALOGUE__GROUPS": '[{"name":"small","field":"seller","values":["small"]}]',
    "TIDEGATE_RANKING__RERANK__UPLIFT": '{"experiment":"x","weight":0.3}',
    "TIDEGATE_RANKING__RERANK__RISK": '{"strength":0.8}',
    "TIDEGATE_RANKING__RERANK__FAIRNESS": '{"kind":"top_k","group":"small","p":0.4}',
}
STEPS = ("notice", "recall", "rank", "rerank", "judge", "encode")
CANDIDATES, BATCH = 100, 5_000
WRITTEN = ("ranking.results", "ranking.served", "ranking.quality", "dead-letters", "audit")
TOPICS = (
    "ranking.requests", "interactions", "uplift", "ranking.catalogue", "ranking.models", "ranking.snapshots",
    "ranking.journal", *WRITTEN,
)  # fmt: skip


def model(names: tuple[str, ...], trees: int = 300, leaves: int = 31) -> bytes:
    """A ranker of random trees over all features."""
    rng = np.random.default_rng(1)
    left, right = np.empty((trees, leaves - 1), np.int32), np.empty((trees, leaves - 1), np.int32)
    for tree in range(trees):
        open_: list[tuple[int, Any]] = [(0, None)]
        for node in range(leaves - 1):
            parent, side = open_.pop(int(rng.integers(len(open_))))
            if side is not None:
                side[tree, parent] = node
            open_ += [(node, left), (node, right)]
        for leaf, (parent, side) in enumerate(open_):
            side[tree, parent] = -1 - leaf
    n = trees * (leaves - 1)
    arrays = Trees(
        nodes=np.arange(0, n + 1, leaves - 1, dtype="<i4").tobytes(),
        leaves=np.arange(0, trees * leaves + 1, leaves, dtype="<i4").tobytes(),
        feature=rng.integers(0, len(names), n).astype("<i4").tobytes(),
        threshold=(rng.random(n) * 10).astype("<f8").tobytes(),
        missing_left=np.ones(n, np.uint8).tobytes(),
        left=left.astype("<i4").tobytes(),
        right=right.astype("<i4").tobytes(),
        value=rng.normal(0, 0.01, trees * leaves).astype("<f8").tobytes(),
    )
    record = Ranker(
        version="bench", timestamp=NOW, features=names, trees=arrays, curve=(-1.0, 1.0), probability=(0.01, 0.2)
    )
    return encoded(sealed(record))


def asked(number: int, rng: random.Random, items: int, users: int, time_ms: int) -> dict[str, Any]:
    """A request with 100 candidates, or none: then they are found."""
    given = [f"item-{at}" for at in rng.sample(range(items), CANDIDATES)]
    return request(number, f"user-{rng.randrange(users)}", time_ms, items=given, count=20)


def side(topic: str, pairs: list[tuple[bytes, bytes]], first: int = 0) -> Side:
    """Records of a topic beside the input."""
    n = len(pairs)
    offsets = list(range(first, first + n))
    return Side(0, topic, 0, first, first + n, [v for _, v in pairs], [k for k, _ in pairs], offsets, [NOW] * n)


def chunks(those: Iterator[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Cut records into batches."""
    found: list[tuple[bytes, bytes]] = []
    for each in those:
        found.append(each)
        if len(found) == BATCH:
            yield found
            found = []
    yield found


def resident(pid: str = "self") -> float:
    """Return the bytes of a process that are in memory, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def shown(name: str, seconds: list[float]) -> None:
    middle, late, worst = np.percentile(np.array(seconds) * 1_000, [50, 99, 100])
    print(f"    {name:28s} p50 {middle:8.2f} ms   p99 {late:8.2f} ms   most {worst:8.2f} ms")


def in_process(items: int, users: int, requests: int) -> None:
    """Time requests one by one, through all stages."""
    settings = load_settings(None, KEY | SETTINGS, needs_key=True)
    ranking.warm_up(settings)
    fresh, rng = ranking.Stages(settings), random.Random(1)
    stages: list[Any] = [getattr(fresh, step)(0) for step in STEPS]
    before = resident()

    def show(one: Side) -> None:
        for each in stages:
            if isinstance(each, TakesSides):
                each.take_side(one)

    began = time.perf_counter()
    for pairs in chunks(catalogue(at, clicks=float(rng.randrange(200))) for at in range(items)):
        show(side("ranking.catalogue", pairs))
    told = time.perf_counter() - began
    print(f"{items:,} items read in {told:.1f} s ({1e6 * told / items:.0f} us each)")
    began, n = time.perf_counter(), 2 * users
    clicks = (
        (b"k", wire(interaction(at, f"user-{at % users}", f"item-{rng.randrange(items)}", NOW + at // 100)))
        for at in range(n)
    )
    spent = 0.0
    for pairs in chunks(clicks):
        one = side("interactions", pairs)
        start = time.process_time()
        show(one)
        spent += time.process_time() - start
    print(f"{n:,} interactions of {users:,} users ({1e6 * spent / n:.1f} us each)")
    show(side("ranking.models", [(b"ranker", model(fresh.recall(0).names))]))
    show(side("uplift", [(b"x/coupon/all", msgspec.json.encode(uplift("coupon", effect=0.5)))]))
    calm_collector()
    print(f"memory: {resident():,.0f} MB, {before:,.0f} of them before the first record")
    for what in ("100 candidates given", "candidates found"):
        times: dict[str, list[float]] = {step: [] for step in STEPS}
        clock: list[float] = []
        for number in range(requests):
            time_ms = NOW + n // 100 + 50 * number
            record = asked(number, rng, items, users, time_ms)
            if what.endswith("found"):
                del record["items"]
            answer: Any = Messages(
                Span(0, number, number + 1), ranking.INPUT, [wire(record)], [b"k"], [number], [time_ms]
            )
            began = time.perf_counter()
            for step, each in zip(STEPS, stages, strict=True):
                start = time.thread_time()
                answer = each.process(answer)
                times[step].append(time.thread_time() - start)
            clock.append(time.perf_counter() - began)
        print(f"{what}, one by one, {requests:,} requests:")
        shown("by the clock", clock)
        shown("of the processor", [sum(parts) for parts in zip(*times.values(), strict=True)])
        for step in STEPS:
            shown(step, times[step])


def over_a_broker(items: int, users: int, requests: int) -> None:
    """Time a backlog, and single requests beside no and many interactions."""
    server, prefix, rng = Kafka().start(), f"b{uuid.uuid4().hex[:6]}.", random.Random(2)
    process = None
    try:
        create(server.bootstrap, prefix, TOPICS)
        producer = Producer({"bootstrap.servers": server.bootstrap, "linger.ms": 0})
        for at in range(items):
            key, value = catalogue(at, clicks=float(rng.randrange(200)))
            for partition in range(PARTITIONS):
                put(producer, f"{prefix}ranking.catalogue", value, key, partition, NOW)
        names = ranking.Stages(load_settings(None, KEY | SETTINGS, needs_key=True)).recall(0).names
        for partition in range(PARTITIONS):
            put(producer, f"{prefix}ranking.models", model(names), b"ranker", partition, NOW)
        for number in range(requests):
            record = asked(number, rng, items, users, NOW + number)
            put(producer, f"{prefix}ranking.requests", wire(record), b"k", number % PARTITIONS, NOW + number)
        producer.flush()
        port = free_ports(1)[0]
        settings = environment(
            server.bootstrap, prefix, **SETTINGS,
            TIDEGATE_METRICS__PORT=str(port), TIDEGATE_RANKING__GROUP=f"bench-{uuid.uuid4().hex}",
        )  # fmt: skip
        consumer = reader(server.bootstrap, f"{prefix}ranking.results")
        process = subprocess.Popen([sys.executable, "-m", "flows", "run", "ranking"], env=settings, cwd=ROOT)
        first = last = 0.0
        seen = 0
        while seen < requests:
            got = len(consumer.consume(10_000, 1.0))
            last = time.perf_counter() if got else last
            first = first or last
            seen += got
        behind = requests / max(last - first, 1e-9)
        print(
            f"a backlog of {requests:,} requests with 100 candidates: {behind:,.0f} a second, {PARTITIONS} partitions"
        )
        print(f"memory of the process: {resident(str(process.pid)):,.0f} MB for {PARTITIONS} x {items:,} items")
        for rate in (0, 2_000):
            stop = threading.Event()
            busy = threading.Thread(target=chatter, args=(server.bootstrap, prefix, rate, items, users, stop))
            busy.start()
            times = [
                answered(producer, consumer, prefix, asked(f"{rate}-{at}", rng, items, users, now_ms()), at)
                for at in range(300)
            ]
            stop.set()
            busy.join()
            shown(f"{rate:,} interactions a second", times)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert answer.status == 200
        consumer.close()
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        server.stop()


def now_ms() -> int:
    return int(time.time() * 1000)


def put(producer: Any, topic: str, value: bytes, key: bytes, partition: int, time_ms: int) -> None:
    while True:
        try:
            producer.produce(topic, value, key, partition, timestamp=time_ms)
            break
        except BufferError:
            producer.poll(0.1)
    producer.poll(0)


def reader(bootstrap: str, topic: str) -> Any:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    return consumer


def answered(producer: Any, consumer: Any, prefix: str, record: dict[str, Any], at: int) -> float:
    """Publish one request; return how long it takes until its answer is here."""
    began = time.perf_counter()
    put(producer, f"{prefix}ranking.requests", wire(record), b"k", at % PARTITIONS, record["timestamp"])
    while not consumer.consume(1, 5.0):
        pass
    found = time.perf_counter() - began
    time.sleep(0.02)
    return found


def chatter(bootstrap: str, prefix: str, rate: int, items: int, users: int, stop: threading.Event) -> None:
    """Publish interactions at about a rate until told to stop."""
    producer, rng, at = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5}), random.Random(3), 0
    while rate and not stop.wait(0.01):
        for _ in range(rate // 100):
            at += 1
            record = interaction(at, f"user-{rng.randrange(users)}", f"item-{rng.randrange(items)}", now_ms())
            put(producer, f"{prefix}interactions", wire(record), b"k", at % PARTITIONS, record["timestamp"])
    producer.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--broker-requests", type=int, default=10_000)
    parser.add_argument("--no-broker", action="store_true")
    arguments = parser.parse_args()
    in_process(arguments.items, arguments.users, arguments.requests)
    if not arguments.no_broker:
        over_a_broker(arguments.items, arguments.users, arguments.broker_requests)


if __name__ == "__main__":
    main()
