"""The newest effect of each variation counts, in the direction that is good; what cannot be read is told."""

import math

import msgspec
import numpy as np
import pytest
from made_lists import NOW
from uplift_records import said, taken, uplift

from operators.rerank import Rerank, RerankConfig, UpliftConfig, effects
from operators.rerank.effects import Effects
from operators.state import pack, unpack

ONE = np.ones(1)


def known(effects, *offers, use="effect"):
    return effects.values(use, list(offers), np.ones(len(offers))).tolist()


def told(*records, experiment="x"):
    found = Effects(experiment)
    side = said(records)
    found.take(side)
    return found, side


def test_the_newest_record_of_a_variation_counts():
    found, _ = told(uplift("a", effect=0.1), uplift("b", effect=0.3), uplift("a", effect=0.2))

    assert known(found, "b", "a") == [0.3, 0.2]


def test_an_effect_is_above_0_where_it_is_good():
    found, _ = told(uplift("a", effect=-0.5, better="down"), uplift("b", effect=-0.5))

    assert known(found, "a", "b") == [0.5, -0.5]


def test_the_lower_end_is_the_worse_one_whichever_way_is_good():
    found, _ = told(uplift("a", effect=0.5), uplift("b", effect=-0.5, better="down"))

    assert known(found, "a", "b", use="lower") == pytest.approx([0.45, 0.45])


def test_the_control_has_an_effect_of_0_and_what_is_not_known_has_none():
    found, _ = told(uplift("a", effect=None), uplift("b", effect=0.1))
    values = known(found, "control", "a", "never", "")

    assert values[0] == 0.0
    assert all(math.isnan(each) for each in values[1:])


def test_segments_and_other_experiments_count_for_nothing():
    found, side = told(uplift("a", segment="decile-1"), uplift("a", experiment="y"), uplift("a", experiment="xx"))

    assert math.isnan(known(found, "a")[0])
    assert side.rejected == side.changes == []


def test_an_effect_that_is_taken_back_is_no_longer_known():
    found, side = told(uplift("a"), (b"x/a/all", None), (b"x/b/all", None), (b"x/a/decile-1", None))

    assert math.isnan(known(found, "a")[0])
    assert [change.detail["effect"] for change in side.changes] == [0.1, None]


def test_another_experiment_can_be_switched_to_without_reading_again():
    one = Rerank(RerankConfig(UpliftConfig("x")))
    taken(one, uplift("a", experiment="y", effect=0.7))
    other = Rerank(RerankConfig(UpliftConfig("y")))
    assert other.fingerprint == one.fingerprint
    other.load(one.dump())

    assert known(other._effects, "a") == [0.7]
    assert other.dump() == one.dump()


def test_changes_of_the_experiment_are_told_once_with_their_offset():
    again = uplift("a", effect=0.2)
    _, side = told(uplift("a", effect=0.1), again, again, uplift("b", experiment="y"))

    assert [(each.offset, each.time_ms, each.kind) for each in side.changes] == [(0, NOW, "uplift"), (1, NOW, "uplift")]
    assert side.changes[1].detail == {
        "experiment": "x", "variation": "a", "effect": 0.2, "lower": pytest.approx(0.15), "upper": 0.25, "better": "up",
    }  # fmt: skip


def test_memory_is_bounded_and_the_experiments_own_variations_stay():
    many = [uplift(f"v{at}", experiment="y") for at in range(effects.MOST + 50)]
    found, _ = told(uplift("a", effect=0.4), *many)

    assert (len(found), found.forgotten) == (effects.MOST, 51)
    assert known(found, "a") == [0.4]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"x/a/all", b"", "empty_value"),
        (b"x/a/all", b"{", "not_json"),
        (b"x/a/all", b"\xff", "invalid_utf8"),
        (b"x/a/all", b"[" * 2_000, "too_deep"),
        (b"x/a/all", b"{}", "wrong_type"),
        (b"x/b/all", msgspec.json.encode(uplift("a")), "out_of_range"),
        (b"x", msgspec.json.encode(uplift("a")), "out_of_range"),
        (None, None, "out_of_range"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_and_changes_nothing(key, value, reason):
    found, side = told(uplift("a", effect=0.4), (key, value))

    assert [(each.offset, each.reason) for each in side.rejected] == [(1, reason)]
    assert known(found, "a") == [0.4]


def test_an_effect_counts_by_what_a_unit_of_it_is_worth():
    found, _ = told(uplift("a", effect=0.25))

    assert found.values("effect", ["a", "a"], np.array([4.0, -2.0])).tolist() == [1.0, -0.5]


def test_a_value_beyond_the_range_of_a_double_is_not_known():
    found, _ = told(uplift("a", effect=1e300), uplift("b", effect=0.0))
    values = found.values("effect", ["a", "a", "b"], np.array([1e30, -1e30, 1e30]))

    assert np.isnan(values).tolist() == [True, True, False]


def test_how_many_had_to_go_is_counted_on_after_a_restart():
    one = Rerank(RerankConfig(UpliftConfig("x")))
    taken(one, *(uplift(f"v{at}", experiment="y") for at in range(effects.MOST + 3)))
    again = Rerank(RerankConfig(UpliftConfig("x")))
    again.load(unpack(pack(one.dump())))

    assert list(again.measurements()) == list(one.measurements())
    assert again._effects.forgotten == 3
