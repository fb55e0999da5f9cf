"""`tidegate run readouts` on a real Kafka: readouts and decisions, each decision once, also after kill -9."""

import itertools
import json
import random
import re
import sys
import time

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient
from harness import PARTITIONS, Flow, Sent, create_topics, publish, read_committed
from trials import DAY_MS, QUICK, START_MS, Trial, definition, drawn, growing, wire

from operators.audit import derive_key
from operators.partitioner import murmur2

pytestmark = pytest.mark.broker

AUDIT_KEY = derive_key(b"a key for tests only, 32 bytes..").hex()
ROUNDS = 40
OTHER = definition(id="other", minimum_run_s=0)
WAITING = definition(id="waiting", minimum_run_s=0)


class Readouts(Flow):
    """One process of `tidegate run readouts`."""

    def __init__(self, bootstrap, prefix, log):
        super().__init__(bootstrap, prefix, log)
        self.group = f"{prefix}readouts"
        self.command = [sys.executable, "-m", "flows", "run", "readouts"]
        del self.environment["TIDEGATE_PSEUDONYM_KEY"]  # it needs none
        self.environment |= {
            "TIDEGATE_AUDIT_KEY": f"hex:{AUDIT_KEY}",
            "TIDEGATE_READOUTS__GROUP": self.group,
            "TIDEGATE_READOUTS__COMMIT_INTERVAL_MS": "50",
            "TIDEGATE_READOUTS__SNAPSHOT_INTERVAL_S": "0.5",
            "TIDEGATE_READOUTS__BATCH_MAX": "7",
        }

    def wait_for(self, condition, what, timeout_s=90):
        self._wait(condition, timeout_s, what)


def place(name):
    return int(murmur2([name.encode()], PARTITIONS)[0])


def sent(part, at=0):
    return Sent(wire(part), part.experiment.encode(), START_MS + at, place(part.experiment))


def define(bootstrap, prefix, *definitions):
    """Write definitions into every partition, as `tidegate experiments apply` does."""
    records = [Sent(wire(of), of.id.encode(), START_MS, number) for of in definitions for number in range(PARTITIONS)]
    publish(bootstrap, prefix, records, "experiments.definitions")


def found(bootstrap, prefix, topic):
    """Return the records of all partitions, by experiment, in order."""
    by_name = {}
    for _, value, _ in itertools.chain(*read_committed(bootstrap, f"{prefix}experiments.{topic}")):
        one = json.loads(value)
        by_name.setdefault(one["experiment"], []).append(one)
    return by_name


def newest_units(bootstrap, prefix, name):
    """Return the units of the newest readout, 0 before there is one."""
    readouts = found(bootstrap, prefix, "readouts").get(name, [])
    return sum(readouts[-1]["sample_ratio"][0]["counts"]) if readouts else 0


def test_each_decision_is_said_once_however_often_the_flow_is_killed(
    bootstrap, prefix, tmp_path, tidegate, monkeypatch
):
    create_topics(bootstrap, prefix)
    define(bootstrap, prefix, QUICK, OTHER)
    ships, stops = growing(QUICK, ROUNDS, seed=1), growing(OTHER, ROUNDS, lift=-0.15, seed=2)
    stream = [sent(part) for pair in zip(ships, stops, strict=True) for part in pair]
    rng = random.Random(7)
    flow = Readouts(bootstrap, prefix, tmp_path / "log").start()
    kills = 0
    for first in range(0, len(stream), 24):
        publish(bootstrap, prefix, stream[first : first + 24], "experiments.parts")
        time.sleep(rng.uniform(0.0, 0.4))
        if first % 72 == 48:
            flow.wait_ready()
            time.sleep(rng.uniform(0.0, 1.0))
            flow.kill()
            kills += 1
            flow = Readouts(bootstrap, prefix, tmp_path / "log").start()
    units = ROUNDS * 3 * 60
    for name in ("button", "other"):
        flow.wait_for(lambda name=name: newest_units(bootstrap, prefix, name) == units, f"readout of {name}")
    flow.wait_ready()  # the one killed last may have done it all
    shown = flow.metric('tidegate_experiments_decided{decision="ship"')
    assert flow.terminate() == 0
    decided = found(bootstrap, prefix, "decisions")
    print("kills:", kills, {name: [each["decision"] for each in all_] for name, all_ in decided.items()})

    assert kills >= 3
    assert [each["decision"] for each in decided["button"]] == ["continue", "ship"]
    assert [each["decision"] for each in decided["other"]] == ["continue", "stop"]
    assert [each.get("before") for each in decided["button"]] == [None, "continue"]
    assert shown == 1
    monkeypatch.setenv("TIDEGATE_AUDIT_KEY", f"hex:{AUDIT_KEY}")
    monkeypatch.setenv("TIDEGATE_READOUTS__GROUP", flow.group)
    code, said, _ = tidegate("audit", "verify", "--from-start")
    assert code == 0, said
    assert said.count("whole") == len({place("button"), place("other")}), said
    heads = [re.findall(r"\d+:[0-9a-f]{12}", line) for line in said.splitlines() if "readouts-" in line]
    assert all(len(found) == 2 and found[0] == found[1] for found in heads), said  # on the topic, and committed
    trail = [json.loads(value) for _, value, _ in itertools.chain(*read_committed(bootstrap, f"{prefix}audit"))]
    assert sum(each["kind"] == "decision" for each in trail) == 4


def test_parts_wait_for_their_definition_and_what_cannot_be_read_is_a_dead_letter(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    rng = np.random.default_rng(3)
    parts = [sent(Trial(WAITING).add(drawn(rng, 900, 0.2)).part(START_MS + DAY_MS))]
    publish(bootstrap, prefix, [*parts, Sent(b"{", b"x", START_MS, 0)], "experiments.parts")
    flow = Readouts(bootstrap, prefix, tmp_path / "log").start()
    flow.wait_for(lambda: any(read_committed(bootstrap, f"{prefix}dead-letters")), "a dead letter")
    assert found(bootstrap, prefix, "readouts") == {}
    define(bootstrap, prefix, WAITING)
    flow.wait_for(lambda: newest_units(bootstrap, prefix, "waiting") == 900, "a readout")
    assert flow.terminate() == 0

    assert [each["decision"] for each in found(bootstrap, prefix, "decisions")["waiting"]] == ["ship"]
    ((_, letter, _),) = itertools.chain(*read_committed(bootstrap, f"{prefix}dead-letters"))
    assert json.loads(letter) | {"detail": "", "timestamp": 0} == {
        "schema": 1,
        "reason": "not_json",
        "detail": "",
        "topic": f"{prefix}experiments.parts",
        "partition": 0,
        "offset": json.loads(letter)["offset"],
        "timestamp": 0,
        "flow": "readouts",
    }


def test_without_the_topic_of_definitions_it_says_what_makes_it(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    topic = f"{prefix}experiments.definitions"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([topic])[topic].result()
    flow = Readouts(bootstrap, prefix, tmp_path / "log").start()

    assert flow.exit_code() == 1
    told = flow.log.read_text()
    assert f"there is no topic {topic}: `tidegate topics create` makes it" in told
    assert "= false" not in told
