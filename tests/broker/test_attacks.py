"""Attacks on a running flow: it stays healthy and small, says the truth about itself, and answers every offset once."""

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import pytest
import streams
from harness import PARTITIONS, Flow, Sent, create_topics, publish, read_committed

pytestmark = pytest.mark.broker

T0 = 1_760_000_000_000
MB = 1_000_000


class Watch:
    """Asks a flow how it is, ten times a second, until left."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.health: set[int] = set()
        self.ready: set[int] = set()
        self.lags: list[float] = []
        self.resident: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.1):
            self.health.add(self.flow.get("/healthz")[0])
            self.ready.add(self.flow.get("/readyz")[0])
            self.lags.append(self.flow.metric("tidegate_lag_records{"))
            self.resident.append(resident(self.flow))


def resident(flow: Flow) -> int:
    """Bytes of memory the flow's process has."""
    pages = int(Path(f"/proc/{flow.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def garbage(count: int) -> list[Sent]:
    bad = streams.GARBAGE
    return [Sent(bad[k // PARTITIONS % len(bad)], b"k", T0, k % PARTITIONS) for k in range(count)]


def answers(bootstrap: str, prefix: str, topic: str) -> list[list[int]]:
    return [[json.loads(value)["offset"] for _, value, _ in part] for part in read_committed(bootstrap, prefix + topic)]


@pytest.fixture
def running(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix, **{"max.message.bytes": "8000000"})
    return Flow(bootstrap, prefix, tmp_path / "log").start().wait_ready()


def test_garbage_alone_becomes_dead_letters_of_a_healthy_flow_that_does_not_grow(bootstrap, prefix, running):
    with Watch(running) as earlier:  # some 55 MB, nearly the reader's queue
        first = publish(bootstrap, prefix, garbage(20_000))
        running.wait_answered(first)

    with Watch(running) as watch:
        more = publish(bootstrap, prefix, garbage(40_000))
        counts = [a + b for a, b in zip(first, more, strict=True)]
        running.wait_answered(counts)
        time.sleep(1.5)  # the metrics of the stages are shown once a second

    letters = read_committed(bootstrap, f"{prefix}dead-letters")
    assert [[json.loads(value)["offset"] for _, value, _ in part] for part in letters] == [
        list(range(count)) for count in counts
    ]
    assert answers(bootstrap, prefix, "risk.tiers") == [[], []]
    assert (watch.health, watch.ready) == ({200}, {200})
    assert max(watch.resident) - max(earlier.resident) < 60 * MB  # 110 MB were read
    reasons = Counter(json.loads(value)["reason"] for part in letters for _, value, _ in part)
    assert len(reasons) >= 9
    for reason, count in reasons.items():
        assert running.metric(f'tidegate_records_rejected_total{{flow="risk",reason="{reason}"') == count


def test_large_garbage_is_held_by_the_queue_s_limit_and_not_by_how_much_there_is(bootstrap, prefix, running):
    junk = [b"x" * 1_048_000, b'{"id":"' + b"y" * 1_048_000, b"[" * 1_048_000]
    publish(bootstrap, prefix, garbage(2_000))
    running.wait_answered([1_000, 1_000])
    before = resident(running)
    assert running.terminate() == 0
    # It lies there when the flow comes back, so that nothing but the limits holds back how much is read ahead.
    publish(bootstrap, prefix, [Sent(junk[k % 3], b"k", T0, k % PARTITIONS) for k in range(300)])

    running.start()
    with Watch(running) as watch:
        running.wait_answered([1_150, 1_150])

    more = max(watch.resident) - before
    print(f"large garbage: {more / MB:.0f} MB more at most, of 314 MB read")
    assert more < 220 * MB
    assert answers(bootstrap, prefix, "dead-letters") == [list(range(1_150))] * 2


def test_a_burst_in_one_partition_is_seen_as_lag_and_answered_while_ready_stays_true(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    value = b'{"id":"%d","timestamp":%d,"user":"u%d","type":"login","amount":%d,"ip":"10.0.0.%d"}'
    count = 60_000
    publish(
        bootstrap,
        prefix,
        (Sent(value % (k, T0 + k, k % 997, k % 90, k % 250), b"u%d" % (k % 997), T0 + k, 0) for k in range(count)),
    )
    # Small batches: slower than a broker gives, so that there is something to see.
    flow = Flow(bootstrap, prefix, tmp_path / "log", TIDEGATE_RISK__BATCH_MAX="100").start().wait_ready()

    with Watch(flow) as watch:
        flow.wait_answered([count, 0])
        time.sleep(1.5)  # lag is told once a second

    assert answers(bootstrap, prefix, "risk.tiers") == [list(range(count)), []]
    assert answers(bootstrap, prefix, "dead-letters") == [[], []]
    assert (watch.health, watch.ready) == ({200}, {200})
    assert max(watch.lags) > 0
    assert watch.lags[-1] == 0
    assert flow.metric("tidegate_assigned_partitions") == 2
