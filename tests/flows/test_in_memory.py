"""Flows over topics in memory: what they say is what their stages say, one after the other."""

import json
from itertools import islice

import pytest

import operators
from flows import risk
from flows.demo.generator import Generator, GeneratorConfig
from flows.in_memory import Plan, Running, Topics, run_all
from flows.settings import Settings, with_key
from operators.batches import Encoded, Messages, Outgoing, Span
from operators.partitioner import murmur2
from operators.side import applied

KEY = bytes(range(32))


class Doubling:
    """Writes every value twice, what side topics said before it, and at a flush how many there were, once a piece."""

    fingerprint = "doubling"

    def __init__(self, _partition):
        self.side, self.left = b"", 0

    def process(self, batch):
        self.left += batch.events
        return Encoded(batch.span, [Outgoing("twice", b"k", value * 2 + self.side, 1) for value in batch.values])

    def take_side(self, side):
        self.side = side.values[-1]

    def end_side(self, side):
        return applied("doubling", side)

    def at_flush(self, partition):
        if self.left == 0:
            return None
        self.left -= 1
        return Encoded(Span(partition, 0, 0), [Outgoing("every", b"k", b"%d" % partition, 1, 1 - partition)])

    def dump(self):
        return {}

    def load(self, state):
        pass

    def measurements(self):
        return ()


@pytest.fixture
def topics():
    return Topics(2)


@pytest.fixture
def doubling(topics):
    return Running(Plan("doubling", "words", {"double": Doubling}, ("beside",)), topics, batch_max=2)


def test_a_key_falls_where_javas_partitioner_puts_it(topics):
    keys = [b"key-%d" % number for number in range(50)]
    for key in keys:
        topics.publish("words", key, b"", 1)

    at = murmur2(keys, 2)
    assert [[each.key for each in topics.log("words", p)] for p in (0, 1)] == [
        [key for key, where in zip(keys, at, strict=True) if where == p] for p in (0, 1)
    ]


def test_side_topics_are_read_first_and_every_record_once(topics, doubling):
    topics.publish("words", b"", b"a", 1, 0)
    topics.publish("beside", b"", b"!", 1, 0)
    read = doubling.run()
    topics.publish("words", b"", b"b", 1, 0)

    assert (read, doubling.run(), doubling.run()) == (2, 1, 0)
    assert topics.values("twice") == [b"aa!", b"bb!"]
    assert topics.values("twice", since=1) == [b"bb!"]


def test_records_go_to_their_inputs_partition_unless_they_say_where(topics, doubling):
    for _ in range(3):
        topics.publish("words", b"", b"a", 1, 1)
    doubling.run()

    assert [len(topics.log("twice", p)) for p in (0, 1)] == [0, 3]
    assert [len(topics.log("every", p)) for p in (0, 1)] == [3, 0]  # all of them, one at each flush


def test_one_flow_reads_what_another_wrote_whichever_has_its_turn_first(topics, doubling):
    class Last(Doubling):
        def process(self, batch):
            return Encoded(batch.span, [Outgoing("last", b"k", value, 1) for value in batch.values])

    last = Running(Plan("last", "twice", {"double": Last}), topics)
    topics.publish("words", b"", b"a", 1, 0)
    run_all([last, doubling])

    assert topics.values("last") == [b"aa"]


@pytest.mark.parametrize(("fingerprint", "number"), [("counting", b"2"), ("counting otherwise", b"1")])
def test_a_stage_has_its_state_again_after_a_restart_unless_its_fingerprint_is_another(topics, fingerprint, number):
    class Counting(Doubling):
        def __init__(self, _partition, fingerprint):
            self.fingerprint, self.seen, self.left = fingerprint, 0, 0

        def process(self, batch):
            self.seen += batch.events
            return Encoded(batch.span, [Outgoing("seen", b"k", b"%d" % self.seen, 1)])

        def dump(self):
            return {"seen": self.seen}

        def load(self, state):
            self.seen = state["seen"]

    def plan(name):
        return Plan("counting", "words", {"count": lambda partition: Counting(partition, name)})

    flow = Running(plan("counting"), topics)
    for name in ("counting", fingerprint):
        flow.restart(plan(name))
        topics.publish("words", b"", b"a", 1, 0)
        flow.run()

    assert topics.values("seen") == [b"1", number]


def test_a_flow_goes_on_after_a_restart_with_what_it_knew_and_an_unbroken_audit_trail():
    settings = with_key(Settings(), KEY)
    events = list(islice(Generator(GeneratorConfig(users=50)).events(), 600))

    def told(*, restarted):
        topics = Topics(1)

        def plan():
            fresh = risk.Stages(settings)
            return Plan("risk", "events", {verb: getattr(fresh, verb) for verb in operators.__all__})

        flow = Running(plan(), topics)
        for half in (events[:300], events[300:]):
            for event in half:
                topics.publish("events", event.key, event.value, event.timestamp_ms)
            flow.run()
            if restarted:
                flow.restart(plan())
        return [topics.values(topic) for topic in ("risk.tiers", "audit")]

    assert told(restarted=True) == told(restarted=False)


def test_the_risk_flow_says_here_what_its_stages_say():
    settings = with_key(Settings(), KEY)
    events = list(islice(Generator(GeneratorConfig(users=50)).events(), 600))
    topics, fresh = Topics(1), risk.Stages(settings)
    for event in events:
        topics.publish("events", event.key, event.value, event.timestamp_ms)
    flow = Running(Plan("risk", "events", {verb: getattr(fresh, verb) for verb in operators.__all__}), topics, 100)
    flow.run()
    values, keys = [event.value for event in events], [event.key for event in events]
    times = [event.timestamp_ms for event in events]
    batch = Messages(Span(0, 0, 600), "events", values, keys, list(range(600)), times)
    for verb in operators.__all__:
        batch = getattr(risk.Stages(settings), verb)(0).process(batch)

    told = [json.loads(value) for value in topics.values("risk.tiers")]
    assert len(told) == 600
    assert told == [json.loads(record.value) for record in batch.records if record.topic == "risk.tiers"]
