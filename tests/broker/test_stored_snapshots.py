"""Snapshots on a real broker: in parts, and where the store fails."""

import time

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions
from harness import PARTITIONS, Flow, Sent, create_topics, publish, read_committed

pytestmark = pytest.mark.broker

T0 = 1_760_000_000_000
OFTEN = {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "0.5"}


def events(first: int, count: int, users: int) -> list[Sent]:
    """Users take turns; each stays in one partition."""
    return [
        Sent(
            b'{"id":"%d","timestamp":%d,"user":"u%d","type":"login","amount":%d}' % (n, T0 + n, n % users, n % 97),
            b"u%d" % (n % users),
            T0 + n,
            n % users % PARTITIONS,
        )
        for n in range(first, first + count)
    ]


def answered(flow: Flow) -> list[list[tuple[bytes | None, bytes | None, int]]]:
    return read_committed(flow.bootstrap, f"{flow.prefix}risk.tiers")


def test_a_large_state_is_written_in_parts_and_restored_from_them(bootstrap, prefix, tmp_path):
    """8,000 users are 13 MB, more than is written whole; then only a hundred of them do anything."""
    create_topics(bootstrap, prefix)
    counts = publish(bootstrap, prefix, events(0, 8_000, 8_000))
    flow = Flow(bootstrap, prefix, tmp_path / "log", **OFTEN).missed_soon().start()
    flow.wait_answered(counts)
    for wave in range(6):
        more = publish(bootstrap, prefix, events(8_000 * (wave + 1), 100, 8_000))
        counts = [before + new for before, new in zip(counts, more, strict=True)]
        flow.wait_answered(counts)
        time.sleep(0.7)
    state = flow.metric("tidegate_snapshot_bytes")
    written = flow.metric("tidegate_snapshot_written_bytes_total")
    flow.kill()

    flow = Flow(bootstrap, prefix, tmp_path / "log", **OFTEN).start().wait_ready()
    replayed = flow.metric("tidegate_replayed_records_total")
    more = publish(bootstrap, prefix, events(8_000 * 8, 8_000, 8_000))
    counts = [before + new for before, new in zip(counts, more, strict=True)]
    flow.wait_answered(counts)
    assert flow.terminate() == 0
    interrupted = answered(flow)

    undisturbed = Flow(bootstrap, prefix, tmp_path / "other", TIDEGATE_RISK__GROUP=f"{prefix}again")
    undisturbed.environment["TIDEGATE_RISK__SNAPSHOT_STORE"] = "directory"
    undisturbed.environment["TIDEGATE_RISK__SNAPSHOT_DIRECTORY"] = str(tmp_path / "snapshots")
    undisturbed.group = f"{prefix}again"
    undisturbed.start().wait_answered(counts)
    assert undisturbed.terminate() == 0
    again = [both[len(one) :] for one, both in zip(interrupted, answered(flow), strict=True)]

    assert again == interrupted
    assert state > 12_000_000
    assert written < 2.5 * state  # eight snapshots or so
    assert replayed < 8_000


def test_a_directory_that_cannot_be_written_does_not_stop_the_flow(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    place = tmp_path / "snapshots"
    place.write_text("a file where the directory should be")
    store = {"TIDEGATE_RISK__SNAPSHOT_STORE": "directory", "TIDEGATE_RISK__SNAPSHOT_DIRECTORY": str(place)}
    counts = publish(bootstrap, prefix, events(0, 500, 50))
    flow = Flow(bootstrap, prefix, tmp_path / "log", **OFTEN, **store).start()
    flow.wait_answered(counts)
    more = publish(bootstrap, prefix, events(500, 100, 50))
    flow._wait(lambda: flow.metric("tidegate_snapshot_failures_total") > 0, 30, "failing")
    counts = [before + new for before, new in zip(counts, more, strict=True)]
    flow.wait_answered(counts)
    ready = flow.get("/readyz")[0]
    place.unlink()
    flow._wait(lambda: flow.metric("tidegate_snapshot_written_bytes_total") > 0, 40, "storing again")
    assert flow.terminate() == 0

    assert ready == 200
    assert "snapshot_not_stored" in flow.log.read_text()
    assert len(list(place.rglob("*.snapshot"))) >= PARTITIONS


def test_a_snapshots_topic_that_refuses_does_not_stop_the_flow(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    small = ConfigEntry("max.message.bytes", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource("topic", f"{prefix}risk.snapshots", incremental_configs=[small])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result()
    counts = publish(bootstrap, prefix, events(0, 500, 50))
    flow = Flow(bootstrap, prefix, tmp_path / "log", **OFTEN).start()
    flow._wait(lambda: flow.metric("tidegate_snapshot_failures_total") > 0, 60, "failing")
    more = publish(bootstrap, prefix, events(500, 100, 50))
    counts = [before + new for before, new in zip(counts, more, strict=True)]
    flow.wait_answered(counts)
    flow.kill()

    assert [len(one) for one in answered(flow)] == counts
    assert "snapshot_not_stored" in flow.log.read_text()


def test_a_topic_that_has_gained_partitions_is_refused(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    counts = publish(bootstrap, prefix, events(0, 200, 50))
    flow = Flow(bootstrap, prefix, tmp_path / "log").start()
    flow.wait_answered(counts)
    assert flow.terminate() == 0
    more = NewPartitions(f"{prefix}events", PARTITIONS + 1)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_partitions([more]).values():
        done.result()

    assert flow.start().exit_code() == 1
    assert f"has {PARTITIONS + 1} partitions" in flow.log.read_text()
    assert "Partitions were added" in flow.log.read_text()
