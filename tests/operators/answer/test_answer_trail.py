"""What the ranking flow writes beside its answers: measures of quality, alarms and changes in the audit trail."""

import json

import msgspec
from made_lists import NOW, judged, lists

from operators.answer import Answer
from operators.audit import Chain
from operators.batches import Change, Rejected
from operators.rerank import Rerank, RerankConfig
from operators.side import Side
from schemas.quality import Bin, GroupExposure, Quality


def answer(configuration="a"):
    return Answer("ranking", Chain(bytes(32), "ranking", 0, {"rank": configuration}))


def ordered(*quality, rejected=(), scores=((1.0,),), alarms=()):
    scored = lists([list(each) for each in scores], rejected=rejected)
    return judged(Rerank(RerankConfig()), scored, quality, alarms)


def quality(at=0, **more):
    return Quality(partition=0, timestamp=NOW + at, since=NOW, model="m1", k=10, lists=3, clicked=1, **more)


def kinds(found):
    return [json.loads(each.value)["kind"] for each in found.records if each.topic == "audit"]


def side(*changes, rejected=()):
    made = Side(0, "ranking.models", 5, 0, 2, [b"", b""], [b"ranker"] * 2, [0, 1], [NOW] * 2, source="t.ranking.models")
    made.changes += changes
    made.rejected += rejected
    return made


MODEL = Change(0, NOW, "model", {"version": "m2", "before": "fallback", "test_ndcg@10": 0.123456789})


def test_the_configuration_comes_first_at_the_time_of_the_first_record_and_once():
    stage = answer()
    found = stage.process(ordered(rejected=[Rejected(1, NOW + 5, "not_json", "")]))

    assert [each.topic for each in found.records] == ["audit", "ranking.results", "ranking.served", "dead-letters"]
    assert found.records[0].timestamp_ms == NOW
    assert kinds(stage.process(ordered())) == []


def test_a_batch_of_nothing_readable_has_the_time_of_its_first_record():
    found = answer().process(ordered(scores=(), rejected=[Rejected(0, NOW + 5, "not_json", "")]))

    assert [(each.topic, each.timestamp_ms) for each in found.records] == [
        ("audit", NOW + 5), ("dead-letters", NOW + 5),
    ]  # fmt: skip


def test_a_model_that_is_taken_up_is_audited_and_one_that_is_broken_a_dead_letter():
    stage = answer()
    found = stage.end_side(side(MODEL, rejected=[Rejected(1, NOW, "wrong_type", "")]))

    assert [each.topic for each in found.records] == ["audit", "dead-letters", "audit"]
    assert found.audited == ("configuration", "model")
    told = json.loads(found.records[-1].value)
    assert (told["sequence"], told["detail"]) == (1, {"version": "m2", "before": "fallback", "test_ndcg@10": 0.123457})
    assert json.loads(found.records[1].value)["topic"] == "t.ranking.models"
    assert found.beside.startswith("1:")


def test_while_rolling_forward_a_side_writes_nothing():
    made = side(MODEL, rejected=[Rejected(1, NOW, "wrong_type", "")])
    made.muted = True
    found = answer().end_side(made)

    assert (found.records, found.beside, found.audited) == ([], "", ())


def test_a_chain_goes_on_where_it_was_committed():
    first = answer().process(ordered())
    again = answer()
    again.recall(first.beside)
    told = json.loads(again.end_side(side(MODEL)).records[0].value)

    assert (told["sequence"], told["kind"]) == (1, "model")


def test_measures_are_written_with_six_digits_under_their_partition():
    one = quality(
        at=9,
        ndcg=0.123456789,
        recall_of={"popular": 1 / 3},
        reliability=(Bin(n=3, predicted=1 / 7, clicked=0.0),),
        groups=(GroupExposure(group="other", items=4, shown=2, exposure=2 / 3, clicks=1),),
    )
    (record,) = [each for each in answer().process(ordered(one)).records if each.topic == "ranking.quality"]
    told = msgspec.json.decode(record.value, type=Quality)

    assert (record.key, record.timestamp_ms) == (b"0", NOW + 9)
    assert (told.ndcg, told.recall_of, told.lists) == (0.123457, {"popular": 0.333333}, 3)
    assert told.reliability == (Bin(n=3, predicted=0.142857, clicked=0.0),)
    assert told.groups[0].exposure == 0.666667


def test_an_alarm_is_audited_with_its_group_and_figures():
    alarm = Change(0, NOW + 3, "fairness", {"group": "a", "lists": 7, "log_e": 1 / 3, "difference": -0.123456789})
    found = answer().process(ordered(quality(), alarms=[alarm]))
    told = json.loads(found.records[-1].value)

    assert found.audited == ("configuration", "fairness")
    assert (told["timestamp"], told["kind"], told["detail"]) == (
        NOW + 3,
        "fairness",
        {"group": "a", "lists": 7, "log_e": 0.333333, "difference": -0.123457},
    )


def test_nothing_is_remembered_between_batches():
    assert answer().dump() == {}
