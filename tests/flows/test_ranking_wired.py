"""The ranking flow as it is wired, without a broker: requests in, records out, whatever is interrupted where."""

import dataclasses
import gc
import random
import weakref

import msgspec
import pytest
from bytewax.testing import TestingSink, TestingSource, run_main
from prometheus_client import CollectorRegistry
from ranked_shop import ITEMS, NOW, catalogue, interaction, ranker, request, wire
from uplift_records import said, uplift

from flows import ranking
from flows.commands.run import FLOWS
from flows.settings import load_settings
from operators.batches import Encoded, Messages, Span
from operators.control import Barrier, Flush, Restore, StageSnapshot
from operators.metrics import Metrics
from operators.parts import Assembly
from operators.side import Side, TakesSides
from operators.state import pack, unpack
from schemas.audit import Audit
from schemas.ranked import RankedList
from schemas.served import Served

SETTINGS = """
[ranking]
uplift = true
[ranking.recall]
count = 5
[ranking.recall.users]
max_users = 1000
[ranking.recall.covisits]
max_items = 1000
[ranking.recall.time]
dedup_max = 1000
[ranking.recall.catalogue]
max_items = 1000
risk_field = "risk"
offer_field = "offer"
groups = [{ name = "small", field = "seller", values = ["small"] }]
[ranking.judge]
within_s = 60
window_s = 60
max_lists = 1000
"""
STEPS = """
[ranking.rerank.uplift]
experiment = "x"
weight = 0.3
[ranking.rerank.risk]
strength = 0.8
[ranking.rerank.fairness]
kind = "top_k"
group = "small"
p = 0.6
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    def load(text):
        path = tmp_path_factory.mktemp("settings") / "tidegate.toml"
        path.write_text(text)
        return load_settings(path, {"TIDEGATE_PSEUDONYM_KEY": "k" * 32}, needs_key=True)

    return load


def messages(values, first=0):
    n = len(values)
    wires = [wire(value) if isinstance(value, dict) else value for value in values]
    times = [value["timestamp"] if isinstance(value, dict) else NOW for value in values]
    return Messages(Span(0, first, first + n), ranking.INPUT, wires, [b"k"] * n, list(range(first, first + n)), times)


def side(topic, pairs, first=0, at=0):
    n = len(pairs)
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    return Side(0, topic, at, first, first + n, values, keys, list(range(first, first + n)), [NOW] * n)


def items():
    return side("ranking.catalogue", [catalogue(at) for at in range(len(ITEMS))])


def models(*values, first=0):
    return side("ranking.models", [(b"ranker", value) for value in values], first)


def clicks(those, first=0):
    return side("interactions", [(b"k", wire(each)) for each in those], first)


def run(found, settings):
    answers = []
    fresh = ranking.Stages(settings)
    run_main(ranking.build(fresh, TestingSource(found, batch_size=3), TestingSink(answers)))
    return answers


def records(found, topic, record):
    sent = [each for answer in found if isinstance(answer, Encoded) for each in answer.records]
    return [msgspec.json.decode(each.value, type=record) for each in sent if each.topic == topic]


def results(found):
    return records(found, "ranking.results", RankedList)


def test_without_candidates_the_most_popular_items_are_answered(loaded):
    found = run([Restore(0, {}), items(), messages([request(1, "ann")])], loaded(SETTINGS))
    (result,) = results(found)

    assert [each.item for each in result.items] == [f"item-{at}" for at in (29, 28, 27, 26, 25)]
    assert (result.model, result.signals, result.before) == ("fallback", {"0": 30}, ())
    assert {each.signals for each in result.items} == {NOW}
    assert result.user.startswith("h1:")


def test_given_candidates_alone_are_ranked_and_as_many_answered_as_asked(loaded):
    asked = request(1, "ann", items=["item-3", "unknown", "item-7"], count=2)
    (result,) = results(run([Restore(0, {}), items(), messages([asked])], loaded(SETTINGS)))

    assert [(each.item, each.before) for each in result.items] == [("item-7", 1), ("item-3", 2)]
    assert result.candidates == 3


def test_a_new_ranker_counts_from_the_next_request_on_is_audited_and_named(loaded):
    upside_down = ranker("upside-down", "item_weighted_clicks_long", slope=-1.0, least=200.0)
    broken = ranker("broken", "no_such_feature")
    found = run([
        Restore(0, {}), items(), messages([request(1, "ann")]),
        models(upside_down), messages([request(2, "ann")], 1),
        models(broken, b"{", first=1), messages([request(3, "ann")], 2),
    ], loaded(SETTINGS))  # fmt: skip
    first, second, third = results(found)

    assert [each.model for each in (first, second, third)] == ["fallback", "upside-down", "upside-down"]
    assert first.items[0].item == "item-29"
    assert second.items[0].score > -10.0, "ten thresholds that the most popular items all pass"
    assert all(each.probability is not None for each in second.items)
    told = [(each.kind, each.detail.get("version")) for each in records(found, "audit", Audit)]
    assert told[1:] == [("model", "upside-down")]
    assert records(found, "ranking.served", Served)[1].model == "upside-down"


def test_steps_move_items_and_say_why(loaded):
    effects = said([uplift("coupon", effect=0.5)])
    asked = request(1, "ann", items=[f"item-{at}" for at in (28, 27, 25, 24, 1, 0, 2, 5)])
    found = run([Restore(0, {}), items(), effects, messages([asked])], loaded(SETTINGS + STEPS))
    (result,) = results(found)

    assert [step.name for step in result.steps] == ["uplift", "risk", "fairness"]
    reasons = {move.reason for each in result.items for move in each.moves}
    assert {"more_incremental", "protected_due"} <= reasons
    assert result.before != ()
    assert [each.kind for each in records(found, "audit", Audit)] == ["configuration", "uplift"]


@pytest.mark.parametrize(
    "change",
    [
        "[ranking.recall.catalogue]\nnew_for_s = 60",
        '[ranking.recall.user_groups]\nfield = "sex"\nnames = ["f"]',
        "[ranking.answer]\nserved_share = 0.5",
        "[ranking.recall.features]\nplace = true",
        '[ranking.rank]\nfallback = "popularity"',
        "[ranking.recall.candidates]\npopular = 7",
    ],
)
def test_the_configuration_that_is_audited_has_all_that_lists_depend_on(loaded, change):
    def configuration(text):
        (found,) = run([Restore(0, {}), messages([request(1, "ann")])], loaded(text))[-1:]
        return records([found], "audit", Audit)[0].detail

    before, after = configuration(""), configuration(change)
    assert "lists" in {name for name in before if before[name] != after[name]}


def stream(rng):
    """Everything that comes to one partition, in some order, with garbage and duplicates."""
    effects = said([uplift("coupon", effect=0.5), (b"x", b"{")])
    effects.at = 0
    found, done, told = [items(), effects], 0, 0
    for step in range(30):
        time_ms = NOW + 20_000 * step
        asked = [
            request(
                f"{step}-{at}", f"u{rng.randrange(5)}", time_ms + at,
                items=rng.sample(ITEMS, rng.randrange(3, 9)) if rng.random() < 0.5 else (),
            )
            for at in range(rng.randrange(1, 5))
        ]  # fmt: skip
        asked += rng.choice([[], [b"{"], [asked[0]], [request("late", "u1", NOW - 10_000_000)]])
        found.append(messages(asked, done))
        done += len(asked)
        said_ = [
            interaction(f"{step}-{at}", f"u{rng.randrange(5)}", rng.choice(ITEMS), time_ms + 10, ranking=asked[0]["id"])
            for at in range(rng.randrange(6))
        ]
        if said_:
            found.append(dataclasses.replace(clicks(said_, told), at=done))
            told += len(said_)
        if step == 12:
            found.append(dataclasses.replace(models(ranker("m1", "item_audience")), at=done))
    return found


def sent(found):
    return [record for each in found if isinstance(each, Encoded) for record in each.records]


def by_topic(found):
    told = {}
    for record in sent(found):
        told.setdefault(record.topic, []).append(record)
    return told


def cut(item, rng):
    """A batch in pieces; a side stays where and as it is."""
    if isinstance(item, Side) or item.events < 2:
        return [item]
    at = rng.randrange(1, item.events)
    span = item.span
    parts = [(span.first, slice(at)), (span.first + at, slice(at, None))]
    return [
        Messages(
            Span(0, first, first + len(item.values[which])), item.topic, item.values[which], item.keys[which],
            item.offsets[which], item.timestamps_ms[which],
        )
        for first, which in parts
    ]  # fmt: skip


def read_back(barrier):
    found = {}
    for step, snapshot in barrier.snapshots.items():
        state = unpack(pack(snapshot.state))
        whole = Assembly(state)
        whole.add(state)
        found[step] = StageSnapshot(snapshot.fingerprint, whole.finish())
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_written_depends_neither_on_cuts_nor_on_restarts(loaded, seed):
    settings, rng = loaded(SETTINGS + STEPS), random.Random(seed)
    whole = by_topic(run([Restore(0, {}), *stream(random.Random(seed))], settings))
    pieces = [piece for item in stream(random.Random(seed)) for piece in cut(item, rng)]
    at = rng.randrange(10, len(pieces) - 10)
    barrier = Barrier(0, 0)
    before = run([Restore(0, {}), *pieces[:at], barrier], settings)
    last = [each for each in before if isinstance(each, Encoded)][-1]
    after = run([Restore(0, read_back(barrier), beside=last.beside), *pieces[at:]], settings)

    told = by_topic([*before, *after])
    assert told.keys() == whole.keys() >= {"ranking.results", "ranking.served", "ranking.quality", "dead-letters"}
    for topic, those in whole.items():
        assert told[topic] == those, topic


def test_rolled_forward_over_a_stretch_the_rest_is_as_it_was(loaded):
    settings = loaded(SETTINGS + STEPS)
    those = stream(random.Random(3))
    whole = run([Restore(0, {}), *stream(random.Random(3))], settings)
    for item in those[:20]:
        if isinstance(item, Side):
            item.muted = True
    again = [item if isinstance(item, Side) else muted(item) for item in those[:20]]
    beside = [each for each in whole if isinstance(each, Encoded)][19].beside
    found = run([Restore(0, {}, beside=beside), *again, *those[20:]], settings)

    assert sent(found) == sent(whole[21:])


def muted(item):
    return dataclasses.replace(item, span=dataclasses.replace(item.span, muted=True))


def test_every_measurement_is_a_metric_with_its_labels(loaded):
    fresh, shown = ranking.Stages(loaded(SETTINGS + STEPS)), Metrics(CollectorRegistry())
    stages = [getattr(fresh, step)(0) for step in ("notice", "recall", "rank", "rerank", "judge", "encode")]
    for item in stream(random.Random(4)):
        answer = item
        for stage in stages:
            if not isinstance(item, Side):
                answer = stage.process(answer)
            elif isinstance(stage, TakesSides):
                stage.take_side(item)
    for stage in stages:
        shown.publish("ranking", 0, stage.measurements())

    answered = shown.registry.get_sample_value("tidegate_lists_answered_total", {"flow": "ranking", "partition": "0"})
    assert answered > 30


def test_the_flow_is_known_to_the_command_line():
    flow = FLOWS["ranking"]

    assert (flow.name, flow.needs_key) == ("ranking", True)


def test_everything_remembered_is_of_the_settings_that_made_it(loaded):
    one = ranking.Stages(loaded(SETTINGS)).fixed
    other = ranking.Stages(loaded(SETTINGS.replace("max_users = 1000", "max_users = 2000"))).fixed
    steps = ranking.Stages(loaded(SETTINGS + STEPS)).fixed

    assert list(one) == ["notice", "recall", "rank", "rerank"]
    assert one["recall"] != other["recall"]
    assert steps == one, "steps can be switched without losing anything"


def test_a_partition_that_is_given_up_is_forgotten(loaded):
    fresh = ranking.Stages(loaded(SETTINGS))
    made = []

    class Watched(type(fresh.recall(0))):
        pass

    def recall(_partition):
        stage = Watched(loaded(SETTINGS).ranking.recall)
        made.append(weakref.ref(stage))
        return stage

    fresh.recall = recall
    run_main(ranking.build(fresh, TestingSource([Restore(0, {}), items(), Flush(live={0: 0})]), TestingSink([])))
    gc.collect()

    assert [each() for each in made] == [None]
