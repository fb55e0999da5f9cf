"""The last stage of the experiments flow: parts of what changed, dead letters, a chain that tells of definitions."""

import dataclasses

import msgspec
import numpy as np
import pytest

from operators.accumulate.answers import Accumulated, Totals
from operators.accumulate.encode import EncodeParts
from operators.accumulate.observed import Observations, Observed
from operators.audit import Chain
from operators.batches import Change, Rejected, Span
from operators.partitioner import murmur2
from operators.side import EndsSides, Side
from operators.stage import WritesAtFlush
from operators.state import Recalls, Stage, pack, unpack
from schemas.audit import Audit
from schemas.dead_letter import DeadLetter
from schemas.definition import Definition, Metric, Phase
from schemas.part import Part

KEY = bytes(32)
NOW = 1_767_225_600_000


def definition(name="button"):
    return Definition(
        id=name, version=3, timestamp=NOW, seed=name, variations=("a", "b"),
        phases=(Phase(start=0, coverage=1.0, weights=(0.5, 0.5)),),
        primary=Metric(name="m", kind="mean", event="e"),
        alpha=0.05, tuning_n=1, attribution_window_s=1, minimum_run_s=0, mde=0.1, cuped=False,
    )  # fmt: skip


def totals(name="button", stream_ms=NOW):
    sums = np.arange(150.0).reshape(1, 1, 5, 2, 15)
    counts = np.arange(10.0).reshape(1, 5, 2)
    return Totals(
        definition(name), ("m",), stream_ms, sums, sums / 2**60, sums[..., :3], counts, counts / 2, NOW - 5, {"late": 2}
    )


class Fake:
    """What the accumulate stage says."""

    def __init__(self, *names):
        self.names = list(names)
        self.held = {name: totals(name) for name in names}

    def changed(self):
        found, self.names = self.names, []
        return found

    def totals(self, experiment):
        return self.held[experiment]


def encode(of=None, most=200, configuration="1"):
    chain = Chain(KEY, "experiments", 3, {"observe": configuration})
    return EncodeParts("experiments", chain, of or Fake(), 4, 8, most, tiers=False)


def batch(first=40, rejected=(), times=(NOW,), *, muted=False):
    n = len(times)
    zeros = {field.name: np.zeros(n) for field in dataclasses.fields(Observed)}
    rows = Observed(**zeros | {"time_ms": np.array(times, np.int64)})
    span = Span(3, first, first + n + len(rejected), muted)
    return Accumulated(Observations(span, "acme.exposures", rows, list(rejected), n), np.zeros(n, np.uint8))


def side(changes=(), rejected=(), topic="experiments.definitions", *, muted=False):
    found = Side(3, topic, 41, 7, 9, [b""], [b"k"], [7], [NOW], muted=muted, source=f"acme.{topic}")
    found.changes, found.rejected = list(changes), list(rejected)
    return found


def change(offset=7, version=1, what="new"):
    return Change(offset, NOW, "experiment", {"experiment": "button", "version": version, "changed": what})


BROKEN = Rejected(40, NOW - 9, "not_json", "expected JSON, got something else")


def parts(stage):
    found = stage.at_flush(3)
    return [] if found is None else [msgspec.json.decode(record.value, type=Part) for record in found.records]


def audit(records):
    return [msgspec.json.decode(record.value, type=Audit) for record in records if record.topic == "audit"]


def test_experiments_that_were_taken_back_keep_none_behind_them_from_being_written():
    """Whoever says nothing at a flush is not asked again."""
    of = Fake("gone", "button")
    del of.held["gone"]
    assert [each.experiment for each in parts(encode(of, most=1))] == ["button"]


@pytest.mark.parametrize("kind", [Stage, EndsSides, WritesAtFlush, Recalls])
def test_it_is_a_last_stage_that_writes_at_flushes(kind):
    assert isinstance(encode(), kind)


def test_a_part_holds_what_the_accumulate_stage_says():
    stage = encode(Fake("button"))
    stage.process(batch())
    stage.end_side(side(topic="metrics"))
    [part], said = parts(stage), totals()

    assert (part.experiment, part.version, part.metrics, part.arms, part.phases) == ("button", 3, ("m",), ("a", "b"), 1)
    assert (part.partition, part.partitions, part.tiers) == (3, 4, False)
    assert (part.timestamp, part.first_exposure, part.refused) == (NOW, NOW - 5, {"late": 2})
    for name in ("matured", "matured_low", "open", "exposed", "several"):
        assert np.frombuffer(getattr(part, name), "<f8").tolist() == getattr(said, name).ravel().tolist()


def test_a_part_says_how_far_each_topic_was_read():
    stage = encode(Fake("button"))
    stage.process(batch(first=40, times=(NOW, NOW)))
    stage.end_side(side(topic="metrics"))

    assert parts(stage)[0].offsets == {"exposures": 42, "metrics": 9}


def test_a_part_says_where_the_input_stands_before_any_of_it_was_read():
    stage = encode(Fake("button"))
    stage.end_side(side(topic="metrics"))

    assert parts(stage)[0].offsets == {"exposures": side(topic="metrics").at, "metrics": 9}


def test_a_part_goes_to_the_partition_of_its_experiment():
    [record] = encode(Fake("button")).at_flush(3).records

    assert (record.topic, record.key, record.timestamp_ms) == ("experiments.parts", b"button", NOW)
    assert record.partition == murmur2([b"button"], 8)[0]


def test_what_did_not_change_is_not_written_again():
    stage = encode(Fake("button"))

    assert (len(parts(stage)), stage.at_flush(3)) == (1, None)


def test_those_that_wait_longest_come_first_and_the_others_later():
    of = Fake("a", "b", "c")
    stage = encode(of, most=2)
    first = [part.experiment for part in parts(stage)]
    of.names = ["a", "c"]

    assert first == ["a", "b"]
    assert [part.experiment for part in parts(stage)] == ["c", "a"]


def test_an_experiment_that_was_taken_back_while_it_waited_is_passed_over():
    of = Fake("a", "b")
    del of.held["a"]

    assert [part.experiment for part in parts(encode(of))] == ["b"]


def test_every_record_that_could_not_be_read_is_a_dead_letter():
    found = encode().process(batch(rejected=[BROKEN]))
    [letter] = [
        msgspec.json.decode(each.value, type=DeadLetter) for each in found.records if each.topic == "dead-letters"
    ]

    assert (letter.topic, letter.partition, letter.offset, letter.flow) == ("acme.exposures", 3, 40, "experiments")


def test_the_configuration_is_told_once_at_the_time_of_the_first_record():
    stage = encode()
    [told] = audit(stage.process(batch(rejected=[BROKEN])).records)
    again = stage.process(batch(first=42))

    assert (told.kind, told.sequence, told.timestamp) == ("configuration", 0, NOW - 9)
    assert again.records == []
    assert again.beside.startswith("0:")


def test_a_record_that_can_be_read_gives_its_own_time():
    rejected = dataclasses.replace(BROKEN, offset=41)
    [told] = audit(encode().process(batch(rejected=[rejected], times=(NOW + 5,))).records)

    assert told.timestamp == NOW + 5


def test_each_definition_applied_is_in_the_audit_trail_after_the_configuration():
    found = encode().end_side(side([change(), change(8, 2, "phases")]))
    trail = audit(found.records)

    assert [(each.kind, each.sequence) for each in trail] == [
        ("configuration", 0),
        ("experiment", 1),
        ("experiment", 2),
    ]
    assert trail[2].detail == {"experiment": "button", "version": 2, "changed": "phases"}
    assert found.audited == ("configuration", "experiment", "experiment")
    assert found.beside.startswith("2:")
    assert {record.key for record in found.records} == {b"experiments-3"}


def test_side_records_that_cannot_be_read_are_dead_letters_of_their_own_topic():
    found = encode().end_side(side(rejected=[BROKEN], topic="metrics"))
    [letter] = [msgspec.json.decode(each.value, type=DeadLetter) for each in found.records]

    assert (letter.topic, letter.offset) == ("acme.metrics", 40)


def test_muted_records_give_nothing_and_leave_the_chain_where_it_is():
    stage = encode()
    answers = [
        stage.process(batch(rejected=[BROKEN], muted=True)),
        stage.end_side(side([change()], [BROKEN], muted=True)),
    ]

    assert [(answer.records, answer.beside) for answer in answers] == [([], ""), ([], "")]
    assert audit(stage.process(batch()).records)[0].sequence == 0


def test_a_chain_goes_on_from_what_was_committed():
    before = encode().process(batch())
    stage = encode(configuration="2")
    stage.recall(before.beside)
    [told] = audit(stage.process(batch()).records)

    assert (told.sequence, told.detail["observe_before"]) == (1, "1")


def test_a_part_carries_the_head_of_the_chain():
    stage = encode(Fake("button"))
    stage.process(batch())

    assert stage.at_flush(3).beside.startswith("0:")


def test_how_far_topics_were_read_survives_a_snapshot():
    stage, again = encode(), encode(Fake("button"))
    stage.process(batch(muted=True))
    stage.end_side(side(topic="metrics", muted=True))
    again.load(unpack(pack(stage.dump())))

    assert parts(again)[0].offsets == {"exposures": 41, "metrics": 9}


def test_what_was_written_and_what_waits_is_measured():
    stage = encode(Fake("a", "b", "c"), most=2)
    stage.at_flush(3)
    measured = {each.metric: each.value for each in stage.measurements()}

    assert (measured["tidegate_parts_written_total"], measured["tidegate_parts_waiting"]) == (2, 1)
