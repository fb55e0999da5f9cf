"""Changes become audit records: their place, time and numbers, and what is committed beside the offset."""

import dataclasses
import json

import msgspec
from decisions import NOW, tiered

from operators.audit import Chain
from operators.batches import Change, Rejected
from operators.encode import Encode
from schemas.audit import Audit


def audited(configuration="a"):
    return Encode("risk", Chain(bytes(32), "risk", 3, {"tier": configuration}))


def changed(batch, *, model=(), threshold=()):
    """A batch with changes at these offsets."""
    scored = dataclasses.replace(
        batch.calibrated.scored, changes=[Change(at, NOW + at, "model", {"event": "ready"}) for at in model]
    )
    thresholds = [Change(at, NOW + at, "threshold", {"medium": 2.34567891, "high": None}) for at in threshold]
    return dataclasses.replace(
        batch, calibrated=dataclasses.replace(batch.calibrated, scored=scored, changes=thresholds)
    )


def told(answer):
    return [
        (each.topic, json.loads(each.value).get("kind", json.loads(each.value).get("offset")))
        for each in answer.records
    ]


def test_the_configuration_comes_before_the_first_answer():
    answer = audited().process(tiered(["low"], offsets=[41]))

    assert told(answer) == [("audit", "configuration"), ("risk.tiers", 41)]
    assert answer.audited == ("configuration",)


def test_the_configuration_has_the_time_of_the_first_record_readable_or_not():
    event_first = audited().process(tiered(["low"], offsets=[0], rejected=[Rejected(1, 5, "not_json", "")]))
    letter_first = audited().process(tiered(["low"], offsets=[1], rejected=[Rejected(0, 5, "not_json", "")]))

    assert [answer.records[0].timestamp_ms for answer in (event_first, letter_first)] == [NOW, 5]


def test_a_change_comes_right_after_the_event_it_came_with_and_its_alert():
    batch = changed(tiered(["low", "high", "low", "low"]), model=[1], threshold=[1, 3])

    assert told(audited().process(batch))[1:] == [
        ("risk.tiers", 0),
        ("risk.tiers", 1),
        ("risk.alerts", 1),
        ("audit", "model"),
        ("audit", "threshold"),
        ("risk.tiers", 2),
        ("risk.tiers", 3),
        ("audit", "threshold"),
    ]


def test_an_audit_record_has_the_chains_key_and_the_events_time():
    record = audited().process(changed(tiered(["low"]), model=[0])).records[-1]

    assert (record.key, record.timestamp_ms, json.loads(record.value)["timestamp"]) == (b"risk-3", NOW, NOW)


def test_numbers_in_a_change_are_rounded_and_what_is_unknown_is_null():
    record = audited().process(changed(tiered(["low"]), threshold=[0])).records[-1]

    assert msgspec.json.decode(record.value, type=Audit).detail == {"medium": 2.34568, "high": None}


def test_each_answer_says_what_is_to_be_committed_beside_its_offset():
    stage = audited()
    first = stage.process(tiered(["low"]))
    quiet = stage.process(tiered(["low"], offsets=[1]))

    assert first.beside.startswith("0:")
    assert json.loads(first.records[0].value)["mac"] in first.beside
    assert quiet.beside == first.beside


def test_a_muted_batch_leaves_the_audit_chain_alone():
    stage = audited()
    answer = stage.process(changed(tiered(["low"], muted=True), model=[0]))

    assert (answer.records, answer.beside, answer.audited) == ([], "", ())
    assert next(iter(stage.measurements())).value == 0


def test_a_recalled_chain_goes_on_and_tells_no_configuration_again():
    first = audited().process(tiered(["low"]))
    stage = audited()
    stage.recall(first.beside)
    answer = stage.process(changed(tiered(["low"]), model=[0]))
    record = json.loads(answer.records[-1].value)

    assert answer.audited == ("model",)
    assert (record["sequence"], record["previous"]) == (1, json.loads(first.records[0].value)["mac"])


def test_another_configuration_is_told_at_the_first_live_record():
    first = audited().process(tiered(["low"]))
    stage = audited("b")
    stage.recall(first.beside)
    stage.process(tiered(["low"], muted=True))
    answer = stage.process(tiered(["low"], offsets=[1]))
    record = json.loads(answer.records[0].value)

    assert (record["sequence"], record["detail"]["tier"], record["detail"]["tier_before"]) == (1, "b", "a")


def test_without_a_chain_nothing_is_audited():
    answer = Encode().process(changed(tiered(["low"]), model=[0]))

    assert told(answer) == [("risk.tiers", 0)]
    assert (answer.beside, answer.audited) == ("", ())
