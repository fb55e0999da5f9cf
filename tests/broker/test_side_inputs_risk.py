"""The risk flow with labels, killed at random, against its own stages fed by the journal."""

import itertools
import json
import random
import zlib
from dataclasses import replace

import pytest
from bytewax.testing import TestingSink, TestingSource, run_main
from harness import PARTITIONS, Flow, Sent, create_topics, publish, read_committed
from labelled import OUTPUTS, SOMETIMES, add, applied_of, journal

from flows import risk
from flows.demo.generator import Generator, GeneratorConfig
from flows.settings import load_settings
from operators.batches import Encoded, Messages, Span
from operators.control import Restore
from operators.side import Side

pytestmark = pytest.mark.broker

SOON = {
    "TIDEGATE_RISK__TIER__MEDIUM": "0.1",
    "TIDEGATE_RISK__PROBABILITY__ENABLED": "true",
    "TIDEGATE_RISK__PROBABILITY__UNLABELLED": "ignore",
    "TIDEGATE_RISK__PROBABILITY__SAMPLE_SHARE": "1.0",
    "TIDEGATE_RISK__PROBABILITY__MIN_FRAUD": "5",
    "TIDEGATE_RISK__PROBABILITY__MIN_LABELS": "20",
}
"""Probabilities after so few labels that every partition of the test comes to give them."""


def replayed(flow):
    """What the risk flow's stages answer to events, labels and journal, without engine, broker or interruption."""
    told = {name: value for name, value in flow.environment.items() if name.startswith("TIDEGATE_")}
    settings = load_settings(None, told, needs_key=True)
    read = {topic: read_committed(flow.bootstrap, f"{flow.prefix}{topic}") for topic in ("events", "labels")}
    items = []
    for number, entries in enumerate(journal(flow.bootstrap, flow.prefix)):
        items.append(Restore(number, {}))
        reached, events_ = 0, read["events"][number]
        for entry in [*entries, None]:
            end = len(events_) if entry is None else entry["at"]
            for at in range(reached, end, 1_000):
                part = events_[at : min(at + 1_000, end)]
                span = Span(number, at, at + len(part))
                items.append(Messages(span, f"{flow.prefix}events", *_columns(part, at)))
            reached = end
            if entry is not None:
                first, after = entry["first"], entry["next"]
                columns = _columns(read["labels"][number][first:after], first)
                source = f"{flow.prefix}labels"
                items.append(Side(number, "labels", end, first, after, *columns, source=source))
    found = []
    run_main(risk.build(settings, TestingSource(items), TestingSink(found)))
    outputs = {topic: [[] for _ in range(PARTITIONS)] for topic in OUTPUTS}
    for item in found:
        for record in item.records if isinstance(item, Encoded) else ():
            outputs[record.topic][item.span.partition].append((record.key, record.value, record.timestamp_ms))
    return outputs


def _columns(records, first):
    keys, values, times = zip(*records, strict=True)
    return list(values), list(keys), list(range(first, first + len(records))), list(times)


def test_the_risk_flow_killed_at_random_writes_what_its_stages_answer_given_the_journal(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    config = GeneratorConfig(seed=5, users=400, out_of_order=0.02, duplicates=0.01, garbage=0.01)
    planted = list(itertools.islice(Generator(config).events(), 16_000))
    rng = random.Random(9)
    flow = Flow(bootstrap, prefix, tmp_path / "log", **SOMETIMES, **SOON).missed_soon().start().wait_ready()
    done, labelled = [0] * PARTITIONS, [0] * PARTITIONS
    for at in range(0, len(planted), 1_000):
        part = [
            Sent(each.value or None, each.key, each.timestamp_ms, zlib.crc32(each.key) % PARTITIONS)
            for each in planted[at : at + 1_000]
        ]
        done = add(done, publish(bootstrap, prefix, part))
        said = [replace(each, value=_label(each, rng)) for each in part[::20]]
        labelled = add(labelled, publish(bootstrap, prefix, said, "labels"))
        if at % 5_000 == 4_000:
            flow.kill()
            flow.start().wait_ready()
    flow.wait_answered(done)
    flow._wait(lambda: applied_of(flow) == labelled, 60, f"labels at {labelled}")
    assert flow.terminate() == 0

    assert '"side_entries"' in flow.log.read_text()
    outputs = replayed(flow)
    for topic in OUTPUTS:
        assert read_committed(bootstrap, f"{prefix}{topic}") == outputs[topic], topic
    for decisions, letters in zip(outputs["risk.tiers"], outputs["dead-letters"], strict=True):
        assert b'"probability":' in decisions[-1][1]
        assert any(f'"topic":"{prefix}labels"'.encode() in value for _, value, _ in letters)


def _label(event, rng):
    try:
        told = json.loads(event.value or b"")
        said = {"id": told["id"], "user": told["user"], "timestamp": event.timestamp_ms + 60_000}
    except (ValueError, KeyError, TypeError):
        return b"{"
    return json.dumps(said | {"label": rng.choice(["fraud", "legit"])}).encode()
