"""The count stage: weights by tier, ids of items, and the laws of every stage, whatever waits or had to go."""

import dataclasses
import itertools

import numpy as np
import pytest
from cutting import canonical, random_cuts
from hypothesis import given, settings
from hypothesis import strategies as st
from signals_reference import HOUR, START, Row, stream

from operators.batches import AHEAD, TIERS, Rejected, Span
from operators.noticed import CLICK, Interactions, Items, Noticed, Tiers
from operators.parts import EVERYTHING, SLICES, Assembly, Changes, Sweep
from operators.side import Side, TakesSides
from operators.signals.config import CountItemsConfig
from operators.signals.count import Count
from operators.signals.weights import WeightsConfig
from operators.state import Stage, pack, unpack

TIGHT = CountItemsConfig(
    windows_s=(600, 3_600), half_life_s=3_600, audience_s=3_600, max_items=8, max_pairs=60, promote_after_s=60,
    allowed_lateness_s=60, max_gap_s=900, dedup_window_s=300, dedup_max=20,
)  # fmt: skip
WEIGHTS = WeightsConfig(unknown=0.9, low=0.8, medium=0.7, high=0.5, critical=0.25, max_users=20)


def made(*, tiers=True):
    return Count(TIGHT, WEIGHTS, tiers=tiers)


def noticed(listed, first=0, rejected=(), sessions=()):
    columns = {name: [getattr(row, name) for row in listed] for name in Row._fields}
    n = len(listed)
    rows = Interactions(
        offsets=np.arange(first, first + n),
        time_ms=np.array(columns["time_ms"], np.int64),
        kind=np.array(columns["kind"], np.uint8),
        user=np.array(columns["user"], np.uint64),
        session=np.array(sessions or [0] * n, np.uint64),
        item=np.array(columns["item"], np.uint64),
        items=[f"item-{item}" for item in columns["item"]],
        ranking=np.zeros(n, np.uint64),
        position=np.array(columns["position"], np.int64),
        id_hash=np.array(columns["id_hash"], np.uint64),
    )
    return Noticed(Span(0, first, first + n), "interactions", rows, list(rejected), n)


def decided(*pairs, topic="risk.tiers"):
    """Return decisions: users and tiers."""
    n = len(pairs)
    found = Side(0, topic, 0, 0, n, [b""] * n, [b"k"] * n, list(range(n)), [START] * n)
    users = np.array([user for user, _ in pairs], np.uint64)
    tiers = np.array([TIERS.index(tier) for _, tier in pairs], np.uint8)
    found.noticed = Tiers(np.arange(n), np.full(n, START), users, tiers)
    return found


def rows(seed, n=900):
    """Return a stream with more items than fit, a broken clock, and a jump of time that others confirm."""
    listed = stream(seed, n, items=20, users=40, step_s=5)
    half = len(listed) // 2
    wrong = [
        listed[half]._replace(time_ms=listed[half].time_ms + 900 * HOUR, id_hash=10**9 + k, item=777) for k in (1, 2)
    ]
    later = [row._replace(time_ms=row.time_ms + 5 * HOUR) for row in listed[half + 100 :]]
    return [*listed[:half], *wrong, *listed[half : half + 100], *later]


def fed(stage, listed, cuts=()):
    edges = sorted({0, *(cut for cut in cuts if 0 < cut < len(listed)), len(listed)})
    flags = [stage.process(noticed(listed[low:high], low)).flags for low, high in itertools.pairwise(edges)]
    return np.concatenate(flags)


def held(stage):
    """Return the ids of all items that are kept, by key."""
    keys = stage._sums.keys
    return dict(zip(keys.tolist(), stage.ids(keys), strict=True))


@pytest.mark.parametrize("kind", [Stage, TakesSides])
def test_it_is_a_stage_that_takes_sides(kind):
    assert isinstance(made(), kind)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_item_that_is_kept_has_its_own_id_whatever_went_before_or_waited(seed):
    stage, listed = made(), rows(seed)
    for first in range(0, len(listed), 7):
        stage.process(noticed(listed[first : first + 7], first))
        assert held(stage) == {key: f"item-{key}".encode() for key in held(stage)}
    assert len(held(stage)) == TIGHT.max_items


def test_an_item_of_which_all_rows_waited_has_its_id_once_they_count():
    stage = made()
    ahead = [Row(CLICK, 5, user, START + 2 * HOUR) for user in (1, 2)]
    stage.process(noticed([Row(CLICK, 1, 9, START), *ahead]))
    again = made()
    again.load(unpack(pack(stage.dump())))
    again.process(noticed([Row(CLICK, 6, 3, START + 2 * HOUR)], 3))

    assert held(again) == {1: b"item-1", 5: b"item-5", 6: b"item-6"}


@pytest.mark.parametrize("seed", [1, 2])
def test_it_does_not_care_about_cuts(seed):
    listed, whole, pieces = rows(seed), made(), made()
    expected, flags = fed(whole, listed), fed(pieces, listed, random_cuts(seed, 0, len(listed), 60))

    assert flags.tolist() == expected.tolist()
    assert canonical(pieces.dump()) == canonical(whole.dump())


def test_it_survives_a_snapshot_anywhere():
    listed, through, stage = rows(4), made(), made()
    for first in range(0, len(listed), 90):
        piece, side = noticed(listed[first : first + 90], first), decided((first % 7 * 1_000_003, TIERS[first % 5]))
        for each in (through, stage):
            each.take_side(side)
            each.process(piece)
        again = made()
        again.load(unpack(pack(stage.dump())))
        stage = again
        assert canonical(stage.dump()) == canonical(through.dump())


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_parts_of_one_turn_are_the_state(data):
    stage, changes, parts, first = made(), Changes(), [], 0
    listed = rows(data.draw(st.integers(1, 9)), 400)
    for at in range(0, len(listed), 40):
        stage.take_side(decided((at % 11 * 1_000_003, TIERS[at // 40 % 5])))
        stage.process(noticed(listed[at : at + 40], at))
        sweep = Sweep(first, data.draw(st.integers(SLICES // 4, SLICES))) if parts else EVERYTHING
        first = sweep.next
        parts.append(unpack(pack(changes.of(stage, sweep))))
    assembly = Assembly(parts[-1])
    for part in parts:
        assembly.add(part)
    again = made()
    again.load(assembly.finish())

    assert canonical(again.dump()) == canonical(stage.dump())


def weighed(stage, user):
    """Return what a click of a user counts, and whether the user is risky."""
    found = stage.process(noticed([Row(CLICK, 1, user, START)])).interactions
    return float(found.weight[0]), bool(found.risky[0])


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        ("unknown", (0.9, False)),
        ("low", (0.8, False)),
        ("medium", (0.7, False)),
        ("high", (0.5, True)),
        ("critical", (0.25, True)),
    ],
)
def test_what_a_user_does_counts_by_the_newest_tier(tier, expected):
    stage = made()
    stage.take_side(decided((7, "medium"), (7, tier), (8, "critical")))

    assert (weighed(stage, 7), weighed(stage, 9)) == (expected, (0.9, False))


def test_who_does_something_without_a_name_is_unknown():
    stage = made()
    stage.take_side(decided((1, "critical")))

    assert weighed(stage, 0) == (0.9, False)


@pytest.mark.parametrize("sessions", [(1, 2, 3, 4, 5), (0, 0, 0, 0, 0)])
def test_time_goes_on_after_a_gap_where_no_user_is_told(sessions):
    """Sessions confirm a jump as users do; where there is not even one, interactions do by their ids."""
    stage = made()
    listed = [Row(CLICK, 1, 0, START + (at > 0) * 20 * HOUR + at, 100 + at) for at in range(5)]

    assert stage.process(noticed(listed, sessions=sessions)).flags.tolist() == [0, AHEAD, AHEAD, 0, 0]
    assert stage.stream_ms == START + 20 * HOUR + 4


def test_one_session_or_one_interaction_told_again_confirms_nothing():
    for sessions, ids in (((7,) * 6, range(1, 7)), ((0,) * 6, (1, 2, 2, 2, 3, 3))):
        stage = made()
        listed = [Row(CLICK, 1, 0, START + (at > 0) * 20 * HOUR, key) for at, key in enumerate(ids)]
        flags = stage.process(noticed(listed[:5], sessions=sessions[:5])).flags.tolist()
        assert (flags, stage.stream_ms) == ([0, AHEAD, AHEAD, AHEAD, AHEAD], START)


def test_each_session_is_a_user_of_the_audience_and_nobody_is_one():
    stage = made()
    stage.process(noticed([Row(CLICK, 1, 0, START, at + 1) for at in range(5)], sessions=(4, 5, 5, 0, 0)))

    assert stage.totals(np.array([1], np.uint64)).sums.audience[0, 0, 1] == 3.0


def test_without_tiers_all_count_alike():
    stage = made(tiers=False)
    stage.take_side(decided((7, "critical")))

    assert weighed(stage, 7) == (1.0, False)


def test_a_flood_of_new_users_takes_the_place_of_no_regular_one():
    stage = made()
    for turn in range(3):
        stage.process(noticed([Row(CLICK, 1, 99, START + turn * 61_000)]))
        stage.take_side(decided(*((user, "critical") for user in range(1, 11))))
    for first in range(1_000, 3_000, 100):
        stage.take_side(decided(*((user, "low") for user in range(first, first + 100))))
    measured = {each.metric: each.value for each in stage.measurements() if not each.labels}

    assert all(weighed(stage, user) == (0.25, True) for user in range(1, 11))
    assert (measured["tidegate_weighted_users"], measured["tidegate_weighted_users_evicted_total"] > 1_900) == (
        20,
        True,
    )


def test_decisions_before_the_first_interaction_do_not_make_newcomers_regular_users():
    """Those told of once, and once more in the same minute, are of the flood, whenever interactions begin."""
    stage = made()
    stage.take_side(decided(*((user, "critical") for user in (1, 2))))
    again = made()
    again.load(unpack(pack(stage.dump())))
    again.take_side(decided((3, "critical")))
    again.process(noticed([Row(CLICK, 1, 99, START + 1_000)]))
    again.take_side(decided(*((user, "critical") for user in (1, 2, 3))))

    assert again._weights._users.table.segment[:3].tolist() == [0, 0, 0]


def test_a_flood_of_harmless_users_takes_no_risky_ones_place():
    weights = WeightsConfig(max_users=20)  # low and medium weigh what unknown does
    stage = Count(TIGHT, weights, tiers=True)
    stage.process(noticed([Row(CLICK, 1, 99, START)]))
    stage.take_side(decided(*((user, "critical") for user in range(1, 21))))
    stage.take_side(decided(*((user, ("low", "medium")[user % 2]) for user in range(100, 900)), (7, "low")))

    assert {weighed(stage, user) for user in range(1, 21) if user != 7} == {(0.0, True)}
    assert weighed(stage, 7) == weighed(stage, 500) == (1.0, False)


def test_a_risky_tier_that_weighs_what_unknown_does_is_remembered():
    stage = Count(TIGHT, WeightsConfig(high=1.0), tiers=True)
    stage.take_side(decided((7, "high")))

    assert weighed(stage, 7) == (1.0, True)


def test_users_of_whom_nothing_is_known_take_no_place():
    stage = made()
    stage.take_side(decided(*((user, "unknown") for user in range(1, 100))))

    assert {each.value for each in stage.measurements() if each.metric == "tidegate_weighted_users"} == {0}


def test_other_weights_leave_the_state_what_it_was_and_other_bounds_do_not():
    others = [dataclasses.replace(WEIGHTS, high=0.1), dataclasses.replace(WEIGHTS, max_users=21)]
    prints = [Count(TIGHT, each, tiers=True).fingerprint for each in (WEIGHTS, *others)]

    assert (prints[0] == prints[1], prints[0] == prints[2]) == (True, False)


def test_what_could_not_be_read_passes_through():
    bad = Rejected(0, START, "not_json", "expected JSON, got something else")

    assert made().process(noticed([], 0, [bad])).rejected == [bad]


def test_records_of_another_topic_are_refused():
    nothing = Items(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64), [], [])

    with pytest.raises(TypeError, match="expected interactions, got Items"):
        made().process(Noticed(Span(0, 0, 0), "items", nothing))


@pytest.mark.parametrize(
    "change", [{"weights.tier": np.zeros(3, np.uint8)}, {"ids.rows": 0}, {"ids.waiting": np.zeros(1, np.uint8)}]
)
def test_what_cannot_be_its_state_is_refused(change):
    stage = made()
    stage.process(noticed([Row(CLICK, 1, 1, START)]))
    state = stage.dump() | change

    with pytest.raises(ValueError, match="expected"):
        made().load(state)
