"""Tiers, standings against their definition, reasons worked by hand, and the laws."""

import dataclasses
import math

import laws
import numpy as np
import pytest
from cutting import cut, evenly, random_cuts
from pydantic import TypeAdapter, ValidationError
from streams import START_MS, decoded, habits

from operators.batches import AHEAD, DUPLICATE, LATE, TIERS, Calibrated, Featured, Scored
from operators.featurize.catalogue import catalogue
from operators.state import Measurement
from operators.tier import Tier, TierConfig
from operators.tier.standing import Standings

CATALOGUE = catalogue((60, 3600))
COLUMN = {feature.name: column for column, feature in enumerate(CATALOGUE)}
CONFIG = TierConfig(medium=0.3, high=0.1, critical=0.03, standing_hold_s=60, max_users=50)
LOW, MEDIUM, HIGH, CRITICAL = 1, 2, 3, 4
HOUR = 3600
TAIL_OF = {0: math.nan, LOW: 0.5, MEDIUM: 5e-3, HIGH: 5e-4, CRITICAL: 5e-5}  # within the default budgets


def make(config=CONFIG):
    return lambda: Tier(config, CATALOGUE, "upstream")


def calibrated(seed, n, *, flags=0, users=5, first=0, gap_ms=20_000):
    """Events that are often risky, of users who come and go."""
    rng = np.random.default_rng(seed)
    tail = rng.random(n)
    tail[rng.random(n) < 0.1] = np.nan
    feature_tail = np.minimum(1, rng.random((n, len(CATALOGUE))) * 1.5)
    raw = rng.random((n, len(CATALOGUE))) * 100
    base = decoded(habits(seed, n, users=users, gap_ms=gap_ms, jitter_ms=5000), first=first)
    featured = Featured(base, raw, raw / 100, np.full(n, flags, np.uint8), rng.random(n) < 0.5)
    return Calibrated(Scored(featured, tail, tail, tail, feature_tail, featured.teach), tail)


def one(user, at_s, tier, *, flag=0):
    """A single event with the tier that `TierConfig`'s defaults give it."""
    base = decoded([{"id": "e", "timestamp": START_MS + int(at_s * 1000), "user": user, "type": "t"}])
    ones = np.ones((1, len(CATALOGUE)))
    tail = np.array([TAIL_OF[tier]])
    return Calibrated(
        Scored(
            Featured(base, ones, ones, np.array([flag], np.uint8), ones[:, 0] > 0),
            tail,
            tail,
            tail,
            ones,
            ones[:, 0] > 0,
        ),
        tail,
    )


def standings(stage, events):
    """Return the standing after each of (user, seconds, tier[, flag]), given one by one."""
    return [int(stage.process(one(*event[:3], flag=event[3] if len(event) > 3 else 0)).standing[0]) for event in events]


def default(**changes):
    return Tier(TierConfig(**changes), CATALOGUE, "")


def test_the_tier_is_the_highest_whose_budget_holds_the_tail():
    stage = default()
    batch = calibrated(1, 12)
    tail = np.array([math.nan, 1.0, 0.0100001, 1e-2, 2e-3, 1e-3, 2e-4, 1e-4, 1e-9, math.nan, 0.5, 1e-3])

    tier = stage.process(dataclasses.replace(batch, tail=tail)).tier

    assert [TIERS[code] for code in tier] == [
        "unknown", "low", "low", "medium", "medium", "high", "high", "critical", "critical", "unknown", "low", "high",
    ]  # fmt: skip


@pytest.mark.parametrize("flag", [0, LATE, DUPLICATE, AHEAD])
def test_a_tier_depends_on_the_tail_alone(flag):
    stage = default()
    stage.process(one("u", 0, CRITICAL))

    assert stage.process(one("u", 1, LOW, flag=flag)).tier[0] == LOW
    assert stage.process(one("u", 2, HIGH, flag=flag)).tier[0] == HIGH


@pytest.mark.parametrize("max_users", [1, 2, 7, 64])
def test_the_table_stays_whole_through_every_change(max_users):
    # First of the standings' tests: a broken table would make the others probe for ever.
    rng = np.random.default_rng(max_users)
    ours = Standings(hold_s=60, max_users=max_users)
    now = START_MS
    # Few slots, so that probes collide and removals must close the gaps.
    for user in rng.integers(1, 3 * max_users + 2, 1500).tolist():
        now += int(rng.integers(0, 20_000))
        tier = np.array([rng.choice([1, 1, 2, 3, 4])], np.uint8)
        ours.follow(tier, np.array([user], np.uint64), np.array([now]), np.zeros(1, np.uint8))

        dump = ours.dump()
        users, levels = dump["standing.users"], dump["standing.levels"]
        n = len(users)
        assert len(ours) == n == len(set(users.tolist())) == np.count_nonzero(ours._slots) <= max_users
        # Everyone is found; events ahead of time only read.
        found = ours.follow(np.full(n, LOW, np.uint8), users, np.full(n, now), np.full(n, AHEAD, np.uint8))
        assert found.tolist() == levels.tolist() == sorted(levels.tolist())
        assert set(levels.tolist()) <= {MEDIUM, HIGH, CRITICAL}


def test_standing_rises_at_once():
    assert standings(default(), [("u", 0, MEDIUM), ("u", 1, CRITICAL), ("u", 2, LOW)]) == [MEDIUM, CRITICAL, CRITICAL]


def test_standing_falls_one_level_per_hold():
    events = [("u", 0, CRITICAL), ("u", HOUR - 1, LOW), ("u", HOUR, LOW), ("u", 2 * HOUR - 1, LOW),
              ("u", 2 * HOUR, LOW), ("u", 3 * HOUR - 1, LOW), ("u", 3 * HOUR, LOW)]  # fmt: skip

    assert standings(default(), events) == [CRITICAL, CRITICAL, HIGH, HIGH, MEDIUM, MEDIUM, LOW]


def test_standing_falls_several_levels_in_a_long_silence():
    assert standings(default(), [("u", 0, CRITICAL), ("u", 2.5 * HOUR, LOW), ("v", 0, CRITICAL), ("v", 99 * HOUR, LOW)]
                     ) == [CRITICAL, MEDIUM, CRITICAL, LOW]  # fmt: skip


def test_an_event_at_the_level_holds_it_and_one_below_does_not():
    at_level = [("u", 0, HIGH), ("u", HOUR / 2, HIGH), ("u", 1.4 * HOUR, LOW), ("u", 1.5 * HOUR, LOW)]
    below = [("u", 0, HIGH), ("u", HOUR / 2, MEDIUM), ("u", 0.9 * HOUR, LOW), ("u", HOUR, LOW)]

    assert standings(default(), at_level) == [HIGH, HIGH, HIGH, MEDIUM]
    assert standings(default(), below) == [HIGH, HIGH, HIGH, MEDIUM]


def test_an_unknown_tier_does_not_raise_and_does_not_reset_a_standing():
    assert standings(default(), [("u", 0, 0), ("u", 1, HIGH), ("u", 2, 0), ("u", HOUR + 1, 0)]) == [
        LOW, HIGH, HIGH, MEDIUM,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_standing_equals_its_definition(seed):
    hold_ms, n = 60_000, 4000
    rng = np.random.default_rng(seed)
    tier = rng.choice([0, 1, 1, 1, 1, 1, 2, 3, 4], n).astype(np.uint8)
    user = rng.integers(1, 40, n).astype(np.uint64)
    time_ms = START_MS + np.cumsum(rng.choice([0, 1, 1000, 3000, 60_000], n, p=[0.1, 0.1, 0.6, 0.19, 0.01]))
    ours = Standings(hold_s=60, max_users=1000)

    got = ours.follow(tier, user, time_ms, np.zeros(n, np.uint8))

    past: dict[int, list[tuple[int, int]]] = {}
    for i in range(n):
        events = past.setdefault(int(user[i]), [])
        events.append((int(time_ms[i]), int(tier[i])))
        expected = max(LOW, *(level - (int(time_ms[i]) - at) // hold_ms for at, level in events))
        assert got[i] == expected
    assert len({int(level) for level in got}) == 4
    assert ours.evicted == 0


def test_an_event_out_of_order_counts_at_the_time_of_the_last_change():
    # High at 100 s; critical arrives late but within what is allowed, from 50 s: it holds as if it were from 100 s.
    events = [("u", 100, HIGH), ("u", 50, CRITICAL), ("u", HOUR + 99, LOW), ("u", HOUR + 100, LOW)]

    assert standings(default(), events) == [HIGH, CRITICAL, CRITICAL, HIGH]


@pytest.mark.parametrize("flag", [LATE, DUPLICATE, AHEAD])
def test_a_flagged_event_changes_no_standing(flag):
    events = [("u", 0, CRITICAL, flag), ("u", 1, LOW), ("u", 2, MEDIUM), ("u", 3, CRITICAL, flag), ("u", 4, LOW)]

    assert standings(default(), events) == [LOW, LOW, MEDIUM, MEDIUM, MEDIUM]


def test_an_event_ahead_of_time_does_not_make_a_standing_fall():
    events = [("u", 0, CRITICAL), ("u", 9 * HOUR, LOW, AHEAD), ("u", 1, LOW)]

    assert standings(default(), events) == [CRITICAL, CRITICAL, CRITICAL]


def test_users_at_low_are_not_kept():
    stage = default()
    held = []
    for event in [("u", 0, LOW), ("u", 1, MEDIUM), ("v", 2, HIGH), ("u", HOUR + 1, LOW), ("v", 9 * HOUR, LOW)]:
        standings(stage, [event])
        held.append(len(stage._standings))

    assert held == [0, 1, 2, 1, 0]


def test_a_full_table_gives_up_the_lowest_standing_and_of_those_the_oldest():
    stage = default(max_users=3)
    standings(stage, [("a", 0, MEDIUM), ("b", 1, CRITICAL), ("c", 2, MEDIUM), ("d", 3, HIGH)])

    assert stage._standings.evicted == 1
    assert standings(stage, [(user, 4, LOW) for user in "abcd"]) == [LOW, CRITICAL, MEDIUM, HIGH]


def test_a_full_table_counts_what_a_standing_has_fallen_to():
    # At 2.5 h `a` has fallen from critical to medium and is older than `b`.
    stage = default(max_users=2)
    standings(stage, [("a", 0, CRITICAL), ("b", 2.4 * HOUR, MEDIUM), ("c", 2.5 * HOUR, MEDIUM)])

    assert standings(stage, [(user, 2.5 * HOUR, LOW) for user in "abc"]) == [LOW, MEDIUM, MEDIUM]
    assert stage._standings.evicted == 1


def test_who_is_at_low_again_makes_room_without_being_counted():
    stage = default(max_users=2)
    standings(stage, [("a", 0, MEDIUM), ("b", 1, MEDIUM), ("c", 1.5 * HOUR, HIGH), ("d", 1.5 * HOUR, HIGH)])

    assert stage._standings.evicted == 0
    assert standings(stage, [(user, 1.5 * HOUR, LOW) for user in "abcd"]) == [LOW, LOW, HIGH, HIGH]


def test_a_flood_of_suspects_does_not_push_out_the_worst():
    n, worst = 5000, 20
    ours = Standings(hold_s=HOUR, max_users=100)
    now = np.full(n, START_MS)
    none = np.zeros(n, np.uint8)
    ours.follow(np.full(worst, CRITICAL, np.uint8), np.arange(1, worst + 1, dtype=np.uint64), now[:worst], none[:worst])

    ours.follow(np.full(n, HIGH, np.uint8), np.arange(1000, 1000 + n, dtype=np.uint64), now, none)

    assert len(ours) == 100
    assert ours.evicted == n - 80
    low = np.full(worst, LOW, np.uint8)
    assert (ours.follow(low, np.arange(1, worst + 1, dtype=np.uint64), now[:worst], none[:worst]) == CRITICAL).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cuts_do_not_matter(seed):
    laws.does_not_care_about_cuts(make(), calibrated(seed, 700, users=200, gap_ms=500), random_cuts(seed, 0, 700, 20))


@pytest.mark.parametrize(("users", "gap_ms", "evicts"), [(5, 20_000, False), (200, 500, True)])
def test_a_snapshot_at_any_time_changes_nothing(users, gap_ms, evicts):
    batches = evenly(calibrated(9, 1500, users=users, gap_ms=gap_ms), 75)
    stage = make()()
    laws.run(stage, batches)

    assert (stage.dump()["standing.evicted"] > 0) == evicts
    laws.survives_a_snapshot(make(), batches, at=range(1, 20))


def test_the_input_and_earlier_answers_are_left_alone():
    laws.leaves_its_input_alone(make(), evenly(calibrated(10, 400), 50))


def test_two_runs_are_equal():
    laws.repeats_itself(make(), evenly(calibrated(11, 400), 100))


@pytest.mark.parametrize("flag", [LATE, DUPLICATE, AHEAD])
def test_flagged_events_change_no_state(flag):
    before, after = cut(calibrated(12, 600), [400])
    laws.learns_nothing_from(make(), [before], calibrated(12, 400, flags=flag), [after])


def test_users_never_mix():
    batch = calibrated(14, 600, users=6)
    laws.keeps_users_apart(make(), batch, int(batch.scored.featured.decoded.user[0]))


def test_memory_stays_bounded_under_a_flood_of_users():
    events = [{"id": str(i), "timestamp": START_MS + i, "user": str(i), "type": "t"} for i in range(2000)]
    batch = calibrated(15, 2000)
    featured = dataclasses.replace(batch.scored.featured, decoded=decoded(events))
    flood = dataclasses.replace(batch, scored=dataclasses.replace(batch.scored, featured=featured))
    laws.keeps_its_memory_bounded(make(), evenly(flood, 100))


def test_no_answer_looks_ahead():
    batch = calibrated(16, 300)
    tail = batch.tail.copy()
    tail[201:] = 1 - tail[201:]
    other = Calibrated(dataclasses.replace(batch.scored), tail)
    laws.does_not_look_ahead(make(), batch, other, 200)


def test_a_dump_of_too_many_users_is_refused():
    stage = default(max_users=3)
    standings(stage, [("a", 0, MEDIUM), ("b", 1, CRITICAL)])
    with pytest.raises(ValueError, match=r"expected at most 1 users, got 2 - at standing.users"):
        default(max_users=1).load(stage.dump())


def test_rates_standings_and_evictions_are_measured():
    stage = default(max_users=2)
    events = [("a", 0, CRITICAL), ("b", 1, MEDIUM), ("c", 2, HIGH), ("d", 3, 0), ("e", 4, LOW), ("f", 5, HIGH, LATE)]
    standings(stage, events)

    # Known and unflagged: a, b, c, e. Unknown and late ones do not count.
    assert list(stage.measurements()) == [
        Measurement("tidegate_alert_rate", 3 / 4, {"tier": "medium"}),
        Measurement("tidegate_alert_rate", 2 / 4, {"tier": "high"}),
        Measurement("tidegate_alert_rate", 1 / 4, {"tier": "critical"}),
        Measurement("tidegate_alert_budget", 1e-2, {"tier": "medium"}),
        Measurement("tidegate_alert_budget", 1e-3, {"tier": "high"}),
        Measurement("tidegate_alert_budget", 1e-4, {"tier": "critical"}),
        Measurement("tidegate_standings", 2.0),
        Measurement("tidegate_standings_evicted_total", 1.0),
    ]


def test_the_alert_rate_forgets():
    stage = default(rate_half_life=1000)
    batch = calibrated(1, 4000)
    tail = np.where(np.arange(4000) < 1000, 1e-9, 0.9)
    stage.process(dataclasses.replace(batch, tail=tail))

    # Four blocks, each worth half of the next: 1/8 of (1/8 + 1/4 + 1/2 + 1).
    assert stage.alert_rates() == pytest.approx(dict.fromkeys(("medium", "high", "critical"), 0.125 / 1.875))


@pytest.mark.parametrize("budgets", [(1e-3, 1e-2, 1e-4), (1e-2, 1e-3, 1e-3), (1e-2, 1e-2, 1e-4)])
def test_budgets_that_do_not_strictly_fall_are_refused(budgets):
    medium, high, critical = budgets
    with pytest.raises(ValueError, match=r"expected medium > high > critical, got medium = "):
        TierConfig(medium=medium, high=high, critical=critical)
    with pytest.raises(ValidationError, match="expected medium > high > critical"):
        TypeAdapter(TierConfig).validate_python({"medium": medium, "high": high, "critical": critical})


@pytest.mark.parametrize(("field", "value"), [("medium", 1.0), ("critical", 0.0), ("standing_hold_s", 0), ("hold", 1)])
def test_a_setting_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(TierConfig).validate_python({field: value})


def test_the_fingerprint_follows_what_the_standings_depend_on():
    fingerprints = {
        default().fingerprint,
        default(high=2e-3).fingerprint,
        default(standing_hold_s=60).fingerprint,
        Tier(TierConfig(), CATALOGUE, "other").fingerprint,
    }
    assert len(fingerprints) == 4
    assert default(max_reasons=5).fingerprint == default().fingerprint
