"""Whatever is published, the flow goes on: each kind of bad input has its answer, on a real broker."""

import json
import time

import pytest
from harness import Flow, Sent, create_topics, publish, read_committed

pytestmark = pytest.mark.broker

T0 = 1_760_000_000_000
HOUR = 3_600_000


def event(**fields: object) -> bytes:
    return json.dumps({"id": "x", "timestamp": T0, "user": "ada", "type": "login"} | fields).encode()


def without(name: str) -> bytes:
    fields = json.loads(event())
    del fields[name]
    return json.dumps(fields).encode()


REJECTED = {
    "not JSON": (b"hello", "not_json"),
    "cut short": (event()[:-3], "not_json"),
    "NaN": (event().replace(b'"login"', b'"login","amount":NaN'), "not_json"),
    "invalid UTF-8": (event().replace(b"ada", b"a\xffa"), "invalid_utf8"),
    "nesting 10,000 deep": (
        event().replace(b'"login"', b'"login","fields":' + b"[" * 10_000 + b"]" * 10_000),
        "too_deep",
    ),
    "5 MB": (event(session="s" * 5_000_000), "too_large"),
    "a tombstone": (None, "empty_value"),
    "no user": (without("user"), "missing_field"),
    "no id": (without("id"), "missing_field"),
    "no time": (without("timestamp"), "missing_field"),
    "an empty user": (event(user=""), "empty_field"),
    "an empty id": (event(id=""), "empty_field"),
    "a number for a user": (event(user=17), "wrong_type"),
    "a text for an amount": (event(amount="12"), "wrong_type"),
    "a negative amount": (event(amount=-0.01), "out_of_range"),
    "1e400": (event().replace(b'"login"', b'"login","amount":1e400'), "out_of_range"),
    "a huge amount": (event().replace(b'"login"', b'"login","amount":' + b"9" * 400), "out_of_range"),
    "a huge time": (event().replace(str(T0).encode(), b"9" * 40), "out_of_range"),
    "a time before 1970": (event(timestamp=-1), "out_of_range"),
    "the future": (event(timestamp=T0 + HOUR), "from_the_future"),
}


@pytest.fixture(scope="module")
def answers(bootstrap, tmp_path_factory):
    """All cases published at once, good events between them; then what the flow made of it."""
    prefix = f"bad{time.time_ns()}."
    create_topics(bootstrap, prefix, **{"max.message.bytes": "8000000"})
    records = []
    for number, (value, _) in enumerate(REJECTED.values()):
        records.append(Sent(value, b"ada", T0, 0))
        records.append(Sent(event(id=f"good-{number}"), b"ada", T0, 0))
    records.append(Sent(event(id="keyless"), None, T0, 0))
    good = [
        event(id="unknown field", colour="blue"),
        event(id="rfc", timestamp="2025-10-09T08:53:20Z"),
        event(id="late", timestamp=T0 - HOUR),
        event(id="past", timestamp=1),
        event(id="disorder", timestamp=T0 - 1_000),
        event(id="twice", user="bob"),
        event(id="twice", user="bob"),
    ]
    records += [Sent(value, b"ada", T0, 0) for value in good]
    # A single clock three days ahead, then two more users on the same day: only then does time move.
    ahead = T0 + 72 * HOUR
    records += [
        Sent(event(id=f"jump-{user}", user=user, timestamp=ahead), b"k", ahead, 0)
        for user in ("eve", "eve", "bob", "cyd")
    ]
    records.append(Sent(event(id="old now"), b"ada", T0, 0))
    counts = publish(bootstrap, prefix, records)
    flow = Flow(bootstrap, prefix, tmp_path_factory.mktemp("bad") / "log").start()
    flow.wait_answered(counts)
    metrics = flow.get("/metrics")[1]
    log = flow.log.read_text()
    assert flow.terminate() == 0
    dead = [json.loads(value) for _, value, _ in read_committed(bootstrap, f"{prefix}dead-letters")[0]]
    tiers = [json.loads(value) for _, value, _ in read_committed(bootstrap, f"{prefix}risk.tiers")[0]]
    return (
        {each["offset"]: each for each in dead},
        {each["id"]: each for each in tiers},
        tiers,
        metrics,
        log,
        f"{prefix}events",
    )


@pytest.mark.parametrize("case", REJECTED)
def test_bad_input_becomes_a_dead_letter_with_its_reason(answers, case):
    letter = answers[0][2 * list(REJECTED).index(case)]
    assert letter["reason"] == REJECTED[case][1]
    assert (letter["topic"], letter["partition"], letter["timestamp"]) == (answers[5], 0, T0)


@pytest.mark.parametrize("case", REJECTED)
def test_the_event_after_bad_input_is_answered(answers, case):
    assert f"good-{list(REJECTED).index(case)}" in answers[1]


def test_a_record_without_a_key_is_refused(answers):
    assert answers[0][2 * len(REJECTED)]["reason"] == "missing_key"


@pytest.mark.parametrize("reason", sorted({reason for _, reason in REJECTED.values()} | {"missing_key"}))
def test_every_reason_is_counted(answers, reason):
    count = sum(letter["reason"] == reason for letter in answers[0].values())
    assert (
        f'tidegate_records_rejected_total{{flow="risk",reason="{reason}",stage="decode"}} {float(count)}' in answers[3]
    )


def test_a_dead_letter_quotes_nothing_of_the_record(answers):
    assert all("ada" not in json.dumps(letter) for letter in answers[0].values())


def test_unknown_fields_are_ignored(answers):
    assert answers[1]["unknown field"].get("flags", []) == []


def test_rfc_3339_is_the_same_instant_as_milliseconds(answers):
    assert answers[1]["rfc"]["timestamp"] == T0


def test_a_late_event_is_answered_and_flagged(answers):
    assert answers[1]["late"]["flags"] == ["late"]
    assert answers[1]["past"]["flags"] == ["late"]


def test_an_event_a_little_out_of_order_is_not_late(answers):
    assert answers[1]["disorder"].get("flags", []) == []


def test_a_duplicate_is_answered_and_flagged(answers):
    twice = [each.get("flags", []) for each in answers[2] if each["id"] == "twice"]
    assert twice == [[], ["duplicate"]]


def test_a_jump_of_time_counts_only_once_three_users_confirm_it(answers):
    flags = [(each["id"], each.get("flags", [])) for each in answers[2] if each["id"].startswith("jump")]
    assert flags == [("jump-eve", ["ahead"]), ("jump-eve", ["ahead"]), ("jump-bob", ["ahead"]), ("jump-cyd", [])]
    assert answers[1]["old now"]["flags"] == ["late"]


@pytest.mark.parametrize("flag", ["late", "duplicate", "ahead"])
def test_every_flag_is_counted(answers, flag):
    count = sum(flag in each.get("flags", []) for each in answers[2])
    line = f'tidegate_events_flagged_total{{flag="{flag}",flow="risk",partition="0"}} {float(count)}'
    assert line in answers[3]


def test_no_output_metric_or_log_line_holds_a_raw_identifier(answers):
    users = ("ada", "bob", "eve", "cyd")
    assert not [each for each in answers[2] if each["user"] in users or not each["user"].startswith("h1:")]
    assert not [user for user in users if f'"{user}"' in answers[3] or f'"{user}"' in answers[4]]
