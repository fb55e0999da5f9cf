"""Under attack: memory stays flat, and the people who were there before keep their features, value for value.

What is promised is about features, which are a user's own. Scores, tails and tiers are relative to what all do: the
forest and the histograms learn from newcomers too (up to the cap per user), so a flood moves what is usual.
`python benchmarks/flood.py` plays the flood with 5,000,000 identities.
"""

import gc
import os
from pathlib import Path

import attacks
import numpy as np
import pytest
import streams
from attacks import Partition, during, event, people

from operators.batches import LATE
from operators.tier.standing import CRITICAL, MEDIUM, Standings

SMALL = {
    "featurize__max_users": 2_000,
    "featurize__dedup_max": 20_000,
    "tier__max_users": 500,
    "decode__cache_entries": 1_024,
}
HOUR_MS = 3_600_000
BEFORE, CALM = people()


def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def undisturbed():
    return Partition(**SMALL).feed(BEFORE).feed(CALM, "featurize").people


def attacked(attack):
    return Partition(**SMALL).feed(BEFORE).feed(during(CALM, attack), "featurize")


def test_there_are_people_whose_features_can_change(undisturbed):
    assert len(CALM) > 2_000
    assert len({features for features, _, _ in undisturbed.values()}) > 2_000


@pytest.mark.parametrize(
    "attack",
    [
        attacks.newcomers(50),  # over 100,000 identities, in a table of 2,000
        attacks.returning(10),  # each seen three times
        # Each promoted, and then others. The limit: pool and regulars fit into the protected 80 % of the table.
        attacks.aged(1_540, waves=4),
        attacks.aged(5_000, waves=10),  # more at a time than the table holds: none lives to be promoted
        attacks.heavy(0.43),  # 30 % of all traffic
    ],
    ids=["newcomers", "returning", "aged", "aged, too many", "heavy"],
)
def test_the_regulars_features_are_those_of_a_run_without_the_attack(undisturbed, attack):
    assert attacked(attack).people == undisturbed


def test_this_test_sees_it_when_regulars_are_flushed(undisturbed):
    """With a table of 50 for 60 people, some are flushed."""
    small = Partition(**{**SMALL, "featurize__max_users": 50}).feed(BEFORE)
    assert small.feed(during(CALM, attacks.newcomers(50)), "featurize").people != undisturbed


def test_beyond_the_bound_on_ids_a_repeated_event_may_count_again_and_that_is_counted(undisturbed):
    """The design's limit: ids of ten minutes are 30 of the people's and 1,500 of the flood's, and 1,000 are kept."""
    partition = Partition(**{**SMALL, "featurize__dedup_max": 1_000}).feed(BEFORE)
    partition.feed(during(CALM, attacks.newcomers(50)), "featurize")

    assert partition.people != undisturbed
    assert partition.measured("tidegate_dedup_entries") == 1_000
    assert partition.measured("tidegate_dedup_evicted_total") > 100_000


@pytest.mark.slow
def test_ten_times_the_flood_takes_not_a_byte_more():
    partition = Partition(**SMALL).feed(BEFORE)
    # Fixed instant: whatever is remembered for ten minutes is at its bound, too.
    now = CALM[-1][1]
    flood = attacks.newcomers(1)
    partition.feed(record for number in range(40_000) for record in flood(number, now))
    state, memory = partition.state_bytes(), resident()

    partition.feed(record for number in range(40_000, 400_000) for record in flood(number, now))

    # The header of a packed state writes small integers short: a counter may take a few bytes more. Of standings there
    # may be none before: they have user, level and time, 17 bytes, for 500 users at most.
    may = dict.fromkeys(state, 64) | {"tier": 64 + 17 * 500}
    grown = {name: size - state[name] for name, size in partition.state_bytes().items()}
    assert {name: by for name, by in grown.items() if abs(by) > may[name]} == {}
    assert resident() - memory < 8_000_000  # 360,000 rows alone would be 600 MB
    assert partition.measured("tidegate_entities") == 2_000
    assert partition.measured("tidegate_entities_evicted_total") > 390_000
    assert partition.measured("tidegate_dedup_entries") == 20_000
    assert partition.measured("tidegate_dedup_evicted_total") > 370_000
    assert partition.measured("tidegate_standings") <= 500
    assert partition.cached() <= 1_024
    assert partition.most_reasons <= 3


def test_one_user_takes_one_row_and_teaches_no_more_than_the_cap():
    partition = attacked(attacks.heavy(3))
    hours = (CALM[-1][1] - CALM[0][1]) / HOUR_MS
    assert partition.measured("tidegate_entities") <= 61
    # Panes: an hour's window holds up to 1.2 hours, so the cap of 20 an hour is never exceeded.
    assert 0 < partition.taught <= 20 * (hours + 1)


def test_garbage_alone_changes_no_state():
    partition = Partition(**SMALL).feed(BEFORE)
    before = {name: stage.dump() for name, stage in partition.stages.items()}
    garbage = [value for value in streams.GARBAGE if value]
    memory = resident()

    partition.feed((garbage[k % len(garbage)], BEFORE[-1][1]) for k in range(20_000))

    after = {name: stage.dump() for name, stage in partition.stages.items()}
    for name, state in before.items():
        assert state.keys() == after[name].keys()
        for key, value in state.items():
            assert np.array_equal(value, after[name][key], equal_nan=isinstance(value, float | np.ndarray)), (name, key)
    assert sum(partition.rejected.values()) == 20_000
    assert resident() - memory < 8_000_000


def test_identifiers_too_long_to_be_remembered_take_no_memory():
    def long(first, last):
        return (
            (event("u" * 900 + str(k), k, CALM[0][1], f',"ip":"{"i" * 20_000}{k}"'), CALM[0][1])
            for k in range(first, last)
        )

    room = {"decode__cache_entries": 65_536}  # for all of them
    partition = Partition(**SMALL | room).feed(BEFORE).feed(long(0, 6_000), "featurize")
    memory = resident()  # with what the allocator keeps for as many, however its heap was left by what ran before

    partition.feed(long(6_000, 12_000), "featurize")

    assert resident() - memory < 30_000_000  # 6,000 addresses of 20 kB would be 120 MB


# -- clocks ------------------------------------------------------------------------------------------------------------


def clocks(*, users, ahead_ms, every=1, kafka_too=True):
    """After every so many people's events one of the users, in turn, says that it is later than it is."""

    def attack(number, now):
        if number % every == 0:
            when = now + ahead_ms * (1 if number % (2 * every) else 2)
            yield event(f"clock-{number // every % users}", number, when), when if kafka_too else now

    return attack


@pytest.mark.parametrize(
    "attack",
    [
        clocks(users=1, ahead_ms=24 * HOUR_MS),
        clocks(users=1, ahead_ms=-24 * HOUR_MS),
        clocks(users=3, ahead_ms=24 * HOUR_MS, every=12),  # three, but people speak in between: they contradict
        clocks(users=50, ahead_ms=24 * HOUR_MS, kafka_too=False),  # any number: the broker's clock contradicts
    ],
    ids=["one ahead", "one behind", "three ahead, contradicted", "many ahead of Kafka"],
)
def test_wrong_clocks_change_nobody_elses_features(undisturbed, attack):
    assert attacked(attack).people == undisturbed


def test_clocks_within_the_permitted_skew_make_nobody_late_who_is_on_time(undisturbed):
    """Stream time runs up to five minutes ahead; a repeated event may be called late instead of duplicate, no more."""

    def told(people):
        return {name: (features, flag != 0, teach) for name, (features, flag, teach) in people.items()}

    found = attacked(clocks(users=50, ahead_ms=150_000, kafka_too=False)).people
    assert told(found) == told(undisturbed)


def test_one_clock_that_jumps_both_ways_changes_nobody_elses_features(undisturbed):
    def attack(number, now):
        when = now + (25 * HOUR_MS if number % 2 else -25 * HOUR_MS)
        yield event("clock", number, when), max(when, now)

    assert attacked(attack).people == undisturbed


def test_three_clocks_that_agree_at_once_move_time_and_everybody_is_late_until_it_has_passed(undisturbed):
    """The design's limit: three distinct users, with Kafka's own timestamps, are believed. The windows survive it."""

    def attack(number, now):
        if number == 500:
            for k in range(3):
                yield event(f"clock-{k}", k, now + 7 * HOUR_MS), now + 7 * HOUR_MS

    partition = attacked(attack)
    back = CALM[500][1] + 7 * HOUR_MS - 300_000  # from here on within the allowed lateness
    late = {True: set(), False: set()}
    for value, time_ms in CALM[501:]:
        name = value.split(b'"')[3].decode()
        if undisturbed[name][1] == 0:
            late[time_ms < back].add(partition.people[name][1])
    assert late == {True: {LATE}, False: {0}}


# -- standings ---------------------------------------------------------------------------------------------------------


def test_a_flood_of_suspects_pushes_out_no_worse_one_and_takes_no_memory():
    standings = Standings(hold_s=3_600, max_users=500)

    def follow(users, level):
        n = len(users)
        return standings.follow(
            np.full(n, level, np.uint8), np.array(users, np.uint64), np.full(n, streams.START_MS), np.zeros(n, np.uint8)
        )

    follow(range(1, 101), CRITICAL)
    size = sum(array.nbytes for array in vars(standings).values() if isinstance(array, np.ndarray))
    follow(range(1_000, 201_000), MEDIUM)

    assert len(standings) == 500
    assert standings.evicted == 200_000 - 400
    assert sum(array.nbytes for array in vars(standings).values() if isinstance(array, np.ndarray)) == size
    assert follow(range(1, 101), 1).tolist() == [CRITICAL] * 100
