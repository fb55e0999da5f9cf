"""No record is larger than a topic takes: what had to be left out is left out in one order, and counted."""

import dataclasses

import msgspec
import numpy as np
import pytest
from made_lists import NOW, judged, lists

from operators.answer import Answer, AnswerConfig
from operators.audit import Chain
from operators.rerank import Rerank, RerankConfig, RiskConfig
from schemas.dead_letter import DeadLetter
from schemas.ranked import RankedList
from schemas.ranking_request import MOST_ITEMS
from schemas.served import Served

BROKER = 1_000_000  # bytes of a record that librdkafka and Kafka take by default, key and all
LONGEST_ID = 256  # characters, of four bytes at the most


def asked(length, *, n=MOST_ITEMS, count=None, character="x"):
    """One request of n candidates whose ids have `length` characters, between two small ones; steps turn it around."""
    scores = [[1.0, 2.0], list(np.arange(1.0, n + 1)), [1.0]]
    m = 3 + n
    risk = np.zeros(m)
    risk[2 + n // 2 : 2 + n] = 1.0  # the best half sinks
    scored = lists(scores, risk=risk, count=[2, n if count is None else count, 1])
    names = [f"{at:0>4}{character * (length - 4)}" if 2 <= at < 2 + n else f"i{at}" for at in range(m)]
    return dataclasses.replace(scored, lists=dataclasses.replace(scored.lists, items=names))


def answered(scored, **config):
    stage = Answer("ranking", Chain(bytes(32), "ranking", 0, {"rank": "a"}), AnswerConfig(**config))
    records = stage.process(judged(Rerank(RerankConfig(risk=RiskConfig(1.0))), scored)).records
    assert all(len(each.key) + len(each.value) < BROKER for each in records)
    return stage, [each for each in records if each.topic != "audit"]


def cut(stage):
    figures = {each.metric: each.value for each in stage.measurements() if not each.labels}
    parts = {
        each.labels["part"]: each.value for each in stage.measurements() if each.metric == "tidegate_lists_cut_total"
    }
    return {part: value for part, value in parts.items() if value}, figures


def second(records):
    (found,) = [each for each in records if each.topic == "ranking.results" and b'"offset":1,' in each.value]
    return msgspec.json.decode(found.value, type=RankedList)


def test_a_list_of_ordinary_ids_is_whole():
    stage, records = answered(asked(36))

    assert second(records).items[0].moves
    assert len(second(records).before) == MOST_ITEMS
    assert cut(stage)[0] == {}
    assert sum(each.topic == "ranking.served" for each in records) == 3


@pytest.mark.parametrize(
    ("length", "before", "parts"),
    [
        (102, True, {"moves": 1}),  # 400 kB of ids, twice: above with reasons, below without
        (150, False, {"moves": 1, "before": 1}),  # 590 kB of ids: twice they do not fit
    ],
)
def test_of_an_answer_that_is_too_large_moves_are_left_out_first_then_the_order_before(length, before, parts):
    scored = asked(length, character="\U0001f600")
    stage, records = answered(scored, served_share=0.0)
    result = second(records)

    assert not any(each.moves for each in result.items)
    assert bool(result.before) == before
    assert len(result.items) == MOST_ITEMS
    assert result.items[0].item == scored.lists.items[2 + MOST_ITEMS // 2 - 1], "the best that is not risky"
    assert result.items[0].before == MOST_ITEMS // 2 + 1
    assert cut(stage)[0] == parts


def test_a_list_whose_items_alone_are_too_large_is_a_dead_letter_in_its_place():
    stage, records = answered(asked(LONGEST_ID, character="\U0001f600"))
    letter = msgspec.json.decode(records[2].value, type=DeadLetter)

    topics = [each.topic for each in records]
    assert topics == ["ranking.results", "ranking.served", "dead-letters", "ranking.results", "ranking.served"]
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == ("too_large", "ranking.requests", 0, 1)
    assert (letter.timestamp, records[2].timestamp_ms) == (-1, NOW + 1_000)
    parts, figures = cut(stage)
    assert parts == {"moves": 1, "before": 1, "list": 1}
    assert figures["tidegate_lists_answered_total"] == figures["tidegate_lists_by_fallback_total"] == 2


def test_what_the_ranker_saw_is_left_out_where_it_is_too_large():
    scored = asked(LONGEST_ID, character="\U0001f600", count=10)
    stage, records = answered(scored, served_candidates=MOST_ITEMS)

    told = [msgspec.json.decode(each.value, type=Served) for each in records if each.topic == "ranking.served"]
    assert [each.offset for each in told] == [0, 2]
    assert len(second(records).items) == 10
    parts, figures = cut(stage)
    assert parts == {"served": 1}
    assert figures["tidegate_lists_served_total"] == 2


def test_of_a_list_that_shows_nothing_nothing_is_logged():
    _, records = answered(lists([[], [1.0]], count=[10, 1]))

    assert [each.topic for each in records] == ["ranking.results", "ranking.results", "ranking.served"]
