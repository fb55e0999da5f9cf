"""`tidegate doctor` on a real Kafka."""

import pytest
from commands import change, make
from harness import Sent, publish

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("settings")]


def results(out):
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in out.splitlines() if line.startswith("│")]
    return {name: result for name, result in cells if name}


@pytest.mark.usefixtures("topics")
def test_the_doctor_finds_nothing_in_the_way_when_all_is_there(tidegate, monkeypatch):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", "0123456789abcdef")
    code, out, _ = tidegate("doctor")

    assert code == 0
    assert results(out) == {
        "versions": "ok",
        "pseudonym key": "ok",
        "broker": "ok",
        "topics": "ok",
        "partitions": "ok",
        "replication": "warning",  # one broker
        "timestamps": "ok",
        "old records": "ok",
        "cleanup": "ok",
        "keys": "skipped",  # the topic is empty
        "partitioner": "skipped",
        "delivery": "ok",
    }


def test_the_doctor_names_a_missing_key_and_missing_topics(tidegate):
    code, out, _ = tidegate("doctor")

    assert code == 1
    assert {name for name, result in results(out).items() if result == "failed"} == {"pseudonym key", "topics"}
    assert "tidegate topics create" in out
    assert "openssl rand -hex 32" in out


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize(
    ("topic", "name", "value", "check"),
    [
        ("risk.tiers", "message.timestamp.type", "LogAppendTime", "timestamps"),
        ("risk.snapshots", "cleanup.policy", "delete", "cleanup"),
        ("events", "cleanup.policy", "compact", "cleanup"),
        ("audit", "min.insync.replicas", "2", "replication"),
        ("risk.alerts", "message.timestamp.before.max.ms", "86400000", "old records"),
    ],
)
def test_the_doctor_names_a_setting_that_is_off(tidegate, admin, prefix, monkeypatch, topic, name, value, check):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", "0123456789abcdef")
    change(admin, prefix + topic, name, value)
    code, out, _ = tidegate("doctor")

    assert (code, [name for name, result in results(out).items() if result == "failed"]) == (1, [check])
    assert prefix + topic in out


def test_the_doctor_names_topics_of_unequal_counts(tidegate, admin, prefix):
    make(admin, f"{prefix}events", 2)
    make(admin, f"{prefix}audit", 3)
    code, out, _ = tidegate("doctor")

    assert code == 1
    assert results(out)["partitions"] == "failed"
    assert f"{prefix}events has 2, but {prefix}audit has 3" in out


@pytest.mark.usefixtures("topics")
def test_the_doctor_says_when_delivery_is_at_least_once(tidegate, monkeypatch):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", "0123456789abcdef")
    monkeypatch.setenv("TIDEGATE_KAFKA__DELIVERY", "at_least_once")
    code, out, _ = tidegate("doctor")

    assert (code, results(out)["delivery"]) == (0, "warning")
    assert "at least once: after a crash some outputs are written twice" in out


@pytest.mark.usefixtures("topics")
def test_the_doctor_looks_at_what_labels_need_once_they_are_on(tidegate, admin, prefix, bootstrap, monkeypatch):
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", "0123456789abcdef")
    publish(bootstrap, prefix, [Sent(b'{"user":"ada"}', b"bob", 1, 0)] * 10, "labels")
    assert tidegate("doctor")[0] == 0
    monkeypatch.setenv("TIDEGATE_RISK__LABELS__ENABLED", "true")
    code, out, _ = tidegate("doctor")
    assert code == 1
    assert f"{prefix}labels is not keyed by user" in out

    for done in admin.delete_topics([f"{prefix}labels", f"{prefix}risk.journal"]).values():
        done.result()
    code, out, _ = tidegate("doctor")
    assert (code, results(out)["topics"]) == (1, "failed")
    assert f"missing: {prefix}labels, {prefix}risk.journal" in out
    monkeypatch.setenv("TIDEGATE_RISK__LABELS__ENABLED", "false")
    assert tidegate("doctor")[0] == 0
