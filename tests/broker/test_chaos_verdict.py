"""The verdict on a chaos run finds each way of breaking the promise, in outputs broken by hand."""

import json

import pytest
from chaos_verdict import ALERTS, AUDIT, DEAD, TIERS, Record, Sent, judge

# Two partitions. Offset 1 of the first is garbage; its last event is an alert.
SENT = [
    [Sent("a", "ann"), Sent(None, "ann"), Sent("b", "bob"), Sent("c", "ann")],
    [Sent("d", "dan"), Sent("d", "dan")],
]
COMMITTED = [4, 2]
FAULTS = ("lost", "doubled", "disordered", "foreign", "differing", "miscounted", "uncommitted")


def decision(partition, offset, event, user, tier="low", **more):
    value = {"id": event, "user": f"h1:{user}", "tier": tier, "partition": partition, "offset": offset, **more}
    return Record(user.encode(), json.dumps(value).encode(), 1_000 + offset)


def dead(partition, offset, reason="not_json"):
    value = {"reason": reason, "topic": "events", "partition": partition, "offset": offset}
    return Record(b"events-0", json.dumps(value).encode(), 1_000 + offset)


def good():
    alert = decision(0, 3, "c", "ann", "high")
    return {
        TIERS: [
            [decision(0, 0, "a", "ann"), decision(0, 2, "b", "bob"), alert],
            [decision(1, 0, "d", "dan"), decision(1, 1, "d", "dan", flags=["duplicate"])],
        ],
        ALERTS: [[alert], []],
        DEAD: [[dead(0, 1)], []],
        AUDIT: [[], []],
    }


def broken(change, **more):
    """The faults, by name, that are found in what `change` leaves of good outputs."""
    outputs = good()
    change(outputs)
    verdict = judge(SENT, outputs, more.get("committed", COMMITTED), good())
    assert not verdict.kept
    return {fault: getattr(verdict, fault) for fault in FAULTS if getattr(verdict, fault)}


def test_a_run_that_equals_the_undisturbed_one_kept_the_promise():
    verdict = judge(SENT, good(), COMMITTED, good())

    assert verdict.kept
    assert verdict.expected == 6


def test_a_run_in_which_nothing_was_asked_proves_nothing():
    nothing = {topic: [[], []] for topic in good()}

    assert not judge([[], []], nothing, [0, 0], nothing).kept


def test_a_decision_that_is_missing_is_lost():
    assert broken(lambda outputs: outputs[TIERS][0].pop(1)) == {"lost": 1, "differing": 1, "miscounted": 1}


def test_a_dead_letter_that_is_missing_is_lost():
    assert broken(lambda outputs: outputs[DEAD][0].clear()) == {"lost": 1, "differing": 1}


def test_an_alert_that_is_missing_is_lost():
    assert broken(lambda outputs: outputs[ALERTS][0].clear()) == {"lost": 1, "differing": 1}


def test_everything_missing_at_the_end_of_a_partition_is_lost():
    assert broken(lambda outputs: outputs[TIERS][1].clear())["lost"] == 2


def test_a_decision_made_twice_is_doubled():
    found = broken(lambda outputs: outputs[TIERS][0].insert(1, outputs[TIERS][0][0]))

    assert found == {"doubled": 1, "differing": 1, "miscounted": 1}


def test_a_dead_letter_written_twice_is_doubled():
    assert broken(lambda outputs: outputs[DEAD][0].append(outputs[DEAD][0][0])) == {"doubled": 1, "differing": 1}


def test_an_alert_written_twice_is_doubled():
    assert broken(lambda outputs: outputs[ALERTS][0].append(outputs[ALERTS][0][0])) == {"doubled": 1, "differing": 1}


def test_an_offset_answered_by_decision_and_dead_letter_is_found():
    found = broken(lambda outputs: outputs[DEAD][0].append(dead(0, 2)))

    assert found == {"foreign": 1, "differing": 1}


def test_two_decisions_that_changed_places_are_out_of_order():
    def swap(outputs):
        tiers = outputs[TIERS][0]
        tiers[0], tiers[1] = tiers[1], tiers[0]

    assert broken(swap) == {"disordered": 1, "differing": 1}


def test_a_stretch_answered_again_is_doubled_and_not_called_disorder():
    def again(outputs):
        outputs[TIERS][1] += outputs[TIERS][1]

    assert broken(again) == {"doubled": 2, "differing": 1, "miscounted": 1}


def test_an_answer_on_another_partition_is_foreign():
    found = broken(lambda outputs: outputs[TIERS][1].append(decision(0, 0, "a", "ann")))

    assert found["foreign"] == 1


def test_an_answer_to_an_offset_beyond_the_end_is_foreign():
    assert broken(lambda outputs: outputs[TIERS][1].append(decision(1, 2, "e", "dan")))["foreign"] == 1


def test_an_answer_with_the_id_of_another_event_is_foreign():
    def rename(outputs):
        outputs[TIERS][0][1] = decision(0, 2, "a", "bob")

    assert broken(rename)["foreign"] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record._replace(key=b"other"),
        lambda record: record._replace(timestamp_ms=record.timestamp_ms + 1),
        lambda record: record._replace(value=record.value.replace(b'"low"', b'"medium"')),
        lambda record: record._replace(value=record.value + b" "),
    ],
    ids=["key", "timestamp", "tier", "one blank"],
)
def test_a_record_that_differs_in_anything_is_found(change):
    def differ(outputs):
        outputs[TIERS][0][1] = change(outputs[TIERS][0][1])

    assert broken(differ) == {"differing": 1}


def test_another_reason_in_a_dead_letter_is_found():
    def differ(outputs):
        outputs[DEAD][0][0] = dead(0, 1, "too_deep")

    assert broken(differ) == {"differing": 1}


def test_a_record_more_on_the_audit_topic_is_found():
    assert broken(lambda outputs: outputs[AUDIT][1].append(Record(b"k", b'{"event":"drift"}', 1))) == {"differing": 1}


def test_a_user_under_two_pseudonyms_is_miscounted():
    def split(outputs):
        outputs[TIERS][1][1] = decision(1, 1, "d", "another", flags=["duplicate"])

    assert "miscounted" in broken(split)


def test_two_users_under_one_pseudonym_are_miscounted():
    def join(outputs):
        outputs[TIERS][0][1] = decision(0, 2, "b", "ann")

    assert "miscounted" in broken(join)


def test_a_committed_offset_short_of_the_end_is_found():
    assert broken(lambda outputs: None, committed=[4, 1]) == {"uncommitted": 1}


def test_without_an_undisturbed_run_doubled_answers_are_still_found():
    outputs = good()
    outputs[TIERS][0].append(outputs[TIERS][0][0])

    assert judge(SENT, outputs, COMMITTED).doubled == 1


def test_a_verdict_quotes_the_first_few_of_each_fault():
    verdict = judge(SENT, good() | {TIERS: [[], []]}, COMMITTED)

    assert verdict.lost == 5
    assert len(verdict.examples["lost"]) == 3


def test_a_verdict_says_how_many_records_were_compared():
    assert judge(SENT, good(), COMMITTED).found == {TIERS: 5, ALERTS: 1, DEAD: 1, AUDIT: 0}
