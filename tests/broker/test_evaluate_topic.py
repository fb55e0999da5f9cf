"""`tidegate evaluate --topic` on a real Kafka: what lies in the topics is evaluated as a file of the same would be."""

import io
import json
from collections import Counter

import harness
import pytest
from confluent_kafka import Producer
from harness import KEY, Flow, read_committed

from flows.commands.generate import generate
from flows.demo.generator import GeneratorConfig

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("settings")]

EVENTS = 9_000


@pytest.fixture
def published(tidegate, bootstrap, prefix, tmp_path, monkeypatch):
    """Publish a stream with abuse and its labels; returns the files of both."""
    monkeypatch.setenv("TIDEGATE_TOPICS__PARTITIONS", str(harness.PARTITIONS))
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY)
    events, labels = io.BytesIO(), io.BytesIO()
    config = GeneratorConfig(seed=7, users=300, rate=2.0, speed=1.0, attack_share=0.05, quiet_s=1_800.0)
    generate(config, events, EVENTS, sleep=lambda _: None, labels=labels)
    (tmp_path / "events.json").write_bytes(events.getvalue())
    (tmp_path / "labels.json").write_bytes(labels.getvalue())
    assert tidegate("topics", "create")[0] == 0
    assert tidegate("publish", str(tmp_path / "events.json"))[0] == 0
    producer = Producer({"bootstrap.servers": bootstrap})
    for line in labels.getvalue().splitlines():
        label = json.loads(line) | {"timestamp": 1_767_312_000_000}
        producer.produce(f"{prefix}labels", json.dumps(label).encode(), label["user"].encode())
    producer.produce(f"{prefix}labels", b'{"id": "no label"}', b"ann")
    assert producer.flush(30) == 0
    return tmp_path / "events.json", tmp_path / "labels.json"


def figures(path):
    found = json.loads(path.read_bytes())
    return {name: value for name, value in found.items() if name != "run"}


def test_a_topic_is_evaluated_as_the_file_that_was_published_and_as_the_flow_decides(
    published, tidegate, bootstrap, prefix, tmp_path
):
    events, labels = map(str, published)
    topic, file = tmp_path / "topic.json", tmp_path / "file.json"
    code, shown, told = tidegate("evaluate", "--topic", "--no-baselines", "--json", str(topic))
    assert code == 0
    assert f"no labels: 1 record of {prefix}labels" in told
    assert f"{prefix}events: 9,000 events" in shown
    options = ("--labels", labels, "--no-baselines", "--json", str(file))
    assert tidegate("evaluate", events, *options)[0] == 0
    whole, same = figures(topic), figures(file)
    assert whole["source"]["sha256"] == ""
    for each in (whole, same):
        for name in ("name", "sha256", "labels"):
            del each["source"][name]
    assert whole["source"]["compared"] > 3_000
    # Partitions are read in turn by time, and files in their order: with ties the lines are others, the decisions not.
    for part in ("methods", "tiers", "detection", "kinds", "source"):
        assert whole[part] == same[part], part

    flow = Flow(bootstrap, prefix, tmp_path / "log").start()
    flow.wait_answered([len(one) for one in read_committed(bootstrap, f"{prefix}events")])
    assert flow.terminate() == 0
    decided = [json.loads(value) for one in read_committed(bootstrap, f"{prefix}risk.tiers") for _, value, _ in one]
    tiers = Counter(each["tier"] for each in decided)
    assert tiers["unknown"] == whole["source"]["unknown"]
    alerts = {each["tier"]: each["alerts"] for each in whole["tiers"]}
    assert alerts["medium"] == tiers["medium"] + tiers["high"] + tiers["critical"] > 0


def test_events_since_a_time_and_those_that_still_wait_for_their_label(published, tidegate, tmp_path):
    lines = [json.loads(line) for line in published[0].read_bytes().splitlines()]
    since, last = lines[1_000]["timestamp"], lines[-1]["timestamp"]
    found = tmp_path / "found.json"
    options = ("--since", str(since), "--label-wait", "600", "--no-baselines", "--json", str(found))
    assert tidegate("evaluate", "--topic", *options)[0] == 0

    source = figures(found)["source"]
    labelled = {json.loads(line)["id"] for line in published[1].read_bytes().splitlines()}
    late = [line for line in lines if line["timestamp"] > last - 600_000 and line["id"] not in labelled]
    assert source["read"] == sum(line["timestamp"] >= since for line in lines)
    assert source["unlabelled"] == len(late) > 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "expected a file or --topic, got none"),
        (("f.json", "--topic"), "expected a file or --topic, got both"),
        (("f.json", "--since", "5", "--label-field", "x"), "expected --since with --topic"),
        (("--topic", "--label-field", "x"), "expected --topic without --label-field"),
        (("--topic", "nowhere"), "there is no topic nowhere"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(words, complaint, tidegate):
    code, _, told = tidegate("evaluate", *words)

    assert (code, complaint in told) == (2 if "usage" in told else 1, True), told


@pytest.mark.usefixtures("topics")
def test_a_topic_without_labels_says_what_to_do(tidegate):
    code, _, told = tidegate("evaluate", "--topic")

    assert code == 1
    assert "got none: publish what is known, or name --labels FILE" in told
