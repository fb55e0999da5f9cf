"""The rank stage: which ranker ranks, from when on, and what ranks while there is none."""

import copy
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rankers import NAMES, lists, ranker, trees, written

from operators.batches import LATE
from operators.dead_letter import dead_letter
from operators.rank import Rank, RankConfig
from operators.rank.model import REFUSALS, checksum
from operators.side import Side
from operators.state import Measurement, pack, unpack
from schemas.ranker import Ranker


def side(*values, keys=None, muted=False, first=0):
    n = len(values)
    return Side(
        partition=0,
        topic="ranking.models",
        at=5,
        first=first,
        next=first + n,
        values=list(values),
        keys=[b"ranker"] * n if keys is None else keys,
        offsets=list(range(first, first + n)),
        timestamps_ms=[1_700 + at for at in range(n)],
        muted=muted,
    )


def stage(*values, names=NAMES, **config):
    found = Rank(RankConfig(**config), names)
    if values:
        found.take_side(side(*values))
    return found


def applied(found, *values, **given):
    one = side(*values, **given)
    found.take_side(one)
    return one


def scores(found, batch):
    return found.process(batch).score.tolist()


PRICES = [[0.4, 0, 0], [0.6, 0, 0], [math.nan, 0, 0]]


def test_without_a_ranker_lists_go_by_popularity_and_no_probability_is_known():
    answer = stage().process(lists(PRICES, popularity=[3.0, 1.0, 2.0]))

    assert answer.score.tolist() == [3.0, 1.0, 2.0]
    assert np.isnan(answer.probability).all()
    assert answer.model == "fallback"


def test_lists_of_which_each_candidate_has_a_score_by_the_publisher_go_by_it():
    batch = lists([[0, 0, 0]] * 4, starts=[0, 2, 4], popularity=[1, 2, 3, 4], relevancy=[0.2, 0.1, 0.5, math.nan])

    assert scores(stage(), batch) == [0.2, 0.1, 3.0, 4.0]
    assert scores(stage(fallback="popularity"), batch) == [1.0, 2.0, 3.0, 4.0]


def test_the_publishers_scores_are_taken_from_the_features_if_they_are_among_them():
    names = ("price", "request_relevancy")
    batch = lists([[0, 0.7], [0, 0.9]], names=names, starts=[0, 2], popularity=[2, 1])

    assert scores(stage(names=names), batch) == [0.7, 0.9]


def test_candidates_that_the_publisher_did_not_name_have_no_score_by_it():
    batch = lists([[0, 0, 0]] * 2, starts=[0, 2], popularity=[1, 2], relevancy=[0.2, 0.1])
    batch.item[1] ^= np.uint64(1)

    assert scores(stage(), batch) == [1.0, 2.0]


def test_an_infinite_score_of_the_publisher_is_none():
    batch = lists([[0, 0, 0]] * 2, starts=[0, 2], popularity=[1, 2], relevancy=[0.2, math.inf])

    assert scores(stage(), batch) == [1.0, 2.0]


def test_a_ranker_ranks_from_the_next_request_on_and_is_named():
    found = stage()
    one = applied(found, written(ranker()))
    answer = found.process(lists(PRICES))

    assert answer.score.tolist() == [-1.0, 1.0, 1.0]
    assert answer.model == "one"
    assert one.rejected == []


def test_what_is_applied_is_told_for_the_audit_trail():
    found, record = stage(), ranker()
    [change] = applied(found, written(record)).changes
    [next_change] = applied(found, written(ranker("two")), first=8).changes

    assert (change.offset, change.time_ms, change.kind) == (0, 1_700, "model")
    assert change.detail == {
        "version": "one",
        "before": "fallback",
        "checksum": record.checksum,
        "lists": 7,
        "trees": 1,
        "features": 1,
        "test_map@10": 0.5,
    }
    assert (next_change.offset, next_change.detail["version"], next_change.detail["before"]) == (8, "two", "one")


def test_a_figure_cannot_pass_for_a_version():
    [change] = applied(stage(), written(ranker(figures={"version": 3.0}))).changes

    assert change.detail["version"] == "one"


def test_the_same_ranker_once_more_changes_nothing():
    found = stage(written(ranker()))

    assert applied(found, written(ranker())).changes == []


def test_one_that_is_taken_back_leaves_the_fallback():
    found = stage(written(ranker()))
    [change] = applied(found, None).changes

    assert change.detail == {"version": "fallback", "before": "one"}
    assert found.process(lists(PRICES)).model == "fallback"
    assert applied(found, None).changes == []


def test_of_several_the_last_good_one_ranks():
    found = stage()
    one = applied(found, written(ranker()), b"{}", written(ranker("two")), b"no")

    assert found.version == "two"
    assert [each.offset for each in one.rejected] == [1, 3]
    assert [each.offset for each in one.changes] == [0, 2]


def test_other_topics_say_nothing_here():
    one = side(written(ranker()))
    one.topic = "interactions"
    found = stage()
    found.take_side(one)

    assert (found.version, one.changes, one.rejected) == ("fallback", [], [])


def changed(**fields):
    """Return a record that was changed after it was sealed."""
    return written(msgspec.structs.replace(ranker(), **fields))


def resealed(**fields):
    record = msgspec.structs.replace(ranker(), **fields)
    return written(msgspec.structs.replace(record, checksum=checksum(record)))


BAD = {
    "not JSON": (b"{", b"ranker", "not_json", "unreadable"),
    "empty": (b"", b"ranker", "empty_value", "unreadable"),
    "something else": (b"[]", b"ranker", "wrong_type", "unreadable"),
    "without a key": (written(ranker()), None, "missing_key", "unreadable"),
    "another key": (written(ranker()), b"other", "out_of_range", "unreadable"),
    "too large": (written(ranker()) + b" " * 20_000, b"ranker", "too_large", "unreadable"),
    "the version that is none": (
        written(ranker()).replace(b'"one"', b'"fallback"'),
        b"ranker",
        "wrong_type",
        "unreadable",
    ),
    "a changed figure": (changed(figures={"test_map@10": 0.9}), b"ranker", "out_of_range", "checksum"),
    "a changed leaf": (changed(trees=trees(1, [-1.0, 1.5])), b"ranker", "out_of_range", "checksum"),
    "a checksum left out": (changed(checksum=""), b"ranker", "out_of_range", "checksum"),
    "an unknown feature": (resealed(features=("colour",)), b"ranker", "out_of_range", "features"),
    "a feature twice": (resealed(features=("price", "price")), b"ranker", "out_of_range", "features"),
    "no tree": (resealed(trees=trees(0)), b"ranker", "out_of_range", "trees"),
    "a curve that stands still": (
        resealed(curve=(0.0, 0.0), probability=(0.1, 0.2)),
        b"ranker",
        "out_of_range",
        "curve",
    ),
    "a curve that falls": (resealed(curve=(0.0, 1.0), probability=(0.2, 0.1)), b"ranker", "out_of_range", "curve"),
    "a curve too short": (resealed(curve=(0.0, 1.0), probability=(0.2,)), b"ranker", "out_of_range", "curve"),
    "a probability of 2": (written(ranker(probability=(2.0,), curve=(0.0,))), b"ranker", "wrong_type", "unreadable"),
}


@pytest.mark.parametrize(("value", "key", "reason", "why"), BAD.values(), ids=BAD.keys())
def test_a_bad_ranker_is_a_dead_letter_and_the_one_before_stays(value, key, reason, why):
    found = stage(written(ranker("good")), max_model_bytes=20_000)
    one = applied(found, value, keys=[key])

    [rejected] = one.rejected
    assert (rejected.offset, rejected.timestamp_ms, rejected.reason) == (0, 1_700, reason)
    assert rejected.detail.startswith("expected ")
    assert dead_letter("ranking", "ranking.models", 0, rejected).topic == "dead-letters"
    assert one.changes == []
    assert found.process(lists(PRICES)).model == "good"
    refused = {
        each.labels["reason"]: each.value for each in found.measurements() if each.metric.endswith("refused_total")
    }
    assert refused == {name: float(name == why) for name in REFUSALS}


def test_a_number_that_is_logged_in_32_bits_is_ranked_in_32_bits():
    """Training puts a threshold between two logged numbers; .1 is below it, logged it is above."""
    logged = float(np.float32(0.1))
    assert logged > 0.1
    found = stage(written(ranker(trees=trees(1, threshold=[(0.1 + logged) / 2]))))

    assert scores(found, lists([[0.1, 0, 0]])) == scores(found, lists([[logged, 0, 0]])) == [1.0]


def test_probabilities_follow_the_curve_straight_and_are_level_beyond_it():
    leaves = [-9.0, 0.0, 1.0, 2.0, 9.0]
    curve = {"curve": (0.0, 2.0), "probability": (0.1, 0.3)}
    for leaf, expected in zip(leaves, [0.1, 0.1, 0.2, 0.3, 0.3], strict=True):
        found = stage(written(ranker(trees=trees(1, [leaf, leaf]), **curve)))

        assert found.process(lists([[0, 0, 0]])).probability.tolist() == pytest.approx([expected], abs=1e-15)


def test_lists_with_other_features_are_a_mistake_in_the_wiring():
    with pytest.raises(ValueError, match=r"^expected the features price, clicks, age, got price, age$"):
        stage().process(lists([[0, 0]], names=("price", "age")))


def test_a_ranker_stays_over_a_restart_and_waits_for_features_that_are_gone():
    found = stage(written(ranker()), b"{}")
    state = unpack(pack(found.dump()))
    without = Rank(RankConfig(), ("clicks", "age"))
    without.load(state)
    back = Rank(RankConfig(), NAMES)
    assert back.fingerprint == without.fingerprint == found.fingerprint
    back.load(unpack(pack(without.dump())))

    assert without.version == "fallback"
    assert back.version == "one"
    assert list(back.measurements())[-5:] == list(found.measurements())[-5:]


@pytest.mark.parametrize("case", ["a changed figure", "no tree", "a curve that falls"])
def test_a_ranker_that_cannot_be_used_any_more_is_not_passed_over_in_silence(case):
    state = stage().dump() | {"model": np.frombuffer(BAD[case][0], np.uint8)}

    with pytest.raises(ValueError, match=r"^the ranker in force cannot be used any more: expected .*; go on with the "):
        stage().load(state)


def test_a_ranker_that_waits_for_its_features_is_taken_up_when_it_is_published_again():
    """As it would be if features came back without a restart."""
    found = stage()
    found.load(stage(written(ranker())).dump())
    found._set(written(ranker()), None)

    [change] = applied(found, written(ranker())).changes
    assert (change.detail["version"], change.detail["before"]) == ("one", "fallback")
    assert found.version == "one"


def test_one_that_waits_for_its_features_and_is_taken_back_is_told_once():
    found = Rank(RankConfig(), ("clicks", "age"))
    found.load(stage(written(ranker())).dump())

    assert len(applied(found, None).changes) == 1
    assert applied(found, None).changes == []


def stream(*, muted=False):
    """Return lists, with rankers between them: good ones, bad ones, the same again, one that is taken back."""
    rng = np.random.default_rng(1)
    values = [(written(ranker()),), (b"no", None), (written(ranker("two")),), (written(ranker("three")), b"{}")]
    items = []
    for at, each in enumerate(values):
        rows, popularity = rng.normal(size=(4, 3)), rng.normal(size=4)
        items.append(lists(rows, popularity=popularity, first=4 * at, muted=muted))
        items.append(side(*each, first=2 * at, muted=muted))
    return [*items, lists(rng.normal(size=(4, 3)), first=16, muted=muted)]


def answers(found, items):
    """Return what a stage says of lists and of rankers, in a form that can be compared."""
    said = []
    for item in items:
        if isinstance(item, Side):
            found.take_side(item)
            said.append((item.changes, item.rejected))
        else:
            answer = found.process(item)
            said.append((answer.score.tobytes(), answer.probability.tobytes(), answer.model, answer.span.first))
    return said


def test_a_stage_that_is_written_down_anywhere_goes_on_as_if_nothing_had_happened():
    through = stage()
    expected = answers(through, stream())
    for at in range(len(expected)):
        before, after = stage(), stage(written(ranker("another")))
        said = answers(before, stream()[:at])
        after.load(unpack(pack(before.dump())))

        assert said + answers(after, stream()[at:]) == expected
        assert pack(after.dump()) == pack(through.dump())


def test_rolling_forward_leads_to_the_same_state():
    live, rolling = stage(), stage()

    assert answers(live, stream()) == answers(rolling, stream(muted=True))
    assert pack(live.dump()) == pack(rolling.dump())


def test_lists_are_left_as_they_came():
    batch = lists(PRICES, popularity=[3.0, 1.0, 2.0], relevancy=[1.0, 2.0, 3.0])
    before = copy.deepcopy(batch)
    for found in (stage(), stage(written(ranker()))):
        found.process(batch).score[:] = 9.0

    assert batch.features.tobytes() == before.features.tobytes()
    assert batch.popularity.tolist() == before.popularity.tolist()
    assert batch.requests.relevancy.tolist() == before.requests.relevancy.tolist()


def test_cuts_of_batches_change_nothing():
    rng = np.random.default_rng(2)
    rows, popularity, relevancy = rng.normal(size=(12, 3)), rng.normal(size=12), rng.normal(size=12)

    def part(first, end):
        rows_of, given = slice(2 * first, 2 * end), range(0, 2 * (end - first) + 1, 2)
        return lists(
            rows[rows_of], starts=list(given), popularity=popularity[rows_of], relevancy=relevancy[rows_of], first=first
        )

    for values in ((), (written(ranker()),)):
        whole, pieces = stage(*values), stage(*values)
        expected = whole.process(part(0, 6)).score.tolist()

        assert expected == [each for cut in ((0, 1), (1, 4), (4, 6)) for each in scores(pieces, part(*cut))]
        assert pack(whole.dump()) == pack(pieces.dump())


def test_age_is_in_stream_time_and_late_requests_do_not_move_it():
    found = stage(written(ranker(timestamp=1_000)))
    found.process(lists([[0, 0, 0]] * 2, time_ms=[5_000, 4_000]))
    late = lists([[0, 0, 0]], time_ms=[9_000])
    late.flags[:] = LATE
    found.process(late)

    assert Measurement("tidegate_ranker_age_seconds", 4.0) in list(found.measurements())


def test_metrics_say_which_ranker_is_in_force_and_which_was():
    found = stage(written(ranker()))
    applied(found, written(ranker("two")))
    info = {
        each.labels["version"]: each.value for each in found.measurements() if each.metric == "tidegate_ranker_info"
    }

    assert info == {"fallback": 0.0, "one": 0.0, "two": 1.0}
    assert Measurement("tidegate_ranker_ready", 1.0) in list(found.measurements())


@given(st.binary(max_size=200))
def test_no_bytes_stop_the_stage(value):
    assert len(applied(stage(), value).rejected) == 1


@given(st.data())
@settings(max_examples=300)
def test_a_ranker_with_one_byte_changed_is_refused_or_means_the_same(data):
    good = ranker(curve=(0.0, 1.0), probability=(0.25, 0.5))
    value = bytearray(written(good))
    value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    found = stage()
    one = applied(found, bytes(value))

    assert one.rejected or msgspec.json.decode(bytes(value), type=Ranker) == good
