"""Lists become records: each request one result, in order, with the reasons and versions behind it."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_lists import NOW, by_chance, joined, judged, lists, muted
from uplift_records import taken, uplift

from operators.answer import Answer, AnswerConfig
from operators.audit import Chain
from operators.batches import Rejected
from operators.rerank import FairnessConfig, Rerank, RerankConfig, RiskConfig, UpliftConfig
from ranking.rerank import REASONS
from schemas.ranked import Move, Ranked, RankedList
from schemas.served import Served

ALL = RerankConfig(UpliftConfig("x"), RiskConfig(0.5, 0.2), FairnessConfig(kind="top_k", group="new", p=0.5))


def answer(config=None):
    return Answer("ranking", Chain(bytes(32), "ranking", 0, {"rank": "a"}), config)


def ranker(config=ALL):
    stage = Rerank(config, ("old", "new"))
    taken(stage, uplift("a", effect=0.2), uplift("b", effect=-0.1))
    return stage


def read(encoded, topic, record):
    return [msgspec.json.decode(each.value, type=record) for each in encoded.records if each.topic == topic]


def results(scored, stage=None, **config):
    found = answer(AnswerConfig(**config)).process(judged(stage or ranker(), scored))
    return read(found, "ranking.results", RankedList)


def six(number):
    return float(f"{number:.5e}")


@given(st.integers(0, 2**32 - 1))
def test_every_request_leaves_as_one_result_or_one_dead_letter_in_order(seed):
    scored = by_chance(np.random.default_rng(seed), n=12)
    found = answer().process(judged(ranker(), scored))

    asked = [
        msgspec.json.decode(each.value)["offset"]
        for each in found.records
        if each.topic in ("ranking.results", "dead-letters")
    ]
    assert asked == list(range(12))
    assert {each.partition for each in found.records} == {-1}, "partition p is answered on partition p"


@given(st.integers(0, 2**32 - 1))
def test_a_result_says_what_the_stages_say(seed):
    scored = by_chance(np.random.default_rng(seed))
    made = judged(ranker(), scored)
    found = read(answer().process(made), "ranking.results", RankedList)

    assert len(found) == made.events
    for k, (result, steps) in enumerate(zip(found, made.ordered.steps, strict=True)):
        first, end = scored.lists.starts[k : k + 2].tolist()
        after, before = (each[first:end].tolist() for each in (made.ordered.after, made.ordered.before))
        shown = min(int(scored.lists.count[k]), end - first)
        names = scored.lists.items[first:end]
        assert [each.item for each in result.items] == [names[at] for at in after[:shown]]
        assert result.before == (() if before[:shown] == after[:shown] else tuple(names[at] for at in before[:shown]))
        assert (result.candidates, result.model, result.signals) == (end - first, "m1", {"0": 7})
        assert [each.name for each in result.steps] == [step.name for step in steps]
        assert [each.cost for each in result.steps] == [six(step.cost) for step in steps]
        for at, item in zip(after, result.items, strict=False):
            assert item == expected_item(scored, first + at, before.index(at) + 1, steps, at)


def expected_item(scored, row, before, steps, at):
    """By looking for the item in each order, one by one."""
    moves = []
    for step in steps:
        was, now = step.before.tolist().index(at) + 1, step.after.tolist().index(at) + 1
        if was != now:
            moves.append(Move(step=step.name, before=was, after=now, reason=REASONS[step.reason[at]]))
    names = ("given", "popular", "trending", "co_visited", "recent", "new")
    source, signals = int(scored.lists.source[row]), int(scored.lists.signals_ms[row])
    return Ranked(
        item=scored.lists.items[row],
        before=before,
        score=six(scored.score[row]),
        probability=six(scored.probability[row]),
        sources=tuple(name for bit, name in enumerate(names) if source & 2**bit),
        signals=None if signals < 0 else signals,
        moves=tuple(moves),
    )


def test_the_key_is_the_pseudonym_or_the_requests_id_where_no_user_is_told():
    found = answer().process(judged(ranker(), lists([[1.0], [2.0]], users=["h1:abc", ""])))
    sent = [each for each in found.records if each.topic.startswith("ranking.")]

    assert [(each.topic, each.key) for each in sent] == [
        (f"ranking.{topic}", key) for key in (b"h1:abc", b"r1") for topic in ("results", "served")
    ]
    assert [each.timestamp_ms for each in sent] == [NOW, NOW, NOW + 1_000, NOW + 1_000]
    assert [each.user for each in read(found, "ranking.results", RankedList)] == ["h1:abc", None]


def test_flags_are_named_and_a_flagged_request_is_answered_but_not_trained_on():
    found = answer().process(judged(ranker(), lists([[1.0]] * 4, flags=[0, 1, 2, 4])))

    assert [each.flags for each in read(found, "ranking.results", RankedList)] == [
        (), ("late",), ("duplicate",), ("ahead",),
    ]  # fmt: skip
    assert [each.offset for each in read(found, "ranking.served", Served)] == [0]


def test_a_list_without_candidates_is_answered():
    (found,) = results(lists([[]], count=[10]))

    assert (found.items, found.before, found.steps, found.candidates) == ((), (), (), 0)


def test_what_is_not_known_is_left_out_and_numbers_have_six_digits():
    (found,) = results(lists([[0.123456789]]), Rerank(RerankConfig()))

    assert found.items == (Ranked(item="i0", before=1, score=0.123457, sources=("given",)),)
    assert (found.steps, found.signals, found.flags, found.model) == ((), {}, (), "fallback")


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_what_the_ranker_saw_is_told_as_it_was(seed, most):
    scored = by_chance(np.random.default_rng(seed))
    made = judged(ranker(), scored)
    found = read(answer(AnswerConfig(served_candidates=most)).process(made), "ranking.served", Served)

    sizes = np.diff(scored.lists.starts)
    kept = [k for k in range(made.events) if not scored.lists.flags[k] and min(scored.lists.count[k], sizes[k]) > 0]
    assert [each.offset for each in found] == scored.lists.requests.offsets[kept].tolist()
    for k, each in zip(kept, found, strict=True):
        first, end = scored.lists.starts[k : k + 2].tolist()
        after = made.ordered.after[first:end].tolist()
        shown = min(int(scored.lists.count[k]), end - first)
        told = sorted(after[: max(shown, most)])
        rows = [first + at for at in told]
        assert (each.shown, each.model, each.names) == (shown, "m1", ("first", "second"))
        assert list(each.items) == [scored.lists.items[row] for row in rows]
        assert list(each.place) == [after.index(at) for at in told]
        features = np.frombuffer(each.features, "<f4").reshape(-1, 2)
        assert (features == scored.lists.features[rows].astype("f4")).all()
        assert each.score == tuple(map(six, scored.score[rows]))
        assert each.popularity == tuple(map(six, scored.lists.popularity[rows]))
        assert list(each.source) == scored.lists.source[rows].tolist()


def test_features_that_are_not_known_stay_so():
    found = answer().process(judged(ranker(), lists([[1.0]], features=[[np.nan, 0.1]])))
    (served,) = read(found, "ranking.served", Served)

    assert np.isnan(np.frombuffer(served.features, "<f4")).tolist() == [True, False]


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.25, 200, 300), (1.0, 1_000, 1_000)])
def test_a_share_of_the_lists_is_told_chosen_by_their_ids_alone(share, least, most):
    scored = lists([[1.0]] * 1_000)
    of_a_batch = [answer(AnswerConfig(served_share=share)).process(judged(ranker(), scored)) for _ in range(2)]
    chosen = [[each.id for each in read(found, "ranking.served", Served)] for found in of_a_batch]

    assert least <= len(chosen[0]) <= most  # of 1,000 draws a quarter: 250, standard deviation 13.7
    assert chosen[0] == chosen[1]


@given(st.integers(0, 2**32 - 1))
def test_records_do_not_depend_on_where_batches_are_cut(seed):
    rng = np.random.default_rng(seed)
    pieces = [by_chance(rng, first=6 * at) for at in range(3)]
    whole, parts = answer(), answer()

    expected = whole.process(judged(ranker(), joined(pieces)))
    found = [parts.process(judged(ranker(), each)) for each in pieces]
    assert [record for each in found for record in each.records] == expected.records
    assert found[-1].beside == expected.beside


def test_a_muted_batch_writes_nothing_and_leaves_the_chain_where_it_is():
    stage = answer()
    scored = lists([[1.0]], rejected=[Rejected(1, NOW, "not_json", "")])
    found = stage.process(judged(ranker(), muted(scored)))

    assert (found.records, found.beside) == ([], "")
