"""The Open Bandit sample on a real Kafka: signals are the counts of its table, and requests are answered."""

import csv
import gzip
import itertools
import json
import runpy
import sys
from collections import Counter

import pytest
from confluent_kafka import Producer
from harness import KEY, ROOT, Flow, read_committed

pytestmark = pytest.mark.broker

PARTITIONS = 2
REQUESTS = 300
SETTINGS = {
    # All seven days; every change is told.
    "TIDEGATE_INTERACTIONS__COUNT__WINDOWS_S": "[86400, 691200]",
    "TIDEGATE_INTERACTIONS__COMMIT_INTERVAL_MS": "100",
    "TIDEGATE_SIGNALS__COMMIT_INTERVAL_MS": "100",
    "TIDEGATE_SIGNALS__MERGE__CHANGE": "0.000001",
    "TIDEGATE_RANKING__RECALL__FEATURES__CANDIDATE_NUMBERS": '["affinity"]',
}


class Process(Flow):
    """One process of a flow of ranking."""

    def __init__(self, name, bootstrap, prefix, log):
        super().__init__(bootstrap, prefix, log, **SETTINGS, **{f"TIDEGATE_{name.upper()}__GROUP": f"{prefix}{name}"})
        self.command = [sys.executable, "-m", "flows", "run", name]


def values(bootstrap, topic):
    return [json.loads(value) for _, value, _ in itertools.chain(*read_committed(bootstrap, topic, PARTITIONS))]


def counted(path):
    """Return impressions and clicks of each item, from the published table."""
    shown, clicked = Counter(), Counter()
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            shown[f"item-{row['item_id']}"] += 1
            clicked[f"item-{row['item_id']}"] += int(row["click"])
    return {item: (n, clicked[item]) for item, n in shown.items()}


def test_signals_are_the_counts_of_the_table_and_every_request_is_answered_once(
    tidegate, settings, bootstrap, prefix, tmp_path, monkeypatch, real_data
):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY)
    monkeypatch.setenv("TIDEGATE_TOPICS__PARTITIONS", str(PARTITIONS))
    assert tidegate("topics", "create")[0] == 0
    log = real_data("obd_sample", "random", "all", "all.csv.gz")
    convert = runpy.run_path(str(ROOT / "examples" / "open_bandit.py"))["main"]
    files = {topic: tmp_path / topic for topic in ("items", "interactions", "ranking.requests")}
    convert(str(log), *map(str, files.values()))
    for topic, path in files.items():
        more = ["--limit", str(REQUESTS)] if topic == "ranking.requests" else []
        assert tidegate("publish", "--strict", "--topic", topic, *more, str(path))[0] == 0
    flows = [
        Process(name, bootstrap, prefix, tmp_path / f"{name}.log") for name in ("interactions", "signals", "ranking")
    ]
    for flow in flows:
        flow.start()
    for flow in flows:
        flow.wait_ready(240)
    producer, truth = Producer({"bootstrap.servers": bootstrap}), counted(log)
    last_ms = json.loads(files["interactions"].read_text().splitlines()[-1])["timestamp"]
    ticks = itertools.count(1)

    def told():
        # Signals name a stream time once: what changed at the last one is told at the next.
        when = last_ms + 1_000 * next(ticks)
        event = {"event": "interaction", "id": f"tick-{when}", "timestamp": when, "type": "tick", "item": "clock"}
        for partition in range(PARTITIONS):
            producer.produce(f"{prefix}interactions", json.dumps(event), b"clock", partition, timestamp=when)
        producer.flush(10)
        newest = {one["item"]: one["windows"][-1] for one in values(bootstrap, f"{prefix}ranking.signals")}
        found = {item: (one["impressions"], one["clicks"]) for item, one in newest.items() if item in truth}
        return found == truth

    flows[1]._wait(told, 120, "told what the table says")
    flows[2]._wait(
        lambda: len(values(bootstrap, f"{prefix}ranking.results")) >= REQUESTS, 60, f"done with {REQUESTS} requests"
    )
    answers = values(bootstrap, f"{prefix}ranking.results")
    assert Counter(one["id"] for one in answers) == Counter(f"row-{number}" for number in range(REQUESTS))
    assert {(len(one["items"]), one["candidates"]) for one in answers} == {(3, 80)}
    assert values(bootstrap, f"{prefix}dead-letters") == []
    for flow in flows:
        assert flow.terminate() == 0
