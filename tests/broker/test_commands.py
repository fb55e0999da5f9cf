"""The commands on a real Kafka."""

import json
import time

import msgspec
import pytest
from commands import change, described, event, file_of, make, records
from confluent_kafka import Producer

from schemas.dead_letter import DeadLetter, Reason

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("settings")]

# Hashes of Apache Kafka's own test of its murmur2 (clients/.../UtilsTest.java, testMurmur2).
MURMUR2 = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


# topics


def test_creating_the_topics_again_changes_nothing_and_succeeds(tidegate, prefix):
    names = ["events", "labels", "exposures", "metrics", "items", "interactions", "ranking.requests"]
    names += ["risk.tiers", "risk.alerts", "risk.evidence"]
    names += ["risk.explanations", "experiments.definitions", "experiments.parts", "experiments.readouts"]
    names += ["experiments.decisions", "uplift", "ranking.parts", "ranking.signals", "ranking.results"]
    names += ["ranking.served", "ranking.catalogue", "ranking.models", "ranking.quality"]
    names += ["dead-letters", "dead-letters.replays", "audit"]
    names += ["risk.snapshots", "risk.journal", "experiments.snapshots", "experiments.journal"]
    names += ["readouts.snapshots", "readouts.journal", "interactions.snapshots", "interactions.journal"]
    names += ["signals.snapshots", "signals.journal", "ranking.snapshots", "ranking.journal", "explanations.snapshots"]

    assert tidegate("topics", "create")[:2] == (0, "".join(f"created  {prefix}{name}\n" for name in names))
    assert tidegate("topics", "create")[:2] == (0, "".join(f"exists   {prefix}{name}\n" for name in names))


@pytest.mark.usefixtures("topics")
def test_all_topics_have_the_configured_number_of_partitions(tidegate):
    rows = [json.loads(line) for line in tidegate("topics", "list", "--json")[1].splitlines()]

    assert [row["partitions"] for row in rows] == [4] * 39


@pytest.mark.usefixtures("topics")
def test_topics_keep_the_event_time_and_what_is_old(admin, prefix):
    config = described(admin, f"{prefix}risk.tiers")

    assert (config["message.timestamp.type"], config["retention.ms"], config["retention.bytes"]) == (
        "CreateTime",
        "-1",
        "1073741824",
    )
    assert described(admin, f"{prefix}risk.snapshots")["cleanup.policy"] == "compact"


def test_a_topic_with_another_number_of_partitions_is_a_problem_and_nothing_is_made(tidegate, admin, prefix):
    make(admin, f"{prefix}events", 3)
    code, _, problems = tidegate("topics", "create")

    assert code == 1
    assert f"problem: {prefix}events has 3 partitions, settings say 4" in problems
    assert f"{prefix}risk.tiers" not in admin.list_topics(timeout=10).topics


def test_more_copies_than_brokers_is_a_problem(tidegate, monkeypatch):
    monkeypatch.setenv("TIDEGATE_TOPICS__REPLICATION", "99")
    code, _, problems = tidegate("topics", "create")

    assert code == 1
    assert "was not created" in problems


# publish


@pytest.mark.usefixtures("topics")
def test_events_go_where_javas_partitioner_puts_them(tidegate, bootstrap, prefix, tmp_path):
    file = file_of(tmp_path, *(event(number, user) for number, user in enumerate(MURMUR2)))

    assert tidegate("publish", file)[0] == 0
    # Java: toPositive(murmur2(key)) % partitions
    assert {message.key().decode(): message.partition() for message in records(bootstrap, f"{prefix}events", 6)} == {
        user: (value & 0x7FFFFFFF) % 4 for user, value in MURMUR2.items()
    }


@pytest.mark.usefixtures("topics")
def test_kafkas_time_is_the_events_time(tidegate, bootstrap, prefix, tmp_path):
    assert tidegate("publish", file_of(tmp_path, event(1, time_ms=1_442_018_818_771)))[0] == 0
    (message,) = records(bootstrap, f"{prefix}events", 1)

    assert message.timestamp()[1] == 1_442_018_818_771


@pytest.mark.usefixtures("topics")
def test_malformed_lines_are_reported_with_their_numbers_and_the_others_published(
    tidegate, bootstrap, prefix, tmp_path
):
    code, _, said = tidegate("publish", file_of(tmp_path, event(1), "no json", event(3, user=""), event(4)))

    assert code == 0
    assert [json.loads(message.value())["id"] for message in records(bootstrap, f"{prefix}events", 2)] == ["e1", "e4"]
    assert "line 2: expected JSON, got something else\n" in said
    assert "line 3: expected at least 1 character, got an empty string - at $.user\n" in said
    assert "published 2 events" in said
    assert "2 malformed" in said


@pytest.mark.usefixtures("topics")
def test_strict_ends_at_the_first_malformed_line(tidegate, tmp_path):
    code, _, said = tidegate("publish", file_of(tmp_path, event(1), "no json", event(3)), "--strict")

    assert code == 1
    assert "published 1 event " in said


@pytest.mark.usefixtures("topics")
def test_publishing_keeps_to_limit_and_rate(tidegate, tmp_path):
    file = file_of(tmp_path, *(event(number) for number in range(50)))
    began = time.monotonic()
    _, _, said = tidegate("publish", file, "--limit", "20", "--rate", "20")

    assert "published 20 events" in said
    assert time.monotonic() - began >= 0.95  # the 20th event is due after 19/20 of a second


@pytest.mark.usefixtures("topics")
def test_an_event_too_large_for_kafka_is_a_malformed_line(tidegate, tmp_path):
    _, _, said = tidegate("publish", file_of(tmp_path, event(1, session="x" * 2_000_000), event(2)))

    assert "line 1: larger than message.max.bytes allows" in said
    assert "published 1 event " in said


@pytest.mark.usefixtures("topics")
def test_old_events_are_not_published_where_kafka_would_delete_them(tidegate, admin, prefix, tmp_path):
    change(admin, f"{prefix}events", "retention.ms", "604800000")
    code, _, said = tidegate("publish", file_of(tmp_path, event(1)))

    assert code == 1
    assert "keeps records for 7.0 days by their event time" in said


def test_publishing_to_a_missing_topic_says_how_to_make_it(tidegate, prefix, tmp_path):
    assert tidegate("publish", file_of(tmp_path, event(1))) == (
        1,
        "",
        f"tidegate: there is no topic {prefix}events; `tidegate topics create` makes Tidegate's topics\n",
    )


# watch


@pytest.mark.usefixtures("topics")
def test_watching_as_json_gives_the_records_as_they_are(tidegate, tmp_path):
    lines = [event(number) for number in range(5)]
    tidegate("publish", file_of(tmp_path, *lines))

    assert tidegate("watch", "events", "--from", "beginning", "--json", "--limit", "5")[1].splitlines() == lines


@pytest.mark.usefixtures("topics")
def test_watching_ends_when_nothing_comes(tidegate, tmp_path):
    tidegate("publish", file_of(tmp_path, event(1)))
    code, out, _ = tidegate("watch", "events", "--from", "end", "--idle-seconds", "1")

    assert (code, out) == (0, "")


@pytest.mark.usefixtures("topics")
def test_watching_shows_nothing_of_aborted_transactions(tidegate, bootstrap, prefix):
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{prefix}test"})
    producer.init_transactions(20)
    for number, end in ((1, producer.abort_transaction), (2, producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(f"{prefix}events", event(number), "ann", 0)
        producer.flush()
        end(20)

    shown = tidegate("watch", "events", "--from", "beginning", "--json", "--idle-seconds", "2")[1]
    assert shown.splitlines() == [event(2)]


@pytest.mark.usefixtures("topics")
def test_decisions_are_shown_by_tier(tidegate, bootstrap, prefix):
    producer = Producer({"bootstrap.servers": bootstrap})
    for number, tier in enumerate(("low", "unknown", "high", "critical", "medium")):
        decision = {"schema": 1, "id": f"e{number}", "timestamp": 5, "user": "h1:0", "tier": tier, "standing": "low"}
        producer.produce(
            f"{prefix}risk.tiers", json.dumps({**decision, "partition": 0, "offset": number}), "h1:0", 0, timestamp=5
        )
    producer.flush(20)
    _, out, said = tidegate("watch", "risk.tiers", "--from", "beginning", "--tier", "high", "--idle-seconds", "2")

    assert [line.split()[2] for line in out.splitlines()] == ["high", "critical"]
    assert out.startswith("1970-01-01 00:00:00.005")
    assert "2 records" in said


# dead-letters


def letter(offset, reason, topic="events"):
    place = {"topic": topic, "partition": 0, "offset": offset, "timestamp": offset, "flow": "risk"}
    return DeadLetter(reason=reason, detail="expected JSON, got something else", **place)


@pytest.fixture
def letters(topics, bootstrap, prefix):
    written = [
        letter(1, Reason.NOT_JSON),
        letter(2, Reason.EMPTY_VALUE),
        letter(3, Reason.NOT_JSON),
        letter(4, Reason.NOT_JSON, "other"),
    ]
    producer = Producer({"bootstrap.servers": bootstrap})
    for number, each in enumerate(written):
        producer.produce(f"{prefix}dead-letters", msgspec.json.encode(each), "events-0", number % 4)
    producer.produce(f"{prefix}dead-letters", b"not one of ours", "x", 0)
    producer.flush(20)


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    ("filters", "offsets"),
    [
        ([], [1, 2, 3, 4]),
        (["--reason", "not_json"], [1, 3, 4]),
        (["--topic", "events"], [1, 2, 3]),
        (["--topic", "events", "--reason", "not_json"], [1, 3]),
        (["--limit", "2"], [3, 4]),
    ],
)
def test_dead_letters_are_listed_by_reason_topic_and_limit_newest_last(tidegate, filters, offsets):
    code, out, _ = tidegate("dead-letters", "list", "--json", *filters)

    assert (code, [json.loads(line)["offset"] for line in out.splitlines()]) == (0, offsets)


@pytest.mark.usefixtures("letters")
def test_the_table_of_dead_letters_counts_by_reason_and_names_what_is_not_one(tidegate):
    _, out, said = tidegate("dead-letters", "list", "--limit", "1")

    assert out.splitlines()[-1] == "4 dead letters: empty_value 1, not_json 3; shown: 1"
    assert "not dead letters of Tidegate: 1 record of" in said


@pytest.mark.usefixtures("topics")
def test_without_dead_letters_the_list_is_empty(tidegate):
    assert tidegate("dead-letters", "list")[:2] == (0, "0 dead letters; shown: 0\n")
