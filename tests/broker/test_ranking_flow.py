"""The ranking flow on a real Kafka: killed at random, given nothing, given garbage, given a new ranker."""

import json
import random
import time
from collections import Counter

import msgspec
import pytest
from harness import KEY, PARTITIONS, Sent, create_topics, publish, read_committed
from ranked import Ranking, everywhere, implied, sent, shelves, written
from ranked_shop import ITEMS, NOW, interaction, ranker, request
from uplift_records import uplift

from schemas.ranked import RankedList

pytestmark = pytest.mark.broker

STEPS, STEP_MS = 20, 20_000


def add(one, other):
    return [a + b for a, b in zip(one, other, strict=True)]


def lists(bootstrap, prefix):
    found = read_committed(bootstrap, f"{prefix}ranking.results")
    return [[msgspec.json.decode(value, type=RankedList) for _, value, _ in each] for each in found]


def asked(step, rng):
    """Requests of one stretch of time: with candidates and without, twice the same, too late, or garbage."""
    time_ms = NOW + step * STEP_MS
    found = [
        request(
            f"{step}-{at}", f"u{rng.randrange(40)}", time_ms + at,
            items=rng.sample(ITEMS, 8) if at % 2 else (), count=rng.choice([None, 3]),
        )
        for at in range(20)
    ]  # fmt: skip
    those = [sent(each) for each in found]
    if step % 4 == 1:
        those += [those[0], sent(request(f"late-{step}", "u1", NOW - 10_000_000), kafka_ms=time_ms)]
        those += [Sent(b"{", b"k", time_ms, step % PARTITIONS)]
    return found, those


def done(step, requests, rng):
    """Clicks on what was asked for, and some that cannot be read."""
    time_ms = NOW + step * STEP_MS + 5_000
    those = [
        interaction(f"{step}-{at}", each["user"], rng.choice(ITEMS), time_ms + at, ranking=each["id"])
        for at, each in enumerate(requests)
    ]
    return [*map(sent, those), Sent(b"[]", b"k", time_ms, step % PARTITIONS)]


@pytest.fixture
def audit(tidegate, prefix, monkeypatch):
    """`tidegate audit`, as whoever keeps the trail runs it."""
    monkeypatch.setenv("TIDEGATE_PSEUDONYM_KEY", KEY)
    monkeypatch.setenv("TIDEGATE_RANKING__GROUP", f"{prefix}ranking")
    return lambda *words: tidegate("audit", *words)


def test_killed_at_random_each_request_is_answered_once_byte_for_byte_as_the_journal_says(
    bootstrap, prefix, tmp_path, audit
):
    create_topics(bootstrap, prefix)
    publish(bootstrap, prefix, shelves(), "ranking.catalogue")
    effect = msgspec.json.encode(uplift("coupon", effect=0.5))
    publish(bootstrap, prefix, everywhere(b"x/coupon/all", effect), "uplift")
    rng = random.Random(7)
    flow = Ranking(bootstrap, prefix, tmp_path / "log").missed_soon().start().wait_ready()
    kills = {rng.randrange(4, 8), rng.randrange(12, 17)}
    counts = [0] * PARTITIONS
    for step in range(STEPS):
        if step + 3 in kills:
            flow.wait_ready()
        requests, those = asked(step, rng)
        counts = add(counts, publish(bootstrap, prefix, those, "ranking.requests"))
        publish(bootstrap, prefix, done(step, requests, rng), "interactions")
        if step == 10:
            model = ranker("m1", "item_weighted_clicks_long", least=100.0)
            publish(bootstrap, prefix, everywhere(b"ranker", model), "ranking.models")
        if step % 5 == 0:
            changed = shelves(step % 30, step % 30 + 3, time_ms=NOW + 1 + step, clicks=step * 15)
            publish(bootstrap, prefix, changed, "ranking.catalogue")
        time.sleep(rng.random() / 3)
        if step in kills:
            flow.kill()
            flow.start()
    flow.wait_lists(counts)
    assert flow.terminate() == 0

    found = written(bootstrap, prefix)
    assert '"side_entries"' in flow.log.read_text(), "nothing was rolled forward over"
    answered = [[each.offset for each in one] for one in lists(bootstrap, prefix)]
    letters = [json.loads(value) for each in found["dead-letters"] for _, value, _ in each]
    unreadable = Counter((each["topic"].removeprefix(prefix), each["partition"]) for each in letters)
    for number, count in enumerate(counts):
        gone = [
            each["offset"] for each in letters if each["topic"].endswith("requests") and each["partition"] == number
        ]
        assert sorted(answered[number] + gone) == list(range(count))
        assert answered[number] == sorted(answered[number])
    assert unreadable["ranking.requests", 0] + unreadable["ranking.requests", 1] == STEPS // 4
    assert unreadable["interactions", 0] + unreadable["interactions", 1] == STEPS
    flags = Counter(flag for one in lists(bootstrap, prefix) for each in one for flag in each.flags)
    assert flags.keys() == {"late", "duplicate"}
    assert {each.model for one in lists(bootstrap, prefix) for each in one} == {"fallback", "m1"}
    for topic, expected in implied(flow).items():
        assert found[topic] == expected, topic
        assert any(expected), f"nothing was written on {topic}"
    code, shown, _ = audit("verify", "--from-start")
    assert (code, shown.count("ranking-"), shown.count("whole")) == (0, PARTITIONS, PARTITIONS), shown


def test_a_new_ranker_is_taken_up_without_a_restart_and_a_broken_one_is_refused(bootstrap, prefix, tmp_path):
    create_topics(bootstrap, prefix)
    publish(bootstrap, prefix, shelves(), "ranking.catalogue")
    flow = Ranking(bootstrap, prefix, tmp_path / "log").start().wait_ready()

    def answer(number):
        asked = [Sent(sent(request(number, "ann")).value, b"ann", NOW, at) for at in range(PARTITIONS)]
        publish(bootstrap, prefix, asked, "ranking.requests")
        flow.wait_lists([number] * PARTITIONS)
        return [each[-1] for each in lists(bootstrap, prefix)]

    first = answer(1)
    assert [each.model for each in first] == ["fallback"] * PARTITIONS
    assert [each.signals for each in first] == [{str(at): len(ITEMS)} for at in range(PARTITIONS)]
    assert first[0].items[0].item in {"item-29", "item-28"}, "the most popular, if no step has moved it"

    model = ranker("m1", "item_weighted_clicks_long", slope=-1.0, least=100.0)
    publish(bootstrap, prefix, everywhere(b"ranker", model), "ranking.models")
    flow._wait(lambda: flow.metric('tidegate_ranker_ready{flow="ranking"') == PARTITIONS, 30, "with the ranker")
    assert [each.model for each in answer(2)] == ["m1"] * PARTITIONS

    broken = ranker("m2", "no_such_feature")
    publish(bootstrap, prefix, everywhere(b"ranker", broken), "ranking.models")
    flow._wait(lambda: flow.metric("tidegate_ranker_refused_total{") == PARTITIONS, 30, "without the broken ranker")
    third = answer(3)
    assert [each.model for each in third] == ["m1"] * PARTITIONS
    assert all(item.probability is not None for item in third[0].items)

    assert flow.terminate() == 0
    trail = [json.loads(value) for each in read_committed(bootstrap, f"{prefix}audit") for _, value, _ in each]
    assert Counter((each["kind"], each["detail"].get("version")) for each in trail if each["kind"] == "model") == {
        ("model", "m1"): PARTITIONS
    }
    letters = [json.loads(value) for each in read_committed(bootstrap, f"{prefix}dead-letters") for _, value, _ in each]
    assert [(each["topic"], each["reason"]) for each in letters] == [
        (f"{prefix}ranking.models", "out_of_range")
    ] * PARTITIONS
