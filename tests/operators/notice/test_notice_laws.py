"""The laws of the notice stage: cuts do not matter, nothing is remembered, muted is as live."""

import dataclasses
import random

import pytest
from notice_streams import MAKE, NOW, PSEUDONYMS, field, joined, messages, notice, side
from streams import GARBAGE

from operators.batches import Span
from operators.notice import Notice, NoticeConfig
from operators.state import Stage

TOPICS = tuple(MAKE)
USERS = ("ada", "bob", None, "x" * 200)


def stream(seed, topic, n=300):
    """Return records of a topic, with garbage, repeats and times of all forms among them."""
    rng = random.Random(seed)
    found = []
    for at in range(n):
        when = NOW + rng.randrange(-(10**6), 10**5)
        changes = {"timestamp": rng.choice((when, str(when), "2025-12-31T23:59:59.5Z", float(when)))}
        changes |= {"fields": rng.choice(([], None, [field("position", rng.randrange(-1, 9)), field("a", ["b", 1])]))}
        if topic != "items":
            changes |= {"user": rng.choice(USERS), "session": rng.choice((None, "s-1", "s-2")), "id": f"c-{at // 3}"}
        if topic == "ranking.requests":
            changes |= {"items": [{"id": f"item-{rng.randrange(9)}"} for _ in range(rng.randrange(4))]}
        else:
            changes |= {"item": f"item-{rng.randrange(30)}"}
        found.append(rng.choice(GARBAGE) if rng.random() < 0.1 else MAKE[topic](**changes))
    return found


def answers(stage, topic, values, sizes):
    """Return the rows and the rejections of records in pieces of some sizes."""
    at, rows, rejected = 0, [], []
    for size in sizes:
        records = side(topic, *values[at : at + size], first=at)
        stage.take_side(records)
        rows.append(records.noticed)
        rejected += records.rejected
        at += size
    return joined(rows), rejected


def cut(n, seed, most):
    rng, sizes = random.Random(seed), []
    while sum(sizes) < n:
        sizes.append(min(n - sum(sizes), rng.randrange(1, most)))
    return sizes


def test_notice_is_a_stage():
    assert isinstance(notice(), Stage)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize(("seed", "most"), [(1, 40), (2, 40), (3, 2)])
def test_cuts_do_not_matter(topic, seed, most):
    values = stream(seed, topic)

    assert answers(notice(), topic, values, cut(300, seed, most)) == answers(notice(), topic, values, [300])


@pytest.mark.parametrize("topic", TOPICS)
def test_nothing_is_remembered(topic):
    used, values = notice(), stream(4, topic)
    answers(used, topic, stream(5, topic), [300])

    assert used.dump() == {}
    assert answers(used, topic, values, [300]) == answers(notice(), topic, values, [300])


@pytest.mark.parametrize("topic", ["interactions", "ranking.requests"])
def test_the_flows_own_input_is_as_a_side_topic(topic):
    values = stream(6, topic)
    found = notice(topic).process(messages(*values, first=0, topic=topic))

    assert (joined([found.rows]), found.rejected) == answers(notice(), topic, values, [300])


def test_muted_is_as_live():
    live = messages(*stream(7, "interactions"))
    muted = dataclasses.replace(live, span=Span(0, live.span.first, live.span.next, muted=True))

    assert joined([notice().process(muted).rows]) == joined([notice().process(live).rows])


@pytest.mark.parametrize("topic", TOPICS)
def test_no_record_is_a_row_and_a_rejection(topic):
    rows, rejected = answers(notice(), topic, stream(8, topic), [300])
    offsets = [*map(int, rows["offsets"]), *(each.offset for each in rejected)]

    assert sorted(offsets) == list(range(300))
    assert len(rejected) > 10


def test_an_empty_batch_has_no_rows():
    for topic in TOPICS:
        rows, rejected = answers(notice(), topic, [], [0])
        assert (set(map(len, rows.values())), rejected) == ({0}, [])


@pytest.mark.parametrize(
    "other",
    [
        Notice(NoticeConfig(), type(PSEUDONYMS)(b"other" * 8)),
        Notice(NoticeConfig(clicks=("tap",)), PSEUDONYMS),
        Notice(NoticeConfig(impressions=("click",), clicks=("impression", "view")), PSEUDONYMS),
        Notice(NoticeConfig(position_field="rank"), PSEUDONYMS),
        Notice(NoticeConfig(first_position=0), PSEUDONYMS),
    ],
)
def test_what_rows_mean_is_in_the_fingerprint(other):
    assert other.fingerprint != notice().fingerprint


def test_what_changes_no_row_is_not_in_the_fingerprint():
    other = Notice(NoticeConfig(cache_entries=99), PSEUDONYMS)

    assert other.fingerprint == notice().fingerprint
