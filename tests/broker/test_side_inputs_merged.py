"""Topics merged by time, one ahead of all, and totals at flushes: killed at any moment, as the journal says."""

import itertools
import json
import random
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from harness import PARTITIONS, Flow, Sent, create_topics, publish, read_committed
from labelled import QUICK, add, answers, journal
from merged import AHEAD, MERGED, TOTALS, answer, note
from test_takeover import _progress as progress_of

pytestmark = pytest.mark.broker

SPAN_MS = 120_000
SLACK_MS = 1_000
TOPICS = ("events", *MERGED, AHEAD)


class Merged(Flow):
    """One process of the flow that notes the order."""

    def __init__(self, bootstrap, prefix, log, **settings):
        super().__init__(bootstrap, prefix, log, **QUICK | settings)
        self.command = [sys.executable, str(Path(__file__).parent / "merged.py"), "run", "risk"]

    def reached(self):
        """Committed offsets of all topics, by partition."""
        return [{"events": offset, **({} if told is None else told.sides)} for offset, told in progress_of(self)]

    def wait_all(self, counts, timeout_s=90):
        expected = [{topic: counts[topic][number] for topic in TOPICS} for number in range(PARTITIONS)]
        self._wait(lambda: self.reached() == expected, timeout_s, f"at {expected}")


def records(count, rng, first_ms=1_000_000, span_ms=SPAN_MS):
    """As many for each partition, in the order of time."""
    return [
        Sent(b"{}", b"k", time_ms, number)
        for number in range(PARTITIONS)
        for time_ms in sorted(rng.randint(first_ms, first_ms + span_ms) for _ in range(count))
    ]


def order(bootstrap, prefix):
    """Per partition (topic, offset, time) in the order in which they were applied, by the journal."""
    logs = {topic: read_committed(bootstrap, f"{prefix}{topic}") for topic in TOPICS}
    found = []
    for number, entries in enumerate(journal(bootstrap, prefix)):
        one, done = [], 0
        for entry in [*entries, None]:
            end = len(logs["events"][number]) if entry is None else entry["at"]
            one += [("events", at) for at in range(done, end)]
            done = end
            if entry is not None:
                one += [(entry["topic"], at) for at in range(entry["first"], entry["next"])]
        found.append([(topic, at, logs[topic][number][at][2]) for topic, at in one])
    return found


def check(bootstrap, prefix, counts):
    """Everything was applied once and in its order, and every answer follows from the order that the journal tells."""
    for number, one in enumerate(order(bootstrap, prefix)):
        for topic in TOPICS:
            assert [at for name, at, _ in one if name == topic] == list(range(counts[topic][number]))
        told, seen, trace = [], {}, 0
        for topic, at, _ in one:
            if topic == "events":
                value, trace = answer(at, seen, trace)
                told.append(json.loads(value))
            else:
                trace = note(seen, trace, topic, at)
        assert answers(bootstrap, prefix)[number] == told


def lateness(one):
    """How much later than the newest before them records came, at most."""
    newest = itertools.accumulate((time_ms for _, _, time_ms in one), max)
    return max(before - time_ms for (_, _, time_ms), before in zip(one, newest, strict=True))


def totals(bootstrap, prefix):
    return [[json.loads(value) for _, value, _ in one] for one in read_committed(bootstrap, f"{prefix}{TOTALS}")]


def publish_all(bootstrap, prefix, lots):
    """One topic after the other, the whole of each."""
    return {topic: publish(bootstrap, prefix, lots.get(topic, []), topic) for topic in TOPICS}


def test_what_lies_there_is_merged_by_time_whatever_was_published_first_and_killed_twice_too(
    bootstrap, prefix, tmp_path
):
    create_topics(bootstrap, prefix)
    rng = random.Random(11)
    sizes = {"metrics": 3_000, "labels": 400, "events": 1_500, AHEAD: 50}
    counts = publish_all(bootstrap, prefix, {topic: records(size, rng) for topic, size in sizes.items()})
    flow = Merged(bootstrap, prefix, tmp_path / "log").start()
    for share in (0.2, 0.6):
        flow._wait(lambda s=share: flow.reached()[0]["events"] > s * sizes["events"], 60, "half way")
        flow.kill()
        flow.start()
    flow.wait_all(counts)
    flow.wait_ready()  # the second kill may have come when all was done: what is rolled forward over shows as well
    assert flow.terminate() == 0

    check(bootstrap, prefix, counts)
    assert '"side_entries"' in flow.log.read_text()  # side records were rolled forward over, or this shows little
    for one in order(bootstrap, prefix):
        assert [topic for topic, _, _ in one[: sizes[AHEAD]]] == [AHEAD] * sizes[AHEAD]
        assert lateness(one[sizes[AHEAD] :]) <= SLACK_MS
    for said in totals(bootstrap, prefix):
        assert said[-1] == sizes  # exact, whatever was killed
        assert [each["events"] for each in said] == sorted(each["events"] for each in said)


def test_a_topic_that_lies_still_holds_the_others_back_for_the_wait_and_not_longer(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    flow = Merged(bootstrap, prefix, tmp_path / "log", MERGED_WAIT_S="1.5").start().wait_ready()
    counts = {topic: [0] * PARTITIONS for topic in TOPICS}
    time.sleep(2)  # longer than the wait
    waited = []
    for topic in ("events", "labels", "events", "metrics"):
        now_ms = time.time_ns() // 1_000_000
        since = time.monotonic()
        new = [Sent(b"{}", b"k", now_ms, number) for number in range(PARTITIONS)]
        counts[topic] = add(counts[topic], publish(bootstrap, prefix, new, topic))
        flow.wait_all(counts, 20)
        waited.append(time.monotonic() - since)
    assert flow.terminate() == 0
    check(bootstrap, prefix, counts)
    assert max(waited) < 1.5 + 8.5  # the wait, and what reading, committing and looking take on a busy machine


def test_definitions_that_come_later_are_applied_though_nothing_else_happens(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    flow = Merged(bootstrap, prefix, tmp_path / "log").start().wait_ready()
    counts = publish_all(bootstrap, prefix, {AHEAD: records(3, random.Random(1))})
    flow.wait_all(counts)
    counts["events"] = publish(bootstrap, prefix, records(2, random.Random(2)))
    flow.wait_all(counts)
    assert flow.terminate() == 0
    check(bootstrap, prefix, counts)
    assert [one[0][AHEAD] for one in answers(bootstrap, prefix)] == [3, 3]


def test_a_merged_topic_that_ends_in_an_aborted_transaction_holds_nothing_up(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{prefix}labels"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for each in records(50, random.Random(3)):
        producer.produce(f"{prefix}labels", each.value, each.key, each.partition, timestamp=each.timestamp_ms)
    producer.flush(20)
    producer.abort_transaction(20)
    counts = publish_all(bootstrap, prefix, {"events": records(5, random.Random(4))})
    flow = Merged(bootstrap, prefix, tmp_path / "log").start()
    flow.wait_all(counts, 30)
    assert flow.terminate() == 0


def test_what_waits_goes_with_its_partition_to_another_process_and_back(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    rng = random.Random(7)
    counts = {topic: [0] * PARTITIONS for topic in TOPICS}

    def go_on(lots):
        for _ in range(lots):
            now_ms = time.time_ns() // 1_000_000
            for topic in ("metrics", "events", "labels"):  # up to 3 s apart, so that much of it waits
                new = records(20, rng, now_ms - rng.randint(0, 3_000), 100)
                counts[topic] = add(counts[topic], publish(bootstrap, prefix, new, topic))
            time.sleep(0.1)

    first = Merged(bootstrap, prefix, tmp_path / "first").start().wait_ready()
    go_on(5)
    second = Merged(bootstrap, prefix, tmp_path / "second").start().wait_ready()
    while second.metric("tidegate_assigned_partitions") != 1:
        go_on(2)
    go_on(5)
    second.kill()
    go_on(5)
    first.wait_all(counts)
    assert first.terminate() == 0
    check(bootstrap, prefix, counts)
    assert [one[-1]["metrics"] for one in totals(bootstrap, prefix)] == counts["metrics"]
