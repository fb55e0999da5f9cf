"""The experiments flow on a real Kafka: the newcomer's path, kills at random, and what cannot be counted."""

import json
import random
import sys
import time
from collections import Counter

import msgspec
import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition
from harness import KEY, PARTITIONS, Flow, Sent, create_topics, publish, read_committed
from shoppers import BUTTON, NOW, WINDOW_S, by_hand, people, sums

from connectors import progress
from operators.partitioner import murmur2
from schemas.part import Part

pytestmark = pytest.mark.broker

QUICK = {
    "TIDEGATE_EXPERIMENTS__COMMIT_INTERVAL_MS": "50",
    "TIDEGATE_EXPERIMENTS__SNAPSHOT_INTERVAL_S": "3",
    "TIDEGATE_EXPERIMENTS__MERGE_WAIT_S": "0.5",
    "TIDEGATE_EXPERIMENTS__BATCH_MAX": "100",
    "TIDEGATE_EXPERIMENTS__ACCUMULATE__MAX_UNITS": "10000",
}
MONTH_MS = 30 * 86_400_000


class Experiments(Flow):
    """One process of the experiments flow."""

    def __init__(self, bootstrap, prefix, log, **settings):
        group = {"TIDEGATE_EXPERIMENTS__GROUP": f"{prefix}experiments"}
        super().__init__(bootstrap, prefix, log, **QUICK | group | settings)
        self.group = group["TIDEGATE_EXPERIMENTS__GROUP"]
        self.command = [sys.executable, "-m", "flows", "run", "experiments"]

    def wait_parts(self, true, what):
        """Wait until the newest parts are as they shall be; return them."""
        self._wait(lambda: true(newest(self.bootstrap, self.prefix)), 90, what)
        return newest(self.bootstrap, self.prefix)


def newest(bootstrap, prefix, partitions=PARTITIONS):
    """Return the newest part of each experiment and partition of exposures."""
    found = {}
    for number, records in enumerate(read_committed(bootstrap, f"{prefix}experiments.parts", partitions)):
        for key, value, _ in records:
            part = msgspec.json.decode(value, type=Part)
            assert murmur2([key], partitions)[0] == number, "all parts of an experiment lie in one partition"
            found[part.experiment, part.partition] = part
    return found


def total(parts):
    """Return the sums of all partitions together."""
    return sum(sums(part) for part in parts.values())


def sent(record):
    """A record keyed by its user, at its own time, on the partition of its key."""
    key = record["user"].encode()
    return Sent(json.dumps(record).encode(), key, record["timestamp"], int(murmur2([key], PARTITIONS)[0]))


def reached(flow):
    """Return the committed offset of each partition of exposures, and what stands beside it."""
    consumer = Consumer({"bootstrap.servers": flow.bootstrap, "group.id": flow.group})
    asked = [TopicPartition(f"{flow.prefix}exposures", number) for number in range(PARTITIONS)]
    found = consumer.committed(asked, timeout=20)
    consumer.close()
    return [(each.offset, progress.read(each.metadata)) for each in found]


def definitions():
    """The definition on every partition, as `tidegate experiments apply` writes it."""
    value = msgspec.json.encode(BUTTON)
    return [Sent(value, b"button", NOW, number) for number in range(PARTITIONS)]


def ticks(at_ms):
    tick = {"experiment_id": "tidegate.time", "variation_id": "tick", "user": "tidegate.time", "timestamp": at_ms}
    return [Sent(json.dumps(tick).encode(), b"tidegate.time", at_ms, number) for number in range(PARTITIONS)]


def closed(at_ms):
    """Tell whether all partitions have come to a time."""
    return lambda parts: len(parts) == PARTITIONS and all(part.timestamp >= at_ms for part in parts.values())


END = NOW + 3 * WINDOW_S * 1_000 + 1_200_000


@pytest.mark.usefixtures("topics")
def test_a_newcomer_publishes_files_and_finds_the_totals(tidegate, bootstrap, prefix, tmp_path):
    began = int(time.time() * 1000) - 3_600_000
    exposures, records = people(1, start_ms=began + 1)
    definition = tmp_path / "button.toml"
    definition.write_text(
        'id = "button"\nvariations = ["control", "green"]\nattribution_window_s = 600\nminimum_run_s = 0\nmde = 0.1\n'
        f"[[phases]]\nstart = {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(began / 1000))}\n"
        '[primary]\nname = "revenue"\nkind = "mean"\nevent = "revenue"\ntopic = "metrics"\n'
        '[[secondary]]\nname = "buyers"\nkind = "proportion"\nevent = "revenue"\ntopic = "metrics"\n'
    )
    for topic, lines in (("exposures", exposures), ("metrics", records)):
        path = tmp_path / f"{topic}.json"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if topic == "exposures":
            assert tidegate("experiments", "apply", str(definition))[0] == 0
        assert tidegate("publish", "--topic", topic, str(path))[0] == 0
    assert tidegate("experiments", "tick")[:2] == (0, f"ticked  4 partitions of {prefix}exposures\n")
    flow = Experiments(bootstrap, prefix, tmp_path / "log", TIDEGATE_TOPICS__PARTITIONS="4").start().wait_ready()
    now = began + 3_600_000

    def ready():
        parts = newest(bootstrap, prefix, 4)
        return len(parts) == 4 and all(part.timestamp >= now for part in parts.values())

    flow._wait(ready, 90, "counted")
    assert total(newest(bootstrap, prefix, 4)) == pytest.approx(by_hand(exposures, records), rel=1e-12)
    assert flow.terminate() == 0


@pytest.fixture
def audit(tidegate, prefix, monkeypatch):
    """`tidegate audit`, as whoever keeps the trail runs it."""
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY)
    monkeypatch.setenv("TIDEGATE_EXPERIMENTS__GROUP", f"{prefix}experiments")
    return lambda *words: tidegate("audit", *words)


def test_killed_at_random_the_totals_are_exact(bootstrap, prefix, tmp_path, audit):
    create_topics(bootstrap, prefix)
    publish(bootstrap, prefix, definitions(), "experiments.definitions")
    exposures, records = people(2, n=3_000)
    rng = random.Random(5)
    flow = Experiments(bootstrap, prefix, tmp_path / "log").start().wait_ready()
    kills = {rng.randrange(4, 10), rng.randrange(16, 24)}
    for step, at in enumerate(range(NOW - 60_000, NOW + 1_900_000, 60_000)):
        if step + 4 in kills:
            flow.wait_ready()
        for topic, those in (("exposures", exposures), ("metrics", records)):
            slice_ = [each for each in those if at <= each["timestamp"] < at + 60_000]
            publish(bootstrap, prefix, map(sent, slice_), topic)
        time.sleep(rng.random())
        if step in kills:
            flow.kill()
            flow.start()
    publish(bootstrap, prefix, ticks(END), "exposures")
    parts = flow.wait_parts(closed(END), "closed")

    assert total(parts) == pytest.approx(by_hand(exposures, records), rel=1e-12)
    assert not any(np.frombuffer(part.open, "<f8").any() for part in parts.values())
    assert flow.terminate() == 0
    assert '"side_entries"' in flow.log.read_text(), "nothing was rolled forward over"
    for number, (offset, told) in enumerate(reached(flow)):
        assert parts["button", number].offsets == {"exposures": offset, **told.sides}
    code, shown, _ = audit("verify", "--from-start")
    assert (code, shown.count("experiments-"), shown.count("whole")) == (0, PARTITIONS, PARTITIONS), shown
    heads = [told.beside.partition(":")[0] for _, told in reached(flow)]
    assert heads == ["1"] * PARTITIONS, "the configuration, and one definition"


def test_what_cannot_be_read_or_does_not_count_is_told(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    publish(bootstrap, prefix, definitions(), "experiments.definitions")
    exposures, records = people(3, n=200)
    publish(bootstrap, prefix, map(sent, exposures), "exposures")
    twice = [record for record in records[:30] for _ in range(2)]
    future = {**records[0], "timestamp": NOW + MONTH_MS}
    bad = [
        Sent(b"{", b"k", NOW, 0),
        Sent(None, b"k", NOW, 0),
        Sent(b'{"user":"u","metric":"m"}', b"k", NOW, 1),
        Sent(json.dumps(future).encode(), b"k", NOW, 1),
    ]
    publish(bootstrap, prefix, [*map(sent, [*twice, *records[30:]]), *bad], "metrics")
    publish(bootstrap, prefix, [bad[0], *ticks(END)], "exposures")
    stranger = {"experiment_id": "unknown", "variation_id": "a", "user": "s", "timestamp": END}
    late = {**exposures[0], "user": "late"}
    publish(bootstrap, prefix, map(sent, (stranger, late)), "exposures")
    flow = Experiments(bootstrap, prefix, tmp_path / "log").start().wait_ready()
    parts = flow.wait_parts(closed(END), "closed")
    flow._wait(lambda: flow.metric("tidegate_units_refused_total{") >= 3, 30, "counted what does not count")

    assert total(parts) == pytest.approx(by_hand(exposures, records), rel=1e-12)
    letters = [json.loads(value) for each in read_committed(bootstrap, f"{prefix}dead-letters") for _, value, _ in each]
    assert Counter((each["topic"], each["reason"]) for each in letters) == {
        (f"{prefix}exposures", "not_json"): 1,
        (f"{prefix}metrics", "not_json"): 1,
        (f"{prefix}metrics", "empty_value"): 1,
        (f"{prefix}metrics", "missing_field"): 1,
        (f"{prefix}metrics", "from_the_future"): 1,
    }
    refused = Counter()
    for line in flow.get("/metrics")[1].splitlines():
        if line.startswith("tidegate_units_refused_total{"):
            reason = line.partition('reason="')[2].partition('"')[0]
            refused[reason] += float(line.rsplit(" ", 1)[1])
    assert (refused["no_experiment"], refused["duplicate"]) == (1, 30)
    assert refused["late"] >= 1
    assert flow.terminate() == 0
    trail = [json.loads(value) for each in read_committed(bootstrap, f"{prefix}audit") for _, value, _ in each]
    assert Counter((each["flow"], each["kind"]) for each in trail) == {
        ("experiments", "configuration"): PARTITIONS,
        ("experiments", "experiment"): PARTITIONS,
    }


def test_what_was_counted_under_other_settings_is_not_counted_on_nor_forgotten(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    publish(bootstrap, prefix, definitions(), "experiments.definitions")
    publish(bootstrap, prefix, ticks(NOW), "exposures")
    flow = Experiments(bootstrap, prefix, tmp_path / "log").start().wait_ready()
    flow.wait_parts(closed(NOW), "at the tick")
    assert flow.terminate() == 0
    flow.environment["TIDEGATE_EXPERIMENTS__ACCUMULATE__MAX_UNITS"] = "20000"
    flow.start()

    assert flow.exit_code() == 1
    told = flow.log.read_text()
    assert "the state of the stage accumulate was made under other settings" in told
    assert f"delete the group {flow.group} and its snapshots" in told
