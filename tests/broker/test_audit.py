"""The audit trail on a real Kafka: whole across kill -9, and what was put in, taken out or forgotten is named."""

import itertools
import json
import time
import zlib

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewTopic
from harness import KEY, PARTITIONS, Flow, Sent, create_topics, publish, read_committed

from flows.demo.generator import Generator, GeneratorConfig
from operators.audit import Chain, derive_key

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("settings")]

EVENTS = 9_000
QUICK = {
    "TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "0.5",
    "TIDEGATE_RISK__COMMIT_INTERVAL_MS": "50",
    "TIDEGATE_RISK__BATCH_MAX": "500",
    # Warm soon, and windows so short that thresholds and drift have something to tell.
    "TIDEGATE_RISK__CALIBRATE__DRIFT_WINDOW": "200",
    "TIDEGATE_RISK__CALIBRATE__WARMUP": "200",
    "TIDEGATE_RISK__SCORE__WINDOW": "200",
    "TIDEGATE_RISK__SCORE__WARMUP": "200",
}


@pytest.fixture
def auditor(tidegate, prefix, monkeypatch):
    """`tidegate audit` with the audit key alone: an auditor has no pseudonym key."""
    monkeypatch.setenv("TIDEGATE_AUDIT_KEY", "hex:" + derive_key(KEY.encode()).hex())
    monkeypatch.setenv("TIDEGATE_RISK__GROUP", f"{prefix}risk")
    return lambda *words: tidegate("audit", *words)


def stream():
    config = GeneratorConfig(seed=5, users=200, garbage=0.01)
    return [
        Sent(each.value or None, each.key, each.timestamp_ms, zlib.crc32(each.key) % PARTITIONS)
        for each in itertools.islice(Generator(config).events(), EVENTS)
    ]


def trail(bootstrap, prefix):
    return [[json.loads(value) for _, value, _ in one] for one in read_committed(bootstrap, f"{prefix}audit")]


def test_the_trail_is_whole_after_kill_9_and_a_forged_record_is_named(bootstrap, prefix, tmp_path, auditor):
    create_topics(bootstrap, prefix)
    events = stream()
    first = Flow(bootstrap, prefix, tmp_path / "log", **QUICK).start().wait_ready()
    half = publish(bootstrap, prefix, events[: EVENTS // 2])
    first.wait_answered(half)
    rest = publish(bootstrap, prefix, events[EVENTS // 2 :])
    first.kill()
    # Another budget: the same state of every stage but one, and a configuration to be told.
    second = Flow(bootstrap, prefix, tmp_path / "log", **QUICK, TIDEGATE_RISK__TIER__CRITICAL="0.0005").start()
    second.wait_ready().wait_answered([one + other for one, other in zip(half, rest, strict=True)])
    assert second.metric('tidegate_audit_records_total{flow="risk",kind="configuration"}') == PARTITIONS
    assert second.terminate() == 0

    code, said, _ = auditor("verify", "--from-start")
    assert code == 0, said
    assert f"{PARTITIONS} chains, 0 faults" in said
    for records in trail(bootstrap, prefix):
        kinds = [record["kind"] for record in records]
        told = [record["detail"] for record in records if record["kind"] == "configuration"]
        assert kinds[0] == "configuration"
        assert {"configuration", "model", "threshold"} <= set(kinds)
        # Once at the beginning, once for the new budget: the restart after the kill told nothing by itself.
        assert [sorted(name for name in detail if name.endswith("_before")) for detail in told] == [[], ["tier_before"]]

    file = tmp_path / "trail.ndjson"
    assert auditor("export", "--output", str(file))[0] == 0
    assert auditor("verify", "--file", str(file), "--from-start")[0] == 0

    last = trail(bootstrap, prefix)[1][-1]
    forged = json.dumps({**last, "sequence": last["sequence"] + 1, "previous": last["mac"]}, separators=(",", ":"))
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(f"{prefix}audit", forged, "risk-1", 1)
    assert producer.flush(20) == 0
    code, said, _ = auditor("verify")
    assert code == 1
    assert f"risk-1: added: expected record {last['sequence'] + 1}" in said
    assert "risk-0: " not in said

    # The same file with its last record cut off is whole by itself: only the committed head can tell.
    cut_off = file.read_bytes().splitlines(keepends=True)[:-1]
    file.write_bytes(b"".join(cut_off))
    assert auditor("verify", "--file", str(file))[0] == 0


def test_a_tail_that_was_cut_off_is_found_by_the_head_beside_the_offset(bootstrap, prefix, tmp_path, auditor, admin):
    create_topics(bootstrap, prefix)
    flow = Flow(bootstrap, prefix, tmp_path / "log", **QUICK).start().wait_ready()
    flow.wait_answered(publish(bootstrap, prefix, stream()[:200]))
    assert flow.terminate() == 0
    assert auditor("verify")[0] == 0

    for done in admin.delete_topics([f"{prefix}audit"]).values():
        done.result(20)
    remake_audit(admin, prefix)
    code, said, _ = auditor("verify")

    assert code == 1
    assert "risk-0: cut_off: expected records up to 0" in said


def test_an_audit_trail_of_another_key_is_named(bootstrap, prefix, auditor):
    create_topics(bootstrap, prefix)
    chain = Chain(bytes(32), "risk", 0, {})
    producer = Producer({"bootstrap.servers": bootstrap})
    for wire in (chain.tell(5), chain.append("drift", 6, {})):
        producer.produce(f"{prefix}audit", wire, "risk-0", 0)
    assert producer.flush(20) == 0

    code, said, _ = auditor("verify")
    assert code == 1
    assert "risk-0: other_key: " in said


def remake_audit(admin, prefix):
    deadline = time.monotonic() + 20
    while True:  # the deletion goes on for a while after it was answered
        try:
            for done in admin.create_topics([NewTopic(f"{prefix}audit", PARTITIONS, 1)]).values():
                done.result(20)
        except KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return
