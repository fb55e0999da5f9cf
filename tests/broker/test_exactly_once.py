"""Killed at any moment and started again, the flow answers as if nothing had happened: byte for byte."""

import itertools
import json
import random
import time
import zlib

import pytest
from harness import PARTITIONS, Flow, Sent, committed, create_topics, publish, read_committed

from flows.demo.generator import Generator, GeneratorConfig

pytestmark = pytest.mark.broker

EVENTS = 24_000
QUICK = {
    "TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "0.5",
    "TIDEGATE_RISK__COMMIT_INTERVAL_MS": "50",
    "TIDEGATE_RISK__BATCH_MAX": "500",
}
OUTPUTS = ("risk.tiers", "risk.alerts", "risk.evidence", "dead-letters", "audit")


def _stream(count: int) -> list[Sent]:
    """The demo's stream with everything in it: attacks, duplicates, disorder, garbage."""
    config = GeneratorConfig(seed=5, users=400, out_of_order=0.02, duplicates=0.01, garbage=0.01)
    return [
        Sent(each.value or None, each.key, each.timestamp_ms, zlib.crc32(each.key) % PARTITIONS)
        for each in itertools.islice(Generator(config).events(), count)
    ]


def _outputs(bootstrap: str, prefix: str) -> dict[str, list]:
    # A dead letter names the topic it was found in, and the two runs have their own.
    return {
        topic: [
            [
                tuple(None if part is None else part.replace(prefix.encode(), b"") for part in each[:2]) + each[2:]
                for each in one
            ]
            for one in read_committed(bootstrap, prefix + topic)
        ]
        for topic in OUTPUTS
    }


@pytest.fixture(scope="module")
def undisturbed(bootstrap, tmp_path_factory):
    """What one process writes that nobody disturbs."""
    prefix = f"calm{random.Random(time.time_ns()).randrange(10**9)}."
    create_topics(bootstrap, prefix)
    counts = publish(bootstrap, prefix, _stream(EVENTS))
    flow = Flow(bootstrap, prefix, tmp_path_factory.mktemp("calm") / "log", **QUICK).start()
    flow.wait_answered(counts)
    assert flow.terminate() == 0
    return _outputs(bootstrap, prefix)


def test_every_record_is_answered_exactly_once_in_order(undisturbed):
    tiers, dead = undisturbed["risk.tiers"], undisturbed["dead-letters"]
    for partition in range(PARTITIONS):
        answered = [json.loads(value)["offset"] for _, value, _ in tiers[partition]]
        rejected = [json.loads(value)["offset"] for _, value, _ in dead[partition]]
        assert answered == sorted(answered)
        assert sorted(answered + rejected) == list(range(len(answered) + len(rejected)))


def test_a_reader_finds_the_same_after_kill_9_at_random_moments(bootstrap, prefix, tmp_path, undisturbed):
    create_topics(bootstrap, prefix)
    stream = _stream(EVENTS)
    rng = random.Random(11)
    counts = [0] * PARTITIONS
    for start in range(0, EVENTS, EVENTS // 4):
        flow = Flow(bootstrap, prefix, tmp_path / "log", **QUICK).missed_soon().start()
        flow.wait_ready()
        for at in range(start, start + EVENTS // 4, 500):
            sent = publish(bootstrap, prefix, stream[at : at + 500])
            counts = [one + other for one, other in zip(counts, sent, strict=True)]
        time.sleep(rng.uniform(0.0, 0.6))
        flow.kill()
    flow = Flow(bootstrap, prefix, tmp_path / "log", **QUICK).start().wait_ready()
    flow.wait_answered(counts)
    assert flow.terminate() == 0

    assert _outputs(bootstrap, prefix) == undisturbed


def test_two_processes_share_the_partitions_and_hand_them_over(bootstrap, prefix, tmp_path, undisturbed):
    create_topics(bootstrap, prefix)
    stream = _stream(EVENTS)
    first = Flow(bootstrap, prefix, tmp_path / "first", **QUICK).start().wait_ready()
    counts = publish(bootstrap, prefix, stream[: EVENTS // 3])
    second = Flow(bootstrap, prefix, tmp_path / "second", **QUICK).start().wait_ready()
    second._wait(lambda: second.metric("tidegate_assigned_partitions") == 1, 60, "given a partition")
    more = publish(bootstrap, prefix, stream[EVENTS // 3 : 2 * EVENTS // 3])
    counts = [one + other for one, other in zip(counts, more, strict=True)]
    time.sleep(0.5)
    first.kill()  # no goodbye: the group notices after the session time-out
    more = publish(bootstrap, prefix, stream[2 * EVENTS // 3 :])
    counts = [one + other for one, other in zip(counts, more, strict=True)]
    second.wait_answered(counts)
    assert second.terminate() == 0

    assert _outputs(bootstrap, prefix) == undisturbed


def test_sigterm_leaves_nothing_to_roll_forward(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    counts = publish(bootstrap, prefix, _stream(2_000))
    flow = Flow(bootstrap, prefix, tmp_path / "log", TIDEGATE_RISK__SNAPSHOT_INTERVAL_S="3600").start()
    flow.wait_answered(counts)
    assert flow.terminate() == 0

    again = Flow(bootstrap, prefix, tmp_path / "log").start().wait_ready()
    replayed = again.metric("tidegate_replayed_records_total")
    assert again.terminate() == 0
    assert replayed == 0
    assert committed(bootstrap, flow.group, f"{prefix}events") == counts


def test_an_aborted_transaction_is_not_seen_and_is_answered_again(bootstrap, prefix, tmp_path):
    """A kill between writing and committing leaves an open transaction; its successor fences it at once."""
    create_topics(bootstrap, prefix)
    stream = _stream(2_000)
    counts = publish(bootstrap, prefix, stream[:1_000])
    slow = {"TIDEGATE_RISK__COMMIT_INTERVAL_MS": "5000"}
    flow = Flow(bootstrap, prefix, tmp_path / "log", **slow).missed_soon().start()
    flow.wait_answered(counts)  # the next commit is not due for 5 s
    sent = flow.metric("tidegate_records_sent_total")
    counts = [one + more for one, more in zip(counts, publish(bootstrap, prefix, stream[1_000:]), strict=True)]
    flow._wait(lambda: flow.metric("tidegate_records_sent_total") > sent, 60, "answering")
    flow.kill()
    before = committed(bootstrap, flow.group, f"{prefix}events")
    assert len(before) == len(counts)
    assert before != counts

    flow = Flow(bootstrap, prefix, tmp_path / "log").start()
    flow.wait_answered(counts)
    assert flow.terminate() == 0
    offsets = [
        json.loads(value)["offset"] for one in read_committed(bootstrap, f"{prefix}risk.tiers") for _, value, _ in one
    ]
    dead = sum(len(one) for one in read_committed(bootstrap, f"{prefix}dead-letters"))
    assert len(offsets) + dead == sum(counts)


def test_a_process_beyond_the_partitions_waits_as_a_ready_spare(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    flows = [Flow(bootstrap, prefix, tmp_path / f"log{number}").start() for number in range(PARTITIONS + 1)]
    for flow in flows:
        flow.wait_ready()
    flows[0]._wait(lambda: sorted(_owned(flow) for flow in flows) == [0, 1, 1], 60, "shared out")
    for flow in flows:  # whoever has just been given a partition is not ready while opening it
        flow.wait_ready()
    assert sorted(_owned(flow) for flow in flows) == [0, 1, 1]
    for flow in flows:
        assert flow.terminate() == 0


def _owned(flow: Flow) -> int:
    return round(flow.metric("tidegate_assigned_partitions"))
