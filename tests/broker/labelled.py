"""What the tests of labels share: the flow that counts them, what is published, and what the journal implies."""

import json
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from counted import answer, note
from harness import PARTITIONS, Flow, Sent, read_committed
from test_takeover import _progress as progress_of

QUICK = {
    "TIDEGATE_RISK__LABELS__ENABLED": "true",
    "TIDEGATE_RISK__LABELS__INTERVAL_MS": "50",
    "TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "0.5",
    "TIDEGATE_RISK__COMMIT_INTERVAL_MS": "50",
    "TIDEGATE_RISK__BATCH_MAX": "100",
}
OUTPUTS = ("risk.tiers", "risk.alerts", "risk.evidence", "dead-letters", "audit")
SOMETIMES = QUICK | {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "3"}
"""So that events and labels in turn are rolled forward over."""
RARE = QUICK | {"TIDEGATE_RISK__SNAPSHOT_INTERVAL_S": "3600"}


class Counted(Flow):
    """One process of the flow that counts labels."""

    def __init__(self, bootstrap, prefix, log, **settings):
        super().__init__(bootstrap, prefix, log, **QUICK | settings)
        self.command = [sys.executable, str(Path(__file__).parent / "counted.py"), "run", "risk"]

    def wait_applied(self, labels, timeout_s=60):
        """Wait until the committed side offsets reach the ends."""
        self._wait(lambda: applied_of(self) == labels, timeout_s, f"labels at {labels}")


def applied_of(flow):
    return [0 if told is None else told.sides.get("labels", 0) for _, told in progress_of(flow)]


def events(count):
    return [Sent(b'{"id":"e%d"}' % number, b"u", 1_000 + number, number % PARTITIONS) for number in range(count)]


def labels(count, first=0, bad=0):
    return [
        Sent(
            b"{" if bad and number % bad == 0 else b'{"id":"l%d","user":"u","label":"fraud","timestamp":1}' % number,
            b"u",
            1_000 + number,
            number % PARTITIONS,
        )
        for number in range(first, first + count)
    ]


def journal(bootstrap, prefix):
    return [[json.loads(value) for _, value, _ in one] for one in read_committed(bootstrap, f"{prefix}risk.journal")]


def answers(bootstrap, prefix):
    return [[json.loads(value) for _, value, _ in one] for one in read_committed(bootstrap, f"{prefix}risk.tiers")]


def implied(bootstrap, prefix):
    """What every event must be answered, by the journal and the labels alone."""
    found = []
    places = zip(
        read_committed(bootstrap, f"{prefix}events"),
        read_committed(bootstrap, f"{prefix}labels"),
        journal(bootstrap, prefix),
        strict=True,
    )
    for events_, labels_, entries in places:
        seen = trace = 0
        told, ahead = [], list(entries)
        for offset in range(len(events_)):
            while ahead and ahead[0]["at"] <= offset:
                entry = ahead.pop(0)
                for _, value, _ in labels_[entry["first"] : entry["next"]]:
                    seen, trace = note(seen, trace, value)
            value, trace = answer(offset, seen, trace)
            told.append(json.loads(value))
        found.append(told)
    return found


def check(bootstrap, prefix, counts):
    """Every label was applied exactly once, and every answer is the one that the journal implies."""
    for entries, count in zip(journal(bootstrap, prefix), counts, strict=True):
        reached = 0
        for entry in entries:
            assert entry["first"] == reached
            assert entry["next"] - entry["first"] == entry["records"]
            reached = entry["next"]
        assert reached == count
        assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    assert answers(bootstrap, prefix) == implied(bootstrap, prefix)


def add(one, other):
    return [a + b for a, b in zip(one, other, strict=True)]


def make_anew(flow, topic, partitions=PARTITIONS):
    admin = AdminClient({"bootstrap.servers": flow.bootstrap})
    for done in admin.delete_topics([f"{flow.prefix}{topic}"]).values():
        done.result()
    deadline = time.monotonic() + 20
    if not partitions:
        # The broker answers from what it knows itself, which is a moment behind its controller.
        while f"{flow.prefix}{topic}" in admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return
    while True:
        [done] = admin.create_topics([NewTopic(f"{flow.prefix}{topic}", partitions, 1)]).values()
        try:
            done.result()
        except KafkaException:  # still being deleted
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return
