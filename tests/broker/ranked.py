"""What the tests of the ranking flow share: the flow, what is published, and what the journal implies."""

import json
import sys
from collections import defaultdict

from bytewax.testing import TestingSink, TestingSource, run_main
from harness import PARTITIONS, Flow, Sent, committed, read_committed
from ranked_shop import ITEMS, NOW, catalogue, wire

from flows import ranking
from flows.settings import load_settings
from operators.batches import Encoded, Messages, Span
from operators.control import Restore
from operators.partitioner import murmur2
from operators.side import Side

OUTPUTS = ("ranking.results", "ranking.served", "ranking.quality", "dead-letters", "audit")
SIDES = ("ranking.catalogue", "ranking.models", "uplift", "interactions")

QUICK = {
    "TIDEGATE_RANKING__SNAPSHOT_INTERVAL_S": "2",
    "TIDEGATE_RANKING__BATCH_MAX": "50",
    "TIDEGATE_RANKING__UPLIFT": "true",
    "TIDEGATE_RANKING__SIDE_INTERVAL_MS": "50",
    "TIDEGATE_RANKING__RECALL__COUNT": "5",
    "TIDEGATE_RANKING__RECALL__USERS__MAX_USERS": "1000",
    "TIDEGATE_RANKING__RECALL__COVISITS__MAX_ITEMS": "1000",
    "TIDEGATE_RANKING__RECALL__TIME__DEDUP_MAX": "10000",
    "TIDEGATE_RANKING__RECALL__CATALOGUE__MAX_ITEMS": "1000",
    "TIDEGATE_RANKING__RECALL__CATALOGUE__RISK_FIELD": "risk",
    "TIDEGATE_RANKING__RECALL__CATALOGUE__OFFER_FIELD": "offer",
    "TIDEGATE_RANKING__RECALL__CATALOGUE__GROUPS": '[{"name":"small","field":"seller","values":["small"]}]',
    "TIDEGATE_RANKING__JUDGE__WITHIN_S": "60",
    "TIDEGATE_RANKING__JUDGE__WINDOW_S": "60",
    "TIDEGATE_RANKING__RERANK__UPLIFT": '{"experiment":"x","weight":0.3}',
    "TIDEGATE_RANKING__RERANK__RISK": '{"strength":0.8}',
    "TIDEGATE_RANKING__RERANK__FAIRNESS": '{"kind":"top_k","group":"small","p":0.6}',
}


class Ranking(Flow):
    """One process of the ranking flow."""

    def __init__(self, bootstrap, prefix, log, **settings):
        group = {"TIDEGATE_RANKING__GROUP": f"{prefix}ranking"}
        super().__init__(bootstrap, prefix, log, **QUICK | group | settings)
        self.group = group["TIDEGATE_RANKING__GROUP"]
        self.command = [sys.executable, "-m", "flows", "run", "ranking"]

    def wait_lists(self, counts, timeout_s=60):
        """Wait until the committed offsets of requests reach the ends."""
        topic = f"{self.prefix}ranking.requests"
        self._wait(lambda: committed(self.bootstrap, self.group, topic) == counts, timeout_s, f"at {counts}")


def sent(record, kafka_ms=None):
    """A record keyed by its user, at its own time, on the partition of its key."""
    key = record["user"].encode()
    return Sent(wire(record), key, kafka_ms or record["timestamp"], int(murmur2([key], PARTITIONS)[0]))


def everywhere(key, value, time_ms=NOW):
    """A record in every partition."""
    return [Sent(value, key, time_ms, number) for number in range(PARTITIONS)]


def shelves(first=0, end=None, **more):
    """Items as the signals flow writes them."""
    return [each for at in range(first, end or len(ITEMS)) for each in everywhere(*catalogue(at, **more))]


def written(bootstrap, prefix):
    """Key, value and time of all records of each output, by partition."""
    return {topic: read_committed(bootstrap, f"{prefix}{topic}") for topic in OUTPUTS}


def implied(flow):
    """What the outputs must be by the inputs and the journal alone: one run without a broker, and undisturbed."""
    settings = load_settings(None, flow.environment, needs_key=True)
    fresh = ranking.Stages(settings)
    logs = {topic: read_committed(flow.bootstrap, f"{flow.prefix}{topic}") for topic in ("ranking.requests", *SIDES)}
    journal = read_committed(flow.bootstrap, f"{flow.prefix}ranking.journal")
    found = {topic: [] for topic in OUTPUTS}
    for number, entries in enumerate(journal):
        answers, done, items = [], 0, [Restore(number, {})]
        for _, value, _ in [*entries, (None, None, None)]:
            entry = None if value is None else json.loads(value)
            end = len(logs["ranking.requests"][number]) if entry is None else entry["at"]
            if end > done:
                part = logs["ranking.requests"][number][done:end]
                items.append(_messages(flow, number, done, part))
                done = end
            if entry is not None:
                items.append(_side(flow, number, entry, logs[entry["topic"]][number]))
        run_main(ranking.build(fresh, TestingSource(items, batch_size=10), TestingSink(answers)))
        told = defaultdict(list)
        for answer in answers:
            if isinstance(answer, Encoded):
                for record in answer.records:
                    told[record.topic].append((record.key, record.value, record.timestamp_ms))
        for topic in OUTPUTS:
            found[topic].append(told[topic])
    return found


def _messages(flow, number, first, part):
    keys, values, times = ([each[at] for each in part] for at in range(3))
    span = Span(number, first, first + len(part))
    return Messages(span, f"{flow.prefix}ranking.requests", values, keys, list(range(span.first, span.next)), times)


def _side(flow, number, entry, log):
    first, end = entry["first"], entry["next"]
    keys, values, times = ([each[at] for each in log[first:end]] for at in range(3))
    return Side(
        number, entry["topic"], entry["at"], first, end, values, keys, list(range(first, end)), times,
        source=f"{flow.prefix}{entry['topic']}",
    )  # fmt: skip
