"""Rows of the notice stage: Metarank's events as its own documentation writes them, under pseudonyms."""

import math

import pytest
from notice_streams import (
    KEY,
    NOW,
    PSEUDONYMS,
    decision,
    field,
    interaction,
    item,
    messages,
    notice,
    request,
    rows,
    taken,
)

from operators.batches import TIERS
from operators.decode import Decode, DecodeConfig, Pseudonymizer
from operators.noticed import CLICK, IMPRESSION, OTHER, PURCHASE, item_key
from operators.side import TakesSides

ADA = PSEUDONYMS.user("ada")[1]
SESSION = PSEUDONYMS.attribute("session")("s-1")

# As in Metarank's documentation (doc/event-schema.md, doc/timestamp-formats.md), with other values.
OF_METARANK = {
    "item": b"""{
      "event": "item", "id": "81f46c34", "timestamp": "1599391467000", "item": "item1",
      "fields": [
        {"name": "title", "value": "You favourite cat"},
        {"name": "color", "value": ["white", "black"]},
        {"name": "is_cute", "value": true},
        {"name": "price", "value": 25}
      ]
    }""",
    "ranking": b"""{
      "event": "ranking", "id": "81f46c34", "timestamp": "1599391467000", "user": "user1", "session": "session1",
      "fields": [{"name": "query", "value": "cat"}, {"name": "source", "value": "search"}],
      "items": [
        {"id": "item3", "relevancy": 2.0},
        {"id": "item1", "fields": [{"name": "relevancy", "value": 1.0}], "label": 1},
        {"id": "item2"}
      ]
    }""",
    "interaction": b"""{
      "event": "interaction", "id": "0f4c0036", "ranking": "81f46c34", "timestamp": "1599391467000",
      "user": "user1", "session": "session1", "type": "purchase", "item": "item1", "tenant": "default",
      "fields": [{"name": "count", "value": 1}, {"name": "shipping", "value": "DHL"}]
    }""",
}


def test_notice_takes_sides():
    assert isinstance(notice(), TakesSides)


def test_an_item_of_metarank_is_read_as_it_is():
    found = rows(notice(), "items", OF_METARANK["item"])

    assert (found.items, found.item.tolist(), found.time_ms.tolist()) == (
        ["item1"],
        [item_key("item1")],
        [1_599_391_467_000],
    )
    assert found.fields == [{"title": "You favourite cat", "color": ("white", "black"), "is_cute": True, "price": 25.0}]


def test_an_interaction_of_metarank_is_read_as_it_is():
    found = rows(notice(), "interactions", OF_METARANK["interaction"])

    assert (found.kind.tolist(), found.time_ms.tolist()) == ([PURCHASE], [1_599_391_467_000])
    assert (found.items, found.item.tolist()) == (["item1"], [item_key("item1")])
    assert found.user.tolist() == [PSEUDONYMS.user("user1")[1]]
    assert found.session.tolist() == [PSEUDONYMS.attribute("session")("session1")]
    assert (found.offsets.tolist(), found.position.tolist()) == ([10], [-1])


def test_a_request_of_metarank_is_read_as_it_is():
    found = rows(notice(), "ranking.requests", OF_METARANK["ranking"])

    assert (found.ids, found.time_ms.tolist(), found.count.tolist()) == (["81f46c34"], [1_599_391_467_000], [0])
    assert found.users == [PSEUDONYMS.pseudonym("user", "user1")]
    assert found.user.tolist() == [PSEUDONYMS.user("user1")[1]]
    assert found.fields == [{"query": "cat", "source": "search"}]
    assert (found.items, found.starts.tolist()) == (["item3", "item1", "item2"], [0, 3])
    assert found.item.tolist() == [item_key(each) for each in found.items]
    assert found.relevancy[0] == 2.0
    assert found.item_fields == [{}, {"relevancy": 1.0}, {}]


def test_an_interaction_names_the_list_that_it_happened_in():
    stage = notice()
    asked = rows(stage, "ranking.requests", OF_METARANK["ranking"]).ranking
    found = rows(stage, "interactions", OF_METARANK["interaction"], interaction(ranking=""), interaction()).ranking

    assert found.tolist() == [asked[0], 0, 0]
    assert asked[0] != 0


def test_the_hash_of_a_list_is_keyed():
    other = notice(pseudonyms=Pseudonymizer(b"other" * 8))
    found = [rows(stage, "ranking.requests", request()).ranking.tolist() for stage in (notice(), other)]

    assert found[0] != found[1]


def test_an_item_of_older_producers_is_read():
    assert rows(notice(), "items", item(event="metadata")).items == ["cat"]


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("1599391467000", 1_599_391_467_000),
        (1_599_391_467_000, 1_599_391_467_000),
        (1_599_391_467_000.0, 1_599_391_467_000),
        ("2022-06-22T11:21:39Z", 1_655_896_899_000),  # date -u -d 2022-06-22T11:21:39Z +%s
        ("2022-06-22T13:21:39.5+02:00", 1_655_896_899_500),
        ("0", 0),
        (0, 0),
        ("000001599391467000", 1_599_391_467_000),
    ],
)
def test_a_time_is_milliseconds_in_digits_or_rfc_3339(timestamp, expected):
    assert rows(notice(), "interactions", interaction(timestamp=timestamp)).time_ms.tolist() == [expected]


def test_times_of_all_forms_may_stand_side_by_side():
    several = [interaction(timestamp=each) for each in ("1599391467000", 7, "2022-06-22T11:21:39Z", 8.0)]

    assert rows(notice(), "interactions", *several).time_ms.tolist() == [1_599_391_467_000, 7, 1_655_896_899_000, 8]


@pytest.mark.parametrize(
    ("type_of", "kind"),
    [("impression", IMPRESSION), ("view", IMPRESSION), ("click", CLICK), ("purchase", PURCHASE), ("like", OTHER)],
)
def test_the_type_of_an_interaction_says_its_kind(type_of, kind):
    assert rows(notice(), "interactions", interaction(type=type_of)).kind.tolist() == [kind]


def test_what_types_mean_is_a_setting():
    stage = notice(clicks=("tap", "click"), impressions=())
    found = rows(stage, "interactions", interaction(type="tap"), interaction(type="view"))

    assert found.kind.tolist() == [CLICK, OTHER]


@pytest.mark.parametrize(
    ("value", "position"),
    [
        (1, 0),
        (7.0, 6),
        (2**31 - 1, 2**31 - 2),
        (0, -1),
        (-1, -1),
        (1.5, -1),
        (2**31, -1),
        ("3", -1),
        (True, -1),
        ([3], -1),
        (None, -1),
    ],
)
def test_a_position_is_a_whole_number_from_1_or_not_told(value, position):
    told = interaction(fields=[field("shipping", "DHL"), field("position", value)])

    assert rows(notice(), "interactions", told).position.tolist() == [position]


def test_positions_may_count_from_0():
    told = [interaction(fields=[field("position", value)]) for value in (0, 1, -1)]

    assert rows(notice(first_position=0), "interactions", *told).position.tolist() == [0, 1, -1]


def test_of_two_fields_with_one_name_the_later_counts():
    told = interaction(fields=[field("position", 1), field("position", 2)])

    assert rows(notice(), "interactions", told).position.tolist() == [1]


def test_the_name_of_the_position_is_a_setting():
    told = interaction(fields=[field("rank", 3), field("position", 2)])

    assert rows(notice(position_field="rank"), "interactions", told).position.tolist() == [2]


def test_who_is_not_told_is_nobody():
    found = rows(notice(), "interactions", interaction(user=None), interaction(session=None), interaction())

    assert found.user.tolist() == [0, ADA, ADA]
    assert found.session.tolist() == [SESSION, 0, SESSION]


def test_a_request_may_name_no_user():
    found = rows(notice(), "ranking.requests", request(user=None), request(session=None))

    assert found.users == ["", PSEUDONYMS.pseudonym("user", "ada")]
    assert (found.user.tolist(), found.session.tolist()) == ([0, ADA], [SESSION, 0])


@pytest.mark.parametrize("items", [None, []])
def test_a_request_may_name_no_items(items):
    found = rows(notice(), "ranking.requests", request(), request(items=items), request(items=[{"id": "cow"}]))

    assert (found.starts.tolist(), found.items) == ([0, 2, 2, 3], ["cat", "dog", "cow"])


def test_a_request_may_say_how_many_to_answer():
    assert rows(notice(), "ranking.requests", request(count=3), request()).count.tolist() == [3, 0]


def test_a_relevancy_that_is_not_told_is_not_known():
    found = rows(notice(), "ranking.requests", request(items=[{"id": "cat", "relevancy": -0.0}, {"id": "dog"}]))

    assert repr(found.relevancy.tolist()) == "[0.0, nan]"
    assert math.isnan(found.relevancy[1])


@pytest.mark.parametrize("fields", [None, []])
def test_an_item_may_have_no_fields(fields):
    assert rows(notice(), "items", item(fields=fields)).fields == [{}]


def test_a_field_without_a_known_value_has_none():
    assert rows(notice(), "items", item(fields=[field("seller", None)])).fields == [{"seller": None}]


def test_the_same_id_has_one_hash_for_each_user_type_and_item():
    others = [{"id": "c-2"}, {"user": "bob"}, {"item": "dog"}, {"type": "purchase"}]
    found = rows(notice(), "interactions", interaction(), interaction(), *(interaction(**each) for each in others))
    hashes = found.id_hash.tolist()

    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5
    assert 0 not in hashes


def test_texts_that_run_together_are_not_one():
    several = [{"id": "a\0b", "type": "c"}, {"id": "a", "type": "b\0c"}, {"id": "a", "type": "b", "item": "c\0cat"}]
    several += [{"id": "ab", "type": "c"}, {"id": "a", "type": "bc"}, {"id": "1 1 a", "type": "c"}]
    found = rows(notice(), "interactions", *(interaction(**{"item": "cat"} | each) for each in several))

    assert len(set(found.id_hash.tolist())) == len(several)


def test_a_request_repeated_has_one_hash_whatever_is_in_it():
    found = rows(notice(), "ranking.requests", request(), request(items=[]), request(id="r-2")).id_hash.tolist()

    assert found[0] == found[1] != found[2]


def test_without_a_user_the_same_id_has_one_hash_for_each_session():
    several = [interaction(user=None), interaction(user=None), interaction(user=None, session="s-2")]
    found = rows(notice(), "interactions", *several).id_hash.tolist()

    assert found[0] == found[1] != found[2]


def test_a_user_is_the_user_of_the_risk_flow():
    event = {"id": "e-1", "timestamp": NOW, "user": "ada", "type": "purchase"}
    decoded = Decode(DecodeConfig(), PSEUDONYMS).process(messages(event, topic="events"))

    assert decoded.user.tolist() == rows(notice(), "interactions", interaction()).user.tolist()


def test_a_decision_is_about_the_user_of_the_interactions():
    found = rows(notice(), "risk.tiers", decision(), decision(tier="unknown"))

    assert (found.user.tolist(), found.time_ms.tolist()) == ([ADA, ADA], [NOW, NOW])
    assert [TIERS[code] for code in found.tier.tolist()] == ["high", "unknown"]


def test_what_is_no_decision_is_rejected():
    found = taken(notice(), "risk.tiers", decision(tier="SECRET"), decision())

    assert [(each.offset, each.reason, each.detail) for each in found.rejected] == [
        (10, "wrong_type", "expected a record of risk.tiers, version 1, got another")
    ]
    assert found.noticed.offsets.tolist() == [11]


def test_users_and_sessions_that_are_pseudonyms_pass_as_given():
    stage = notice(pseudonyms=Pseudonymizer(KEY, pseudonymised_topics=["interactions"]))
    given = interaction(user=PSEUDONYMS.pseudonym("user", "ada"), session=PSEUDONYMS.pseudonym("session", "s-1"))
    found = rows(stage, "interactions", given)

    assert (found.user.tolist(), found.session.tolist()) == ([ADA], [SESSION])


def test_an_item_has_the_same_key_under_every_key_of_pseudonyms():
    other = notice(pseudonyms=Pseudonymizer(b"other" * 8))

    assert rows(other, "items", item()).item.tolist() == rows(notice(), "items", item()).item.tolist()


def test_rows_hold_no_identifier_of_a_person():
    told = interaction(user="SECRET-1", session="SECRET-2")
    found = rows(notice(), "interactions", told)
    asked = rows(notice(), "ranking.requests", request(user="SECRET-1", session="SECRET-2"))

    assert "SECRET" not in repr(found) + repr(asked)


def test_the_flows_own_input_is_read_as_a_side_topic_is():
    found = notice("ranking.requests").process(messages(request(), topic="acme.ranking.requests"))

    assert (found.rows.ids, found.topic, found.events, found.rejected) == (["r-1"], "acme.ranking.requests", 1, [])


def test_another_topic_says_nothing():
    found = taken(notice(), "labels", b"{}")

    assert (found.noticed, found.rejected) == (None, [])
