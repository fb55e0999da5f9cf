"""`tidegate run explanations` on a real Kafka: one explanation for every risky decision, also after kill -9."""

import itertools
import json
import sys
import zlib

import pytest
from harness import PARTITIONS, Flow, Sent, create_topics, publish, read_committed

from flows.demo.generator import Generator, GeneratorConfig

pytestmark = pytest.mark.broker

EVENTS = 9_000
RISKY = ("medium", "high", "critical")
QUICK = {"TIDEGATE_RISK__COMMIT_INTERVAL_MS": "50", "TIDEGATE_RISK__TIER__MEDIUM": "0.2"}


class Explanations(Flow):
    """One process of `tidegate run explanations`."""

    def __init__(self, bootstrap, prefix, log):
        super().__init__(bootstrap, prefix, log)
        self.group = f"{prefix}explanations"
        self.command = [sys.executable, "-m", "flows", "run", "explanations"]
        del self.environment["TIDEGATE_PSEUDONYM_KEY"]  # it needs none
        self.environment |= {
            "TIDEGATE_EXPLANATIONS__GROUP": self.group,
            "TIDEGATE_EXPLANATIONS__COMMIT_INTERVAL_MS": "20",
            "TIDEGATE_EXPLANATIONS__BATCH_MAX": "20",
        }

    def wait_explained(self, at_least):
        self._wait(lambda: count(self.bootstrap, self.prefix) >= at_least, 60, f"{at_least} explanations")


def count(bootstrap, prefix):
    return sum(map(len, read_committed(bootstrap, f"{prefix}risk.explanations")))


def told(bootstrap, topic):
    """Per partition: (id, offset, tier, key, time) of each record."""
    return [
        [
            (one["id"], one["offset"], one["tier"], key, time_ms)
            for key, value, time_ms in part
            if (one := json.loads(value))["tier"] in RISKY
        ]
        for part in read_committed(bootstrap, topic)
    ]


def test_every_risky_decision_is_explained_exactly_once_after_kill_9(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    config = GeneratorConfig(seed=5, users=400, out_of_order=0.02, duplicates=0.01, garbage=0.01)
    counts = publish(
        bootstrap,
        prefix,
        [
            Sent(each.value or None, each.key, each.timestamp_ms, zlib.crc32(each.key) % PARTITIONS)
            for each in itertools.islice(Generator(config).events(), EVENTS)
        ],
    )
    explanations = Explanations(bootstrap, prefix, tmp_path / "explanations").start()
    risk = Flow(bootstrap, prefix, tmp_path / "risk", **QUICK).start()
    explanations.wait_explained(20)
    explanations.kill()
    seen = count(bootstrap, prefix)
    risk.wait_answered(counts)
    assert risk.terminate() == 0
    decisions = told(bootstrap, f"{prefix}risk.tiers")
    explanations = Explanations(bootstrap, prefix, tmp_path / "explanations").start()
    explanations.wait_explained(sum(map(len, decisions)))
    assert explanations.terminate() == 0
    print("risky:", sum(map(len, decisions)), "explained when killed:", seen)

    assert sum(map(len, decisions)) > 500
    assert told(bootstrap, f"{prefix}risk.explanations") == decisions
    letters = [json.loads(value) for part in read_committed(bootstrap, f"{prefix}dead-letters") for _, value, _ in part]
    assert {letter["flow"] for letter in letters} == {"risk"}
